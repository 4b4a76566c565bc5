/** `import-log` from a configuration to its end. */
import { readFile } from "node:fs/promises";
import { openDestination, openState, requireDestination, type World } from "../app.ts";
import { type Config, configForSource } from "../config.ts";
import { openZone, type Zone } from "../core/ecg-stamp.ts";
import { UploaderError } from "../core/errors.ts";
import { type ImportLogResult, importLog } from "../operations/import-log.ts";
import { localZone } from "./layout.ts";

export interface ImportLogOptions {
  file: string;
  /** One of the configuration's sources; null: the only one with this layout. */
  source: string | null;
  /** Of times without an offset; null: the machine's own. */
  zone: string | null;
  checkStore: boolean;
  dryRun: boolean;
}

export async function runImportLog(given: World, options: ImportLogOptions): Promise<ImportLogResult> {
  const { emit, stopping } = given;
  const config = chosen(given.config, options.source);
  const world = { ...given, config };
  const target = requireDestination(config);
  if (config.layout !== "ecg-reports") {
    const message = `what the log says counts for the layout ecg-reports, and the configuration says ${config.layout}`;
    emit({ type: "notice", sessionId: null, level: "info", message });
  }
  const zone = zoneOf(options.zone ?? localZone());
  const text = await textOf(options.file);
  const closing: (() => Promise<void>)[] = [];
  try {
    const destination = await openDestination(world);
    closing.push(() => destination.close());
    if (options.checkStore) await destination.check(stopping);
    const state = options.dryRun ? null : await openState(world);
    if (state) closing.push(() => state.store.close());
    const { kind, identity } = destination;
    return await importLog(
      {
        memory: state?.store.ecg ?? null,
        listing: options.checkStore ? destination : null,
        wallClock: Date.now,
        stopping,
      },
      {
        text,
        file: options.file,
        zone,
        destination: { kind, identity, prefix: target.kind === "s3" ? target.prefix : "" },
        bucket: target.kind === "s3" ? target.bucket : null,
      },
    );
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** The configuration of the source whose destination the log is about. */
function chosen(config: Config, name: string | null): Config {
  if (name !== null) return configForSource(config, name);
  const names = config.sources.filter(({ layout }) => layout === "ecg-reports").map((source) => source.name);
  if (names.length > 1) {
    throw new UploaderError("usage", `the configuration has ${names.length} sources with the layout ecg-reports`, {
      hint: `name the one that the log is from: --only ${names.join(", or --only ")}`,
    });
  }
  return names[0] === undefined ? config : configForSource(config, names[0]);
}

function zoneOf(name: string): Zone {
  try {
    return openZone(name);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new UploaderError("usage", `there is no time zone called ${JSON.stringify(name)}`, {
      hint: "names are like Asia/Kolkata or Europe/Berlin",
      cause,
    });
  }
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : null;
    if (code === null) throw cause;
    const why = code === "ENOENT" ? "does not exist" : code === "EISDIR" ? "is a folder" : `cannot be read (${code})`;
    throw new UploaderError("usage", `the log ${file} ${why}`, {
      hint: "the older program keeps it as reports/upload_log.json",
      cause,
    });
  }
}
