/** The state machine without any transfer: what registering costs, and whether claims stay as cheap as they begin. */
import { openSourceTree } from "../build/adapters/source-tree.js";
import { registerTree } from "../build/operations/register.js";
import { openDatabase } from "../build/store/database.js";
import { openStore } from "../build/store/store.js";
import { stateDirectory } from "./copying.js";
import { openServer } from "./database.js";
import { spread } from "./report.js";
import { treeOf, warm } from "./trees.js";

const claimSize = 500;
const destination = { kind: "s3", identity: "s3://bench", text: "s3://bench/run", prefix: "run" };
const me = { host: "bench", boot: "bench", pid: process.pid, processStart: "0" };
const stored = {
  etag: "0123456789abcdef0123456789abcdef",
  checksum: { algorithm: "crc32", type: "full", value: "AAAAAA==" },
  versionId: null,
  proof: "checksum_echoed",
  ours: true,
};

const settled = (file) => ({
  move: "settle",
  file,
  object: { ...stored, sizeBytes: file.sizeBytes, mtimeNs: file.mtimeNs },
  requestId: "0",
  durationMs: 10,
});

export async function registerRow(row, { pairs, share, say }) {
  const tree = treeOf("many", share);
  const { files } = warm(tree);
  const server = await openServer(stateDirectory);
  const values = [[], []];
  try {
    for (let n = 0; n < pairs; n++) {
      await server.empty();
      const { clientSeconds, serverSeconds, claimRatio } = await once(tree, files, server);
      const parts = `${clientSeconds.toFixed(2)} + ${serverSeconds.toFixed(2)} s`;
      say(`  registering ${parts} of CPU (client + Postgres), claims ${claimRatio.toFixed(2)}`);
      values[0].push(clientSeconds + serverSeconds);
      values[1].push(claimRatio);
    }
  } finally {
    await server.close();
  }
  return {
    title: `${row.title} (${files} files)`,
    samples: {},
    figures: row.figures.map((figure, at) => ({ ...figure, values: values[at] })),
  };
}

async function once(tree, files, server) {
  const database = openDatabase({
    address: async () => server.address,
    description: "the bench's database",
    maxConnections: 4,
    now: Date.now,
    random: Math.random,
  });
  try {
    const store = openStore(database, "public", () => true);
    const work = { project: "bench", source: tree, destination, command: "upload" };
    const opened = await store.openSession(work, me, { newSession: false, concurrency: 64 });
    const { sessionId, workerId, destinationId } = opened;
    const cx = {
      store,
      source: openSourceTree({ root: tree, include: [], exclude: [] }),
      destination: { find: async () => new Map() },
      emit: () => undefined,
      wallClock: Date.now,
      now: () => performance.now(),
    };
    const before = { client: process.cpuUsage(), serverMs: server.cpuMs() };
    const input = { sessionId, destinationId, prefix: destination.prefix, onBatch: () => undefined };
    await registerTree(cx, input, new AbortController().signal);
    const { user, system } = process.cpuUsage(before.client);
    const clientSeconds = (user + system) / 1e6;
    const serverSeconds = (server.cpuMs() - before.serverMs) / 1000;
    return { clientSeconds, serverSeconds, claimRatio: await claimAll(store, sessionId, workerId, files) };
  } finally {
    await database.close();
  }
}

/** Median claim of the last tenth over that of the first, every batch settled before the next. */
async function claimAll(store, sessionId, workerId, files) {
  const claimsMs = [];
  for (let cursor = 0, done = 0; done < files; ) {
    const startedMs = performance.now();
    const claimed = await store.claim(sessionId, workerId, cursor, claimSize, 3);
    claimsMs.push(performance.now() - startedMs);
    cursor = claimed.at(-1).id;
    done += claimed.length;
    await store.settle(workerId, claimed.map(settled));
    await store.renewLease(workerId, 64);
  }
  const tenth = Math.ceil(claimsMs.length / 10);
  return spread(claimsMs.slice(-tenth)).median / spread(claimsMs.slice(0, tenth)).median;
}
