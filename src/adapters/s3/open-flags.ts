import { constants } from "node:fs";

/**
 * A last symlink is refused, not followed. O_NONBLOCK: a fifo put in the file's place would block its opener for
 * ever; for regular files it has no effect.
 */
export const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
