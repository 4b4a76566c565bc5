import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  accepts,
  type Daemon,
  findProgram,
  freePort,
  startDaemon,
  temporaryFolder,
  waitUntilReady,
} from "./daemons.ts";

const run = promisify(execFile);
const programs = ["monmaptool", "ceph-mon", "ceph", "ceph-osd", "ceph-mgr", "radosgw", "radosgw-admin"] as const;

/** Ceph's object gateway with a whole cluster of one behind it, everything in memory (about 0.5 GB, 12 s). */
export interface Radosgw {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  /** It takes any; this is what its buckets are created in. */
  readonly region: string;
  readonly credential: { accessKeyId: string; secretAccessKey: string };
  /** Ends every process and removes the folder. */
  close(): Promise<void>;
}

/** Programs that are not installed; empty when radosgw can be started. */
export async function missingForRadosgw(): Promise<string[]> {
  const found = await Promise.all(programs.map((name) => findProgram(name)));
  return programs.filter((_, index) => found[index] === null);
}

function configuration(folder: string, monitorPort: number, port: number, clusterId: string): string {
  const none = ["cluster", "service", "client"].map((side) => `auth ${side} required = none`);
  return [
    "[global]",
    `fsid = ${clusterId}`,
    `mon host = [v1:127.0.0.1:${monitorPort}]`,
    `run dir = ${folder}`,
    `log file = ${folder}/$name.log`,
    `pid file = ${folder}/$name.pid`,
    `admin socket = ${folder}/$name.asok`,
    ...none,
    "osd pool default size = 1",
    "osd pool default min size = 1",
    "osd pool default pg num = 8",
    "osd crush chooseleaf type = 0",
    "mon allow pool size one = true",
    "mon warn on pool no redundancy = false",
    `mon data = ${folder}/mon`,
    `osd data = ${folder}/osd`,
    "osd objectstore = memstore",
    `memstore device bytes = ${4 * 1024 ** 3}`,
    `mgr data = ${folder}/mgr`,
    "mgr initial modules =",
    "ms bind ipv6 = false",
    "ms bind msgr2 = false",
    "[client.rgw]",
    `rgw frontends = beast endpoint=127.0.0.1:${port}`,
    `rgw data = ${folder}/rgw`,
    "rgw enable usage log = false",
    "",
  ].join("\n");
}

/** Now and then a fresh cluster stays silent for ever: then another one is made, twice at most. */
export async function startRadosgw(): Promise<Radosgw> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startCluster();
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

async function startCluster(): Promise<Radosgw> {
  const missing = await missingForRadosgw();
  if (missing.length > 0) {
    throw new Error(
      `not installed: ${missing.join(", ")}; on Debian: apt-get install radosgw ceph-mon ceph-osd ceph-mgr`,
    );
  }
  const folder = await temporaryFolder("uploader-radosgw-");
  const [monitorPort, port] = [await freePort(), await freePort()];
  const clusterId = randomUUID();
  for (const name of ["mon", "osd", "mgr", "rgw"]) await mkdir(join(folder, name));
  await writeFile(join(folder, "ceph.conf"), configuration(folder, monitorPort, port, clusterId));
  const options = { cwd: folder, env: { ...process.env, CEPH_CONF: join(folder, "ceph.conf") } };
  const credential = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secretsecret" };
  const daemons: Daemon[] = [];
  const call = (program: string, ...args: string[]) => run(program, args, { ...options, timeout: 60_000 });
  // -f keeps a daemon in the foreground, as our child.
  const start = (program: string, ...args: string[]) => {
    const daemon = startDaemon(program, ["-f", ...args], options);
    daemons.push(daemon);
    return daemon;
  };

  async function close(): Promise<void> {
    // Nothing is worth saving, and an orderly shutdown of the cluster takes seconds.
    await Promise.all(daemons.map((daemon) => daemon.stop("SIGKILL")));
    await rm(folder, { recursive: true, force: true });
  }

  try {
    await call("monmaptool", "--create", "--addv", "a", `[v1:127.0.0.1:${monitorPort}]`, "--fsid", clusterId, "monmap");
    await call("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap");
    await waitUntilReady(start("ceph-mon", "-i", "a"), "ceph-mon", () => accepts(monitorPort));
    const osdId = randomUUID();
    await call("ceph", "osd", "new", osdId, "0");
    await call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osdId);
    start("ceph-osd", "-i", "0");
    start("ceph-mgr", "-i", "x");
    const gateway = start("radosgw", "-n", "client.rgw");
    const keys = [`--access-key=${credential.accessKeyId}`, `--secret=${credential.secretAccessKey}`];
    await waitUntilReady(gateway, "radosgw", () => accepts(port));
    // On a busy machine its pools may not be ready for the first call or two; creating the same user again is refused.
    await waitUntilReady(gateway, "radosgw's user", async () => {
      await call("radosgw-admin", "user", "create", "--uid=t", "--display-name=t", ...keys).catch(() => undefined);
      return call("radosgw-admin", "user", "info", "--uid=t").then(
        () => true,
        () => false,
      );
    });
  } catch (error) {
    await close();
    throw error;
  }
  return { endpoint: `http://127.0.0.1:${port}`, region: "us-east-1", credential, close };
}
