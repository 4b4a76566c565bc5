/** The story of one file: why it was chosen, what became of it, and what happens next. */
import { isAbsolute, relative } from "node:path";
import { mendOf, UploaderError } from "../core/errors.ts";
import type { AttemptRow, FileHistory, MultipartRow, ObjectHistory, Place } from "../core/inquiries.ts";
import { joinKey } from "../core/key.ts";
import type { SelectionRules, SelectionVerdict } from "../core/ports.ts";
import type { FileStatus } from "../core/states.ts";
import type { Store, WorkerIdentity, WorkerRow } from "../core/store.ts";

export interface ExplainInput {
  /** A path or a key, as the user wrote it. */
  text: string;
  /** The same as an absolute path, links above it resolved. */
  absolute: string;
  /** Null: all projects. */
  project: string | null;
  sessionId: number | null;
  /** What the configuration would send, for files that no session knows. */
  configured: { source: string | null; prefix: string; include: readonly string[]; exclude: readonly string[] };
  /** False: keys do not follow the paths, so rows are searched by path too. */
  isMirrored: boolean;
  rulesOf(root: string, chosen: Chosen): Promise<SelectionRules>;
  /** Null: of another host or boot. */
  isAlive(worker: WorkerIdentity): boolean | null;
}

interface Chosen {
  include: readonly string[];
  exclude: readonly string[];
}

export interface Story {
  key: string | null;
  path: string | null;
  /** Null: no session has or had work with it. */
  file: FileHistory | null;
  /** By the patterns of the session that chose it, else by those configured now. */
  selection: SelectionVerdict | null;
  keyFrom: KeyDerivation | null;
  attempts: AttemptRow[];
  /** The newest upload in parts. */
  multipart: (MultipartRow & { parts: number }) | null;
  object: ObjectHistory | null;
  next: Next;
}

export type KeyDerivation = "path" | "nfc" | "kept_own_form" | "layout";

export interface Next {
  what: string;
  /** Not before then. */
  at: Date | null;
  /** What the user can run. */
  command: string | null;
}

/** Newer sessions first; older ones tell the past. */
const storiesAtMost = 10;

/** Errors: usage when neither a session, nor the store as far as we know, nor the source knows the name. */
export async function explain(store: Store, input: ExplainInput): Promise<Story[]> {
  const places = await store.places(input.project, input.sessionId);
  const paths = [...new Set(places.flatMap((place) => pathsBelow(place.source, input)))];
  const keys = keysOf(input, places);
  let files = await store.histories(input.project, input.sessionId, keys, storiesAtMost);
  if (files.length === 0 && !input.isMirrored) {
    files = await store.historiesByPath(input.project, input.sessionId, paths, storiesAtMost);
  }
  return files.length > 0 ? storiesOf(store, input, files) : [await storyWithoutRow(store, input, places, keys)];
}

/** What the text may mean below a source: a path relative to it, or one from where the user stands. */
function pathsBelow(source: string, { text, absolute }: ExplainInput): string[] {
  const below = relative(source, absolute);
  const paths = below !== "" && !below.startsWith("..") && !isAbsolute(below) ? [below] : [];
  if (!isAbsolute(text) && !text.startsWith("s3://")) paths.push(text.replace(/^(\.\/)+/, ""));
  return paths.map((path) => path.replace(/\/+$/, "")).filter((path) => path !== "" && !path.startsWith(".."));
}

