import { cloudChannels } from "../cloud-sync.ts";
import { describeHeader } from "../description.ts";
import type { Recording } from "../recording.ts";
import { columnwise } from "./columnwise.ts";
import { longestNumber, writeNumber } from "./number-text.ts";

const comma = 44;
const chunkBytes = 2 ** 20;
const noNumber = new TextEncoder().encode("null");

export interface JsonOptions {
  /** `cloud-sync`: offset of the local time in `timestampReadable`, ms, at a Unix time in ms. UTC when absent. */
  utcOffsetMs?: (unixMs: number) => number;
}

/** JSON of the recording's profile (design A7), as byte chunks that are the caller's to keep. NaN and infinities become `null`. */
export function writeJson(recording: Recording, options: JsonOptions = {}): Generator<Uint8Array> {
  return recording.profile === "cloud-sync" ? cloudJson(recording, options) : vendorJson(recording);
}

/** `{ "header": …, "columns": { name: { "unit", "values" } }, "gaps": […], "oddTicks": […], "notes": […] }` */
function* vendorJson(recording: Recording): Generator<Uint8Array> {
  const { columns, report } = recording;
  const writeValues = openValueWriter();
  yield text(`{"header":${JSON.stringify(describeHeader(recording))},\n"columns":{`);
  for (const { index, pieces } of columnwise(recording)) {
    const { name, unit } = columns[index]!;
    yield text(`${index === 0 ? "" : ","}\n${JSON.stringify(name)}:{"unit":${JSON.stringify(unit)},"values":[`);
    yield* writeValues(pieces);
    yield text("]}");
  }
  const { gaps, oddTicks, notes } = report;
  yield text(
    `\n},\n"gaps":${JSON.stringify(gaps)},\n"oddTicks":${JSON.stringify(oddTicks)},\n"notes":${JSON.stringify(notes)}}\n`,
  );
}

/** Keys, values and order of the older service (SF 11). */
function* cloudJson(recording: Recording, { utcOffsetMs = () => 0 }: JsonOptions): Generator<Uint8Array> {
  const { header, columns, start } = recording;
  const { bytes } = header;
  const writeValues = openValueWriter();
  const channelInfo = cloudChannels(header);
  const before = {
    sampleRate: header.rateHz,
    macAddress: header.mac,
    headerBytes: Array.from(bytes),
    channelInfo,
    packetLengthBytes: channelInfo.reduce((sum, { nbytes }) => sum + nbytes, 3),
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const afterTime = {
    initialTime: start.deviceTicks,
    phoneRwc: view.getUint32(52, true),
    shimmerRtcLower40: Number(view.getBigUint64(44, true) & 0xff_ffff_ffffn),
  };
  const timeAt = columns.findIndex(({ name }) => name === "timestampCal");

  yield text(JSON.stringify(before).slice(0, -1));
  for (const { index, pieces } of columnwise(recording)) {
    const { name } = columns[index]!;
    yield text(`,\n${JSON.stringify(name)}:[`);
    const range = { least: Number.POSITIVE_INFINITY, most: Number.NEGATIVE_INFINITY };
    yield* writeValues(name === "Accel_WR_Absolute" ? watched(pieces, range) : pieces);
    yield text("]");
    if (index === timeAt) yield text(`,\n${JSON.stringify(afterTime).slice(1, -1)}`);
    if (name === "Accel_WR_Absolute" && recording.count > 0)
      yield text(`,\n"Accel_WR_VAR":${range.most - range.least}`);
  }
  yield text(`,\n"timestampReadable":[`);
  let separator = "";
  for (const block of recording.blocks([timeAt])) {
    const cells = Array.from(block.time, (seconds) => `"${readable(seconds, utcOffsetMs)}"`);
    yield text(separator + cells.join());
    separator = ",";
  }
  yield text("]}\n");
}

function* watched(pieces: Iterable<Float64Array>, range: { least: number; most: number }): Generator<Float64Array> {
  for (const piece of pieces) {
    for (const value of piece) {
      if (value < range.least) range.least = value;
      if (value > range.most) range.most = value;
    }
    yield piece;
  }
}

/** `YYYY-MM-DD HH:MM:SS.mmm`: rounded to microseconds, then cut; beyond 2·10⁹ taken for milliseconds, as the service did. */
export function readable(seconds: number, utcOffsetMs: (unixMs: number) => number): string {
  const unixSeconds = seconds > 2e9 ? seconds / 1000 : seconds;
  const ms = Math.floor(Math.round(unixSeconds * 1e6) / 1000);
  const local = new Date(ms + (Number.isFinite(ms) ? utcOffsetMs(ms) : 0));
  return Number.isNaN(local.getTime()) ? "Invalid timestamp" : local.toISOString().slice(0, 23).replace("T", " ");
}

/** Values between commas, in chunks of about 1 MiB. */
function openValueWriter() {
  const out = new Uint8Array(chunkBytes + longestNumber + 1);
  const fill = (values: Float64Array, from: number, to: number): number => {
    let end = 0;
    for (let i = from; i < to; i++) {
      const value = values[i]!;
      if (Number.isFinite(value)) end = writeNumber(value, out, end);
      else {
        out.set(noNumber, end);
        end += noNumber.length;
      }
      out[end++] = comma;
    }
    return end;
  };
  const valuesPerChunk = Math.floor(chunkBytes / (longestNumber + 1));
  return function* (pieces: Iterable<Float64Array>): Generator<Uint8Array> {
    let isFirst = true;
    for (const values of pieces) {
      for (let from = 0; from < values.length; from += valuesPerChunk) {
        const end = fill(values, from, Math.min(values.length, from + valuesPerChunk));
        if (!isFirst) yield text(",");
        isFirst = false;
        yield out.slice(0, end - 1);
      }
    }
  };
}

function text(string: string): Uint8Array {
  return new TextEncoder().encode(string);
}
