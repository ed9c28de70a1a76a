// Requests that wait for queriers of other processes: tenants take turns, of each tenant the oldest is first,
// and of the queriers that are free the one with the least to do gets it. What a querier could not finish
// because it left is given to another one; what takes long may be given to a second one as well, where none
// waits for its first.
import type { Clock } from '../../lib/clock.ts';
import { TempoError } from '../../lib/errors.ts';
import type { Counter, Gauge, Histogram, Metrics } from '../../telemetry/metrics.ts';
import { SECONDS_BUCKETS } from '../../telemetry/metrics.ts';
import { tenantLabel } from '../../telemetry/tenant-label.ts';
import {
  type AnyQuery as Query,
  type QuerierSlot,
  type QueuedRequest,
  QueuedQuery,
  type Turns,
} from './queued-query.ts';

export interface QueryQueueOptions {
  /** More of one tenant are refused. */
  readonly tenantLengthMax: number;
  /** How often a request is begun, at most. */
  readonly triesMax: number;
  /** How long a request waits while no querier is connected. */
  readonly queriersWaitMs: number;
  /** Of the time until a query is given to a second querier. */
  readonly clock: Clock;
  readonly metrics: Metrics;
}

interface Client {
  slots: number;
  busy: number;
}

export class QueryQueue {
  readonly #options: QueryQueueOptions;
  /** In the order of their turns. */
  readonly #tenants = new Map<string, Query[]>();
  /** Queriers have them; others are to have them too. */
  readonly #hedged = new Set<Query>();
  readonly #idle = new Set<QuerierSlot>();
  readonly #clients = new Map<string, Client>();
  readonly #lengths: Gauge;
  readonly #discarded: Counter;
  readonly #waited: Histogram;
  readonly #retries: Histogram;
  readonly #hedgesSent: Counter;
  readonly #hedgesWon: Counter;
  readonly #turns: Turns;
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
    this.#hedgesSent = metrics.counter(
      'tempo_query_frontend_hedged_roundtrips_total',
      'Queries that were given to a further querier because others took long.',
    );
    this.#hedgesWon = metrics.counter(
      'tempo_query_frontend_hedged_roundtrips_won_total',
      'Queries whose answer came from such a further querier.',
    );
    this.#turns = {
      clock: options.clock,
      triesMax: options.triesMax,
      again: (query) => this.#again(query),
      hedge: (query) => this.#hedge(query),
      unhedge: (query) => void this.#hedged.delete(query),
      remove: (query) => this.#remove(query),
      ended: (query, winner) => this.#ended(query, winner === 'hedge'),
    };
    metrics.gauge('tempo_query_frontend_connected_clients', 'Queriers that are connected.', [], (gauge) =>
      gauge.set(this.clientCount),
    );
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  /** Resolves when a querier has said all. */
  run<Answer>(asked: QueuedRequest<Answer>): Promise<Answer> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const { tenant, signal } = asked;
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    if ((this.#tenants.get(tenant)?.length ?? 0) >= this.#options.tenantLengthMax) {
      this.#discarded.inc({ user: tenantLabel(tenant) });
      return Promise.reject(new TempoError('resource_exhausted', 'too many outstanding requests'));
    }
    const query = new QueuedQuery(asked, this.#turns);
    this.#running++;
    this.#put(query, false);
    this.#dispatch();
    return query.answer;
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
    this.#hedged.clear();
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
    for (const query of all) {
      this.#remove(query);
      query.refuse(err);
    }
  }

  #again(query: Query): void {
    this.#put(query, true);
    this.#dispatch();
  }

  #hedge(query: Query): void {
    if (this.#closed !== undefined) return;
    this.#hedged.add(query);
    this.#dispatch();
  }

  #ended({ retries }: Query, isHedgeFirst: boolean): void {
    this.#running--;
    if (this.#running === 0) this.#drained?.();
    this.#retries.observe({}, retries);
    if (isHedgeFirst) this.#hedgesWon.inc();
  }

  #put(waiting: Query, isFirst: boolean): void {
    const { tenant } = waiting.asked;
    const list = this.#tenants.get(tenant);
    if (list === undefined) this.#tenants.set(tenant, [waiting]);
    else if (isFirst) list.unshift(waiting);
    else list.push(waiting);
    this.#showLength(tenant);
    if (this.#clients.size === 0) this.#wait();
  }

  #remove(waiting: Query): boolean {
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
      if (next === undefined) break;
      const { waiting, slot } = next;
      const list = this.#tenants.get(waiting.asked.tenant)!;
      this.#remove(waiting);
      // Whoever had its turn is last.
      if (this.#tenants.delete(waiting.asked.tenant)) this.#tenants.set(waiting.asked.tenant, list);
      this.#waited.observe({}, (performance.now() - waiting.sinceMs) / 1000);
      this.#give(waiting, slot, false);
    }
    this.#dispatchHedged();
  }

  #dispatchHedged(): void {
    for (const query of this.#hedged) {
      if (this.#tenants.size > 0) return;
      const slot = this.#slotFor(query, true);
      if (slot === undefined) continue;
      this.#hedged.delete(query);
      this.#hedgesSent.inc();
      this.#give(query, slot, true);
    }
  }

  #give(query: Query, slot: QuerierSlot, isHedge: boolean): void {
    this.#idle.delete(slot);
    this.#clients.get(slot.clientId)!.busy++;
    query.begin(slot, isHedge);
  }

  #next(): { readonly waiting: Query; readonly slot: QuerierSlot } | undefined {
    for (const list of this.#tenants.values()) {
      for (const waiting of list) {
        const slot = this.#slotFor(waiting, false);
        if (slot !== undefined) return { waiting, slot };
      }
    }
    return undefined;
  }

  /**
   * Of the queriers with the least to do that have not lost it, if there is any such.
   *
   * @param isHedge only those that do not have it, nor had it.
   */
  #slotFor({ asked, avoided }: Query, isHedge: boolean): QuerierSlot | undefined {
    let best: QuerierSlot | undefined;
    let leastBusy = Infinity;
    for (const slot of this.#idle) {
      if (asked.isWhole && !slot.knowsWhole) continue;
      const { busy } = this.#clients.get(slot.clientId)!;
      if (avoided.has(slot.clientId) && (isHedge || this.#hasOther(avoided))) continue;
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
