import { describe, expect, it } from "vitest";
import { boardOf, pressureChipOf } from "../../src/shimmer/boards.ts";
import { headerSize, readHeader } from "../../src/shimmer/header.ts";
import { header, type Spelling } from "./support/recording.ts";

describe("readHeader", () => {
  it("reads the plain fields", () => {
    const read = readHeader(header({ divider: 65, patch: { 32: [7], 33: [2], 16: [0x02] } }));
    expect(read).toMatchObject({
      generation: "shimmer3",
      dividerTicks: 65,
      mac: "00:06:66:12:AB:CD",
      firmware: { kind: "LogAndStream", version: [0, 16, 1] },
      board: "old",
      card: null,
      trialId: 7,
      shimmersInTrial: 2,
      isSyncMaster: true,
      tickBytes: 3,
    });
    expect(read.rateHz).toBeCloseTo(504.123, 3);
  });

  it("takes a copy: the file's buffer may be used again", () => {
    const bytes = header();
    const read = readHeader(bytes);
    bytes.fill(0);
    expect(read.bytes[0]).toBe(128);
  });

  it.each<[string, Spelling, RegExp]>([
    ["no Shimmer", { patch: { 30: [0, 4] } }, /hardware version at byte 30: expected 3 .* found 4/],
    ["a streaming firmware", { firmware: [1, 0, 7, 0] }, /firmware type at byte 34: expected 2 .* found 1/],
    [
      "SDLog 0.5.x",
      { firmware: [2, 0, 5, 32] },
      /firmware version at byte 36: expected SDLog 0\.8\.69 or newer, found 0\.5\.32/,
    ],
    ["LogAndStream 0.4.9", { firmware: [3, 0, 4, 9] }, /expected LogAndStream 0\.5\.0 or newer, found 0\.4\.9/],
    ["divider 0", { divider: 0 }, /sampling divider at byte 0: expected 1 to 65535, found 0/],
    [
      "51 channels",
      { hardware: 10, patch: { 314: [51] } },
      /number of channels at byte 314: expected at most 50, found 51/,
    ],
  ])("refuses %s with a sentence", (_, spelling, sentence) => {
    expect(() => readHeader(header(spelling), "card/000")).toThrow(sentence);
    expect(() => readHeader(header(spelling), "card/000")).toThrow(expect.objectContaining({ code: "recording_bad" }));
    expect(() => readHeader(header(spelling), "card/000")).toThrow(/^card\/000: /);
  });

  it.each([0, 1, 31, 255])("says where a file of %d bytes ends", (length) => {
    expect(() => readHeader(header().subarray(0, length))).toThrow(`header at byte ${length}: expected 256 bytes`);
  });

  it("wants 384 bytes of a Shimmer3R", () => {
    const bytes = header({ hardware: 10, firmware: [3, 1, 1, 14] });
    expect(headerSize(bytes)).toBe(384);
    expect(() => readHeader(bytes.subarray(0, 300))).toThrow("header at byte 300: expected 384 bytes");
  });

  it.each<[Spelling["firmware"], number]>([
    [[2, 0, 11, 4], 2],
    [[2, 0, 11, 5], 3],
    [[3, 0, 5, 3], 2],
    [[3, 0, 5, 4], 3],
  ])("firmware %j stamps with %d bytes", (firmware, tickBytes) => {
    expect(readHeader(header({ firmware: firmware! })).tickBytes).toBe(tickBytes);
  });

  it("believes the daughter card only of firmware that stores it", () => {
    const patch = { 214: [48, 4, 2] };
    expect(readHeader(header({ firmware: [3, 0, 6, 12], patch })).board).toBe("old");
    expect(readHeader(header({ firmware: [3, 0, 6, 13], patch })).board).toBe("new");
  });

  it("clears MPL channels that LogAndStream never logs", () => {
    const enabled = [0, 0, 0x06, 0xff, 0xff];
    expect([...readHeader(header({ enabled })).enabled]).toEqual([0, 0, 0x04, 0, 0]);
    expect([...readHeader(header({ enabled, firmware: [2, 0, 19, 0] })).enabled]).toEqual(enabled);
  });

  it.each<[Spelling["firmware"], number, boolean]>([
    [[2, 0, 19, 0], 0x04, true],
    [[3, 0, 16, 11], 0x04, true],
    [[3, 0, 16, 10], 0x04, false],
    [[2, 0, 19, 0], 0x02, false],
  ])("firmware %j with trial byte %d has a sync prefix: %s", (firmware, trial, expected) => {
    expect(readHeader(header({ firmware: firmware!, patch: { 16: [trial] } })).hasSyncPrefix).toBe(expected);
  });

  it("reads the setup codes of both generations", () => {
    const setup = { 8: [0x0c], 10: [0b101_000_11], 11: [0b11_10_100_0], 12: [0x04] };
    expect(readHeader(header({ patch: setup })).setup).toEqual({
      accelWrRange: 3,
      gyroRange: 3,
      magRange: 5,
      accelLnRange: 0,
      magAltRange: 0,
      gsrRange: 4,
      pressureOversampling: 2,
    });
    const shimmer3r = readHeader(
      header({ hardware: 10, firmware: [3, 1, 1, 14], patch: { ...setup, 10: [0b011_000_01] } }),
    ).setup;
    expect(shimmer3r).toMatchObject({ gyroRange: 5, magRange: 0, accelLnRange: 3, magAltRange: 3 });
  });
});

it.each<[number, number, number, "old" | "new"]>([
  [47, 2, 0, "old"],
  [47, 3, 0, "new"],
  [48, 3, 0, "new"],
  [49, 3, 1, "new"],
  [31, 5, 9, "old"],
  [31, 6, 0, "new"],
  [36, 2, 0, "old"],
  [36, 3, 0, "new"],
  [38, 3, 0, "new"],
  [8, 1, 171, "new"],
  [8, 9, 0, "old"],
])("card SR%d-%d-%d is a %s board", (id, revision, special, board) => {
  expect(boardOf({ id, revision, special })).toBe(board);
});

it.each<[number, number, number, boolean, string]>([
  [31, 11, 2, true, "BMP581"],
  [31, 11, 1, true, "BMP390"],
  [31, 12, 0, true, "BMP581"],
  [38, 4, 2, true, "BMP581"],
  [47, 8, 1, true, "BMP390"],
  [47, 8, 2, false, "BMP390"],
  [48, 7, 2, true, "BMP581"],
  [48, 7, 1, true, "BMP390"],
  [48, 8, 0, true, "BMP390"],
  [48, 8, 2, true, "BMP581"],
  [49, 4, 2, true, "BMP581"],
  [1, 99, 99, true, "BMP390"],
])("Shimmer3R card SR%d-%d-%d, firmware new %s: %s", (id, revision, special, isNew, chip) => {
  expect(pressureChipOf("shimmer3r", { id, revision, special }, isNew)).toBe(chip);
});
