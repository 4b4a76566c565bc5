/** What travels with an object: nothing personal (design A8). */

export type ObjectType =
  | "recording"
  | "ecg_report_pdf"
  | "ecg_report_json"
  | "patient_details"
  | "ecg_12lead_data"
  | "user_signup"
  | "decoded_recording";

/** S3 user metadata is ASCII and at most 2 KB: the name is percent-encoded and left out when that is too long. */
export function objectMetadata(
  type: ObjectType,
  path: string | null,
  mtimeNs: bigint,
  nowMs: number,
): Record<string, string> {
  const metadata: Record<string, string> = {
    type,
    uploaded_at: new Date(nowMs).toISOString(),
    mtime: mtimeText(mtimeNs),
  };
  const filename = path === null ? "" : encodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
  if (filename !== "" && filename.length <= 1024) metadata.filename = filename;
  return metadata;
}

/** Seconds with nanoseconds, as rclone writes it. */
function mtimeText(mtimeNs: bigint): string {
  const sign = mtimeNs < 0n ? "-" : "";
  const digits = (mtimeNs < 0n ? -mtimeNs : mtimeNs).toString().padStart(10, "0");
  const fraction = digits.slice(-9).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -9)}${fraction === "" ? "" : `.${fraction}`}`;
}
