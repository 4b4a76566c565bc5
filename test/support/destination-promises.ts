import { appendFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checksumOf } from "../../src/core/checksum.ts";
import { UploaderError } from "../../src/core/errors.ts";
import { compareKeys } from "../../src/core/key.ts";
import type { Body, Condition, Destination, PutHooks, PutJob, PutOutcome } from "../../src/core/ports.ts";
import { bodyOf, makeTree, noise, setMtime, temporaryFolder } from "./tree.ts";

/** One destination under test, empty at first, and a second way to see and change what it holds. */
export interface DestinationUnderTest {
  destination: Destination;
  /** The bytes stored under a key, by other means than the destination's own; `null` when there are none. */
  read(key: string): Promise<Uint8Array | null>;
  /** Puts bytes there as another program would. */
  plant(key: string, bytes: Uint8Array): Promise<void>;
  /** Every key it holds, whatever put it there. */
  keys(): Promise<string[]>;
  close(): Promise<void>;
}

export interface PromiseOptions {
  /** A size that goes in more than one piece (part or buffer), in bytes. */
  largeBytes: number;
  /** False: the store remembers no checksum, and its ETags prove equality only. */
  keepsChecksums?: boolean;
}

/** A memory of multipart uploads for one process, as simple as can be. */
export function plainUploadMemory(): PutHooks["uploads"] {
  const open = new Map<number, Awaited<ReturnType<PutHooks["uploads"]["find"]>>>();
  return {
    find: async (fileId) => open.get(fileId) ?? null,
    begin: async (fileId, upload) => void open.set(fileId, { ...upload, parts: [] }),
    async part(uploadId, part) {
      for (const upload of open.values()) if (upload?.uploadId === uploadId) upload.parts.push(part);
    },
    async end(uploadId) {
      for (const [fileId, upload] of open) if (upload?.uploadId === uploadId) open.delete(fileId);
    },
  };
}

const oddNames = [
  " leading and trailing ",
  "line\nbreak",
  "tab\there",
  "\"double\" 'single' `back`",
  "100 % + 7 & <a> ; # ? = @ : , $ * ! ~ | \\ ^ [x] {y}",
  "%41%2F+%20",
  "🎙️ Ünïcödé 日本語",
  "e\u0301 kept in its own form",
  ".hidden",
  "-dash",
  "...",
];

/**
 * What every destination promises (design A5, A6): nothing lost, nothing overwritten, nothing published that is not
 * exactly what was read. `open` gives a fresh one; it is opened once and every promise uses keys of its own.
 */
