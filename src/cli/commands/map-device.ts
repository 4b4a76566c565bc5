import { once } from "node:events";
import { type Command, InvalidArgumentError } from "commander";
import { UploaderError } from "../../core/errors.ts";
import type { MapContext } from "../../operations/map-device.ts";
import { exitStatusHelp } from "../exit-status.ts";
import { type Face, openFace } from "../face.ts";
import { addConfigFlags, givenConfigFlags } from "../flags.ts";
import { count } from "../format.ts";
import { changeText, entryRow, entryTable, historyTable, unmappedTable } from "./map-device-text.ts";

const shown = ["database.url", "database.schema"];
const telling = [...shown, "pseudonyms", "patientTags", "s3.profile"];

const deviceWords = "a phone's id, a sensor's MAC or name, or a serial number";

export function defineMapDevice(program: Command): void {
  const group = program
    .command("map-device")
    .summary("which patient wore which device, when")
    .description(
      "The map of devices and patients. A recording's device is found by its MAC, by the file's name (phone or sensor) or " +
        "by serial number; its patient is who wore it when it was recorded. A change of the map corrects what is uploaded " +
        "already, and its history is kept.",
    )
    .addHelpText(
      "before",
      `Examples:
  uploader map-device set a9ae0f999916e210 P-017 --shimmer1 DDD6 --shimmer2 DCFF
  uploader map-device set a9ae0f999916e210 P-017 --to 2026-03-01      one gives it back,
  uploader map-device set a9ae0f999916e210 P-018 --from 2026-03-01    the next one wears it
  uploader map-device get a9ae0f999916e210 --at 2026-02-14T09:00Z
  uploader map-device import wearers.csv
`,
    )
    .addHelpText(
      "after",
      `
A DEVICE is a phone's id, the MAC or the name of a sensor (Shimmer_DDD6), or a
serial number. PATIENT may be -, and is then read from standard input, so that it
stands in no list of processes. Times without a zone are UTC. See docs/devices.md.
${exitStatusHelp(0, 1, 2, 12, 13, 14)}`,
    );
  const define = (name: string, summary: string, example: string): Command =>
    group
      .command(name)
      .summary(summary)
      .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
      .addHelpText("before", `Examples:\n${example.replace(/^/gm, "  uploader map-device ")}\n`)
      .addHelpText(
        "after",
        exitStatusHelp(0, 1, 2, ...(tellsStore.has(name) ? ([12, 13, 14] as const) : ([13] as const))),
      );

  const set = define(
    "set",
    "say who wore a device; what is not named stays as it is",
    "set a9ae0f999916e210 P-017\nset Shimmer_DDD6 P-017 --from 2026-01-07 --to 2026-03-01\nset a9ae0f999916e210 P-017 --shimmer1 DDD6,DCFF",
  )
    .argument("<device>", deviceWords)
    .argument("<patient>", "as given, or - to read it from standard input")
    .option("--from <time>", "worn from then on; `open`: without a beginning")
    .option("--to <time>", "worn until then; `open`: without an end")
    .option("--shimmer1 <sensors>", "left: one or several, with commas or repeated; '' takes all off", several)
    .option("--shimmer2 <sensors>", "right", several);
  addConfigFlags(set, telling).action((device: string, patient: string, flags: SetFlags, command: Command) =>
    withMap(command, (map, face) => runSet(map, face, device, patient, flags)),
  );

  const get = define("get", "who wears a device, or wore it then", "get 00:06:66:12:AB:CD --at 2026-02-14T09:00Z")
    .argument("<device>", deviceWords)
    .option("--at <time>", "then instead of now");
  addConfigFlags(get, shown).action((device: string, flags: { at?: string }, command: Command) =>
    withMap(command, async (map, face) => {
      const entry = await map.verbs.getDevice(map.cx, device, flags.at);
      face.out(face.json ? JSON.stringify(entryRow(entry)) : entryTable([entry]));
    }),
  );

  const list = define("list", "all entries", "list\nlist --at 2026-02-14 --json | jq .patient").option(
    "--at <time>",
    "only those that hold then",
  );
  addConfigFlags(list, shown).action((flags: { at?: string }, command: Command) =>
    withMap(command, (map, face) => runList(map, face, flags.at)),
  );

  const remove = define("remove", "take a device off the map; its history stays", "remove a9ae0f999916e210")
    .argument("<device>", deviceWords)
    .option("--at <time>", "only the entry that holds then");
  addConfigFlags(remove, telling).action((device: string, flags: { at?: string }, command: Command) =>
    withMap(command, async (map, face) => {
      const { removed, recordings } = await map.verbs.removeDevice(map.cx, device, flags.at);
      for (const entry of face.json ? removed : []) face.out(JSON.stringify({ change: "removed", ...entryRow(entry) }));
      if (!face.json && !face.quiet) face.out(`${entriesText(removed.length)} removed`);
      await tell(map, face, recordings);
    }),
  );

  const history = define("history", "every change of a device's entries", "history a9ae0f999916e210").argument(
    "<device>",
    deviceWords,
  );
  addConfigFlags(history, shown).action((device: string, _flags: object, command: Command) =>
    withMap(command, async (map, face) => {
      const rows = await map.verbs.historyOf(map.cx, device);
      if (!face.json) return face.out(historyTable(rows));
      for (const row of rows) face.out(JSON.stringify(row));
    }),
  );

  const load = define(
    "import",
    "read a map from CSV or JSON, all of it or nothing; also the older program's",
    "import wearers.csv\nimport device-patient-map.json\nexport | ssh lab uploader map-device import -",
  ).argument(
    "<file>",
    "CSV with a first line of names (device, patient, shimmer1, shimmer2, from, to), or JSON; - is standard input",
  );
  addConfigFlags(load, telling).action((file: string, _flags: object, command: Command) =>
    withMap(command, (map, face) => runImport(map, face, file)),
  );

  const save = define(
    "export",
    "the map as CSV (with --json: one object a line), which import reads back",
    "export > wearers.csv",
  );
  addConfigFlags(save, shown).action((_flags: object, command: Command) =>
    withMap(command, (map, face) => runExport(map, face)),
  );

  const unmapped = define("unmapped", "devices of recordings that nobody is known to have worn then", "unmapped");
  addConfigFlags(unmapped, shown).action((_flags: object, command: Command) =>
    withMap(command, async (map, face) => {
      const rows = await map.cx.map.unmapped();
      for (const row of face.json ? rows : []) face.out(JSON.stringify(row));
      if (face.json) return;
      if (rows.length > 0) return face.out(unmappedTable(rows));
      face.out((await map.cx.map.hasRecordings()) ? "every recording has its wearer" : "no recording is decoded yet");
    }),
  );
}

