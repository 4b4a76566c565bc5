import type { Database, Query, Row } from "./database.ts";
import type { Statement } from "./statements.ts";

/** Runs a statement of sql/queries by name, binding an object's fields in the order its header gives. */
export type Run = <R = Row>(name: string, values: Record<string, unknown>, query?: Query) => Promise<R[]>;

export function createRunner(database: Database, statements: ReadonlyMap<string, Statement>): Run {
  return <R>(name: string, values: Record<string, unknown>, query: Query = database.query) => {
    const statement = statements.get(name);
    if (!statement) throw new Error(`no statement ${name} in sql/queries`);
    return query<R>(
      statement.text,
      statement.parameters.map((parameter) => {
        if (!(parameter in values)) throw new Error(`statement ${name} wants ${parameter}`);
        return values[parameter];
      }),
    );
  };
}
