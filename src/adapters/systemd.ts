/** The service manager of this machine, by its own tools. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { UploaderError } from "../core/errors.ts";
import { marker } from "../core/service-unit.ts";
import { errnoOf } from "./errno.ts";

export interface Systemd {
  /** Folder of the units. */
  readonly folder: string;
  environmentFile(name: string): string;
  /** Errors: usage when this machine, or this user's session, is not run by systemd. */
  require(): void;
  /** Writes what differs; says which files it wrote. Errors: usage without the rights to. */
  write(files: Readonly<Record<string, string>>): string[];
  /** A file for secrets, never overwritten: true when it was made. */
  makePrivate(path: string, text: string): boolean;
  /** Errors: usage when systemctl refuses, with its words. */
  control(...args: string[]): void;
  /** Properties of a unit; empty when there is none. */
  show(unit: string, properties: readonly string[]): Record<string, string>;
  /** Removes units that we made; says which. */
  remove(units: readonly string[]): string[];
}

export function openSystemd(isUser: boolean, env: NodeJS.ProcessEnv): Systemd {
  const home = env.XDG_CONFIG_HOME || join(homedir(), ".config");
  const folder = isUser ? join(home, "systemd/user") : "/etc/systemd/system";
  const run = (args: readonly string[]) => {
    const { status, stdout, stderr, error } = spawnSync("systemctl", [...(isUser ? ["--user"] : []), ...args], {
      encoding: "utf8",
      env,
    });
    return { status, said: `${stdout ?? ""}`.trim(), refusal: `${stderr ?? ""}`.trim(), error };
  };

  return {
    folder,
    environmentFile: (name) => (isUser ? join(home, "uploader", `${name}.env`) : `/etc/uploader/${name}.env`),
    require() {
      const { said, error } = run(["is-system-running"]);
      if (!error && said !== "" && said !== "offline" && said !== "unknown") return;
      throw new UploaderError(
        "usage",
        error
          ? "this machine has no systemd"
          : isUser
            ? "this user has no service manager that is running"
            : "this machine is not run by systemd",
        { hint: "--print shows the units; without systemd, cron can run: uploader --config FILE sync" },
      );
    },
    write(files) {
      const changed = Object.entries(files).filter(
        ([path, text]) => !existsSync(path) || readFileSync(path, "utf8") !== text,
      );
      for (const [path, text] of changed) {
        if (existsSync(path) && !isOurs(path)) {
          throw new UploaderError("usage", `${path} is there, and was not made by uploader service install`, {
            hint: "give another name: --name uploader-2",
          });
        }
        put(path, text, 0o644);
      }
      return changed.map(([path]) => path);
    },
    makePrivate(path, text) {
      if (existsSync(path)) return false;
      put(path, text, 0o600);
      return true;
    },
    control(...args) {
      const { status, refusal, error } = run(args);
      if (status === 0) return;
      throw new UploaderError(
        "usage",
        `systemctl ${args.join(" ")}: ${refusal || error?.message || `status ${status}`}`,
      );
    },
    show(unit, properties) {
      const { said } = run(["show", unit, `--property=${properties.join(",")}`]);
      return Object.fromEntries(
        said.split("\n").flatMap((line) => {
          const at = line.indexOf("=");
          return at > 0 ? [[line.slice(0, at), line.slice(at + 1)]] : [];
        }),
      );
    },
    remove(units) {
      const ours = units.map((unit) => join(folder, unit)).filter((path) => existsSync(path) && isOurs(path));
      for (const path of ours) guarded(path, () => rmSync(path));
      return ours;
    },
  };
}

const isOurs = (path: string): boolean => readFileSync(path, "utf8").startsWith(marker);

function put(path: string, text: string, mode: number): void {
  guarded(path, () => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
    chmodSync(path, mode);
  });
}

function guarded(path: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw new UploaderError("usage", `${path} cannot be written: ${errnoOf(error) ?? String(error)}`, {
      cause: error,
      hint: "a service of the system needs root: sudo; one of your own does not: --user",
    });
  }
}
