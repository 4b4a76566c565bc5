import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { createAnswerReader } from "../../src/adapters/s3/answer.ts";
import { proxyFor } from "../../src/adapters/s3/proxy.ts";
import { openWire, type Wire } from "../../src/adapters/s3/wire.ts";
import { bucket, type Fixture, MiB, noise, openFixture } from "./s3-fixture.ts";

const failing = (code: string) => expect.objectContaining({ code });

describe("an answer", () => {
  const read = (method: string, text: string, cut = text.length) => {
    const reader = createAnswerReader(method);
    const bytes = Buffer.from(text, "latin1");
    let complete = false;
    for (let at = 0; at < bytes.length; at += cut) complete = reader.push(bytes.subarray(at, at + cut));
    return { complete, reader };
  };
  const long = 'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 5\r\n\r\nhello';
  const chunked =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n";

  it.each([1, 2, 3, 7, 1_000])("is read whole, however it is cut (%d bytes)", (cut) => {
    const plain = read("PUT", long, cut);
    expect(plain.complete).toBe(true);
    expect(plain.reader.answer()).toMatchObject({ status: 200, headers: { etag: '"x"' } });
    expect(plain.reader.answer().body.toString()).toBe("hello");
    expect(plain.reader.keepAlive()).toBe(true);
    const pieces = read("POST", chunked, cut);
    expect(pieces.complete).toBe(true);
    expect(pieces.reader.answer().body.toString()).toBe("hello world");
    expect(pieces.reader.keepAlive()).toBe(true);
  });

  it("to HEAD, and 204, have no body whatever they announce", () => {
    expect(read("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").complete).toBe(true);
    expect(read("DELETE", "HTTP/1.1 204 No Content\r\n\r\n").complete).toBe(true);
  });

  it("without a length ends with its connection, and only then", () => {
    const { complete, reader } = read("GET", "HTTP/1.1 200 OK\r\n\r\nhello");
    expect(complete).toBe(false);
    expect(reader.end()).toBe(true);
    expect(reader.keepAlive()).toBe(false);
    expect(read("GET", long.slice(0, -1)).reader.end()).toBe(false);
  });

  it("followed by more than it announced does not leave its connection in use", () => {
    expect(read("PUT", `${long}HTTP/1.1 200 OK\r\n`).reader.keepAlive()).toBe(false);
    expect(read("PUT", long.replace("OK\r\n", "OK\r\nConnection: close\r\n")).reader.keepAlive()).toBe(false);
  });

  it.each([
    "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
    `HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}`,
  ])("that is none is refused (%#)", (text) => {
    expect(() => read("GET", text)).toThrow(failing("store_failed"));
  });
});

describe("a proxy", () => {
  const https = { protocol: "https:", hostname: "b.s3.eu-west-1.amazonaws.com", port: 443 };
  it.each([
    [{}, null],
    [{ HTTPS_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
    [{ https_proxy: "proxy:3128" }, "http://proxy:3128/"],
    [{ HTTP_PROXY: "http://proxy:3128" }, null],
    [{ ALL_PROXY: "http://proxy:3128" }, "http://proxy:3128/"],
    [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "localhost,.amazonaws.com" }, null],
    [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "amazonaws.com" }, null],
    [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "*" }, null],
    [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "amazonaws.com:8443" }, "http://proxy:3128/"],
    [{ HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "aws.com" }, "http://proxy:3128/"],
  ])("of %o is %s", (env, expected) => {
    expect(proxyFor(https, env)?.href ?? null).toBe(expected);
  });

  it.each(["::1", "[::1]", "[::1]:9000", "10.0.0.1, ::1"])(
    "is not for an address that NO_PROXY names: %s",
    (NO_PROXY) => {
      const target = { protocol: "http:", hostname: "::1", port: 9000 };
      expect(proxyFor(target, { HTTP_PROXY: "http://proxy:3128", NO_PROXY })).toBeNull();
    },
  );

  it("whose password is not encoded is refused without being shown", () => {
    const env = { HTTPS_PROXY: "http://user:hush%@proxy" };
    expect(() => proxyFor(https, env)).toThrow(failing("config_invalid"));
    expect(() => proxyFor(https, env)).not.toThrow(/hush/);
  });

  it("that is no URL is refused without being shown: it may hold a password", () => {
    const env = { HTTPS_PROXY: "socks5://user:hush@proxy" };
    expect(() => proxyFor(https, env)).toThrow(failing("config_invalid"));
    expect(() => proxyFor(https, env)).not.toThrow(/hush/);
  });
});

