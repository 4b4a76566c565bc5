/** Sign-ups of the users file: which fields are sent, and the bytes of them. Pure. */
import { createHash } from "node:crypto";
import type { UserState } from "./ecg.ts";
import { ecgRoot } from "./ecg-reports.ts";
import { dateFolder, type Zone } from "./ecg-stamp.ts";

type Value = string | number;

export interface Signup extends UserState {
  fields: Record<string, Value>;
}

/**
 * Every field that is sent, beside the times, and where it is read: nothing else leaves the file, a password least of all
 * (reference: the older program's fixed list; it looked for `registration_date`, which its own files call `signup_date`).
 */
const sentFields: readonly { field: string; from: readonly string[] }[] = [
  { field: "full_name", from: ["full_name"] },
  { field: "phone", from: ["phone"] },
  { field: "serial_id", from: ["serial_id"] },
  { field: "email", from: ["email"] },
  { field: "age", from: ["age"] },
  { field: "gender", from: ["gender"] },
  { field: "registration_date", from: ["registration_date", "signup_date"] },
];

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isValue = (value: unknown): value is Value =>
  (typeof value === "string" && value !== "") || (typeof value === "number" && Number.isFinite(value));

/** null: it is no users file, or one that is being written. */
export function readUsers(text: string): { signups: Signup[]; problems: string[] } | null {
  let users: unknown;
  try {
    users = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (!isRecord(users)) return null;
  const signups: Signup[] = [];
  const problems: string[] = [];
  for (const [at, [username, user]] of Object.entries(users).entries()) {
    if (!isRecord(user) || username.trim() === "")
      problems.push(`user ${at + 1} of the users file is no user: left out`);
    else signups.push(signupOf(username, user));
  }
  return { signups, problems };
}

function signupOf(username: string, user: Record<string, unknown>): Signup {
  const fields: Record<string, Value> = { username };
  for (const { field, from } of sentFields) fields[field] = from.map((name) => user[name]).find(isValue) ?? "";
  if (fields.serial_id === "") fields.serial_id = username;
  return { username, fields, fingerprint: createHash("sha256").update(JSON.stringify(fields)).digest("hex") };
}

/** The same state gives the same bytes, for ever. */
export function signupBytes({ fields }: Signup, firstSeenMs: number): Uint8Array {
  const seenAt = new Date(firstSeenMs).toISOString();
  return Buffer.from(`${JSON.stringify({ ...fields, last_sync: seenAt, uploaded_at: seenAt }, null, 2)}\n`);
}

/** Relative to the prefix. What would break a key's segment is percent-encoded. */
export function signupKey(username: string, firstSeenMs: number, zone: Zone): string {
  const stamp = zone.stampOf(firstSeenMs);
  const plain = username.replace(/[%/\\\u0000-\u001f\u007f]/g, (char) => encodeURIComponent(char));
  return `${ecgRoot}/${dateFolder(stamp)}/user_signup_${plain}_${stamp}.json`;
}
