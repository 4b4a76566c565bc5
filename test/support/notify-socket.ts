/** The other end of sd_notify(3): a unix datagram socket, which Node has not; perl, which Debian always has, does. */
import { spawn } from "node:child_process";
import { once } from "node:events";

const script = `
use Socket;
my $path = shift; $path =~ s/^@/\\0/;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($socket, pack_sockaddr_un($path)) or die $!;
$| = 1;
print "listening\\n";
while (defined recv($socket, my $message, 65536, 0)) { $message =~ s/\\n/ | /g; print "$message\\n"; }
`;

export interface NotifySocket {
  /** One message a line, its assignments parted by ` | `; barriers are left out. */
  messages(): string[];
  /** Resolves with the first message, of those to come too, that matches. */
  hears(pattern: RegExp): Promise<string>;
  close(): Promise<void>;
}

/** `address`: a path, or `@name` for an abstract one. */
export async function openNotifySocket(address: string): Promise<NotifySocket> {
  const perl = spawn("perl", ["-e", script, address], { stdio: ["ignore", "pipe", "inherit"] });
  const lines: string[] = [];
  let rest = "";
  let wake = (): void => undefined;
  perl.stdout.setEncoding("utf8").on("data", (text: string) => {
    const all = (rest + text).split("\n");
    rest = all.pop()!;
    lines.push(...all);
    wake();
  });
  const messages = (): string[] => lines.filter((line) => line !== "BARRIER=1" && line !== "listening");
  const until = async (matches: () => string | undefined): Promise<string> => {
    for (;;) {
      const found = matches();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  await until(() => lines.find((line) => line === "listening"));
  return {
    messages,
    hears: (pattern) => until(() => messages().find((line) => pattern.test(line))),
    async close() {
      perl.kill();
      await once(perl, "close");
    },
  };
}
