import { sendRaw, signedChunks } from "../support/raw-s3.ts";
import { get, put, result, type ServerPromise } from "./place.ts";

/** Who may write at all. */
export const signatures: ServerPromise[] = [
  {
    name: "a wrong secret is refused",
    observe: async (place) => result(await put(place, "a", { secretAccessKey: "guess" })),
    expected: [403, "SignatureDoesNotMatch"],
  },
  {
    name: "an unknown key is refused",
    observe: async (place) => result(await put(place, "a", { accessKeyId: "AKIDNOBODY" })),
    expected: [403, "InvalidAccessKeyId"],
  },
  {
    name: "a clock 20 minutes slow is refused",
    observe: async (place) => result(await put(place, "a", { time: new Date(Date.now() - 20 * 60_000) })),
    expected: [403, "RequestTimeTooSkewed"],
  },
  {
    name: "a header changed after signing is refused",
    observe: async (place) => {
      const signed = { headers: { "x-amz-meta-a": "1" }, tamper: () => ({ "x-amz-meta-a": "2" }) };
      return result(await put(place, "a", signed));
    },
    expected: [403, "SignatureDoesNotMatch"],
  },
  {
    name: "no signature, no entry",
    observe: async (place) => result(await put(place, "a", { tamper: () => ({ authorization: null }) })),
    expected: [403, "AccessDenied"],
  },
  {
    name: "the payload's hash is checked",
    observe: async (place) => result(await put(place, "a", { payload: "0".repeat(64) })),
    expected: [400, "XAmzContentSHA256Mismatch"],
  },
  {
    name: "an unsigned payload is taken",
    observe: async (place) => result(await put(place, "a", { payload: "UNSIGNED-PAYLOAD" })),
    expected: [200, null],
  },
  {
    name: "a body in signed chunks is decoded, a changed chunk refused",
    observe: async (place) => {
      const body = Buffer.alloc(100_000, "abc");
      const sendChunks = (change: (bytes: Buffer) => Buffer) =>
        sendRaw(place, {
          method: "PUT",
          path: `/${place.bucket}/chunks`,
          payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
          headers: { "content-encoding": "aws-chunked", "x-amz-decoded-content-length": String(body.length) },
          body: (signature) => change(signedChunks(signature, body, 65_536)),
        });
      const good = await sendChunks((bytes) => bytes);
      const stored = (await get(place, "chunks")).text === body.toString();
      const bad = await sendChunks((bytes) =>
        Buffer.from(bytes.toString("latin1").replace("abcabc", "abcxbc"), "latin1"),
      );
      return [good.status, stored, result(bad)];
    },
    expected: [200, true, [403, "SignatureDoesNotMatch"]],
  },
];
