import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { folderFault } from "../../src/adapters/folder/faults.ts";
import { shareRuns } from "../../src/adapters/folder/shared-runs.ts";
import { assertDisjoint, type FolderOptions, openFolderDestination } from "../../src/adapters/folder.ts";
import { type ErrorCode, errorCodes } from "../../src/core/errors.ts";
import type { Body, Condition } from "../../src/core/ports.ts";
import { describeDestinationPromises, plainUploadMemory } from "../support/destination-promises.ts";
import { bodyOf, makeTree, noise, setMtime, temporaryFolder } from "../support/tree.ts";

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

function readOrNull(path: string): Uint8Array | null {
  return existsSync(path) ? readFileSync(path) : null;
}

/** Hard links on FAT: Linux first looks whether the name is taken. */
const noLinks = async (_: string, added: string) => {
  const code = existsSync(added) ? "EEXIST" : "EPERM";
  throw Object.assign(new Error(code), { code, syscall: "link" });
};

/** On macOS the file system is asked first. */
const noLinksAtAll = async () => {
  throw Object.assign(new Error("ENOTSUP"), { code: "ENOTSUP", syscall: "link" });
};

for (const [name, link] of [
  ["folder", undefined],
  ["folder without hard links", noLinks],
] as const) {
  describeDestinationPromises(
    name,
    async () => {
      const folder = temporaryFolder();
      const root = join(folder.path, "not", "yet");
      const destination = await openFolderDestination({ root, createRoot: true, ...(link && { link }) });
      return {
        destination,
        read: async (key) => readOrNull(join(root, key)),
        plant: async (key, bytes) => {
          await mkdir(dirname(join(root, key)), { recursive: true });
          writeFileSync(join(root, key), bytes);
        },
        keys: async () => filesBelow(root),
        close: async () => {
          await destination.close();
          folder.remove();
        },
      };
    },
    { largeBytes: 1_000_003 },
  );
}

