/** A webhook's other end over a real socket: keeps what it got, checks it with an independent library, answers as told. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

export const secret = `whsec_${Buffer.from("a secret of the tests, 32 bytes.").toString("base64")}`;
export const olderSecret = `whsec_${Buffer.from("the secret before that, 32 bytes").toString("base64")}`;

export interface Received {
  id: string;
  headers: IncomingMessage["headers"];
  method: string;
  path: string;
  body: Buffer;
  /** When it had been read, by `performance.now()`. */
  atMs: number;
  json(): unknown;
}

/** Answers, or does something else to the connection. Called when the request has been read to its end. */
export type Behaviour = (request: Received, response: ServerResponse) => void | Promise<void>;

export const answers =
  (status: number, body = "", headers: Record<string, string> = {}): Behaviour =>
  (_, response) => {
    response.writeHead(status, headers).end(body);
  };

export interface Receiver {
  url: string;
  port: number;
  received: Received[];
  /** What comes next, one for each request; then `otherwise`. */
  script: Behaviour[];
  otherwise: Behaviour;
  /** Called before the body is read. */
  onHead: ((request: IncomingMessage, response: ServerResponse) => boolean) | null;
  /** Throws when a request was not signed with this secret, by the letter of Standard Webhooks. */
  verify(request: Received, with_?: string): void;
  server: Server;
  close(): Promise<void>;
}

export async function startReceiver(
  options: { tls?: { key: string; cert: string }; host?: string } = {},
): Promise<Receiver> {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (receiver.onHead?.(request, response)) return;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const got: Received = {
      id: String(request.headers["webhook-id"]),
      headers: request.headers,
      method: request.method ?? "",
      path: request.url ?? "",
      body,
      atMs: performance.now(),
      json: () => JSON.parse(body.toString("utf8")),
    };
    receiver.received.push(got);
    await (receiver.script.shift() ?? receiver.otherwise)(got, response);
  };
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    // A client that goes away in the middle is part of the game.
    handle(request, response).catch(() => response.destroy());
  };
  const server: Server = options.tls ? createSecureServer(options.tls, listener) : createServer(listener);
  server.listen(0, options.host ?? "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const receiver: Receiver = {
    url: `${options.tls ? "https" : "http"}://${options.host === "::1" ? "[::1]" : "127.0.0.1"}:${port}/hook`,
    port,
    received: [],
    script: [],
    otherwise: answers(200),
    onHead: null,
    verify(request, with_ = secret) {
      new Webhook(with_).verify(request.body.toString("utf8"), request.headers as Record<string, string>);
    },
    server,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
