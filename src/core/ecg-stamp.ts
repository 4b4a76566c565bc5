/** Stamps of recordings, `YYYYMMDD_HHMMSS`, and what a clock on the wall shows in a time zone. */

/** The first stamp in a name that is a real date and time, as written; null: there is none. */
export function stampIn(name: string): string | null {
  for (const [stamp] of name.matchAll(/(?<!\d)\d{8}_\d{6}(?!\d)/g)) if (isRealStamp(stamp)) return stamp;
  return null;
}

const fields = /^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$/;

function isRealStamp(stamp: string): boolean {
  const [year, month, day, hour, minute, second] = fields.exec(stamp)!.slice(1).map(Number) as Numbers;
  return month > 0 && day > 0 && stampOfUtc(Date.UTC(year, month - 1, day, hour, minute, second)) === stamp;
}

type Numbers = [number, number, number, number, number, number];

const stampOfUtc = (ms: number): string =>
  new Date(ms)
    .toISOString()
    .replace(/-|:|\..*/g, "")
    .replace("T", "_");

/** `YYYY/MM/DD` of a stamp. */
export const dateFolder = (stamp: string): string => `${stamp.slice(0, 4)}/${stamp.slice(4, 6)}/${stamp.slice(6, 8)}`;

export interface Zone {
  /** IANA. */
  readonly name: string;
  /** The local time at `ms` (Unix time, ms) as a stamp. */
  stampOf(ms: number): string;
  /**
   * Unix time (ms) of an ISO 8601 text; one without an offset is local. Where the clock was set back the hour is there
   * twice: the earlier one counts, so that nothing changed since is taken for older. null: it is no time.
   */
  instantOf(text: string): number | null;
}

/** Throws RangeError when there is no such zone. */
export function openZone(name: string): Zone {
  const format = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn-hc-h23", {
    timeZone: name,
    ...{ year: "numeric", month: "2-digit", day: "2-digit" },
    ...{ hour: "2-digit", minute: "2-digit", second: "2-digit" },
  });
  const stampOf = (ms: number): string => {
    const part = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const text = (...types: Intl.DateTimeFormatPartTypes[]) => types.map((type) => part.get(type)).join("");
    return `${(part.get("year") ?? "").padStart(4, "0")}${text("month", "day")}_${text("hour", "minute", "second")}`;
  };
  /** How far the wall is ahead of UTC at an instant. */
  const offsetAt = (ms: number): number => {
    const [year, month, day, hour, minute, second] = fields.exec(stampOf(ms))!.slice(1).map(Number) as Numbers;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000;
  };
  return {
    name,
    stampOf,
    instantOf(text) {
      const iso = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[+-]\d\d:?\d\d)?$/i.exec(text.trim());
      if (!iso) return null;
      const wallMs = Date.parse(`${iso[1]}T${iso[2]}Z`);
      if (Number.isNaN(wallMs)) return null;
      if (iso[3]) return Date.parse(`${iso[1]}T${iso[2]}${iso[3].replace(/^([+-]\d\d)(\d\d)$/, "$1:$2")}`);
      const dayMs = 86_400_000;
      const ahead = [offsetAt(wallMs - dayMs), offsetAt(wallMs + dayMs)];
      const fitting = ahead.map((offset) => wallMs - offset).filter((ms) => ms + offsetAt(ms) === wallMs);
      // Within the hour that a clock skips, no instant fits.
      return Math.min(...(fitting.length > 0 ? fitting : ahead.map((offset) => wallMs - offset)));
    },
  };
}
