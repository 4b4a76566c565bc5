/** The folder of the older ECG program as it leaves it behind, log and defects included. Nobody in it exists. */
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface OldFolderOptions {
  root: string;
  /** Reports with a stamp, one every 17 minutes. */
  reports: number;
  users: number;
  /** The bucket that the log names. */
  bucket: string;
  /** Unix time, ms: local times of the log are those of UTC. */
  startMs: number;
}

export interface OldFolder {
  root: string;
  log: string;
  usersFile: string;
  /** Names of files that the log has as sent, and their newest key. */
  sent: Map<string, string>;
  entries: number;
  password: string;
}

export const fakePdf = (text: string): string => `%PDF-1.4\n% ${text}\ntrailer\n<< >>\nstartxref\n0\n%%EOF\n`;

export const stampAt = (ms: number): string =>
  new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "_");

/** As Python writes it: local, microseconds, no zone. */
const pythonTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23)}417`;

export function putFile(path: string, content: string, mtimeMs: number): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  utimesSync(path, mtimeMs / 1000, mtimeMs / 1000);
}

export const fakeUser = (n: number, password: string) => ({
  password: `${password}-${n}`,
  full_name: `Test Person ${n}`,
  phone: `55500000${String(n).padStart(2, "0")}`,
  serial_id: `SN-${n}`,
  email: `person${n}@example.org`,
  signup_date: "2025-10-20",
  age: 30 + n,
  gender: n % 2 === 0 ? "female" : "male",
  address: "1 Nowhere Road",
});

/**
 * Reports (every tenth with a letter prefix, every 25th with its twin), the waveform of each third one, `metrics.json`,
 * `index.json`, the users. In the log: every report once, each 30th up to five times under other days, sign-ups again and
 * again, two absolute paths (both systems') for each relative one.
 */
export function makeOldFolder({ root, reports, users, bucket, startMs }: OldFolderOptions): OldFolder {
  const password = "hunter2-synthetic";
  const entries: object[] = [];
  const sent = new Map<string, string>();
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10).replaceAll("-", "/");
  const localPath = (name: string, n: number): string =>
    [`C:\\Clinic\\ecg-app\\reports\\${name}`, `/home/clinic/ecg-app/reports/${name}`, `reports/${name}`][n % 3]!;
  const log = (name: string, n: number, sentMs: number, metadata: object = {}): void => {
    const key = `ecg-reports/${day(sentMs)}/${name}`;
    sent.set(name, key);
    entries.push({
      local_path: localPath(name, n),
      uploaded_at: pythonTime(sentMs),
      service: "s3",
      result: { status: "success", service: "s3", url: `https://${bucket}.s3.amazonaws.com/${key}`, key, bucket },
      metadata: { filename: name, uploaded_at: pythonTime(sentMs), patient_name: `Test Person ${n}`, ...metadata },
    });
  };
  const signUp = (n: number, sentMs: number): void => {
    const username = `user${n}`;
    const key = `ecg-reports/${day(sentMs)}/user_signup_${username}_${stampAt(sentMs)}.json`;
    entries.push({
      local_path: "users.json",
      uploaded_at: pythonTime(sentMs),
      service: "s3",
      result: { status: "success", service: "s3", key, bucket, username },
      metadata: { type: "user_signup", username, serial_number: "" },
    });
  };

  const everyMs = 17 * 60_000;
  const endMs = startMs + reports * everyMs;
  for (let n = 0; n < reports; n++) {
    const atMs = startMs + n * everyMs;
    const stem = `ECG_Report_${n % 10 === 9 ? "sdf" : ""}${stampAt(atMs)}`;
    putFile(join(root, `${stem}.pdf`), fakePdf(`report ${n}`), atMs);
    if (n % 25 === 24) putFile(join(root, `${stem}.json`), JSON.stringify({ n, heart_rate: 60 }), atMs);
    if (n % 3 === 0) {
      putFile(join(root, `ecg_data/ecg_data_${stampAt(atMs)}.json`), JSON.stringify({ sampling_rate: 80 }), atMs);
    }
    // The folder was sent again with every start.
    const times = n % 30 === 0 ? 5 : 1;
    for (let again = 0; again < times; again++) log(`${stem}.pdf`, n + again, atMs + 20_000 + again * 3 * 86_400_000);
    if (n % 25 === 24) log(`${stem}.json`, n, atMs + 20_000);
    if (users > 0 && n % 8 === 0) signUp((n / 8) % users, atMs);
  }
  putFile(join(root, "metrics.json"), JSON.stringify([{ heart_rate: 60 }]), startMs);
  putFile(join(root, "index.json"), "[]", endMs);
  log("metrics.json", 0, startMs + 1_000);
  const people = Object.fromEntries(Array.from({ length: users }, (_, n) => [`user${n}`, fakeUser(n, password)]));
  const usersFile = join(root, "users.json");
  putFile(usersFile, JSON.stringify(people, null, 2), endMs);
  const logFile = join(root, "upload_log.json");
  putFile(logFile, JSON.stringify(entries, null, 2), endMs);
  return { root, log: logFile, usersFile, sent, entries: entries.length, password };
}
