/**
 * `uploader service` with a systemctl of the test's own, which writes down what it is asked; the units themselves are read
 * by systemd-analyze in test/referee/service.referee.test.ts.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openWorkplace, type RunOptions, type Workplace } from "./workplace.ts";

let place: Workplace;
let options: RunOptions;
let config: string;
let run: (...args: string[]) => ReturnType<Workplace["run"]>;
let counter = 0;

beforeAll(async () => {
  place = await openWorkplace();
});
afterAll(() => place?.close());

beforeEach(() => {
  const home = place.path(`home ${counter++} 100%`);
  mkdirSync(`${home}/bin`, { recursive: true });
  mkdirSync(`${home}/archive`);
  config = `${home}/clinic.json`;
  writeFileSync(config, JSON.stringify({ source: "./card", destination: "./archive", database: { url: null } }));
  systemctl(`${home}/bin`, "running");
  options = {
    cwd: home,
    env: {
      HOME: home,
      XDG_CONFIG_HOME: undefined,
      PATH: `${home}/bin:${process.env.PATH}`,
      SUDO_USER: undefined,
      UPLOADER_DATABASE_URL: undefined,
      UPLOADER_DATABASE_SCHEMA: undefined,
      UPLOADER_STATE_DIR: undefined,
      UPLOADER_DATABASE_PASSWORD: "planted-secret",
    },
  };
  run = (...args) => place.run(["service", ...args], options);
});

/** Answers as systemd does for a unit whose file is there, and remembers what it was told. */
function systemctl(folder: string, state: string): void {
  writeFileSync(
    `${folder}/systemctl`,
    `#!/bin/sh
echo "$@" >> '${folder}/asked'
case "$*" in
  *is-system-running*) echo ${state} ;;
  *show*) [ -f "$HOME/.config/systemd/user/$3" ] && printf 'LoadState=loaded\\nUnitFileState=enabled\\nActiveState=active\\nSubState=running\\nMainPID=42\\nStatusText=2 sources\\nNRestarts=0\\n' ;;
esac
`,
  );
  chmodSync(`${folder}/systemctl`, 0o755);
}
const asked = (): string[] =>
  readFileSync(`${options.cwd}/bin/asked`, "utf8")
    .trim()
    .split("\n")
    .filter((line) => !/is-system-running| show /.test(line));
const unit = (name: string): string => `${options.cwd}/.config/systemd/user/${name}`;