export function describeDestinationPromises(
  name: string,
  open: () => Promise<DestinationUnderTest>,
  { largeBytes, keepsChecksums = true }: PromiseOptions,
): void {
  describe(`promises of a destination: ${name}`, () => {
    const folder = temporaryFolder();
    let under: DestinationUnderTest;
    let made = 0;

    beforeAll(async () => {
      under = await open();
    });
    afterAll(async () => {
      await under.close();
      folder.remove();
    });

    const bytesBody = (bytes: Uint8Array): Body => ({ kind: "bytes", bytes });

    function sourcePath(): string {
      made += 1;
      return join(folder.path, `source-${made}.bin`);
    }

    async function fileBody(bytes: Uint8Array) {
      const path = sourcePath();
      writeFileSync(path, bytes);
      return bodyOf(path);
    }

    function put(key: string, body: Body, condition: Condition = { if: "absent" }, more: Partial<PutHooks> = {}) {
      made += 1;
      const job: PutJob = { fileId: made, key, body, condition, metadata: {}, contentType: null };
      const signal = new AbortController().signal;
      return under.destination.put(job, { signal, uploads: plainUploadMemory(), onBytes: () => {}, ...more });
    }

    const signal = new AbortController().signal;
    const head = (key: string) => under.destination.head(key, signal);

    /** Of many writers at once some are told to come again (S3: 409); they do. */
    async function putUntilSettled(key: string, body: Body): Promise<PutOutcome> {
      for (let tries = 0; ; tries++) {
        try {
          return await put(key, body);
        } catch (error) {
          if (!(error instanceof UploaderError && error.code === "key_busy" && tries < 1000)) throw error;
        }
      }
    }

    async function mustFail(work: Promise<PutOutcome>, code: string): Promise<void> {
      await expect(work).rejects.toMatchObject({ name: "UploaderError", code });
    }

    it.each([
      ["an empty file", 0],
      ["one byte", 1],
      ["a small file", 4096],
      ["a large file", largeBytes],
    ])("stores exactly the bytes of %s and proves it", async (what, sizeBytes) => {
      const bytes = noise(sizeBytes, what);
      const outcome = await put(`exact/${what}`, await fileBody(bytes));
      expect(outcome).toMatchObject({ outcome: "stored", object: { sizeBytes } });
      if (outcome.outcome === "stored") expect(outcome.object.proof).not.toBe("size_trusted");
      expect(Buffer.from((await under.read(`exact/${what}`))!).equals(bytes)).toBe(true);
      expect(await head(`exact/${what}`)).toMatchObject({ sizeBytes });
    });

    it("stores bytes made by us like those of a file", async () => {
      expect(await put("made/by us", bytesBody(noise(1000, "made")))).toMatchObject({ outcome: "stored" });
      expect(Buffer.from((await under.read("made/by us"))!).equals(noise(1000, "made"))).toBe(true);
    });

    it.each(oddNames)("takes the name %j as it is", async (oddName) => {
      const key = `names/${oddName}/${oddName}`;
      expect(await put(key, bytesBody(noise(10, oddName)))).toMatchObject({ outcome: "stored" });
      expect(await under.keys()).toContain(key);
      expect([...(await under.destination.find([key], signal))!.keys()]).toEqual([key]);
      expect(await head(key)).toMatchObject({ sizeBytes: 10 });
    });

    it.each([
      ["", "empty"],
      ["a/../b", "dots"],
      ["./a", "dot"],
      ["..", "dots alone"],
      ["/a", "leading slash"],
      ["a//b", "empty segment"],
      ["a/", "trailing slash"],
      ["a\0b", "NUL"],
      ["\ud800", "half a character"],
      ["x/".repeat(510) + "long".repeat(2), "too long"],
    ])("refuses the key %j (%s) for good", async (key) => {
      await mustFail(put(key, bytesBody(noise(1, "x"))), "key_impossible");
    });

    it("answers present, and writes nothing, when the same bytes are there already", async () => {
      const body = await fileBody(noise(5000, "twice"));
      await put("twice", body);
      const again = await put("twice", body);
      expect(again).toMatchObject({ outcome: "present", object: { sizeBytes: 5000 } });
    });

    it.each([
      ["longer", 9000],
      ["shorter", 100],
      ["of the same length", 5000],
    ])("never overwrites other bytes that are %s", async (what, sizeBytes) => {
      const key = `taken/${what}`;
      const theirs = noise(sizeBytes, "theirs");
      await under.plant(key, theirs);
      expect(await put(key, await fileBody(noise(5000, "ours")))).toMatchObject({ outcome: "conflict" });
      expect(Buffer.from((await under.read(key))!).equals(theirs)).toBe(true);
    });

    it("never overwrites a large object either", async () => {
      await under.plant("taken/large", noise(10, "theirs"));
      expect(await put("taken/large", await fileBody(noise(largeBytes, "ours")))).toMatchObject({
        outcome: "conflict",
      });
      expect(Buffer.from((await under.read("taken/large"))!).equals(noise(10, "theirs"))).toBe(true);
    });

    it("lets exactly one of many writers of one key win, and tells all others so", async () => {
      const contents = Array.from({ length: 24 }, (_, at) => noise(3000, `racer ${at}`));
      const outcomes = await Promise.all(contents.map((bytes) => putUntilSettled("race", bytesBody(bytes))));
      const winners = outcomes.flatMap(({ outcome }, at) => (outcome === "stored" ? [at] : []));
      expect(winners).toHaveLength(1);
      expect(outcomes.filter(({ outcome }) => outcome === "conflict")).toHaveLength(23);
      expect(Buffer.from((await under.read("race"))!).equals(contents[winners[0]!]!)).toBe(true);
    });

    it("tells no writer of the same bytes of a conflict", async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 24 }, () => putUntilSettled("agree", bytesBody(noise(3000, "agree")))),
      );
      const kinds = new Set(outcomes.map(({ outcome }) => outcome));
      expect([...kinds].filter((kind) => kind !== "stored" && kind !== "present")).toEqual([]);
      expect(kinds).toContain("stored");
    });

    it("replaces only what it was told to expect", async () => {
      const first = await put("versions", bytesBody(noise(800, "first")));
      if (first.outcome !== "stored") throw new Error(first.outcome);
      const etag = first.object.etag!;
      expect(await put("versions", bytesBody(noise(900, "second")), { if: "etag", etag })).toMatchObject({
        outcome: "stored",
        object: { sizeBytes: 900 },
      });
      expect(await put("versions", bytesBody(noise(700, "third")), { if: "etag", etag })).toMatchObject({
        outcome: "conflict",
      });
      expect(Buffer.from((await under.read("versions"))!).equals(noise(900, "second"))).toBe(true);
    });

    it("does not replace an object that is gone", async () => {
      const condition: Condition = { if: "etag", etag: "00000000000000000000000000000000" };
      expect(await put("never there", bytesBody(noise(10, "x")), condition)).toMatchObject({ outcome: "conflict" });
      expect(await under.read("never there")).toBeNull();
    });

    it("replaces whatever is there when told to", async () => {
      await under.plant("always", noise(50, "old"));
      expect(await put("always", bytesBody(noise(60, "new")), { if: "always" })).toMatchObject({ outcome: "stored" });
      expect(Buffer.from((await under.read("always"))!).equals(noise(60, "new"))).toBe(true);
    });

    it.each([100, largeBytes])(
      "publishes nothing of a file of %i bytes that is no longer the one registered",
      async (sizeBytes) => {
        const key = `changed/${sizeBytes}`;
        const body = await fileBody(noise(sizeBytes, key));
        setMtime(body.path, 1_000_000_000);
        expect(await put(key, body)).toEqual({
          outcome: "changed",
          sizeBytes,
          mtimeNs: 1_000_000_000n * 1_000_000_000n,
        });
        appendFileSync(body.path, "more");
        expect(await put(key, body)).toMatchObject({ outcome: "changed", sizeBytes: sizeBytes + 4 });
        expect(await under.read(key)).toBeNull();
      },
    );

    it("publishes nothing of a file that grows while it is read", async () => {
      const body = await fileBody(noise(largeBytes, "growing"));
      let grown = false;
      const onBytes = () => {
        if (!grown) appendFileSync(body.path, "more");
        grown = true;
      };
      expect(await put("growing", body, { if: "absent" }, { onBytes })).toMatchObject({ outcome: "changed" });
      expect(await under.read("growing")).toBeNull();
    });

    it("says that a source file is gone, for good", async () => {
      const body = await fileBody(noise(10, "gone"));
      rmSync(body.path);
      await mustFail(put("gone", body), "file_gone");
    });

    it("follows no symlink put in a file's place", async () => {
      const body = await fileBody(noise(10, "secret"));
      const path = sourcePath();
      symlinkSync(body.path, path);
      await mustFail(put("link", { ...body, path }), "file_gone");
      expect(await under.read("link")).toBeNull();
    });

    it("sends no folder put in a file's place", async () => {
      const path = sourcePath();
      mkdirSync(path);
      await mustFail(put("folder", { kind: "file", path, sizeBytes: 10, mtimeNs: 0n }), "file_gone");
    });

    it("stops when asked to, and publishes nothing", async () => {
      const stop = new AbortController();
      const work = put(
        "stopped",
        await fileBody(noise(largeBytes, "stopped")),
        { if: "absent" },
        {
          signal: stop.signal,
          onBytes: () => stop.abort(),
        },
      );
      await expect(work).rejects.toMatchObject({ name: "AbortError" });
      expect(await under.read("stopped")).toBeNull();
    });

    it("counts the bytes it sends", async () => {
      let sentBytes = 0;
      const onBytes = (bytes: number) => {
        sentBytes += bytes;
      };
      await put("counted", await fileBody(noise(largeBytes, "counted")), { if: "absent" }, { onBytes });
      expect(sentBytes).toBe(largeBytes);
    });

    it("finds exactly the keys it holds among those asked for", async () => {
      const held = ["f/a", "f/a.wav", "f/a0", "f/b/c", "f/b/d e", "f/z", "f/é", "f/\u{1f399}", "f/\uffee"];
      for (const key of held) await put(key, bytesBody(noise(key.length, key)));
      const asked = [...held, "f/", "f/b", "f/a1", "f/b/c/d", "f", "g", "F/A", "f/zz"].sort(compareKeys);
      const found = (await under.destination.find(asked, signal))!;
      expect([...found.keys()].sort()).toEqual([...held].sort());
      for (const [key, object] of found) expect(object.sizeBytes).toBe(key.length);
      expect((await under.destination.find([], signal))!.size).toBe(0);
    });

    it("knows an absent key from a held one", async () => {
      expect(await head("no/such/key")).toBe("absent");
    });

    it("compares bytes with what it holds", async () => {
      const body = await fileBody(noise(largeBytes, "compared"));
      await put("compared", body);
      const found = await head("compared");
      if (typeof found === "string") throw new Error(found);
      const compare = (other: Body) => under.destination.compare(other, found, signal);
      expect(await compare(body)).toBe("equal");
      expect(await compare(await fileBody(noise(largeBytes, "other")))).toBe(keepsChecksums ? "different" : "unknown");
      expect(await compare(await fileBody(noise(10, "compared")))).toBe("different");
    });

    it("knows the checksum of what it stored", async () => {
      const bytes = noise(2000, "sum");
      const outcome = await put("sum", bytesBody(bytes));
      if (outcome.outcome !== "stored") throw new Error(outcome.outcome);
      const { checksum } = outcome.object;
      if (checksum !== null) expect(checksum.value).toBe(checksumOf(checksum.algorithm, bytes));
    });

    it("checks itself without writing", async () => {
      const before = await under.keys();
      expect((await under.destination.check(signal)).description).not.toBe("");
      expect(await under.keys()).toEqual(before);
    });

    it("keeps every file apart with many in flight", async () => {
      const tree = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`d${at % 7}/f${at}`, 1 + at * 97]));
      const root = join(folder.path, "many");
      makeTree(root, tree);
      const paths = Object.keys(tree);
      await Promise.all(
        paths.map(async (path) => {
          expect(await put(`many/${path}`, await bodyOf(join(root, path)))).toMatchObject({ outcome: "stored" });
        }),
      );
      for (const path of paths) {
        expect(Buffer.from((await under.read(`many/${path}`))!).equals(noise(tree[path]!, path))).toBe(true);
      }
    });
  });
}
