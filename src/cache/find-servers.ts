// Where memcached servers are: addresses as they stand, and names behind which DNS has several.
import * as dns from 'node:dns/promises';
import { readFile } from 'node:fs/promises';

export interface Resolver {
  /** Addresses of a host. */
  lookup(host: string): Promise<readonly string[]>;
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
}

export interface ServerNames {
  readonly host: string;
  readonly service: string;
  readonly addresses: readonly string[];
}

const SCHEME = /^(dns|dnssrv|dnssrvnoa)\+(.+)$/;

/** @returns `host:port` of each, once. Rejects when one of the names cannot be resolved. */
export async function findServers(names: ServerNames, resolver: Resolver): Promise<readonly string[]> {
  const { host, service, addresses } = names;
  const found =
    addresses.length > 0
      ? await Promise.all(addresses.map((address) => serversOf(address, resolver)))
      : [await ofService(`_${service}._tcp.${host}`, false, resolver)];
  return [...new Set(found.flat())];
}

async function serversOf(address: string, resolver: Resolver): Promise<readonly string[]> {
  const match = SCHEME.exec(address);
  if (match === null) return [address];
  const [, scheme, name = ''] = match;
  if (scheme !== 'dns') return ofService(name, scheme === 'dnssrv', resolver);
  const colon = name.lastIndexOf(':');
  if (colon < 0) throw new Error(`${address} has no port`);
  const hosts = await resolver.lookup(name.slice(0, colon));
  return hosts.map((host) => join(host, name.slice(colon + 1)));
}

async function ofService(
  name: string,
  areHostsResolved: boolean,
  resolver: Resolver,
): Promise<readonly string[]> {
  const records = await resolver.srv(name);
  const servers = await Promise.all(
    records.map(async (record) => {
      const host = record.name.replace(/\.$/, '');
      const hosts = areHostsResolved ? await resolver.lookup(host) : [host];
      return hosts.map((each) => join(each, String(record.port)));
    }),
  );
  return servers.flat();
}

function join(host: string, port: string): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The system's, with its search domains also for records that it does not look up itself. */
export const systemResolver: Resolver = {
  lookup: async (host) => (await dns.lookup(host, { all: true })).map(({ address }) => address),
  srv: async (name) => {
    const domains = await searchDomains();
    const names = name.endsWith('.') ? [name] : [name, ...domains.map((domain) => `${name}.${domain}`)];
    let failure: unknown;
    for (const each of names) {
      try {
        return await dns.resolveSrv(each);
      } catch (err) {
        failure ??= err;
      }
    }
    throw failure;
  },
};

async function searchDomains(): Promise<readonly string[]> {
  try {
    const line = /^search\s+(.+)$/m.exec(await readFile('/etc/resolv.conf', 'utf8'));
    return line?.[1].trim().split(/\s+/) ?? [];
  } catch (err) {
    // No such file: not a system that has search domains there.
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw err;
  }
}
