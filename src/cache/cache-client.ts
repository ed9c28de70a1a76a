// The contract of caches outside the process: bytes under a key, which may be gone at any time.

/** Why a call was not even tried: the server failed a moment ago, there is none, or too much waits. */
export class SkippedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SkippedError';
  }
}

export interface CacheClient {
  /** As metrics call the cache and its calls. */
  readonly kind: 'memcached' | 'redis';
  /** Largest value that is worth sending; 0 = not known. */
  readonly itemBytesMax: number;
  /** undefined = not there. Rejects within the timeout, too. */
  get(key: string): Promise<Uint8Array | undefined>;
  set(key: string, value: Uint8Array): Promise<void>;
  /** Known servers. */
  readonly serverCount: number;
  stop(): void;
}
