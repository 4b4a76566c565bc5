/** What the drain loop does after an error: try the file again, never again, or stop taking work at all. */
export type Retry = "again" | "never" | "stop";

interface ErrorRow {
  /** Exit status of the process when this error ends a run (design A9). */
  exit: number;
  /** HTTP status for a later HTTP face. */
  http: number;
  retry: Retry;
}

/**
 * Every way to fail. `stop` means no other file would fare better: one message, not one per file.
 * A file's own errors end a run with 3, whatever its row here says about the process.
 */
export const errorCodes = {
  internal: { exit: 1, http: 500, retry: "never" },

  usage: { exit: 2, http: 400, retry: "never" },
  config_invalid: { exit: 2, http: 400, retry: "never" },
  source_missing: { exit: 2, http: 404, retry: "stop" },
  source_unreadable: { exit: 2, http: 403, retry: "stop" },
  session_unknown: { exit: 2, http: 404, retry: "never" },
  device_unknown: { exit: 2, http: 404, retry: "never" },
  recording_bad: { exit: 2, http: 422, retry: "never" },

  file_gone: { exit: 3, http: 409, retry: "never" },
  file_forbidden: { exit: 3, http: 403, retry: "never" },
  file_unreadable: { exit: 3, http: 500, retry: "again" },
  file_too_large: { exit: 3, http: 413, retry: "never" },
  key_impossible: { exit: 3, http: 422, retry: "never" },
  key_busy: { exit: 3, http: 409, retry: "again" },
  conflict: { exit: 3, http: 409, retry: "never" },
  changed: { exit: 3, http: 409, retry: "never" },
  unconfirmed: { exit: 3, http: 502, retry: "never" },
  checksum_mismatch: { exit: 3, http: 502, retry: "again" },
  upload_gone: { exit: 3, http: 502, retry: "again" },
  store_refused: { exit: 14, http: 502, retry: "never" },
  store_failed: { exit: 14, http: 502, retry: "again" },
  store_busy: { exit: 14, http: 503, retry: "again" },
  network_lost: { exit: 14, http: 503, retry: "again" },
  timed_out: { exit: 14, http: 504, retry: "again" },
  worker_died: { exit: 3, http: 500, retry: "again" },

  not_ready: { exit: 4, http: 409, retry: "again" },
  doctor_fault: { exit: 10, http: 500, retry: "never" },
  lease_held: { exit: 11, http: 409, retry: "never" },

  credentials_missing: { exit: 12, http: 401, retry: "stop" },
  credentials_expired: { exit: 12, http: 401, retry: "stop" },
  credentials_invalid: { exit: 12, http: 401, retry: "stop" },
  access_denied: { exit: 12, http: 403, retry: "stop" },

  database_unreachable: { exit: 13, http: 503, retry: "stop" },
  database_refused: { exit: 13, http: 503, retry: "stop" },
  database_newer: { exit: 13, http: 503, retry: "stop" },
  database_foreign: { exit: 13, http: 503, retry: "stop" },
  database_busy: { exit: 13, http: 503, retry: "again" },

  settings_refused: { exit: 2, http: 502, retry: "stop" },
  bucket_missing: { exit: 14, http: 502, retry: "stop" },
  bucket_region: { exit: 14, http: 502, retry: "stop" },
  store_unreachable: { exit: 14, http: 503, retry: "stop" },
  clock_skewed: { exit: 14, http: 502, retry: "stop" },
  disk_full: { exit: 14, http: 507, retry: "stop" },

  verification_failed: { exit: 15, http: 409, retry: "never" },
  trigger_undelivered: { exit: 16, http: 502, retry: "again" },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorCodes;

/** What mends a file's permanent failure; of other codes the message says it. */
const mends: Partial<Record<ErrorCode, string>> = {
  conflict: "decide with --on-conflict skip or replace, or send it under another prefix",
  changed: "give the other card a prefix of its own, or send it as a new version with --on-change replace",
  file_gone: "put the file back",
  file_forbidden: "give this user read permission",
  key_impossible: "rename the file",
  unconfirmed: "allow s3:GetObject, so that it can be asked what the store holds",
};

export const mendOf = (code: string | null): string | null => mends[code as ErrorCode] ?? null;

export interface ErrorDetails {
  /** What the user can do next, one sentence. */
  hint?: string;
  cause?: unknown;
  /** Answer to Retry-After, when the server gave one. */
  retryAfterMs?: number;
  /** The store's request id, for its support desk. */
  requestId?: string;
}

/** The one error class: `message` says what happened and to which file, `hint` what to do next. */
export class UploaderError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "UploaderError";
    this.code = code;
    this.hint = details.hint;
    this.retryAfterMs = details.retryAfterMs;
    this.requestId = details.requestId;
  }

  get exitCode(): number {
    return errorCodes[this.code].exit;
  }

  get retry(): Retry {
    return errorCodes[this.code].retry;
  }
}

/** An unknown error is a bug: it becomes `internal` and keeps its cause. */
export function asUploaderError(error: unknown): UploaderError {
  if (error instanceof UploaderError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new UploaderError("internal", message, { cause: error });
}