describe("a folder as destination", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let root: string;
  const signal = new AbortController().signal;

  beforeEach(() => {
    folder = temporaryFolder();
    root = join(folder.path, "archive");
  });
  afterEach(() => folder.remove());

  const open = (options: Partial<FolderOptions> = {}) => openFolderDestination({ root, createRoot: true, ...options });
  const bytes = (sizeBytes: number, seed = "x"): Body => ({ kind: "bytes", bytes: noise(sizeBytes, seed) });

  async function put(key: string, body: Body, options: Partial<FolderOptions> = {}, condition?: Condition) {
    const destination = await open(options);
    return putInto(destination, key, body, condition);
  }

  function putInto(
    destination: Awaited<ReturnType<typeof open>>,
    key: string,
    body: Body,
    condition: Condition = { if: "absent" },
  ) {
    const job = { fileId: 1, key, body, condition, metadata: {}, contentType: null };
    return destination.put(job, { signal, uploads: plainUploadMemory(), onBytes: () => {} });
  }

  const code = (wanted: ErrorCode, message = /./) =>
    expect.objectContaining({ name: "UploaderError", code: wanted, message: expect.stringMatching(message) });

  describe("its own folder", () => {
    it("is made by the first file and by nothing else, and keeps its identity", async () => {
      const destination = await open();
      expect(destination.identity).toBe(`file://${root}`);
      expect((await destination.check(signal)).notices).toEqual([expect.stringContaining("does not exist yet")]);
      expect((await destination.find(["a"], signal))?.size).toBe(0);
      expect(await destination.head("a", signal)).toBe("absent");
      expect(existsSync(root)).toBe(false);
      expect(await putInto(destination, "a", bytes(1))).toMatchObject({ outcome: "stored" });
      expect((await open()).identity).toBe(destination.identity);
      expect((await destination.check(signal)).notices).toEqual([]);
    });

    it("is one, by whatever symlink it is named", async () => {
      mkdirSync(root);
      symlinkSync(root, join(folder.path, "link"));
      expect((await open({ root: join(folder.path, "link") })).identity).toBe(`file://${root}`);
      expect((await open({ root: join(folder.path, "link", "new", "one") })).identity).toBe(`file://${root}/new/one`);
    });

    it("is not made when that was not allowed", async () => {
      const destination = await open({ createRoot: false });
      await expect(destination.check(signal)).rejects.toEqual(code("bucket_missing", /does not exist/));
      await expect(putInto(destination, "a", bytes(1))).rejects.toEqual(code("bucket_missing"));
      expect(existsSync(root)).toBe(false);
    });

    it("is no file", async () => {
      makeTree(folder.path, { archive: "I am a file" });
      await expect(open()).rejects.toEqual(code("bucket_missing", /is a file/));
      await expect(open({ root: join(root, "below") })).rejects.toEqual(code("bucket_missing", /is a file/));
    });

    it("that went away is not made again: an unmounted disk must not fill the disk below it", async () => {
      const destination = await open();
      await putInto(destination, "d/a", bytes(1));
      renameSync(root, join(folder.path, "unmounted"));
      for (const key of ["d/b", "new/b", "b"]) {
        await expect(putInto(destination, key, bytes(1))).rejects.toEqual(code("store_unreachable", /went away/));
      }
      await expect(destination.find(["d/a"], signal)).rejects.toEqual(code("store_unreachable"));
      expect(existsSync(root)).toBe(false);
      renameSync(join(folder.path, "unmounted"), root);
      expect(await putInto(destination, "d/b", bytes(1))).toMatchObject({ outcome: "stored" });
    });

    it("may lose folders meanwhile: they are made again", async () => {
      const destination = await open();
      await putInto(destination, "d/e/a", bytes(1));
      rmSync(join(root, "d"), { recursive: true });
      await expect(putInto(destination, "d/e/b", bytes(1))).rejects.toEqual(code("store_failed"));
      expect(await putInto(destination, "d/e/b", bytes(1))).toMatchObject({ outcome: "stored" });
    });

    it("that may not be written stops the run", async () => {
      mkdirSync(root);
      chmodSync(root, 0o555);
      chmodSync(folder.path, 0o755);
      const asRoot = process.geteuid?.() === 0;
      if (asRoot) process.seteuid?.(65534);
      try {
        const destination = await open();
        // access(2) asks for the real user, which a test run by root cannot change and change back.
        if (!asRoot) await expect(destination.check(signal)).rejects.toEqual(code("access_denied"));
        await expect(putInto(destination, "a", bytes(1))).rejects.toEqual(code("access_denied"));
      } finally {
        if (asRoot) process.seteuid?.(0);
      }
    });
  });

  describe("keys that cannot be files there", () => {
    it.each([
      ["a file stands where a folder is needed", { a: 1 }, "a/b"],
      ["a file stands further up", { a: 1 }, "a/b/c/d"],
      ["a folder stands where the file is", { "a/b": 1 }, "a"],
      ["a name of more than 255 bytes", {}, `${"n".repeat(256)}.wav`],
      ["a folder of more than 255 bytes", {}, `${"n".repeat(256)}/a.wav`],
    ])("%s", async (_, contents, key) => {
      mkdirSync(root);
      makeTree(root, contents);
      const before = filesBelow(root);
      await expect(put(key, bytes(5))).rejects.toEqual(code("key_impossible"));
      for (const condition of [{ if: "always" }, { if: "etag", etag: "e" }] as const) {
        await expect(put(key, bytes(5), {}, condition)).rejects.toEqual(code("key_impossible"));
      }
      expect(filesBelow(root)).toEqual(before);
      expect((await (await open()).find([key], signal))?.size).toBe(0);
    });

    it("a symlink under the name is a conflict, and what it leads to is left alone", async () => {
      makeTree(folder.path, { "theirs.wav": "theirs" });
      mkdirSync(root);
      symlinkSync(join(folder.path, "theirs.wav"), join(root, "a.wav"));
      expect(await put("a.wav", bytes(5))).toEqual({ outcome: "conflict", found: null });
      expect(readFileSync(join(folder.path, "theirs.wav"), "utf8")).toBe("theirs");
    });
  });

  describe("temporary files", () => {
    const owner = crc32(hostname()).toString(16).padStart(8, "0");
    const deadPid = spawnSync(process.execPath, ["-e", ""]).pid;
    const dayMs = 24 * 3600 * 1000;

    it("are gone after every outcome", async () => {
      const source = join(folder.path, "s.wav");
      makeTree(folder.path, { "s.wav": 3000 });
      const body = await bodyOf(source);
      await put("d/a", body);
      await put("d/a", body);
      await put("d/a", bytes(9));
      await put("d/a", bytes(9), {}, { if: "etag", etag: "other" });
      await put("d/b", bytes(9), {}, { if: "always" });
      setMtime(source, 1);
      await put("d/c", body);
      expect(filesBelow(root).sort()).toEqual(["d/a", "d/b"]);
    });

    it.each([
      ["of a process that is gone", `.uploader-${owner}-${deadPid}-1.partial`, 0, true],
      ["of another host, untouched for a day", ".uploader-00000000-1-1.partial", dayMs + 60_000, true],
      ["of another host, fresh", ".uploader-00000000-1-1.partial", dayMs - 60_000, false],
      ["of a living process", `.uploader-${owner}-${process.pid}-1.partial`, 0, false],
      ["that are none of ours", ".someone-else.partial", 30 * dayMs, false],
    ])("%s: swept out of a folder when it is next used: %s after %i ms: %s", async (_, name, laterMs, isSwept) => {
      makeTree(root, { [`d/${name}`]: 100, [name]: 100 });
      setMtime(join(root, "d", name), 1_000_000);
      await put("d/a", bytes(1), { nowMs: () => Date.now() + laterMs });
      expect(existsSync(join(root, "d", name))).toBe(!isSwept);
      expect(existsSync(join(root, name))).toBe(!isSwept);
    });
  });

  describe("objects", () => {
    it("are durable, and named by their content", async () => {
      const content = noise(700_000, "content");
      const hex = crc32(content).toString(16).padStart(8, "0");
      const outcome = await put("a", { kind: "bytes", bytes: content });
      expect(outcome).toEqual({
        outcome: "stored",
        object: {
          sizeBytes: 700_000,
          etag: `crc32-${hex}-700000`,
          checksum: { algorithm: "crc32", type: "full", value: Buffer.from(hex, "hex").toString("base64") },
          versionId: null,
          proof: "fsync",
          requestId: null,
        },
      });
    });

    it("keep the time of their source", async () => {
      makeTree(folder.path, { "s.wav": 10 });
      setMtime(join(folder.path, "s.wav"), 1_234_567_890);
      await put("a", await bodyOf(join(folder.path, "s.wav")));
      expect(statSync(join(root, "a")).mtimeMs).toBe(1_234_567_890_000);
    });

    it("are found by size alone; only reading them tells more", async () => {
      const destination = await open();
      await putInto(destination, "a", bytes(10));
      const found = (await destination.find(["a"], signal))?.get("a");
      expect(found).toEqual({ sizeBytes: 10, etag: null, checksum: null, versionId: null });
      expect(await destination.compare(bytes(10), found!, signal)).toBe("unknown");
      expect(await destination.compare(bytes(11), found!, signal)).toBe("different");
    });

    it("are not copied any further once the run is told to stop", async () => {
      const stop = new AbortController();
      let sentBytes = 0;
      const onBytes = (count: number) => {
        sentBytes += count;
        stop.abort();
      };
      const job = { fileId: 1, key: "a", body: bytes(3_000_000), condition: { if: "absent" }, metadata: {} } as const;
      const hooks = { signal: stop.signal, uploads: plainUploadMemory(), onBytes };
      await expect((await open()).put({ ...job, contentType: null }, hooks)).rejects.toMatchObject({
        name: "AbortError",
      });
      expect(sentBytes).toBeLessThan(1_000_000);
      expect(filesBelow(root)).toEqual([]);
    });

    it("need no fsync for measurements, but then prove less", async () => {
      expect(await put("a", bytes(1), { fsync: false })).toMatchObject({ object: { proof: "size_trusted" } });
    });
  });

  describe("without hard links", () => {
    const later = { link: noLinks, nowMs: () => Date.now() + 61_000 };

    it.each([
      [0, noLinks],
      [1, noLinks],
      [299_999, noLinks],
      [1000, noLinksAtAll],
    ])("what a kill left after %i bytes is completed by a later run", async (leftBytes, link) => {
      const content = noise(300_000, "content");
      const body: Body = { kind: "bytes", bytes: content };
      makeTree(root, { "d/a": content.subarray(0, leftBytes) });
      await expect(put("d/a", body, { link })).rejects.toEqual(code("key_busy"));
      expect(statSync(join(root, "d/a")).size).toBe(leftBytes);
      expect(await put("d/a", body, { ...later, link })).toMatchObject({ outcome: "present" });
      expect(readFileSync(join(root, "d/a")).equals(content)).toBe(true);
      expect(filesBelow(root)).toEqual(["d/a"]);
    });

    it("a shorter file that is not ours stays what it is", async () => {
      makeTree(root, { "d/a": noise(1000, "theirs") });
      expect(await put("d/a", bytes(300_000), later)).toMatchObject({ outcome: "conflict" });
      expect(readFileSync(join(root, "d/a")).equals(noise(1000, "theirs"))).toBe(true);
    });

    it("but with them a beginning of our bytes was not written by us, and stays", async () => {
      makeTree(root, { "d/a": noise(300_000, "x").subarray(0, 1000) });
      expect(await put("d/a", bytes(300_000))).toMatchObject({ outcome: "conflict" });
      expect(statSync(join(root, "d/a")).size).toBe(1000);
    });
  });
});

