import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { lockHolder } from "../../src/store/embedded/lock.ts";
import { isRunning, ownIdentity } from "../../src/store/embedded/process-identity.ts";
import { readServer } from "../../src/store/embedded/server.ts";
import { openSession, type Session } from "../../src/store/embedded/session.ts";
import { type EmbeddedAddress, embeddedUrl, ensureEmbedded } from "../../src/store/embedded.ts";
import { removeFolder } from "../support/remove-folder.ts";
import { built, type Program, runProgram } from "./embedded-build.ts";

const isRoot = process.getuid?.() === 0;
const nobody = 65534;

const folder = mkdtempSync(join(tmpdir(), "uploader-embedded-"));
/** Shared by the tests below one after another: a new cluster takes a second. */
const state = join(folder, "state");
const idleSeconds = 1;

const keeperPid = (directory = state): number => lockHolder(join(directory, "keeper.lock"))?.pid ?? 0;
const serverPid = (directory = state): number => readServer(join(directory, "database"))?.pid ?? 0;
const ensure = (): Promise<EmbeddedAddress> => ensureEmbedded({ stateDirectory: state, idleSeconds });
const until = (condition: () => boolean): Promise<void> =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 60_000, interval: 10 });

async function stopKeeper(directory: string): Promise<void> {
  const pid = keeperPid(directory);
  if (pid !== 0) process.kill(pid, "SIGTERM");
  await until(() => keeperPid(directory) === 0);
}

const programs: Program[] = [];
afterEach(() => {
  for (const { child } of programs.splice(0)) child.kill("SIGKILL");
});
afterAll(async () => {
  await stopKeeper(state);
  await removeFolder(folder);
});

/** A process that finds or starts the server, keeps a connection, and says when its server was started, or its error. */
function client(directory: string, as: { uid?: number; env?: NodeJS.ProcessEnv } = {}): Program {
  const program = runProgram(
    `
    import { ensureEmbedded } from ${JSON.stringify(built("embedded"))};
    import { openSession } from ${JSON.stringify(built("embedded/session"))};
    try {
      const stateDirectory = ${JSON.stringify(directory)};
      const session = await openSession(await ensureEmbedded({ stateDirectory, idleSeconds: ${idleSeconds} }));
      const [[started]] = await session.query("SELECT pg_postmaster_start_time()");
      console.log(started);
      process.stdin.on("data", async () => console.log((await session.query("SELECT 'still here'")).join()));
    } catch (error) {
      console.log(error.code + ": " + error.message);
    }`,
    as,
  );
  programs.push(program);
  return program;
}

async function query(address: EmbeddedAddress, text: string): Promise<string[][]> {
  const session: Session = await openSession(address);
  try {
    return await session.query(text);
  } finally {
    session.close();
  }
}

