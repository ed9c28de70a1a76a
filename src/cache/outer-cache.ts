// A cache outside the process for some roles: whatever goes wrong there is a miss, and is counted. Writes
// wait in a queue that nobody waits for.
import { crc32 } from 'node:zlib';
import { type CacheClient, SkippedError } from './cache-client.ts';
import { openMemcached } from './memcached.ts';
import { openRedis } from './redis.ts';
import type { CacheRole, CacheSettings } from './settings.ts';

/** What was counted since the last time, as plain data. */
export interface CacheReport {
  readonly name: string;
  readonly kind: CacheClient['kind'];
  readonly requests: readonly (readonly [method: string, status: number, seconds: number])[];
  readonly lookups: readonly (readonly [role: CacheRole, result: LookupResult, count: number])[];
  readonly dropped: number;
  readonly tooLarge: number;
  readonly queueLength: number;
  readonly queueBytes: number;
  readonly servers: number;
  readonly failures: number;
  /** '' = none. */
  readonly lastFailure: string;
}

export type LookupResult = 'hit' | 'miss' | 'error' | 'skipped';

interface Write {
  readonly key: string;
  readonly value: Uint8Array;
}

const QUEUE_BYTES_MAX = 32 * 1024 * 1024;
/** Memcached takes 1 MiB with key and header where it is not told otherwise. */
const PIECE_BYTES = 512 * 1024;
const PIECE_BYTES_MIN = 64 * 1024;
/** Larger parts are not kept: their pieces would drive out too much. */
const RANGE_BYTES_MAX = 32 * 1024 * 1024;
const METHODS = {
  memcached: { get: 'Memcache.Get', set: 'Memcache.Put' },
  redis: { get: 'RedisCache.Get', set: 'RedisCache.Set' },
} as const;

const REOPEN_MS = 10_000;

/** Whoever opens one makes it known what it counted. */
export function openOuterCache(settings: CacheSettings): OuterCache {
  const cache = new OuterCache(settings);
  void cache.open();
  return cache;
}

/** Each role's cache. */
export type CachesByRole = ReadonlyMap<CacheRole, OuterCache>;

export function byRole(caches: readonly OuterCache[]): CachesByRole {
  return new Map(caches.flatMap((cache) => cache.settings.roles.map((role) => [role, cache] as const)));
}

export class OuterCache {
  readonly settings: CacheSettings;
  private client: CacheClient | undefined;
  private isStopped = false;
  private reopening: NodeJS.Timeout | undefined;
  private readonly queue: Write[] = [];
  private queueBytes = 0;
  private writing = 0;
  private requests: [string, number, number][] = [];
  private lookups = new Map<CacheRole, Map<LookupResult, number>>();
  private dropped = 0;
  private tooLarge = 0;
  private failures = 0;
  private lastFailure = '';

  constructor(settings: CacheSettings) {
    this.settings = settings;
  }

  /** Looks for the servers; until they are known every call is a miss. */
  async open(): Promise<void> {
    const { client: settings } = this.settings;
    const onFailure = (err: Error): void => this.noteFailure(err);
    try {
      const client =
        settings.kind === 'memcached'
          ? await openMemcached({ settings, onFailure })
          : await openRedis({ settings, onFailure });
      if (this.isStopped) client.stop();
      else this.client = client;
    } catch (err) {
      // A file that cannot be read, as of a certificate: it may be there later.
      onFailure(err as Error);
      if (!this.isStopped) this.reopening = setTimeout(() => void this.open(), REOPEN_MS).unref();
    }
  }

  /** @returns bytes of the caller's own; undefined = it has to be had elsewhere. Never rejects. */
  async get(role: CacheRole, key: string): Promise<Uint8Array | undefined> {
    const [value, result] = await this.lookUp(key);
    this.count(role, result);
    return value;
  }

  /** `value` must not change any more. */
  set(key: string, value: Uint8Array): void {
    const { itemBytesMax = 0, kind } = this.client ?? {};
    if (kind === undefined) return;
    if (itemBytesMax > 0 && value.length > itemBytesMax) {
      this.tooLarge++;
      return;
    }
    const isFull = this.queue.length >= this.settings.queueLengthMax;
    if (isFull || this.queueBytes + value.length > QUEUE_BYTES_MAX) {
      this.dropped++;
      return;
    }
    this.queue.push({ key, value });
    this.queueBytes += value.length;
    if (this.writing < this.settings.writersMax) void this.write();
  }

  /**
   * A whole object, with a checksum under a name of our own beside it: what it does not fit is a miss. What
   * has none was put there by somebody else, and is believed.
   */
  async getObject(role: CacheRole, key: string): Promise<Uint8Array | undefined> {
    const [[value, result], [sum]] = await Promise.all([this.lookUp(key), this.lookUp(sumKey(key))]);
    const isWrong = value !== undefined && sum !== undefined && !sumOf(value).equals(sum);
    if (isWrong)
      this.noteFailure(new Error(`what is kept of ${key} does not have the checksum that is kept`));
    this.count(role, isWrong ? 'error' : result);
    return isWrong ? undefined : value;
  }

  /** `value` must not change any more. */
  setObject(key: string, value: Uint8Array): void {
    this.set(key, value);
    this.set(sumKey(key), sumOf(value));
  }

