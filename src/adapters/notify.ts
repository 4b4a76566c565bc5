/**
 * sd_notify(3): tells the service manager that we are ready, what we do, and that work still moves.
 *
 * Node has no unix datagram sockets, and the packages that bring them compile native code or ship it. Every machine with
 * systemd has systemd-notify, which speaks to any socket the manager names (abstract ones too) and, with its barrier, does
 * not end before the manager has read the message, so that it is known whose it was. Hence `NotifyAccess=all` in the unit.
 * One process of 6 ms a message, and at most three messages in the watchdog's time.
 */
import { spawn } from "node:child_process";

export interface NotifierOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are taken out, as PostgreSQL would speak for us otherwise. */
  env: NodeJS.ProcessEnv;
  pid: number;
  /** Monotonic (CLOCK_MONOTONIC), ms. */
  now(): number;
  /** The helper could not be run, or refused; said once. */
  onFailure(message: string): void;
}

export interface Notifier {
  /** Whether somebody listens. */
  readonly active: boolean;
  /** Half of it is the time in which a beat has to come; null: no watchdog. */
  readonly watchdogMs: number | null;
  ready(status: string): void;
  /** One line, shown by `systemctl status`. */
  status(text: string): void;
  reloading(): void;
  stopping(status: string): void;
  /** Work has moved. May be called as often as one likes. */
  beat(): void;
  /** Resolves when everything has been told. */
  close(): Promise<void>;
}

const statusEveryMs = 5_000;
const helperDeadlineMs = 10_000;

const oneLine = (text: string): string => text.replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, 400);

export function openNotifier(options: NotifierOptions): Notifier {
  const { env, now } = options;
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC, WATCHDOG_PID } = env;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete env[name];
  if (!socket) return silent;
  const isForUs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === options.pid;
  const watchdogMs = isForUs && Number(WATCHDOG_USEC) > 0 ? Number(WATCHDOG_USEC) / 1_000 : null;

  let sent: Promise<void> = Promise.resolve();
  let failed = false;
  let beatAtMs = Number.NEGATIVE_INFINITY;
  let statusAtMs = Number.NEGATIVE_INFINITY;
  let told: string | null = null;
  let wanted: string | null = null;

  const fail = (what: string): void => {
    if (!failed) options.onFailure(`the service manager could not be told: ${what}`);
    failed = true;
  };

  const run = (assignments: readonly string[]): Promise<void> =>
    new Promise((resolve) => {
      const helper = spawn("systemd-notify", assignments, {
        env: { ...env, NOTIFY_SOCKET: socket },
        stdio: ["ignore", "ignore", "pipe"],
        timeout: helperDeadlineMs,
      });
      let said = "";
      helper.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      helper.on("error", (error) => {
        fail(error.message);
        resolve();
      });
      helper.on("close", (code, signal) => {
        if (code === 0) failed = false;
        else fail(oneLine(`systemd-notify ended with ${code ?? signal} ${said}`));
        resolve();
      });
    });

  /** One after the other: what is told last stands. */
  const send = (...assignments: string[]): void => {
    if (wanted !== null && wanted !== told) {
      assignments.push(`STATUS=${wanted}`);
      told = wanted;
      statusAtMs = now();
    }
    sent = sent.then(() => run(assignments));
  };

  return {
    active: true,
    watchdogMs,
    ready(status) {
      wanted = oneLine(status);
      beatAtMs = now();
      send("READY=1", ...(watchdogMs === null ? [] : ["WATCHDOG=1"]));
    },
    status(text) {
      wanted = oneLine(text);
      if (wanted !== told && now() - statusAtMs >= statusEveryMs) send();
    },
    // systemd.service(5), Type=notify-reload: the time tells this reload from an older one.
    reloading: () => send("RELOADING=1", `MONOTONIC_USEC=${Math.round(now() * 1_000)}`),
    stopping(status) {
      wanted = oneLine(status);
      send("STOPPING=1");
    },
    beat() {
      if (watchdogMs !== null && now() - beatAtMs >= watchdogMs / 3) {
        beatAtMs = now();
        send("WATCHDOG=1");
      } else if (wanted !== told && now() - statusAtMs >= statusEveryMs) send();
    },
    async close() {
      if (wanted !== told) send();
      await sent;
    },
  };
}

const silent: Notifier = {
  active: false,
  watchdogMs: null,
  ready: () => undefined,
  status: () => undefined,
  reloading: () => undefined,
  stopping: () => undefined,
  beat: () => undefined,
  close: async () => undefined,
};
