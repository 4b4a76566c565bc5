/** `uploader service`: the daemon, or a timer, under systemd. */

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { openSystemd } from "../../adapters/systemd.ts";
import type { Config } from "../../config.ts";
import { UploaderError } from "../../core/errors.ts";
import { environmentTemplate, type ServicePlan, serviceUnit, timerUnit } from "../../core/service-unit.ts";
import { packageRoot } from "../../installed.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";

interface ServiceFlags {
  name: string;
  user?: boolean;
  timer?: boolean;
  every: string;
  runAs?: string;
  print?: boolean;
  start: boolean;
}

const usualName = "uploader-sync";

export function defineService(program: Command): void {
  const service = program
    .command("service")
    .summary("run sync under systemd")
    .description(
      "A service that systemd starts with the machine, watches, and starts again: `sync --watch`, or single passes by a timer.",
    )
    .addHelpText(
      "before",
      `Examples:
  sudo uploader service install --config /etc/uploader/clinic.json --run-as clinic
  uploader service install --user --config ~/clinic.json
  uploader service install --user --config ~/clinic.json --timer --every '*:0/5'
  uploader service install --config clinic.json --print
  uploader service status
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2))
    .addHelpText(
      "after",
      `
Secrets are not written into the unit: put UPLOADER_DATABASE_PASSWORD and the
like into the environment file that \`install\` names. All about it, the metrics
and the log: docs/service.md`,
    );
  const common = (command: Command): Command =>
    command
      .option("--name <name>", "of the service", usualName)
      .option("--user", "of your own service manager; no root is needed")
      .addHelpText("after", exitStatusHelp(0, 1, 2));
  common(service.command("install").summary("write the unit, enable and start it"))
    .description("Writes the unit, enables and starts it; again to change it.")
    .option("--timer", "single passes, by a timer, instead of a daemon")
    .addOption(new Option("--every <calendar>", "when the timer runs (systemd.time)").default("*:0/15"))
    .option("--run-as <user>", "whom a service of the system runs as; who called sudo when absent")
    .option("--print", "write nothing: show what would be written")
    .option("--no-start", "write and enable it, and leave it for the next start of the machine")
    .addHelpText("before", "Examples:\n  uploader service install --user --config ~/clinic.json\n")
    .action(install);
  common(service.command("uninstall").summary("stop it and take the unit away"))
    .description("Stops the service and takes its units away; what it has sent and remembers stays.")
    .addHelpText("before", "Examples:\n  uploader service uninstall --user\n")
    .action(uninstall);
  common(service.command("status").summary("whether it runs, and what it says"))
    .description("What systemd knows of the service. What of the sources: uploader status.")
    .addHelpText("before", "Examples:\n  uploader service status --user\n")
    .action(status);
}

const namePattern = /^[A-Za-z0-9_-]{1,64}$/;

function checkedName(name: string): string {
  if (namePattern.test(name)) return name;
  throw new UploaderError("usage", `--name ${JSON.stringify(name)} is no name of a service`, {
    hint: `letters, digits, - and _, like ${usualName}`,
  });
}

async function install(flags: ServiceFlags, command: Command): Promise<void> {
  const face = await openFace(command);
  try {
    const systemd = openSystemd(flags.user === true, process.env);
    const plan = planOf(face.loaded.config, flags, systemd.environmentFile(checkedName(flags.name)));
    const timer = timerUnit(plan);
    const files = {
      [join(systemd.folder, `${plan.name}.service`)]: serviceUnit(plan),
      ...(timer === null ? {} : { [join(systemd.folder, `${plan.name}.timer`)]: timer }),
    };
    if (flags.print) {
      for (const [path, text] of Object.entries(files)) face.out(`# ${path}\n${text}`);
      return;
    }
    systemd.require();
    // One kind takes the place of the other.
    const [unit, other] = (timer === null ? [".service", ".timer"] : [".timer", ".service"]).map(
      (suffix) => plan.name + suffix,
    ) as [string, string];
    if (systemd.show(other, ["UnitFileState"]).UnitFileState === "enabled") systemd.control("disable", "--now", other);
    if (timer === null) systemd.remove([other]);
    for (const path of systemd.write(files)) face.out(`wrote ${path}`);
    if (systemd.makePrivate(plan.environmentFile, environmentTemplate))
      face.out(`wrote ${plan.environmentFile}, for secrets; only its owner can read it`);
    systemd.control("daemon-reload");
    systemd.control("enable", unit);
    // To be ready may take as long as the database is away.
    if (flags.start) systemd.control("restart", "--no-block", unit);
    face.out(`${unit} is enabled${flags.start ? " and starts" : ""}`);
    remarks(face, plan, flags);
  } finally {
    face.close();
  }
}

const own = fileURLToPath(new URL("bin/uploader.js", packageRoot));

