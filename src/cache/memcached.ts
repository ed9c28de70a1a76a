// A client of memcached over several servers: each key has its server, each server some connections, and one
// that fails is left alone for a while. No key is looked for elsewhere then.
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { type CacheClient, SkippedError } from './cache-client.ts';
import { findServers, type Resolver, systemResolver } from './find-servers.ts';
import { MemcachedConnection } from './memcached-connection.ts';
import { type SelectServer, serverOrder, serverSelection } from './select-server.ts';
import { ServerPause } from './server-pause.ts';
import type { MemcachedSettings } from './settings.ts';
import { tlsOptions } from './tls-options.ts';

export interface MemcachedOptions {
  readonly settings: MemcachedSettings;
  /** When the servers could not be found. */
  readonly onFailure: (err: Error) => void;
  readonly resolver?: Resolver;
  readonly nowMs?: () => number;
}

/** Requests that wait for answers of one server. */
const WAITING_MAX = 1024;
const KEY_BYTES_MAX = 250;
/** Neither blanks nor control characters, and so few bytes that a key is one of memcached. */
const KEY = /^[\x21-\x7e]+$/;

export async function openMemcached(options: MemcachedOptions): Promise<CacheClient> {
  const { settings } = options;
  const select = await serverSelection(settings.isConsistent);
  const tls = settings.tls === undefined ? undefined : tlsOptions(settings.tls);
  const client = new Memcached(options, select, tls);
  await client.update();
  return client;
}

class Memcached implements CacheClient {
  readonly kind = 'memcached';
  private readonly options: MemcachedOptions;
  private readonly select: SelectServer;
  private readonly tls: TlsOptions | undefined;
  private readonly timer: NodeJS.Timeout;
  private servers: readonly Server[] = [];

  constructor(options: MemcachedOptions, select: SelectServer, tls: TlsOptions | undefined) {
    this.options = options;
    this.select = select;
    this.tls = tls;
    this.timer = setInterval(() => void this.update(), options.settings.updateIntervalMs);
    this.timer.unref();
  }

  get itemBytesMax(): number {
    return this.options.settings.itemBytesMax;
  }

  get serverCount(): number {
    return this.servers.length;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.server(key).run((connection) => connection.get(key));
  }

  async set(key: string, value: Uint8Array): Promise<void> {
    const { ttlMs } = this.options.settings;
    await this.server(key).run((connection) => connection.set(key, value, ttlMs));
  }

  stop(): void {
    clearInterval(this.timer);
    for (const server of this.servers) server.close();
    this.servers = [];
  }

  /** Servers that are still there keep their connections; where none are found, all stay. */
  async update(): Promise<void> {
    const { settings, onFailure, resolver = systemResolver } = this.options;
    try {
      const addresses = [...(await findServers(settings, resolver))];
      if (addresses.length === 0) throw new Error('there are no servers under the names that are configured');
      this.use(addresses.sort(serverOrder(settings.isConsistent)));
    } catch (err) {
      onFailure(new Error('cannot find the memcached servers', { cause: err }));
    }
  }

  private use(addresses: readonly string[]): void {
    const { settings, nowMs = () => performance.now() } = this.options;
    const before = new Map(this.servers.map((server) => [server.address, server]));
    this.servers = addresses.map(
      (address) => before.get(address) ?? new Server(address, settings, this.tls, nowMs),
    );
    for (const server of before.values()) if (!this.servers.includes(server)) server.close();
  }

  private server(key: string): Server {
    if (key.length > KEY_BYTES_MAX || !KEY.test(key)) throw new SkippedError('the key is none of memcached');
    if (this.servers.length === 0) throw new SkippedError('there are no servers');
    return this.servers[this.select(key, this.servers.length)];
  }
}

class Server {
  readonly address: string;
  private readonly settings: MemcachedSettings;
  private readonly tls: TlsOptions | undefined;
  private readonly pause: ServerPause;
  private readonly connections = new Set<MemcachedConnection>();

  constructor(
    address: string,
    settings: MemcachedSettings,
    tls: TlsOptions | undefined,
    nowMs: () => number,
  ) {
    this.address = address;
    this.settings = settings;
    this.tls = tls;
    this.pause = new ServerPause(settings.pauses, nowMs);
  }

  async run<T>(ask: (connection: MemcachedConnection) => Promise<T>): Promise<T> {
    const all = [...this.connections];
    const waiting = all.reduce((sum, { load }) => sum + load, 0);
    if (waiting >= WAITING_MAX) throw new SkippedError(`${waiting} requests wait for ${this.address}`);
    if (!this.pause.mayAsk()) throw new SkippedError(`${this.address} has failed a moment ago`);
    const connection = this.connectionOf(all);
    const result = await ask(connection).catch((err: unknown) => {
      // A server that refuses a value answers.
      if (this.connections.has(connection)) this.pause.succeeded();
      throw new Error(`server ${this.address}: ${(err as Error).message}`, { cause: err });
    });
    this.pause.succeeded();
    return result;
  }

  close(): void {
    for (const connection of this.connections) connection.close();
  }

  /** One that waits for nothing; else a new one, or the one that waits for least. */
  private connectionOf(all: readonly MemcachedConnection[]): MemcachedConnection {
    const idle = all.find(({ load }) => load === 0);
    if (idle !== undefined) return idle;
    if (all.length < this.settings.connectionsMax) return this.connect();
    return all.reduce((least, each) => (each.load < least.load ? each : least));
  }

  private connect(): MemcachedConnection {
    const connection = new MemcachedConnection({
      address: this.address,
      timeoutMs: this.settings.timeoutMs,
      tls: this.tls,
      onEnd: () => {
        const hadWork = connection.load > 0;
        this.connections.delete(connection);
        if (hadWork) this.pause.failed();
      },
    });
    this.connections.add(connection);
    return connection;
  }
}
