/**
 * Postgres binary arrays. node-postgres sends a Buffer as a binary parameter; building it here costs a fraction of its
 * text form, which quotes every element. Layout: PostgreSQL source, src/backend/utils/adt/arrayfuncs.c, array_recv.
 * A column of nothing but nulls is sent as an empty array: beside longer ones `unnest` fills it up with nulls.
 */

const OID = { bool: 16, bytea: 17, int8: 20, int4: 23, text: 25 } as const;

function array<T>(
  oid: number,
  values: readonly (T | null)[],
  sizeBytes: (value: T) => number,
  write: (target: Buffer, value: T, at: number) => void,
): Buffer {
  let length = 20;
  let nulls = 0;
  for (const value of values) {
    if (value === null) nulls++;
    length += 4 + (value === null ? 0 : sizeBytes(value));
  }
  const isEmpty = nulls === values.length;
  const target = Buffer.allocUnsafe(isEmpty ? 12 : length);
  target.writeInt32BE(isEmpty ? 0 : 1, 0);
  target.writeInt32BE(nulls > 0 && !isEmpty ? 1 : 0, 4);
  target.writeInt32BE(oid, 8);
  if (isEmpty) return target;
  target.writeInt32BE(values.length, 12);
  target.writeInt32BE(1, 16);
  let at = 20;
  for (const value of values) {
    const bytes = value === null ? -1 : sizeBytes(value);
    target.writeInt32BE(bytes, at);
    at += 4;
    if (value === null) continue;
    write(target, value, at);
    at += bytes;
  }
  return target;
}

export const textArray = (values: readonly (string | null)[]): Buffer =>
  array(OID.text, values, Buffer.byteLength, (target, value, at) => target.write(value, at));

/** Numbers are whole and below 2^53; by halves, as turning them into bigints costs four times as much. */
function writeInt8(target: Buffer, value: number | bigint, at: number): void {
  if (typeof value === "bigint") target.writeBigInt64BE(value, at);
  else {
    target.writeInt32BE(Math.floor(value / 2 ** 32), at);
    target.writeInt32BE(value | 0, at + 4);
  }
}

export const int8Array = (values: readonly (number | bigint | null)[]): Buffer =>
  array(OID.int8, values, () => 8, writeInt8);

export const int4Array = (values: readonly (number | null)[]): Buffer =>
  array(
    OID.int4,
    values,
    () => 4,
    (target, value, at) => target.writeInt32BE(value, at),
  );

export const boolArray = (values: readonly (boolean | null)[]): Buffer =>
  array(
    OID.bool,
    values,
    () => 1,
    (target, value, at) => target.writeUInt8(value ? 1 : 0, at),
  );

export const byteaArray = (values: readonly (Uint8Array | null)[]): Buffer =>
  array(
    OID.bytea,
    values,
    (value) => value.length,
    (target, value, at) => target.set(value, at),
  );
