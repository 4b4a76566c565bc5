/** File names, kinds of files and files that change while they are sent: nothing lost, on no destination. */
import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openWorkplace, type Workplace } from "./workplace.ts";

let place: Workplace;
beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place?.close());
beforeEach(() => place.s3.faults.clear());

const composed = "\u00e9.wav";
const decomposed = "e\u0301.wav";
const alone = "u\u0308.wav";
/** Every one is its own key. */
const plain = [
  "new\nline.wav",
  " lead.wav",
  "trail.wav ",
  "in  side.wav",
  "tab\there.wav",
  `quo'te".wav`,
  "\u{1f420} reef.wav",
  "50%.wav",
  "%41.wav",
  "%2F.wav",
  "a+b.wav",
  "a b/c d/e f.wav",
  "back\\slash.wav",
  "#hash?q=1&r=2.wav",
  "semi;$(colon)`.wav",
  "star*[1].wav",
  "..hidden.wav",
  "...wav",
  "\x1b[31mred.wav",
  "Case.wav",
  "case.wav",
  "DIR/x.wav",
  "dir/x.wav",
  composed,
  decomposed,
  "empty.wav",
];
const contents = Object.fromEntries(
  [...plain, alone].map((name) => [
    name,
    name === "empty.wav" ? "" : `content of ${JSON.stringify(name)} ${name.length}`,
  ]),
);

