/** kill -9 at every boundary of telling the store of a corrected map: in the end rows, summaries and tags agree. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { batteryFile } from "../shimmer/support/recording.ts";
import { type Boundary, type Child, killUntilEnd, runUntil } from "../support/kill-driver.ts";
import { openScene, prefix, type Scene } from "./scene.ts";

const phone = "a9ae0f999916e210";
const nameOf = (minute: string, sensor: string) => `${phone}__20251030_10${minute}__Walk__Shimmer_${sensor}-000__000`;
const recordings = [nameOf("1500", "ABCD"), nameOf("1530", "DCFF")];
const summaryOf = (recording: string) => `${prefix}/decode/${recording}_summary.json`;
const keys = recordings.flatMap((each) => [
  `${prefix}/${each}.txt`,
  `${prefix}/decode/${each}_decoded.json`,
  summaryOf(each),
]);

let scene: Scene;
beforeAll(async () => {
  const [left, right] = recordings.map((each) => `${each}.txt`);
  const patch = { 24: [0x00, 0x06, 0x66, 0x12, 0xdc, 0xff] };
  const tree = { [left!]: batteryFile(20), [right!]: batteryFile(20, { start: 10 * 32_768, patch }) };
  scene = await openScene({ tree });
});
afterAll(() => scene?.close());

const tags = ["--patient-tags"];
const upload = (): Child => scene.start([...tags, "--decode", "--decode-formats", "json"]);
const setTo = (patient: string) => (): Child => scene.start(tags, ["map-device", "set", phone, patient]);
const correct = setTo("P-2");

async function done(start: () => Child): Promise<void> {
  const ended = await start().ended;
  expect(ended.code, ended.output).toBe(0);
}

/** Both uploaded, and the store told that P-1 wore them. */
async function worn(): Promise<void> {
  await scene.reset();
  await scene.sql('truncate :"schema".device_map, :"schema".device_map_history');
  await done(setTo("P-1"));
  await done(upload);
  expect(patients()).toEqual(keys.map(() => "P-1"));
}

/** Corrected in the database, and nobody has told the store. */
async function corrected(): Promise<void> {
  await worn();
  const { killedAt } = await runUntil(scene, correct, (boundary) => boundary === "before recordings_behind");
  expect(killedAt).toBe("before recordings_behind");
}

/** What the store says of each object: its tag, where a summary says the same. */
const patients = () =>
  keys.map((key) => {
    const object = scene.s3.object(scene.bucket, key);
    const tag = object?.tags.map(({ key: name, value }) => (name === "patient" ? value : name)).join();
    if (!key.endsWith("_summary.json")) return tag;
    const { patient } = JSON.parse(Buffer.from(object!.bytes()).toString());
    return patient === tag ? tag : { patient, tag };
  });

const rows = () =>
  scene.sql('select patient, told_patient, tagged, slot from :"schema".decoded_recordings order by key');

async function expectAgreement(): Promise<void> {
  expect(patients()).toEqual(keys.map(() => "P-2"));
  const row = { patient: "P-2", told_patient: "P-2", tagged: "P-2", slot: 1 };
  expect(await rows()).toEqual([row, row]);
  const history = await scene.sql('select change, patient from :"schema".device_map_history order by id');
  expect(history).toEqual([
    { change: "added", patient: "P-1" },
    { change: "changed", patient: "P-2" },
  ]);
  expect(await scene.sql("select from :\"schema\".file_uploads where status <> 'uploaded'")).toEqual([]);
}

/** Half told is told to nobody: what the database takes for told stands in the store. */
async function expectHonest(): Promise<void> {
  const told = (await rows()) as { told_patient: string | null; tagged: string | null }[];
  for (const [at, recording] of recordings.entries()) {
    const { patient } = JSON.parse(
      Buffer.from(scene.s3.object(scene.bucket, summaryOf(recording))!.bytes()).toString(),
    );
    if (told[at]!.told_patient === "P-2") expect(patient).toBe("P-2");
    if (told[at]!.tagged === "P-2") expect(patients().slice(3 * at, 3 * at + 3)).toEqual(["P-2", "P-2", "P-2"]);
  }
}

it.each([
  ["map-device set", correct, worn, /^(devices_|recordings_|objects_|commit of |PUT |GET )/],
  // What was due is told by the next upload there, which sends nothing.
  [
    "the next upload",
    upload,
    corrected,
    /^(recordings_|objects_|commit of recordings_|PUT .*(_summary|tagging)|GET .*tagging)/,
  ],
] as const)(
  "%s dies at each: who comes next finishes, and nothing is changed twice",
  { timeout: 900_000 },
  async (_, start, begin, telling) => {
    const wanted = new Set<Boundary>();
    await begin();
    await runUntil(scene, start, (boundary) => {
      if (telling.test(boundary.replace(/^(before|after) /, ""))) wanted.add(boundary);
      return false;
    });
    await expectAgreement();
    for (const moment of ["recordings_told", `PUT ${summaryOf(recordings[0]!)}`, `PUT ${keys[0]} tagging`]) {
      expect([...wanted]).toEqual(expect.arrayContaining([`before ${moment}`, `after ${moment}`]));
    }

    const met = new Set<Boundary>();
    const { postgres, store } = scene;
    const isOfInterest = (boundary: Boundary): boolean => wanted.has(boundary);
    const state = { postgres, store, boundaries: met, isOfInterest, afterKill: expectHonest };
    for (let known = -1; known < met.size && met.size < wanted.size; ) {
      known = met.size;
      await begin();
      const ended = await killUntilEnd(state, start);
      expect(ended.code, ended.output).toBe(0);
      await expectAgreement();
    }
    expect([...wanted].filter((boundary) => !met.has(boundary))).toEqual([]);
  },
);
