// What watching 300,000 files costs: node bench/sync.js [--files 300000] [--minutes 3] [--program FILE]
// Everything is safe beforehand. Then: until the first look is over, memory, CPU at rest, and how soon a new file is on its way.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pg from "pg";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "300000" },
    minutes: { type: "string", default: "3" },
    program: { type: "string", default: fileURLToPath(new URL("../bin/uploader.js", import.meta.url)) },
  },
});
const wanted = Number(values.files);
const folder = mkdtempSync(join(tmpdir(), "uploader-watching-"));
const dock = join(folder, "dock");
const say = (text) => console.error(text);
const env = { ...process.env, UPLOADER_STATE_DIR: join(folder, "state") };

say(`making ${wanted} files`);
const perFolder = 87;
const pathOf = (n) => `${Math.floor(n / perFolder / 60)}/${Math.floor(n / perFolder)}/${n}.csv`;
for (let n = 0; n < wanted; n++) {
  if (n % perFolder === 0) mkdirSync(dirname(join(dock, pathOf(n))), { recursive: true });
  writeFileSync(join(dock, pathOf(n)), "");
}
mkdirSync(join(folder, "archive"));

// Sending 300,000 files costs minutes of flushing that are not the question: the database is told that they have arrived.
say("telling the database that all of them are safe");
const run = (...args) =>
  spawnSync(process.execPath, [values.program, ...args], { env, encoding: "utf8" }).stdout.trim();
mkdirSync(join(folder, "empty"));
writeFileSync(join(folder, "empty", "one.csv"), "1");
run("upload", join(folder, "empty"), join(folder, "archive"), "--quiet");
const database = new pg.Client({ connectionString: run("db", "url") });
database.on("error", (error) => say(error.message));
await database.connect();
const { rows: destinations } = await database.query("select id from destinations");
for (let at = 0; at < wanted; at += 10_000) {
  const files = Array.from({ length: Math.min(10_000, wanted - at) }, (_, n) => {
    const path = pathOf(at + n);
    return { path, stats: lstatSync(join(dock, path), { bigint: true }) };
  });
  await database.query(
    `insert into objects (destination_id, key, size_bytes, mtime_ns, proof, ours)
     select $1, t.key, t.size, t.mtime, 'fsync', true from unnest($2::text[], $3::bigint[], $4::bigint[]) as t(key, size, mtime)`,
    [
      destinations[0].id,
      files.map(({ path }) => path),
      files.map(({ stats }) => stats.size),
      files.map(({ stats }) => stats.mtimeNs),
    ],
  );
}
await database.query("analyze");

const child = spawn(
  process.execPath,
  [values.program, "sync", "--watch", dock, join(folder, "archive"), "--json", "-vv"],
  { env },
);
const startedMs = performance.now();
let readyMs = null;
let firstPassMs = null;
const passes = [];
const arrived = new Map();
let partial = "";
let errors = "";
child.stderr.on("data", (chunk) => {
  errors = `${errors}${chunk}`.slice(-2000);
});
child.stdout.on("data", (chunk) => {
  const lines = `${partial}${chunk}`.split("\n");
  partial = lines.pop();
  for (const line of lines) {
    const event = JSON.parse(line);
    if (event.type === "ready") readyMs = performance.now() - startedMs;
    if (event.type === "file" && event.status === "uploaded") arrived.set(event.path, Date.now());
    if (event.type !== "pass") continue;
    firstPassMs ??= performance.now() - startedMs;
    passes.push(event);
  }
});
const ticksPerSecond = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout);
const usage = () => {
  const stat = readFileSync(`/proc/${child.pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  const [rssMb, mostMb] = [/VmRSS:\s+(\d+)/, /VmHWM:\s+(\d+)/].map((line) => Number(line.exec(status)[1]) / 1024);
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond, rssMb, mostMb };
};
while (firstPassMs === null && child.exitCode === null) await sleep(50);
if (child.exitCode !== null) {
  say(errors);
  process.exit(1);
}
await sleep(20_000);
const before = usage();
const beforeMs = performance.now();
await sleep(Number(values.minutes) * 60_000);
const after = usage();
const idle = ((after.cpuS - before.cpuS) * 1000) / (performance.now() - beforeMs);

const writtenMs = Date.now();
writeFileSync(join(dock, "0", "0", "new.csv"), "new");
const nested = join(dock, "new", "nested", "folders");
mkdirSync(nested, { recursive: true });
for (let n = 0; n < 50; n++) writeFileSync(join(nested, `${n}.csv`), "new");
for (const deadlineMs = Date.now() + 60_000; arrived.size < 51 && Date.now() < deadlineMs; ) await sleep(100);
const watches = existsSync(`/proc/${child.pid}/fdinfo`)
  ? Number(
      spawnSync("sh", ["-c", `cat /proc/${child.pid}/fdinfo/* 2>/dev/null | grep -c ^inotify`], { encoding: "utf8" })
        .stdout,
    )
  : null;
const end = usage();
const ended = new Promise((resolve) => child.on("close", resolve));
child.kill("SIGTERM");
await ended;
console.log(
  JSON.stringify(
    {
      files: wanted,
      readyMs: Math.round(readyMs),
      firstPassMs: Math.round(firstPassMs),
      firstPass: passes[0],
      passMs: passes
        .slice(1)
        .map(({ durationMs, fullScan }) => `${durationMs}${fullScan ? " full" : ""}`)
        .slice(0, 20),
      rssMb: {
        mostInFirst: Math.round(before.mostMb),
        afterFirst: Math.round(before.rssMb),
        later: Math.round(after.rssMb),
        end: Math.round(end.rssMb),
        most: Math.round(end.mostMb),
      },
      idleCpuPercent: Number((idle * 100).toFixed(2)),
      watches,
      newFilesSeen: `${arrived.size} of 51`,
      newFileMs: (arrived.get("0/0/new.csv") ?? 0) - writtenMs,
      lastNewFileMs: Math.max(...arrived.values()) - writtenMs,
    },
    null,
    2,
  ),
);
await database.end();
rmSync(folder, { recursive: true, force: true });
