import { existsSync } from "node:fs";
import { dirname } from "node:path";
import type { Command } from "commander";
import { UploaderError } from "../../core/errors.ts";
import type { Probe } from "../../operations/doctor.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { bytes, count, duration, fold } from "../format.ts";

const shown = ["source", "destination", "s3.region", "s3.profile", "s3.endpoint", "database.url", "concurrency"];

/** More than any answer takes, and far less than the 15 minutes that S3 allows. */
const allowedSkewMs = 60_000;

export function defineDoctor(program: Command): void {
  const command = program
    .command("doctor")
    .summary("check everything a run needs, and say what to fix")
    .description("Looks at database, store, permissions, clock, disk and limits. Writes nothing to the store.")
    .addHelpText(
      "before",
      "Examples:\n  uploader doctor --config reef.json\n  uploader doctor --destination s3://reef/C2 --json\n",
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 10, 130, 143));
  addConfigFlags(command, shown).action(run);
}

async function run(_flags: unknown, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { doctor } = await import("../../operations/doctor.ts");
  try {
    const findings = await doctor(await probes(face));
    for (const finding of findings) {
      if (face.json) face.out(JSON.stringify(finding));
      else if (!finding.ok || !face.quiet) {
        const width = process.stdout.isTTY ? process.stdout.columns : undefined;
        const head = (finding.ok ? "ok" : "FAULT").padEnd(7) + finding.name.padEnd(13);
        face.out(fold(head + finding.detail, width, head.length));
        if (finding.fix) face.out(fold(`${" ".repeat(head.length)}fix: ${finding.fix}`, width, "fix: ".length));
      }
    }
    process.exitCode = findings.every((finding) => finding.ok) ? 0 : 10;
  } finally {
    face.close();
  }
}

async function probes(face: Face): Promise<Probe[]> {
  const app = await import("../../app.ts");
  const machine = await import("../../adapters/machine.ts");
  const { stateDirectoryOf } = await import("../../database-address.ts");
  const { config } = face.loaded;
  const world = { config, emit: face.emit, stopping: face.stopping, dropping: face.dropping };
  const list: Probe[] = [
    {
      name: "program",
      run: async () =>
        `Node ${process.versions.node} on ${process.platform}, configuration ${face.loaded.configPath ?? "from flags and environment"}`,
    },
    {
      name: "database",
      run: async () => {
        const { database, description } = await app.openConnection(world);
        try {
          const [row] = await database.query<{ version: string; number: number; read_only: boolean }>(
            "select current_setting('server_version') as version, current_setting('server_version_num')::int as number, pg_is_in_recovery() as read_only",
          );
          if (row!.number < 140_000) {
            throw new UploaderError("database_refused", `PostgreSQL ${row!.version} at ${description} is too old`, {
              hint: "version 14 or later is needed",
            });
          }
          if (row!.read_only) {
            throw new UploaderError("database_refused", `${description} is a read-only replica`, {
              hint: "name the primary in database.url",
            });
          }
          const { schemaState } = await import("../../store/migrate.ts");
          const state = await schemaState(database, config.database.schema);
          const words = {
            absent: "no tables yet: the first run makes them",
            older: "the next run brings it up to date",
            current: "up to date",
          };
          return `PostgreSQL ${row!.version}, ${description}, schema "${config.database.schema}": ${words[state]}`;
        } finally {
          await database.close();
        }
      },
    },
    {
      name: "clock",
      run: async () => {
        const { database, description } = await app.openConnection(world);
        try {
          const askedMs = Date.now();
          const [row] = await database.query<{ now_ms: number }>(
            "select extract(epoch from clock_timestamp()) * 1000 as now_ms",
          );
          const offMs = Math.round(row!.now_ms - (askedMs + Date.now()) / 2);
          if (Math.abs(offMs) < allowedSkewMs) return `within ${duration(Math.abs(offMs))} of ${description}'s`;
          const way = offMs > 0 ? "behind" : "ahead of";
          throw new UploaderError(
            "clock_skewed",
            `this machine's clock is ${duration(Math.abs(offMs))} ${way} ${description}'s`,
            {
              hint: "let one of them follow a time server: timedatectl set-ntp true; S3 refuses clocks 15 minutes off",
            },
          );
        } finally {
          await database.close();
        }
      },
    },
    {
      name: "disk",
      run: async () => {
        let folder = stateDirectoryOf(config);
        while (!existsSync(folder)) folder = dirname(folder);
        const free = machine.freeBytes(folder);
        if (free < 200 * 1024 * 1024) {
          throw new UploaderError("disk_full", `only ${bytes(free)} are free where state is kept (${folder})`, {
            hint: "free some space, or set UPLOADER_STATE_DIR",
          });
        }
        return `${bytes(free)} free where state is kept (${folder})`;
      },
    },
    {
      name: "limits",
      run: async () => {
        const descriptors = machine.openFilesLimit();
        const { limit } = await app.openConcurrency(world);
        const wanted = 2 * limit + 64;
        if (descriptors !== null && descriptors < wanted) {
          throw new UploaderError(
            "usage",
            `only ${count(descriptors)} files may be open at once, ${count(wanted)} are wanted`,
            { hint: `ulimit -n ${wanted}, or a lower --concurrency` },
          );
        }
        const watches = machine.watchLimit();
        return `${descriptors === null ? "open files unknown" : `${descriptors === Number.POSITIVE_INFINITY ? "unlimited" : count(descriptors)} open files`}${watches === null ? "" : `, ${count(watches)} watches`}`;
      },
    },
  ];
  if (config.source !== null) {
    list.push({
      name: "source",
      run: async () => {
        const tree = await app.openSource(config, config.source!);
        for await (const batch of tree.scan(face.stopping)) {
          return `${tree.root} is readable${batch.files.length === 0 ? ", nothing selected so far" : ""}`;
        }
        return `${tree.root} is readable and holds nothing that is selected`;
      },
    });
  }
  if (config.destination !== null) {
    list.push({
      name: "destination",
      run: async () => {
        const destination = await app.openDestination(world);
        try {
          const report = await destination.check(face.stopping);
          return [report.description, ...report.notices].join("; ");
        } finally {
          await destination.close();
        }
      },
    });
  }
  return list;
}
