/** What endpoints may do to a client, over real sockets. */
import type { lookup } from "node:dns";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deadlines, isForbidden, openWebhook, type WebhookOptions } from "../../src/adapters/webhook.ts";
import type { WebhookAnswer } from "../../src/core/deliveries.ts";
import { selfSignedCertificate } from "../support/certificate.ts";
import { answers, type Receiver, startReceiver } from "../support/receiver.ts";

let receiver: Receiver;
const closing: (() => void)[] = [];
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await receiver.close();
});

async function* once_(text: string): AsyncIterable<string> {
  yield text;
}

interface Post extends Partial<WebhookOptions> {
  body?: AsyncIterable<string>;
  bodyBytes?: number;
  timeoutMs?: number;
  signal?: AbortSignal;
}

function post(url: string, { body, bodyBytes, timeoutMs, signal, ...options }: Post = {}): Promise<WebhookAnswer> {
  return openWebhook({ allowLinkLocal: false, env: {}, ...options }).post(
    {
      url,
      headers: { "content-type": "application/json", "webhook-id": "msg_1" },
      bodyBytes: bodyBytes ?? 2,
      body: body ?? once_("{}"),
      timeoutMs: timeoutMs ?? 5_000,
    },
    signal ?? new AbortController().signal,
  );
}

