/** The one door to cli-progress: four lines redrawn in place, other lines above them. */
import cliProgress from "cli-progress";
import type { Block } from "./render.ts";

const lines = 4;
const clearBelow = "\x1b[J";

export function openProgressBlock(stream: NodeJS.WriteStream): Block {
  const block = new cliProgress.MultiBar({
    stream,
    format: (_options, _params, payload: { line?: string }) =>
      (payload.line ?? "").slice(0, (stream.columns ?? 80) - 1),
    fps: 4,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    // Else the terminal cuts messages at its edge for as long as the block stands.
    linewrap: true,
    // A message above wipes the block: every line is drawn again.
    forceRedraw: true,
    // Signals are ours: the block is closed with the renderer, or when the process ends.
    gracefulExit: false,
    emptyOnZero: true,
  });
  let bars: cliProgress.SingleBar[] = [];

  const close = (): void => {
    process.off("exit", close);
    if (bars.length === 0) return;
    bars = [];
    // What was said since the last redraw waits in its buffer, and stop() would drop it.
    block.update();
    block.stop();
  };

  return {
    draw(text) {
      if (bars.length === 0) {
        process.once("exit", close);
        bars = Array.from({ length: lines }, () => block.create(1, 0, { line: "" }));
      }
      for (const [at, bar] of bars.entries()) bar.update(0, { line: text[at] ?? "" });
    },
    say(text) {
      if (bars.length === 0) stream.write(`${text}\n`);
      else block.log(`${clearBelow}${text}\n`);
    },
    close,
  };
}
