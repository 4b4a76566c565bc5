/** The digest of an object from its bytes in pieces of any size. */
import { type RunningChecksum, startChecksum } from "./checksum.ts";
import type { DigestForm } from "./ports.ts";

/** With a part size: `base64(H(H(part 1) ‖ H(part 2) ‖ …))-<parts>`, S3's composite checksum. */
export function startDigest(form: DigestForm): RunningChecksum {
  const { algorithm, partSizeBytes } = form;
  if (partSizeBytes === null) return startChecksum(algorithm);
  const ofParts = startChecksum(algorithm);
  let part = startChecksum(algorithm);
  let parts = 0;
  let roomBytes = partSizeBytes;

  const endPart = (): void => {
    ofParts.update(Buffer.from(part.value(), "base64"));
    part = startChecksum(algorithm);
    parts++;
    roomBytes = partSizeBytes;
  };

  return {
    update(bytes) {
      for (let at = 0; at < bytes.length; ) {
        // A full part ends when the next begins, so that the last one is never an empty one.
        if (roomBytes === 0) endPart();
        const piece = bytes.subarray(at, at + roomBytes);
        part.update(piece);
        roomBytes -= piece.length;
        at += piece.length;
      }
    },
    value() {
      if (roomBytes < partSizeBytes || parts === 0) endPart();
      return `${ofParts.value()}-${parts}`;
    },
  };
}