/** A server that does with the connection what it likes, once it has got something. */
async function rawServer(onData: (socket: Socket) => void): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    closing.push(() => socket.destroy());
    socket.once("data", () => onData(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}

const head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";

describe("one POST", () => {
  it("sends headers and the streamed body, and gives status, text, Retry-After and Location", async () => {
    receiver.otherwise = answers(503, "later", { "retry-after": "7", location: "https://elsewhere.example/x" });
    const pieces = ["{", '"é":', "1}"];
    const bodyBytes = Buffer.byteLength(pieces.join(""));
    const body = (async function* () {
      yield* pieces;
    })();
    expect(await post(`${receiver.url}?a=1`, { body, bodyBytes })).toEqual({
      status: 503,
      retryAfter: "7",
      location: "https://elsewhere.example/x",
      text: "later",
    });
    const [got] = receiver.received;
    expect([got!.method, got!.path, got!.body.toString()]).toEqual(["POST", "/hook?a=1", '{"é":1}']);
    expect(got!.headers).toMatchObject({
      "webhook-id": "msg_1",
      "content-length": String(bodyBytes),
      "user-agent": "uploader",
    });
  });

  it("user and password of the URL become a header", async () => {
    await post(receiver.url.replace("http://", "http://us%40er:p%3Aw@"));
    expect(receiver.received[0]!.headers.authorization).toBe(`Basic ${Buffer.from("us@er:p:w").toString("base64")}`);
  });

  it("a large body does not wait in memory for an endpoint that does not read", async () => {
    receiver.onHead = () => true;
    let yielded = 0;
    const body = (async function* () {
      for (; yielded < 500; yielded++) yield "x".repeat(64 * 1024);
    })();
    await expect(post(receiver.url, { body, bodyBytes: 500 * 64 * 1024, timeoutMs: 300 })).rejects.toMatchObject({
      code: "timed_out",
    });
    expect(yielded).toBeLessThan(200);
  });

  it("the body's own error comes through as it is", async () => {
    const mine = Object.assign(new Error("the database is away"), { name: "Mine" });
    const body = (async function* () {
      yield "{";
      throw mine;
    })();
    await expect(post(receiver.url, { body, bodyBytes: 10 })).rejects.toBe(mine);
  });
});

describe("endpoints that misbehave", () => {
  it("never answers: timed_out", async () => {
    const url = await rawServer(() => undefined);
    await expect(post(url, { timeoutMs: 150 })).rejects.toMatchObject({ code: "timed_out" });
  });

  it("never ends its answer, a byte at a time: the total ends it, and the status counts", async () => {
    const url = await rawServer((socket) => {
      socket.write(`${head}content-length: 100000\r\n\r\n`);
      const drip = setInterval(() => socket.write("x"), 20);
      closing.push(() => clearInterval(drip));
    });
    const answer = await post(url, { timeoutMs: 300 });
    expect(answer.status).toBe(200);
    expect(answer.text.length).toBeLessThan(100);
  });

  it("drips its head for ever: the total ends it", async () => {
    const url = await rawServer((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const drip = setInterval(() => socket.write("x-a: b\r\n"), 20);
      closing.push(() => clearInterval(drip));
    });
    await expect(post(url, { timeoutMs: 300 })).rejects.toMatchObject({ code: "timed_out" });
  });

  it("closes before it answers: network_lost", async () => {
    const url = await rawServer((socket) => socket.destroy());
    await expect(post(url)).rejects.toMatchObject({ code: "network_lost" });
  });

  it("closes in the middle of its answer: the status counts", async () => {
    const url = await rawServer((socket) => socket.end(`${head}content-length: 100\r\n\r\n{"job`));
    expect(await post(url)).toMatchObject({ status: 200, text: '{"job' });
  });

  it("answers 5 GB: 64 KiB are read, and the connection is cut", async () => {
    let sent = 0;
    const url = await rawServer((socket) => {
      socket.write(`${head}content-length: 5000000000\r\n\r\n`);
      const chunk = Buffer.alloc(256 * 1024, 120);
      const more = (): void => {
        while (!socket.destroyed && sent < 5e9) {
          sent += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on("drain", more);
      more();
    });
    const answer = await post(url);
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.text).toHaveLength(64 * 1024);
    expect(sent).toBeLessThan(50e6);
  });

  it("speaks something else: network_lost", async () => {
    const url = await rawServer((socket) => socket.write("220 mail.example ESMTP\r\n"));
    await expect(post(url)).rejects.toMatchObject({ code: "network_lost" });
  });

  it("answers before it has read the body, and closes: its answer counts", async () => {
    receiver.onHead = (_, response) => {
      response.writeHead(401, { connection: "close" }).end("who are you");
      return true;
    };
    const body = (async function* () {
      for (let n = 0; n < 100; n++) yield "x".repeat(10_000);
    })();
    expect(await post(receiver.url, { body, bodyBytes: 1_000_000 })).toMatchObject({
      status: 401,
      text: "who are you",
    });
  });

  it("redirects: an answer like any other", async () => {
    receiver.script = [answers(302, "", { location: `${receiver.url}/2` })];
    expect(await post(receiver.url)).toMatchObject({ status: 302 });
    expect(receiver.received).toHaveLength(1);
  });

  it("nobody listens, or the name is unknown: network_lost", async () => {
    await expect(post("http://127.0.0.1:1/")).rejects.toMatchObject({ code: "network_lost" });
    const unknown = ((_: string, __: object, done: (error: Error) => void) =>
      done(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }))) as unknown as typeof lookup;
    await expect(post("http://nowhere.example/", { lookup: unknown })).rejects.toMatchObject({ code: "network_lost" });
  });

  it("a certificate that nobody vouches for: network_lost, and nothing was sent", async () => {
    const secure = await startReceiver({ tls: selfSignedCertificate(new Date()) });
    closing.push(() => void secure.close());
    await expect(post(secure.url)).rejects.toMatchObject({
      code: "network_lost",
      message: expect.stringContaining("SELF_SIGNED"),
    });
    expect(secure.received).toEqual([]);
  });

  it("is stopped from outside", async () => {
    const url = await rawServer(() => stop.abort());
    const stop = new AbortController();
    await expect(post(url, { signal: stop.signal })).rejects.toMatchObject({
      code: expect.stringMatching(/timed_out|network_lost/),
    });
  });
});

