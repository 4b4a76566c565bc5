/** The one door to cli-progress: four lines redrawn in place, other lines above them. */
import cliProgress from "cli-progress";
import type { Block } from "./render.ts";

const lines = 4;

export function openProgressBlock(stream: NodeJS.WriteStream): Block {
  const block = new cliProgress.MultiBar({
    stream,
    format: (_options, _params, payload: { line?: string }) =>
      (payload.line ?? "").slice(0, (stream.columns ?? 80) - 1),
    fps: 4,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    // Signals are ours: the block is closed with the renderer.
    gracefulExit: false,
    emptyOnZero: true,
  });
  const bars = Array.from({ length: lines }, () => block.create(1, 0, { line: "" }));
  return {
    draw(text) {
      for (const [at, bar] of bars.entries()) bar.update(0, { line: text[at] ?? "" });
    },
    say: (text) => block.log(`${text}\n`),
    close: () => block.stop(),
  };
}
