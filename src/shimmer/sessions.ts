/**
 * Which files are the hourly parts of one session (SF 1, originals 1.2). Two grammars:
 * on the card `<experiment>_<configTime>/<device>-<NNN>/<part>`, and the phone app's flat names
 * `<androidId>__<yyyymmdd_HHMMSS>__<experiment>__<Shimmer_XXXX-NNN>__<part>[__wrong].txt`.
 */
export interface Session {
  /** The same for all parts of a session, unique among sessions. */
  key: string;
  /** Good for a file name: the parts' common name without the part number. */
  stem: string;
  /** Paths as given, in the order of their part numbers. */
  paths: string[];
}

interface Place {
  session: string;
  stem: string;
  part: number;
}

const phoneName = /^([^_]+)__(\d{8}_\d{6})__(.*?)__([^_]+_.+?-\d+|)__(\d+)(__wrong)?\.txt$/;
const cardPart = /^\d{3,}$/;
const cardFolder = /-\d{3,}$/;

/** Groups paths (separator `/`) into sessions, in order of first appearance; a file of neither grammar stands alone. */
export function groupSessions(paths: readonly string[]): Session[] {
  const sessions = new Map<string, { session: Session; parts: Map<string, number> }>();
  for (const path of paths) {
    const { session: key, stem, part } = placeOf(path);
    const known = sessions.get(key) ?? {
      session: { key, stem, paths: [] as string[] },
      parts: new Map<string, number>(),
    };
    known.session.paths.push(path);
    known.parts.set(path, part);
    sessions.set(key, known);
  }
  return [...sessions.values()].map(({ session, parts }) => ({
    ...session,
    paths: session.paths.sort((a, b) => parts.get(a)! - parts.get(b)! || (a < b ? -1 : 1)),
  }));
}

function placeOf(path: string): Place {
  const slash = path.lastIndexOf("/");
  const folder = path.slice(0, Math.max(0, slash));
  const name = path.slice(slash + 1);
  const phone = phoneName.exec(name);
  if (phone !== null) {
    const [, device, , experiment, sensor, part, wrong = ""] = phone as unknown as [
      string,
      string,
      string,
      string,
      string,
      string,
      string?,
    ];
    // The stamp is the time of transfer, and differs from part to part; without a sensor field nothing ties files together.
    const stem = [device, experiment, sensor].filter((field) => field !== "").join("__");
    if (sensor !== "") return { session: `${folder}/${stem}${wrong}`, stem: `${stem}${wrong}`, part: Number(part) };
  }
  const parent = folder.slice(folder.lastIndexOf("/") + 1);
  if (cardPart.test(name) && cardFolder.test(parent))
    return { session: `${folder}/`, stem: parent, part: Number(name) };
  return { session: path, stem: name.replace(/\.[^.]*$/, ""), part: 0 };
}
