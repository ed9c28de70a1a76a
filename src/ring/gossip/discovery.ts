// Where the members of a cluster are: addresses as they stand, and names of DNS, as Thanos writes them: dns+
// (A and AAAA), dnssrv+ (SRV, and addresses of what it names), dnssrvnoa+ (SRV, names as they are).
import { lookup, resolve4, resolve6, resolveSrv } from 'node:dns/promises';
import { splitHostPort } from './address.ts';

/** What of DNS is asked; another one in tests. */
export interface Resolver {
  /** Addresses of a name. */
  addresses(name: string): Promise<readonly string[]>;
  services(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
}

export const systemResolver: Resolver = {
  addresses: async (name) => {
    // Names of files and of search domains too, which servers of DNS do not know.
    const found = await lookup(name, { all: true }).catch(async () => {
      const [four, six] = await Promise.allSettled([resolve4(name), resolve6(name)]);
      const all = [four, six].flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
      if (all.length === 0 && four.status === 'rejected') throw four.reason;
      return all.map((address) => ({ address }));
    });
    return found.map(({ address }) => address);
  },
  services: resolveSrv,
};

export interface Discovered {
  /** host:port, each once. */
  readonly addresses: readonly string[];
  /** What could not be resolved, and why. */
  readonly failures: readonly { readonly member: string; readonly err: unknown }[];
}

/** @param defaultPort of members that stand without one. */
export async function discover(
  members: readonly string[],
  defaultPort: number,
  resolver: Resolver = systemResolver,
): Promise<Discovered> {
  const addresses = new Set<string>();
  const failures: { member: string; err: unknown }[] = [];
  await Promise.all(
    members.map(async (member) => {
      try {
        for (const address of await resolveMember(member.trim(), defaultPort, resolver))
          addresses.add(address);
      } catch (err) {
        failures.push({ member, err });
      }
    }),
  );
  return { addresses: [...addresses], failures };
}

async function resolveMember(member: string, defaultPort: number, resolver: Resolver): Promise<string[]> {
  const match = /^(dns|dnssrv|dnssrvnoa)\+(.+)$/.exec(member);
  if (match === null) {
    // A name alone is looked up when it is dialled.
    const { host, port } = splitHostPort(member, defaultPort);
    return [joined(host, port)];
  }
  const [, kind, rest = ''] = match;
  const { host, port } = splitHostPort(rest, defaultPort);
  if (kind === 'dns') return (await resolver.addresses(host)).map((address) => joined(address, port));
  const services = await resolver.services(host);
  if (kind === 'dnssrvnoa') return services.map((service) => joined(service.name, service.port));
  const found = await Promise.all(
    services.map(async (service) =>
      (await resolver.addresses(service.name)).map((address) => joined(address, service.port)),
    ),
  );
  return found.flat();
}

function joined(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
