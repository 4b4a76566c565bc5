import { readdirSync, readFileSync } from "node:fs";
import { packageRoot } from "../installed.ts";

export const sqlFolder = new URL("sql/", packageRoot);

export interface Statement {
  name: string;
  /** In the order of $1, $2 …, camelCase. */
  parameters: readonly string[];
  text: string;
}

/** `:"schema"` is psql's own syntax for a quoted identifier in a variable, so the files run in psql as they are. */
export function inSchema(sql: string, schema: string): string {
  return sql.replaceAll(':"schema"', `"${schema.replaceAll('"', '""')}"`);
}

const camelCase = (name: string): string => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

const known = new Map<string, Map<string, Statement>>();

/** Those of sql/queries, read once for each schema. */
export function loadStatements(schema: string): ReadonlyMap<string, Statement> {
  const statements = known.get(schema) ?? readStatements(schema);
  known.set(schema, statements);
  return statements;
}

/** Every block starts with `-- name(parameters)`, then comments, then one statement. */
function readStatements(schema: string): Map<string, Statement> {
  const statements = new Map<string, Statement>();
  const folder = new URL("queries/", sqlFolder);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".sql"))) {
    const parts = readFileSync(new URL(file, folder), "utf8").split(/^-- ([a-z_0-9]+)\(([a-z_0-9, ]*)\)$/m);
    for (let i = 1; i + 2 < parts.length + 1; i += 3) {
      const [name, parameters, text] = [parts[i]!, parts[i + 1]!, parts[i + 2]!];
      statements.set(name, {
        name,
        parameters: parameters
          .split(",")
          .map((word) => camelCase(word.trim()))
          .filter((word) => word !== ""),
        text: inSchema(text, schema).trim(),
      });
    }
  }
  return statements;
}
