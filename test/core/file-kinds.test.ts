import { describe, expect, it } from "vitest";
import {
  contentTypeOf,
  defaultInclude,
  extensionOf,
  isNeverSent,
  kindOf,
  looksLikeShimmer,
  mayBeShimmer,
} from "../../src/core/file-kinds.ts";
import { shimmerHead } from "../support/tree.ts";

describe("kinds", () => {
  it.each([
    ["a.wav", "sound"],
    ["A.WAV", "sound"],
    ["x.flac", "sound"],
    ["x.jpg", "picture"],
    ["x.JPEG", "picture"],
    ["x.png", "picture"],
    ["x.mp4", "video"],
    ["x.mov", "video"],
    ["x.avi", "video"],
    ["x.pdf", "report"],
    ["x.json", "report"],
    ["x.csv", "signal"],
    ["x.edf", "signal"],
    ["x.bdf", "signal"],
    ["x.txt", null],
    ["000", null],
    ["x.wav.bak", null],
    ["dir.wav/x", null],
  ])("%s is %s", (path, kind) => {
    expect(kindOf(path)).toBe(kind);
  });

  it("lists every extension once as a pattern", () => {
    expect(defaultInclude).toContain("**/*.wav");
    expect(new Set(defaultInclude).size).toBe(defaultInclude.length);
  });

  it("knows what to call a kind on the wire", () => {
    expect(contentTypeOf("d/A.WAV")).toBe("audio/wav");
    expect(contentTypeOf("d/000")).toBeNull();
  });
});

it.each([
  ["a.WAV", "wav"],
  ["d.x/a", ""],
  ["d/.wav", ""],
  ["a.", ""],
  ["a.b.c", "c"],
])("the extension of %s is %j", (path, extension) => {
  expect(extensionOf(path)).toBe(extension);
});

describe("names never sent", () => {
  it.each([
    "._R1.WAV",
    ".DS_Store",
    "Thumbs.db",
    "thumbs.DB",
    "users.json",
    "upload_log.json",
    "upload_log.json.backup_20251112",
    ".env",
    ".env.local",
    "x.wav.partial",
    ".uploader-1.partial",
    "._a\nb.wav",
  ])("%j", (name) => {
    expect(isNeverSent(name)).toBe(true);
  });

  it.each(["R1.WAV", ".hidden.wav", "my_users.json", "users.json.pdf", "environment.csv", "partial", "_R1.wav"])(
    "but %j is",
    (name) => {
      expect(isNeverSent(name)).toBe(false);
    },
  );
});

describe("Shimmer", () => {
  function changed(at: number, ...bytes: number[]): Uint8Array {
    const head = shimmerHead();
    head.set(bytes, at);
    return head;
  }

  it("asks only files without an extension or with .txt", () => {
    expect(["000", "d/001", "x__000.txt", "x.TXT"].filter(mayBeShimmer)).toHaveLength(4);
    expect(["x.bin", "x.wav", "x.txt.gz"].filter(mayBeShimmer)).toEqual([]);
  });

  it.each([
    ["Shimmer3", shimmerHead()],
    ["Shimmer3R", changed(30, 0, 10)],
    ["BtStream firmware", changed(34, 0, 1)],
    ["a divider above 255 only", changed(0, 0, 1)],
    ["more than its header", Uint8Array.from([...shimmerHead(), 1, 2, 3])],
  ])("knows the header of %s", (_, head) => {
    expect(looksLikeShimmer(head)).toBe(true);
  });

  it.each([
    ["too short", shimmerHead().subarray(0, 255)],
    ["other hardware", changed(30, 0, 4)],
    ["hardware in the wrong byte order", changed(30, 3, 0)],
    ["no firmware", changed(34, 0, 0)],
    ["unknown firmware", changed(34, 0xff, 0xff)],
    ["no sampling divider", changed(0, 0, 0)],
    ["an erased MAC", changed(24, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ["a MAC never written", changed(24, 0, 0, 0, 0, 0, 0)],
    ["text", Buffer.from("notes about the recording ".repeat(20))],
    ["all FF", new Uint8Array(256).fill(0xff)],
    ["all 00", new Uint8Array(256)],
  ])("does not know %s", (_, head) => {
    expect(looksLikeShimmer(head)).toBe(false);
  });

  it("reads a header that lies anywhere in memory", () => {
    const memory = new Uint8Array(300);
    memory.set(shimmerHead(), 7);
    expect(looksLikeShimmer(memory.subarray(7, 263))).toBe(true);
  });
});
