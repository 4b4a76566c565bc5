/** A second face over the operations, for machines that look whether all is well: three questions, nothing to change. */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { asUploaderError, errorCodes, UploaderError } from "../core/errors.ts";
import type { Listen } from "./address.ts";
import { contentType } from "./exposition.ts";
import type { Metrics } from "./metrics.ts";
import type { Pulse } from "./pulse.ts";

export interface HttpOptions {
  listen: Listen;
  pulse: Pulse;
  metrics: Pick<Metrics, "text">;
}

export interface HttpFace {
  /** For people: `http://127.0.0.1:9464`, or `unix:/run/uploader.sock`. */
  readonly address: string;
  close(): Promise<void>;
}

interface Answer {
  status: number;
  type: string;
  text: string;
}

type Route = (options: HttpOptions) => Answer | Promise<Answer>;

const plain = (status: number, text: string): Answer => ({
  status,
  type: "text/plain; charset=utf-8",
  text: `${text}\n`,
});

const routes: Readonly<Record<string, Route>> = {
  "/healthz": ({ pulse }) =>
    pulse.isStalled()
      ? plain(503, `nothing has moved for ${Math.round(pulse.beatAgeMs() / 1_000)} s`)
      : plain(200, "ok"),
  "/readyz": ({ pulse }) =>
    pulse.isReady() ? plain(200, "ready") : plain(503, "starting: the database or the first scan is not there yet"),
  "/metrics": async ({ metrics }) => ({ status: 200, type: contentType, text: await metrics.text() }),
};

/** Errors: config_invalid when the address cannot be had. */
export async function openHttp(options: HttpOptions): Promise<HttpFace> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 });
  server.maxConnections = 32;
  server.on("request", async (request, response) => {
    const { status, type, text } = await answerTo(request.method ?? "", request.url ?? "/", options);
    const headers = {
      "content-type": type,
      "content-length": Buffer.byteLength(text),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(status === 405 ? { allow: "GET, HEAD", connection: "close" } : {}),
    };
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : text);
  });
  const address = await listenOn(server, options.listen);
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answerTo(method: string, url: string, options: HttpOptions): Promise<Answer> {
  if (method !== "GET" && method !== "HEAD") return plain(405, "only GET and HEAD");
  const route = Object.hasOwn(routes, url.split("?")[0]!) ? routes[url.split("?")[0]!] : undefined;
  if (!route) return plain(404, `there are ${Object.keys(routes).join(", ")}`);
  try {
    return await route(options);
  } catch (error) {
    const ours = asUploaderError(error);
    return plain(errorCodes[ours.code].http, ours.code);
  }
}

async function listenOn(server: Server, listen: Listen): Promise<string> {
  const name = listen.kind === "unix" ? `unix:${listen.path}` : `${listen.host}:${listen.port}`;
  if (listen.kind === "unix") await clearStale(listen.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new UploaderError(
          "config_invalid",
          `http: ${name} cannot be had: ${reasons[error.code ?? ""] ?? error.message}`,
          {
            cause: error,
            hint: "name another one: --http 127.0.0.1:0 takes any free port and says which",
          },
        ),
      ),
    );
    const { path, host, port } = { path: undefined, host: undefined, port: undefined, ...listen };
    server.listen(path === undefined ? { host, port } : { path }, resolve);
  });
  if (listen.kind === "unix") {
    // Whoever may read what the user's group may.
    chmodSync(listen.path, 0o660);
    return name;
  }
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : listen.port;
  return `http://${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${port}`;
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "permission denied",
  ENOENT: "there is no such folder",
  ENOTFOUND: "there is no such host",
};

/** A socket that a killed process left behind is removed; a live one, or anything that is no socket, stays. */
async function clearStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found?.isSocket()) return;
  const code = await new Promise<string | null>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(null);
    });
    probe.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
  });
  if (code === "ECONNREFUSED") rmSync(path, { force: true });
}
