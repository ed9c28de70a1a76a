// Requests that wait for queriers of other processes: tenants take turns, of each tenant the oldest is first,
// and of the queriers that are free the one with the least to do gets it. What a querier could not finish
// because it left is given to another one.
import type { HttpGrpcRequest, HttpGrpcResponse } from '../../contracts/httpgrpc.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Counter, Gauge, Histogram, Metrics } from '../../telemetry/metrics.ts';
import { SECONDS_BUCKETS } from '../../telemetry/metrics.ts';
import { tenantLabel } from '../../telemetry/tenant-label.ts';

export interface QueuedRequest {
  readonly tenant: string;
  readonly request: HttpGrpcRequest;
  /** Only queriers of this program understand it. */
  readonly isWhole: boolean;
  readonly signal: AbortSignal | undefined;
  /** Takes what a querier says. @returns whether that was all. What it throws is the result of `run`. */
  readonly received: (response: HttpGrpcResponse) => boolean;
  /** It begins anew with another querier. */
  readonly restarted: () => void;
}

/** One request at a time of a querier. */
export interface QuerierSlot {
  readonly clientId: string;
  readonly knowsWhole: boolean;
  /** Must call `finished`, `lost` or `failed` of the request in the end. */
  start(pending: PendingRequest): void;
}

export interface PendingRequest {
  readonly asked: QueuedRequest;
  /** All was said. */
  finished(): void;
  /** The querier has left amid it. */
  lost(reason: string): void;
  failed(err: unknown): void;
}

export interface QueryQueueOptions {
  /** More of one tenant are refused. */
  readonly tenantLengthMax: number;
  /** How often a request is begun, at most. */
  readonly triesMax: number;
  /** How long a request waits while no querier is connected. */
  readonly queriersWaitMs: number;
  readonly metrics: Metrics;
}

interface Waiting extends PendingRequest {
  tries: number;
  /** Queriers that it was lost with. */
  readonly avoided: Set<string>;
  sinceMs: number;
  isOver: boolean;
}

interface Client {
  slots: number;
  busy: number;
}

export class QueryQueue {
  readonly #options: QueryQueueOptions;
  /** In the order of their turns. */
  readonly #tenants = new Map<string, Waiting[]>();
  readonly #idle = new Set<QuerierSlot>();
  readonly #clients = new Map<string, Client>();
  readonly #lengths: Gauge;
  readonly #discarded: Counter;
  readonly #waited: Histogram;
  readonly #retries: Histogram;
  #running = 0;
  #drained: (() => void) | undefined;
  #closed: TempoError | undefined;
  #alone: NodeJS.Timeout | undefined;