/** A server that answers by hand; each request's head is handed to `answer`. */
async function scripted(answer: (socket: net.Socket, head: string, count: number) => void) {
  let count = 0;
  const server = net.createServer((socket) => {
    let held = "";
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      held += chunk.toString("latin1");
      for (let end = held.indexOf("\r\n\r\n"); end >= 0; end = held.indexOf("\r\n\r\n")) {
        const head = held.slice(0, end + 4);
        held = held.slice(end + 4);
        answer(socket, head, ++count);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as net.AddressInfo).port };
}

describe("connections", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  async function wireTo(
    answer: Parameters<typeof scripted>[0],
    changes: { maxConnections?: number } = {},
  ): Promise<Wire> {
    const { server, port } = await scripted(answer);
    const wire = openWire({
      route: {
        protocol: "http:",
        hostname: "127.0.0.1",
        port,
        proxy: null,
        secureContext: null,
        session: { ticket: null },
      },
      maxConnections: 2,
      connectMs: 1_000,
      tickMs: 5,
      ...changes,
    });
    closers.push(
      () => wire.close(),
      () => server.close(),
    );
    return wire;
  }
  const get = (wire: Wire, method = "GET") =>
    wire.send(
      { method, target: "/x", headerLines: "host: x\r\n", body: null },
      { signal: new AbortController().signal, idleMs: 1_000, totalMs: 5_000 },
    );
  const fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

  it("are kept and used again, and never more than allowed", async () => {
    const sockets = new Set<net.Socket>();
    const wire = await wireTo((socket) => {
      sockets.add(socket);
      setImmediate(() => socket.write(fine));
    });
    await Promise.all(Array.from({ length: 20 }, () => get(wire)));
    expect(sockets.size).toBe(2);
  });

  it("closed by the server after an answer are replaced", async () => {
    const wire = await wireTo((socket) => socket.end(fine.replace("OK\r\n", "OK\r\nConnection: close\r\n")));
    for (let at = 0; at < 3; at++) expect((await get(wire)).status).toBe(200);
  });

  it("closed just as a request goes out are no failure, but for POST", async () => {
    const wire = await wireTo((socket, _, count) => (count % 2 === 1 ? socket.write(fine) : socket.destroy()));
    await get(wire);
    expect((await get(wire)).status).toBe(200);
    await expect(get(wire, "POST")).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("that end in the middle of an answer fail", async () => {
    const wire = await wireTo((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
    await expect(get(wire)).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  it("do not serve again after an answer that overtook its body", async () => {
    const heads: string[] = [];
    const wire = await wireTo(
      (socket, head) => {
        heads.push(head);
        if (head.startsWith("PUT")) {
          socket.pause();
          socket.write("HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n");
        } else socket.write(fine);
      },
      { maxConnections: 1 },
    );
    const { signal } = new AbortController();
    const answer = await wire.send(
      { method: "PUT", target: "/x", headerLines: `content-length: ${32 * MiB}\r\n`, body: Buffer.alloc(32 * MiB) },
      { signal, idleMs: 1_000, totalMs: 5_000 },
    );
    expect(answer.status).toBe(503);
    expect((await get(wire)).status).toBe(200);
    expect(heads.map((head) => head.split(" ")[0])).toEqual(["PUT", "GET"]);
  });

  it("are given up when nobody listens", async () => {
    const { server, port } = await scripted(() => undefined);
    server.close();
    await once(server, "close");
    const wire = openWire({
      route: {
        protocol: "http:",
        hostname: "127.0.0.1",
        port,
        proxy: null,
        secureContext: null,
        session: { ticket: null },
      },
      maxConnections: 1,
      connectMs: 1_000,
      tickMs: 5,
    });
    closers.push(() => wire.close());
    await expect(get(wire)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(get(wire)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("waiting for a turn end with the abort", async () => {
    const wire = await wireTo(() => undefined, { maxConnections: 1 });
    const stop = new AbortController();
    const ask = () =>
      wire.send(
        { method: "GET", target: "/", headerLines: "", body: null },
        { signal: stop.signal, idleMs: 5_000, totalMs: 5_000 },
      );
    const both = Promise.allSettled([ask(), ask()]);
    stop.abort(new Error("enough"));
    expect((await both).map((one) => one.status === "rejected" && one.reason.message)).toEqual(["enough", "enough"]);
  });

  it("whose turn comes with the abort leave it to the next who waits", async () => {
    const heads: string[] = [];
    const wire = await wireTo(
      (socket, head) => {
        heads.push(head);
        if (head.startsWith("PUT")) socket.write(fine);
      },
      { maxConnections: 1 },
    );
    const stop = new AbortController();
    const ask = (method: string, signal: AbortSignal) =>
      wire.send({ method, target: "/", headerLines: "", body: null }, { signal, idleMs: 5_000, totalMs: 5_000 });
    const first = ask("GET", stop.signal);
    await expect.poll(() => heads).toHaveLength(1);
    const both = Promise.allSettled([first, ask("GET", stop.signal)]);
    const next = ask("PUT", new AbortController().signal);
    stop.abort(new Error("enough"));
    expect((await both).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect((await next).status).toBe(200);
  });

  it("are refused to whoever waits when all are closed", async () => {
    const wire = await wireTo(() => undefined, { maxConnections: 1 });
    const all = Promise.allSettled([get(wire), get(wire), get(wire)]);
    wire.close();
    expect((await all).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
  });
});

const openssl = spawnSync("openssl", ["version"]).status === 0;

describe.skipIf(!openssl)("over TLS", () => {
  let fixture: Fixture;
  let folder: string;

  async function open(): Promise<{ env: Record<string, string> }> {
    folder = mkdtempSync(join(tmpdir(), "uploader-tls-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"];
    const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject];
    execFileSync("openssl", made, { stdio: "ignore" });
    fixture = await openFixture({ tls: { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") } });
    return { env: { ...(fixture.options.env as Record<string, string>), AWS_CA_BUNDLE: cert } };
  }
  afterEach(async () => {
    await fixture.close();
    rmSync(folder, { recursive: true });
  });
  const hooks = () => ({ signal: new AbortController().signal, uploads: fixture.memory, onBytes: () => undefined });

  it("payloads are signed until the endpoint has echoed a checksum, then no longer", async () => {
    const { env } = await open();
    const destination = await fixture.open({ env });
    for (const key of ["a", "b"]) await destination.put(fixture.job(key, fixture.file(key, noise(300_000))), hooks());
    const big = noise(20 * MiB);
    expect(await destination.put(fixture.job("big", fixture.file("big", big)), hooks())).toMatchObject({
      object: { proof: "checksum_echoed" },
    });
    const payloads = fixture.s3.log.filter((entry) => entry.method === "PUT").map((entry) => entry.payload);
    expect(payloads[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(payloads.slice(1))).toEqual(new Set(["UNSIGNED-PAYLOAD"]));
    expect(fixture.s3.object(bucket, "big")!.bytes().equals(big)).toBe(true);
  });

  it("a certificate that nobody vouches for stops the run, naming the way out", async () => {
    await open();
    const putting = fixture.destination.put(fixture.job("a", fixture.file("a", noise(10))), hooks());
    await expect(putting).rejects.toThrow(
      expect.objectContaining({ code: "store_unreachable", hint: expect.stringContaining("AWS_CA_BUNDLE") }),
    );
  });

  it("a proxy is asked for a tunnel, with its password, and sees no more than the host", async () => {
    const { env } = await open();
    const heads: string[] = [];
    const { server, port } = await scripted((socket, head) => {
      if (!head.startsWith("CONNECT ")) return;
      heads.push(head);
      const [host, targetPort] = head.split(" ")[1]!.split(":");
      socket.removeAllListeners("data");
      const onward = net.connect(Number(targetPort), host, () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
        socket.pipe(onward).pipe(socket);
      });
      onward.on("error", () => socket.destroy());
    });
    const destination = await fixture.open({ env: { ...env, HTTPS_PROXY: `http://user:hush@127.0.0.1:${port}` } });
    expect(await destination.put(fixture.job("a", fixture.file("a", noise(10))), hooks())).toMatchObject({
      outcome: "stored",
    });
    expect(heads).toHaveLength(1);
    expect(heads[0]).toContain(`proxy-authorization: Basic ${Buffer.from("user:hush").toString("base64")}`);
    await destination.close();
    server.close();
  });

  it("a proxy that refuses is named, its password is not", async () => {
    const { env } = await open();
    const { server, port } = await scripted((socket) =>
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    );
    const destination = await fixture.open({ env: { ...env, HTTPS_PROXY: `http://user:hush@127.0.0.1:${port}` } });
    const refused = await destination
      .put(fixture.job("a", fixture.file("a", noise(10))), hooks())
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "store_unreachable", message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(String(refused)).not.toContain("hush");
    server.close();
  });
});

describe("over plain http", () => {
  it("a proxy that wants a password stops the run, as it does over https", async () => {
    const fixture = await openFixture();
    const { server, port } = await scripted((socket) =>
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
    );
    const destination = await fixture.open({ env: { ...fixture.options.env, HTTP_PROXY: `127.0.0.1:${port}` } });
    await expect(
      destination.put(fixture.job("a", fixture.file("a", noise(10))), {
        signal: new AbortController().signal,
        uploads: fixture.memory,
        onBytes: () => undefined,
      }),
    ).rejects.toMatchObject({
      code: "store_unreachable",
      hint: expect.stringContaining("HTTP_PROXY"),
    });
    await destination.close();
    server.close();
    await fixture.close();
  });

  it("a proxy gets whole URLs", async () => {
    const fixture = await openFixture();
    const heads: string[] = [];
    const { server, port } = await scripted((socket, head) => {
      heads.push(head);
      socket.removeAllListeners("data");
      const onward = net.connect(fixture.s3.port, "127.0.0.1");
      onward.write(head.replace(fixture.s3.endpoint, ""), "latin1");
      socket.pipe(onward).pipe(socket);
    });
    const destination = await fixture.open({ env: { ...fixture.options.env, HTTP_PROXY: `127.0.0.1:${port}` } });
    expect(await destination.head("none", new AbortController().signal)).toBe("absent");
    expect(heads[0]).toMatch(new RegExp(`^HEAD ${fixture.s3.endpoint}/${bucket}/none HTTP/1.1`));
    await destination.close();
    server.close();
    await fixture.close();
  });
});
