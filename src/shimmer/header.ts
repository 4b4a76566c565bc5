import { type Board, boardOf, type Card, type PressureChip, pressureChipOf } from "./boards.ts";
import { readWord, type Word } from "./bytes.ts";
import { badRecording } from "./faults.ts";
import { type FirmwareKind, firmwareKinds, isAtLeast, since, type Version } from "./firmware.ts";

/** Hardware version (bytes 30-31) → generation and header length. Nothing else writes this format. */
const generations: Readonly<Record<number, { generation: Generation; sizeBytes: number }>> = {
  3: { generation: "shimmer3", sizeBytes: 256 },
  10: { generation: "shimmer3r", sizeBytes: 384 },
};

export type Generation = "shimmer3" | "shimmer3r";

/** Reading this many bytes is always enough to know the generation. */
export const shortHeaderBytes = 256;
export const longHeaderBytes = 384;

/** Where the plain numbers stand (SF 2). Multi-byte words are big-endian where the word ends in `r`. */
const fields = {
  divider: [0, "u16"],
  setup8: [8, "u8"],
  setup10: [10, "u8"],
  setup11: [11, "u8"],
  setup12: [12, "u8"],
  trial0: [16, "u8"],
  trial1: [17, "u8"],
  hardware: [30, "u16r"],
  trialId: [32, "u8"],
  shimmersInTrial: [33, "u8"],
  firmwareKind: [34, "u16r"],
  firmwareMajor: [36, "u16r"],
  firmwareMinor: [38, "u8"],
  firmwareInternal: [39, "u8"],
  configTime: [52, "u32r"],
  channelCount: [314, "u8"],
} as const satisfies Record<string, readonly [number, Word]>;

export const headerAt = {
  enabled: 3,
  mac: 24,
  derivedEarly: 40,
  rtcDifference: 44,
  configTime: 52,
  exgRegisters: [56, 66],
  pressure: 160,
  pressureTail: 222,
  card: 214,
  derivedLate: 217,
  startTicks: 251,
  channelCount: 314,
  channelIds: 315,
} as const;

/** Setup values are codes; their meaning depends on the part fitted (SF 2.1). */
export interface Setup {
  accelWrRange: number;
  gyroRange: number;
  magRange: number;
  accelLnRange: number;
  magAltRange: number;
  /** 0-3 fixed, 4 = auto. */
  gsrRange: number;
  /** 0-3; BMP180 only. */
  pressureOversampling: number;
}

export interface Header {
  generation: Generation;
  sizeBytes: number;
  /** Ticks of 1/32768 s between two samples, nominally. */
  dividerTicks: number;
  rateHz: number;
  /** Upper case, colons. */
  mac: string;
  firmware: { kind: FirmwareKind; version: Version };
  card: Card | null;
  board: Board;
  pressureChip: PressureChip;
  trialId: number;
  shimmersInTrial: number;
  isSyncMaster: boolean;
  /** A 9-byte prefix stands before every block of records (SF 5). */
  hasSyncPrefix: boolean;
  /** Samples are timed by the temperature-compensated crystal; its true rate is not known to us (SF 6.1). */
  hasTcxo: boolean;
  /** Width of the time stamp of a record. */
  tickBytes: 2 | 3;
  /** Enabled-sensor bytes 3-7, those that this firmware cannot log cleared. */
  enabled: Uint8Array;
  /** Derived-channel bits, 8 bytes LE. They change names, never the layout. */
  derived: Uint8Array;
  setup: Setup;
  /** Shimmer3R: channel ids in record order; Shimmer3: empty. */
  channelIds: Uint8Array;
  /** The header as it stands in the file; a copy. */
  bytes: Uint8Array;
}

/** Length of the header that begins with `bytes` (at least 256), or `null` when it is not a Shimmer header. */
export function headerSize(bytes: Uint8Array): 256 | 384 | null {
  if (bytes.length < shortHeaderBytes) return null;
  const size = generations[readWord(bytes, "u16r", fields.hardware[0])]?.sizeBytes;
  return size === 256 || size === 384 ? size : null;
}

/**
 * The header as typed fields (SF 2). Needs the whole header: 256 bytes, 384 on Shimmer3R.
 *
 * @throws UploaderError `recording_bad` for anything that is not a recording of a supported firmware
 */
