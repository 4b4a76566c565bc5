/** Entry of the reading thread: whole small files into shared slots, with their digests. It may wait for a disk. */
import { hash } from "node:crypto";
import * as fs from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { checksumOf } from "../../core/checksum.ts";
import { openFlags } from "./open-flags.ts";
import { slotBytes, type Told, type Wanted } from "./reading-slots.ts";

const slots = workerData as SharedArrayBuffer;

function read({ slot, path, sizeBytes, mtimeNs, algorithm, signed }: Wanted): Told {
  const bytes = new Uint8Array(slots, slot * slotBytes, sizeBytes);
  let fd = -1;
  try {
    fd = fs.openSync(path, openFlags);
    const before = fs.fstatSync(fd, { bigint: true });
    if (!before.isFile()) return { end: "odd" };
    if (before.size !== BigInt(sizeBytes) || before.mtimeNs !== mtimeNs)
      return { end: "moved", sizeBytes: Number(before.size), mtimeNs: before.mtimeNs };
    let got = 0;
    for (let count = 1; got < sizeBytes && count > 0; got += count)
      count = fs.readSync(fd, bytes, got, sizeBytes - got, got);
    const after = fs.fstatSync(fd, { bigint: true });
    if (after.size !== before.size || after.mtimeNs !== mtimeNs)
      return { end: "moved", sizeBytes: Number(after.size), mtimeNs: after.mtimeNs };
    if (got !== sizeBytes) return { end: "moved", sizeBytes: got, mtimeNs };
    return {
      end: "read",
      checksum: checksumOf(algorithm, bytes),
      sha256: signed ? hash("sha256", bytes, "hex") : null,
    };
  } catch (error) {
    return { end: "failed", errno: (error as NodeJS.ErrnoException).code ?? "" };
  } finally {
    if (fd >= 0) fs.closeSync(fd);
  }
}

parentPort!.on("message", (batch: Wanted[]) => {
  const startedMs = performance.now();
  const told = batch.map(read);
  parentPort!.postMessage({ told, tookMs: performance.now() - startedMs });
});