function planOf(config: Config, flags: ServiceFlags, environmentFile: string): ServicePlan {
  const { configPath } = config;
  if (configPath === null) {
    throw new UploaderError("usage", "a service needs a configuration file, as it has no flags and no shell", {
      hint: "uploader service install --config clinic.json; `uploader init` writes one",
    });
  }
  const sources = config.sources.length > 0 ? config.sources : [config];
  const unplaced = sources.find(({ source, destination }) => source === null || destination === null);
  if (unplaced) {
    throw new UploaderError("config_invalid", `${configPath} does not say what to send where`, {
      hint: 'it wants "source" and "destination", or "sources" that have them',
    });
  }
  const socket = config.http?.startsWith("unix:") ? [dirname(config.http.slice("unix:".length))] : [];
  const runAs = flags.user ? null : (flags.runAs ?? process.env.SUDO_USER ?? null);
  if (!flags.user && runAs === null) {
    throw new UploaderError("usage", "whom should the service run as?", {
      hint: "--run-as USER, somebody who may read the source; or a service of your own: --user",
    });
  }
  return {
    name: checkedName(flags.name),
    command: [process.execPath, own, "--config", configPath, "sync", ...(flags.timer ? [] : ["--watch"])],
    configPath,
    workingDirectory: dirname(configPath),
    environmentFile,
    runAs,
    calendar: flags.timer ? flags.every : null,
    stateDirectory: config.stateDirectory,
    readOnly: unique(sources.map(({ source }) => source)),
    writable: unique([
      ...sources.map(({ destination }) => (destination?.kind === "folder" ? destination.path : null)),
      config.logFile === null ? null : dirname(config.logFile),
      ...socket,
    ]),
    isEmbedded: config.database.connection.kind === "embedded",
  };
}

const unique = (paths: readonly (string | null)[]): string[] => [
  ...new Set(paths.filter((path): path is string => path !== null)),
];

/** Variables that this shell has and the service has not. */
const ours = /^(UPLOADER_|AWS_|PG|DB_|DATABASE_URL$|CLOUD_)/;

function remarks(face: Face, plan: ServicePlan, flags: ServiceFlags): void {
  const say = (message: string): void => face.emit({ type: "notice", sessionId: null, level: "info", message });
  const set = Object.keys(process.env).filter((name) => ours.test(name) && name !== "UPLOADER_CONFIG");
  if (set.length > 0)
    say(`set in this shell, and not for the service: ${set.sort().join(", ")}; put them into ${plan.environmentFile}`);
  for (const path of plan.runAs === null ? [] : plan.writable.filter((path) => !existsSync(path)))
    say(`${path} is not there yet: make it for ${plan.runAs}; the service waits for it`);
  if (flags.user) say("it ends with your last session, unless you say: loginctl enable-linger");
  if (!flags.user && plan.isEmbedded && plan.stateDirectory === null)
    say(
      `its database is in /var/lib/${plan.name}; to ask it: sudo -u ${plan.runAs} env UPLOADER_STATE_DIR=/var/lib/${plan.name} uploader status`,
    );
}

async function uninstall(flags: ServiceFlags, command: Command): Promise<void> {
  const face = await openFace(command);
  try {
    const systemd = openSystemd(flags.user === true, process.env);
    const name = checkedName(flags.name);
    systemd.require();
    const units = [`${name}.timer`, `${name}.service`];
    const known = units.filter((unit) => systemd.show(unit, ["LoadState"]).LoadState === "loaded");
    if (known.length > 0) systemd.control("disable", "--now", ...known);
    const removed = systemd.remove(units);
    systemd.control("daemon-reload");
    for (const path of removed) face.out(`removed ${path}`);
    if (removed.length === 0) face.out(`no service ${name} was installed here`);
  } finally {
    face.close();
  }
}

const properties = [
  "LoadState",
  "ActiveState",
  "SubState",
  "MainPID",
  "StatusText",
  "ActiveEnterTimestamp",
  "NRestarts",
  "Result",
];

async function status(flags: ServiceFlags, command: Command): Promise<void> {
  const face = await openFace(command);
  try {
    const systemd = openSystemd(flags.user === true, process.env);
    const name = checkedName(flags.name);
    systemd.require();
    const service = systemd.show(`${name}.service`, properties);
    const timer = systemd.show(`${name}.timer`, [
      "LoadState",
      "ActiveState",
      "NextElapseUSecRealtime",
      "LastTriggerUSec",
    ]);
    const isInstalled = service.LoadState === "loaded";
    const isTimed = timer.LoadState === "loaded";
    if (face.json) {
      const active = (isTimed ? timer : service).ActiveState ?? "unknown";
      return face.out(
        JSON.stringify({
          type: "service",
          name,
          installed: isInstalled,
          timer: isTimed,
          active,
          result: service.Result ?? null,
          pid: Number(service.MainPID ?? 0) || null,
          restarts: Number(service.NRestarts ?? 0),
          since: service.ActiveEnterTimestamp || null,
          says: service.StatusText || null,
          next: timer.NextElapseUSecRealtime || null,
        }),
      );
    }
    if (!isInstalled) return face.out(`${name} is not installed; uploader service install`);
    face.out(`${name}.service is ${service.ActiveState} (${service.SubState})${pidText(service)}`);
    if (service.ActiveEnterTimestamp) face.out(`  since     ${service.ActiveEnterTimestamp}`);
    if (service.StatusText) face.out(`  says      ${service.StatusText}`);
    if (Number(service.NRestarts) > 0) face.out(`  restarts  ${service.NRestarts} (last result: ${service.Result})`);
    if (isTimed) face.out(`  timer     ${timer.ActiveState}, next ${timer.NextElapseUSecRealtime || "unknown"}`);
    face.out(`  log       journalctl ${flags.user ? "--user " : ""}-u ${name}`);
  } finally {
    face.close();
  }
}

const pidText = ({ MainPID }: Record<string, string>): string =>
  MainPID === undefined || MainPID === "0" ? "" : `, process ${MainPID}`;
