import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type DecodedFormat, decodedFormats, type PlotFormat, plotFormats } from "../../core/decoding.ts";
import { UploaderError } from "../../core/errors.ts";
import { exitCodeOfSignal } from "../../core/exit-codes.ts";
import type { DecodedRecording } from "../../operations/decode.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { bytes, name } from "../format.ts";

interface DecodeFlags {
  out: string;
  format?: readonly DecodedFormat[];
  profile?: string;
  timeSource?: string;
  channels?: readonly string[];
  from?: number;
  to?: number;
  plot?: readonly PlotFormat[];
  summary?: boolean;
  force?: boolean;
}

const exitStatus = `
Exit status:
  0    every recording was decoded
  1    unexpected failure: a bug
  2    usage, or none of the recordings could be decoded
  3    some of several recordings could not be decoded
  14   disk full
  130  stopped by Ctrl-C (SIGINT), cleanly; a second one stops at once
  143  stopped by SIGTERM, cleanly`;

export function defineDecode(program: Command): void {
  const command = program
    .command("decode")
    .argument("<paths...>", "recordings, or folders of recordings: hourly parts of a session become one")
    .summary("Shimmer recordings as numbers, tables, drawings")
    .description(
      "Decodes and calibrates Shimmer recordings into <out>/<name>.<format>, and shows\n" +
        "what is in them. They are only read; no database and no store is asked. Times\n" +
        "are true: gaps are kept and listed, nothing is smoothed.",
    )
    .option("--out <folder>", "where the files go", folderName, ".")
    .option(
      "--format <list>",
      `any of ${decodedFormats.join(", ")} (default: decode.formats, json)`,
      listOf(decodedFormats),
    )
    .addOption(
      new Option("--profile <name>", "whose values and time treatment").choices(["vendor", "consensys", "cloud-sync"]),
    )
    .addOption(
      new Option("--time-source <name>", "where a recording's start comes from").choices([
        "auto",
        "header",
        "phone",
        "device",
      ]),
    )
    .option("--channels <list>", "only these signals or groups of them, like Accel_WR,Battery", textList)
    .option("--from <time>", "only from this time on, like 2025-10-30T08:00:00Z, or Unix ms", instantMs)
    .option("--to <time>", "only before this time", instantMs)
    .option("--plot <list>", `draw an overview of all channels: any of ${plotFormats.join(", ")}`, listOf(plotFormats))
    .option("--summary", "only look: no decoded files (a drawing if asked for)")
    .option("--force", "replace files of other content")
    .addHelpText(
      "before",
      `Examples:
  uploader decode 000                     000.json here, a summary on the screen
  uploader decode /media/SD01 --out decoded --format csv,mat --plot png
  uploader decode walk.txt --channels Accel_WR,Battery --from 2025-10-30T08:00Z
  uploader decode /media/SD01 --summary --json | jq '{recording, gaps}'
`,
    )
    .addHelpText("after", exitStatus);
  addConfigFlags(command, []).action(run);
}

async function run(paths: readonly string[], flags: DecodeFlags, command: Command): Promise<void> {
  if (flags.from !== undefined && flags.to !== undefined && flags.from >= flags.to)
    throw new UploaderError("usage", "--from is not before --to", { hint: "no sample can lie between them" });
  const given = givenConfigFlags(command);
  if (flags.profile !== undefined) given["flag --profile decode.profile"] = flags.profile;
  if (flags.timeSource !== undefined) given["flag --time-source decode.timeSource"] = flags.timeSource;
  if (flags.format !== undefined) given["flag --format decode.formats"] = flags.format;
  const face = await openFace(command, given);
  const { formats, profile, timeSource } = face.loaded.config.decode;
  const app = await import("../../app.ts");
  const { decode } = await import("../../operations/decode.ts");
  const cx = await app.openDecode(face, resolve(flags.out));
  const { isTTY, columns } = process.stdout;
  try {
    const totals = await decode(cx, {
      paths,
      formats: [...(flags.summary ? [] : new Set(formats)), ...new Set(flags.plot)],
      settings: {
        profile,
        timeSource,
        ...(flags.channels && { channels: flags.channels }),
        ...(flags.from !== undefined && { fromMs: flags.from }),
        ...(flags.to !== undefined && { toMs: flags.to }),
      },
      force: flags.force === true,
      screen: face.json || face.quiet ? null : { width: isTTY ? columns : 100, sparklines: isTTY === true },
      onDecoded: (decoded) => tell(face, flags.out, decoded),
    });
    const signal = face.stopSignal();
    process.exitCode = signal ? exitCodeOfSignal(signal) : totals.exitCode;
  } finally {
    await cx.close();
    face.close();
  }
}

function tell(face: Face, out: string, decoded: DecodedRecording): void {
  const { recording, error } = decoded;
  if (face.json) {
    const failure = error && { code: error.code, message: error.message, hint: error.hint ?? null };
    const about = { type: "decoded", time: new Date().toISOString(), name: recording.name, parts: recording.parts };
    const found = error ? {} : { files: decoded.files, ...decoded.result.summary };
    face.out(JSON.stringify({ ...about, error: failure, ...found }));
  } else if (error) {
    const { code, message, hint, exitCode } = error;
    face.emit({ type: "error", sessionId: null, code, exitCode, message, hint: hint ?? null });
  } else if (!face.quiet) {
    const files = decoded.files.map(
      ({ name: file, sizeBytes, outcome }) =>
        `${name(out === "." ? file : `${out.replace(/\/$/, "")}/${file}`)} (${bytes(sizeBytes)}${outcome === "written" ? "" : `, ${outcomes[outcome]}`})`,
    );
    const parts = recording.parts.length > 1 ? ` and ${recording.parts.length - 1} more` : "";
    face.out(
      [
        `${name(recording.parts[0]!)}${parts}${files.length > 0 ? ` → ${files.join(", ")}` : ""}`,
        decoded.result.screen ?? "",
      ].join("\n"),
    );
  }
}

const outcomes = { replaced: "replaced", same: "was there already" } as const;

/** An empty one, as an unset variable leaves it, would be the working directory. */
function folderName(text: string): string {
  if (text === "") throw new InvalidArgumentError("it is empty.");
  return text;
}

function textList(text: string): string[] {
  const words = text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
  if (words.length === 0) throw new InvalidArgumentError("it is empty.");
  return words;
}

const listOf =
  <Word extends string>(words: readonly Word[]) =>
  (text: string): Word[] =>
    textList(text).map((word) => {
      const known = words.find((each) => each === word.toLowerCase());
      if (known === undefined) throw new InvalidArgumentError(`${words.join(", ")}, with commas between, are known.`);
      return known;
    });

/** A time without a zone is UTC, as everything that decode writes. */
function instantMs(text: string): number {
  if (/^-?\d+(\.\d+)?$/.test(text) && !/^\d{4}$/.test(text)) return Number(text);
  const [, date, time = "", zone = "Z"] =
    /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?(Z|[+-]\d\d:\d\d)?$/i.exec(text) ?? [];
  const ms = Date.parse(`${date}T${time || "00:00"}${zone.toUpperCase()}`);
  // A 30th of February is read as a day in March.
  const isDay = !Number.isNaN(ms) && new Date(`${date}T00:00Z`).toISOString().startsWith(date!);
  if (!isDay) throw new InvalidArgumentError("a time like 2025-10-30T08:00:00Z is wanted.");
  return ms;
}
