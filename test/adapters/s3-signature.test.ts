import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf, encodePath, identityOf } from "../../src/adapters/s3/address.ts";
import { createSigner, emptyPayloadHash } from "../../src/adapters/s3/signature.ts";
import { bucket, type Fixture, noise, openFixture } from "./s3-fixture.ts";

describe("the signature", () => {
  // The worked examples of AWS's "Signature Calculations for the Authorization Header", with its example keys.
  const credentials = {
    accessKeyId: "AKIAIOSFODNN7EXAMPLE",
    secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  };
  const host = "examplebucket.s3.amazonaws.com";
  const nowMs = Date.UTC(2013, 4, 24);
  const sign = createSigner();

  it("of a GET with a range equals the published one", () => {
    const lines = sign(
      {
        method: "GET",
        path: "/test.txt",
        query: "",
        host,
        headers: { range: "bytes=0-9" },
        payloadHash: emptyPayloadHash,
      },
      credentials,
      "us-east-1",
      nowMs,
    );
    expect(lines).toContain("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41\r\n");
  });

  it("of a PUT with an awkward key equals the published one, the derived key kept or not", () => {
    const request = {
      method: "PUT",
      path: `/${encodePath("test$file.text")}`,
      query: "",
      host,
      headers: { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      payloadHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    };
    const published = "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd\r\n";
    expect(sign(request, credentials, "us-east-1", nowMs)).toContain(published);
    expect(sign(request, credentials, "eu-west-1", nowMs)).not.toContain(published);
    expect(sign(request, credentials, "us-east-1", nowMs + 86_400_000)).not.toContain(published);
    expect(sign(request, credentials, "us-east-1", nowMs)).toContain(published);
  });

  it("of a listing equals the published one", () => {
    const lines = sign(
      { method: "GET", path: "/", query: "max-keys=2&prefix=J", host, headers: {}, payloadHash: emptyPayloadHash },
      credentials,
      "us-east-1",
      nowMs,
    );
    expect(lines).toContain("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7\r\n");
  });
});

describe("beside the SDK", () => {
  let fixture: Fixture;
  let sdk: S3Client;
  beforeAll(async () => {
    fixture = await openFixture();
    sdk = new S3Client({
      endpoint: fixture.s3.endpoint,
      region: fixture.s3.region,
      credentials: fixture.s3.credential,
      forcePathStyle: true,
    });
  });
  afterAll(async () => {
    sdk.destroy();
    await fixture.close();
  });

  it.each([
    "plain.wav",
    "a b.wav",
    " leading and trailing ",
    "line\nbreak",
    "tab\there",
    `"double" 'single' \`back\``,
    "100 % + 7 & <a> ; # ? = @ : , $ * ! ~ | \\ ^ [x] {y} ()",
    "%41%2F+%20",
    "🎙️ Ünïcödé 日本語",
    "e\u0301",
    ".hidden/..name/...",
    "dir/sub/file",
    "-dash_under.dot~tilde",
  ])("the same request for %j", async (key) => {
    const bytes = noise(1_234, 5);
    fixture.s3.forget();
    await fixture.put(fixture.job(key, { kind: "bytes", bytes }, { metadata: { note: "two  blanks" } }));
    await sdk.send(
      new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: bytes,
        ContentType: "audio/wav",
        ChecksumAlgorithm: "CRC32",
        Metadata: { note: "two  blanks" },
      }),
    );
    const [ours, theirs] = fixture.s3.log;
    expect([ours!.status, theirs!.status]).toEqual([200, 200]);
    expect([ours!.key, ours!.operation]).toEqual([key, "PutObject"]);
    expect(theirs!.key).toBe(key);
    for (const name of [
      "host",
      "content-length",
      "content-type",
      "x-amz-checksum-crc32",
      "x-amz-content-sha256",
      "x-amz-meta-note",
    ]) {
      expect(ours!.headers[name], name).toBe(theirs!.headers[name]);
    }
    expect(fixture.s3.object(bucket, key)!.bytes().equals(bytes)).toBe(true);
  });
});

describe("where a bucket is", () => {
  const at = (changes: Partial<Parameters<typeof addressOf>[0]>) => {
    const { protocol, host, basePath, port } = addressOf({
      bucket: "reef",
      region: "eu-west-1",
      endpoint: null,
      forcePathStyle: undefined,
      ...changes,
    });
    return `${protocol}//${host}${basePath} ${port}`;
  };

  it.each([
    ["AWS, virtual host", {}, "https://reef.s3.eu-west-1.amazonaws.com 443"],
    ["AWS in China", { region: "cn-north-1" }, "https://reef.s3.cn-north-1.amazonaws.com.cn 443"],
    ["a dot in the name", { bucket: "reef.one" }, "https://s3.eu-west-1.amazonaws.com/reef.one 443"],
    ["path style by wish", { forcePathStyle: true }, "https://s3.eu-west-1.amazonaws.com/reef 443"],
    ["an address", { endpoint: "http://127.0.0.1:9000" }, "http://127.0.0.1:9000/reef 9000"],
    ["an IPv6 address", { endpoint: "http://[::1]:9000" }, "http://[::1]:9000/reef 9000"],
    [
      "an address never takes a label",
      { endpoint: "http://127.0.0.1", forcePathStyle: false },
      "http://127.0.0.1/reef 80",
    ],
    ["another store", { endpoint: "https://s3.example.org/" }, "https://s3.example.org/reef 443"],
    [
      "another store, virtual host",
      { endpoint: "https://s3.example.org", forcePathStyle: false },
      "https://reef.s3.example.org 443",
    ],
    ["below a path", { endpoint: "https://example.org/store/" }, "https://example.org/store/reef 443"],
    [
      "AWS named as endpoint",
      { endpoint: "https://s3.eu-west-1.amazonaws.com" },
      "https://reef.s3.eu-west-1.amazonaws.com 443",
    ],
  ])("%s", (_, changes, expected) => {
    expect(at(changes)).toBe(expected);
  });

  it("has an identity that no region or spelling changes", () => {
    expect(identityOf("reef", null)).toBe("s3://reef");
    expect(identityOf("reef", "https://s3.eu-west-1.amazonaws.com")).toBe("s3://reef");
    expect(identityOf("reef", "http://Store.example.org")).toBe("s3+http://store.example.org:80/reef");
    expect(identityOf("reef", "https://store.example.org:443/")).toBe("s3+https://store.example.org:443/reef");
  });

  it("refuses what is no address", () => {
    for (const endpoint of ["s3.example.org", "ftp://example.org", "https://"]) {
      expect(() => at({ endpoint })).toThrow(expect.objectContaining({ code: "config_invalid" }));
    }
  });
});
