/** Recordings by kind: extension (lower case, matched in any case) and what it is called on the wire. */
export const fileKinds = {
  sound: {
    wav: "audio/wav",
    flac: "audio/flac",
    mp3: "audio/mpeg",
    ogg: "audio/ogg",
    aif: "audio/aiff",
    aiff: "audio/aiff",
    wac: "application/octet-stream",
  },
  picture: {
    jpg: "image/jpeg",
    jpeg: "image/jpeg",
    png: "image/png",
    tif: "image/tiff",
    tiff: "image/tiff",
    dng: "image/x-adobe-dng",
  },
  video: {
    mp4: "video/mp4",
    m4v: "video/x-m4v",
    mov: "video/quicktime",
    avi: "video/x-msvideo",
    mkv: "video/x-matroska",
    mts: "video/mp2t",
  },
  report: { pdf: "application/pdf", json: "application/json" },
  signal: { csv: "text/csv", edf: "application/octet-stream", bdf: "application/octet-stream" },
} as const satisfies Record<string, Record<string, string>>;

export type FileKind = keyof typeof fileKinds;

const byExtension = new Map<string, { kind: FileKind; contentType: string }>(
  Object.entries(fileKinds).flatMap(([kind, extensions]) =>
    Object.entries(extensions).map(([extension, contentType]) => [extension, { kind: kind as FileKind, contentType }]),
  ),
);

/** The default `include` as patterns. Beside them come Shimmer recordings, known by their header (`mayBeShimmer`). */
export const defaultInclude: readonly string[] = [...byExtension.keys()].map((extension) => `**/*.${extension}`);

/** Lower-case extension of a path's last segment without the dot; `""` when it has none. `.wav` alone is a name. */
export function extensionOf(path: string): string {
  const dot = path.lastIndexOf(".");
  const name = path.lastIndexOf("/") + 1;
  return dot <= name ? "" : path.slice(dot + 1).toLowerCase();
}

export function kindOf(path: string): FileKind | null {
  return byExtension.get(extensionOf(path))?.kind ?? null;
}

export function contentTypeOf(path: string): string | null {
  return byExtension.get(extensionOf(path))?.contentType ?? null;
}

/**
 * Names of files that are never sent: what systems leave behind (`._*` are AppleDouble halves that look like
 * recordings), secrets, people, our own and older programs' state. Folders of such a name are still entered.
 */
const neverSent = /^(?:\._.*|\.DS_Store|Thumbs\.db|users\.json|upload_log\.json.*|\.env.*|.*\.partial)$/is;

export function isNeverSent(name: string): boolean {
  return neverSent.test(name);
}

/** Shimmer cards name files `000`, the phone app that copies them `…__000.txt`: only the header can tell. */
export function mayBeShimmer(path: string): boolean {
  const extension = extensionOf(path);
  return extension === "" || extension === "txt";
}

/** Shortest Shimmer header (Shimmer3; Shimmer3R has 384 bytes, its first 256 laid out alike). */
export const shimmerHeaderBytes = 256;

const shimmerHardware = [3, 10];
/** 1 BtStream, 2 SDLog, 3 LogAndStream; the vendor has given out numbers up to 15. */
const maxFirmwareType = 15;

/**
 * Does a file that starts with these bytes hold a Shimmer SD log? Offsets: divider u16 LE at 0, MAC at 24-29,
 * hardware version u16 BE at 30, firmware type u16 BE at 34. Text cannot pass: it has no zero bytes there.
 */
export function looksLikeShimmer(head: Uint8Array): boolean {
  if (head.length < shimmerHeaderBytes) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const mac = head.subarray(24, 30);
  const firmwareType = view.getUint16(34);
  return (
    view.getUint16(0, true) !== 0 &&
    shimmerHardware.includes(view.getUint16(30)) &&
    firmwareType >= 1 &&
    firmwareType <= maxFirmwareType &&
    !mac.every((byte) => byte === 0xff) &&
    !mac.every((byte) => byte === 0)
  );
}
