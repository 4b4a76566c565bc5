/** The ports: what operations may ask of the outside world, in our words. Adapters implement them. */

/** Bytes to be sent: a file of the source (opened read-only, positional reads) or bytes made by us. */
export type Body =
  | { kind: "file"; path: string; sizeBytes: number; mtimeNs: bigint }
  | { kind: "bytes"; bytes: Uint8Array };

export const checksumAlgorithms = ["crc32", "crc64nvme", "sha256"] as const;
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number];

/** `value` is base64 as S3 writes it; a composite one ends in `-<parts>`. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  type: "full" | "composite";
  value: string;
}

/**
 * How we know that the store holds exactly the bytes we read, best first (design A6):
 * the store echoed our checksum · verified a signed payload hash or Content-MD5 · its ETag is our MD5 ·
 * a later HEAD showed our checksum · the folder was read back or fsynced by us · the listing's size was trusted ·
 * the older program's log was trusted (`import-log`).
 */
export const proofs = [
  "checksum_echoed",
  "payload_signed",
  "etag_md5",
  "checksum_head",
  "fsync",
  "size_trusted",
  "log_trusted",
] as const;
export type Proof = (typeof proofs)[number];

/** What the store holds under a key, as far as it told us. */
export interface FoundObject {
  sizeBytes: number;
  etag: string | null;
  checksum: Checksum | null;
  versionId: string | null;
}

export interface StoredObject extends FoundObject {
  proof: Proof;
  requestId: string | null;
}

/** When the store may write: nothing there yet · exactly this ETag there · whatever is there. */
export type Condition = { if: "absent" } | { if: "etag"; etag: string } | { if: "always" };

export interface PutJob {
  fileId: number;
  key: string;
  body: Body;
  condition: Condition;
  /** ASCII, already encoded; sent as x-amz-meta-*. */
  metadata: Record<string, string>;
  contentType: string | null;
}

export type PutOutcome =
  /** Written by this call and confirmed. */
  | { outcome: "stored"; object: StoredObject }
  /** The store held exactly these bytes already (an earlier answer was lost, or another tool sent them). */
  | { outcome: "present"; object: StoredObject }
  /** The store holds other bytes under this key; nothing was written. */
  | { outcome: "conflict"; found: FoundObject | null }
  /** The file's size or mtime moved between registration and the end of reading; nothing was published. */
  | { outcome: "changed"; sizeBytes: number; mtimeNs: bigint };

/** A multipart upload begun earlier, by any process, with the parts known to be in the store. */
export interface OpenUpload {
  uploadId: string;
  key: string;
  partSizeBytes: number;
  sizeBytes: number;
  mtimeNs: bigint;
  checksumAlgorithm: ChecksumAlgorithm | null;
  parts: StoredPart[];
}

export interface StoredPart {
  partNumber: number;
  sizeBytes: number;
  etag: string;
  /** base64, of this part. */
  checksum: string | null;
}

/** Where a destination remembers parts, so that any process can continue a file after a crash. */
export interface UploadMemory {
  find(fileId: number): Promise<OpenUpload | null>;
  /** `ageMs` ago, when it was journaled meanwhile: a newer upload of the file stands. */
  begin(fileId: number, upload: Omit<OpenUpload, "parts">, ageMs?: number): Promise<void>;
  part(uploadId: string, part: StoredPart): Promise<void>;
  end(uploadId: string, state: "completed" | "aborted"): Promise<void>;
}

export interface PutHooks {
  signal: AbortSignal;
  uploads: UploadMemory;
  /** Called with bytes handed to the network since the last call; never awaited. */
  onBytes(sentBytes: number): void;
}

/** What `check` found without writing: facts for the screen, and things worth a notice. */
export interface DestinationReport {
  description: string;
  canList: boolean | null;
  notices: string[];
}

/** A bucket or a folder. `put` takes a body that can be read again, so a retry needs nothing from the caller. */
export interface Destination {
  readonly kind: "s3" | "folder";
  /** Who this is, for ever: `s3://bucket`, `s3+http://host:port/bucket`, `file:///real/path`. Row of `destinations`. */
  readonly identity: string;
  /** Credentials, bucket, region, reachability; for a folder: existence, write permission, space. Reads only. */
  check(signal: AbortSignal): Promise<DestinationReport>;
  /**
   * What the store holds under these keys, listing ranges, not one request per key; `null` when listing is not
   * permitted. Best called with keys in ascending byte order.
   */
  find(keys: readonly string[], signal: AbortSignal): Promise<Map<string, FoundObject> | null>;
  head(key: string, signal: AbortSignal): Promise<FoundObject | "absent" | "unknown">;
  /**
   * Whether what the store holds (from `find`, `head` or our own memory) are exactly these bytes: reads the body and
   * compares checksums, or the ETag where it is an MD5. "unknown": the store gave nothing to compare with.
   */
  compare(body: Body, found: FoundObject, signal: AbortSignal): Promise<"equal" | "different" | "unknown">;
  put(job: PutJob, hooks: PutHooks): Promise<PutOutcome>;
  /** Reads the whole object, in constant memory. "unknown": it may not be read, or is no file. */
  readBack(
    key: string,
    digest: DigestForm,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number; digest: string } | "absent" | "unknown">;
  close(): Promise<void>;
}

