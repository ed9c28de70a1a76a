// A client of redis: one server, the master that sentinels name, or a cluster. Nothing waits for a
// connection, and a call that takes too long ends the one it went over.
import type { Cluster, Redis } from 'ioredis';
import { type CacheClient, SkippedError } from './cache-client.ts';
import { hostAndPort } from './memcached-connection.ts';
import { ServerPause } from './server-pause.ts';
import type { PauseSettings, RedisSettings } from './settings.ts';

export interface RedisClientOptions {
  readonly settings: RedisSettings;
  readonly onFailure: (err: Error) => void;
  readonly nowMs?: () => number;
}

const PORT = 6379;
const WAITING_MAX = 1024;
const CONNECT_MS_MIN = 1000;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MAX_MS = 10_000;
const PAUSES: PauseSettings = { failuresMax: 0, longMs: 0, forgetMs: 0 };

/** Loads the client, and begins to connect. */
export async function openRedis(options: RedisClientOptions): Promise<CacheClient> {
  const ioredis = await import('ioredis');
  const { settings, onFailure } = options;
  const nodes = settings.endpoints.map((endpoint) => nodeOf(endpoint));
  const common = commonOptions(settings);
  const isCluster = nodes.length > 1 && settings.masterName === '';
  const redis = isCluster
    ? new ioredis.Cluster(nodes, {
        enableOfflineQueue: false,
        clusterRetryStrategy: reconnectMs,
        slotsRefreshTimeout: Math.max(settings.timeoutMs, CONNECT_MS_MIN),
        redisOptions: common,
      })
    : new ioredis.Redis({ ...common, ...target(nodes, settings), db: settings.db });
  redis.on('error', (err: Error) => onFailure(err));
  watchReadiness(redis, options);
  return new RedisClient(redis, options);
}

/** No call is sent before the server is ready: one that never answers would be in no line of the log. */
function watchReadiness(redis: Redis | Cluster, { settings, onFailure }: RedisClientOptions): void {
  const limitMs = Math.max(settings.timeoutMs, CONNECT_MS_MIN);
  let timer: NodeJS.Timeout | undefined;
  const over = (): void => clearTimeout(timer);
  redis.on('connect', () => {
    over();
    timer = setTimeout(() => {
      onFailure(new Error(`redis: connected, and no answer within ${limitMs} ms`));
      redis.disconnect(true);
    }, limitMs).unref();
  });
  redis.on('ready', over);
  redis.on('close', over);
}

function nodeOf(endpoint: string): { readonly host: string; readonly port: number } {
  const { host, port } = hostAndPort(endpoint);
  return { host, port: /:\d+$/.test(endpoint) ? port : PORT };
}

function target(nodes: readonly { readonly host: string; readonly port: number }[], settings: RedisSettings) {
  const { masterName, sentinelUsername, sentinelPassword } = settings;
  if (masterName === '') return { ...nodes[0] };
  return {
    sentinels: nodes.map((node) => ({ ...node })),
    name: masterName,
    sentinelRetryStrategy: reconnectMs,
    ...(sentinelUsername === '' ? {} : { sentinelUsername }),
    ...(sentinelPassword === '' ? {} : { sentinelPassword }),
  };
}

function commonOptions({ username, password, timeoutMs, tls }: RedisSettings) {
  return {
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(tls === undefined ? {} : { tls: { rejectUnauthorized: !tls.skipVerify } }),
    disconnectTimeout: timeoutMs,
    connectTimeout: Math.max(timeoutMs, CONNECT_MS_MIN),
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: reconnectMs,
  };
}

function reconnectMs(times: number): number {
  return Math.min(RECONNECT_FIRST_MS * 2 ** (times - 1), RECONNECT_MAX_MS);
}

class RedisClient implements CacheClient {
  readonly kind = 'redis';
  readonly itemBytesMax = 0;
  private readonly redis: Redis | Cluster;
  private readonly settings: RedisSettings;
  private readonly pause: ServerPause;
  private waiting = 0;
  /** The connection was given up, and is not closed yet. */
  private isEnding = false;

  constructor(redis: Redis | Cluster, { settings, nowMs = () => performance.now() }: RedisClientOptions) {
    this.redis = redis;
    this.settings = settings;
    this.pause = new ServerPause(PAUSES, nowMs);
    redis.on('close', () => (this.isEnding = false));
  }

  get serverCount(): number {
    return this.settings.endpoints.length;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const found = await this.run(() => this.redis.getBuffer(key));
    // The bytes may be a part of what came in, which would be kept as long as they are.
    return found === null ? undefined : new Uint8Array(found);
  }

  async set(key: string, value: Uint8Array): Promise<void> {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const { ttlMs } = this.settings;
    await this.run(() =>
      ttlMs > 0 ? this.redis.set(key, bytes, 'PX', Math.ceil(ttlMs)) : this.redis.set(key, bytes),
    );
  }

  stop(): void {
    this.redis.disconnect();
  }

  private async run<T>(ask: () => Promise<T>): Promise<T> {
    if (this.isEnding || this.redis.status !== 'ready')
      throw new SkippedError('there is no connection to redis');
    if (this.waiting >= WAITING_MAX) throw new SkippedError(`${this.waiting} requests wait for redis`);
    if (!this.pause.mayAsk()) throw new SkippedError('redis has failed a moment ago');
    this.waiting++;
    try {
      const result = await this.inTime(ask());
      this.pause.succeeded();
      return result;
    } catch (err) {
      // A server that refuses a call answers.
      if ((err as Error).name === 'ReplyError') this.pause.succeeded();
      else this.pause.failed();
      throw err;
    } finally {
      this.waiting--;
    }
  }

  private inTime<T>(call: Promise<T>): Promise<T> {
    const { timeoutMs } = this.settings;
    return new Promise((resolve, reject) => {
      const late = (): void => {
        reject(new Error(`redis: no answer within ${timeoutMs} ms`));
        // What was sent waits there for its answer, and would for ever.
        if (!this.isEnding) this.redis.disconnect(true);
        this.isEnding = true;
      };
      // An answer that is there already counts, however late this thread comes to it.
      const timer = setTimeout(() => (turn = setImmediate(late)), timeoutMs);
      let turn: NodeJS.Immediate | undefined;
      const over = (): void => {
        clearTimeout(timer);
        clearImmediate(turn);
      };
      call.then(
        (value) => {
          over();
          resolve(value);
        },
        (err: unknown) => {
          over();
          reject(err as Error);
        },
      );
    });
  }
}
