import { UploaderError } from "../core/errors.ts";
import type { SourceMemory, SourceState } from "../core/sources.ts";
import { camel } from "./camel.ts";
import type { Run } from "./runner.ts";

export function sourceMethods(run: Run): SourceMemory {
  return {
    async recordPass(pass) {
      const [noted] = await run<{ id: number }>("sources_pass", { ...pass });
      const [row] = await run("sources_state", { id: noted?.id ?? null });
      if (!row) throw new UploaderError("internal", `the pass of source ${pass.name} was not recorded`);
      return camel<SourceState>(row);
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