it.each<[string, ErrorCode]>([
  ["ENOSPC", "disk_full"],
  ["EDQUOT", "disk_full"],
  ["EACCES", "access_denied"],
  ["EROFS", "access_denied"],
  ["ENAMETOOLONG", "key_impossible"],
  ["EINVAL", "key_impossible"],
  ["EILSEQ", "key_impossible"],
  ["EFBIG", "file_too_large"],
  ["ESTALE", "store_unreachable"],
  ["EMFILE", "store_busy"],
  ["EIO", "store_failed"],
])("a destination's %s is %s", (errno, code) => {
  const error = folderFault("/archive/a", Object.assign(new Error("failed"), { code: errno, syscall: "write" }));
  expect(error).toMatchObject({ code, message: expect.stringContaining("/archive/a") });
  expect(errorCodes[code].retry).toBe(
    { disk_full: "stop", access_denied: "stop", store_unreachable: "stop", store_busy: "again", store_failed: "again" }[
      code as string
    ] ?? "never",
  );
});

it("an error that is no answer of the system stays what it is", () => {
  const bug = new TypeError("bug");
  expect(folderFault("/archive/a", bug)).toBe(bug);
});

describe("assertDisjoint", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeEach(() => {
    folder = temporaryFolder();
    makeTree(folder.path, { "card/a.wav": 1, "card2/a.wav": 1 });
    symlinkSync(join(folder.path, "card"), join(folder.path, "link"));
  });
  afterEach(() => folder.remove());

  it.each([
    ["card", "card", "the same as"],
    ["card", "card/archive/new", "inside"],
    ["card", "link/archive", "inside"],
    ["link", "card", "the same as"],
    ["card", ".", "around"],
    ["card/new/deep", "card/new", "around"],
  ])("refuses source %s and destination %s", async (source, destination, relation) => {
    await expect(assertDisjoint(join(folder.path, source), join(folder.path, destination))).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining(relation),
    });
  });

  it.each([
    ["card", "card2"],
    ["card", "cardinal"],
    ["card", "archive/new"],
  ])("lets source %s and destination %s be", async (source, destination) => {
    await assertDisjoint(join(folder.path, source), join(folder.path, destination));
  });
});

