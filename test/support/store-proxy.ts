/**
 * A wire between a client and the strict server that can be stopped at either end of a request. The server's own faults
 * say what an answer looks like; this says exactly when somebody dies.
 */
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request by the name of what it does: `PUT C1/a.wav`, `PUT C1/big.wav part 2`, `POST C1/big.wav uploads`. */
export type RequestName = string;

export interface StoreProxy {
  readonly endpoint: string;
  /** Called before a request is passed on, and before its answer is. False: the connection is reset instead. */
  onRequest: (name: RequestName, at: "request" | "answer") => Promise<boolean>;
  close(): Promise<void>;
}

const always = async (): Promise<boolean> => true;

export async function startStoreProxy(endpoint: string, bucket: string): Promise<StoreProxy> {
  const { hostname, port } = new URL(endpoint);
  const agent = new Agent({ keepAlive: true });

  /** Headers go through as they came, `Host` too: it is part of what is signed. */
  const pass = (incoming: IncomingMessage): Promise<{ head: IncomingMessage; body: Buffer }> =>
    new Promise((resolve, reject) => {
      const { method, url: path, rawHeaders } = incoming;
      const outgoing = request({ agent, hostname, port, method, path, headers: rawHeaders }, (head) => {
        const chunks: Buffer[] = [];
        head.on("data", (chunk: Buffer) => chunks.push(chunk));
        head.on("error", reject);
        head.on("end", () => resolve({ head, body: Buffer.concat(chunks) }));
      });
      outgoing.on("error", reject);
      incoming.on("error", reject);
      incoming.once("close", () => incoming.complete || outgoing.destroy());
      incoming.pipe(outgoing);
    });

  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const name = nameOf(incoming, bucket);
    if (!(await proxy.onRequest(name, "request"))) return void incoming.socket.resetAndDestroy();
    const answer = await pass(incoming).catch(() => null);
    if (answer === null || !(await proxy.onRequest(name, "answer"))) return void incoming.socket.resetAndDestroy();
    response.writeHead(answer.head.statusCode ?? 502, answer.head.rawHeaders);
    response.end(answer.body);
  };

  const server = createServer((incoming, response) => void serve(incoming, response));
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: StoreProxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    onRequest: always,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
  return proxy;
}

function nameOf({ method, url }: IncomingMessage, bucket: string): RequestName {
  const { pathname, searchParams } = new URL(url ?? "/", "http://store");
  const key = decodeURIComponent(pathname).replace(`/${bucket}`, "").replace(/^\//, "");
  const part = searchParams.get("partNumber");
  const detail = part === null ? [...searchParams.keys()].filter((word) => !word.includes("-"))[0] : `part ${part}`;
  return [method, key, detail].filter((word) => word).join(" ");
}
