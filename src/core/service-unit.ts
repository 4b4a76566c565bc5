/** systemd units as text, from what the service is to do. Pure: nothing is read or written here. */

export interface ServicePlan {
  /** Of the units, without `.service`. */
  name: string;
  /** Program, arguments. */
  command: readonly string[];
  configPath: string;
  workingDirectory: string;
  environmentFile: string;
  /** null: a unit of the user's own manager. */
  runAs: string | null;
  /** null: a daemon; else the calendar (systemd.time(7)) of single passes. */
  calendar: string | null;
  /** Named by the configuration; null: one that systemd makes. */
  stateDirectory: string | null;
  /** What the service may never write. */
  readOnly: readonly string[];
  /** What it must write beside its state: a folder destination, a log. */
  writable: readonly string[];
  /** The embedded database: its server outlives a restart, and stops by itself a minute after its last client. */
  isEmbedded: boolean;
}

/** Nothing is silent for as long in a loop that is well: it beats at least every 30 s. */
export const watchdogSeconds = 180;

export const marker = "# Made by `uploader service install`; a change here is lost with the next one.";

type Setting = readonly [key: string, value: string];

const doublePercent = (text: string): string => text.replaceAll("%", "%%");
/** systemd.syntax(7), "Quoting". */
const quoted = (text: string): string => `"${doublePercent(text).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
/** In a command `$` begins a variable. */
const word = (text: string): string => quoted(text).replaceAll("$", "$$$$");

/**
 * For a service of the system. No MemoryDenyWriteExecute: V8 compiles into memory. No ProcSubset: the boot's id and the
 * mounts are read from /proc.
 */
const hardening: readonly Setting[] = [
  ["ProtectSystem", "strict"],
  ["ProtectHome", "read-only"],
  ["PrivateTmp", "yes"],
  ["PrivateDevices", "yes"],
  ["ProtectClock", "yes"],
  ["ProtectControlGroups", "yes"],
  ["ProtectHostname", "yes"],
  ["ProtectKernelLogs", "yes"],
  ["ProtectKernelModules", "yes"],
  ["ProtectKernelTunables", "yes"],
  ["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"],
  ["RestrictNamespaces", "yes"],
  ["CapabilityBoundingSet", ""],
];

/** What a user's own manager can do without namespaces, which it often may not make. */
const hardeningForAll: readonly Setting[] = [
  ["NoNewPrivileges", "yes"],
  ["LockPersonality", "yes"],
  ["RestrictRealtime", "yes"],
  ["RestrictSUIDSGID", "yes"],
  ["SystemCallArchitectures", "native"],
  ["SystemCallFilter", "@system-service"],
  ["SystemCallErrorNumber", "EPERM"],
  ["UMask", "0077"],
];

const daemon = (): Setting[] => [
  ["Type", "notify"],
  // systemd-notify speaks for us: Node has no unix datagram sockets.
  ["NotifyAccess", "all"],
  ["ExecReload", "/bin/kill -HUP $MAINPID"],
  ["Restart", "always"],
  ["RestartSec", "15"],
  // A database that is away for hours is waited for; what hangs after that is ended by the watchdog.
  ["TimeoutStartSec", "infinity"],
  ["TimeoutStopSec", "90"],
  ["WatchdogSec", String(watchdogSeconds)],
  ["SuccessExitStatus", "143"],
];

/** 4: files still being written; 11: the pass before has not ended. */
const singlePass: readonly Setting[] = [
  ["Type", "oneshot"],
  ["SuccessExitStatus", "4 11 143"],
  ["TimeoutStopSec", "90"],
];

/** What the service may write, and where its own things are. */
function places({ name, runAs, stateDirectory, readOnly, writable }: ServicePlan): Setting[] {
  const state: Setting[] =
    stateDirectory !== null
      ? [["Environment", quoted(`UPLOADER_STATE_DIR=${stateDirectory}`)]]
      : [
          ["StateDirectory", name],
          ["StateDirectoryMode", "0700"],
          ["Environment", `UPLOADER_STATE_DIR=%S/${name}`],
        ];
  // A user's own manager has the user's folders.
  if (runAs === null) return stateDirectory === null ? [] : state;
  return [
    ...state,
    // The database's socket: /tmp may be the service's own, and another process of the same user must find it.
    ["RuntimeDirectory", name],
    ["RuntimeDirectoryMode", "0700"],
    ["RuntimeDirectoryPreserve", "yes"],
    ["Environment", `TMPDIR=%t/${name}`],
    ...readOnly.map((path): Setting => ["ReadOnlyPaths", quoted(`-${path}`)]),
    ...[...writable, ...(stateDirectory === null ? [] : [stateDirectory])].map(
      (path): Setting => ["ReadWritePaths", quoted(path)],
    ),
  ];
}

const section = (name: string, settings: readonly Setting[]): string =>
  [`[${name}]`, ...settings.map(([key, value]) => `${key}=${value}`), ""].join("\n");

const isTemporary = (path: string): boolean => /^\/(?:var\/)?tmp(?:\/|$)/.test(path);

/** Of `hardening`, what this service cannot bear. */
const exceptions: readonly { key: string; applies(plan: ServicePlan): boolean }[] = [
  // As root the embedded database's server becomes another user, for which it needs root's rights.
  { key: "CapabilityBoundingSet", applies: ({ runAs }) => runAs === "root" },
  {
    key: "PrivateTmp",
    applies: ({ command, configPath, readOnly, writable }) =>
      [...command, configPath, ...readOnly, ...writable].some(isTemporary),
  },
];

export function serviceUnit(plan: ServicePlan): string {
  const isSystem = plan.runAs !== null;
  const isBorne = ([key]: Setting): boolean => !exceptions.some((each) => each.key === key && each.applies(plan));
  const install: Setting[] = [["WantedBy", isSystem ? "multi-user.target" : "default.target"]];
  return [
    marker,
    section("Unit", [
      ["Description", `uploader: sends what is new (${doublePercent(plan.configPath)})`],
      ...(isSystem
        ? ([
            ["Wants", "network-online.target"],
            ["After", "network-online.target postgresql.service"],
          ] as const)
        : []),
      // It never gives up.
      ...(plan.calendar === null ? ([["StartLimitIntervalSec", "0"]] as const) : []),
    ]),
    section("Service", [
      ...(plan.calendar === null ? daemon() : singlePass),
      ["ExecStart", plan.command.map(word).join(" ")],
      ["WorkingDirectory", doublePercent(plan.workingDirectory)],
      // Secrets stand there, and nowhere in here.
      ["EnvironmentFile", `-${doublePercent(plan.environmentFile)}`],
      ...(plan.runAs === null ? [] : ([["User", plan.runAs]] as const)),
      ...(plan.isEmbedded ? ([["KillMode", "process"]] as const) : ([["KillMode", "mixed"]] as const)),
      ...places(plan),
      ...hardeningForAll,
      ...(isSystem ? hardening.filter(isBorne) : []),
    ]),
    ...(plan.calendar === null ? [section("Install", install)] : []),
  ].join("\n");
}

/** null for a daemon. */
export function timerUnit({ name, calendar }: ServicePlan): string | null {
  if (calendar === null) return null;
  return [
    marker,
    section("Unit", [["Description", "uploader: a pass over what is new"]]),
    section("Timer", [
      ["OnCalendar", calendar],
      // A pass that was missed while the machine slept is made up for.
      ["Persistent", "true"],
      ["RandomizedDelaySec", "30"],
      ["Unit", `${name}.service`],
    ]),
    section("Install", [["WantedBy", "timers.target"]]),
  ].join("\n");
}

export const environmentTemplate = `# Read by the service alone; keep it to yourself (mode 0600). One NAME=value per line, for example:
# UPLOADER_DATABASE_PASSWORD=
# AWS_ACCESS_KEY_ID=
# AWS_SECRET_ACCESS_KEY=
`;
