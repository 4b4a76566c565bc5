import type pg from "pg";

/** While it is loaded it asks whether it runs on Cloudflare: without a navigator (Node 20) by Node's fetch, 25 ms of CPU. */
export async function loadPg(): Promise<typeof pg> {
  if ("navigator" in globalThis) return (await import("pg")).default;
  const value = { userAgent: `Node.js/${process.versions.node}` };
  Object.defineProperty(globalThis, "navigator", { value, configurable: true });
  try {
    return (await import("pg")).default;
  } finally {
    // A program that we are a library of finds its globals as they were.
    Reflect.deleteProperty(globalThis, "navigator");
  }
}