  constructor(options: QueryQueueOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#lengths = metrics.gauge('tempo_query_frontend_queue_length', 'Queries in the queue.', ['user']);
    this.#discarded = metrics.counter(
      'tempo_query_frontend_discarded_requests_total',
      'Queries that were refused because the queue of their tenant was full.',
      ['user'],
    );
    this.#waited = metrics.histogram(
      'tempo_query_frontend_queue_duration_seconds',
      'Seconds that queries waited for a querier.',
      SECONDS_BUCKETS,
    );
    this.#retries = metrics.histogram(
      'tempo_query_frontend_retries',
      'How often a query was begun again.',
      [0, 1, 2, 3, 4, 5],
    );
    metrics.gauge('tempo_query_frontend_connected_clients', 'Queriers that are connected.', [], (gauge) =>
      gauge.set(this.clientCount),
    );
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** Resolves when a querier has said all. */
  run(asked: QueuedRequest): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const { tenant, signal } = asked;
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    if ((this.#tenants.get(tenant)?.length ?? 0) >= this.#options.tenantLengthMax) {
      this.#discarded.inc({ user: tenantLabel(tenant) });
      return Promise.reject(new TempoError('resource_exhausted', 'too many outstanding requests'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = (settle: () => void): void => {
      if (waiting.isOver) return;
      waiting.isOver = true;
      signal?.removeEventListener('abort', leave);
      this.#running--;
      if (this.#running === 0) this.#drained?.();
      this.#retries.observe({}, Math.max(0, waiting.tries - 1));
      settle();
    };
    const waiting: Waiting = {
      asked,
      tries: 0,
      avoided: new Set(),
      sinceMs: performance.now(),
      isOver: false,
      finished: () => end(resolve),
      failed: (err) => end(() => reject(err as Error)),
      lost: (reason) => this.#again(waiting, reason),
    };
    const leave = (): void => {
      // Whoever runs it looks at the signal itself.
      if (this.#remove(waiting)) waiting.failed(signal?.reason);
    };
    signal?.addEventListener('abort', leave);
    this.#running++;
    this.#put(waiting, false);
    this.#dispatch();
    return promise;
  }

  /** A querier is there, and free. */
  join(slot: QuerierSlot): void {
    clearTimeout(this.#alone);
    this.#alone = undefined;
    const client = this.#clients.get(slot.clientId) ?? { slots: 0, busy: 0 };
    client.slots++;
    this.#clients.set(slot.clientId, client);
    this.#idle.add(slot);
    this.#dispatch();
  }

  /** It has done what it was given. */
  free(slot: QuerierSlot): void {
    const client = this.#clients.get(slot.clientId);
    if (client !== undefined) client.busy--;
    this.#idle.add(slot);
    this.#dispatch();
  }

  /** A querier that had joined is gone, with what it was given. */
  leave(slot: QuerierSlot): void {
    const client = this.#clients.get(slot.clientId);
    const wasIdle = this.#idle.delete(slot);
    if (client === undefined) return;
    if (!wasIdle) client.busy--;
    if (--client.slots > 0) return;
    this.#clients.delete(slot.clientId);
    this.#dispatch();
    if (this.#clients.size === 0) this.#wait();
  }

  /** Takes no more; resolves when what it has is done, or the time is over. */
  async close(graceMs: number): Promise<void> {
    this.#closed = new TempoError('unavailable', 'the query-frontend is stopping');
    clearTimeout(this.#alone);
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, graceMs);
      this.#drained = () => {
        clearTimeout(late);
        resolve();
      };
    });
    this.#refuseAll(this.#closed);
  }

  /** Without queriers requests wait a while only. */
  #wait(): void {
    this.#alone ??= setTimeout(() => {
      this.#alone = undefined;
      if (this.#clients.size > 0) return;
      this.#refuseAll(new TempoError('unavailable', 'no querier is connected to this query-frontend'));
    }, this.#options.queriersWaitMs);
  }

  #refuseAll(err: TempoError): void {
    const all = [...this.#tenants.values()].flat();
    for (const waiting of all) {
      this.#remove(waiting);
      waiting.failed(err);
    }
  }

  #again(waiting: Waiting, reason: string): void {
    if (waiting.isOver) return;
    const { signal, restarted } = waiting.asked;
    if (signal?.aborted === true) return waiting.failed(signal.reason);
    if (waiting.tries >= this.#options.triesMax) {
      return waiting.failed(new TempoError('unavailable', `no querier finished the query: ${reason}`));
    }
    restarted();
    waiting.sinceMs = performance.now();
    this.#put(waiting, true);
    this.#dispatch();
  }

  #put(waiting: Waiting, isFirst: boolean): void {
    const { tenant } = waiting.asked;
    const list = this.#tenants.get(tenant);
    if (list === undefined) this.#tenants.set(tenant, [waiting]);
    else if (isFirst) list.unshift(waiting);
    else list.push(waiting);
    this.#showLength(tenant);
    if (this.#clients.size === 0) this.#wait();
  }

  #remove(waiting: Waiting): boolean {
    const { tenant } = waiting.asked;
    const list = this.#tenants.get(tenant);
    const at = list?.indexOf(waiting) ?? -1;
    if (list === undefined || at < 0) return false;
    list.splice(at, 1);
    if (list.length === 0) this.#tenants.delete(tenant);
    this.#showLength(tenant);
    return true;
  }

  #showLength(tenant: string): void {
    const user = tenantLabel(tenant);
    const isShared = user !== tenant;
    const lists = isShared
      ? [...this.#tenants].flatMap(([other, list]) => (tenantLabel(other) === user ? [list] : []))
      : [this.#tenants.get(tenant) ?? []];
    this.#lengths.set(
      { user },
      lists.reduce((sum, { length }) => sum + length, 0),
    );
  }

  #dispatch(): void {
    while (this.#idle.size > 0) {
      const next = this.#next();
      if (next === undefined) return;
      const { waiting, slot } = next;
      const list = this.#tenants.get(waiting.asked.tenant)!;
      this.#remove(waiting);
      // Whoever had its turn is last.
      if (this.#tenants.delete(waiting.asked.tenant)) this.#tenants.set(waiting.asked.tenant, list);
      this.#idle.delete(slot);
      this.#clients.get(slot.clientId)!.busy++;
      waiting.tries++;
      waiting.avoided.add(slot.clientId);
      this.#waited.observe({}, (performance.now() - waiting.sinceMs) / 1000);
      slot.start(waiting);
    }
  }

  #next(): { readonly waiting: Waiting; readonly slot: QuerierSlot } | undefined {
    for (const list of this.#tenants.values()) {
      for (const waiting of list) {
        const slot = this.#slotFor(waiting);
        if (slot !== undefined) return { waiting, slot };
      }
    }
    return undefined;
  }

  /** Of the queriers with the least to do that have not lost it, if there is any such. */
  #slotFor({ asked, avoided }: Waiting): QuerierSlot | undefined {
    let best: QuerierSlot | undefined;
    let leastBusy = Infinity;
    for (const slot of this.#idle) {
      if (asked.isWhole && !slot.knowsWhole) continue;
      const { busy } = this.#clients.get(slot.clientId)!;
      if (avoided.has(slot.clientId) && this.#hasOther(avoided)) continue;
      if (busy >= leastBusy) continue;
      best = slot;
      leastBusy = busy;
    }
    return best;
  }

  #hasOther(avoided: ReadonlySet<string>): boolean {
    for (const clientId of this.#clients.keys()) if (!avoided.has(clientId)) return true;
    return false;
  }
}
