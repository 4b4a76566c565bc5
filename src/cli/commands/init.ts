import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import type { Command } from "commander";
import { type Config, configText, destinationText, loadConfig, redactUrl } from "../../config.ts";
import { asUploaderError, UploaderError } from "../../core/errors.ts";
import { database, destination, source, withDatabase } from "../doctor-probes.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, type GivenFlags, givenConfigFlags } from "../flags.ts";
import { fold, name } from "../format.ts";
import type { Prompts } from "../prompts.ts";

interface InitFlags {
  force?: boolean;
  check: boolean;
  yes?: boolean;
}

const shown = [
  "project",
  "source",
  "destination",
  "include",
  "s3.region",
  "s3.profile",
  "s3.endpoint",
  "database.url",
  "database.schema",
  "decode.enabled",
];

export function defineInit(program: Command): void {
  const command = program
    .command("init")
    .argument("[file]", "the configuration to write (default: PROJECT.json here)")
    .summary("write a configuration by asking")
    .description(
      "Asks for source, destination and database on a terminal, looks at each answer (is it there, can it be reached, do " +
        "the credentials count), and writes a configuration. From a pipe, or with --yes, the flags are the answers, and " +
        "what variables (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL) say of the store.",
    )
    .option("--force", "replace a file that is there")
    .option("--no-check", "do not look whether source, destination and database can be reached")
    .option("-y, --yes", "ask nothing: what no flag says stays as it is by default")
    .addHelpText(
      "before",
      `Examples:
  uploader init
  uploader init reef.json --source /media/SD01 --destination s3://reef-recordings/C2 --yes
  uploader init site.json --destination s3://reef/C2 --endpoint-url https://s3.example.org:9000
`,
    )
    .addHelpText("after", exitStatusHelp(0, 1, 2, 12, 13, 14, 130, 143));
  addConfigFlags(command, shown).action(run);
}

async function run(file: string | undefined, flags: InitFlags, command: Command): Promise<void> {
  // `init --config reef.json` means the file to write; nothing is to be read from it.
  const named = file ?? command.optsWithGlobals<{ config?: string }>().config;
  command.parent?.setOptionValue("config", undefined);
  const given = givenConfigFlags(command);
  const face = await openFace(command, given);
  try {
    if (named !== undefined) assertFree(named, flags);
    const isAsking = flags.yes !== true && process.stdin.isTTY === true && process.stderr.isTTY === true && !face.json;
    const lent = lentOf(face);
    const answers = isAsking ? await asked(face, { ...lent, ...given }, flags) : { ...storeOnly(face, lent), ...given };
    const config = configOf(answers);
    if (!isAsking) await lookAt(face, config, flags);
    await write(face, named ?? `${config.project}.json`, answers, config, flags);
  } finally {
    face.close();
  }
}

/**
 * What variables say of the store is an answer too: cron or a service, where the file is used, does not have them. Secrets
 * are none of these.
 */
function lentOf({ loaded: { config, origins } }: Face): GivenFlags {
  const lent: GivenFlags = {};
  for (const key of ["endpoint", "profile", "region"] as const) {
    const isLent = /^(borrowed|environment|\.env) /.test(origins.get(`s3.${key}`) ?? "");
    if (isLent && config.s3[key] !== null) lent[`s3.${key}`] = config.s3[key];
  }
  return lent;
}

/** Without questions: what goes into the file though no flag said it, which is told. */
function storeOnly(face: Face, lent: GivenFlags): GivenFlags {
  const { config, origins } = face.loaded;
  if (config.destination?.kind !== "s3") return {};
  for (const [path, value] of Object.entries(lent)) {
    const variable = origins.get(path)!.replace(/^\S+ /, "");
    tell(face, `${path} is ${redactUrl(String(value))}, as ${variable} says`);
  }
  return lent;
}

const configOf = (flags: GivenFlags): Config =>
  loadConfig({ flags, configPath: null, env: { ...process.env, UPLOADER_CONFIG: undefined }, cwd: process.cwd() })
    .config;

function assertFree(file: string, flags: InitFlags): void {
  if (flags.force === true || !existsSync(file)) return;
  throw new UploaderError("usage", `${file} is there already`, {
    hint: "name another file: uploader init FILE, or replace it with --force",
  });
}

/** Without questions: everything that was said must hold, or nothing is written. */
async function lookAt(face: Face, config: Config, flags: InitFlags): Promise<void> {
  for (const key of ["source", "destination"] as const) {
    if (config[key] !== null) continue;
    throw new UploaderError("usage", `no ${key} is named`, {
      hint: `uploader init --source /media/SD01 --destination s3://bucket/prefix`,
    });
  }
  assertNoPassword(config.database.url);
  if (!flags.check) return;
  tell(face, await source(face, config));
  tell(face, await destination(face, config));
  if (config.database.url !== null) tell(face, await withDatabase(withConfig(face, config), database));
}

const withConfig = (face: Face, config: Config): Face => ({ ...face, loaded: { ...face.loaded, config } });

function assertNoPassword(url: string | null): void {
  if (url === null || !URL.canParse(url) || new URL(url).password === "") return;
  throw new UploaderError("usage", "the database's URL holds a password, and the file is no place for one", {
    hint: "leave it out, and set UPLOADER_DATABASE_PASSWORD (or UPLOADER_DATABASE_PASSWORD_FILE)",
  });
}

