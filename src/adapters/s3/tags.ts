/** One tag of an object, without touching the others: read, change, write. Rare calls, and not atomic on S3. */
import { hash } from "node:crypto";
import type { ObjectTags } from "../../core/devices.ts";
import type { Client } from "./client.ts";
import { storeCodeOf } from "./failures.ts";
import { elements, escapeXml, textOf } from "./xml.ts";

/** S3 user guide, "Object tagging". */
const tagsAtMost = 10;

export async function tagObject(
  client: Client,
  key: string,
  name: string,
  value: string | null,
  signal: AbortSignal,
): ReturnType<ObjectTags["tag"]> {
  const subject = `tagging ${key}`;
  const accept = [403, 404, 405, 501, "NotImplemented", "MethodNotAllowed"];
  const read = await client.call({ method: "GET", key, query: { tagging: "" }, accept, subject, signal });
  const hasNone = read.answer.status === 404 && storeCodeOf(read.answer) === "NoSuchTagSet";
  if (read.answer.status === 404 && !hasNone) return "absent";
  if (read.answer.status >= 300 && !hasNone) return "refused";
  const xml = hasNone ? "" : read.answer.body.toString("utf8");
  const tags = new Map(elements(xml, "Tag").map((tag) => [textOf(tag, "Key") ?? "", textOf(tag, "Value") ?? ""]));
  if ((tags.get(name) ?? null) === value) return "tagged";
  if (value === null) tags.delete(name);
  else tags.set(name, value);
  if (tags.size > tagsAtMost) return "full";
  const set = [...tags].map(([k, v]) => `<Tag><Key>${escapeXml(k)}</Key><Value>${escapeXml(v)}</Value></Tag>`);
  const body = Buffer.from(
    `<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>${set.join("")}</TagSet></Tagging>`,
  );
  const headers = { "content-type": "application/xml", "content-md5": hash("md5", body, "base64") };
  const written = await client.call({
    method: "PUT",
    key,
    query: { tagging: "" },
    headers,
    body,
    accept,
    subject,
    signal,
  });
  if (written.answer.status === 404) return "absent";
  return written.answer.status >= 300 ? "refused" : "tagged";
}
