// Who may ask: on a loopback address no page of another site (DNS rebinding, requests across origins), and
// nowhere may such a page change state. Browsers only: programs send neither Origin nor Sec-Fetch-Site.
import { BlockList, isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { ServerConfig } from './server-config.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Names by which containers reach the loopback address of their host. */
const HOST_OF_CONTAINERS: readonly string[] = ['host.docker.internal', 'host.containers.internal'];

/** Requests that change state although browsers send them without asking. */
const STATE_PATHS: readonly string[] = ['/flush', '/shutdown', '/ingester/shutdown'];
const READING_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];

export class HostGuard {
  readonly #allowed: ReadonlySet<string>;
  #isLoopback = false;

  constructor({
    httpListenAddress,
    httpAllowedHosts,
  }: Pick<ServerConfig, 'httpListenAddress' | 'httpAllowedHosts'>) {
    const names = [httpListenAddress, ...httpAllowedHosts].map((name) => name.toLowerCase());
    this.#allowed = new Set([...names, ...HOST_OF_CONTAINERS].filter((name) => name !== ''));
  }

  /** @param address that the server listens on. */
  bound(address: string): void {
    this.#isLoopback = isLoopback(address);
  }

  /** Why a request is refused; undefined = it is not. */
  refusal(host: string | undefined, origin: string | undefined): string | undefined {
    if (!this.#isLoopback) return undefined;
    const name = host === undefined ? undefined : nameOf(host);
    // An address cannot be made to mean another one, a name can.
    if (name !== undefined && isIP(name) === 0 && !this.#isOwn(name)) {
      return `host ${JSON.stringify(host)} is refused on a loopback address, see server.http_allowed_hosts`;
    }
    if (origin === undefined) return undefined;
    const page = URL.canParse(origin) ? nameOf(new URL(origin).host) : '';
    if (page !== '' && (page === name || isLoopback(page) || this.#isOwn(page))) return undefined;
    return `origin ${JSON.stringify(origin)} is refused on a loopback address, see server.http_allowed_hosts`;
  }

  #isOwn(name: string): boolean {
    return name === 'localhost' || name.endsWith('.localhost') || this.#allowed.has(name);
  }
}

/** Why a request that a page of another site makes a browser send is refused; undefined = it is not. */
export function refuseForeignPages(request: FastifyRequest): string | undefined {
  const site = request.headers['sec-fetch-site'];
  if (site !== 'cross-site' && site !== 'same-site') return undefined;
  const path = request.routeOptions.url ?? '';
  if (READING_METHODS.includes(request.method) && !STATE_PATHS.includes(path)) return undefined;
  return `${request.method} ${path} changes state and is refused to pages of other sites`;
}

function isLoopback(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  // IPv4 in IPv6, as sockets for both show it.
  const mapped = address.toLowerCase().startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
  return loopback.check(mapped, isIP(mapped) === 6 ? 'ipv6' : 'ipv4');
}

/** `[::1]:3200` -> `::1`, `LocalHost.:80` -> `localhost`. */
function nameOf(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host);
  return (match?.[1] ?? match?.[2] ?? host).toLowerCase().replace(/\.$/, '');
}
