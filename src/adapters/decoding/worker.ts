/** Entry of a decoding thread: one job at a time, an answer for each. */
import { parentPort } from "node:worker_threads";
import type { DecodeJob } from "../../core/decoding.ts";
import { asUploaderError } from "../../core/errors.ts";
import { type Answer, runJob } from "./job.ts";

const answer = (job: DecodeJob): Answer => {
  try {
    return { ok: true, result: runJob(job) };
  } catch (error) {
    const { code, message, hint } = asUploaderError(error);
    return { ok: false, code, message, hint: hint ?? null };
  }
};

parentPort!.on("message", (job: DecodeJob) => parentPort!.postMessage(answer(job)));