describe("shared runs", () => {
  /** A run that ends when told to. */
  function controlled() {
    const begun: { name: string; end: (error?: Error) => void }[] = [];
    const ask = shareRuns(
      (name) =>
        new Promise((resolve, reject) => begun.push({ name, end: (error) => (error ? reject(error) : resolve()) })),
    );
    return { begun, ask };
  }

  it("never answer with a run that began before they were asked", async () => {
    const { begun, ask } = controlled();
    const first = ask("d");
    const late = [ask("d"), ask("d")];
    let answered = false;
    void late[0]!.then(() => {
      answered = true;
    });
    begun[0]!.end();
    await first;
    expect(answered).toBe(false);
    expect(begun).toHaveLength(2);
    begun[1]!.end();
    await Promise.all(late);
    void ask("d");
    expect(begun).toHaveLength(3);
  });

  it("of one name do not wait for another", () => {
    const { begun, ask } = controlled();
    void ask("d");
    void ask("e");
    expect(begun.map(({ name }) => name)).toEqual(["d", "e"]);
  });

  it("that fail tell those who waited for them, and nobody else", async () => {
    const { begun, ask } = controlled();
    const first = ask("d");
    const second = ask("d");
    begun[0]!.end(new Error("disk"));
    await expect(first).rejects.toThrow("disk");
    await Promise.resolve();
    begun[1]!.end();
    await second;
  });
});