  /** A part of an object: in pieces, each under the name that it has by itself. */
  async getRange(
    role: CacheRole,
    object: string,
    offset: number,
    lengthBytes: number,
  ): Promise<Uint8Array | undefined> {
    const pieces = this.pieces(offset, lengthBytes);
    if (pieces === undefined) return undefined;
    const results: LookupResult[] = [];
    const parts = await Promise.all(
      pieces.map(async (piece) => {
        const [value, result] = await this.lookUp(rangeKey(object, piece));
        results.push(result);
        return value?.length === piece.lengthBytes ? value : undefined;
      }),
    );
    const found = parts.filter((part) => part !== undefined);
    const isWhole = found.length === pieces.length;
    this.count(role, isWhole ? 'hit' : (results.find((result) => result !== 'hit') ?? 'miss'));
    if (!isWhole) return undefined;
    return found.length === 1 ? found[0] : joined(found, lengthBytes);
  }

  setRange(object: string, offset: number, bytes: Uint8Array): void {
    for (const piece of this.pieces(offset, bytes.length) ?? []) {
      const from = piece.offset - offset;
      this.set(rangeKey(object, piece), bytes.subarray(from, from + piece.lengthBytes));
    }
  }

  noteFailure(err: Error): void {
    this.failures++;
    const cause = err.cause instanceof Error ? `: ${err.cause.message}` : '';
    this.lastFailure = err.message + cause;
  }

  /** What was counted since the last call. */
  report(): CacheReport {
    const lookups = [...this.lookups].flatMap(([role, results]) =>
      [...results].map(([result, count]) => [role, result, count] as const),
    );
    const report: CacheReport = {
      name: this.settings.name,
      kind: this.settings.client.kind,
      requests: this.requests,
      lookups,
      dropped: this.dropped,
      tooLarge: this.tooLarge,
      queueLength: this.queue.length,
      queueBytes: this.queueBytes,
      servers: this.client?.serverCount ?? 0,
      failures: this.failures,
      lastFailure: this.lastFailure,
    };
    this.requests = [];
    this.lookups = new Map();
    this.dropped = 0;
    this.tooLarge = 0;
    this.failures = 0;
    this.lastFailure = '';
    return report;
  }

  stop(): void {
    this.isStopped = true;
    clearTimeout(this.reopening);
    this.queue.length = 0;
    this.queueBytes = 0;
    this.client?.stop();
    this.client = undefined;
  }

  private pieces(offset: number, lengthBytes: number): Piece[] | undefined {
    if (lengthBytes === 0 || lengthBytes > RANGE_BYTES_MAX) return undefined;
    const itemBytesMax = this.client?.itemBytesMax ?? 0;
    const size = itemBytesMax === 0 ? PIECE_BYTES : clamp(itemBytesMax, PIECE_BYTES_MIN, PIECE_BYTES);
    return Array.from({ length: Math.ceil(lengthBytes / size) }, (_, i) => ({
      offset: offset + i * size,
      lengthBytes: Math.min(size, lengthBytes - i * size),
    }));
  }

  private async lookUp(key: string): Promise<[Uint8Array | undefined, LookupResult]> {
    const { client } = this;
    if (client === undefined) return [undefined, 'skipped'];
    const beganMs = performance.now();
    try {
      const value = await client.get(key);
      this.measured('get', value === undefined ? 404 : 200, beganMs);
      return [value, value === undefined ? 'miss' : 'hit'];
    } catch (err) {
      return [undefined, this.failed('get', err as Error, beganMs)];
    }
  }

  /** One of the writers: until nothing waits. */
  private async write(): Promise<void> {
    this.writing++;
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      this.queueBytes -= next.value.length;
      const beganMs = performance.now();
      try {
        await this.client?.set(next.key, next.value);
        this.measured('set', 200, beganMs);
      } catch (err) {
        if (this.failed('set', err as Error, beganMs) === 'skipped') this.dropped++;
      }
    }
    this.writing--;
  }

  private failed(call: 'get' | 'set', err: Error, beganMs: number): 'error' | 'skipped' {
    if (err instanceof SkippedError) return 'skipped';
    this.measured(call, 500, beganMs);
    this.noteFailure(err);
    return 'error';
  }

  private measured(call: 'get' | 'set', status: number, beganMs: number): void {
    const { kind } = this.settings.client;
    this.requests.push([METHODS[kind][call], status, (performance.now() - beganMs) / 1000]);
  }

  private count(role: CacheRole, result: LookupResult): void {
    const results = this.lookups.get(role) ?? new Map<LookupResult, number>();
    results.set(result, (results.get(result) ?? 0) + 1);
    this.lookups.set(role, results);
  }
}

interface Piece {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Tempo's name for these bytes: what it keeps there are the same. */
function rangeKey(object: string, { offset, lengthBytes }: Piece): string {
  return `${object}:${offset}:${lengthBytes}`;
}

/** No name of Tempo's: the value under that is the object's bytes alone. */
function sumKey(object: string): string {
  return `tempo-ts:crc:${object}`;
}

function sumOf(value: Uint8Array): Buffer {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(value));
  return sum;
}

function joined(parts: readonly Uint8Array[], lengthBytes: number): Uint8Array {
  const whole = new Uint8Array(lengthBytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
