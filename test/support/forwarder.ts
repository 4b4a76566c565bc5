/** A TCP door in front of a Postgres that can be shut: connections end, new ones are refused. */
import net from "node:net";
import { parse } from "pg-connection-string";

export interface Forwarder {
  /** The same database through the door. */
  url: string;
  shut(): Promise<void>;
  open(): Promise<void>;
}

export async function forwardTo(databaseUrl: string): Promise<Forwarder> {
  const { host, port, user, database } = parse(databaseUrl);
  const target = host?.startsWith("/")
    ? { path: `${host}/.s.PGSQL.${port || 5432}` }
    : { host: host ?? "127.0.0.1", port: Number(port || 5432) };
  const sockets = new Set<net.Socket>();
  const server = net.createServer((client) => {
    const upstream = net.connect(target as net.NetConnectOpts);
    for (const [from, into] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.pipe(into);
      from.on("error", () => into.destroy());
      from.on("close", () => {
        sockets.delete(from);
        into.destroy();
      });
    }
  });
  const listen = (at: number): Promise<void> => new Promise((resolve) => server.listen(at, "127.0.0.1", resolve));
  await listen(0);
  const at = (server.address() as net.AddressInfo).port;
  return {
    url: `postgresql://${user}@127.0.0.1:${at}/${database}`,
    shut: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
    open: () => listen(at),
  };
}
