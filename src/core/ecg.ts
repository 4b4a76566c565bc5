/** What the ECG layout remembers of a destination, so that no key moves and nothing is made twice (docs/ecg.md). */

/** Below this prefix of one destination. */
export interface EcgPlace {
  destinationId: number;
  prefix: string;
}

/** `left_out`: not sent so far, and said so. */
export type KeyKind = "simple" | "package" | "left_out";

/** The key of a file, decided once. */
export interface DecidedKey {
  /** What a file is known by: its name, wherever it lies; `./` and its path for a second one of that name. */
  name: string;
  /** Relative to the source, when it was last seen; null: an imported log named it. */
  path: string | null;
  /** Relative to the prefix. */
  key: string;
  kind: KeyKind;
}

export interface KnownKey extends DecidedKey {
  /** When the older program sent it, by its log: Unix time, ms. */
  sentAtMs: number | null;
  /** What the store holds under this key, as far as we know. */
  object: { sizeBytes: number; mtimeNs: bigint | null } | null;
}

/** What the store holds because the older program's log says so; `mtimeNs` null: another state of the file. */
export interface LoggedObject {
  key: string;
  sizeBytes: number;
  mtimeNs: bigint | null;
}

export interface UserState {
  username: string;
  /** Of the fields that are sent. */
  fingerprint: string;
}

export interface KnownUser {
  /** When this state was first seen: Unix time, ms. */
  firstSeenMs: number;
  /** The older program sent this state, as far as anybody knows. */
  isSent: boolean;
}

export interface LoggedKey {
  /** Of the file. */
  name: string;
  /** Relative to the prefix. */
  key: string;
  kind: "simple" | "package";
  sentAtMs: number;
}

export interface LoggedUser {
  username: string;
  sentAtMs: number;
}

export interface ImportedLog {
  /** Written, or brought up to date. */
  keys: number;
  /** The database knew as much, or more, before. */
  keysKnown: number;
  users: number;
  usersKnown: number;
}

export interface EcgMemory {
  recall(place: EcgPlace, names: readonly string[]): Promise<Map<string, KnownKey>>;
  /** A key that was decided before stands: the answer says what is true now, by name. */
  remember(place: EcgPlace, keys: readonly DecidedKey[]): Promise<Map<string, { key: string; kind: KeyKind }>>;
  adopt(place: EcgPlace, objects: readonly LoggedObject[]): Promise<void>;
  /** Since when packages wait for the rest: Unix time, ms, by subject. */
  waits(place: EcgPlace): Promise<Map<string, number>>;
  wait(place: EcgPlace, subjects: readonly string[], nowMs: number): Promise<void>;
  /** Remembers states that are new as first seen now. */
  users(place: EcgPlace, states: readonly UserState[], nowMs: number): Promise<Map<string, KnownUser>>;
  /** The same, and remembers nothing: states that are not known are not in the answer. */
  knownUsers(place: EcgPlace, states: readonly UserState[]): Promise<Map<string, KnownUser>>;
  /** In one transaction. */
  importLog(
    destination: { kind: "s3" | "folder"; identity: string; prefix: string },
    log: { keys: readonly LoggedKey[]; users: readonly LoggedUser[] },
  ): Promise<ImportedLog>;
}
