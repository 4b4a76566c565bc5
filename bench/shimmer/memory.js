/**
 * Peak memory and time for a long recording, made up chunk by chunk so that it never stands in memory.
 *   node bench/shimmer/memory.js csv|json|mat|parquet|summary|plot [megabytes]
 */
import {
  drawOverview,
  openRecording,
  renderPng,
  renderSummary,
  summarise,
  writeCsv,
  writeJson,
  writeMat,
  writeParquet,
} from "../../build/shimmer/index.js";
import { syntheticHeader, writeRecords } from "./synthetic.js";

const [kind = "csv", size = "1000"] = process.argv.slice(2);
const perChunk = 32_768;
const chunkCount = Math.ceil((Number(size) * 1e6) / (perChunk * 33));
const records = new Uint8Array(perChunk * 33);

function* chunks() {
  yield syntheticHeader();
  for (let chunk = 0; chunk < chunkCount; chunk++) {
    // The same signals again and again, with ticks that go on: making them up anew would be measured too.
    if (chunk === 0) writeRecords(records, 0, 0, perChunk);
    for (let record = 0, p = 0; record < perChunk; record++, p += 33) {
      const tick = ((chunk * perChunk + record) * 640) % 2 ** 24;
      records[p] = tick & 0xff;
      records[p + 1] = (tick >> 8) & 0xff;
      records[p + 2] = tick >> 16;
    }
    yield records;
  }
}

const encoders = { csv: writeCsv, json: writeJson, mat: writeMat, parquet: writeParquet };
const drawings = {
  summary: (recording) => Buffer.from(renderSummary(summarise(recording))),
  plot: (recording) => renderPng(drawOverview(recording)),
};

const started = process.hrtime.bigint();
const recording = openRecording([{ name: "long", chunks }]);
let written = 0;
if (kind in encoders) for (const chunk of encoders[kind](recording)) written += chunk.length;
else written = drawings[kind](recording).length;
const seconds = Number(process.hrtime.bigint() - started) / 1e9;
const { user, system } = process.cpuUsage();
const peakMb = process.resourceUsage().maxRSS / 1024;
console.log(
  `${kind.padEnd(8)} ${size} MB, ${recording.count} records: ${seconds.toFixed(1)} s (CPU ${((user + system) / 1e6).toFixed(1)} s), ` +
    `${(written / 1e6).toFixed(1)} MB written, peak RSS ${peakMb.toFixed(0)} MiB ${peakMb * 1.048576 <= 200 ? "(goal 200 MB: met)" : "(goal 200 MB: MISSED)"}`,
);
