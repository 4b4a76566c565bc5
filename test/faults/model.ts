/**
 * The state machine in memory, as docs/state-machine.md tells it: no SQL, no clock but what is said. A random walk holds
 * the database against it.
 */
import type { FileMove, FileStatus, SessionStatus } from "../../src/core/states.ts";

export interface ModelFile {
  session: number;
  key: string;
  size: number;
  status: FileStatus;
  worker: number | null;
  attempts: number;
  deaths: number;
  looks: number;
  permanent: boolean;
  /** Whether `next_attempt_at` has come. */
  due: boolean;
  /** Of the settle that moved it here. */
  request: string | null;
  /** Skipped because another session was to take it: if that did not, the file is wanted again. */
  superseded?: boolean;
}

export interface ModelSession {
  id: number;
  work: number;
  status: SessionStatus;
  scanned: boolean;
}

export interface ModelWorker {
  id: number;
  session: number;
  pid: number;
  ended: boolean;
  lapsed: boolean;
}

export interface Held {
  worker: number;
  session: number;
  key: string;
  size: number;
}

export interface Model {
  sessions: ModelSession[];
  workers: ModelWorker[];
  files: ModelFile[];
  /** What the store holds, by key: its size stands for its bytes. */
  objects: Map<string, number>;
}

const unfinished: readonly SessionStatus[] = ["in_progress", "interrupted", "failed"];
const isOpen = (file: ModelFile): boolean => file.status === "pending" || file.status === "uploading";

export const emptyModel = (): Model => ({ sessions: [], workers: [], files: [], objects: new Map() });

/** Nobody else has this key open. */
const isFree = (model: Model, file: Pick<ModelFile, "key">, self?: ModelFile): boolean =>
  !model.files.some((other) => other !== self && other.key === file.key && isOpen(other));

const filesOf = (model: Model, session: number): ModelFile[] => model.files.filter((file) => file.session === session);

const toPending = (file: ModelFile): void => {
  Object.assign(file, { status: "pending", worker: null });
};

export const isLive = (worker: ModelWorker): boolean => !worker.ended && !worker.lapsed;

export function rescue(model: Model, session: number): void {
  const crew = model.workers.filter((worker) => worker.session === session);
  for (const worker of crew) if (worker.lapsed) worker.ended = true;
  const gone = crew.filter((worker) => worker.ended).map((worker) => worker.id);
  for (const file of model.files) {
    if (file.status !== "uploading" || !gone.includes(file.worker!)) continue;
    toPending(file);
    file.deaths++;
    if (file.deaths % 3 === 0) file.attempts++;
    file.due = true;
  }
}

export function requeue(model: Model, session: number, includePermanent: boolean): void {
  for (const file of filesOf(model, session)) {
    if (file.status !== "failed" || (file.permanent && !includePermanent) || !isFree(model, file)) continue;
    toPending(file);
    Object.assign(file, { attempts: 0, deaths: 0, looks: 0, permanent: false, due: true });
  }
}

export const heldBy = (model: Model, session: number, pid: number): ModelWorker | undefined =>
  model.workers.find((worker) => worker.session === session && isLive(worker) && worker.pid !== pid);

const mine = (model: Model, session: number, pid: number): ModelWorker | undefined =>
  model.workers.find((worker) => worker.session === session && !worker.ended && worker.pid === pid);

/** Null: held by somebody else, and nothing changed. A new session and a new worker are the database's to number. */
export function open(
  model: Model,
  work: number,
  pid: number,
  newSession: boolean,
): { resumed: number | null; worker: ModelWorker | undefined } | null {
  const newest = model.sessions.findLast((session) => session.work === work);
  const left = newest && (unfinished.includes(newest.status) || filesOf(model, newest.id).some(isOpen)) ? newest : null;
  if (left) {
    if (heldBy(model, left.id, pid)) return null;
    rescue(model, left.id);
  }
  const already = left ? mine(model, left.id, pid) : undefined;
  if (left && (already || !newSession)) {
    Object.assign(left, { status: "in_progress", scanned: false });
    rested(model, left.id);
    requeue(model, left.id, false);
    supersede(model, work, left.id);
    return { resumed: left.id, worker: already };
  }
  if (left) {
    for (const file of filesOf(model, left.id)) {
      if (file.status === "pending" || file.status === "failed")
        Object.assign(file, { status: "skipped", superseded: true, permanent: false });
    }
  }
  supersede(model, work, Number.POSITIVE_INFINITY);
  return { resumed: null, worker: undefined };
}

function supersede(model: Model, work: number, before: number): void {
  const earlier = model.sessions.filter((session) => session.work === work && session.id < before).map(({ id }) => id);
  for (const file of model.files) {
    if (earlier.includes(file.session) && file.status === "failed")
      Object.assign(file, { status: "skipped", superseded: true, permanent: false });
  }
}

/** Null: held by somebody else. */
export function enter(
  model: Model,
  session: ModelSession,
  pid: number,
  how: { joined: boolean; reopen: boolean },
): { worker: ModelWorker | undefined } | null {
  if (!how.joined && heldBy(model, session.id, pid)) return null;
  rescue(model, session.id);
  if (!how.joined && (how.reopen || unfinished.includes(session.status))) session.status = "in_progress";
  if (!how.joined) rested(model, session.id);
  return { worker: mine(model, session.id, pid) };
}