/** Says these addresses, one answer after the other; then the last again. */
function resolver(...rounds: string[][]): typeof lookup {
  return ((_: string, __: object, done: (error: null, addresses: { address: string; family: number }[]) => void) => {
    const round = rounds.length > 1 ? rounds.shift()! : rounds[0]!;
    done(
      null,
      round.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  }) as unknown as typeof lookup;
}

describe("addresses that are not asked", () => {
  it.each([
    "169.254.169.254",
    "169.254.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
  ])("%s", (address) => expect(isForbidden(address)).toBe(true));

  it.each([
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "fd12:3456::1",
    "8.8.8.8",
    "2001:db8::1",
    "64:ff9b::808:808",
    "::ffff:10.0.0.1",
  ])("%s may be asked", (address) => expect(isForbidden(address)).toBe(false));

  it.each([
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://[fe80::1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://0/",
  ])("%s, before anything is sent", async (url) => {
    await expect(post(url, { timeoutMs: 200 })).rejects.toMatchObject({
      code: "config_invalid",
      hint: expect.stringContaining("allowLinkLocal"),
    });
  });

  it("a name that leads there, even beside a good address", async () => {
    const url = `http://hook.example:${receiver.port}/hook`;
    await expect(post(url, { lookup: resolver(["127.0.0.1", "169.254.169.254"]) })).rejects.toMatchObject({
      code: "config_invalid",
    });
    expect(receiver.received).toEqual([]);
    expect(await post(url, { lookup: resolver(["127.0.0.1"]) })).toMatchObject({ status: 200 });
    expect(receiver.received[0]!.headers.host).toBe(`hook.example:${receiver.port}`);
  });

  it("a name that changes its mind: what was looked at is what is connected to", async () => {
    let asked = 0;
    const rebinding = resolver(["127.0.0.1"], ["169.254.169.254"]);
    const counting = ((...call: Parameters<typeof rebinding>) => {
      asked++;
      return rebinding(...call);
    }) as unknown as typeof lookup;
    const url = `http://hook.example:${receiver.port}/hook`;
    expect(await post(url, { lookup: counting })).toMatchObject({ status: 200 });
    expect(asked).toBe(1);
    await expect(post(url, { lookup: counting })).rejects.toMatchObject({ code: "config_invalid" });
  });

  it("unless they are allowed", async () => {
    const stop = new AbortController();
    stop.abort();
    const refused = post("http://169.254.169.254/", { allowLinkLocal: true, signal: stop.signal });
    await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/timed_out|network_lost/) });
  });
});

describe("through a proxy", () => {
  /** Forwards plain requests and CONNECT to wherever it is told, by port only, and notes what it was asked. */
  async function startProxy(): Promise<{ url: string; asked: string[]; authorizations: (string | undefined)[] }> {
    const asked: string[] = [];
    const authorizations: (string | undefined)[] = [];
    const server = createHttpServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      authorizations.push(request.headers["proxy-authorization"]);
      request.resume().on("end", () => response.writeHead(202).end("by proxy"));
    });
    server.on("connect", (request, socket: Socket) => {
      asked.push(`CONNECT ${request.url}`);
      authorizations.push(request.headers["proxy-authorization"]);
      const to = connect(Number(request.url?.split(":").at(-1)), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        to.pipe(socket).pipe(to);
      });
      for (const one of [to, socket]) one.on("error", () => socket.destroy());
      closing.push(() => to.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://me:pw@127.0.0.1:${(server.address() as AddressInfo).port}`, asked, authorizations };
  }

  it("plain: the whole URL, with the proxy's credentials", async () => {
    const proxy = await startProxy();
    expect(await post("http://hook.example/in?a=1", { env: { HTTP_PROXY: proxy.url } })).toMatchObject({
      status: 202,
      text: "by proxy",
    });
    expect(proxy.asked).toEqual(["POST http://hook.example:80/in?a=1"]);
    expect(proxy.authorizations).toEqual([`Basic ${Buffer.from("me:pw").toString("base64")}`]);
  });

  it("https: through a tunnel, verified at its end", async () => {
    const proxy = await startProxy();
    const secure = await startReceiver({ tls: selfSignedCertificate(new Date()) });
    closing.push(() => void secure.close());
    const refused = post(secure.url, { env: { HTTPS_PROXY: proxy.url } });
    await expect(refused).rejects.toMatchObject({
      code: "network_lost",
      message: expect.stringContaining("SELF_SIGNED"),
    });
    expect(proxy.asked).toEqual([`CONNECT 127.0.0.1:${secure.port}`]);
  });

  it("NO_PROXY, and a metadata address that it would be asked for", async () => {
    const proxy = await startProxy();
    const env = { HTTP_PROXY: proxy.url, NO_PROXY: "127.0.0.1" };
    expect(await post(receiver.url, { env })).toMatchObject({ status: 200 });
    await expect(post("http://169.254.169.254/", { env })).rejects.toMatchObject({ code: "config_invalid" });
    expect(proxy.asked).toEqual([]);
  });
});

it("deadlines: a large body has the time that a slow line takes", () => {
  expect(deadlines(30_000, 200)).toMatchObject({ connectMs: 10_000, idleMs: 30_000 });
  expect(deadlines(30_000, 0).totalMs).toBe(30_000);
  expect(deadlines(30_000, 64 * 1024 * 100).totalMs).toBe(130_000);
  expect(deadlines(2_000, 0).connectMs).toBe(2_000);
});
