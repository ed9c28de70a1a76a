// The limits that tenants set for themselves: objects `overrides/<tenant>/overrides.json` in a bucket of
// their own, looked at again and again, as other processes write them too.
import { eachConcurrently } from '../lib/concurrent.ts';
import { TempoError } from '../lib/errors.ts';
import type { Service } from '../lib/service.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Counter, Metrics } from '../telemetry/metrics.ts';
import type { TenantActivity } from '../telemetry/tenant-activity.ts';
import type { Overrides } from './overrides.ts';
import { parseJson, type UserLimits, userLimitsFromPlain } from './user-limits.ts';

export interface UserOverridesOptions {
  readonly store: ObjectStore;
  readonly overrides: Overrides;
  readonly pollIntervalMs: number;
  readonly metrics: UserOverridesMetrics;
  readonly logger: Logger;
}

export interface UserOverridesMetrics {
  readonly tenants: TenantActivity;
  readonly lists: Counter;
  readonly fetches: Counter;
  readonly failedFetches: Counter;
  readonly failedReloads: Counter;
}

const FOLDER = 'overrides';
const NAME = 'overrides.json';
const READS_AT_ONCE = 8;

export function createUserOverridesMetrics(metrics: Metrics): UserOverridesMetrics {
  const named = (name: string, help: string, labels: string[] = []): Counter =>
    metrics.counter(`tempo_overrides_user_configurable_overrides_${name}`, help, labels);
  const tenant = ['tenant'];
  return {
    tenants: metrics.tenants,
    lists: named('list_total', 'Looks for limits that tenants have set.'),
    fetches: named('fetch_total', 'Reads of what a tenant has set.', tenant),
    failedFetches: named('fetch_failed_total', 'Reads of what a tenant has set that found nothing.', tenant),
    failedReloads: named('reload_failed_total', 'Looks for limits that tenants have set that failed.'),
  };
}

export class UserOverrides implements Service {
  readonly name = 'user-configurable-overrides';
  readonly #options: UserOverridesOptions;
  #timer: NodeJS.Timeout | undefined;
  /** One change or look after another: none takes back what another has just done. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: UserOverridesOptions) {
    this.#options = options;
  }

  /** Rejects when the bucket cannot be used. */
  async start(): Promise<void> {
    const { store, pollIntervalMs } = this.#options;
    await store.prepare();
    await this.poll();
    if (pollIntervalMs > 0) this.#timer = setInterval(() => void this.poll(), pollIntervalMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
  }

  /** Looks once. Never rejects: what cannot be read stays as it was. */
  poll(): Promise<void> {
    return this.#inTurn(async () => {
      const { store, overrides, logger, metrics } = this.#options;
      metrics.lists.inc();
      const found = new Map<string, UserLimits>();
      try {
        await eachConcurrently(await store.listFolders(FOLDER), READS_AT_ONCE, async (tenant) => {
          const limits = await this.#read(tenant).catch((err: unknown) => {
            metrics.failedReloads.inc();
            logger.error('limits that a tenant has set cannot be read, they stay as they were', {
              tenant,
              err,
            });
            return overrides.userLimitsOf(tenant);
          });
          if (limits !== undefined) found.set(tenant, limits);
        });
      } catch (err) {
        metrics.failedReloads.inc();
        logger.error('limits that tenants have set cannot be listed, they stay as they were', { err });
        return;
      }
      overrides.replaceUserLimits(found);
    });
  }

  /** What a tenant has set; undefined = nothing. */
  get(tenant: string): Promise<UserLimits | undefined> {
    this.#options.metrics.tenants.seen(tenant);
    return this.#inTurn(() => this.#read(tenant));
  }

  /** @param make the new limits, given those of before; they hold at once. */
  set(tenant: string, make: (before: UserLimits | undefined) => UserLimits): Promise<UserLimits> {
    this.#options.metrics.tenants.seen(tenant);
    return this.#inTurn(async () => {
      const limits = make(await this.#read(tenant));
      await this.#options.store.write(keyOf(tenant), new TextEncoder().encode(JSON.stringify(limits)));
      this.#hold(tenant, limits);
      return limits;
    });
  }

  remove(tenant: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#options.store.deleteFolder(`${FOLDER}/${tenant}`);
      this.#hold(tenant, undefined);
    });
  }

  #hold(tenant: string, limits: UserLimits | undefined): void {
    const { overrides } = this.#options;
    const all = new Map(overrides.userLimits);
    if (limits === undefined) all.delete(tenant);
    else all.set(tenant, limits);
    overrides.replaceUserLimits(all);
  }

  async #read(tenant: string): Promise<UserLimits | undefined> {
    const { store, metrics } = this.#options;
    metrics.fetches.inc({ tenant });
    try {
      return userLimitsFromPlain(parseJson(await store.read(keyOf(tenant))));
    } catch (err) {
      metrics.failedFetches.inc({ tenant });
      if (err instanceof TempoError && err.code === 'not_found') return undefined;
      if (!(err instanceof TempoError) || err.code !== 'invalid_argument') throw err;
      throw new TempoError('internal', `${keyOf(tenant)} cannot be read: ${err.message}`, err);
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

function keyOf(tenant: string): string {
  return `${FOLDER}/${tenant}/${NAME}`;
}
