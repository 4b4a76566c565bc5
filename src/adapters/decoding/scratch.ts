/** Files made of recordings while an upload runs: in the state directory, gone when they are sent or the run ends. */
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import {
  type DecodedFormat,
  type DecodeSettings,
  type Decoding,
  type RecordingDecoder,
  settingsOfText,
  settingsText,
} from "../../core/decoding.ts";
import { UploaderError } from "../../core/errors.ts";
import { errnoOf } from "../errno.ts";
import { isAbandoned, isTemporary, temporaryName } from "../folder/temporary.ts";
import { isRecording } from "../recordings.ts";

export interface ScratchOptions {
  enabled: boolean;
  formats: readonly DecodedFormat[];
  settings: DecodeSettings;
  /** Version of this program: another one may make other bytes. */
  version: string;
  /** Below the state directory; made when the first recording is met. */
  folder: string;
  decoder: RecordingDecoder;
  /** Bytes that may lie here unsent before another recording is begun. */
  budgetBytes?: number;
  limitMs?: (sourceBytes: number) => number;
  now(): number;
  random(): number;
}

const usualBudgetBytes = 2 ** 30;
/** JSON and CSV of 33-byte records are 8 to 9 times as long, the others 4 times. */
const madeFromByte = 10;
/** A tenth of the slowest decoding measured (JSON, all channels), and as long again as a busy machine may take to begin. */
const usualLimitMs = (sourceBytes: number): number => 120_000 + sourceBytes / 1_000;

export function openScratch(options: ScratchOptions): Decoding {
  const { formats, folder, decoder, budgetBytes = usualBudgetBytes, limitMs = usualLimitMs } = options;
  const mine = join(folder, temporaryName(options.random));
  const waiting: (() => void)[] = [];
  let swept: Promise<void> | null = null;
  let heldBytes = 0;
  let number = 0;

  /** What will be made is reckoned before it is: whoever waits for a thread would otherwise pass all at once. */
  const reserve = async (sizeBytes: number, signal: AbortSignal): Promise<void> => {
    while (heldBytes > 0 && heldBytes + sizeBytes > budgetBytes) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    heldBytes += sizeBytes;
  };
  const release = (sizeBytes: number): void => {
    heldBytes -= sizeBytes;
    for (const wake of waiting.splice(0)) wake();
  };

  return {
    enabled: options.enabled,
    formats,
    settings: settingsText(options.settings, formats),
    isRecording,
    async make(path, how, signal) {
      const wanted = how.formats;
      const settings = settingsOfText(how.settings);
      swept ??= sweep(folder, options.now);
      await swept;
      const outputs = wanted.map((format) => ({ format, path: join(mine, `${++number}.${format}`) }));
      let sizeBytes = 0;
      const discard = async (): Promise<void> => {
        await Promise.all(outputs.map((output) => rm(output.path, { force: true })));
        release(sizeBytes);
        sizeBytes = 0;
      };
      try {
        // The state folder itself: root's lets its database server in (state-directory.ts).
        await mkdir(dirname(folder), { recursive: true, mode: 0o711 });
        await mkdir(mine, { recursive: true, mode: 0o700 });
        const { size } = await stat(path);
        const reckonedBytes = size * madeFromByte * wanted.length;
        await reserve(reckonedBytes, signal);
        sizeBytes = reckonedBytes;
        const job = { parts: [{ name: path, path }], settings, outputs, screen: null };
        const { facts, outputBytes, sources } = await decoder.decode(job, { signal, timeMs: limitMs(size) });
        const madeBytes = outputBytes.reduce((sum, bytes) => sum + bytes, 0);
        release(sizeBytes - madeBytes);
        sizeBytes = madeBytes;
        const source = sources[0]!;
        const stampSeconds = stampOf(source.mtimeNs, `${options.version} ${settings.profile} ${settings.timeSource}`);
        const files = await Promise.all(
          outputs.map(async ({ format, path: made }, index) => {
            await utimes(made, stampSeconds, stampSeconds);
            const { mtimeNs } = await stat(made, { bigint: true });
            return { format, body: { kind: "file" as const, path: made, sizeBytes: outputBytes[index]!, mtimeNs } };
          }),
        );
        return { facts, source, files, discard };
      } catch (error) {
        await discard();
        throw errnoOf(error) === null ? error : systemError(path, error as NodeJS.ErrnoException);
      }
    },
    async close() {
      await decoder.close();
      await rm(mine, { recursive: true, force: true });
    },
  };
}

/**
 * An upload in parts that was cut short goes on only with the bytes it began with, which it knows by size and mtime. So
 * the mtime of what we make tells the source and how it was decoded: the source's second, and a mark in milliseconds.
 */
function stampOf(sourceNs: bigint, how: string): number {
  return Number(sourceNs / 1_000_000_000n) + (crc32(how) % 1000) / 1000;
}

/** What processes that were killed have left. */
async function sweep(folder: string, now: () => number): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  });
  for (const name of names.filter(isTemporary)) {
    const path = join(folder, name);
    const touched = await stat(path).catch(() => null);
    if (touched && isAbandoned(name, touched.mtimeMs, now())) await rm(path, { recursive: true, force: true });
  }
}

function systemError(path: string, error: NodeJS.ErrnoException): UploaderError {
  if (error.path === path) return new UploaderError("file_gone", `${path} is no longer there`, { cause: error });
  const isFull = error.code === "ENOSPC" || error.code === "EDQUOT";
  return new UploaderError(isFull ? "disk_full" : "internal", `${path} cannot be decoded: ${error.message}`, {
    cause: error,
  });
}
