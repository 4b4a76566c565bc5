/** One TCP or TLS connection to the store, straight or through a proxy. */
import * as net from "node:net";
import * as tls from "node:tls";
import { UploaderError } from "../../core/errors.ts";
import { createAnswerReader } from "./answer.ts";

export interface Route {
  protocol: "http:" | "https:";
  hostname: string;
  port: number;
  proxy: URL | null;
  /** One for all connections: parsing the root certificates costs 1 MB and 10 ms each time. Null for plain http. */
  secureContext: tls.SecureContext | null;
  /** The last TLS session, so that further connections skip the full handshake. */
  session: { ticket: Buffer | null };
}

/** Resolves with a connected (and, for https, verified) socket; rejects after `connectMs`. */
export async function openSocket(route: Route, connectMs: number): Promise<net.Socket> {
  const { proxy } = route;
  let socket: net.Socket | undefined;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    socket?.destroy();
  }, connectMs);
  const step = async (next: net.Socket, event: string): Promise<void> => {
    socket = next;
    await settled(next, event);
  };
  try {
    if (proxy === null) {
      if (route.protocol === "http:") await step(net.connect(hostOf(route)), "connect");
      else await step(startTls(route), "secureConnect");
    } else {
      const [next, event] = connectProxy(proxy);
      await step(next, event);
      if (route.protocol === "https:") {
        await openTunnel(next, route, proxy);
        await step(startTls(route, next), "secureConnect");
      }
    }
  } catch (error) {
    socket?.destroy();
    if (!late) throw error;
    throw new UploaderError("store_unreachable", `no connection to ${route.hostname} within ${connectMs} ms`, {
      hint: "check the network, the endpoint and any proxy or firewall between",
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  const open = socket!;
  open.setNoDelay(true);
  open.setKeepAlive(true, 30_000);
  return open;
}

/** Trusts Node's own roots, and those in `bundle` (PEM) as well. */
export function trusting(bundle: string | null): tls.SecureContext {
  return tls.createSecureContext(bundle === null ? {} : { ca: [...tls.rootCertificates, bundle] });
}

/** Requests through a plain-http proxy name the whole URL and carry the proxy's credentials. */
export function proxyHeaders(route: Route): { targetPrefix: string; lines: string } {
  if (route.proxy === null || route.protocol === "https:") return { targetPrefix: "", lines: "" };
  return { targetPrefix: `http://${hostHeader(route)}`, lines: proxyAuthorization(route.proxy) };
}

function hostHeader(route: Route): string {
  const host = net.isIPv6(route.hostname) ? `[${route.hostname}]` : route.hostname;
  return `${host}:${route.port}`;
}

function proxyAuthorization(proxy: URL): string {
  if (proxy.username === "") return "";
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `proxy-authorization: Basic ${Buffer.from(pair).toString("base64")}\r\n`;
}

function hostOf(route: { hostname: string; port: number }): { host: string; port: number } {
  return { host: route.hostname, port: route.port };
}

function startTls(route: Route, through?: net.Socket): tls.TLSSocket {
  const socket = tls.connect({
    ...(through === undefined ? hostOf(route) : { socket: through }),
    ...(net.isIP(route.hostname) ? { host: route.hostname } : { servername: route.hostname }),
    ...(route.secureContext === null ? {} : { secureContext: route.secureContext }),
    ...(route.session.ticket === null ? {} : { session: route.session.ticket }),
    ALPNProtocols: ["http/1.1"],
  });
  socket.on("session", (ticket) => {
    route.session.ticket = ticket;
  });
  return socket;
}

function connectProxy(proxy: URL): [net.Socket, string] {
  const hostname = proxy.hostname.replace(/^\[|\]$/g, "");
  const secure = proxy.protocol === "https:";
  const at = { host: hostname, port: Number(proxy.port || (secure ? 443 : 80)) };
  if (!secure) return [net.connect(at), "connect"];
  return [tls.connect(net.isIP(hostname) ? at : { ...at, servername: hostname }), "secureConnect"];
}

function settled(socket: net.Socket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const clear = () => {
      socket.off(event, onDone);
      socket.off("error", onError);
      socket.off("close", onClose);
    };
    const onDone = () => {
      clear();
      resolve();
    };
    const onError = (error: Error) => {
      clear();
      reject(error);
    };
    const onClose = () => onError(Object.assign(new Error("closed while connecting"), { code: "ECONNRESET" }));
    socket.on(event, onDone);
    socket.on("error", onError);
    socket.on("close", onClose);
  });
}

async function openTunnel(socket: net.Socket, route: Route, proxy: URL): Promise<void> {
  const target = hostHeader(route);
  const reader = createAnswerReader("CONNECT");
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n${proxyAuthorization(proxy)}\r\n`, "latin1");
  await new Promise<void>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      try {
        if (reader.push(chunk)) socket.emit("tunnel");
      } catch (error) {
        socket.destroy(error as Error);
      }
    };
    socket.on("data", onData);
    settled(socket, "tunnel")
      .finally(() => socket.off("data", onData))
      .then(resolve, reject);
  });
  const { status } = reader.answer();
  if (status >= 300) {
    throw new UploaderError("store_unreachable", `the proxy ${proxy.host} refused the connection (HTTP ${status})`, {
      hint: status === 407 ? "the proxy wants a user and password in HTTPS_PROXY" : "check HTTPS_PROXY and NO_PROXY",
    });
  }
}
