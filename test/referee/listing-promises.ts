import { type Place, put, type ServerPromise, send } from "./place.ts";

export async function list(place: Place, query: Record<string, string> = {}) {
  const { text } = await send(place, "GET", "", { query: { "list-type": "2", "encoding-type": "url", ...query } });
  const all = (name: string) =>
    [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map((match) => match[1] ?? "");
  const decode = (name: string) => decodeURIComponent(name.replaceAll("+", " ").replaceAll("&apos;", "'"));
  return {
    keys: all("Key").map(decode),
    prefixes: [...text.matchAll(/<CommonPrefixes>\s*<Prefix>([^<]*)/g)].map((match) => decode(match[1] ?? "")),
    token: all("NextContinuationToken")[0],
  };
}

async function listAll(place: Place, query: Record<string, string>) {
  const seen: string[] = [];
  for (let token: string | undefined; ; ) {
    const page = await list(place, { ...query, ...(token ? { "continuation-token": token } : {}) });
    seen.push(...page.keys, ...page.prefixes);
    token = page.token;
    if (!token) return seen;
  }
}

/** Listings. */
export const listings: ServerPromise[] = [
  {
    name: "a listing in pages names every key once",
    observe: async (place) => {
      for (const key of ["a", "b/1", "b/2", "c", "d"]) await put(place, key);
      return listAll(place, { "max-keys": "2" });
    },
    expected: ["a", "b/1", "b/2", "c", "d"],
  },
  {
    name: "prefix, delimiter, start-after",
    observe: async (place) => {
      for (const key of ["a", "b/1", "b/2", "c/1", "d"]) await put(place, key);
      return [
        await listAll(place, { prefix: "b/" }),
        await listAll(place, { delimiter: "/", "max-keys": "1" }),
        await listAll(place, { "start-after": "b/1" }),
      ];
    },
    expected: [
      ["b/1", "b/2"],
      ["a", "b/", "c/", "d"],
      ["b/2", "c/1", "d"],
    ],
  },
];