describe("the bundled server", () => {
  test("is one for 20 processes that start at the same instant in an empty folder, and outlives its starter", async () => {
    const clients = Array.from({ length: 20 }, () => client(state));
    const started = await Promise.all(clients.map(({ line }) => line()));
    expect(started[0]).toMatch(/^\d{4}-/);
    expect(new Set(started).size).toBe(1);
    // Whichever of them started the keeper is among the first ten, or among the others.
    for (const { child } of clients.slice(0, 10)) child.kill("SIGKILL");
    for (const { child } of clients.slice(10)) child.stdin?.write("?");
    for (const { line } of clients.slice(10)) expect(await line()).toBe("still here");
  });

  test("runs apart from every terminal, as nobody special, with its socket and data closed to others", async () => {
    const address = await ensure();
    // While it has a client it stays, however long the machine takes.
    const session = await openSession(address);
    onTestFinished(() => session.close());
    expect(statSync(address.host).mode & 0o777).toBe(0o700);
    const data = statSync(join(state, "database"));
    expect(data.mode & 0o777).toBe(0o700);
    expect(data.uid === 0).toBe(false);
    if (process.platform !== "linux") return;
    const sessionOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[3];
    expect(sessionOf(keeperPid())).toBe(String(keeperPid()));
    expect(sessionOf(serverPid())).not.toBe(sessionOf(process.pid));
    const environment = readFileSync(`/proc/${keeperPid()}/environ`, "latin1");
    expect(
      environment.split("\0").filter((entry) => /^(?!PATH=|TMPDIR=|XDG_RUNTIME_DIR=|LD_LIBRARY_PATH=)./.test(entry)),
    ).toEqual([]);
  });

  test("is set up for a database that must not lose a row", async () => {
    const address = await ensure();
    const wanted = {
      fsync: "on",
      full_page_writes: "on",
      data_checksums: "on",
      server_encoding: "UTF8",
      listen_addresses: "",
    };
    for (const [name, value] of Object.entries(wanted)) {
      expect([name, await query(address, `SHOW ${name}`)]).toEqual([name, [[value]]]);
    }
    expect(await query(address, "SELECT current_user, current_database(), upper('é')")).toEqual([
      ["uploader", "uploader", "É"],
    ]);
  });

  test("is adopted when its keeper is killed, and stopped by the new one", async () => {
    const address = await ensure();
    const client = await openSession(address);
    const [keeper, server] = [keeperPid(), serverPid()];
    process.kill(keeper, "SIGKILL");
    await until(() => !isRunning(keeper));
    expect(await ensure()).toEqual(address);
    expect(serverPid()).toBe(server);
    expect(keeperPid()).not.toBe(0);
    expect(keeperPid()).not.toBe(keeper);
    client.close();
    await until(() => !isRunning(server));
  });

  test("comes back with every committed row when it is killed", async () => {
    await query(await ensure(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
    const server = serverPid();
    process.kill(server, "SIGKILL");
    const address = await ensure();
    expect(serverPid()).not.toBe(server);
    expect(await query(address, "SELECT count(*) FROM kept")).toEqual([["1000"]]);
  });

  test("recovers under its keeper when one of its processes is killed", async () => {
    const address = await ensure();
    const [server, keeper] = [serverPid(), keeperPid()];
    const session = await openSession(address);
    const [[backend] = []] = await session.query("SELECT pg_backend_pid()");
    process.kill(Number(backend), "SIGKILL");
    await expect(session.query("SELECT 1")).rejects.toThrow();
    expect(await query(await ensure(), "SELECT 1")).toEqual([["1"]]);
    expect([serverPid(), keeperPid()]).toEqual([server, keeper]);
  });

  test("stays while it has a client, and is gone with its socket and lock after the last one", async () => {
    const address = await ensure();
    const server = serverPid();
    expect(await query(address, `SELECT 'awake' FROM pg_sleep(${idleSeconds * 1.5})`)).toEqual([["awake"]]);
    expect(serverPid()).toBe(server);
    await until(() => keeperPid() === 0);
    expect(isRunning(server)).toBe(false);
    expect(existsSync(address.host)).toBe(false);
    expect(existsSync(join(state, "keeper.lock"))).toBe(false);
  });

  test("stops when the state folder is deleted under it", async () => {
    const deleted = join(folder, "deleted");
    await ensureEmbedded({ stateDirectory: deleted, idleSeconds: 60 });
    const [keeper, server] = [keeperPid(deleted), serverPid(deleted)];
    await removeFolder(deleted);
    await until(() => !isRunning(keeper) && !isRunning(server));
  });

  test("starts again after a crash although its pid is somebody else's now", async () => {
    await ensure();
    await stopKeeper(state);
    const stale = [
      process.pid,
      join(state, "database"),
      1,
      5432,
      "/tmp/uploader-0-000000000000",
      "",
      "1 1",
      "ready   ",
    ];
    writeFileSync(join(state, "database", "postmaster.pid"), `${stale.join("\n")}\n`);
    expect(await query(await ensure(), "SELECT 1")).toEqual([["1"]]);
    await stopKeeper(state);
  });

  test.each([
    ["17", "database_refused"],
    ["99", "database_newer"],
  ])("refuses data of PostgreSQL %s and names the way out", async (version, code) => {
    const other = join(folder, `version-${version}`);
    mkdirSync(join(other, "database"), { recursive: true });
    writeFileSync(join(other, "database", "PG_VERSION"), `${version}\n`);
    await expect(ensureEmbedded({ stateDirectory: other })).rejects.toMatchObject({
      code,
      exitCode: 13,
      message: expect.stringContaining(`PostgreSQL ${version}`),
      hint: expect.stringContaining("move that folder away"),
    });
  });

  test("refuses a folder that another host holds, and leaves it alone", async () => {
    const other = join(folder, "other-host");
    const lock = JSON.stringify({ ...ownIdentity(), host: "elsewhere", token: "0123456789abcdef" });
    mkdirSync(other);
    writeFileSync(join(other, "keeper.lock"), lock);
    await expect(ensureEmbedded({ stateDirectory: other })).rejects.toMatchObject({ code: "database_unreachable" });
    expect(readFileSync(join(other, "keeper.lock"), "utf8")).toBe(lock);
    expect(existsSync(join(other, "database"))).toBe(false);
  });

  test("refuses a state folder that is a file", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const refusal = { code: "database_unreachable", hint: expect.stringContaining("UPLOADER_STATE_DIR") };
    await expect(ensureEmbedded({ stateDirectory: file })).rejects.toMatchObject(refusal);
  });

  test("gives the server's log as the cause when it cannot start", async () => {
    const broken = join(folder, "broken");
    const data = join(broken, "database");
    mkdirSync(data, { recursive: true });
    if (isRoot) chownSync(data, nobody, nobody);
    writeFileSync(join(data, "PG_VERSION"), "18\n");
    await expect(ensureEmbedded({ stateDirectory: broken })).rejects.toMatchObject({
      code: "database_unreachable",
      cause: expect.stringContaining("postgresql.conf"),
    });
  });

  test("has a URL that psql understands, whatever the folder is called", () => {
    const url = embeddedUrl({ host: "/tmp/a b?&é", port: 5432, user: "uploader", database: "uploader" });
    expect(url).toBe("postgresql:///uploader?host=%2Ftmp%2Fa%20b%3F%26%C3%A9&port=5432&user=uploader");
    expect(new URL(url).searchParams.get("host")).toBe("/tmp/a b?&é");
  });
});

describe.runIf(isRoot)("the bundled server of other users", () => {
  test("serves an ordinary user without a home", async () => {
    const own = mkdtempSync(join(tmpdir(), "uploader-nobody-"));
    chownSync(own, nobody, nobody);
    const directory = join(own, "state");
    try {
      expect(await client(directory, { uid: nobody, env: { HOME: "/nonexistent" } }).line()).toMatch(/^\d{4}-/);
      expect(statSync(join(directory, "database")).uid).toBe(nobody);
      await stopKeeper(directory);
    } finally {
      await removeFolder(own);
    }
  });

  test("says that a uid needs a name, and what to do without one", async () => {
    const own = mkdtempSync(join(tmpdir(), "uploader-nameless-"));
    chownSync(own, 12345, 12345);
    try {
      const answer = await client(join(own, "state"), { uid: 12345, env: {} }).line();
      expect(answer).toMatch(/^database_unreachable: .*uid 12345 has no entry in \/etc\/passwd/);
    } finally {
      rmSync(own, { recursive: true, force: true });
    }
  });

  test("is refused in another user's folder", async () => {
    const foreign = mkdtempSync(join(tmpdir(), "uploader-foreign-"));
    chownSync(foreign, 12345, 12345);
    try {
      expect(await client(foreign, { uid: nobody, env: {} }).line()).toMatch(/^database_(refused|unreachable): /);
    } finally {
      rmSync(foreign, { recursive: true, force: true });
    }
  });
});
