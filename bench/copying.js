/** Clients copy the same tree to the same sink, one after the other, again and again. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openServer } from "./database.js";
import { openSink } from "./sink.js";
import { treeOf, warm } from "./trees.js";
import { certificate, clientEnvironment, measureProgram, workplace } from "./workplace.js";

const resultFile = join(workplace, "measured.json");
export const stateDirectory = join(workplace, "state");

/** Runs a command to its end. Throws when it does not succeed. */
export function measured(command, env) {
  rmSync(resultFile, { force: true });
  const { stderr, signal } = spawnSync(measureProgram(), [resultFile, ...command], {
    env: { ...clientEnvironment(), ...env },
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 64 << 20,
  });
  if (signal !== null) throw new Error(`${command.join(" ")}: somebody sent ${signal}`);
  const result = JSON.parse(readFileSync(resultFile, "utf8"));
  if (result.status !== 0)
    throw new Error(`${command.join(" ")}: exit status ${result.status}\n${stderr.slice(-2000)}`);
  return result;
}

const seconds = (ms) => ms / 1000;

/**
 * @param row { tree, sink, clients, sometimes, figures, flags }: `sometimes` names clients so slow that they run in the
 * first pairs only. A client "again" is the uploader once more, when all is there.
 */
export async function copyRow(row, { clients, pairs, share, say }) {
  const tree = treeOf(row.tree, share);
  const total = warm(tree);
  const sink = await openSink(row.sink);
  const server = await openServer(stateDirectory);
  const samples = Object.fromEntries(row.clients.map((name) => [name, []]));
  const trust = row.sink.tls ? { AWS_CA_BUNDLE: certificate().cert } : {};
  let run = 0;

  async function once(name) {
    const again = name === "again";
    if (!again) {
      run++;
      await sink.forget();
      if (name === "uploader") await server.empty();
    }
    const prefix = `run-${run}/`;
    const before = await sink.stats(prefix);
    const client = clients[again ? "uploader" : name];
    const job = { tree, url: sink.url, prefix, project: `bench-${run}`, stateDirectory, flags: row.flags };
    const { command, env } = client(job);
    const serverMs = server.cpuMs();
    const { wallMs, cpuMs, peakRssKiB } = measured(command, { ...env, ...trust });
    if (again || name === "uploader") await server.settle();
    const databaseMs = again || name === "uploader" ? server.cpuMs() - serverMs : 0;
    const after = await sink.stats(prefix);
    if (after.keys !== total.files || after.bytes !== total.bytes) {
      throw new Error(`${name} delivered ${after.keys} files, ${after.bytes} bytes of ${total.files}, ${total.bytes}`);
    }
    const wall = seconds(wallMs);
    const cpu = seconds(cpuMs + databaseMs);
    const rss = (peakRssKiB * 1024) / 1e6;
    const sample = { wall, cpu, filesPerSecond: total.files / wall, mbPerCpuSecond: total.bytes / 1e6 / cpu, rss };
    const requests = ["put", "part", "head", "list"].map((kind) => `${kind} ${after[kind] - before[kind]}`).join(", ");
    const share = seconds(after.cpuSeconds - before.cpuSeconds) * 1000;
    say(
      `  ${name.padEnd(9)} wall ${wall.toFixed(2)} s, CPU ${cpu.toFixed(2)} s (database ${seconds(databaseMs).toFixed(2)}), ` +
        `${rss.toFixed(0)} MB; sink ${share.toFixed(2)} s, ${requests}`,
    );
    samples[name].push(sample);
  }

  try {
    for (let pair = 0; pair < pairs; pair++) {
      for (const name of row.clients) if (pair < (row.sometimes?.[name] ?? pairs)) await once(name);
    }
  } finally {
    await server.close();
    await sink.close();
  }
  const figures = row.figures.map((figure) => ({ ...figure, ...compared(figure, samples) }));
  return {
    title: `${row.title} (${total.files} files, ${(total.bytes / 1e6).toFixed(0)} MB)`,
    samples,
    figures,
  };
}

/** Ratios pair by pair, or plain values when there is nobody to compare with. */
function compared({ of = "uploader", what, against }, samples) {
  const mine = samples[of].map((sample) => sample[what]);
  if (against === undefined) return { label: `${of}: ${what}`, values: mine };
  const theirs = samples[against].map((sample) => sample[what]);
  return { label: `${what} / ${against}`, values: theirs.map((value, pair) => mine[pair] / value) };
}
