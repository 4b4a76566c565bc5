/** What the exit codes mean, for `--help` (design A9). */

const meanings = {
  0: "everything selected is confirmed in the store, or nothing was to be done",
  1: "unexpected failure: a bug",
  2: "usage or configuration, missing source, unknown session",
  3: "finished; some files failed or were kept back by a conflict",
  4: "finished; some files are not ready yet",
  10: "`doctor` found a fault",
  11: "another run holds this work",
  12: "credentials or permission",
  13: "database unreachable, refused, or of the wrong version",
  14: "store unreachable, bucket missing or in another region, disk full",
  15: "`verify` found a difference",
  16: "a trigger could not be delivered",
  130: "stopped by Ctrl-C (SIGINT), cleanly; a second one stops at once",
  143: "stopped by SIGTERM, cleanly",
} as const satisfies Record<number, string>;

export type ExitStatus = keyof typeof meanings;

/** A paragraph for the end of a command's help. Without codes: all of them. */
export function exitStatusHelp(...codes: ExitStatus[]): string {
  const listed = codes.length > 0 ? codes : (Object.keys(meanings).map(Number) as ExitStatus[]);
  return ["", "Exit status:", ...listed.map((code) => `  ${String(code).padEnd(4)} ${meanings[code]}`)].join("\n");
}
