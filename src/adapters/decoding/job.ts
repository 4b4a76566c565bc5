/** One recording from disk to disk: what a decoding thread does. Synchronous: nothing else lives in that thread. */
import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { DecodedFormat, DecodeJob, DecodeResult, PlotFormat, RecordingFacts } from "../../core/decoding.ts";
import { type ErrorCode, UploaderError } from "../../core/errors.ts";
import {
  drawOverview,
  openRecording,
  type Recording,
  renderHtml,
  renderPng,
  renderSummary,
  renderSvg,
  type Summary,
  summarise,
  writeCsv,
  writeJson,
  writeMat,
  writeParquet,
} from "../../shimmer/index.ts";
import { errnoOf } from "../errno.ts";
import { openPart } from "../recordings.ts";

const encoders: Record<DecodedFormat | PlotFormat, (recording: Recording) => Iterable<Uint8Array>> = {
  json: (recording) => writeJson(recording),
  csv: writeCsv,
  mat: writeMat,
  parquet: writeParquet,
  png: (recording) => [renderPng(drawOverview(recording))],
  svg: (recording) => [Buffer.from(renderSvg(drawOverview(recording)))],
  html: (recording) => [Buffer.from(renderHtml(drawOverview(recording)))],
};

/** What a thread says of its job. */
export type Answer =
  | { ok: true; result: DecodeResult }
  | { ok: false; code: ErrorCode; message: string; hint: string | null };

/** Errors as RecordingDecoder names them. */
export function runJob({ parts, settings, outputs, screen }: DecodeJob): DecodeResult {
  const files = parts.map(({ path, name }) => openPart(path, name));
  const recording = openRecording(files, settings);
  const outputBytes = outputs.map(({ format, path }) => writeOut(path, encoders[format](recording)));
  const { summary, envelope } = summarise(recording);
  return {
    facts: factsOf(summary),
    summary,
    screen:
      screen && renderSummary({ summary, envelope: screen.sparklines ? envelope : null }, Math.max(60, screen.width)),
    outputBytes,
    sources: files.map(({ sizeBytes, mtimeNs }) => ({ sizeBytes, mtimeNs })),
  };
}

function writeOut(path: string, chunks: Iterable<Uint8Array>): number {
  try {
    const file = openSync(path, "wx");
    let sizeBytes = 0;
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length; ) done += writeSync(file, chunk, done);
        sizeBytes += chunk.length;
      }
      fdatasyncSync(file);
    } finally {
      closeSync(file);
    }
    return sizeBytes;
  } catch (error) {
    throw writeFailure(path, error);
  }
}

function writeFailure(path: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === null) return error;
  const isFull = errno === "ENOSPC" || errno === "EDQUOT";
  // The file has a temporary name, which would tell nobody anything.
  const folder = dirname(path);
  return isFull
    ? new UploaderError("disk_full", `no room in ${folder}`, {
        cause: error,
        hint: "free some space, or choose another disk",
      })
    : new UploaderError("usage", `cannot write into ${folder} (${errno})`, { cause: error });
}

function factsOf({ recording, oddTicks, batteryMillivolts, accelWr, channels }: Summary): RecordingFacts {
  return {
    deviceName: recording.device,
    deviceMac: recording.mac,
    model: recording.model,
    firmware: recording.firmware,
    samplingRateHz: recording.rateHz,
    channels: channels.map(({ signal }) => signal),
    startedAt: recording.start,
    endedAt: recording.end,
    durationSeconds: recording.durationSeconds,
    samples: recording.samples,
    gaps: oddTicks.gaps,
    oddTicks: oddTicks.backward + oddTicks.duplicate + oddTicks.zero,
    batteryMinMv: batteryMillivolts?.min ?? null,
    batteryMaxMv: batteryMillivolts?.max ?? null,
    accelWrMean: accelWr?.mean ?? null,
    accelWrMax: accelWr?.max ?? null,
    accelWrRange: accelWr?.variation ?? null,
  };
}
