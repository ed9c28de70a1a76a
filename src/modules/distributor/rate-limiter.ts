// Bytes per second and tenant: a token bucket each, filled by the clock, full at first.

export interface RateLimit {
  readonly rateBytes: number;
  readonly burstBytes: number;
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** Above this many tenants, buckets that are full (and thus say nothing) are dropped. */
const BUCKETS_MAX = 10_000;

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  readonly #nowMs: () => number;

  /** @param nowMs a monotonic clock. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Tenants that have a bucket. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes `sizeBytes` from the tenant's bucket if it holds as many. */
  take(tenant: string, limit: RateLimit, sizeBytes: number): boolean {
    const nowMs = this.#nowMs();
    let bucket = this.#buckets.get(tenant);
    if (bucket === undefined) {
      if (this.#buckets.size >= BUCKETS_MAX) this.#dropFull(limit, nowMs);
      bucket = { tokens: limit.burstBytes, filledAtMs: nowMs };
      this.#buckets.set(tenant, bucket);
    }
    fill(bucket, limit, nowMs);
    if (sizeBytes > bucket.tokens) return false;
    bucket.tokens -= sizeBytes;
    return true;
  }

  forget(tenants: ReadonlySet<string>): void {
    for (const tenant of tenants) this.#buckets.delete(tenant);
  }

  #dropFull(limit: RateLimit, nowMs: number): void {
    for (const [tenant, bucket] of this.#buckets) {
      fill(bucket, limit, nowMs);
      if (bucket.tokens >= limit.burstBytes) this.#buckets.delete(tenant);
    }
  }
}

function fill(bucket: Bucket, limit: RateLimit, nowMs: number): void {
  const added = ((nowMs - bucket.filledAtMs) / 1000) * limit.rateBytes;
  bucket.tokens = Math.min(limit.burstBytes, bucket.tokens + added);
  bucket.filledAtMs = nowMs;
}
