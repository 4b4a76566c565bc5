// How soon a new file of a small tree has arrived after its last write, and whether none of a burst of new nested folders is
// missed: node bench/arriving.js [--program FILE]. The store is the soak's; the daemon has its defaults but for --settle.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openSoakStore } from "./soak-store.js";

const { values } = parseArgs({
  options: { program: { type: "string", default: fileURLToPath(new URL("../bin/uploader.js", import.meta.url)) } },
});
const settleSeconds = 2;
const folder = mkdtempSync(join(tmpdir(), "uploader-arriving-"));
const dock = join(folder, "dock");
mkdirSync(dock);
const store = await openSoakStore();
const child = spawn(
  process.execPath,
  [values.program, "sync", "--watch", dock, "s3://soak/C1", "--settle", String(settleSeconds), "--json"],
  {
    env: store.env(join(folder, "state")),
    stdio: ["ignore", "pipe", "inherit"],
  },
);
child.on("exit", (code) => code !== 143 && process.exit(1));
await new Promise((resolve) => child.stdout.on("data", (chunk) => String(chunk).includes('"ready"') && resolve()));

const make = (path, text) => {
  mkdirSync(dirname(join(dock, path)), { recursive: true });
  writeFileSync(join(dock, path), text);
};
const arrived = async (path) => {
  while (!store.objects.has(`C1/${path}`)) await sleep(5);
};
for (let n = 0; n < 100; n++) make(`before/${n % 10}/${n}.csv`, `${n}`);
for (let n = 0; n < 100; n++) await arrived(`before/${n % 10}/${n}.csv`);

const takenMs = [];
for (let n = 0; n < 20; n++) {
  await sleep(Math.random() * 3_000);
  const path = n % 4 === 0 ? `new-${n}/nested/${n}.csv` : `before/${n % 10}/new-${n}.csv`;
  make(path, `${n}`);
  const writtenMs = performance.now();
  await arrived(path);
  takenMs.push(Math.round(performance.now() - writtenMs));
}
takenMs.sort((a, b) => a - b);

// 21 folders at a time, up to eight deep, fifty files in the last of them; five bursts of 210 in one turn each, a second apart.
const burst = [];
for (let wave = 0; wave < 5; wave++) {
  for (let n = 0; n < 210; n++) {
    const path = `burst-${wave}/${Array.from({ length: 1 + (n % 8) }, (_, depth) => `d${depth}-${n % 21}`).join("/")}/${n}.csv`;
    make(path, `${wave} ${n}`);
    burst.push(path);
  }
  await sleep(1_000);
}
const endedMs = performance.now();
const seen = () => burst.filter((path) => store.objects.has(`C1/${path}`)).length;
while (seen() < burst.length && performance.now() - endedMs < 60_000) await sleep(50);
console.log(
  JSON.stringify({
    settleMs: settleSeconds * 1000,
    medianMs: takenMs[takenMs.length / 2],
    worstMs: takenMs.at(-1),
    allMs: takenMs,
    seen: `${seen()} of ${burst.length}`,
    lastMs: Math.round(performance.now() - endedMs),
    writtenAgain: store.writtenAgain(),
  }),
);
const ended = new Promise((resolve) => child.on("close", resolve));
child.kill("SIGTERM");
await ended;
rmSync(folder, { recursive: true, force: true });
process.exit(0);
