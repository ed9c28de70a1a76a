// Which tenants have been there lately. What is kept for the others, time series above all, is forgotten:
// there is no end to the names that clients can send.

type Forget = (tenants: ReadonlySet<string>) => void;

/** A tenant that is seen all the time is noted that often. */
const NOTE_MS = 1000;

export class TenantActivity {
  /** Above that many tenants those are forgotten that were seen longest ago. */
  readonly #tenantsMax: number;
  /** In the order in which they were noted last. */
  readonly #seenMs = new Map<string, number>();
  readonly #listeners: Forget[] = [];
  readonly #nowMs: () => number;

  constructor(tenantsMax: number, nowMs: () => number) {
    this.#tenantsMax = tenantsMax;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#seenMs.size;
  }

  seen(tenant: string): void {
    const nowMs = this.#nowMs();
    const beforeMs = this.#seenMs.get(tenant);
    if (beforeMs !== undefined && nowMs - beforeMs < NOTE_MS) return;
    this.#seenMs.delete(tenant);
    this.#seenMs.set(tenant, nowMs);
    // Some more at a time, as looking for what is kept of them costs.
    if (this.#seenMs.size > this.#tenantsMax) this.#forget(this.#oldest(this.#tenantsMax * 0.9, Infinity));
  }

  /** Calls back with tenants of which nothing should be kept. */
  onForget(listener: Forget): void {
    this.#listeners.push(listener);
  }

  /** Forgets who was not seen for that long. */
  sweep(idleMs: number): void {
    this.#forget(this.#oldest(0, this.#nowMs() - idleMs));
  }

  /** Those seen before a time, but not the last `keep` of all. */
  #oldest(keep: number, beforeMs: number): ReadonlySet<string> {
    const found = new Set<string>();
    for (const [tenant, seenMs] of this.#seenMs) {
      if (seenMs >= beforeMs || this.#seenMs.size - found.size <= keep) break;
      found.add(tenant);
    }
    return found;
  }

  #forget(tenants: ReadonlySet<string>): void {
    if (tenants.size === 0) return;
    for (const tenant of tenants) this.#seenMs.delete(tenant);
    for (const listener of this.#listeners) listener(tenants);
  }
}
