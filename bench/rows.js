/** What is measured, and the figures to reach. `most` or `least` must be met, `aim` is better. */
import { copyRow } from "./copying.js";
import { registerRow } from "./registering.js";
import { oneFileRow, versionRow } from "./starting.js";

export const rows = {
  small: {
    title: "20,000 files of 4-64 KiB, HTTP",
    run: copyRow,
    tree: "small",
    sink: { md5: true },
    clients: ["uploader", "rclone", "boto3"],
    sometimes: { boto3: 2 },
    figures: [
      { what: "wall", against: "rclone", most: 0.65, aim: 0.5 },
      { what: "wall", against: "boto3", most: 0.1 },
      { what: "cpu", against: "rclone", most: 0.45, aim: 0.35 },
      { what: "rss", most: 180, aim: 130 },
    ],
  },
  signed: {
    title: "4 files of 512 MiB, HTTP, payload hash signed",
    run: copyRow,
    tree: "large",
    sink: {},
    clients: ["uploader", "aws"],
    figures: [
      { what: "mbPerCpuSecond", against: "aws", least: 1.2, aim: 1.35 },
      { what: "rss", most: 250, aim: 200 },
    ],
  },
  unsigned: {
    title: "4 files of 512 MiB, HTTP, unsignedPayload, checksums echoed",
    run: copyRow,
    tree: "large",
    sink: {},
    clients: ["uploader", "aws"],
    flags: ["--s3-unsigned-payload"],
    figures: [
      { what: "mbPerCpuSecond", against: "aws", least: 2, aim: 2.4 },
      { what: "rss", most: 250, aim: 200 },
    ],
  },
  https: {
    title: "4 files of 512 MiB, HTTPS",
    run: copyRow,
    tree: "large",
    sink: { tls: true },
    clients: ["uploader", "boto3"],
    figures: [
      { what: "mbPerCpuSecond", against: "boto3", least: 1.6, aim: 1.8 },
      { what: "rss", most: 250, aim: 200 },
    ],
  },
  recordings: {
    title: "2,000 files of 8 MiB, HTTP",
    run: copyRow,
    tree: "recordings",
    sink: {},
    clients: ["uploader", "rclone"],
    sometimes: { uploader: 3, rclone: 3 },
    figures: [{ what: "wall", against: "rclone", most: 1, aim: 0.7 }],
  },
  latency: {
    title: "20,000 files of 4-64 KiB, 20 ms a request",
    run: copyRow,
    tree: "small",
    sink: { md5: true, latencyMs: 20 },
    clients: ["uploader", "rclone"],
    figures: [
      { what: "filesPerSecond", against: "rclone", least: 2 },
      { what: "filesPerSecond", aim: 3500 },
    ],
  },
  many: {
    title: "300,000 files of 1-100 bytes, then again when all is there",
    run: copyRow,
    tree: "many",
    sink: { md5: true },
    clients: ["uploader", "again"],
    sometimes: { uploader: 3, again: 3 },
    figures: [
      { what: "cpu", most: 100, aim: 72 },
      { what: "rss", most: 250 },
      { of: "again", what: "wall", most: 4, aim: 2.5 },
      { of: "again", what: "rss", most: 250 },
    ],
  },
  register: {
    title: "State alone: registering, claiming and settling",
    run: registerRow,
    figures: [
      { label: "registering, CPU with Postgres (s)", most: 6 },
      { label: "last tenth of the claims / first tenth", most: 1.3 },
    ],
  },
  version: {
    title: "`uploader --version`",
    run: versionRow,
    figures: [{ label: "wall (ms)", most: 200 }],
  },
  one: {
    title: "`upload` of one file to a folder, database initialised",
    run: oneFileRow,
    figures: [
      { label: "server at rest: wall (ms)", most: 1500 },
      { label: "server running: wall (ms)", most: 1500 },
    ],
  },
};
