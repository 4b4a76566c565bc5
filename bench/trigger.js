/**
 * A delivery with very many paths: time and peak memory of the process that freezes, signs and streams it.
 *   node bench/trigger.js [paths]        default 300,000; the goal: 150 MB
 * The session is made in an embedded PostgreSQL (its own process); the receiver is another process that hashes what comes.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);
const [first = "300000", second, ...rest] = process.argv.slice(2);
const secret = `whsec_${Buffer.from("only for this measurement, 32 by").toString("base64")}`;

if (first === "receive") await receive();
else if (first === "send") await send(second, ...rest);
else await measure(Number(first));

/** Fails the first attempt, so that the second must bring the same bytes. */
async function receive() {
  let count = 0;
  const server = createServer((request, response) => {
    const hash = createHash("sha256");
    let bytes = 0;
    request.on("data", (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    request.on("end", () => {
      process.stdout.write(
        `${JSON.stringify({ id: request.headers["webhook-id"], bytes, sha256: hash.digest("hex") })}\n`,
      );
      response.writeHead(count++ === 0 ? 503 : 202).end('{"job_id":"bench"}');
    });
  });
  server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
}

/** The program's own `trigger`, in this process, which ends with what it used. */
async function send(bin, session, url) {
  const started = performance.now();
  process.once("exit", () => {
    const rssMb = (process.resourceUsage().maxRSS * 1024) / 1e6;
    process.stderr.write(`\nUSED ${JSON.stringify({ rssMb, seconds: (performance.now() - started) / 1000 })}\n`);
  });
  process.argv = [
    process.argv[0],
    bin,
    "trigger",
    session,
    "--url",
    url,
    "--format",
    "session",
    "--list-files",
    "--json",
  ];
  await import(bin);
}

async function measure(paths) {
  const folder = mkdtempSync(join(tmpdir(), "uploader-bench-"));
  const bin = fileURLToPath(new URL("../bin/uploader.js", import.meta.url));
  const env = { ...process.env, UPLOADER_STATE_DIR: join(folder, "state"), UPLOADER_TRIGGER_SECRET: secret };
  const receiver = spawn(process.execPath, [self, "receive"], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = [];
  try {
    const port = await new Promise((resolve) => {
      receiver.stdout.on("data", (chunk) => {
        lines.push(...String(chunk).trim().split("\n"));
        resolve(lines[0]);
      });
    });
    spawnSync(process.execPath, [bin, "sessions"], { env });
    const db = spawnSync(process.execPath, [bin, "db", "url"], { env, encoding: "utf8" }).stdout.trim();
    await fill(db, paths);
    const url = `http://127.0.0.1:${port}/hook`;
    const { stderr, stdout, status } = await run([self, "send", bin, "1", url], env);
    const used = JSON.parse(/USED (.*)/.exec(stderr)?.[1] ?? "{}");
    const [one, two] = lines.slice(1).map((line) => JSON.parse(line));
    const same = one.id === two.id && one.sha256 === two.sha256;
    const told = stdout.trim().split("\n").at(-1);
    console.log(
      `${paths} paths, ${(two.bytes / 1e6).toFixed(1)} MB: exit ${status}, ${used.seconds.toFixed(1)} s with one refusal (503) and its pause, ` +
        `peak RSS ${used.rssMb.toFixed(0)} MB ${used.rssMb <= 150 ? "(goal 150 MB: met)" : "(goal 150 MB: MISSED)"}; ` +
        `second attempt ${same ? "the same id and bytes" : "DIFFERENT"}`,
    );
    const { files, bodyBytes } = JSON.parse(told);
    if (files !== paths || bodyBytes !== two.bytes || !same || status !== 0) process.exitCode = 1;
  } finally {
    receiver.kill();
    const pidFile = join(folder, "state", "database", "postmaster.pid");
    process.kill(Number(readFileSync(pidFile, "utf8").split("\n")[0]), "SIGINT");
    rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
}

function run(args, env) {
  const child = spawn(process.execPath, args, { env });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (chunk) => (said[name] += chunk));
  return new Promise((resolve) => child.on("close", (status) => resolve({ ...said, status })));
}

/** A finished session, as an upload leaves it. */
async function fill(url, paths) {
  const { default: pg } = await import("pg");
  const { parseIntoClientConfig } = await import("pg-connection-string");
  const client = new pg.Client(parseIntoClientConfig(url));
  await client.connect();
  await client.query("insert into projects (name) values ('bench')");
  await client.query("insert into destinations (kind, identity) values ('s3', 's3://bench')");
  await client.query(
    `insert into sync_sessions (project_id, destination_id, source, destination, prefix, status, completed_at, scan_finished_at)
     values (1, 1, '/media/card', 's3://bench/C2', 'C2', 'completed', now(), now())`,
  );
  await client.query(
    `insert into file_uploads (session_id, destination_id, local_path, s3_key, file_size, status, uploaded_at)
     select 1, 1, p, 'C2/' || p, 8000000, 'uploaded', now()
     from (select (950000 + n / 1000) || '/2025' || lpad((n % 1231)::text, 4, '0') || '_' || lpad(n::text, 6, '0') || '.WAV' as p
           from generate_series(1, $1::integer) n) made`,
    [paths],
  );
  await client.end();
}
