// Who may ask: on a loopback address no page of another site (DNS rebinding, requests across origins), and
// nowhere may such a page change state, as far as browsers tell whose page asks. Over HTTPS and to localhost
// they always do (Sec-Fetch-Site), over other plain HTTP of all that is no GET (Origin). Of a GET they do
// (Referer) unless page or browser keeps it back, as for a page of HTTPS: then `/flush` and `/shutdown` are
// done as for a program, which sends none of these. So is what a page asks whose own name was made to mean an
// address of ours that is no loopback one. Networks and gateways are to keep such pages' browsers away.
import { BlockList, isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { ServerConfig } from './server-config.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Names by which containers reach the loopback address of their host. */
const HOST_OF_CONTAINERS: readonly string[] = ['host.docker.internal', 'host.containers.internal'];

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Requests that change state although browsers send them without asking. */
const STATE_PATHS: readonly string[] = ['/flush', '/shutdown', '/ingester/shutdown'];
const READING_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS'];

export class HostGuard {
  readonly #allowed: ReadonlySet<string>;
  /** Names that pages of ours may have, as the configuration says. */
  readonly #ofPages: ReadonlySet<string>;
  #isLoopback = false;

  constructor({
    httpListenAddress,
    httpAllowedHosts,
  }: Pick<ServerConfig, 'httpListenAddress' | 'httpAllowedHosts'>) {
    const names = [httpListenAddress, ...httpAllowedHosts].map((name) => name.toLowerCase());
    this.#allowed = new Set([...names, ...HOST_OF_CONTAINERS].filter((name) => name !== ''));
    this.#ofPages = new Set(httpAllowedHosts.map((name) => name.toLowerCase()));
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

  /** Why a request that a page of another site makes a browser send is refused; undefined = it is not. */
  pageRefusal(request: FastifyRequest): string | undefined {
    const path = request.routeOptions.url ?? '';
    if (READING_METHODS.includes(request.method) && !STATE_PATHS.includes(path)) return undefined;
    const foreign = this.#foreignPage(request);
    if (foreign === undefined) return undefined;
    return `${request.method} ${path} changes state and is refused to pages of other sites (${foreign})`;
  }

  /**
   * The header that tells of a page of another site. Sec-Fetch-Site is right whatever proxies make of hosts,
   * and no page can write it. Without it the page must be of a host that was asked: as Host has it, or as a
   * proxy says in X-Forwarded-Host, which no page of another site can send unasked. A Host without a port is
   * that of any port, as proxies leave it out. What is refused though it is our own: forms of our pages over
   * plain HTTP behind a proxy that puts another name into Host and sends no X-Forwarded-Host (but those of
   * names in http_allowed_hosts), and behind one that has browsers send no referrer, which makes Origin null.
   */
  #foreignPage({ headers }: FastifyRequest): string | undefined {
    const site = headers['sec-fetch-site'];
    if (site === 'cross-site' || site === 'same-site') return `Sec-Fetch-Site: ${site}`;
    if (site === 'same-origin' || site === 'none') return undefined;
    const { host = headers[':authority'], 'x-forwarded-host': forwarded } = headers;
    const hosts = [host, forwarded].flatMap((value) => value?.toString().split(',') ?? []);
    const isOurs = (text: string): boolean => {
      if (!URL.canParse(text)) return false;
      const page = new URL(text);
      if (!(page.protocol in DEFAULT_PORTS)) return false;
      return this.#ofPages.has(nameOf(page.host)) || hosts.some((each) => isOf(page, each.trim()));
    };
    const { origin, referer } = headers;
    if (origin !== undefined && !isOurs(origin)) return 'Origin';
    return referer === undefined || isOurs(referer) ? undefined : 'Referer';
  }

  #isOwn(name: string): boolean {
    return name === 'localhost' || name.endsWith('.localhost') || this.#allowed.has(name);
  }
}

/** Is it a page of this host? */
function isOf({ protocol, host, port }: URL, asked: string): boolean {
  if (nameOf(host) !== nameOf(asked)) return false;
  const [, ofHost] = /:(\d+)$/.exec(asked) ?? [];
  return ofHost === undefined || ofHost === (port || DEFAULT_PORTS[protocol]);
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
