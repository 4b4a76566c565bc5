import type { Command } from "commander";
import type { ImportLogResult } from "../../operations/import-log.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { count, files, fold, name } from "../format.ts";

interface ImportLogFlags {
  only?: string;
  zone?: string;
  checkStore?: boolean;
  dryRun?: boolean;
}

/** Problems and missing keys that are named without -v. */
const named = 20;

export function defineImportLog(program: Command): void {
  const command = program
    .command("import-log")
    .argument("<file>", "upload_log.json of the older program")
    .summary("take over what the older ECG program sent")
    .description(
      "Reads the older ECG program's log. Its files keep their keys, and those not changed since are safe: the next " +
        "upload or sync with the layout ecg-reports sends none of them again. What cannot be understood is named, and " +
        "the rest taken over, in one transaction. Run it again after the older program has sent more.",
    )
    .option("--only <name>", "of the configuration's sources, the one that the log is from")
    .option("--zone <name>", "time zone of the machine that wrote the log, like Asia/Kolkata (default: this one's)")
    .option("--check-store", "take over only what the store still holds")
    .option("-n, --dry-run", "say what would be taken over; write nothing")
    .addHelpText(
      "before",
      `Examples:
  uploader import-log reports/upload_log.json --config ecg.json
  uploader import-log upload_log.json --config ecg.json --check-store --dry-run
  uploader import-log upload_log.json --layout ecg-reports --destination s3://clinic
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 12, 13, 14, 130, 143));
  const shown = ["destination", "layout", "s3.region", "s3.profile", "s3.endpoint", "database.url", "database.schema"];
  addConfigFlags(command, shown).action(run);
}

async function run(file: string, flags: ImportLogFlags, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { emit, stopping, dropping } = face;
  const { runImportLog } = await import("../../app/import-log.ts");
  try {
    const result = await runImportLog(
      { config: face.loaded.config, emit, stopping, dropping },
      {
        file,
        source: flags.only ?? null,
        zone: flags.zone ?? null,
        checkStore: flags.checkStore === true,
        dryRun: flags.dryRun === true,
      },
    );
    if (face.json) reportJson(face, result, flags.dryRun === true);
    else reportText(face, file, result, flags.dryRun === true);
  } finally {
    face.close();
  }
}

function reportJson(face: Face, { problems, missing, ...totals }: ImportLogResult, dryRun: boolean): void {
  const line = (fields: object): void => face.out(JSON.stringify(fields));
  const time = new Date().toISOString();
  for (const problem of problems) line({ type: "problem", time, ...problem });
  for (const key of missing ?? []) line({ type: "missing", time, key });
  const { length: notUnderstood } = problems;
  line({
    type: "summary",
    time,
    dryRun,
    ...totals,
    problems: notUnderstood,
    missing: missing?.length ?? null,
    exitCode: 0,
  });
}

function reportText(face: Face, file: string, result: ImportLogResult, dryRun: boolean): void {
  const width = process.stderr.isTTY ? process.stderr.columns : undefined;
  const say = (text: string): boolean => process.stderr.write(`${fold(text, width)}\n`);
  const list = (lines: string[]): void => {
    const shown = face.verbose > 0 ? lines : lines.slice(0, named);
    for (const line of shown) say(line);
    if (shown.length < lines.length) say(`… and ${count(lines.length - shown.length)} more (-v names them)`);
  };
  const { problems, missing } = result;
  list(problems.map(({ line, entry, problem }) => `${file}, line ${line}, entry ${entry}: ${name(problem)}`));
  list((missing ?? []).map((key) => `not in the store any more, will be sent again: ${name(key)}`));
  if (!face.quiet) face.out(summaryText(result, dryRun));
}

function summaryText(result: ImportLogResult, dryRun: boolean): string {
  const { entries, keys, keysKnown, users, usersKnown, repeated, problems, missing } = result;
  const also = (known: number): string => (known === 0 ? "" : ` (${count(known)} known before)`);
  return [
    dryRun ? "dry run: nothing was written" : `${count(entries)} ${entries === 1 ? "entry" : "entries"} read`,
    `  ${keys === 1 ? "1 file keeps its key" : `${files(keys)} keep their keys`}${also(keysKnown)}`,
    `  ${count(users)} ${users === 1 ? "user" : "users"} signed up${also(usersKnown)}`,
    ...(repeated > 0 ? [`  ${count(repeated)} older entries of the same files and users: the newest counts`] : []),
    ...(missing?.length ? [`  ${count(missing.length)} not in the store any more`] : []),
    ...(problems.length > 0 ? [`  ${count(problems.length)} not understood, named above`] : []),
  ].join("\n");
}