/** Every key the text may stand for: itself, or what a path gets (as it is, in NFC, or as an unreadable folder). */
function keysOf(input: ExplainInput, places: readonly Pick<Place, "source" | "prefix">[]): string[] {
  const keys = new Set([input.text.replace(/^s3:\/\/[^/]*\//, "")]);
  for (const { source, prefix } of places) {
    for (const path of pathsBelow(source, input)) {
      for (const form of [path.normalize("NFC"), path, `${path}/`]) keys.add(joinKey(prefix, form));
    }
  }
  return [...keys];
}

async function storiesOf(store: Store, input: ExplainInput, files: FileHistory[]): Promise<Story[]> {
  const keys = [...new Set(files.map((file) => file.s3Key))];
  const destinations = [...new Set(files.map((file) => file.destinationId))];
  const attempts = await store.attempts(files.map((file) => file.id));
  const objects = await store.objectHistories(destinations, keys);
  const multiparts: MultipartRow[] = [];
  for (const destinationId of destinations) multiparts.push(...(await store.multiparts(destinationId, keys)));
  const atWork = new Map<number, WorkerRow[]>();
  for (const { sessionId, status } of files) {
    if ((status !== "pending" && status !== "uploading") || atWork.has(sessionId)) continue;
    const workers = await store.workers(sessionId);
    atWork.set(
      sessionId,
      workers.filter((worker) => worker.live && input.isAlive(worker) !== false),
    );
  }
  const rules = new Map<number, Promise<SelectionRules>>();
  const rulesOf = (file: FileHistory): Promise<SelectionRules> => {
    const known = rules.get(file.sessionId);
    if (known) return known;
    const made = store
      .sessionConfig(file.sessionId)
      .then((config) => input.rulesOf(file.source, chosenIn(config) ?? input.configured));
    rules.set(file.sessionId, made);
    return made;
  };
  return Promise.all(
    files.map(async (file) => {
      const upload = multiparts.find((row) => row.fileId === file.id);
      return {
        key: file.s3Key,
        path: file.localPath,
        file,
        selection: file.derivedFrom === null ? (await rulesOf(file)).byName(file.localPath) : null,
        keyFrom: derivationOf(file),
        attempts: attempts.filter((row) => row.fileId === file.id),
        multipart: upload
          ? { ...upload, parts: Math.max(1, Math.ceil(upload.sizeBytes / upload.partSizeBytes)) }
          : null,
        object: objects.find((row) => row.destinationId === file.destinationId && row.key === file.s3Key) ?? null,
        next: nextOf[file.status](file, atWork.get(file.sessionId) ?? []),
      };
    }),
  );
}

/** The patterns a session ran with, as config_history keeps them. */
function chosenIn(config: unknown): Chosen | null {
  const { include, exclude } = (config ?? {}) as Partial<Record<keyof Chosen, unknown>>;
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((one) => typeof one === "string");
  return isList(include) && isList(exclude) ? { include, exclude } : null;
}

function derivationOf({ prefix, localPath, s3Key }: FileHistory): KeyDerivation {
  if (s3Key === joinKey(prefix, localPath)) return localPath === localPath.normalize("NFC") ? "path" : "kept_own_form";
  return s3Key === joinKey(prefix, localPath.normalize("NFC")) ? "nfc" : "layout";
}

async function storyWithoutRow(
  store: Store,
  input: ExplainInput,
  places: readonly Place[],
  keys: readonly string[],
): Promise<Story> {
  const none = { file: null, keyFrom: null, attempts: [], multipart: null };
  const [object] = await store.objectHistories([...new Set(places.map((place) => place.destinationId))], keys);
  if (object) {
    const what = "nothing: it was safe before these sessions, and stays so while its size and time of change stay";
    return { ...none, key: object.key, path: null, selection: null, object, next: { what, at: null, command: null } };
  }
  const { source, prefix } = input.configured;
  const root = source ?? places.at(-1)?.source ?? null;
  const inside = root === null ? [] : pathsBelow(root, input);
  for (const path of inside) {
    const selection = await (await input.rulesOf(root!, input.configured)).onDisk(path);
    if (selection.rule === "vanished") continue;
    const next = selection.selected
      ? {
          what: "no session has seen it yet: the next upload registers and sends it",
          at: null,
          command: "uploader upload",
        }
      : { what: `nothing: ${whyNot[selection.rule] ?? "it is not selected"}`, at: null, command: null };
    const key = selection.selected ? joinKey(prefix, path.normalize("NFC")) : null;
    return { ...none, key, path, selection, object: null, next };
  }
  if (root !== null && isAbsolute(input.text) && inside.length === 0) {
    throw new UploaderError("usage", `${input.text} is not below the source ${root}`, {
      hint: "name a file of the source, or the configuration it belongs to (--config)",
    });
  }
  throw new UploaderError("usage", `nothing is known of ${input.text}`, {
    hint: "it is no key and no path of a session, nor a file of the source; see `uploader files`",
  });
}

/** For people, after "nothing:". */
const whyNot: Partial<Record<SelectionVerdict["rule"], string>> = {
  never_sent: "files of this name are never sent",
  own_file: "it is our own state or configuration",
  exclude: "an exclude pattern leaves it out",
  no_include: "a pattern of include may take it",
  no_shimmer_header: "a pattern of include may take it",
  symlink: "links are never followed",
  folder: "it is a folder",
};

/** `atWork`: who has a live lease on the session. */
const nextOf: Readonly<Record<FileStatus, (file: FileHistory, atWork: readonly WorkerRow[]) => Next>> = {
  pending: (file, atWork) => ({
    what: `${file.reason === null ? "it is tried" : `${file.reason}: it is looked at again`} ${
      atWork.length > 0 ? "by the run at work on the session" : "when the same upload command runs again"
    }`,
    at: file.nextAttemptAt,
    command: atWork.length > 0 ? null : `uploader ${file.sessionCommand}`,
  }),
  uploading: (file, atWork) => {
    const holder = atWork.find((worker) => worker.id === file.workerId);
    return {
      what: holder
        ? `process ${holder.pid} on ${holder.host} has it in hand`
        : "its process is gone or silent: the next run of the session takes it back and goes on with it",
      at: null,
      command: holder ? null : `uploader ${file.sessionCommand}`,
    };
  },
  uploaded: () => ({
    what: "nothing: it is safe while its size and time of change stay",
    at: null,
    command: null,
  }),
  failed: (file) =>
    file.permanent
      ? {
          what: `no attempt can help until the cause is mended: ${mendOf(file.errorCode) ?? "see the message"}`,
          at: null,
          command: `uploader retry ${file.sessionId} --include-permanent`,
        }
      : {
          what: "its attempts are used up; a retry, or the next upload, takes it afresh",
          at: null,
          command: `uploader retry ${file.sessionId}`,
        },
  skipped: (file) => ({
    what: skips[file.reason ?? ""] ?? "nothing: the store holds these bytes",
    at: null,
    command: null,
  }),
};

/** What comes of files that were skipped for another reason than that the store holds them. */
const skips: Record<string, string> = {
  conflict: "nothing: the store holds other bytes, and --on-conflict skip left them",
  superseded: "nothing here: a later session took the file over",
  not_in_layout: "nothing: the layout sends no such files",
  package_incomplete: "nothing, unless its report comes after all and has not gone by itself",
};
