/**
 * A map of devices as a file, CSV or JSON, piece by piece: a million rows need no more memory than ten. Every fault names
 * its line and column, and never the patient.
 */
import {
  assertEntry,
  canonicalDevice,
  canonicalPatient,
  type DeviceEntry,
  type ImportRow,
  parseInstant,
  sensorList,
} from "./devices.ts";
import { asUploaderError, UploaderError } from "./errors.ts";

type Field = "device" | "patient" | "shimmer1" | "shimmer2" | "from" | "to";

/** Without blanks and underscores, in lower case. What stands for null is read over: exports and the older program have it. */
const columns: Readonly<Record<string, Field | null>> = {
  device: "device",
  patient: "patient",
  shimmer1: "shimmer1",
  shimmer2: "shimmer2",
  from: "from",
  validfrom: "from",
  to: "to",
  validto: "to",
  id: null,
  updatedat: null,
};

export const exportColumns = ["device", "patient", "shimmer1", "shimmer2", "from", "to"] as const;

const batchSize = 5_000;
/** No row is as long: then a quote or a bracket is not closed. */
const longestRow = 2 ** 20;
/** One object with all devices in it, as the older program answered, is read whole. */
const longestMap = 2 ** 28;

const hint = `nothing was imported; columns are ${exportColumns.join(", ")}`;

function wrong(line: number, column: string | null, message: string): UploaderError {
  return new UploaderError("usage", `line ${line}${column === null ? "" : `, column "${column}"`}: ${message}`, {
    hint,
  });
}

