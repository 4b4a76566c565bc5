/** Where the HTTP face listens: a loopback port or a unix socket, unless somebody wants it otherwise and says so. */
import { isIP } from "node:net";
import { UploaderError } from "../core/errors.ts";

export type Listen = { kind: "tcp"; host: string; port: number } | { kind: "unix"; path: string };

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));

/** Errors: config_invalid for what is no address, and for one that others reach when that was not allowed. */
export function parseListen(text: string, allowRemote: boolean): Listen {
  const refuse = (why: string, hint = "like 127.0.0.1:9464 or unix:/run/uploader.sock"): never => {
    throw new UploaderError("config_invalid", `http: ${JSON.stringify(text)} ${why}`, { hint });
  };
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (!path.startsWith("/")) refuse("has no absolute path");
    // unix(7): 108 bytes on Linux, 104 on macOS, the last one a NUL.
    if (Buffer.byteLength(path) > 103) refuse("is too long for a socket's path");
    return { kind: "unix", path };
  }
  const [, bracketed, plain, digits] = /^(?:\[(.+)\]|([^:/\s]+)):(\d{1,5})$/.exec(text) ?? refuse("is no address");
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  if (port > 65_535) refuse("has no such port");
  if (bracketed !== undefined && isIP(bracketed) !== 6) refuse("is no address");
  if (!allowRemote && !isLoopback(host)) {
    refuse(
      "can be reached from other machines, and nothing there asks for a password",
      "take 127.0.0.1 or a unix socket; or, behind a firewall, add --http-allow-remote",
    );
  }
  return { kind: "tcp", host, port };
}
