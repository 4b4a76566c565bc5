import { describe, expect, it } from "vitest";
import { compareKeys, displayBytes, joinKey, keyProblem, siblingKeys } from "../../src/core/key.ts";

describe("keyProblem", () => {
  it.each([
    " a ",
    "a\nb",
    "'\"`",
    "%41+%2F",
    "🎙️.wav",
    "...",
    "..a/b..",
    ".hidden",
    "\u0001",
    "a\\b",
    "x".repeat(1024),
    "é".repeat(512),
    "\ufffd",
  ])("lets %j pass", (key) => {
    expect(keyProblem(key)).toBeNull();
  });

  it.each([
    ["", "empty"],
    ["x".repeat(1025), "1024 bytes"],
    ["é".repeat(513), "1024 bytes"],
    ["🎙".repeat(257), "1024 bytes"],
    ["a\0b", "NUL"],
    ["a\ud83c", "UTF-8"],
    ["\udf99b", "UTF-8"],
    [".", "segment"],
    ["..", "segment"],
    ["a/./b", "segment"],
    ["../a", "segment"],
    ["a/..", "segment"],
    ["/a", "empty segment"],
    ["a//b", "empty segment"],
    ["a/", "empty segment"],
  ])("refuses %j: %s", (key, reason) => {
    expect(keyProblem(key)).toContain(reason);
  });
});

describe("joinKey", () => {
  it.each([
    ["", "a/b", "a/b"],
    ["/", "a", "a"],
    ["C1", "a/b", "C1/a/b"],
    ["C1/", "a", "C1/a"],
    ["/C1//x/", "a", "C1/x/a"],
    [" C1 ", " a ", " C1 / a "],
  ])("puts %j before %j", (prefix, key, joined) => {
    expect(joinKey(prefix, key)).toBe(joined);
  });
});

describe("compareKeys", () => {
  it("orders as the bytes of UTF-8 do, not as UTF-16", () => {
    const keys = [
      "b",
      "a/b",
      "a",
      "a.wav",
      "a0",
      "é",
      "z",
      "\uffee",
      "\u{1f399}",
      "\ud7ff",
      "\ue000",
      "",
      "a\u{1f399}",
    ];
    const byBytes = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect([...keys].sort(compareKeys)).toEqual(byBytes);
    expect([...keys].reverse().sort(compareKeys)).toEqual(byBytes);
  });
});

describe("siblingKeys", () => {
  const nfc = "caf\u00e9.wav";
  const nfd = "cafe\u0301.wav";

  it("leaves names in NFC alone", () => {
    expect(siblingKeys(["a", nfc, "日本", "🎙"]).size).toBe(0);
  });

  it("normalises a name whose NFC form is free", () => {
    expect(siblingKeys(["a", nfd])).toEqual(new Map([[nfd, { key: nfc, note: "normalised" }]]));
  });

  it.each([[[nfc, nfd]], [[nfd, nfc]]])("keeps a name's own form when a sibling has the NFC one: %j", (names) => {
    expect(siblingKeys(names)).toEqual(new Map([[nfd, { key: nfd, note: "kept_own_form" }]]));
  });

  it("gives the NFC form to one of two names that share it, the same one in any order", () => {
    // Two marks in either order, and the letter with one of them already joined: all one NFC form.
    const forms = ["s\u0323\u0307", "s\u0307\u0323", "\u1e63\u0307", "\u1e61\u0323"];
    const nfcForm = "\u1e69";
    const odd = forms.filter((form) => form !== nfcForm);
    const keys = siblingKeys(odd);
    expect(keys).toEqual(siblingKeys([...odd].reverse()));
    expect(new Set(odd.map((name) => keys.get(name)?.key)).size).toBe(odd.length);
    expect([...keys.values()].filter(({ note }) => note === "normalised")).toEqual([
      { key: nfcForm, note: "normalised" },
    ]);
  });
});

describe("displayBytes", () => {
  it.each<[string, number[], string]>([
    ["a stray byte", [0x61, 0xff, 0x62], "a\\xffb"],
    ["Latin-1", [0x63, 0x61, 0x66, 0xe9], "caf\\xe9"],
    ["valid UTF-8 beside an odd byte", [0xc3, 0xa9, 0x80], "é\\x80"],
    ["a sequence cut short", [0xf0, 0x9f, 0x8e], "\\xf0\\x9f\\x8e"],
    ["an overlong slash", [0xc0, 0xaf], "\\xc0\\xaf"],
    ["half a surrogate pair", [0xed, 0xa0, 0x80], "\\xed\\xa0\\x80"],
    ["a backslash, doubled so that it is not taken for ours", [0x5c, 0x78, 0xff], "\\\\x\\xff"],
  ])("shows %s", (_, bytes, shown) => {
    expect(displayBytes(Uint8Array.from(bytes))).toBe(shown);
  });
});
