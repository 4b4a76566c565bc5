import { hash } from "node:crypto";
import { statSync } from "node:fs";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createReader, type SmallReader } from "../../src/adapters/s3/reading.ts";
import { checksumOf } from "../../src/core/checksum.ts";

let folder: string;
let reader: SmallReader;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "reading-"));
});
afterEach(async () => {
  reader.close();
  await rm(folder, { recursive: true });
});

const bytesOf = (n: number): Buffer => Buffer.alloc(1 + ((n * 7919) % 70_000), `file ${n} `);

async function made(name: string, bytes: Buffer) {
  const path = join(folder, name);
  await writeFile(path, bytes);
  const { size, mtimeNs } = statSync(path, { bigint: true });
  return { kind: "file" as const, path, sizeBytes: Number(size), mtimeNs };
}

const room = (sizeBytes: number): Buffer => Buffer.alloc(Math.max(1, sizeBytes));

/** Enough files that the thread has begun. */
async function warmUp(): Promise<void> {
  const body = await made("warm", Buffer.from("warm"));
  for (let n = 0; n < 64; n++) await reader.read(body, room(4), "crc32", true);
}

it("gives each file its own bytes and digests, hundreds at a time, empty and large ones among them", async () => {
  reader = createReader();
  await warmUp();
  const contents = Array.from({ length: 300 }, (_, n) => (n % 50 === 0 ? Buffer.alloc(0) : bytesOf(n)));
  contents.push(Buffer.alloc(2 ** 20, "exactly a slot"), Buffer.alloc(2 ** 20 + 1, "larger than a slot"));
  const bodies = await Promise.all(contents.map((bytes, n) => made(`f${n}`, bytes)));
  const reads = await Promise.all(bodies.map((body) => reader.read(body, room(body.sizeBytes), "crc32", true)));
  reads.forEach((read, n) => {
    if (read.moved !== null) throw new Error(`${n} moved`);
    expect(Buffer.compare(read.bytes, contents[n]!), `file ${n}`).toBe(0);
    expect(read.checksum).toBe(checksumOf("crc32", contents[n]!));
    if (read.sha256 !== null) expect(read.sha256).toBe(hash("sha256", contents[n]!, "hex"));
  });
  // The others were read aside, while the machine was busy elsewhere.
  expect(reads.filter((read) => read.moved === null && read.sha256 !== null).length).toBeGreaterThan(16);
});

it.each(["aside", "by the thread"])("sees what is no longer as registered, %s", async (way) => {
  reader = createReader();
  if (way === "by the thread") await warmUp();
  const grown = await made("grown", Buffer.from("longer by now"));
  const shrunk = await made("shrunk", Buffer.from("shorter"));
  const touched = await made("touched", Buffer.from("same size"));
  const link = await made("target", Buffer.from("target"));
  await symlink(link.path, join(folder, "link"));
  const read = (body: typeof grown) => reader.read(body, room(body.sizeBytes), "crc32", false);
  expect(await read({ ...grown, sizeBytes: 4 })).toMatchObject({ moved: { sizeBytes: 13 } });
  expect(await read({ ...shrunk, sizeBytes: 40 })).toMatchObject({ moved: { sizeBytes: 7 } });
  expect(await read({ ...touched, mtimeNs: 1n })).toMatchObject({ moved: { mtimeNs: touched.mtimeNs } });
  await expect(read({ ...link, path: join(folder, "link") })).rejects.toMatchObject({ code: "file_gone" });
  await expect(read({ ...link, path: folder })).rejects.toMatchObject({ code: "file_gone" });
  await expect(read({ ...link, path: join(folder, "nowhere") })).rejects.toMatchObject({ code: "file_gone" });
});

it("goes round a thread that its disk holds up, and takes what that says when it is back", async () => {
  const held: Worker[] = [];
  reader = createReader({
    start: () => {
      const silent = new Worker(
        `const { parentPort } = require("node:worker_threads");
         const batches = [];
         parentPort.on("message", (batch) => {
           if (batch !== "go") return batches.push(batch);
           for (const each of batches) parentPort.postMessage({ told: each.map(() => ({ end: "odd" })), tookMs: 1 });
         });`,
        { eval: true },
      );
      held.push(silent);
      return silent;
    },
  });
  await warmUp();
  const body = await made("a", Buffer.from("aaaa"));
  const reads = Array.from({ length: 100 }, () =>
    reader.read(body, room(4), "crc32", false).catch((error) => error.code),
  );
  const stuck = 16;
  const free = await Promise.all(reads.slice(stuck * 2));
  expect(free.every((read) => typeof read === "object" && read.bytes !== null)).toBe(true);
  held[0]!.postMessage("go");
  expect((await Promise.all(reads)).filter((read) => read === "file_gone").length).toBeGreaterThanOrEqual(stuck);
});

it("does without a thread that the system refuses", async () => {
  let started = 0;
  reader = createReader({
    start: () => {
      started++;
      throw Object.assign(new Error("no thread"), { code: "ERR_WORKER_INIT_FAILED" });
    },
  });
  await warmUp();
  const body = await made("a", Buffer.from("aaaa"));
  const reads = await Promise.all(Array.from({ length: 40 }, () => reader.read(body, room(4), "crc32", false)));
  expect(reads.every(({ bytes }) => bytes?.toString() === "aaaa")).toBe(true);
  expect(started).toBe(1);
});

it.each(["with the thread", "before the thread has begun"])(
  "ends reads under way when it is closed, %s",
  async (when) => {
    let started = 0;
    reader = createReader({
      start: () => {
        started++;
        return new Worker("require('node:worker_threads').parentPort.on('message', () => {})", { eval: true });
      },
    });
    await warmUp();
    const body = await made("a", Buffer.from("aaaa"));
    const read = () => reader.read(body, room(4), "crc32", false);
    const reads = Array.from({ length: 40 }, read);
    if (when === "with the thread") await new Promise((resolve) => setImmediate(resolve));
    reader.close();
    reads.push(read());
    expect((await Promise.all(reads)).every(({ bytes }) => bytes?.toString() === "aaaa")).toBe(true);
    expect(started).toBe(when === "with the thread" ? 1 : 0);
  },
);

it("does without a thread that dies", async () => {
  let started = 0;
  reader = createReader({
    start: () => {
      started++;
      return new Worker("process.exit(3)", { eval: true });
    },
  });
  await warmUp();
  const body = await made("a", Buffer.from("aaaa"));
  const reads = await Promise.all(Array.from({ length: 40 }, () => reader.read(body, room(4), "crc32", false)));
  expect(reads.every(({ bytes }) => bytes?.toString() === "aaaa")).toBe(true);
  expect(started).toBe(1);
});
