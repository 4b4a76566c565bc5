import type { EcgMemory, EcgPlace, KeyKind, KnownKey } from "../core/ecg.ts";
import { joinKey } from "../core/key.ts";
import { int8Array, textArray } from "./arrays.ts";
import type { Database } from "./database.ts";
import type { Run } from "./runner.ts";

/** Keys are whole in the tables, for joins and for people, and relative to the prefix in the program. */
const folderOf = (prefix: string): string => joinKey(prefix, "");

const scope = ({ destinationId, prefix }: EcgPlace) => ({ destinationId, prefix: folderOf(prefix) });

interface KeyColumns {
  name: string;
  path: string | null;
  key: string;
  kind: KeyKind;
  sent_at: Date | null;
  size_bytes: number | null;
  mtime_ns: string | null;
  is_known: boolean;
}

interface UserColumns {
  username: string;
  fingerprint: string | null;
  first_seen: Date;
  is_sent: boolean;
}

export function ecgMemory(database: Database, run: Run): EcgMemory {
  const knownUsers: EcgMemory["knownUsers"] = async (place, states) => {
    const fingerprints = new Map(states.map(({ username, fingerprint }) => [username, fingerprint]));
    const usernames = textArray([...fingerprints.keys()]);
    const rows = await run<UserColumns>("ecg_users_get", { ...scope(place), usernames });
    const same = rows.filter(
      ({ username, fingerprint }) => (fingerprint ?? fingerprints.get(username)) === fingerprints.get(username),
    );
    return new Map(same.map((row) => [row.username, { firstSeenMs: row.first_seen.getTime(), isSent: row.is_sent }]));
  };

  return {
    knownUsers,

    async recall(place, names) {
      if (names.length === 0) return new Map();
      const folder = folderOf(place.prefix);
      const rows = await run<KeyColumns>("ecg_recall", { ...scope(place), names: textArray(names) });
      const known = ({ name, path, key, kind, ...row }: KeyColumns): KnownKey => ({
        name,
        path,
        key: key.slice(folder.length),
        kind,
        sentAtMs: row.sent_at?.getTime() ?? null,
        object: row.is_known
          ? { sizeBytes: row.size_bytes!, mtimeNs: row.mtime_ns === null ? null : BigInt(row.mtime_ns) }
          : null,
      });
      return new Map(rows.map((row) => [row.name, known(row)]));
    },

    async remember(place, keys) {
      if (keys.length === 0) return new Map();
      const folder = folderOf(place.prefix);
      const rows = await run<{ name: string; key: string; kind: KeyKind }>("ecg_remember", {
        ...scope(place),
        names: textArray(keys.map(({ name }) => name)),
        paths: textArray(keys.map(({ path }) => path)),
        keys: textArray(keys.map(({ key }) => folder + key)),
        kinds: textArray(keys.map(({ kind }) => kind)),
      });
      return new Map(rows.map(({ name, key, kind }) => [name, { key: key.slice(folder.length), kind }]));
    },

    async adopt(place, objects) {
      if (objects.length === 0) return;
      await run("ecg_adopt", {
        destinationId: place.destinationId,
        keys: textArray(objects.map(({ key }) => folderOf(place.prefix) + key)),
        sizes: int8Array(objects.map(({ sizeBytes }) => sizeBytes)),
        mtimes: int8Array(objects.map(({ mtimeNs }) => mtimeNs)),
      });
    },

    async waits(place) {
      const rows = await run<{ subject: string; since: Date }>("ecg_waits", scope(place));
      return new Map(rows.map(({ subject, since }) => [subject, since.getTime()]));
    },

    async wait(place, subjects, nowMs) {
      if (subjects.length === 0) return;
      await run("ecg_wait", { ...scope(place), subjects: textArray(subjects), since: new Date(nowMs) });
    },

    async users(place, states, nowMs) {
      if (states.length === 0) return new Map();
      const usernames = textArray(states.map(({ username }) => username));
      const fingerprints = textArray(states.map(({ fingerprint }) => fingerprint));
      await run("ecg_users_see", { ...scope(place), usernames, fingerprints, seenAt: new Date(nowMs) });
      return knownUsers(place, states);
    },

    importLog: ({ kind, identity, prefix }, { keys, users }) =>
      database.transaction(async (query) => {
        const [destination] = await run<{ id: number }>("destinations_ensure", { kind, identity }, query);
        const folder = folderOf(prefix);
        const place = { destinationId: destination!.id, prefix: folder };
        const keyRows = await run(
          "ecg_import_keys",
          {
            ...place,
            names: textArray(keys.map(({ name }) => name)),
            keys: textArray(keys.map(({ key }) => folder + key)),
            kinds: textArray(keys.map(({ kind: of }) => of)),
            sentAts: int8Array(keys.map(({ sentAtMs }) => sentAtMs)),
          },
          query,
        );
        const userRows = await run(
          "ecg_import_users",
          {
            ...place,
            usernames: textArray(users.map(({ username }) => username)),
            sentAts: int8Array(users.map(({ sentAtMs }) => sentAtMs)),
          },
          query,
        );
        return {
          keys: keyRows.length,
          keysKnown: keys.length - keyRows.length,
          users: userRows.length,
          usersKnown: users.length - userRows.length,
        };
      }),
  };
}
