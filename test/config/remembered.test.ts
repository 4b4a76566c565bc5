import { expect, test } from "vitest";
import { loadConfig, redactConfig, withRememberedStore } from "../../src/config.ts";

const load = (flags: Record<string, string> = {}) => loadConfig({ flags, configPath: null, env: {}, cwd: "/" });
const then = redactConfig(
  load({ "s3.storageClass": "GLACIER", "s3.region": "eu-west-1", "s3.endpoint": "https://s3.example.org" }).config,
);

test("a session's store settings stand where nobody gave others, and those that did are named", () => {
  const { config, restored } = withRememberedStore(load({ "s3.region": "eu-north-1" }), then);
  expect(config.s3).toMatchObject({ storageClass: "GLACIER", region: "eu-north-1", endpoint: null });
  expect(restored).toEqual(["s3.storageClass"]);
});

test("what is no setting of this version is left alone", () => {
  for (const odd of [null, {}, { s3: { storageClass: 7, colour: "red" } }]) {
    const { config, restored } = withRememberedStore(load(), odd);
    expect(config.s3).toEqual(load().config.s3);
    expect(restored).toEqual([]);
  }
});