describe("names", () => {
  // "trail.wav " is no .wav.
  const all = ["--include", "**", "--include", "**/.*"];
  const latin1 = Buffer.from("caf\xe9.wav", "latin1");
  let source: string;
  beforeAll(() => {
    source = place.tree("odd", contents);
    if (process.platform === "linux") writeFileSync(Buffer.concat([Buffer.from(`${source}/`), latin1]), "not UTF-8");
    const deep = `${"d".repeat(250)}/`.repeat(4);
    // With the prefix `odd/` these keys have 1,024 and 1,025 bytes.
    place.tree("odd", { [`${deep}${"x".repeat(12)}.wav`]: "fits", [`${deep}${"x".repeat(13)}.wav`]: "too long" });
  });
  const fits = `${"d".repeat(250)}/`.repeat(4).concat("x".repeat(12), ".wav");

  it("uploader upload ODD s3://reef/odd", async () => {
    const ended = await place.run(["upload", source, "s3://reef/odd", "--project", "odd", ...all]);
    expect(ended.exitCode).toBe(3);
    const keys = [...plain, alone.normalize("NFC"), fits].map((key) => `odd/${key}`);
    expect(new Set(place.s3.keys("reef"))).toEqual(new Set(keys));
    for (const [name, text] of Object.entries(contents)) {
      const key = name === alone ? alone.normalize("NFC") : name;
      expect(Buffer.from(await place.s3.object("reef", `odd/${key}`)!.bytes()).toString()).toBe(text);
    }
    const failed = (await place.rows("odd")).filter(({ status }) => status !== "uploaded");
    expect(failed).toMatchObject([
      { status: "failed", code: "key_impossible", permanent: true, key: "odd/caf\\xe9.wav" },
      { status: "failed", code: "key_impossible", permanent: true, key: expect.stringMatching(/^odd\/d{250}\//) },
    ]);
    expect(ended.stderr).toMatch(/^failed: caf\\xe9\.wav: the name is not UTF-8$/m);
    expect(ended.stderr).toMatch(/^failed: d+\/.*x{13}\.wav: the key is longer than 1024 bytes$/m);
    // Nothing in a name reaches the terminal as it is.
    expect(ended.stderr + ended.stdout).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
    const list = await place.run(["files", "--project", "odd"]);
    expect(list.stdout).toContain("  new\\x0aline.wav\n");
    expect(list.stdout).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
    const again = await place.run(["upload", source, "s3://reef/odd", "--project", "odd", "--json", ...all]);
    expect(again.events().at(-1)).toMatchObject({
      filesThisRun: 0,
      filesSkipped: keys.length,
      filesFailed: 2,
      exitCode: 3,
    });
    for (const key of keys) expect(place.s3.object("reef", key)!.writes).toBe(1);
  });

  it("uploader upload ODD archive", async () => {
    const ended = await place.run(["upload", source, "odd-archive", "--project", "odd-archive", ...all]);
    expect(ended.exitCode).toBe(3);
    for (const [name, text] of Object.entries(contents)) {
      const key = name === alone ? alone.normalize("NFC") : name;
      expect(readFileSync(join(place.path("odd-archive"), key), "utf8")).toBe(text);
    }
    const rows = await place.rows("odd-archive");
    expect(rows.filter(({ status }) => status === "uploaded")).toHaveLength(plain.length + 3);
  });

  it("uploader upload CARD s3://reef//a///b/: one slash between segments", async () => {
    const card = place.tree("slashes", { "1.wav": 5 });
    expect(await place.run(["upload", card, "s3://reef//a///b/", "-q"])).toMatchObject({ exitCode: 0 });
    expect(place.s3.keys("reef").filter((key) => key.startsWith("a/"))).toEqual(["a/b/1.wav"]);
  });
});

describe("kinds of files", () => {
  it("uploader upload CARD archive -v, with links, loops, fifos and sockets", async () => {
    const card = place.tree("kinds", { "real.wav": "recording", "deep/er/2.wav": "second" });
    place.tree("outside", { "secret.wav": "not of this card" });
    symlinkSync(place.path("outside"), `${card}/out`);
    symlinkSync(place.path("outside/secret.wav"), `${card}/link.wav`);
    symlinkSync("..", `${card}/deep/loop`);
    symlinkSync("nowhere", `${card}/dangling.wav`);
    symlinkSync("nowhere", `${card}/\x1b[2Jwipes`);
    execFileSync("mkfifo", [`${card}/fifo.wav`]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(`${card}/socket.wav`, resolve));
    const ended = await place.run(["upload", card, "s3://reef/kinds", "--project", "kinds", "-v"]);
    server.close();
    expect(ended.exitCode).toBe(0);
    expect(place.s3.keys("reef").filter((key) => key.startsWith("kinds/"))).toEqual([
      "kinds/deep/er/2.wav",
      "kinds/real.wav",
    ]);
    for (const odd of [
      "symlink: out",
      "symlink: link.wav",
      "symlink: deep/loop",
      "symlink: dangling.wav",
      "symlink: \\x1b[2Jwipes",
    ]) {
      expect(ended.stderr).toContain(`${odd}\n`);
    }
    expect(ended.stderr).toMatch(/^fifo: fifo\.wav$/m);
    expect(ended.stderr).toMatch(/^socket: socket\.wav$/m);
    expect(ended.stderr).toMatch(
      /^(?=.*5 symlinks not followed)(?=.*1 fifo not sent)(?=.*1 socket not sent).* \(-v names them\)$/m,
    );
  });
});

describe("files that change while the run goes on", () => {
  /** One file at a time; the first hangs in the store until `meanwhile` is done. */
  async function changing(
    project: string,
    files: Record<string, string>,
    meanwhile: (card: string) => void,
    uid?: number,
  ) {
    const card = place.tree(project, files);
    place.s3.faults.push({
      match: { operation: "PutObject", key: new RegExp(`^${project}/`) },
      action: { kind: "stall" },
    });
    const state = place.path(`state-${project}`);
    mkdirSync(state);
    chmodSync(state, 0o777);
    const own = uid === undefined ? {} : { UPLOADER_DATABASE_URL: undefined, UPLOADER_STATE_DIR: state, HOME: "/" };
    const args = [
      "upload",
      card,
      `s3://reef/${project}`,
      "--project",
      project,
      "-j",
      "1",
      "--sync-settle-seconds",
      "0",
    ];
    const running = place.start([...args, "--json"], { env: own, ...(uid === undefined ? {} : { uid }) });
    await place.s3.waitFor((request) => request.state === "stalled" && request.key.startsWith(`${project}/`));
    meanwhile(card);
    place.s3.faults.release();
    const ended = await running.ended;
    return { ended, files: ended.events().filter((event) => event.type === "file"), summary: ended.events().at(-1) };
  }
  const three = { "1.wav": "first", "2.wav": "second", "3.wav": "third" };

  it("uploader upload …, and a file vanishes", async () => {
    const { files, summary } = await changing("vanishing", three, (card) => rmSync(`${card}/2.wav`));
    expect(summary).toMatchObject({ filesUploaded: 2, filesFailed: 1, exitCode: 3, status: "completed_with_errors" });
    expect(files).toContainEqual(expect.objectContaining({ path: "2.wav", status: "failed", errorCode: "file_gone" }));
    expect(await place.rows("vanishing")).toMatchObject([
      { status: "uploaded" },
      { status: "failed", permanent: true },
      {},
    ]);
  });

  it("uploader upload …, and a file grows: all of it is sent, once", async () => {
    const { files, summary } = await changing("growing", three, (card) => appendFileSync(`${card}/2.wav`, " and more"));
    expect(files.filter(({ path }) => path === "2.wav").map(({ status }) => status)).toEqual(["pending", "uploaded"]);
    expect(summary).toMatchObject({ filesUploaded: 3, exitCode: 0 });
    const object = place.s3.object("reef", "growing/2.wav")!;
    expect(Buffer.from(await object.bytes()).toString()).toBe("second and more");
    expect(object.writes).toBe(1);
  });

  it("uploader upload …, and a file may not be read any more", async () => {
    const nobody = process.getuid?.() === 0 ? 65534 : undefined;
    const { files, summary } = await changing("losing", three, (card) => chmodSync(`${card}/2.wav`, 0o000), nobody);
    expect(files).toContainEqual(
      expect.objectContaining({ path: "2.wav", status: "failed", errorCode: "file_forbidden" }),
    );
    expect(summary).toMatchObject({ filesUploaded: 2, filesFailed: 1, exitCode: 3 });
  });

  it("uploader upload …, and a file never stops growing: exit 4, and the next run takes it", async () => {
    const card = place.tree("restless", { "1.wav": "settled", "grows.wav": 17 * 1024 * 1024 });
    const grow = (): boolean => {
      appendFileSync(`${card}/grows.wav`, "!");
      return false;
    };
    place.s3.faults.push({ match: { operation: "UploadPart", where: grow }, action: { kind: "stall" } });
    const args = ["upload", card, "s3://reef/restless", "--project", "restless", "--sync-settle-seconds", "0"];
    const ended = await place.run(args);
    expect(ended.exitCode).toBe(4);
    expect(ended.stdout).toMatch(
      /finished, except files that are still being written: the same command takes them later\n/,
    );
    expect(ended.stdout).toMatch(/1 uploaded, 1 still changing\n/);
    expect(await place.session("restless")).toMatchObject({ status: "interrupted" });
    expect(place.s3.keys("reef").filter((key) => key.startsWith("restless/"))).toEqual(["restless/1.wav"]);
    place.s3.faults.clear();
    expect(await place.run(args)).toMatchObject({ exitCode: 0 });
    expect(place.s3.object("reef", "restless/grows.wav")!.sizeBytes).toBeGreaterThan(17 * 1024 * 1024);
  });
});
