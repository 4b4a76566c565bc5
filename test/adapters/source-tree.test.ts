import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createPace } from "../../src/adapters/pace.ts";
import { openSourceTree, type SourceTreeOptions } from "../../src/adapters/source-tree.ts";
import { compareKeys } from "../../src/core/key.ts";
import { keysOf, makeTree, scanAll, shimmerHead, temporaryFolder } from "../support/tree.ts";

let folder: ReturnType<typeof temporaryFolder>;
let root: string;

beforeEach(() => {
  folder = temporaryFolder();
  root = join(folder.path, "card");
  mkdirSync(root);
});
afterEach(() => folder.remove());

const tree = (options: Partial<SourceTreeOptions> = {}) =>
  openSourceTree({ root, include: ["**"], exclude: [], ...options });
const keys = async (options: Partial<SourceTreeOptions> = {}) => keysOf((await scanAll(tree(options))).files);

/** The work as a user who may not read everything: root may. */
async function unprivileged<T>(work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return work();
  process.seteuid?.(65534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

describe("files", () => {
  it("come with their exact size and mtime", async () => {
    makeTree(root, { "a/R1.wav": 1234 });
    execFileSync("touch", ["-d", "2025-10-30T12:34:56.123456789Z", join(root, "a/R1.wav")]);
    expect((await scanAll(tree())).files).toEqual([
      {
        path: "a/R1.wav",
        key: "a/R1.wav",
        sizeBytes: 1234,
        mtimeNs: 1761827696123456789n,
        problem: null,
        note: null,
      },
    ]);
  });

  it("come in ascending byte order of their keys, folders among them", async () => {
    const names = ["a/z", "a.b", "a-b", "a0", "a/b/c", "b", "B", "é", "z/1", "\u{1f399}", "\uffee", "a b", "a\nb"];
    makeTree(root, Object.fromEntries(names.map((name) => [name, 1])));
    expect(await keys()).toEqual([...names].sort(compareKeys));
  });

  it("come in batches of about the size asked for, across folders", async () => {
    makeTree(root, Object.fromEntries(Array.from({ length: 95 }, (_, at) => [`d${at % 19}/f${at}`, 1])));
    const whole = await scanAll(tree({ batchSize: 10 }));
    expect(whole.files).toHaveLength(95);
    expect(whole.batches).toBeGreaterThanOrEqual(7);
    expect(whole.batches).toBeLessThanOrEqual(10);
  });

  it("all come from a folder larger than one go", async () => {
    makeTree(root, Object.fromEntries(Array.from({ length: 2500 }, (_, at) => [`f${at}`, 1])));
    expect(new Set(await keys()).size).toBe(2500);
  });

  it("come from as deep as paths go", async () => {
    const deep = "d/".repeat(1500);
    makeTree(root, { [`${deep}R1.wav`]: 1 });
    expect(await keys()).toEqual([`${deep}R1.wav`]);
  });

  it("come the same from a disk too slow to wait for", async () => {
    makeTree(root, Object.fromEntries(Array.from({ length: 400 }, (_, at) => [`d${at % 3}/f${at}`, at])));
    makeTree(root, { "d1/000": shimmerHead() });
    let clock = 0;
    const slow = createPace(() => {
      clock += 1000;
      return clock;
    });
    const [quickly, slowly] = [await scanAll(tree({ include: [] })), await scanAll(tree({ include: [], pace: slow }))];
    expect(slowly).toEqual(quickly);
    expect((await scanAll(tree({ pace: slow }))).files).toEqual((await scanAll(tree())).files);
  });

  it("are only read: nothing in the tree is touched", async () => {
    makeTree(root, { "a.wav": 10, "000": shimmerHead(), "d/b.txt": 300 });
    const look = () =>
      readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => {
        const { mtimeMs, ctimeMs, size, mode } = statSync(join(root, name));
        return { name, mtimeMs, ctimeMs, size, mode };
      });
    const before = look();
    await keys({ include: [] });
    expect(look()).toEqual(before);
  });
});

describe("names", () => {
  const nfc = "caf\u00e9";
  const nfd = "cafe\u0301";

  it("stay as they are whatever is in them", async () => {
    const names = [
      " a ",
      "a\nb",
      "a\tb",
      "'q' \"q\"",
      "100%+7&<a>;#?",
      "%41%2F",
      "🎙️.wav",
      "\\x41",
      "\ufffd",
      "a*b?[c]",
    ];
    makeTree(root, Object.fromEntries(names.map((name) => [name, 1])));
    expect(await keys()).toEqual([...names].sort(compareKeys));
  });

  it("go into the key in NFC, folder by folder, and that is noted", async () => {
    makeTree(root, { [`${nfd}/${nfd}.wav`]: 1, "plain.wav": 1 });
    expect((await scanAll(tree())).files).toMatchObject([
      { path: `${nfd}/${nfd}.wav`, key: `${nfc}/${nfc}.wav`, note: "normalised", problem: null },
      { path: "plain.wav", key: "plain.wav", note: null },
    ]);
  });

  it("keep their own form when a sibling has the NFC one, so that no two files share a key", async () => {
    makeTree(root, { [`${nfd}/x`]: 1, [`${nfc}/x`]: 2, [`d/${nfd}`]: 3, [`d/${nfc}`]: 4 });
    const { files } = await scanAll(tree());
    expect(new Set(keysOf(files)).size).toBe(4);
    for (const { path, key, note } of files) {
      expect(key).toBe(path);
      expect(note).toBe(path.includes(nfd) ? "kept_own_form" : null);
    }
  });

  it("that are not UTF-8 give no key but are shown, and so are all names below them", async () => {
    const latin1 = Buffer.concat([Buffer.from(`${root}/caf`), Buffer.from([0xe9])]);
    mkdirSync(latin1);
    writeFileSync(Buffer.concat([latin1, Buffer.from("/R1.wav")]), "12345");
    writeFileSync(Buffer.concat([latin1, Buffer.from("/"), Buffer.from([0xff]), Buffer.from(".wav")]), "1");
    writeFileSync(Buffer.concat([Buffer.from(`${root}/x`), Buffer.from([0x80])]), "1");
    makeTree(root, { "real \ufffd.wav": 1, "ok.wav": 1 });
    const { files, oddities } = await scanAll(tree());
    expect(oddities).toEqual([]);
    const problem = "the name is not UTF-8";
    expect(files).toHaveLength(5);
    expect(files).toContainEqual(
      expect.objectContaining({ path: "caf\\xe9/R1.wav", key: null, problem, sizeBytes: 5 }),
    );
    expect(files).toContainEqual(expect.objectContaining({ path: "caf\\xe9/\\xff.wav", key: null, problem }));
    expect(files).toContainEqual(expect.objectContaining({ path: "x\\x80", key: null, problem }));
    expect(keysOf(files).filter((key) => key !== null)).toEqual(["ok.wav", "real \ufffd.wav"]);
  });
});

describe("what is taken", () => {
  it("by default: recordings of every kind, in any case, at any depth", async () => {
    const taken = [
      "A.WAV",
      "b.wav",
      "d/e/c.FLAC",
      "p.jpg",
      "q.JPEG",
      "r.Png",
      "v.mp4",
      "v.MOV",
      "v.avi",
      "r.pdf",
      "s.json",
    ];
    const signals = ["c.csv", "e.edf", "b.bdf", ".hidden/x.wav"];
    const left = ["notes.txt", "README", "x.docx", "wav", "a.wav.bak"];
    makeTree(root, Object.fromEntries([...taken, ...signals, ...left].map((name) => [name, 300])));
    const { files, excludedFiles } = await scanAll(tree({ include: [] }));
    expect(keysOf(files)).toEqual([...taken, ...signals].sort(compareKeys));
    expect(excludedFiles).toBe(left.length);
  });

  it("by default: Shimmer recordings, known by their header whatever they are called", async () => {
    const long = Uint8Array.from([...shimmerHead(), ...new Uint8Array(1000)]);
    makeTree(root, {
      "data/T_1/S-000/000": long,
      "x__000.txt": long,
      "header only": shimmerHead(),
      short: long.subarray(0, 255),
      "text.txt": "words ".repeat(100),
      "x.bin": long,
      empty: "",
    });
    const { files, excludedFiles } = await scanAll(tree({ include: [] }));
    expect(keysOf(files)).toEqual(["data/T_1/S-000/000", "header only", "x__000.txt"]);
    expect(excludedFiles).toBe(4);
  });

  it("an include decides alone", async () => {
    makeTree(root, { "a.wav": 1, "b.txt": 1, "000": shimmerHead(), "d/c.txt": 1 });
    expect(await keys({ include: ["**/*.txt"] })).toEqual(["b.txt", "d/c.txt"]);
    expect(await keys({ include: ["*.txt", "0*"] })).toEqual(["000", "b.txt"]);
  });

  it.each<[string[], string[], string[]]>([
    [["**/*.wav"], [], [".h/x.wav", "A.WAV", "a.wav", "d/tmp/t.wav", "d/x.wav", "new\nline/x.wav", "tmp/t.wav"]],
    [["*.wav"], [], ["a.wav"]],
    [["d/**"], [], ["d/tmp/t.wav", "d/x.jpg", "d/x.wav"]],
    [["**/*.{wav,jpg}"], ["**/tmp/**"], [".h/x.wav", "a.wav", "d/x.jpg", "d/x.wav", "new\nline/x.wav"]],
    [["**/*.wav", "!d/**"], ["new*/**"], [".h/x.wav", "A.WAV", "a.wav", "tmp/t.wav"]],
    [["**/[ab].wav"], [], ["a.wav"]],
    [["**"], ["**/*.wav", "tmp", "d/tmp/"], ["d/x.jpg"]],
    [["**"], ["d"], [".h/x.wav", "A.WAV", "a.wav", "new\nline/x.wav", "tmp/t.wav"]],
    [["**"], ["**"], []],
  ])("include %j exclude %j", async (include, exclude, expected) => {
    const names = ["a.wav", "A.WAV", "d/x.wav", "d/x.jpg", "tmp/t.wav", "d/tmp/t.wav", ".h/x.wav", "new\nline/x.wav"];
    makeTree(root, Object.fromEntries(names.map((name) => [name, 1])));
    expect(await keys({ include, exclude })).toEqual(expected);
  });

  it("patterns in NFC match names in any form", async () => {
    makeTree(root, { "cafe\u0301/a.wav": 1, "x/a.wav": 1 });
    expect(await keys({ exclude: ["caf\u00e9/**"] })).toEqual(["x/a.wav"]);
  });

  it("never what systems, secrets and our own work leave behind, but folders of such names are entered", async () => {
    makeTree(root, {
      "._R1.WAV": 1,
      ".DS_Store": 1,
      "d/Thumbs.db": 1,
      "users.json": 1,
      "upload_log.json.backup_1": 1,
      ".env.local": 1,
      "x.wav.partial": 1,
      ".env/kept.wav": 1,
    });
    const { files, excludedFiles } = await scanAll(tree());
    expect(keysOf(files)).toEqual([".env/kept.wav"]);
    expect(excludedFiles).toBe(7);
  });

  it("never the paths that are ours, whatever characters they have", async () => {
    makeTree(root, { "state [1]/log.json": 1, "state 1/log.json": 1, "config.json": 1, "d/config.json": 1 });
    symlinkSync(join(root, "state [1]"), join(folder.path, "state"));
    const excludePaths = [join(folder.path, "state"), join(root, "config.json"), join(root, "not", "there")];
    expect(await keys({ excludePaths })).toEqual(["d/config.json", "state 1/log.json"]);
  });

  it("refuses a pattern that means nothing", () => {
    expect(() => tree({ include: [""] })).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("what is odd", () => {
  it("symlinks are reported, whatever they lead to and are called, and never followed", async () => {
    makeTree(folder.path, { "elsewhere/secret.wav": 1 });
    makeTree(root, { "a.wav": 1 });
    symlinkSync(join(folder.path, "elsewhere"), join(root, "dir"));
    symlinkSync(join(folder.path, "elsewhere/secret.wav"), join(root, "file.wav"));
    symlinkSync(root, join(root, "loop"));
    symlinkSync("/nowhere", join(root, "broken.txt"));
    symlinkSync("/nowhere", join(root, "._apple"));
    const { files, oddities } = await scanAll(tree({ include: ["**/*.wav"] }));
    expect(keysOf(files)).toEqual(["a.wav"]);
    expect(oddities).toEqual(["broken.txt", "dir", "file.wav", "loop"].map((path) => ({ path, kind: "symlink" })));
  });

  it("fifos and sockets are reported and not waited for, unless excluded", async () => {
    execFileSync("mkfifo", [join(root, "pipe.wav"), join(root, "pipe.tmp")]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(root, "sock"), resolve));
    const { files, oddities } = await scanAll(tree({ exclude: ["**/*.tmp"] }));
    await new Promise((resolve) => server.close(resolve));
    expect(files).toEqual([]);
    expect(oddities).toEqual([
      { path: "pipe.wav", kind: "fifo" },
      { path: "sock", kind: "socket" },
    ]);
  });

  it("folders and files that may not be read are reported, and the rest is taken", async () => {
    makeTree(root, { "a.wav": 1, "locked/b.wav": 1, "listed/c.wav": 1, "000": shimmerHead() });
    chmodSync(join(root, "locked"), 0);
    chmodSync(join(root, "listed"), 0o444);
    chmodSync(join(root, "000"), 0);
    chmodSync(folder.path, 0o755);
    const { files, oddities } = await unprivileged(() => scanAll(tree({ include: [] })));
    for (const path of ["locked", "listed"]) chmodSync(join(root, path), 0o755);
    expect(keysOf(files)).toEqual(["a.wav"]);
    expect(oddities).toEqual([
      { path: "000", kind: "unreadable_file" },
      { path: "listed/c.wav", kind: "unreadable_file" },
      { path: "locked", kind: "unreadable_folder" },
    ]);
  });

  it("excluded folders are not even opened", async () => {
    makeTree(root, { "tmp/b.wav": 1, "a.wav": 1 });
    chmodSync(join(root, "tmp"), 0);
    chmodSync(folder.path, 0o755);
    const { oddities } = await unprivileged(() => scanAll(tree({ exclude: ["**/tmp/**"] })));
    chmodSync(join(root, "tmp"), 0o755);
    expect(oddities).toEqual([]);
  });

  it("what goes while the scan is under way is reported as vanished", async () => {
    makeTree(root, { "a/1": 1, "b/1": 1, c: 1, d: 1 });
    const oddities = [];
    const found = [];
    for await (const batch of tree({ batchSize: 1 }).scan(new AbortController().signal)) {
      found.push(...keysOf(batch.files));
      oddities.push(...batch.oddities);
      rmSync(join(root, "b"), { recursive: true, force: true });
      rmSync(join(root, "d"), { force: true });
      if (found.length === 1) symlinkSync("c", join(root, "d"));
    }
    expect(found).toEqual(["a/1", "c"]);
    expect(oddities).toEqual([
      { path: "b", kind: "vanished" },
      { path: "d", kind: "symlink" },
    ]);
  });
});

describe("the root", () => {
  const code = (wanted: string, message: RegExp) =>
    expect.objectContaining({ name: "UploaderError", code: wanted, message: expect.stringMatching(message) });

  it("that is missing is named", () => {
    expect(() => tree({ root: join(root, "none") })).toThrow(code("source_missing", /none" does not exist/));
  });

  it("that is a file: its folder is to be given", () => {
    makeTree(root, { "a.wav": 1 });
    expect(() => tree({ root: join(root, "a.wav") })).toThrow(code("source_missing", /is a file, not a folder/));
    expect(() => tree({ root: join(root, "a.wav") })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(root) }),
    );
  });

  it("that is a symlink is followed once", async () => {
    makeTree(root, { "a.wav": 1 });
    symlinkSync(root, join(folder.path, "link"));
    const linked = tree({ root: join(folder.path, "link") });
    expect(linked.root).toBe(root);
    expect(keysOf((await scanAll(linked)).files)).toEqual(["a.wav"]);
  });

  it("that may not be read ends the scan", async () => {
    chmodSync(root, 0);
    chmodSync(folder.path, 0o755);
    await unprivileged(() => expect(scanAll(tree())).rejects.toEqual(code("source_unreadable", /cannot be read/)));
    chmodSync(root, 0o755);
  });

  it("that goes away before or while it is scanned ends the scan: a card pulled out is no empty card", async () => {
    makeTree(root, { "a/1": 1, "b/1": 1, "c/1": 1 });
    const source = tree({ batchSize: 1 });
    const scan = source.scan(new AbortController().signal)[Symbol.asyncIterator]();
    await scan.next();
    rmSync(root, { recursive: true });
    await expect(scan.next()).rejects.toEqual(code("source_missing", /does not exist/));
    await expect(scanAll(source)).rejects.toEqual(code("source_missing", /does not exist/));
  });

  it("that is empty gives nothing", async () => {
    expect(await scanAll(tree())).toEqual({ files: [], oddities: [], excludedFiles: 0, batches: 0 });
  });

  it("a scan stops when it is told to", async () => {
    makeTree(root, Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`d${at}/f`, 1])));
    const stop = new AbortController();
    const seen: unknown[] = [];
    const work = async () => {
      for await (const batch of tree({ batchSize: 10 }).scan(stop.signal)) {
        seen.push(batch);
        stop.abort();
      }
    };
    await expect(work()).rejects.toMatchObject({ name: "AbortError" });
    expect(seen).toHaveLength(1);
  });
});
