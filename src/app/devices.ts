/** Where the map of devices meets its database, and the stores that hold recordings. */
import { createReadStream } from "node:fs";
import { hostname, userInfo } from "node:os";
import { type OpenedState, openDestination, openState, type World } from "../app.ts";
import { type Config, parseDestination } from "../config.ts";
import { asUploaderError, UploaderError } from "../core/errors.ts";
import { type Correction, tellStore } from "../operations/correction.ts";
import type { MapContext } from "../operations/map-device.ts";
import { openDeviceMap } from "../store/devices.ts";

export interface OpenedMap extends MapContext {
  /** Tells every store that is behind. Errors: the first that kept one from being told. */
  tell(): Promise<Correction>;
  close(): Promise<void>;
}

/** Errors: config_invalid when pseudonyms are wanted and there is no key to make them with. */
export async function openMap(world: World): Promise<OpenedMap> {
  const { config } = world;
  const { pseudonymKey } = config.secrets;
  if (config.pseudonyms && pseudonymKey === null) {
    throw new UploaderError("config_invalid", '"pseudonyms" is set, and UPLOADER_PSEUDONYM_KEY is not', {
      hint: "make a key with: openssl rand -base64 32; keep it safe: another key makes other pseudonyms",
    });
  }
  const state = await openState(world);
  return {
    map: openDeviceMap(state.database, config.database.schema),
    pseudonymKey: config.pseudonyms ? pseudonymKey : null,
    actor: `${userName()}@${hostname()}`,
    now: () => new Date(),
    tell: () => tellStores(world, state),
    close: () => state.store.close(),
  };
}

/** Containers have users without a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return String(process.getuid?.() ?? "?");
  }
}

async function tellStores(world: World, { store }: OpenedState): Promise<Correction> {
  const { config, emit, stopping } = world;
  const sum: Correction = { summaries: 0, tagged: 0, left: 0 };
  let fault: UploaderError | null = null;
  for (const { id, identity, recordings } of await store.destinationsBehind(config.patientTags)) {
    try {
      const destination = await openDestination({ ...world, config: { ...config, ...placeOf(identity, config) } });
      try {
        const told = await tellStore({ store, destination, tags: config.patientTags, emit, stopping }, id);
        sum.summaries += told.summaries;
        sum.tagged += told.tagged;
        sum.left += told.left;
      } finally {
        await destination.close();
      }
    } catch (error) {
      const ours = asUploaderError(error);
      if (ours.code === "internal" || ours.code.startsWith("database_")) throw ours;
      sum.left += recordings;
      fault ??= new UploaderError(ours.code, `${identity} does not know yet: ${ours.message}`, {
        cause: ours,
        hint: "the map is changed; the next change of it, or the next upload there, tells the store",
      });
    }
  }
  if (fault) throw fault;
  return sum;
}

/** A destination by its identity; `s3+http://host:port/bucket` names its endpoint. */
function placeOf(identity: string, config: Config): Pick<Config, "destination" | "s3"> {
  const [, endpoint, bucket] = /^s3\+(.+)\/([^/]+)$/.exec(identity) ?? [];
  if (endpoint === undefined) return { destination: parseDestination(identity, "/"), s3: config.s3 };
  return { destination: parseDestination(`s3://${bucket}`, "/"), s3: { ...config.s3, endpoint } };
}

/** The text of a file, or of standard input (`-`), in pieces. Errors: usage. */
export async function* textOf(path: string): AsyncGenerator<string> {
  const stream = path === "-" ? process.stdin : createReadStream(path, { highWaterMark: 2 ** 18 });
  stream.setEncoding("utf8");
  try {
    for await (const chunk of stream) yield chunk as string;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const why = code === "ENOENT" ? "is not there" : code === "EISDIR" ? "is a folder" : `cannot be read (${code})`;
    throw new UploaderError("usage", `it ${why}`, { cause: error });
  }
}
