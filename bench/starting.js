/** What a user waits for before anything happens. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { lockHolder } from "../build/store/embedded/lock.js";
import { openStateDirectory } from "../build/store/embedded/state-directory.js";
import { measured } from "./copying.js";
import { treeOf } from "./trees.js";
import { workplace } from "./workplace.js";

const figuresOf = (row, values) => row.figures.map((figure, at) => ({ ...figure, values: values[at] }));

export async function versionRow(row, { program, pairs }) {
  const walls = [];
  for (let n = 0; n < 2 * pairs + 1; n++) walls.push(measured([process.execPath, program, "--version"], {}).wallMs);
  return { title: row.title, samples: {}, figures: figuresOf(row, [walls]) };
}

/** Ends the keeper, and with it the server. */
async function stopServer(lock) {
  const holder = lockHolder(lock);
  if (holder === null) return;
  process.kill(holder.pid, "SIGTERM");
  while (lockHolder(lock) !== null) await delay(20);
}

/** One file to a folder: with the server at rest, as on the first command of the day, and with it running. */
export async function oneFileRow(row, { program, pairs }) {
  const tree = treeOf("one", 1);
  const state = join(workplace, "state-one");
  const { lock } = openStateDirectory(state);
  // Initialised by this build: an older one's tables may differ.
  await stopServer(lock);
  rmSync(state, { recursive: true });
  let run = 0;
  const once = () => {
    const to = join(workplace, "one-file", String(run++));
    const names = ["--project", `one-${process.pid}-${run}`, "--quiet"];
    return measured([process.execPath, program, "upload", tree, to, ...names], { UPLOADER_STATE_DIR: state }).wallMs;
  };
  once();
  const walls = [[], []];
  for (let n = 0; n < pairs; n++) {
    await stopServer(lock);
    walls[0].push(once());
    walls[1].push(once());
  }
  await stopServer(lock);
  rmSync(join(workplace, "one-file"), { recursive: true });
  return { title: row.title, samples: {}, figures: figuresOf(row, walls) };
}
