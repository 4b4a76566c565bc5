/** Our units as systemd reads them, and our words as they arrive through systemd's own helper. */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openNotifier } from "../../src/adapters/notify.ts";
import { type ServicePlan, serviceUnit, timerUnit } from "../../src/core/service-unit.ts";
import { stopServer } from "../cli/workplace.ts";
import { openNotifySocket } from "../support/notify-socket.ts";
import { removeFolder } from "../support/remove-folder.ts";
import { refereeSuite } from "./packages.ts";

const has = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;
const missing = has("systemd-analyze") && has("systemd-notify") ? [] : ["systemd"];
const program = fileURLToPath(new URL("../../bin/uploader.js", import.meta.url));

refereeSuite("under systemd", missing, () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "uploader-unit-"));
  });
  afterEach(() => removeFolder(folder));

  const plan = (over: Partial<ServicePlan> = {}): ServicePlan => ({
    name: "uploader-sync",
    command: [process.execPath, program, "--config", join(folder, "clinic.json"), "sync", "--watch"],
    configPath: join(folder, "clinic.json"),
    workingDirectory: folder,
    environmentFile: join(folder, "secrets.env"),
    runAs: "daemon",
    calendar: null,
    stateDirectory: null,
    readOnly: ["/media/SD01"],
    writable: ["/mnt/nas"],
    isEmbedded: true,
    ...over,
  });

  /** What `systemd-analyze verify` has to say: nothing, of a good unit. */
  function verified(made: ServicePlan): { status: number | null; said: string } {
    const files = [join(folder, `${made.name}.service`)];
    writeFileSync(files[0]!, serviceUnit(made));
    const timer = timerUnit(made);
    if (timer !== null) {
      files.push(join(folder, `${made.name}.timer`));
      writeFileSync(files[1]!, timer);
    }
    const scope = made.runAs === null ? ["--user"] : [];
    const env = { ...process.env, XDG_RUNTIME_DIR: folder };
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", ...scope, ...files], {
      encoding: "utf8",
      env,
    });
    return { status, said: `${stdout}${stderr}` };
  }

  it.each<[string, Partial<ServicePlan>]>([
    ["a daemon of the system", {}],
    ["as root", { runAs: "root" }],
    ["of a user", { runAs: null }],
    ["by a timer", { calendar: "*:0/15" }],
    ["by a user's timer", { runAs: null, calendar: "Mon..Fri 08:00" }],
    ["with a database of its own and a state folder", { isEmbedded: false, stateDirectory: "/srv/up state" }],
    [
      "with paths that nobody should have",
      { readOnly: ['/media/50% "odd" $HOME \\ card', "/media/ümläut"], writable: ["/mnt/a b"] },
    ],
  ])("systemd-analyze verify: %s", (_, over) => {
    expect(verified(plan(over))).toEqual({ status: 0, said: "" });
  });

  it("systemd-analyze verify can fail", () => {
    expect(verified(plan({ calendar: "never" })).said).toMatch(/calendar/i);
  });

  it("is little exposed", () => {
    writeFileSync(join(folder, "uploader-sync.service"), serviceUnit(plan()));
    const { stdout } = spawnSync(
      "systemd-analyze",
      ["security", "--offline=true", "--no-pager", join(folder, "uploader-sync.service")],
      { encoding: "utf8" },
    );
    expect(Number(/exposure level.*: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThan(3);
  });

  it.each([["a path"], ["an abstract name"]])("through %s, the helper's words arrive in order", async (kind) => {
    const address = kind === "a path" ? join(folder, "notify") : `@uploader-test-${process.pid}`;
    const socket = await openNotifySocket(address);
    const failures: string[] = [];
    const notifier = openNotifier({
      env: { NOTIFY_SOCKET: address, WATCHDOG_USEC: "30000000", PATH: process.env.PATH },
      pid: process.pid,
      now: () => 0,
      onFailure: (message) => failures.push(message),
    });
    notifier.ready("2 sources: ü $x %h");
    notifier.stopping("bye");
    await notifier.close();
    expect(await socket.hears(/STOPPING/)).toBe("STOPPING=1 | STATUS=bye");
    expect(socket.messages()[0]).toBe("READY=1 | WATCHDOG=1 | STATUS=2 sources: ü $x %h");
    expect(failures).toEqual([]);
    await socket.close();
  });

  it("a daemon: ready when it looks, fed by its work, silent when it hangs, stopping when told", async () => {
    const socket = await openNotifySocket(join(folder, "notify"));
    mkdirSync(join(folder, "card"));
    const file = join(folder, "card", "a.wav");
    writeFileSync(file, "RIFF");
    utimesSync(file, 1_700_000_000, 1_700_000_000);
    const child = spawn(
      process.execPath,
      [program, "sync", "--watch", "card", "archive", "--interval", "1", "--settle", "0", "--database-url", "none"],
      {
        cwd: folder,
        stdio: ["ignore", "ignore", "inherit"],
        env: {
          PATH: process.env.PATH,
          HOME: folder,
          NOTIFY_SOCKET: join(folder, "notify"),
          WATCHDOG_USEC: "3000000",
          UPLOADER_STATE_DIR: join(folder, "state"),
        },
      },
    );
    const ended = new Promise((resolve) => child.on("exit", resolve));
    try {
      expect(await socket.hears(/READY=1/)).toMatch(/^READY=1 \| WATCHDOG=1 \| STATUS=1 source looked after$/);
      await socket.hears(/^WATCHDOG=1/);
      expect(existsSync(join(folder, "state", "database"))).toBe(true);
      child.kill("SIGSTOP");
      const before = socket.messages().length;
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      // One helper may have been on its way.
      expect(socket.messages().length).toBeLessThanOrEqual(before + 1);
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      await socket.hears(/^STOPPING=1/);
      expect(await ended).toBe(143);
    } finally {
      child.kill("SIGKILL");
      stopServer(join(folder, "state"));
      await socket.close();
    }
  });
});
