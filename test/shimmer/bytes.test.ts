import { expect, it } from "vitest";
import { readWord, type Word, words } from "../../src/shimmer/bytes.ts";

it.each<[Word, number[], number]>([
  ["u8", [0xff], 255],
  ["u16", [0x34, 0x12], 0x1234],
  ["u16", [0xff, 0xff], 65535],
  ["i16", [0x00, 0x80], -32768],
  ["i16", [0xff, 0xff], -1],
  ["u16r", [0x12, 0x34], 0x1234],
  ["i16r", [0x80, 0x01], -32767],
  ["u24", [0x56, 0x34, 0x12], 0x123456],
  ["u24r", [0x12, 0x34, 0x56], 0x123456],
  ["u24r", [0xff, 0xff, 0xff], 16777215],
  ["i24", [0xff, 0xff, 0xff], -1],
  ["i24r", [0x80, 0x00, 0x00], -8388608],
  ["u32r", [0xff, 0xff, 0xff, 0xff], 4294967295],
  ["i32r", [0x80, 0x00, 0x00, 0x00], -2147483648],
  ["l12r", [0x7f, 0xf0], 2047],
  ["l12r", [0x80, 0x0f], -2048],
])("%s reads %j as %d", (word, bytes, value) => {
  expect(readWord(Uint8Array.from(bytes), word, 0)).toBe(value);
  expect(words[word].size).toBe(bytes.length);
});

it("reads values a stride apart into the place given", () => {
  const out = new Float64Array(5).fill(-1);
  words.u16.read(Uint8Array.from([9, 1, 0, 9, 2, 0, 9, 3, 0]), 1, 3, 3, out, 1);
  expect([...out]).toEqual([-1, 1, 2, 3, -1]);
});