/** JSON when it begins as JSON does, else CSV. Rows in batches, at least one. Errors: usage. */
export async function* readDeviceFile(chunks: AsyncIterable<string>): AsyncGenerator<ImportRow[]> {
  let batch: ImportRow[] = [];
  let hasRow = false;
  let line = 1;
  const counted = (async function* () {
    for await (const chunk of chunks) {
      if (!hasRow) line += chunk.split("\n").length - 1;
      yield chunk;
    }
  })();
  for await (const row of rowsOf(counted)) {
    hasRow = true;
    batch.push(row);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  // Cut short, or the wrong file: nobody imports nothing on purpose.
  if (!hasRow) throw wrong(line, null, "the file ends here, and has no entry");
  if (batch.length > 0) yield batch;
}

async function* rowsOf(chunks: AsyncIterable<string>): AsyncGenerator<ImportRow> {
  const source = chunks[Symbol.asyncIterator]();
  let head = "";
  while (head.trimStart() === "") {
    const next = await source.next();
    if (next.done) return;
    head = (head + next.value).replace(/^\ufeff/, "");
  }
  const all = (async function* () {
    yield head;
    for (let next = await source.next(); !next.done; next = await source.next()) yield next.value;
  })();
  yield* /^\s*[[{]/.test(head) ? jsonRows(all) : csvRows(all);
}

type Cells = Partial<Record<Field, unknown>>;

function rowOf(line: number, cells: Cells): ImportRow {
  const told = <T>(column: Field, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw wrong(line, column, asUploaderError(error).message);
    }
  };
  const text = (column: Field): string => {
    const value = cells[column] ?? "";
    if (typeof value !== "string") throw wrong(line, column, "a text is wanted");
    if (value.trim() === "") throw wrong(line, column, "it is empty");
    return value;
  };
  const instant = (column: "from" | "to"): Date | null => {
    const value = cells[column] ?? "";
    if (value === "") return null;
    const at = typeof value === "string" ? parseInstant(value) : null;
    // What looks like no date at all may be a patient in the wrong column.
    const shown = typeof value === "string" && /^[+-]?\d{1,6}[-./]\d{1,2}\b/.test(value) ? JSON.stringify(value) : "it";
    if (at === null) throw wrong(line, column, `${shown} is no date or time (2026-03-01T08:00:00Z)`);
    return at;
  };
  const sensors = (column: "shimmer1" | "shimmer2"): string[] | null => {
    const value = cells[column] ?? "";
    const list = Array.isArray(value) ? value : [value];
    if (!list.every((each) => typeof each === "string"))
      throw wrong(line, column, "a text or a list of texts is wanted");
    const named = told(column, () => sensorList(list.join(",")));
    return named.length > 0 ? named : null;
  };
  const [deviceText, patientText] = [text("device"), text("patient")];
  const device = told("device", () => canonicalDevice(deviceText));
  const patient = told("patient", () => canonicalPatient(patientText));
  const [shimmer1, shimmer2, from, to] = [sensors("shimmer1"), sensors("shimmer2"), instant("from"), instant("to")];
  const row = { line, device, patient, shimmer1, shimmer2, from, to };
  if (from !== null && to !== null && from >= to) throw wrong(line, "to", 'it is not after "from"');
  told("shimmer2", () => assertEntry({ from, to, shimmer1: shimmer1 ?? [], shimmer2: shimmer2 ?? [] }));
  return row;
}

const columnOf = (name: string): Field | null | undefined => {
  const plain = name.toLowerCase().replace(/[\s_]/g, "");
  return Object.hasOwn(columns, plain) ? columns[plain] : undefined;
};

function fieldOf(line: number, name: string): Field | null {
  const field = columnOf(name);
  if (field === undefined) throw wrong(line, name, "it is not known");
  return field;
}

async function* csvRows(chunks: AsyncIterable<string>): AsyncGenerator<ImportRow> {
  let fields: (Field | null)[] | null = null;
  let delimiter = ",";
  for await (const { line, text } of csvLines(chunks)) {
    if (text.trim() === "") continue;
    if (fields === null) {
      delimiter = [",", ";", "\t"].find((each) => text.includes(each)) ?? ",";
      const names = cellsOf(line, text, delimiter).map((name) => name.trim());
      // Then it is a row, and its cells are patients: nothing of it is quoted.
      if (!names.some((name) => columnOf(name) !== undefined)) {
        throw wrong(line, null, "it names no column that is known, and the first line has to");
      }
      fields = names.map((name) => fieldOf(line, name));
      for (const field of ["device", "patient"] as const) {
        if (!fields.includes(field)) throw wrong(line, field, "it is missing: the first line names the columns");
      }
      const twice = fields.find((field, at) => field !== null && fields!.indexOf(field) !== at);
      if (twice) throw wrong(line, twice, "it is there twice");
      continue;
    }
    const values = cellsOf(line, text, delimiter);
    if (values.length !== fields.length) {
      throw wrong(line, null, `it has ${values.length} columns, the first line names ${fields.length}`);
    }
    const cells: Cells = {};
    for (const [at, field] of fields.entries()) if (field !== null) cells[field] = values[at]!;
    yield rowOf(line, cells);
  }
}

/** Lines as RFC 4180 has them: one in quotes goes on over the line's end. */
async function* csvLines(chunks: AsyncIterable<string>): AsyncGenerator<{ line: number; text: string }> {
  let rest = "";
  let line = 1;
  let begunAt = 1;
  let begun: string[] = [];
  let begunLength = 0;
  const take = (text: string): { line: number; text: string } | null => {
    if (begun.length === 0) begunAt = line;
    line++;
    const turnsQuotes = text.includes('"') && text.split('"').length % 2 === 0;
    const isOpen = turnsQuotes !== begun.length > 0;
    if (!isOpen && begun.length === 0) return { line: begunAt, text };
    begun.push(text);
    begunLength += text.length + 1;
    if (begunLength > longestRow) throw wrong(begunAt, null, "a quote is not closed");
    if (isOpen) return null;
    const whole = begun.join("\n");
    begun = [];
    begunLength = 0;
    return { line: begunAt, text: whole };
  };
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    if (rest.length > longestRow) throw wrong(line, null, "it has no end");
    for (const text of lines) {
      const whole = take(text.replace(/\r$/, ""));
      if (whole) yield whole;
    }
  }
  const last = rest === "" ? null : take(rest.replace(/\r$/, ""));
  if (last) yield last;
  if (begun.length > 0) throw wrong(begunAt, null, "a quote is not closed");
}

function cellsOf(line: number, text: string, delimiter: string): string[] {
  if (!text.includes('"')) return text.split(delimiter);
  const cells: string[] = [];
  for (let at = 0; at <= text.length; ) {
    if (text[at] !== '"') {
      const end = text.indexOf(delimiter, at);
      cells.push(text.slice(at, end === -1 ? text.length : end));
      at = end === -1 ? text.length + 1 : end + 1;
      continue;
    }
    let end = at + 1;
    while (text[end] !== '"' || text[end + 1] === '"') end += text[end] === '"' ? 2 : 1;
    cells.push(text.slice(at + 1, end).replaceAll('""', '"'));
    at = end + 1;
    if (at < text.length && text[at] !== delimiter) throw wrong(line, null, "text follows a closing quote");
    at++;
  }
  return cells;
}

async function* jsonRows(chunks: AsyncIterable<string>): AsyncGenerator<ImportRow> {
  for await (const { line, text } of jsonValues(chunks)) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw wrong(line, null, "it is not valid JSON");
    }
    for (const record of recordsOf(line, value)) yield rowOf(line, record);
  }
}

