// The ingester block.
import { block, bool, duration, int, text } from '../../config/field.ts';
import type { ConfigOf } from '../../config/field.ts';
import { HOSTNAME, interfaceNames, kvStore } from '../../config/shared-blocks.ts';

export const ingesterFields = {
  lifecycler: block({
    ring: block({
      kvstore: kvStore('memberlist'),
      heartbeat_timeout: duration('5m', 'instance counted unhealthy after'),
      replication_factor: int(1, 'copies of each trace'),
      zone_awareness_enabled: bool(false, 'spread over zones'),
      excluded_zones: text('', 'comma list'),
    }),
    num_tokens: int(128, 'ring tokens'),
    heartbeat_period: duration('5s', 'ring heartbeat'),
    heartbeat_timeout: duration('1m', 'instance counted unhealthy after'),
    observe_period: duration('0s', 'wait after JOINING'),
    join_after: duration('0s', 'wait before JOINING'),
    min_ready_duration: duration('15s', '/ready only after'),
    interface_names: interfaceNames('eth0'),
    enable_inet6: bool(false, 'allow IPv6 address'),
    final_sleep: duration('0s', 'sleep at stop'),
    tokens_file_path: text('', 'persist tokens'),
    availability_zone: text('', 'zone', { flag: 'ingester.availability-zone' }),
    unregister_on_shutdown: bool(true, 'leave the ring'),
    readiness_check_ring_health: bool(true, '/ready needs healthy ring'),
    address: text('', 'advertised address'),
    port: int(0, 'advertised port'),
    id: text(HOSTNAME, 'ring id'),
  }),
  partition_ring: block({
    kvstore: kvStore('memberlist', 'ingester.partition-ring.'),
    min_partition_owners_count: int(1, 'partition PENDING to ACTIVE', {
      flag: 'ingester.partition-ring.min-partition-owners-count',
    }),
    min_partition_owners_duration: duration('10s', 'held for', {
      flag: 'ingester.partition-ring.min-partition-owners-duration',
    }),
    delete_inactive_partition_after: duration('13h', '0 = never', {
      flag: 'ingester.partition-ring.delete-inactive-partition-after',
    }),
  }),
  concurrent_flushes: int(4, 'flush workers'),
  flush_check_period: duration('10s', 'cut loop period'),
  flush_op_timeout: duration('5m', 'per flush deadline'),
  trace_idle_period: duration('5s', 'trace cut after silence', { flag: 'ingester.trace-idle-period' }),
  trace_live_period: duration('30s', 'trace cut after age'),
  max_block_duration: duration('30m', 'head block age', { flag: 'ingester.max-block-duration' }),
  max_block_bytes: int(524_288_000, 'head block bytes', { flag: 'ingester.max-block-bytes' }),
  complete_block_timeout: duration('15m', 'keep local block after its end', {
    flag: 'ingester.complete-block-timeout',
  }),
  override_ring_key: text('ring', 'ring key in the KV store'),
  flush_all_on_shutdown: bool(false, 'flush everything at stop'),
  flush_object_storage: bool(true, 'false = never upload'),
};

export type IngesterConfig = ConfigOf<typeof ingesterFields>;
