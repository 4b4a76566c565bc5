/** Which proxy the environment names for a URL: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, either case. */
import { isIPv6 } from "node:net";
import { UploaderError } from "../../core/errors.ts";

export type Env = Readonly<Record<string, string | undefined>>;

export function proxyFor(target: { protocol: string; hostname: string; port: number }, env: Env): URL | null {
  const read = (name: string) => env[name.toLowerCase()] || env[name];
  const address = read(target.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") ?? read("ALL_PROXY");
  if (!address || isExcluded(target, read("NO_PROXY") ?? "")) return null;
  const text = address.includes("://") ? address : `http://${address}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol) || !isDecodable(url)) {
    throw new UploaderError("config_invalid", "the proxy named by the environment is not an http or https URL", {
      hint: "correct HTTPS_PROXY or HTTP_PROXY, or unset it",
    });
  }
  return url;
}

/** A password with a bare % in it is no URL, though it parses. */
function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** `*`, a host, or a domain with or without its leading dot, each with or without a port. */
function isExcluded(target: { hostname: string; port: number }, list: string): boolean {
  const host = target.hostname.toLowerCase();
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .some((entry) => {
      // The colons of ::1 begin no port.
      const [, given = entry, port] = isIPv6(entry) ? [] : (/^(.*?)(?::(\d+))?$/.exec(entry) ?? []);
      const name = given.replace(/^\[(.*)\]$/, "$1");
      if (port !== undefined && Number(port) !== target.port) return false;
      const domain = name.replace(/^\*?\./, "");
      return name === "*" || host === domain || host.endsWith(`.${domain}`);
    });
}
