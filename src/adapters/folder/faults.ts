import { type ErrorCode, UploaderError } from "../../core/errors.ts";
import { errnoOf } from "../errno.ts";

interface Fault {
  code: ErrorCode;
  what: string;
  hint?: string;
}

const full = {
  code: "disk_full",
  what: "the disk is full",
  hint: "free some space",
} as const;
const denied = {
  code: "access_denied",
  what: "this user may not write there",
  hint: "check the folder's owner and mode, and that its disk is not mounted read-only",
} as const;
const away = {
  code: "store_unreachable",
  what: "its disk does not answer",
  hint: "check that the disk or share is mounted",
} as const;
const busy = { code: "store_busy", what: "the system is short of something" } as const;
const unfit = {
  code: "key_impossible",
  what: "the folder's file system cannot hold a file of this name",
  hint: "rename the file, or choose another destination",
} as const;
const blocked = {
  code: "key_impossible",
  what: "a file stands where a folder is needed, or a folder where the file is",
  hint: "rename one of the two",
} as const;

const faults: Record<string, Fault> = {
  ENOSPC: full,
  EDQUOT: full,
  EACCES: denied,
  EPERM: denied,
  EROFS: denied,
  ENAMETOOLONG: unfit,
  EINVAL: unfit,
  EILSEQ: unfit,
  ENOTDIR: blocked,
  EISDIR: blocked,
  ENOTEMPTY: blocked,
  EFBIG: { code: "file_too_large", what: "the file is too large for the folder's file system" },
  ESTALE: away,
  ENODEV: away,
  ENXIO: away,
  ENOTCONN: away,
  ETIMEDOUT: away,
  EHOSTDOWN: away,
  EHOSTUNREACH: away,
  EMFILE: busy,
  ENFILE: busy,
  ENOMEM: busy,
  EAGAIN: busy,
  EBUSY: busy,
};

/** The system's error about the destination, in our words; ours and those that are no answer of the system unchanged. */
export function folderFault(place: string, cause: unknown): unknown {
  const errno = errnoOf(cause);
  if (errno === null) return cause;
  const { code, what, hint } = faults[errno] ?? { code: "store_failed", what: "its disk failed" };
  return new UploaderError(code, `${place}: ${what} (${errno})`, { cause, ...(hint && { hint }) });
}

export function blockedKey(place: string): UploaderError {
  return new UploaderError(blocked.code, `${place}: ${blocked.what}`, { hint: blocked.hint });
}
