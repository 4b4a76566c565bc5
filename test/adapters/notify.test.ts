/**
 * What a service manager is told. Here the helper is a program of Node's that writes down its words and the socket it was
 * given; test/referee/notify.referee.test.ts has the real one and a real socket.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openNotifier } from "../../src/adapters/notify.ts";

let folder: string;
let nowMs: number;
let failures: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "uploader-notify-"));
  nowMs = 1_000;
  failures = [];
  helper('fs.appendFileSync(process.argv[1] + ".log", JSON.stringify([process.env.NOTIFY_SOCKET, ...said]) + "\\n");');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function helper(script: string): void {
  const file = join(folder, "systemd-notify");
  const text = `#!${process.execPath}\nconst fs = require("node:fs");\nconst said = process.argv.slice(2);\n${script}\n`;
  writeFileSync(file, text);
  chmodSync(file, 0o755);
}

const told = (): string[][] => {
  const log = join(folder, "systemd-notify.log");
  if (!existsSync(log)) return [];
  return readFileSync(log, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
};

const open = (env: NodeJS.ProcessEnv = {}) =>
  openNotifier({
    env: Object.assign(env, { PATH: `${folder}:${process.env.PATH}`, ...env }),
    pid: 77,
    now: () => nowMs,
    onFailure: (message) => failures.push(message),
  });

it("nobody listens: nothing is run", async () => {
  const notifier = open();
  expect(notifier).toMatchObject({ active: false, watchdogMs: null });
  notifier.ready("2 sources");
  notifier.beat();
  await notifier.close();
  expect(told()).toEqual([]);
});

it("says ready, a changed status, stopping, in this order, to the socket it was given", async () => {
  const notifier = open({ NOTIFY_SOCKET: "@abstract" });
  notifier.ready("2 sources");
  nowMs += 5_000;
  notifier.status("2 sources");
  notifier.status("one\nline\u0007 only");
  notifier.status("too soon");
  notifier.reloading();
  notifier.stopping("stopping");
  await notifier.close();
  expect(told()).toEqual([
    ["@abstract", "READY=1", "STATUS=2 sources"],
    ["@abstract", "STATUS=one line  only"],
    ["@abstract", "RELOADING=1", "MONOTONIC_USEC=6000000", "STATUS=too soon"],
    ["@abstract", "STOPPING=1", "STATUS=stopping"],
  ]);
  expect(failures).toEqual([]);
});

it("feeds the watchdog when work moves, thrice in its time, and never by itself", async () => {
  const notifier = open({ NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "3000000", WATCHDOG_PID: "77" });
  expect(notifier.watchdogMs).toBe(3_000);
  notifier.ready("ready");
  for (let i = 0; i < 100; i++) notifier.beat();
  nowMs += 1_000;
  for (let i = 0; i < 100; i++) notifier.beat();
  // No beat, however long: then nothing is said.
  nowMs += 60_000;
  await notifier.close();
  expect(told().map(([, ...words]) => words)).toEqual([["READY=1", "WATCHDOG=1", "STATUS=ready"], ["WATCHDOG=1"]]);
});

it("a watchdog of another process is not ours to feed", async () => {
  const notifier = open({ NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "3000000", WATCHDOG_PID: "78" });
  notifier.ready("ready");
  nowMs += 10_000;
  notifier.beat();
  await notifier.close();
  expect(told().map(([, ...words]) => words)).toEqual([["READY=1", "STATUS=ready"]]);
});

it("children do not inherit the socket: PostgreSQL would say READY in our name", () => {
  const env: NodeJS.ProcessEnv = { NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "1", WATCHDOG_PID: "77" };
  open(env);
  expect(Object.keys(env)).toEqual(["PATH"]);
});

it("a helper that fails, or is not there, is said once and stops nothing", async () => {
  helper('console.error("Failed to notify: no such socket"); process.exit(1);');
  const refused = open({ NOTIFY_SOCKET: "/gone" });
  refused.ready("ready");
  refused.stopping("stopping");
  await refused.close();
  expect(failures).toEqual([
    "the service manager could not be told: systemd-notify ended with 1 Failed to notify: no such socket ",
  ]);
  const absent = openNotifier({
    env: { NOTIFY_SOCKET: "/gone", PATH: join(folder, "nothing") },
    pid: 77,
    now: () => nowMs,
    onFailure: (message) => failures.push(message),
  });
  absent.ready("ready");
  await absent.close();
  expect(failures[1]).toMatch(/systemd-notify ENOENT/);
});
