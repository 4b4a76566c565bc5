import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { redactConfig } from "../../config.ts";
import { packageRoot } from "../../installed.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { table } from "../format.ts";

export function defineConfigCommands(program: Command): void {
  const config = program
    .command("config")
    .summary("the effective configuration, and what one may say")
    .addHelpText("before", "Examples:\n  uploader config show --config reef.json --origin\n  uploader config schema\n");
  const show = config
    .command("show")
    .description("The effective configuration, secrets removed.")
    .option("--origin", "where each value comes from")
    .addHelpText("before", "Examples:\n  uploader config show --config reef.json --origin\n")
    .addHelpText("after", exitStatusHelp(0, 1, 2));
  addConfigFlags(show, []).action(showConfig);

  config
    .command("schema")
    .description("The JSON Schema of the configuration file, for editors and for checking.")
    .addHelpText("before", "Examples:\n  uploader config schema > config.schema.json\n")
    .addHelpText("after", exitStatusHelp(0))
    .action(() => {
      process.stdout.write(readFileSync(new URL("config.schema.json", packageRoot), "utf8"));
    });

  const db = program
    .command("db")
    .summary("the database")
    .addHelpText("before", 'Examples:\n  psql "$(uploader db url)"\n');
  const url = db
    .command("url")
    .description("A connection string for psql of the same user; starts the bundled server if that is the database.")
    .addHelpText("before", 'Examples:\n  psql "$(uploader db url)"\n')
    .addHelpText("after", exitStatusHelp(0, 1, 2, 13));
  addConfigFlags(url, ["database.url"]).action(showUrl);
}

function leaves(value: unknown, path = ""): [string, unknown][] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[path, value]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === "" ? key : `${path}.${key}`));
}

async function showConfig(flags: { origin?: boolean }, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  try {
    const shown = redactConfig(face.loaded.config) as Record<string, unknown>;
    if (!flags.origin) return face.out(JSON.stringify(shown, null, face.json ? undefined : 2));
    const rows = leaves(shown).map(([path, value]) => ({ path, value, origin: originOf(face.loaded.origins, path) }));
    if (face.json) for (const row of rows) face.out(JSON.stringify(row));
    else
      face.out(
        table(
          ["key", "value", "from"],
          rows.map((row) => [row.path, JSON.stringify(row.value), row.origin]),
        ),
      );
  } finally {
    face.close();
  }
}

function originOf(origins: ReadonlyMap<string, string>, path: string): string {
  for (let at = path; at !== ""; at = at.includes(".") ? at.slice(0, at.lastIndexOf(".")) : "") {
    const origin = origins.get(at);
    if (origin !== undefined) return origin;
  }
  return "default";
}

async function showUrl(_flags: unknown, command: Command): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { openConnection } = await import("../../app.ts");
  const { config } = face.loaded;
  try {
    const { database, url } = await openConnection({
      config,
      emit: face.emit,
      stopping: face.stopping,
      dropping: face.dropping,
    });
    const text = await url();
    face.out(face.json ? JSON.stringify({ url: text, schema: config.database.schema }) : text);
    await database.close();
  } finally {
    face.close();
  }
}
