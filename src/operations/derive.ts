/**
 * Files made of recordings (design A7). A recording that is confirmed in the store, and only such a one, is decoded before
 * its row is settled: a crash in between finds the row open and does it again, and the recording of a second card, which
 * must not replace the first one's, does not replace what was made of it either.
 */
import { join } from "node:path";
import {
  type DecodedFormat,
  decodedFormats,
  type MadeRecording,
  mayBeRecording,
  recordingPlace,
} from "../core/decoding.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { extensionOf } from "../core/file-kinds.ts";
import { joinKey, keyProblem } from "../core/key.ts";
import type { Body } from "../core/ports.ts";
import type { ClaimedFile, Ending } from "../core/store.ts";
import type { Context } from "./context.ts";

export interface Deriver {
  /** Decodes what `ending` confirms, if it is a recording, and registers what is made of it. */
  derive(file: ClaimedFile, ending: Ending, signal: AbortSignal): Promise<void>;
  /** The files made of it whose rows are in this worker's hands. */
  claimed(file: ClaimedFile): readonly ClaimedFile[];
  /** The bytes of a derived file: as they were made, or made again from its source. `mtimeNs` is the source's. */
  body(
    file: ClaimedFile,
    signal: AbortSignal,
  ): Promise<{ body: Extract<Body, { kind: "file" }>; sizeBytes: number; mtimeNs: bigint }>;
  /** The file, and what was made of it, are settled. */
  forget(file: ClaimedFile): Promise<void>;
}

/** More of them are told with -v only. */
const failuresTold = 10;

const confirms = ({ move, ...ending }: Ending): boolean =>
  move === "settle" || (move === "skip" && "object" in ending && ending.object !== null);

export function createDeriver(cx: Context, sessionId: number, workerId: () => number): Deriver {
  /** By the id of the row they are to be sent for, or made of. */
  const made = new Map<number, MadeRecording>();
  const claimed = new Map<number, readonly ClaimedFile[]>();
  let prefix: Promise<string> | null = null;
  let failures = 0;

  const decodingOf = () => {
    if (cx.decoding) return cx.decoding;
    throw new UploaderError("internal", "a file made of a recording was met, and nothing is there to make it");
  };
  const pathOf = (file: ClaimedFile): string => join(cx.source.root, file.path);
  const hasRecording = (path: string): Promise<boolean> => decodingOf().isRecording(join(cx.source.root, path));
  const sessionPrefix = async (): Promise<string> => (await cx.store.session(sessionId))?.prefix ?? "";

  const register = async (file: ClaimedFile, recording: MadeRecording) => {
    prefix ??= sessionPrefix();
    const session = await prefix;
    const attempt = async (hasWholeName: boolean) => {
      const files = recording.files.map(({ format, body }) => ({
        key: derivedKey(file.key, session, format, hasWholeName),
        sizeBytes: body.sizeBytes,
      }));
      for (const { key } of files) {
        const problem = keyProblem(key);
        if (problem !== null) throw impossible(file, problem);
      }
      return { ...(await cx.store.derive(file.id, workerId(), files)), keys: files.map(({ key }) => key) };
    };
    // `000.txt` beside `000`: which of them comes first must not decide who gets the shorter key.
    const isTwin = withoutExtension(file.path) !== file.path && (await hasRecording(withoutExtension(file.path)));
    let registered = await attempt(isTwin);
    if (registered.taken.length > 0 && !isTwin) registered = await attempt(true);
    const { claimed: mine, taken, keys } = registered;
    if (taken.length > 0) throw impossible(file, `${taken[0]} is made of another recording`);
    return { mine, keys };
  };

  /** As it was made before, whatever the settings are now. */
  const again = async (file: ClaimedFile, format: DecodedFormat, signal: AbortSignal): Promise<MadeRecording> => {
    const decoding = decodingOf();
    const settings = (await cx.store.decodingSettings(file.derivedFrom!)) ?? decoding.settings;
    return decoding.make(pathOf(file), { settings, formats: [format] }, signal);
  };

  const failed = async (file: ClaimedFile, settings: string, error: UploaderError): Promise<void> => {
    const { code, message } = error;
    await cx.store.rememberDecoding(file.id, { settings, place: recordingPlace(file.path), error: { code, message } });
    const level = ++failures <= failuresTold ? "info" : "detail";
    cx.emit({ type: "notice", sessionId, level, message: `sent as it is, not decoded: ${message}` });
    if (failures === failuresTold)
      cx.emit({ type: "notice", sessionId, level, message: "more recordings that cannot be decoded: -v names them" });
  };

  return {
    async derive(file, ending, signal) {
      const { decoding } = cx;
      if (!decoding?.enabled || file.derivedFrom !== null || !confirms(ending)) return;
      if (!mayBeRecording(file.path)) return;
      const path = pathOf(file);
      if (!(await decoding.isRecording(path))) return;
      const { settings } = decoding;
      let recording: MadeRecording;
      try {
        recording = await decoding.make(path, decoding, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        return failed(file, settings, asUploaderError(error));
      }
      made.set(file.id, recording);
      const { facts, source } = recording;
      if (source.mtimeNs !== file.mtimeNs || source.sizeBytes !== file.sizeBytes) {
        return failed(file, settings, new UploaderError("not_ready", `${file.path} changed after it was sent`));
      }
      let madeKeys: readonly string[];
      try {
        const { mine, keys } = await register(file, recording);
        claimed.set(file.id, mine);
        madeKeys = keys;
      } catch (error) {
        const ours = asUploaderError(error);
        if (ours.code !== "key_impossible") throw ours;
        return failed(file, settings, ours);
      }
      const place = recordingPlace(file.path);
      await cx.store.rememberDecoding(file.id, { settings, place, facts, madeKeys });
      for (const each of claimed.get(file.id)!) made.set(each.id, recording);
    },

    claimed: (file) => claimed.get(file.id) ?? [],

    async body(file, signal) {
      const format = formatOf(file.key);
      const recording = made.get(file.id) ?? (await again(file, format, signal));
      made.set(file.id, recording);
      const { body } = recording.files.find((each) => each.format === format)!;
      return { body, sizeBytes: body.sizeBytes, mtimeNs: recording.source.mtimeNs };
    },

    async forget(file) {
      for (const { id } of claimed.get(file.id) ?? []) made.delete(id);
      claimed.delete(file.id);
      const recording = made.get(file.id);
      made.delete(file.id);
      await recording?.discard();
    },
  };
}

function formatOf(key: string): DecodedFormat {
  return decodedFormats.find((format) => format === extensionOf(key)) ?? "json";
}

const impossible = (file: ClaimedFile, why: string): UploaderError =>
  new UploaderError("key_impossible", `${file.path}: what is made of it has no key: ${why}`);

/** `.wav` alone is a name. */
const withoutExtension = (path: string): string => path.replace(/(?<=[^/])\.[^./]*$/, "");

/**
 * `<prefix>/decode/<relative folder>/<stem>_decoded.<format>`. Where two recordings of a folder have one stem (`000`,
 * `000.txt`), the one with an extension keeps it.
 */
export function derivedKey(key: string, prefix: string, format: DecodedFormat, hasWholeName = false): string {
  const base = joinKey(prefix, "");
  const relative = key.startsWith(base) ? key.slice(base.length) : key;
  return joinKey(prefix, `decode/${hasWholeName ? relative : withoutExtension(relative)}_decoded.${format}`);
}