/** A row; or a map `{device: patient}` or `{device: {patient, shimmer1, shimmer2}}`; or a list of rows below `data`. */
function recordsOf(line: number, value: unknown): Cells[] {
  if (!isObject(value)) throw wrong(line, null, "an object with device and patient is wanted");
  if (Array.isArray(value.data)) return value.data.flatMap((each: unknown) => recordsOf(line, each));
  if (typeof value.device === "string") {
    const cells: Cells = {};
    for (const [name, cell] of Object.entries(value)) {
      const field = fieldOf(line, name);
      if (field !== null) cells[field] = cell;
    }
    return [cells];
  }
  return Object.entries(value).flatMap(([device, worn]) => {
    if (typeof worn === "string") return [{ device, patient: worn }];
    if (!isObject(worn)) throw wrong(line, null, "for each device a patient, or an object with patient, is wanted");
    return recordsOf(line, { ...worn, device });
  });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The elements of one array, or values one after the other (JSON lines), each with the line it begins on. */
async function* jsonValues(chunks: AsyncIterable<string>): AsyncGenerator<{ line: number; text: string }> {
  let line = 1;
  let depth = 0;
  let inArray = false;
  let inText = false;
  let escaped = false;
  let value = "";
  let begunAt = 1;
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const char = chunk[at]!;
      if (char === "\n") line++;
      if (inText) {
        if (escaped) escaped = false;
        else if (char === "\\") escaped = true;
        else if (char === '"') inText = false;
        continue;
      }
      if (depth === 0) {
        if (/[\s,\]]/.test(char)) continue;
        if (char === "[" && !inArray) {
          inArray = true;
          continue;
        }
        if (char !== "{") throw wrong(line, null, "an object with device and patient is wanted");
        begunAt = line;
        from = at;
        value = "";
      }
      if (char === '"') inText = true;
      else if (char === "{" || char === "[") depth++;
      else if (char === "}" || char === "]") {
        depth--;
        if (depth > 0) continue;
        yield { line: begunAt, text: value + chunk.slice(from, at + 1) };
      }
    }
    if (depth > 0) {
      value += chunk.slice(from);
      if (value.length > longestMap) throw wrong(begunAt, null, "a bracket is not closed");
    }
  }
  if (depth > 0) throw wrong(begunAt, null, "a bracket is not closed");
}

/** A line of an export, which an import reads back. */
export function exportLine({ device, patient, shimmer1, shimmer2, from, to }: DeviceEntry): string {
  const cells = [device, patient, shimmer1.join(","), shimmer2.join(","), from?.toISOString(), to?.toISOString()];
  return cells
    .map((cell = "") => (/[",;\t\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell))
    .join(",");
}
