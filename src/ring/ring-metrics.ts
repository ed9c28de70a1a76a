// Metrics of rings: what this process sees of each, and what its own instance does there.
import type { ComputedSeries, Counter, Metrics } from '../telemetry/metrics.ts';
import { hasHeartbeat, type InstanceState } from './instance.ts';
import type { WatchedRing } from './watched-ring.ts';

/** As the label says it; Unhealthy = without heartbeat for too long, whatever its state. */
const MEMBER_STATES = ['ACTIVE', 'JOINING', 'LEAVING', 'PENDING', 'Unhealthy'] as const;

interface OwnInstance {
  readonly name: string;
  readonly tokensOwned: number;
  readonly tokensToOwn: number;
  readonly isReadOnly: boolean;
}

export class RingMetrics {
  readonly heartbeats: Counter;
  readonly #rings = new Set<WatchedRing>();
  readonly #instances = new Set<OwnInstance>();
  /** Of rings that are nowhere kept, as this process is alone in them: its state. */
  readonly #alone = new Map<string, () => string | undefined>();
  readonly #nowMs: () => number;

  constructor(metrics: Metrics, nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.heartbeats = metrics.counter(
      'tempo_ring_member_heartbeats_total',
      'Heartbeats that this instance wrote.',
      ['name'],
    );
    const gauge = (
      name: string,
      help: string,
      labels: readonly string[],
      series: () => Iterable<ComputedSeries>,
    ) => metrics.computedGauge(name, help, labels, series);
    const own = (value: (instance: OwnInstance) => number) => (): ComputedSeries[] =>
      [...this.#instances].map((each) => [[each.name], value(each)]);
    gauge(
      'tempo_ring_member_tokens_owned',
      'Tokens that this instance has.',
      ['name'],
      own(({ tokensOwned }) => tokensOwned),
    );
    gauge(
      'tempo_ring_member_tokens_to_own',
      'Tokens that this instance wants to have.',
      ['name'],
      own(({ tokensToOwn }) => tokensToOwn),
    );
    gauge(
      'tempo_lifecycler_read_only',
      '1 = writes leave this instance out, reads ask it.',
      ['name'],
      own(({ isReadOnly }) => Number(isReadOnly)),
    );
    gauge('tempo_ring_members', 'Instances of a ring, by state.', ['name', 'state'], () => this.#members());
    gauge(
      'tempo_ring_oldest_member_timestamp',
      'Oldest last heartbeat of a state, since the epoch.',
      ['name', 'state'],
      () => this.#oldest(),
    );
    gauge('tempo_ring_tokens_total', 'Tokens of all instances of a ring.', ['name'], () =>
      [...this.#rings].map((ring): ComputedSeries => [[ring.name], ring.current.tokensCount]),
    );
  }

  addRing(ring: WatchedRing): void {
    this.#rings.add(ring);
  }

  addAlone(name: string, stateNow: () => string | undefined): void {
    this.#alone.set(name, stateNow);
  }

  addInstance(instance: OwnInstance): void {
    this.#instances.add(instance);
  }

  *#members(): Generator<ComputedSeries> {
    for (const ring of this.#rings) {
      for (const state of MEMBER_STATES) yield [[ring.name, state], this.#timestamps(ring, state).length];
    }
    for (const [name, stateNow] of this.#alone) {
      for (const state of MEMBER_STATES) yield [[name, state], Number(stateNow() === state)];
    }
  }

  *#oldest(): Generator<ComputedSeries> {
    for (const ring of this.#rings) {
      for (const state of MEMBER_STATES) {
        const timestamps = this.#timestamps(ring, state);
        yield [[ring.name, state], timestamps.length === 0 ? 0 : Math.min(...timestamps)];
      }
    }
  }

  #timestamps({ current }: WatchedRing, wanted: (typeof MEMBER_STATES)[number]): number[] {
    const { instances, settings } = current;
    const stateOf = (at: number): InstanceState | 'Unhealthy' =>
      hasHeartbeat(instances[at], settings.heartbeatTimeoutMs, this.#nowMs())
        ? instances[at].state
        : 'Unhealthy';
    return instances.filter((_, at) => stateOf(at) === wanted).map(({ timestampSec }) => timestampSec);
  }
}
