/**
 * Mutated headers and bodies: an answer, or `recording_bad` that names offset, field, expected and found; never a
 * crash, a hang, or memory out of bounds. Reproducible: the same seed makes the same files.
 *   node bench/shimmer/fuzz.js [rounds] [seed]
 */
import { decode, profiles } from "../../build/shimmer/index.js";
import { syntheticHeader, writeRecords } from "./synthetic.js";

const rounds = Number(process.argv[2] ?? 1_000_000);
let state = Number(process.argv[3] ?? 20251030) | 0;
const slowestAllowedMs = 2000;

function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const upTo = (most) => Math.floor(random() * most);

/** Seeds of four kinds: the usual one, every sensor of SDLog, a Shimmer3R list, synchronised blocks. */
function seedFiles() {
  const usual = new Uint8Array(256 + 33 * 12);
  usual.set(syntheticHeader());
  writeRecords(usual, 256, 0, 12);
  const everything = usual.slice();
  everything.set([0xff, 0xff, 0xff, 0xff, 0xff], 3);
  everything.set([0, 2, 0, 0, 19, 0], 34);
  const shimmer3r = new Uint8Array(384 + 33 * 12);
  shimmer3r.set(usual.subarray(0, 256));
  shimmer3r.set([0, 10], 30);
  shimmer3r.set([0, 3, 0, 1, 1, 14], 34);
  shimmer3r.set([15, 0, 1, 2, 3, 18, 19, 10, 11, 12, 4, 5, 6, 7, 8, 9], 314);
  shimmer3r.set(usual.subarray(256), 384);
  const synced = usual.slice();
  synced.set([0, 2, 0, 0, 19, 0], 34);
  synced[16] = 4;
  return [usual, everything, shimmer3r, synced];
}

function mutate(seed) {
  const bytes = seed.slice(0, random() < 0.2 ? upTo(seed.length + 1) : seed.length);
  if (bytes.length === 0) return bytes;
  const inHeader = Math.min(bytes.length, 384);
  for (let hits = 1 + upTo(8); hits > 0; hits--) {
    const at = random() < 0.7 ? upTo(inHeader) : upTo(bytes.length);
    const how = upTo(4);
    if (how === 0) bytes[at] = upTo(256);
    else if (how === 1) bytes[at] ^= 1 << upTo(8);
    else if (how === 2) bytes.fill(random() < 0.5 ? 0 : 0xff, at, at + upTo(24));
    else bytes.copyWithin(at, upTo(bytes.length), upTo(bytes.length));
  }
  return bytes;
}

const seeds = seedFiles();
const tally = { decoded: 0, refused: 0 };
const sentence = / at byte \d+: expected .+, found .+/s;
let slowestMs = 0;
const started = Date.now();
for (let round = 0; round < rounds; round++) {
  const bytes = mutate(seeds[round % seeds.length]);
  const before = performance.now();
  try {
    const { recording, columns } = decode(bytes, { profile: profiles[upTo(3)] });
    if (columns.some(({ values }) => values.length !== recording.count)) throw new Error("columns of unequal length");
    tally.decoded++;
  } catch (error) {
    if (error.code !== "recording_bad" || !sentence.test(error.message)) {
      console.error(`round ${round}: ${error.stack}\n${Buffer.from(bytes).toString("hex")}`);
      process.exit(1);
    }
    tally.refused++;
  }
  slowestMs = Math.max(slowestMs, performance.now() - before);
}
if (slowestMs > slowestAllowedMs) throw new Error(`one file took ${slowestMs} ms`);
console.log(
  `${rounds} files in ${((Date.now() - started) / 1000).toFixed(0)} s: ${tally.decoded} decoded, ${tally.refused} refused with a sentence; ` +
    `slowest ${slowestMs.toFixed(0)} ms, peak RSS ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB`,
);
