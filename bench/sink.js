/** A sink of our own for each row, on a free port of the loopback. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { certificate, sinkProgram } from "./workplace.js";

/**
 * @param {{ md5?: boolean, tls?: boolean, latencyMs?: number }} options
 * @returns its URL, `stats(prefix)`, `forget()` and `close()`
 */
export async function openSink({ md5 = false, tls = false, latencyMs = 0 }) {
  const { cert, key } = certificate();
  const options = [...(md5 ? ["-m"] : []), ...(tls ? ["-t", cert, "-k", key] : []), "-l", String(latencyMs)];
  const child = spawn(sinkProgram(), ["-p", "0", ...options], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(child.stdout, "data");
  const url = `${tls ? "https" : "http"}://127.0.0.1:${Number(String(line))}`;

  const ask = (method, path) =>
    new Promise((resolve, reject) => {
      const request = (tls ? https : http).request(`${url}${path}`, {
        method,
        rejectUnauthorized: false,
        agent: false,
      });
      request.on("error", reject);
      request.on("response", async (response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve(JSON.parse(Buffer.concat(chunks).toString()));
      });
      request.end();
    });

  return {
    url,
    stats: (prefix) => ask("GET", `/_stats?prefix=${encodeURIComponent(prefix)}`),
    forget: () => ask("POST", "/_stats"),
    async close() {
      child.kill();
      await once(child, "exit");
    },
  };
}