describe("install", () => {
  it("writes the unit and a private file for secrets, enables and starts it", async () => {
    const { exitCode, stdout, stderr } = await run("install", "--user", "-c", config);
    expect([exitCode, stdout.split("\n")]).toEqual([
      0,
      [
        `wrote ${unit("uploader-sync.service")}`,
        `wrote ${options.cwd}/.config/uploader/uploader-sync.env, for secrets; only its owner can read it`,
        "uploader-sync.service is enabled and starts",
        "",
      ],
    ]);
    expect(asked()).toEqual([
      "--user daemon-reload",
      "--user enable uploader-sync.service",
      "--user restart --no-block uploader-sync.service",
    ]);
    expect(statSync(`${options.cwd}/.config/uploader/uploader-sync.env`).mode & 0o777).toBe(0o600);
    expect(stderr).toMatch(/set in this shell, and not for the service: .*UPLOADER_DATABASE_PASSWORD.*; put them into/);
    expect(stderr).toMatch(/loginctl enable-linger/);
  });

  it("no secret of the shell reaches a file, and what stands in the environment file stays", async () => {
    await run("install", "--user", "-c", config);
    const secrets = `${options.cwd}/.config/uploader/uploader-sync.env`;
    writeFileSync(secrets, "UPLOADER_DATABASE_PASSWORD=mine\n");
    await run("install", "--user", "-c", config);
    expect(readFileSync(secrets, "utf8")).toBe("UPLOADER_DATABASE_PASSWORD=mine\n");
    expect(readFileSync(unit("uploader-sync.service"), "utf8")).not.toMatch(/planted-secret/);
  });

  it("a timer takes the daemon's place, and the daemon the timer's", async () => {
    await run("install", "--user", "-c", config);
    const { stdout } = await run("install", "--user", "-c", config, "--timer", "--every", "*:0/5");
    expect(stdout).toMatch(/uploader-sync\.timer is enabled and starts/);
    expect(asked()).toContain("--user disable --now uploader-sync.service");
    expect(readFileSync(unit("uploader-sync.timer"), "utf8")).toMatch(/^OnCalendar=\*:0\/5\nPersistent=true$/m);
    expect(readFileSync(unit("uploader-sync.service"), "utf8")).toMatch(/^Type=oneshot\nSuccessExitStatus=4 11 143$/m);
    await run("install", "--user", "-c", config);
    expect(asked()).toContain("--user disable --now uploader-sync.timer");
    expect(existsSync(unit("uploader-sync.timer"))).toBe(false);
  });

  it("--print writes nothing, and needs no systemd", async () => {
    systemctl(`${options.cwd}/bin`, "offline");
    const { exitCode, stdout } = await run("install", "--print", "-c", config, "--run-as", "clinic");
    expect(exitCode).toBe(0);
    expect(existsSync(unit("uploader-sync.service"))).toBe(false);
    const lines = stdout.split("\n");
    const escaped = options.cwd!.replace("%", "%%");
    expect(lines).toEqual(
      expect.arrayContaining([
        "# /etc/systemd/system/uploader-sync.service",
        "Type=notify",
        "NotifyAccess=all",
        "WatchdogSec=180",
        "User=clinic",
        "KillMode=process",
        "ProtectSystem=strict",
        `WorkingDirectory=${escaped}`,
        `ReadOnlyPaths="-${escaped}/card"`,
        `ReadWritePaths="${escaped}/archive"`,
        "EnvironmentFile=-/etc/uploader/uploader-sync.env",
      ]),
    );
    expect(lines.find((line) => line.startsWith("ExecStart="))).toMatch(
      /^ExecStart="[^"]+" "[^"]+uploader\.js" "--config" "[^"]+100%%\/clinic\.json" "sync" "--watch"$/,
    );
    expect(stdout).not.toMatch(/MemoryDenyWriteExecute|planted-secret/);
  });

  it("refuses clearly", async () => {
    const refused = async (...args: string[]) => (await run("install", ...args)).stderr;
    expect(await refused("--user")).toMatch(/^error: a service needs a configuration file/);
    expect(await refused("-c", config)).toMatch(/^error: whom should the service run as\?\n {2}--run-as USER/);
    expect(await refused("--user", "-c", config, "--name", "../x")).toMatch(/^error: --name "..\/x" is no name/);
    writeFileSync(config, JSON.stringify({ source: "./card" }));
    expect(await refused("--user", "-c", config)).toMatch(/does not say what to send where/);
    writeFileSync(config, JSON.stringify({ source: "./card", destination: "./archive" }));
    mkdirSync(`${options.cwd}/.config/systemd/user`, { recursive: true });
    writeFileSync(unit("uploader-sync.service"), "[Service]\nExecStart=/bin/true\n");
    expect(await refused("--user", "-c", config)).toMatch(/is there, and was not made by uploader service install/);
    systemctl(`${options.cwd}/bin`, "offline");
    expect(await refused("--user", "-c", config)).toMatch(
      /^error: this user has no service manager that is running\n {2}--print shows the units; without systemd, cron/,
    );
    options = { ...options, env: { ...options.env, PATH: "/nonexistent" } };
    expect(await refused("--user", "-c", config)).toMatch(/^error: this machine has no systemd\n/);
  });
});

describe("uninstall and status", () => {
  it("takes away what install made, and nothing else", async () => {
    expect((await run("uninstall", "--user")).stdout).toBe("no service uploader-sync was installed here\n");
    await run("install", "--user", "-c", config);
    const { stdout, exitCode } = await run("uninstall", "--user");
    expect([exitCode, stdout]).toEqual([0, `removed ${unit("uploader-sync.service")}\n`]);
    expect(asked()).toContain("--user disable --now uploader-sync.service");
    expect(existsSync(`${options.cwd}/.config/uploader/uploader-sync.env`)).toBe(true);
  });

  it("says what systemd knows", async () => {
    expect((await run("status", "--user")).stdout).toMatch(/^uploader-sync is not installed/);
    await run("install", "--user", "-c", config);
    const { stdout } = await run("status", "--user");
    expect(stdout).toBe(
      "uploader-sync.service is active (running), process 42\n  says      2 sources\n  log       journalctl --user -u uploader-sync\n",
    );
    const [row] = (await run("status", "--user", "--json")).events();
    expect(row).toMatchObject({ type: "service", installed: true, timer: false, active: "active", pid: 42 });
  });
});
