import type { SourceMemory, SourceState } from "../core/sources.ts";
import { camel } from "./camel.ts";
import type { Run } from "./runner.ts";

export function sourceMethods(run: Run): SourceMemory {
  return {
    async recordPass(pass) {
      await run("sources_pass", { ...pass });
    },
    sources: async (project) => (await run("sources_states", { project })).map(camel<SourceState>),
    waitingBytes: async (project) =>
      new Map(
        (await run<{ id: number; bytes: number }>("sources_waiting_bytes", { project })).map(({ id, bytes }) => [
          id,
          bytes,
        ]),
      ),
  };
}
