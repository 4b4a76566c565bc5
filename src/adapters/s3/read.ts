/** An object read back whole, piece by piece: memory stays the same, and a cut connection costs one piece. */
import { UploaderError } from "../../core/errors.ts";
import { startDigest } from "../../core/object-digest.ts";
import type { Destination, DigestForm } from "../../core/ports.ts";
import { hasEtag } from "./calls.ts";
import type { Client } from "./client.ts";
import { failureOfAnswer, storeCodeOf } from "./failures.ts";
import { etagOf } from "./proof.ts";

/** Within what one answer may hold (answer.ts); larger ones were not faster. */
const pieceBytes = 4 * 1024 * 1024;

export async function readBack(
  client: Client,
  key: string,
  form: DigestForm,
  signal: AbortSignal,
): ReturnType<Destination["readBack"]> {
  const digest = startDigest(form);
  const subject = `reading ${key} back`;
  let etag: string | null = null;
  let sizeBytes = Number.POSITIVE_INFINITY;
  for (let offset = 0; offset < sizeBytes; ) {
    const { answer } = await client.call({
      method: "GET",
      key,
      headers: { range: `bytes=${offset}-${offset + pieceBytes - 1}` },
      accept: [403, 404, 416],
      isSuccess: hasEtag,
      subject,
      signal,
    });
    // No byte lies at 0: it is empty.
    if (answer.status === 416 && offset === 0) return { sizeBytes: 0, digest: digest.value() };
    if (answer.status >= 300) {
      const storeCode = storeCodeOf(answer);
      if (storeCode === "NoSuchKey") return "absent";
      if (storeCode === "AccessDenied") return "unknown";
      throw failureOfAnswer(answer, subject, client.place()).error;
    }
    etag ??= etagOf(answer);
    const total = /\/([0-9]+)$/.exec(answer.headers["content-range"] ?? "")?.[1];
    sizeBytes = total === undefined ? answer.body.length : Number(total);
    if (etagOf(answer) !== etag || (answer.body.length === 0 && sizeBytes > 0)) {
      throw new UploaderError("key_busy", `${subject}: the object changed while it was read`, {
        hint: "something else writes to this prefix; verify again when it has finished",
      });
    }
    digest.update(answer.body);
    offset += answer.body.length;
  }
  return { sizeBytes, digest: digest.value() };
}
