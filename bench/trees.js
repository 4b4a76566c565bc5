/** The trees that are sent: the same bytes, names and times in every run and on every machine. Made once. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { workplace } from "./workplace.js";

/** 2026-01-01: older than any run, so no file is still settling. */
const mtimeSeconds = 1767225600;

/** xorshift32. */
function createRandom(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Bytes that do not compress, cut from one pool at changing places. */
function createBytes(random, poolBytes) {
  const pool = Buffer.allocUnsafe(poolBytes);
  for (let at = 0; at < poolBytes; at += 4) pool.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  return (sizeBytes) => {
    const from = Math.floor(random() * (poolBytes - sizeBytes));
    return pool.subarray(from, from + sizeBytes);
  };
}

const digits = (number, width) => String(number).padStart(width, "0");

const makers = {
  /** 20,000 files of 4-64 KiB in 100 folders. */
  small({ add, random, share }) {
    const bytes = createBytes(random, 1 << 20);
    for (let n = 0; n < 20_000 * share; n++) {
      const sizeBytes = 4096 + Math.floor(random() * (65536 - 4096 + 1));
      add(`d${digits(n % 100, 3)}/f${digits(n, 5)}.wav`, bytes(sizeBytes));
    }
  },
  /** 300,000 files of 1-100 bytes in 3,000 folders. */
  many({ add, random, share }) {
    const bytes = createBytes(random, 1 << 16);
    for (let n = 0; n < 300_000 * share; n++) {
      const folder = n % 3000;
      add(
        `s${digits(folder % 50, 2)}/d${digits(folder, 4)}/R${digits(n, 6)}.wav`,
        bytes(1 + Math.floor(random() * 100)),
      );
    }
  },
  /** 4 files of 512 MiB. */
  large({ add, random, share }) {
    const bytes = createBytes(random, 64 << 20);
    for (let n = 0; n < 4; n++) {
      add(`big${n}.wav`, Buffer.concat(Array.from({ length: 16 }, () => bytes(Math.ceil(share * (32 << 20))))));
    }
  },
  /** 2,000 names of 8 MiB over 50 files (hard links): 16 GB of work that a page cache can hold. */
  recordings({ add, link, random, share }) {
    const bytes = createBytes(random, 32 << 20);
    for (let n = 0; n < 50; n++) add(`c00/r${digits(n, 4)}.wav`, bytes(8 << 20));
    for (let n = 50; n < 2_000 * share; n++) {
      link(`c00/r${digits(n % 50, 4)}.wav`, `c${digits(Math.floor(n / 50), 2)}/r${digits(n, 4)}.wav`);
    }
  },
  /** One file of 1 KiB. */
  one({ add, random }) {
    add("one.wav", createBytes(random, 1 << 16)(1024));
  },
};

/** The tree's folder, made if it is not there; `share` of its files, or of their size. */
export function treeOf(name, share) {
  const root = join(workplace, "trees", share === 1 ? name : `${name}-${share}`);
  if (existsSync(root)) return root;
  console.error(`making the tree "${name}"`);
  const draft = `${root}.new`;
  rmSync(draft, { recursive: true, force: true });
  const place = (path) => {
    const file = join(draft, path);
    mkdirSync(dirname(file), { recursive: true });
    return file;
  };
  const add = (path, bytes) => {
    const file = place(path);
    writeFileSync(file, bytes);
    utimesSync(file, mtimeSeconds, mtimeSeconds);
  };
  const link = (from, to) => linkSync(join(draft, from), place(to));
  makers[name]({ add, link, random: createRandom(20260101), share });
  renameSync(draft, root);
  return root;
}

/** Reads every file once, so that the first client does not pay for the disk, and counts what there is. */
export function warm(root) {
  const total = { files: 0, bytes: 0 };
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    const path = join(root, entry.name);
    if (entry.isDirectory()) {
      const below = warm(path);
      total.files += below.files;
      total.bytes += below.bytes;
    } else {
      total.files += 1;
      total.bytes += readFileSync(path).length;
    }
  }
  return total;
}
