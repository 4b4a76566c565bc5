/** The embedded Postgres of the bench: initialised beforehand, empty before each run, and what it used of the CPU. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { openDatabase } from "../build/store/database.js";
import { ensureEmbedded } from "../build/store/embedded.js";
import { migrate } from "../build/store/migrate.js";

const schema = "public";
const tickMs = 1000 / Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** Fields of /proc/PID/stat after the name, which may hold anything: [0] state, [1] parent, [11] utime … [14] cstime. */
function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ESRCH") return null;
    throw error;
  }
}

const cpuTicks = (stat) => stat.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);

/** Of the postmaster and its children; those that have ended count in what it waited for. */
export function cpuMsOfServer(postmaster) {
  let ticks = cpuTicks(statOf(postmaster));
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    const stat = statOf(pid);
    if (stat !== null && Number(stat[1]) === postmaster) ticks += cpuTicks(stat);
  }
  return ticks * tickMs;
}

/** Keeps the server running until `close()`: its keeper stops it only when nobody is connected. */
export async function openServer(stateDirectory) {
  const address = await ensureEmbedded({ stateDirectory });
  const postmaster = Number(readFileSync(join(stateDirectory, "database", "postmaster.pid"), "utf8").split("\n")[0]);
  const client = new pg.Client(address);
  await client.connect();
  return {
    address,
    client,
    cpuMs: () => cpuMsOfServer(postmaster),
    /** What a run leaves to be written belongs to that run. */
    settle: () => client.query("checkpoint"),
    /** No table, then our empty tables. */
    async empty() {
      await client.query(`drop schema ${schema} cascade; create schema ${schema}`);
      const database = openDatabase({
        address: async () => address,
        description: "the bench's database",
        maxConnections: 1,
        now: Date.now,
        random: Math.random,
      });
      await migrate(database, schema);
      await database.close();
      await client.query("checkpoint");
    },
    close: () => client.end(),
  };
}