const tellsStore: ReadonlySet<string> = new Set(["set", "remove", "import"]);

interface SetFlags {
  from?: string;
  to?: string;
  shimmer1?: string[];
  shimmer2?: string[];
}

function several(text: string, before: string[] | undefined): string[] {
  const named = text.split(",").filter((each) => each.trim() !== "");
  if (named.length === 0 && text.trim() !== "") throw new InvalidArgumentError("a sensor is wanted.");
  return [...(before ?? []), ...named];
}

interface Map {
  cx: MapContext;
  verbs: typeof import("../../operations/map-device.ts");
  app: typeof import("../../app/devices.ts");
  tell(): Promise<{ summaries: number; tagged: number; left: number }>;
}

async function withMap(command: Command, work: (map: Map, face: Face) => Promise<void> | void): Promise<void> {
  const face = await openFace(command, givenConfigFlags(command));
  const { emit, stopping, dropping } = face;
  try {
    const app = await import("../../app/devices.ts");
    const verbs = await import("../../operations/map-device.ts");
    const opened = await app.openMap({ config: face.loaded.config, emit, stopping, dropping });
    try {
      await work({ cx: opened, verbs, app, tell: opened.tell }, face);
    } finally {
      await opened.close();
    }
  } finally {
    face.close();
  }
}

