/**
 * Speed of the decoder and its writers, in MB of recording per second of CPU of one core.
 *   node scripts/build.js && node bench/shimmer/decode.js [megabytes]
 */
import { decode, openRecording, writeCsv, writeJson, writeMat, writeParquet } from "../../build/shimmer/index.js";
import { syntheticRecording } from "./synthetic.js";

const megabytes = Number(process.argv[2] ?? 100);
const rounds = 5;
const goals = { decode: 120, csv: 10, parquet: 40 };
const writers = { csv: writeCsv, json: writeJson, mat: writeMat, parquet: writeParquet };

function measure(name, bytes, work, times) {
  const rates = [];
  let note = "";
  for (let round = 0; round < times; round++) {
    const before = process.cpuUsage();
    note = work();
    const { user, system } = process.cpuUsage(before);
    rates.push(bytes.length / (user + system));
  }
  rates.sort((a, b) => a - b);
  const goal = goals[name.split(" ")[0]];
  const median = rates[rates.length >> 1];
  const verdict = goal === undefined ? "" : median >= goal ? `goal ${goal}: met` : `goal ${goal}: MISSED`;
  console.log(
    `${name.padEnd(20)} median ${median.toFixed(1).padStart(6)}  best ${rates.at(-1).toFixed(1).padStart(6)} MB/s  ${note.padEnd(24)} ${verdict}`,
  );
}

for (const kind of ["motion", "noise", "calibrated"]) {
  const bytes = syntheticRecording(megabytes * 1e6, kind);
  measure(`decode ${kind}`, bytes, () => `${decode(bytes).columns.length} columns`, rounds);
}
for (const kind of ["motion", "calibrated"]) {
  const bytes = syntheticRecording(megabytes * 0.3e6, kind);
  const recording = openRecording([{ name: "synthetic", chunks: () => [bytes] }]);
  for (const [name, write] of Object.entries(writers)) {
    const work = () => {
      let written = 0;
      for (const chunk of write(recording)) written += chunk.length;
      return `${(written / 1e6).toFixed(0)} MB written`;
    };
    measure(`${name} ${kind}`, bytes, work, 3);
  }
}