export function readHeader(bytes: Uint8Array, name = "recording"): Header {
  const fail = (offset: number, field: string, expected: string, found: string, hint?: string) =>
    badRecording(name, { offset, field, expected, found, ...(hint === undefined ? {} : { hint }) });
  if (bytes.length < shortHeaderBytes) {
    throw fail(bytes.length, "header", `${shortHeaderBytes} bytes`, `${bytes.length} bytes (the file ends here)`);
  }
  const field = (key: keyof typeof fields) => readWord(bytes, fields[key][1], fields[key][0]);

  const model = generations[field("hardware")];
  if (model === undefined) {
    const known = "3 (Shimmer3) or 10 (Shimmer3R)";
    throw fail(fields.hardware[0], "hardware version", known, String(field("hardware")));
  }
  const { generation, sizeBytes } = model;
  if (bytes.length < sizeBytes) {
    throw fail(bytes.length, "header", `${sizeBytes} bytes`, `${bytes.length} bytes (the file ends here)`);
  }
  const kind = firmwareKinds[field("firmwareKind")];
  if (kind === undefined) {
    const known = "2 (SDLog) or 3 (LogAndStream)";
    throw fail(fields.firmwareKind[0], "firmware type", known, String(field("firmwareKind")));
  }
  const version: Version = [field("firmwareMajor"), field("firmwareMinor"), field("firmwareInternal")];
  const is3r = generation === "shimmer3r";
  const has = (feature: keyof typeof since) => is3r || isAtLeast(version, since[feature][kind]);
  if (!has("supported")) {
    const oldest = `${kind} ${versionText(since.supported[kind])} or newer`;
    const hint = "Its files are laid out differently, and no recording of it is known to check against.";
    throw fail(fields.firmwareMajor[0], "firmware version", oldest, versionText(version), hint);
  }
  const dividerTicks = field("divider");
  if (dividerTicks === 0) throw fail(fields.divider[0], "sampling divider", "1 to 65535", "0");

  const copy = bytes.slice(0, sizeBytes);
  const card = has("daughterCard") ? readCard(copy) : null;
  const board: Board = is3r ? "shimmer3r" : boardOf(card);
  const hasBmp581Firmware = isAtLeast(version, since.bmp581[kind]);
  return {
    generation,
    sizeBytes,
    dividerTicks,
    rateHz: 32768 / dividerTicks,
    mac: Array.from(copy.subarray(headerAt.mac, headerAt.mac + 6), hexByte).join(":"),
    firmware: { kind, version },
    card,
    board,
    pressureChip: pressureChipOf(board, card, hasBmp581Firmware),
    trialId: field("trialId"),
    shimmersInTrial: field("shimmersInTrial"),
    isSyncMaster: (field("trial0") & 0x02) !== 0,
    hasSyncPrefix: (field("trial0") & 0x04) !== 0 && has("syncPrefix"),
    hasTcxo: (field("trial1") & 0x10) !== 0,
    tickBytes: has("threeByteTicks") ? 3 : 2,
    enabled: enabledBytes(copy, !is3r && isAtLeast(version, since.mplChannels[kind])),
    derived: derivedBytes(copy, has("lateDerivedBits")),
    setup: {
      accelWrRange: (field("setup8") >> 2) & 3,
      gyroRange: (field("setup10") & 3) | (is3r ? field("setup12") & 4 : 0),
      magRange: is3r ? 0 : field("setup10") >> 5,
      accelLnRange: is3r ? field("setup11") >> 6 : 0,
      magAltRange: is3r ? field("setup10") >> 5 : 0,
      gsrRange: (field("setup11") >> 1) & 7,
      pressureOversampling: (field("setup11") >> 4) & 3,
    },
    channelIds: is3r ? channelIds(copy, fail) : new Uint8Array(0),
    bytes: copy,
  };
}

export function versionText([major, minor, internal]: Version): string {
  return `${major}.${minor}.${internal}`;
}

function hexByte(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

function readCard(bytes: Uint8Array): Card | null {
  const [id, revision, special] = bytes.subarray(headerAt.card, headerAt.card + 3);
  return id === 0xff && revision === 0xff && special === 0xff
    ? null
    : { id: id!, revision: revision!, special: special! };
}

function enabledBytes(bytes: Uint8Array, hasMpl: boolean): Uint8Array {
  const enabled = bytes.slice(headerAt.enabled, headerAt.enabled + 5);
  if (hasMpl) return enabled;
  enabled[2]! &= ~0x02;
  return enabled.fill(0, 3);
}

function derivedBytes(bytes: Uint8Array, hasLateBits: boolean): Uint8Array {
  const derived = new Uint8Array(8);
  derived.set(bytes.subarray(headerAt.derivedEarly, headerAt.derivedEarly + 3));
  if (hasLateBits) derived.set(bytes.subarray(headerAt.derivedLate, headerAt.derivedLate + 5), 3);
  // A field that was never written is all FF, not every derived channel at once.
  return derived.subarray(0, 3).every((byte) => byte === 0xff) ? derived.fill(0) : derived;
}

const mostChannels = 50;

function channelIds(bytes: Uint8Array, fail: (...about: [number, string, string, string]) => Error): Uint8Array {
  const count = bytes[headerAt.channelCount]!;
  if (count > mostChannels) {
    throw fail(headerAt.channelCount, "number of channels", `at most ${mostChannels}`, String(count));
  }
  return bytes.slice(headerAt.channelIds, headerAt.channelIds + count);
}
