import { UploaderError } from "../core/errors.ts";

/** Something the reader of the result should know; never a reason to stop. */
export interface Note {
  code: string;
  message: string;
}

export interface Fault {
  /** Byte offset in the file. */
  offset: number;
  field: string;
  expected: string;
  found: string;
  hint?: string;
}

/** A recording that cannot be decoded: the sentence names file, offset, field, expected and found. */
export function badRecording(name: string, fault: Fault): UploaderError {
  const { offset, field, expected, found, hint } = fault;
  return new UploaderError(
    "recording_bad",
    `${name}: ${field} at byte ${offset}: expected ${expected}, found ${found}`,
    { hint: hint ?? "Is this a Shimmer recording, copied completely? The raw file itself is unharmed." },
  );
}
