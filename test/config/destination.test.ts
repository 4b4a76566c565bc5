import { describe, expect, test } from "vitest";
import { destinationText, parseDestination } from "../../src/config.ts";

describe("parseDestination", () => {
  test.each([
    ["s3://reef-recordings", { kind: "s3", bucket: "reef-recordings", prefix: "" }, "s3://reef-recordings"],
    ["s3://reef/C2/", { kind: "s3", bucket: "reef", prefix: "C2" }, "s3://reef/C2"],
    ["S3://reef//a//b c?/%20", { kind: "s3", bucket: "reef", prefix: "a/b c?/%20" }, "s3://reef/a/b c?/%20"],
    ["s3://reef/e\u0301", { kind: "s3", bucket: "reef", prefix: "\u00e9" }, "s3://reef/\u00e9"],
    ["file:///mnt/nas/my%20archive/", { kind: "folder", path: "/mnt/nas/my archive" }, "/mnt/nas/my archive"],
    ["file://localhost/x", { kind: "folder", path: "/x" }, "/x"],
    ["./archive", { kind: "folder", path: "/base/archive" }, "/base/archive"],
    ["../archive/", { kind: "folder", path: "/archive" }, "/archive"],
    ["/a/../b", { kind: "folder", path: "/b" }, "/b"],
    ["2026:01", { kind: "folder", path: "/base/2026:01" }, "/base/2026:01"],
    ["~x", { kind: "folder", path: "/base/~x" }, "/base/~x"],
  ] as const)("%s", (text, place, canonical) => {
    expect(parseDestination(text, "/base")).toEqual(place);
    expect(destinationText(parseDestination(text, "/base"))).toBe(canonical);
    expect(parseDestination(canonical, "/elsewhere")).toEqual(place);
  });

  test.each([
    ["s3://", "it is missing"],
    ["s3:", "it is missing"],
    ["s3://ab", "3 to 63"],
    [`s3://${"a".repeat(64)}`, "3 to 63"],
    ["s3://Reef", "lower-case"],
    ["s3://reef_recordings", "lower-case"],
    ["s3://-reef", "begin and end"],
    ["s3://reef.", "begin and end"],
    ["s3://a..b", "two dots"],
    ["s3://192.168.0.1/x", "IP address"],
    ["s3://arn:aws:s3:eu-west-1:1:accesspoint/x", "access point"],
    ["s3://reef/a/../b", "segment"],
    ["s3://reef/a\0b", "NUL"],
    [`s3://reef/${"é".repeat(600)}`, "1024"],
    ["gs://reef", "gs: is not supported"],
    ["https://reef.s3.amazonaws.com/x", "https: is not supported"],
    ["file://nas/share", "whole path"],
    ["file:archive", "whole path"],
    ["file:///a%2fb", "not a valid file URL"],
    ["~/archive", "only a shell"],
    ["a\0b", "NUL"],
  ])("refuses %s", (text, problem) => {
    expect(() => parseDestination(text, "/base")).toThrow(
      expect.objectContaining({ code: "config_invalid", message: expect.stringContaining(problem) }),
    );
  });
});