/** A new run looks afresh at what was still changing. */
function rested(model: Model, session: number): void {
  for (const file of filesOf(model, session)) {
    if (file.status === "pending" && file.looks > 0) Object.assign(file, { looks: 0, due: true });
  }
}

/** What sessions hold open on which nobody works any more makes way. */
export function register(model: Model, session: number, keys: readonly string[], size: number): number {
  const made = insert(model, session, keys, size);
  if (made === keys.length) return made;
  const displaced = model.files.filter(
    (file) =>
      keys.includes(file.key) &&
      file.session !== session &&
      isOpen(file) &&
      !model.workers.some((worker) => worker.session === file.session && isLive(worker)),
  );
  for (const file of displaced) Object.assign(file, { status: "skipped", superseded: true, worker: null });
  return displaced.length > 0 ? made + insert(model, session, keys, size) : made;
}

function insert(model: Model, session: number, keys: readonly string[], size: number): number {
  const made = keys.filter(
    (key) => isFree(model, { key }) && !filesOf(model, session).some((file) => file.key === key),
  );
  for (const key of made) model.files.push({ ...newFile(session, key, size), status: "pending" });
  return made.length;
}

export function refuse(model: Model, session: number, key: string, permanent: boolean): void {
  const known = filesOf(model, session).find((file) => file.key === key);
  if (!known) model.files.push({ ...newFile(session, key, 0), status: "failed", permanent });
  else if (known.status === "failed") known.permanent = permanent;
}

const newFile = (session: number, key: string, size: number): Omit<ModelFile, "status"> => ({
  session,
  key,
  size,
  worker: null,
  attempts: 0,
  deaths: 0,
  looks: 0,
  permanent: false,
  due: true,
  request: null,
});

export function claim(model: Model, worker: ModelWorker, max: number, maxLooks: number): ModelFile[] {
  if (!isLive(worker)) return [];
  const due = filesOf(model, worker.session)
    .filter((file) => file.status === "pending" && file.due && file.looks < maxLooks)
    .slice(0, max);
  for (const file of due) Object.assign(file, { status: "uploading", worker: worker.id });
  return due;
}

/** False: the row did not move, which is news. */
export function end(
  model: Model,
  held: Held,
  move: FileMove,
  details: { request: string; permanent: boolean },
): boolean {
  const file = filesOf(model, held.session).find((each) => each.key === held.key)!;
  if (move === "settle") {
    model.objects.set(held.key, held.size);
    if (file.status === "uploaded") return file.request === details.request;
    if (file.status === "skipped" || file.size !== held.size) return false;
    Object.assign(file, { status: "uploaded", worker: null, permanent: false, request: details.request });
    return true;
  }
  if (file.status !== "uploading" || file.worker !== held.worker) return false;
  file.worker = null;
  if (move === "skip") Object.assign(file, { status: "skipped", superseded: false });
  else if (move === "give_up")
    Object.assign(file, { status: "failed", attempts: file.attempts + 1, permanent: details.permanent });
  else file.status = "pending";
  if (move === "postpone") Object.assign(file, { attempts: file.attempts + 1, due: false });
  if (move === "revise") Object.assign(file, { looks: file.looks + 1, size: held.size + 1, due: false });
  return true;
}

export function renew(model: Model, session: number, key: string, size: number): void {
  const file = filesOf(model, session).find((each) => each.key === key);
  if (!file || file.status === "uploading" || !isFree(model, file, file)) return;
  toPending(file);
  Object.assign(file, { size, attempts: 0, looks: 0, permanent: false, due: true });
}

export function judge(
  model: Model,
  session: number,
  key: string,
  size: number,
): "safe" | "fresh" | "known" | "renewed" | "open" {
  const file = filesOf(model, session).find((each) => each.key === key);
  const object = model.objects.get(key);
  if (file) {
    if (file.status === "skipped" && file.superseded) return object === size ? "open" : "renewed";
    if (file.size === size || file.status === "uploading") return "open";
    return file.status === "pending" || object !== size ? "renewed" : "open";
  }
  return object === undefined ? "fresh" : object === size ? "safe" : "known";
}

const isLeft = (model: Model, session: number): boolean =>
  !model.workers.some((worker) => worker.session === session && isLive(worker));

/** The status that was set; null: somebody still works on it. */
export function close(model: Model, session: ModelSession): SessionStatus | null {
  if (session.status !== "in_progress" || !isLeft(model, session.id)) return null;
  const files = filesOf(model, session.id);
  const done = !files.some(isOpen) && session.scanned;
  const failed = files.some((file) => file.status === "failed");
  session.status = !done ? "interrupted" : failed ? "completed_with_errors" : "completed";
  return session.status;
}

export function fail(model: Model, session: ModelSession, isFault: boolean): void {
  if (session.status !== "in_progress" || !isLeft(model, session.id)) return;
  session.status = isFault ? "failed" : "interrupted";
}
