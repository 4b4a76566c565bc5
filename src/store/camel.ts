import type { Row } from "./database.ts";

/** snake_case columns to camelCase fields: the row shapes in core/store.ts carry the same names. */
export function camel<T>(row: Row): T {
  const out: Row = {};
  for (const name in row) out[name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())] = row[name];
  return out as T;
}
