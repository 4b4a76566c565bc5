// sync --watch for as long as is asked: files appear, grow, change, are renamed into place, preallocated and vanish; store and
// database are cut off; the process is killed every few minutes. At the end: is what is in the store what is on the disk?
// A process that is never killed shows whether memory grows: none is in the last --calm minutes.
//   node bench/soak.js --minutes 60 [--kill 180] [--calm 25] [--cut 60] [--program FILE]
import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pg from "pg";
import { openSoakStore } from "./soak-store.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    kill: { type: "string", default: "120" },
    calm: { type: "string", default: "0" },
    cut: { type: "string", default: "45" },
    program: { type: "string", default: fileURLToPath(new URL("../bin/uploader.js", import.meta.url)) },
  },
});
const endMs = Date.now() + Number(values.minutes) * 60_000;
const calmMs = endMs - Number(values.calm) * 60_000;
const folder = mkdtempSync(join(tmpdir(), "uploader-soak-"));
const dock = join(folder, "dock");
mkdirSync(dock);
const say = (text) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const chance = (n) => Math.floor(Math.random() * n);

const store = await openSoakStore();
const env = store.env(join(folder, "state"));

// The bundled database, through a door that can be shut.
const direct = spawnSync(process.execPath, [values.program, "db", "url"], { env, encoding: "utf8" }).stdout.trim();
const address = new URL(direct);
const socketPath = join(
  address.searchParams.get("host"),
  `.s.PGSQL.${address.searchParams.get("port") ?? address.port ?? 5432}`,
);
const own = new pg.Client({ connectionString: direct });
own.on("error", (error) => say(`the soak's own connection: ${error.message}`));
await own.connect();
const pipes = new Set();
const door = createServer((client) => {
  const server = connect(existsSync(socketPath) ? socketPath : join(dirname(socketPath), ".s.PGSQL.5432"));
  for (const [from, to] of [
    [client, server],
    [server, client],
  ]) {
    pipes.add(from);
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => {
      pipes.delete(from);
      to.destroy();
    });
  }
});
await new Promise((resolve) => door.listen(0, "127.0.0.1", resolve));
const doorPort = door.address().port;
const through = new URL(direct);
through.hostname = "127.0.0.1";
through.port = String(doorPort);
through.searchParams.delete("host");
through.searchParams.delete("port");

