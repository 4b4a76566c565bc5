/** While pg is loaded it asks whether it runs on Cloudflare: without a navigator (Node 20) by Node's fetch, 25 ms of CPU. */
const had = "navigator" in globalThis;
if (!had) {
  const value = { userAgent: `Node.js/${process.versions.node}` };
  Object.defineProperty(globalThis, "navigator", { value, configurable: true });
}

/** A program that we are a library of finds its globals as they were. */
export function loaded(): void {
  if (!had) Reflect.deleteProperty(globalThis, "navigator");
}
