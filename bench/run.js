/** `npm run bench`: see bench/README.md. Tables go to stdout, what happens meanwhile to stderr. */
import { writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createClients, versionsOf } from "./clients.js";
import { tell } from "./report.js";
import { rows } from "./rows.js";
import { workplace } from "./workplace.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: "string", default: "5" },
    quick: { type: "boolean", default: false },
    program: { type: "string", default: fileURLToPath(new URL("../bin/uploader.js", import.meta.url)) },
    aws: { type: "string" },
    python: { type: "string", default: "python3" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(`npm run bench -- [ROW...] [--pairs N] [--quick] [--program FILE] [--aws FILE] [--python FILE]

rows: ${Object.keys(rows).join(", ")} (all when none is named)
--quick: one pair of trees a tenth the size; --program: another build's bin/uploader.js`);
  process.exit(0);
}
const names = positionals.length > 0 ? positionals : Object.keys(rows);
const unknown = names.find((name) => rows[name] === undefined);
if (unknown !== undefined) {
  console.error(`no row "${unknown}": ${Object.keys(rows).join(", ")}`);
  process.exit(2);
}

const say = (line) => console.error(line);
const settings = {
  program: values.program,
  clients: createClients(values),
  pairs: values.quick ? 1 : Number(values.pairs),
  share: values.quick ? 0.1 : 1,
  say,
};
const load = () =>
  loadavg()
    .map((value) => value.toFixed(1))
    .join(" ");
const machine = {
  date: new Date().toISOString(),
  cpu: `${cpus().length} x ${cpus()[0].model}`,
  memoryGb: Math.round(totalmem() / 1e9),
  kernel: release(),
  ...versionsOf(values),
};
for (const [name, value] of Object.entries(machine)) console.log(`${name}: ${value}  `);

const results = [];
let failed = false;
for (const name of names) {
  say(`${name}: load ${load()}`);
  try {
    const result = await rows[name].run(rows[name], settings);
    results.push({ name, load: load(), ...result });
    console.log(`\n${tell(result, values.quick)}`);
  } catch (error) {
    failed = true;
    console.error(`${name}: ${error.stack}`);
  }
}
const file = join(workplace, `results-${machine.date.replaceAll(":", "")}.json`);
writeFileSync(file, JSON.stringify({ machine, results }, null, 1));
say(`every sample: ${file}`);
process.exitCode = failed ? 1 : 0;
