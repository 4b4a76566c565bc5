import { versionText } from "./header.ts";
import { recordedSensors } from "./plan.ts";
import type { Recording } from "./recording.ts";

/** A recording's header and time span in plain words, for JSON. Times are ISO 8601 UTC, `null` where none is known. */
export interface Description {
  device: string;
  mac: string;
  model: "Shimmer3" | "Shimmer3R";
  firmware: string;
  board: string;
  daughterCard: string | null;
  sensors: string[];
  rateHz: number;
  samples: number;
  start: string | null;
  end: string | null;
  durationSeconds: number | null;
  timeSource: string;
  synchronised: boolean;
  trialId: number;
  parts: string[];
}

export function describeHeader({ device, header, start, report, partNames }: Recording): Description {
  const { startMs, endMs, records } = report;
  const isDated = start.source !== "device" && !report.notes.some(({ code }) => code === "clock_unset");
  return {
    device,
    mac: header.mac,
    model: header.generation === "shimmer3r" ? "Shimmer3R" : "Shimmer3",
    firmware: `${header.firmware.kind} ${versionText(header.firmware.version)}`,
    board: header.board,
    daughterCard: header.card === null ? null : `SR${header.card.id}-${header.card.revision}-${header.card.special}`,
    sensors: recordedSensors(header, partNames[0]!),
    rateHz: header.rateHz,
    samples: records,
    start: isDated ? isoTime(startMs) : null,
    end: isDated ? isoTime(endMs) : null,
    durationSeconds: startMs === null || endMs === null ? null : (endMs - startMs) / 1000,
    timeSource: start.source,
    synchronised: report.syncMeasurements > 0,
    trialId: header.trialId,
    parts: [...partNames],
  };
}

export function isoTime(unixMs: number | null): string | null {
  if (unixMs === null) return null;
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}