/** Which digest of an object: of the whole, or with a part size the composite one. The digest itself is in base64. */
export type DigestForm =
  | { algorithm: ChecksumAlgorithm; partSizeBytes: number | null }
  | { algorithm: "md5"; partSizeBytes: null };

/** A multipart upload that the bucket still holds. */
export interface StaleUpload {
  key: string;
  uploadId: string;
  initiatedMs: number;
}

/** What a destination can do where uploads in parts may be left unfinished, for `gc`. */
export interface UnfinishedUploads {
  /** Throws `access_denied` where listing them is not permitted. */
  staleUploads(prefix: string, signal: AbortSignal): AsyncIterable<StaleUpload>;
  /** False when the store no longer knew it. */
  abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<boolean>;
}

/** Bytes per second that this process may send: one budget for all its connections. */
export interface Bandwidth {
  /** bytes/s; null: no limit, and then nobody needs to ask. */
  readonly limit: number | null;
  /** Small enough pieces that hundreds of senders take turns within seconds: the store drops who stands still. */
  readonly pieceBytes: number;
  /** Calls `send` when the budget has room, in the order asked. False: it had no use for its turn any more. */
  queue(sizeBytes: number, send: () => boolean): void;
  /** The same as a promise. Rejects with the signal's reason. */
  pass(sizeBytes: number, signal: AbortSignal): Promise<void>;
  /** The configuration's limit, read again while running. */
  configure(bytesPerSecond: number | null): void;
  /** The session's limit, which goes first; null: the configuration's. */
  override(bytesPerSecond: number | null): void;
  close(): void;
}

/** One selected file of the source. */
export interface ScannedFile {
  /** Relative to the source root, `/` between segments, exactly as on disk (not normalised). */
  path: string;
  /** Relative key: the path in NFC unless a sibling has that name already. `null` when no key is possible. */
  key: string | null;
  sizeBytes: number;
  mtimeNs: bigint;
  /** Why no key is possible (not UTF-8, NUL, `.`/`..` segment …); `path` then shows odd bytes as `\xNN`. */
  problem: string | null;
  /** The key differs from the path because of NFC, or kept its own form because a sibling has the NFC one. */
  note: "normalised" | "kept_own_form" | null;
}

export type OddKind = "symlink" | "fifo" | "socket" | "device" | "unreadable_folder" | "unreadable_file" | "vanished";

/** Something met while scanning that is not a file to send: reported, never followed. */
export interface Oddity {
  path: string;
  kind: OddKind;
}

export interface ScanBatch {
  files: ScannedFile[];
  oddities: Oddity[];
  /** Files met and not selected by include/exclude. */
  excludedFiles: number;
}

/** Why a path of a source is sent, or is not. */
export interface SelectionVerdict {
  selected: boolean;
  rule: SelectionRule;
  /** The pattern, or the kind of recording, that decided. */
  detail: string | null;
  /** The path that decided: the file's own, or that of a folder above it. */
  at: string;
}

export type SelectionRule =
  | "include"
  | "kind"
  | "shimmer_header"
  | "never_sent"
  | "own_file"
  | "exclude"
  | "no_include"
  | "no_shimmer_header"
  | "folder"
  | OddKind;

/** The rules of one source, asked about one path; it need not exist any more. */
export interface SelectionRules {
  /** Relative to the source. By name alone, so `shimmer_header` means: if it begins with one. */
  byName(path: string): SelectionVerdict;
  /** With a look at the disk: odd kinds, and the header where the name does not decide. */
  onDisk(path: string): Promise<SelectionVerdict>;
}

export interface SourceTree {
  readonly root: string;
  /** The truth about the tree, batch by batch, in ascending key order as far as NFC allows. */
  scan(signal: AbortSignal): AsyncIterable<ScanBatch>;
  /**
   * One file as it is now; null when it is gone. Throws `source_missing` when the root itself is gone or is another
   * file system by now: a card that was pulled must not look like files that were deleted.
   */
  look(path: string): Promise<{ sizeBytes: number; mtimeNs: bigint } | null>;
}
