import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingForRadosgw, startRadosgw } from "../support/radosgw.ts";
import { type RawTarget, sendRaw } from "../support/raw-s3.ts";
import { startS3Server } from "../support/s3-server/server.ts";
import { integrity } from "./integrity-promises.ts";
import { listings } from "./listing-promises.ts";
import { multipart } from "./multipart-promises.ts";
import { objects } from "./object-promises.ts";
import { refereeSuite } from "./packages.ts";
import { signatures } from "./signature-promises.ts";

const promises = [...signatures, ...integrity, ...objects, ...listings, ...multipart];

/** Our server counts as a real one as long as it and a real one keep the same promises. */
const servers = {
  strict: () => startS3Server({ buckets: [] }),
  radosgw: startRadosgw,
} satisfies Record<string, () => Promise<RawTarget & { close(): Promise<void> }>>;

function keepsPromises(name: keyof typeof servers): void {
  let target: RawTarget & { close(): Promise<void> };
  let buckets = 0;
  beforeAll(async () => {
    target = await servers[name]();
  });
  afterAll(() => target?.close());

  it.each(promises.map((promise) => [promise.name, promise] as const))("%s", async (_, promise) => {
    const bucket = `promise-${++buckets}`;
    expect((await sendRaw(target, { method: "PUT", path: `/${bucket}` })).status).toBe(200);
    const { endpoint, region, credential } = target;
    const observed = await promise.observe({ endpoint, region, credential, bucket });
    const { radosgw, expected } = promise;
    expect(observed).toEqual(name === "radosgw" && radosgw !== undefined ? radosgw : expected);
  });
}

describe("the strict test server", () => keepsPromises("strict"));
refereeSuite("Ceph's radosgw", await missingForRadosgw(), () => keepsPromises("radosgw"));
