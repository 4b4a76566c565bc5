/** Places: where files come from, and where they go. */
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UploaderError } from "../core/errors.ts";
import { keyProblem } from "../core/key.ts";

export type DestinationPlace = { kind: "s3"; bucket: string; prefix: string } | { kind: "folder"; path: string };

/** The rules for general purpose buckets, as the S3 user guide lists them. */
const bucketRules: readonly { problem: string; breaks(name: string): boolean }[] = [
  { problem: "it is missing", breaks: (name) => name === "" },
  { problem: "it is an access point; name the bucket", breaks: (name) => name.startsWith("arn:") },
  { problem: "it needs 3 to 63 characters", breaks: (name) => name.length < 3 || name.length > 63 },
  {
    problem: "only lower-case letters, digits, dots and dashes are allowed",
    breaks: (name) => /[^a-z0-9.-]/.test(name),
  },
  {
    problem: "it must begin and end with a letter or digit",
    breaks: (name) => !/^[a-z0-9].*[a-z0-9]$/.test(name),
  },
  { problem: "two dots in a row are not allowed", breaks: (name) => name.includes("..") },
  { problem: "it looks like an IP address", breaks: (name) => /^\d+\.\d+\.\d+\.\d+$/.test(name) },
];

/**
 * `s3://bucket/prefix` with the prefix in NFC and free of superfluous slashes; `file:///folder`; else a folder, taken
 * relative to `baseDirectory` and made absolute. Throws `config_invalid`.
 */
export function parseDestination(text: string, baseDirectory: string): DestinationPlace {
  const scheme = schemeOf(text);
  if (scheme !== "s3") return { kind: "folder", path: parseFolder(text, baseDirectory, "destination") };
  const [bucket = "", ...rest] = text.slice("s3:".length).replace(/^\/\//, "").split("/");
  const broken = bucketRules.find((rule) => rule.breaks(bucket));
  if (broken) {
    throw new UploaderError(
      "config_invalid",
      `the bucket's name ${JSON.stringify(bucket)} is not valid: ${broken.problem}`,
      {
        hint: "write the destination like s3://bucket/prefix",
      },
    );
  }
  const prefix = rest
    .filter((segment) => segment !== "")
    .join("/")
    .normalize("NFC");
  const problem = prefix === "" ? null : keyProblem(prefix);
  if (problem !== null) {
    throw new UploaderError("config_invalid", `the prefix ${JSON.stringify(prefix)} cannot be used: ${problem}`, {
      hint: "write the destination like s3://bucket/prefix",
    });
  }
  return { kind: "s3", bucket, prefix };
}

/** One text per place: parsing it again gives the same. */
export function destinationText(place: DestinationPlace): string {
  if (place.kind === "folder") return place.path;
  return place.prefix === "" ? `s3://${place.bucket}` : `s3://${place.bucket}/${place.prefix}`;
}

/** What a project is called that has no name of its own. */
export function projectNameOf(place: DestinationPlace): string {
  return place.kind === "s3" ? place.bucket : basename(place.path) || "root";
}

/** An absolute path. `what` is the key, for messages. Throws `config_invalid`. */
export function parseFolder(text: string, baseDirectory: string, what: string): string {
  const refuse = (problem: string, hint: string): never => {
    throw new UploaderError("config_invalid", `the ${what} ${JSON.stringify(text)} cannot be used: ${problem}`, {
      hint,
    });
  };
  const scheme = schemeOf(text);
  if (scheme === "file") {
    if (!/^file:\/\/(?:localhost)?\//i.test(text))
      refuse("a file URL needs a whole path", "write it like file:///mnt/nas/archive");
    try {
      return resolve(fileURLToPath(new URL(text)));
    } catch (cause) {
      throw new UploaderError("config_invalid", `the ${what} ${JSON.stringify(text)} is not a valid file URL`, {
        hint: "write the plain path instead",
        cause,
      });
    }
  }
  if (scheme !== null) {
    const places = what === "destination" ? "s3://bucket/prefix, or a folder" : "a folder";
    refuse(`${scheme}: is not supported`, `give ${places}`);
  }
  if (text.includes("\0")) refuse("it holds a NUL character", "give a plain path");
  if (/^~(?:\/|$)/.test(text)) refuse('only a shell knows "~"', "write the whole path");
  return resolve(baseDirectory, text);
}

/** `s3:` and `file:` count with any number of slashes, other schemes only with two: a folder may hold a colon. */
function schemeOf(text: string): string | null {
  return (/^(s3|file):/i.exec(text) ?? /^([a-z][a-z0-9+.-]*):\/\//i.exec(text))?.[1]?.toLowerCase() ?? null;
}
