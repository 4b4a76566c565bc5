/** Looks at everything a run needs, without writing, and says for each fault how to mend it. */
import { asUploaderError } from "../core/errors.ts";

export interface Probe {
  name: string;
  /** Returns what is fine about it. Throws what is wrong, with the mend as hint. */
  run(): Promise<string>;
}

export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  fix: string | null;
}

export async function doctor(probes: readonly Probe[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, run } of probes) {
    try {
      findings.push({ name, ok: true, detail: await run(), fix: null });
    } catch (error) {
      const { message, hint } = asUploaderError(error);
      findings.push({ name, ok: false, detail: message, fix: hint ?? null });
    }
  }
  return findings;
}
