/** The HTTP face over real sockets: what it answers, where it listens, and where it refuses to. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Listen, parseListen } from "../../src/http/address.ts";
import { createPulse, type Pulse } from "../../src/http/pulse.ts";
import { type HttpFace, openHttp } from "../../src/http/server.ts";

let folder: string;
let nowMs: number;
let pulse: Pulse;
let open: HttpFace[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "uploader-http-"));
  nowMs = 0;
  pulse = createPulse({ stallMs: 180_000, now: () => nowMs });
  open = [];
});
afterEach(async () => {
  for (const face of open) await face.close();
  rmSync(folder, { recursive: true, force: true });
});

async function face(listen: Listen = { kind: "tcp", host: "127.0.0.1", port: 0 }): Promise<HttpFace> {
  const made = await openHttp({ listen, pulse, metrics: { text: async () => "uploader_ready 1\n" } });
  open.push(made);
  return made;
}

const get = async (url: string, init?: RequestInit) => {
  const answer = await fetch(url, init);
  return { status: answer.status, type: answer.headers.get("content-type"), text: await answer.text() };
};

describe("what it answers", () => {
  it("/healthz: well while work moves, 503 when nothing has for too long, well again after a beat", async () => {
    const { address } = await face();
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 200, text: "ok\n" });
    nowMs += 180_001;
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 503, text: "nothing has moved for 180 s\n" });
    pulse.beat(null);
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 200 });
  });

  it("/healthz: one loop that hangs is enough, however lively the others are", async () => {
    const { address } = await face();
    pulse.expect(["ecg", "holter"]);
    nowMs += 100_000;
    pulse.beat("ecg");
    pulse.beat("of nobody's");
    nowMs += 100_000;
    pulse.beat("ecg");
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 503, text: "nothing has moved for 200 s\n" });
    pulse.expect(["ecg"]);
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 200 });
  });

  it("/readyz: not before the database is migrated and the first scan is queued", async () => {
    const { address } = await face();
    expect((await get(`${address}/readyz`)).status).toBe(503);
    pulse.ready();
    expect(await get(`${address}/readyz`)).toMatchObject({ status: 200, text: "ready\n" });
  });

  it("/metrics, in Prometheus' words", async () => {
    const { address } = await face();
    expect(await get(`${address}/metrics?x=1`)).toEqual({
      status: 200,
      type: "text/plain; version=0.0.4; charset=utf-8",
      text: "uploader_ready 1\n",
    });
    const head = await fetch(`${address}/metrics`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "17", ""]);
  });

  it("nothing else, and nothing can be changed", async () => {
    const { address } = await face();
    expect((await get(`${address}/constructor`)).status).toBe(404);
    expect(await get(`${address}/`)).toMatchObject({ status: 404, text: "there are /healthz, /readyz, /metrics\n" });
    for (const method of ["POST", "PUT", "DELETE"])
      expect((await get(`${address}/metrics`, { method })).status).toBe(405);
  });
});

describe("where it listens", () => {
  it("on a unix socket, for the user's group and nobody else", async () => {
    const path = join(folder, "up.sock");
    const { address } = await face({ kind: "unix", path });
    expect(address).toBe(`unix:${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    const status = await new Promise((resolve, reject) =>
      request({ socketPath: path, path: "/healthz" }, (answer) => resolve(answer.resume().statusCode))
        .on("error", reject)
        .end(),
    );
    expect(status).toBe(200);
    await open.pop()!.close();
    expect(existsSync(path)).toBe(false);
  });

  it("takes the place of a socket that a killed process left, never of a live one or of a file", async () => {
    const path = join(folder, "up.sock");
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(path, resolve));
    await expect(face({ kind: "unix", path })).rejects.toMatchObject({
      code: "config_invalid",
      message: `http: unix:${path} cannot be had: another program listens there`,
    });
    // What kill -9 leaves: a name without a listener.
    const { renameSync } = await import("node:fs");
    renameSync(path, `${path}.kept`);
    await new Promise<void>((resolve) => dead.close(() => resolve()));
    renameSync(`${path}.kept`, path);
    await face({ kind: "unix", path });
    const file = join(folder, "file");
    writeFileSync(file, "mine");
    await expect(face({ kind: "unix", path: file })).rejects.toMatchObject({ code: "config_invalid" });
    expect(statSync(file).size).toBe(4);
  });

  it("a port that is taken is said", async () => {
    const { address } = await face();
    const port = Number(new URL(address).port);
    await expect(face({ kind: "tcp", host: "127.0.0.1", port })).rejects.toMatchObject({
      code: "config_invalid",
      message: `http: 127.0.0.1:${port} cannot be had: another program listens there`,
    });
  });
});

describe("which addresses it takes", () => {
  const refusal = (text: string, allowRemote = false): string => {
    try {
      parseListen(text, allowRemote);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };

  it("loopback and sockets", () => {
    expect(parseListen("127.0.0.1:9464", false)).toEqual({ kind: "tcp", host: "127.0.0.1", port: 9464 });
    expect(parseListen("localhost:0", false)).toEqual({ kind: "tcp", host: "localhost", port: 0 });
    expect(parseListen("[::1]:9464", false)).toEqual({ kind: "tcp", host: "::1", port: 9464 });
    expect(parseListen("unix:/run/up.sock", false)).toEqual({ kind: "unix", path: "/run/up.sock" });
  });

  it("no other address, unless somebody says so", () => {
    for (const text of ["0.0.0.0:9464", "[::]:9464", "192.168.1.4:9464", "dock-1:9464", "127.example.org:9464"]) {
      expect(refusal(text), text).toMatch(/can be reached from other machines/);
      expect(refusal(text, true), text).toBe("");
    }
  });

  it("nothing that is none", () => {
    expect(refusal("9464")).toMatch(/is no address/);
    expect(refusal("127.0.0.1:70000")).toMatch(/has no such port/);
    expect(refusal("[localhost]:1")).toMatch(/is no address/);
    expect(refusal("unix:run/up.sock")).toMatch(/has no absolute path/);
    expect(refusal(`unix:/${"x".repeat(110)}`)).toMatch(/is too long/);
  });
});
