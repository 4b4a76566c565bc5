/** The state machine as data. SQL enforces it (sql/queries); test/store/moves.test.ts ties the two together. */

export const fileStates = ["pending", "uploading", "uploaded", "failed", "skipped"] as const;
export type FileStatus = (typeof fileStates)[number];

export const sessionStates = ["in_progress", "completed", "completed_with_errors", "failed", "interrupted"] as const;
export type SessionStatus = (typeof sessionStates)[number];

interface Move<State> {
  from: readonly State[];
  to: State;
  why: string;
}

export const fileMoves = {
  claim: { from: ["pending"], to: "uploading", why: "a worker with a live lease took it" },
  settle: {
    from: ["pending", "uploading", "failed"],
    to: "uploaded",
    why: "the store confirmed the registered bytes; true whoever holds the row by now",
  },
  skip: { from: ["uploading"], to: "skipped", why: "the store holds the same bytes, or the policy says to leave it" },
  postpone: { from: ["uploading"], to: "pending", why: "failed, attempts left; next_attempt_at set" },
  revise: { from: ["uploading"], to: "pending", why: "changed while it was read; new size and mtime, not an attempt" },
  release: { from: ["uploading"], to: "pending", why: "interrupted; not an attempt" },
  rescue: { from: ["uploading"], to: "pending", why: "its worker died; three deaths count as an attempt" },
  give_up: { from: ["uploading"], to: "failed", why: "permanent, or attempts used up" },
  requeue: { from: ["failed"], to: "pending", why: "`retry`; attempts start again" },
  renew: { from: ["uploaded", "failed", "skipped"], to: "pending", why: "the file differs from what this row settled" },
  supersede: { from: ["failed"], to: "skipped", why: "a later session takes the file afresh" },
  displace: {
    from: ["pending", "uploading"],
    to: "skipped",
    why: "another session wants the key, and nobody works on this one any more",
  },
  leave: { from: ["pending"], to: "skipped", why: "not ready, and gone or left out by its layout before it was" },
  abandon: { from: ["pending", "failed"], to: "skipped", why: "`--new-session` leaves the unfinished one behind" },
  condemn: { from: ["failed"], to: "failed", why: "`retry` used up its last round: permanent" },
} as const satisfies Record<string, Move<FileStatus>>;

export type FileMove = keyof typeof fileMoves;

export const sessionMoves = {
  resume: {
    from: ["in_progress", "interrupted", "failed"],
    to: "in_progress",
    why: "the same work again, nobody alive holds it",
  },
  reopen: { from: ["completed_with_errors", "completed"], to: "in_progress", why: "`retry` put files back" },
  complete: { from: ["in_progress"], to: "completed", why: "nothing pending, nothing failed" },
  complete_with_errors: { from: ["in_progress"], to: "completed_with_errors", why: "nothing pending, some failed" },
  interrupt: { from: ["in_progress"], to: "interrupted", why: "stopped, or files are not ready yet" },
  fail: { from: ["in_progress"], to: "failed", why: "a cause that stops every file" },
} as const satisfies Record<string, Move<SessionStatus>>;

export type SessionMove = keyof typeof sessionMoves;
