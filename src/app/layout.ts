/** The layout of a configuration, for `upload` and `sync`. */
import type { Config } from "../config.ts";
import { type Layout, mirrorLayout } from "../core/layout.ts";
import type { Store } from "../core/store.ts";

/** `root`: real path of the source. Without a store, or read-only, nothing is remembered. */
export async function openLayout(
  config: Pick<Config, "layout" | "usersFile" | "dateFrom">,
  store: Store | null,
  root: string,
  { readOnly = store === null } = {},
): Promise<Layout> {
  if (config.layout === "mirror") return mirrorLayout;
  const { createEcgLayout } = await import("../operations/layout-ecg.ts");
  const { openUsersFile } = await import("../adapters/users-file.ts");
  const { openZone } = await import("../core/ecg-stamp.ts");
  return createEcgLayout({
    memory: store?.ecg ?? null,
    readOnly,
    users: openUsersFile({ root, path: config.usersFile }),
    dateFrom: config.dateFrom,
    zone: openZone(localZone()),
  });
}

/** The machine's own, or TZ. */
export const localZone = (): string => new Intl.DateTimeFormat().resolvedOptions().timeZone;