const say = (text: string): boolean =>
  process.stderr.write(`${fold(text, process.stderr.isTTY ? process.stderr.columns : undefined)}\n`);

function tell(face: Face, fact: string): void {
  if (!face.quiet) say(`  ok: ${name(fact)}`);
}

function complain(error: unknown): void {
  const { code, message, hint } = asUploaderError(error);
  if (code === "internal") throw error;
  // The question said what was asked for; only a flag's answer needs its name.
  say(`  ${name(message.replace(/^flag \S+: /, ""))}`);
  if (hint) say(`  ${name(hint)}`);
}

/** The answers, as flags; each question begins with what a flag or the environment says already. */
async function asked(face: Face, given: GivenFlags, flags: InitFlags): Promise<GivenFlags> {
  const { openPrompts } = await import("../prompts.ts");
  const prompts = openPrompts({ input: process.stdin, output: process.stderr, complain, signal: face.stopping });
  const answers: GivenFlags = { ...given };
  const usual = (path: string): string | null => (answers[path] === undefined ? null : String(answers[path]));
  const put = (path: string, answer: string): void => {
    if (answer === "" || answer === "none") delete answers[path];
    else answers[path] = answer;
  };
  try {
    say("Answers are checked as they come. Enter takes what stands in brackets; Ctrl-C ends without a trace.\n");
    await prompts.ask("Folder to send", usual("source") ?? face.loaded.config.source, async (answer) => {
      if (answer === "") throw new UploaderError("usage", "a folder is needed, like /media/SD01");
      const config = configOf({ ...answers, source: answer });
      if (flags.check) tell(face, await source(face, config));
      answers.source = config.source!;
    });
    while (!(await askDestination(face, prompts, answers, put, usual, flags)));
    const { project } = configOf(answers);
    await prompts.ask("Project (groups sessions)", project, (answer) => put("project", answer));
    const url = usual("database.url");
    await prompts.ask("PostgreSQL URL, or none for the bundled one", url ?? "none", async (answer) => {
      assertNoPassword(answer);
      const before = answers["database.url"];
      put("database.url", answer);
      try {
        const config = configOf(answers);
        if (flags.check && answers["database.url"] !== undefined) {
          tell(face, await withDatabase(withConfig(face, config), database));
        }
      } catch (error) {
        if (before === undefined) delete answers["database.url"];
        else answers["database.url"] = before;
        throw error;
      }
    });
    return answers;
  } finally {
    prompts.close();
  }
}

/** False: it could not be reached, and all about it is asked again. */
async function askDestination(
  face: Face,
  prompts: Prompts,
  answers: GivenFlags,
  put: (path: string, answer: string) => void,
  usual: (path: string) => string | null,
  flags: InitFlags,
): Promise<boolean> {
  await prompts.ask("Where to: s3://bucket/prefix, or a folder", usual("destination"), (answer) => {
    if (answer === "") throw new UploaderError("usage", "a destination is needed, like s3://reef-recordings/C2");
    answers.destination = destinationText(configOf({ ...answers, destination: answer }).destination!);
  });
  const isBucket = String(answers.destination).startsWith("s3:");
  if (!isBucket) for (const path of Object.keys(answers)) if (path.startsWith("s3.")) delete answers[path];
  if (isBucket) {
    const questions = [
      ["s3.endpoint", "Endpoint (https://…), if it is not AWS"],
      ["s3.profile", "Profile that gives the credentials, if not the usual ones"],
      ["s3.region", "Region, if it is not to be found out"],
    ] as const;
    for (const [path, question] of questions) {
      await prompts.ask(question, usual(path) ?? "none", (answer) => {
        configOf({ ...answers, [path]: answer });
        put(path, answer);
      });
    }
  }
  if (!flags.check) return true;
  try {
    tell(face, await destination(face, configOf(answers)));
    return true;
  } catch (error) {
    complain(error);
    return await prompts.confirm("Keep it all the same?", false);
  }
}

async function write(face: Face, file: string, answers: GivenFlags, config: Config, flags: InitFlags): Promise<void> {
  assertFree(file, flags);
  const path = resolve(file);
  // Whole paths: a service or cron starts somewhere else.
  const places = {
    ...(config.source !== null && { source: config.source }),
    ...(config.destination !== null && { destination: destinationText(config.destination) }),
    ...(config.project !== null && { project: config.project }),
  };
  const text = configText({ ...answers, ...places }, process.cwd());
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, text, { flag: flags.force ? "w" : "wx" });
  } catch (cause) {
    throw new UploaderError("usage", `${file} cannot be written (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
  // What was written is read once more, as the next command will.
  loadConfig({ flags: {}, configPath: path, env: process.env, cwd: process.cwd() });
  const near = relative(process.cwd(), path);
  const shownPath = quoted(near.startsWith("..") ? path : near);
  if (face.json) return face.out(JSON.stringify({ type: "written", time: new Date().toISOString(), path }));
  if (face.quiet) return;
  face.out(
    [
      `wrote ${shownPath}`,
      `  check:   uploader doctor --config ${shownPath}`,
      `  try:     uploader upload --config ${shownPath} --dry-run`,
      `  upload:  uploader upload --config ${shownPath}`,
    ].join("\n"),
  );
}

/** For a shell. */
const quoted = (path: string): string => (/^[\w./@%+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
