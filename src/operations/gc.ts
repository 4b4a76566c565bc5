/** Our own multipart uploads that nobody will finish are aborted; those of others are named and never touched. */
import type { OwnUpload } from "../core/inquiries.ts";
import type { StaleUpload, UnfinishedUploads } from "../core/ports.ts";
import type { Context } from "./context.ts";

export interface GcInput {
  /** Keys below it, and nothing beside it; "" is the whole bucket. */
  prefix: string;
  /** Younger ones are left alone, whatever they are: somebody may be at work on them. */
  olderThanMs: number;
  /** Also those that their file may still resume; never one that a live worker has in hand. */
  force: boolean;
  dryRun: boolean;
  onUpload(upload: SweptUpload): void;
}

export type Fate = "aborted" | "would_abort" | "gone" | "resumable" | "young" | "foreign";

export interface SweptUpload extends StaleUpload {
  fate: Fate;
  sessionId: number | null;
  /** Why, in a few words. */
  why: string;
}

export type Sweep = Record<Fate, number>;

type GcContext = Pick<Context, "store" | "wallClock" | "stopping"> & { uploads: UnfinishedUploads };

const pageSize = 500;

/** Whether the file behind an upload may still go on with it; an upload that is not open is never taken up again. */
function isResumable({ status, fileStatus, permanent }: OwnUpload): boolean {
  if (status !== "open") return false;
  return fileStatus === "pending" || fileStatus === "uploading" || (fileStatus === "failed" && !permanent);
}

const because = (own: OwnUpload): string =>
  own.status === "open" ? `its file is ${own.fileStatus}` : `it was given up (${own.status})`;

/** Errors: access_denied when uploads may not be listed or aborted. */
export async function gc(cx: GcContext, input: GcInput): Promise<Sweep> {
  const sweep: Sweep = { aborted: 0, would_abort: 0, gone: 0, resumable: 0, young: 0, foreign: 0 };
  const segments = input.prefix.split("/").filter((segment) => segment !== "");
  const folder = segments.map((segment) => `${segment}/`).join("");

  const fateOf = async (upload: StaleUpload, own: OwnUpload | undefined): Promise<[Fate, string]> => {
    if (!own)
      return [
        "foreign",
        "this database does not know it: another program began it, or a run that died that very moment",
      ];
    const resumable = isResumable(own);
    if (own.inHand && resumable) return ["resumable", "it is being sent right now"];
    if (cx.wallClock() - upload.initiatedMs < input.olderThanMs) return ["young", because(own)];
    if (resumable && !input.force) return ["resumable", `${because(own)} and will go on with it`];
    if (input.dryRun) return ["would_abort", because(own)];
    const known = await cx.uploads.abortUpload(upload.key, upload.uploadId, cx.stopping);
    if (own.status === "open") await cx.store.uploads.end(upload.uploadId, "aborted");
    return [known ? "aborted" : "gone", because(own)];
  };

  const take = async (page: readonly StaleUpload[]): Promise<void> => {
    const ours = await cx.store.ownUploads(page.map((upload) => upload.uploadId));
    const byId = new Map(ours.map((own) => [own.uploadId, own]));
    for (const upload of page) {
      if (cx.stopping.aborted) return;
      const own = byId.get(upload.uploadId);
      const [fate, why] = await fateOf(upload, own);
      sweep[fate]++;
      input.onUpload({ ...upload, fate, why, sessionId: own?.sessionId ?? null });
    }
  };

  const page: StaleUpload[] = [];
  for await (const upload of cx.uploads.staleUploads(folder, cx.stopping)) {
    page.push(upload);
    if (page.length === pageSize) await take(page.splice(0));
  }
  await take(page);
  return sweep;
}
