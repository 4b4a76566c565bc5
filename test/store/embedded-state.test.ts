import { chmodSync, existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { linkLibraries } from "../../src/store/embedded/binaries.ts";
import { canEnter, handOver } from "../../src/store/embedded/server-user.ts";
import { openSocketDirectory, socketFile } from "../../src/store/embedded/socket-directory.ts";
import {
  defaultStateDirectory,
  fileSystemType,
  isNetworkFileSystem,
} from "../../src/store/embedded/state-directory.ts";

const folder = mkdtempSync(join(tmpdir(), "uploader-state-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the default state folder", () => {
  const home = join(folder, "home");
  mkdirSync(home);

  test.each<[string, NodeJS.ProcessEnv, number, string]>([
    ["what UPLOADER_STATE_DIR says", { UPLOADER_STATE_DIR: "/a", XDG_STATE_HOME: "/b", HOME: home }, 1000, "/a"],
    ["what it says, for root as well", { UPLOADER_STATE_DIR: "/a" }, 0, "/a"],
    ["below XDG_STATE_HOME", { XDG_STATE_HOME: "/b", HOME: home }, 1000, "/b/uploader"],
    ["not below a relative XDG_STATE_HOME", { XDG_STATE_HOME: "b", HOME: home }, 1000, `${home}/.local/state/uploader`],
    ["below the home", { HOME: home }, 1000, `${home}/.local/state/uploader`],
    ["where root's server may go", { HOME: "/root" }, 0, "/var/lib/uploader"],
    ["of the uid, when the home is none", { HOME: "/proc/none" }, 4242, "/var/tmp/uploader-4242"],
    ["of the uid, without HOME and name", {}, 4242, "/var/tmp/uploader-4242"],
  ])("is %s", (_, env, uid, expected) => {
    expect(defaultStateDirectory(env, uid)).toBe(expected);
  });

  test("with a relative UPLOADER_STATE_DIR is absolute", () => {
    expect(defaultStateDirectory({ UPLOADER_STATE_DIR: "here" }, 1000)).toBe(join(process.cwd(), "here"));
  });
});

describe("the file system of a folder", () => {
  const mountinfo = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 22 0:40 / /home rw,relatime shared:5 master:2 - nfs4 server:/home rw,vers=4.2",
    "31 30 8:2 / /home/local rw - xfs /dev/sdb1 rw",
    "32 22 0:41 / /mnt/my\\040share rw - fuse.sshfs host: rw",
    "33 22 0:42 / /srv rw - ext4 /dev/sdc1 rw",
    "34 22 0:43 / /srv rw - cifs //server/srv rw",
    "",
  ].join("\n");

  test.each([
    ["/var/lib/uploader", "ext4", false],
    ["/home", "nfs4", true],
    ["/home/someone/.local/state/uploader", "nfs4", true],
    ["/home/local/state", "xfs", false],
    ["/homestead", "ext4", false],
    ["/mnt/my share/state", "fuse.sshfs", true],
    ["/srv/state", "cifs", true],
  ])("%s is %s", (path, type, network) => {
    expect(fileSystemType(mountinfo, path)).toBe(type);
    expect(isNetworkFileSystem(type)).toBe(network);
  });

  test.each(["nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.rclone"])(
    "%s is a network's",
    (type) => {
      expect(isNetworkFileSystem(type)).toBe(true);
    },
  );

  test.each(["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "fuseblk", "fuse.mergerfs"])(
    "%s is local",
    (type) => {
      expect(isNetworkFileSystem(type)).toBe(false);
    },
  );
});

describe("the socket's folder", () => {
  const runtime = join(folder, "run");
  mkdirSync(runtime);

  test("is ours alone, below XDG_RUNTIME_DIR, and found again", () => {
    const directory = openSocketDirectory("/state", null, { XDG_RUNTIME_DIR: runtime });
    expect(directory.startsWith(`${runtime}/`)).toBe(true);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(openSocketDirectory("/state", null, { XDG_RUNTIME_DIR: runtime })).toBe(directory);
    expect(openSocketDirectory("/state-2", null, { XDG_RUNTIME_DIR: runtime })).not.toBe(directory);
  });

  test("is another one when somebody opened or replaced it", () => {
    const directory = openSocketDirectory("/opened", null, { XDG_RUNTIME_DIR: runtime });
    chmodSync(directory, 0o755);
    const other = openSocketDirectory("/opened", null, { XDG_RUNTIME_DIR: runtime });
    expect(other.startsWith(runtime)).toBe(false);
    rmSync(other, { recursive: true });
    rmSync(directory, { recursive: true });
    writeFileSync(directory, "");
    rmSync(openSocketDirectory("/opened", null, { XDG_RUNTIME_DIR: runtime }), { recursive: true });
    expect(existsSync(directory)).toBe(true);
  });

  test("never has a path that a socket cannot have", () => {
    const long = join(folder, "d".repeat(80));
    mkdirSync(long);
    const directory = openSocketDirectory("/long", null, { XDG_RUNTIME_DIR: long });
    expect(directory.startsWith(long)).toBe(false);
    expect(Buffer.byteLength(socketFile(directory))).toBeLessThanOrEqual(107);
    rmSync(directory, { recursive: true });
  });
});

describe("the server's user", () => {
  const inner = join(folder, "closed", "open");
  mkdirSync(inner, { recursive: true });
  const stranger = { uid: 4242, gid: 4242 };

  test("may enter a folder only when it may enter all above it", () => {
    for (const path of [folder, join(folder, "closed"), inner]) chmodSync(path, 0o755);
    expect(canEnter(stranger, inner)).toBe(canEnter(stranger, tmpdir()));
    chmodSync(join(folder, "closed"), 0o700);
    expect(canEnter(stranger, inner)).toBe(false);
    expect(canEnter(null, inner)).toBe(true);
  });

  test.runIf(process.platform === "linux")("is given an open folder where it may not walk the path", () => {
    const { name, descriptor } = handOver(stranger, inner);
    expect(name).toBe("/proc/self/fd/3");
    expect(readlinkSync(`/proc/self/fd/${descriptor}`)).toBe(inner);
    expect(handOver(null, inner)).toEqual({ name: inner, descriptor: null });
  });
});

test("library links that a blocked install script left out are made", () => {
  const lib = join(folder, "native", "lib");
  mkdirSync(lib, { recursive: true });
  writeFileSync(join(lib, "libpq.so.5.18"), "");
  const links = ["libpq.so", "libpq.so.5"].map((name) => ({ source: "lib/libpq.so.5.18", target: `lib/${name}` }));
  expect(linkLibraries(join(folder, "native"), links)).toBe(true);
  expect(linkLibraries(join(folder, "native"), links)).toBe(true);
  expect(readlinkSync(join(lib, "libpq.so.5"))).toBe("libpq.so.5.18");
});