async function runSet(
  { cx, verbs, app, tell: tellAll }: Map,
  face: Face,
  device: string,
  patient: string,
  flags: SetFlags,
) {
  const result = await verbs.setDevice(cx, {
    device,
    patient: patient === "-" ? await firstLine(app.textOf("-")) : patient,
    ...flags,
  });
  const { change, entry, recordings } = result;
  if (face.json) face.out(JSON.stringify({ change, ...entryRow(entry), recordings }));
  else if (!face.quiet) face.out(changeText(result));
  await tell({ tell: tellAll }, face, recordings);
}

async function firstLine(chunks: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const chunk of chunks) {
    text += chunk;
    if (text.includes("\n") || text.length > 1024) break;
  }
  return text.split("\n")[0]!;
}

const entriesText = (number: number): string => `${count(number)} ${number === 1 ? "entry" : "entries"}`;
const recordingsText = (number: number): string => `${count(number)} ${number === 1 ? "recording" : "recordings"}`;

/** What was uploaded follows. In JSON the row has said it. */
async function tell({ tell: tellAll }: Pick<Map, "tell">, face: Face, recordings: number): Promise<void> {
  const say = (message: string): void => {
    if (!face.json) face.emit({ type: "notice", sessionId: null, level: "info", message });
  };
  if (recordings > 0) say(`${recordingsText(recordings)} corrected in the database`);
  const { summaries, tagged } = await tellAll();
  const done = [
    ...(summaries > 0 ? [`${count(summaries)} ${summaries === 1 ? "summary" : "summaries"} written anew`] : []),
    ...(tagged > 0 ? [`tags of ${recordingsText(tagged)} set`] : []),
  ];
  if (done.length > 0) say(`in the store: ${done.join(", ")}`);
}

async function runList({ cx, verbs }: Map, face: Face, atText: string | undefined): Promise<void> {
  let isFirst = true;
  for await (const page of verbs.listDevices(cx, atText === undefined ? null : verbs.instantOf("--at", atText))) {
    const text = face.json ? page.map((entry) => JSON.stringify(entryRow(entry))).join("\n") : entryTable(page);
    if (!(await written(isFirst || face.json ? text : text.slice(text.indexOf("\n") + 1), face))) return;
    isFirst = false;
  }
  if (isFirst && !face.json) face.out("the map is empty");
}

async function runExport({ cx, verbs }: Map, face: Face): Promise<void> {
  const { exportColumns, exportLine } = await import("../../core/device-file.ts");
  if (!face.json) face.out(exportColumns.join(","));
  for await (const page of verbs.listDevices(cx, null)) {
    const lines = page.map((entry) => (face.json ? JSON.stringify(entryRow(entry)) : exportLine(entry)));
    if (!(await written(lines.join("\n"), face))) return;
  }
}

/** Waits for a slow reader; false when there is none any more. */
async function written(text: string, face: Face): Promise<boolean> {
  if (process.stdout.errored || face.stopping.aborted) return false;
  if (process.stdout.write(`${text}\n`)) return true;
  try {
    await Promise.race([once(process.stdout, "drain"), once(process.stdout, "close")]);
    return !process.stdout.errored;
  } catch (error) {
    // It went away while it was waited for (`| head`); what else there can be, main.ts tells.
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
}

async function runImport(map: Map, face: Face, file: string): Promise<void> {
  let isRead = false;
  const read = (): AsyncIterable<string> => {
    if (file === "-" && isRead) {
      throw new UploaderError("database_unreachable", "the database went away during the import from standard input", {
        hint: "nothing was imported; the same again",
      });
    }
    isRead = true;
    return map.app.textOf(file);
  };
  const { recordings, ...counts } = await map.verbs.importDevices(map.cx, file === "-" ? "standard input" : file, read);
  if (face.json) face.out(JSON.stringify({ ...counts, recordings }));
  else if (!face.quiet) {
    const { added, changed, unchanged } = counts;
    face.out(`${entriesText(added)} added, ${count(changed)} changed, ${count(unchanged)} as before`);
  }
  await tell(map, face, recordings);
}