let child = null;
let starts = 0;
const exits = [];
const memory = [];
let stopping = false;
const start = () => {
  starts++;
  const startedMs = Date.now();
  const args = [
    "sync",
    "--watch",
    dock,
    "s3://soak/C1",
    "--interval",
    "5",
    "--settle",
    "2",
    "-j",
    "8",
    "--no-progress",
  ];
  child = spawn(process.execPath, [values.program, ...args], {
    env: { ...env, UPLOADER_DATABASE_URL: through.href },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.on("data", (chunk) => {
    text = `${text}${chunk}`.slice(-4_000);
  });
  child.on("close", (code, signal) => {
    if (!stopping && signal !== "SIGKILL") {
      exits.push({ code, signal });
      say(`ended by itself: ${code ?? signal} after ${Date.now() - startedMs} ms\n${text}`);
    }
    if (!stopping) start();
  });
};
const residentMb = () => {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
};

let made = 0;
let changes = 0;
let vanished = 0;
const present = () =>
  readdirSync(dock, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
const some = () => {
  const all = present().filter((path) => !path.endsWith(".partial"));
  return all[chance(all.length)];
};
const fresh = () => join(dock, `day-${chance(5)}`, `hour-${chance(6)}`, `${++made}-${chance(1e6)}.csv`);
const text = () => `${Math.random()}\n`.repeat(1 + chance(300));
const acts = [
  // Written at once, in pieces, renamed into place, preallocated.
  () => writeFileSync(fresh(), text()),
  async () => {
    const path = fresh();
    for (let n = 0; n < 5; n++) {
      appendFileSync(path, text());
      await sleep(700);
    }
  },
  async () => {
    const path = fresh();
    writeFileSync(`${path}.partial`, text());
    await sleep(1_000);
    renameSync(`${path}.partial`, path);
  },
  async () => {
    const path = fresh().replace(".csv", ".json");
    writeFileSync(path, Buffer.alloc(2_000));
    await sleep(6_000);
    writeFileSync(path, JSON.stringify({ value: text() }));
  },
  () => {
    const path = some();
    if (!path) return;
    changes++;
    writeFileSync(path, path.endsWith(".json") ? JSON.stringify({ value: text() }) : text());
  },
  async () => {
    const path = fresh();
    writeFileSync(path, text());
    await sleep(chance(3_000));
    vanished++;
    rmSync(path, { force: true });
  },
  () => {
    const path = chance(4) === 0 ? some() : null;
    if (!path) return;
    vanished++;
    rmSync(path, { force: true });
  },
];
for (let day = 0; day < 5; day++)
  for (let hour = 0; hour < 6; hour++) mkdirSync(join(dock, `day-${day}`, `hour-${hour}`), { recursive: true });

const running = [];
const until = async (everySeconds, act) => {
  while (Date.now() < endMs) {
    await sleep(Math.min(everySeconds * (500 + chance(1_000)), Math.max(0, endMs - Date.now())));
    if (Date.now() < endMs) await act();
  }
};
let cuts = 0;
start();
running.push(
  until(0.4, () => {
    running.push(
      Promise.resolve(acts[chance(acts.length)]()).catch((error) => error.code === "ENOENT" || Promise.reject(error)),
    );
  }),
  until(Number(values.cut), async () => {
    cuts++;
    await store.cut();
    await sleep(1_000 + chance(20_000));
    await store.mend();
  }),
  until(Number(values.cut), async () => {
    cuts++;
    const closed = new Promise((resolve) => door.close(resolve));
    for (const pipe of pipes) pipe.destroy();
    await closed;
    await sleep(1_000 + chance(20_000));
    await new Promise((resolve) => door.listen(doorPort, "127.0.0.1", resolve));
  }),
  until(Number(values.kill), () => Date.now() < calmMs && child.kill("SIGKILL")),
  until(10, () => {
    memory.push({ start: starts, atMs: Date.now(), rssMb: residentMb() });
    if (memory.length % 6 === 0) {
      say(
        `${made} made, ${changes} changed, ${vanished} vanished, ${store.objects.size} objects, ${cuts} cuts, ${starts} starts, ${memory.at(-1).rssMb.toFixed(0)} MB`,
      );
    }
  }),
);
for (let at = 0; at < running.length; at++) await running[at];

say("quiet: what is left is waited for");
const differences = () => {
  const missing = [];
  for (const path of present()) {
    if (path.endsWith(".partial")) continue;
    const key = `C1/${path.slice(dock.length + 1)}`;
    if (!store.objects.get(key)?.bytes.equals(readFileSync(path))) missing.push(key);
  }
  return missing;
};
for (const deadlineMs = Date.now() + 180_000; Date.now() < deadlineMs && differences().length > 0; ) await sleep(1_000);
await sleep(3_000);
stopping = true;
const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(code ?? signal)));
child.kill("SIGTERM");
const exit = await ended;

const { rows } = await own.query(
  `select f.status, f.reason, f.error_code, count(*)::int as files from file_uploads f group by 1, 2, 3 order by 1, 2, 3`,
);
const { rows: failed } = await own.query(
  `select s3_key, error_code, error_message from file_uploads where status = 'failed' limit 5`,
);
await own.end();
door.close();
for (const pipe of pipes) pipe.destroy();
await store.cut();
const left = differences();
const known = memory.filter(({ rssMb }) => rssMb > 0);
const rounded = (samples) => samples.map(({ rssMb }) => Math.round(rssMb));
/** Of one process: the median of each five minutes, in order. */
const everyFiveMinutes = (samples) => {
  const parts = [];
  for (const sample of samples) {
    const at = Math.floor((sample.atMs - samples[0].atMs) / 300_000);
    parts[at] = [...(parts[at] ?? []), sample];
  }
  return parts.filter(Boolean).map((part) => rounded(part).sort((a, b) => a - b)[Math.floor(part.length / 2)]);
};
const report = {
  minutes: Number(values.minutes),
  made,
  changes,
  vanished,
  cuts,
  starts,
  endedByItself: exits,
  lastExit: exit,
  onDisk: present().filter((path) => !path.endsWith(".partial")).length,
  objects: store.objects.size,
  notInStore: left.slice(0, 10),
  writtenAgain: store.writtenAgain(),
  firstRssMb: rounded(known)[0],
  lastRssMb: rounded(known).at(-1),
  mostRssMb: Math.max(...rounded(known)),
  rssMbOfEachProcess: Array.from({ length: starts }, (_, n) =>
    everyFiveMinutes(known.filter(({ start: of }) => of === n + 1)),
  ),
  rows,
  failed,
};
console.log(JSON.stringify(report, null, 2));
const isRight = left.length === 0 && store.writtenAgain() === 0 && exits.length === 0;
for (const line of store.faults.slice(0, 10)) say(line);
console.log(isRight ? "verdict: store = disk, nothing twice" : "verdict: NOT RIGHT");
rmSync(folder, { recursive: true, force: true });
process.exit(isRight ? 0 : 1);
