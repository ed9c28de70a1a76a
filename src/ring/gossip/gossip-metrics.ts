// Metrics of gossip, by Tempo's names.
import type { Counter, Metrics } from '../../telemetry/metrics.ts';
import type { RingDesc } from '../instance.ts';

/** What is shown of a running member. */
export interface GossipState {
  readonly membersCount: number;
  readonly health: number;
  readonly keysCount: number;
  readonly queuedMessages: number;
}

/** Of an instance in a ring, without its tokens: text and numbers, about. */
const INSTANCE_BYTES = 96;
const TOKEN_BYTES = 5;

export class GossipMetrics {
  readonly changes: Counter;
  readonly changesDone: Counter;
  readonly changesFailed: Counter;
  readonly received: Counter;
  readonly receivedBytes: Counter;
  readonly invalid: Counter;
  readonly unknown: Counter;
  readonly dropped: Counter;
  readonly droppedLines: Counter;
  readonly pulls: Counter;
  readonly pushes: Counter;
  readonly #values = new Map<string, { bytes: number; left: number }>();
  #state: (() => GossipState) | undefined;

  constructor(metrics: Metrics) {
    const client = (name: string, help: string): Counter =>
      metrics.counter(`tempo_memberlist_client_${name}`, help);
    this.changes = client('cas_attempt_total', 'Tries to change a ring.');
    this.changesDone = client('cas_success_total', 'Changes of a ring that were made.');
    this.changesFailed = client('cas_failure_total', 'Changes of a ring that could not be made.');
    this.received = client('received_broadcasts_total', 'News of rings that came from others.');
    this.receivedBytes = client('received_broadcasts_bytes_total', 'Bytes of these.');
    this.invalid = client(
      'received_broadcasts_invalid_total',
      'Gossip that could not be read or had no room, and was dropped.',
    );
    this.unknown = client('received_broadcasts_unknown_total', 'Gossip of kinds that are of no use here.');
    this.dropped = client('broadcasts_dropped_total', 'News that went out of a full queue untold.');
    this.droppedLines = client('dropped_log_lines_total', 'Lines of the log that were too many at once.');
    this.pulls = client('state_pulls_total', 'Times that all of another member was merged.');
    this.pushes = client('state_pushes_total', 'Times that all was sent to another member.');
    const gauge = (name: string, help: string, value: (state: GossipState) => number): void =>
      metrics.computedGauge(`tempo_memberlist_client_${name}`, help, [], () =>
        this.#state === undefined ? [] : [[[], value(this.#state())]],
      );
    gauge(
      'cluster_members_count',
      'Members that are not known to be gone.',
      ({ membersCount }) => membersCount,
    );
    gauge(
      'cluster_node_health_score',
      'How well this member hears from others; 0 is best.',
      ({ health }) => health,
    );
    gauge('kv_store_count', 'Rings that are kept.', ({ keysCount }) => keysCount);
    gauge(
      'messages_in_broadcast_queue',
      'News that wait to be told.',
      ({ queuedMessages }) => queuedMessages,
    );
    metrics.computedGauge('tempo_memberlist_client_kv_store_value_bytes', 'Size of a ring.', ['key'], () =>
      [...this.#values].map(([key, { bytes }]) => [[key], bytes]),
    );
    metrics.computedGauge(
      'tempo_memberlist_client_kv_store_value_tombstones',
      'Instances of a ring that have left and are remembered.',
      ['key'],
      () => [...this.#values].map(([key, { left }]) => [[key], left]),
    );
  }

  show(state: () => GossipState): void {
    this.#state = state;
  }

  setValue(key: string, desc: RingDesc, left: number): void {
    let bytes = 0;
    for (const { tokens } of desc.values()) bytes += INSTANCE_BYTES + tokens.length * TOKEN_BYTES;
    this.#values.set(key, { bytes, left });
  }
}
