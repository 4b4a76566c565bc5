/** Threads that decode, so that this one goes on whatever a recording holds. */

import { Worker } from "node:worker_threads";
import type { DecodeJob, DecodeLimits, DecodeResult, RecordingDecoder } from "../../core/decoding.ts";
import { UploaderError } from "../../core/errors.ts";
import { programOf } from "../../installed.ts";
import type { Answer } from "./job.ts";

/**
 * Small, so that it is swept often: what a writer has handed on lies outside the heap, and goes only when its owner is
 * swept. Parquet of 1 GB peaked at 168 MiB with the usual 48, at 110 with these.
 */
const youngMiB = 6;

export interface ThreadOptions {
  /** Recordings at one time, each in a thread of its own. */
  threads: number;
  /** Heap of a thread; columns are typed arrays outside of it, bounded by the decoder. Usual jobs stay below 60 MiB. */
  heapMiB?: number;
}

export function openDecoderThreads({ threads, heapMiB = 256 }: ThreadOptions): RecordingDecoder {
  const idle: Worker[] = [];
  const waiting: (() => void)[] = [];
  let busy = 0;
  let closed = false;

  const turn = async (signal: AbortSignal): Promise<void> => {
    if (busy >= threads) {
      await new Promise<void>((resolve, reject) => {
        const take = (): void => {
          signal.removeEventListener("abort", leave);
          resolve();
        };
        const leave = (): void => {
          waiting.splice(waiting.indexOf(take), 1);
          reject(signal.reason);
        };
        signal.addEventListener("abort", leave, { once: true });
        waiting.push(take);
      });
      return;
    }
    busy++;
  };
  /** Hands the turn on, or back. */
  const yieldTurn = (): void => {
    const next = waiting.shift();
    if (next) next();
    else busy--;
  };

  const start = (): Worker =>
    // No variable of ours, which may be secret, and no flag of ours is for a thread that reads strangers' bytes.
    new Worker(programOf("decoding-worker"), {
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMiB, maxYoungGenerationSizeMb: youngMiB },
    });

  /** The thread is kept when it has answered, and ended when it has not. */
  const run = (job: DecodeJob, { signal, timeMs }: DecodeLimits): Promise<Answer> => {
    const worker = idle.pop() ?? start();
    const name = job.parts[0]?.name ?? "recording";
    worker.ref();
    return new Promise<Answer>((resolve, reject) => {
      const timer = timeMs === null ? null : setTimeout(() => fail(tooSlow(name, timeMs)), timeMs);
      const settle = (): void => {
        if (timer) clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        worker.off("message", answered).off("error", broke).off("exit", left);
      };
      const fail = (error: unknown): void => {
        settle();
        // A thread that is ending may still report why; nobody asks any more.
        worker.on("error", () => undefined);
        void worker.terminate().then(() => reject(error));
      };
      const abort = (): void => fail(signal.reason);
      const broke = (error: NodeJS.ErrnoException): void =>
        fail(error.code === "ERR_WORKER_OUT_OF_MEMORY" ? tooLarge(name, heapMiB) : error);
      const left = (code: number): void => fail(new Error(`the decoding thread ended by itself (${code})`));
      const answered = (answer: Answer): void => {
        settle();
        if (closed) void worker.terminate();
        else {
          worker.unref();
          idle.push(worker);
        }
        resolve(answer);
      };
      signal.addEventListener("abort", abort, { once: true });
      worker.on("message", answered).on("error", broke).on("exit", left);
      worker.postMessage(job);
    });
  };

  return {
    async decode(job, limits): Promise<DecodeResult> {
      limits.signal.throwIfAborted();
      await turn(limits.signal);
      try {
        const answer = await run(job, limits);
        if (answer.ok) return answer.result;
        throw new UploaderError(answer.code, answer.message, answer.hint === null ? {} : { hint: answer.hint });
      } finally {
        yieldTurn();
      }
    },
    async close() {
      closed = true;
      await Promise.all(idle.splice(0).map((worker) => worker.terminate()));
    },
  };
}

function tooSlow(name: string, timeMs: number): UploaderError {
  return new UploaderError("recording_bad", `${name}: decoding took longer than ${Math.round(timeMs / 1000)} s`, {
    hint: "`uploader decode` gives it all the time it wants",
  });
}

function tooLarge(name: string, heapMiB: number): UploaderError {
  return new UploaderError("recording_bad", `${name}: decoding wanted more than ${heapMiB} MiB of memory`, {
    hint: "please report this: recordings of any length should fit",
  });
}
