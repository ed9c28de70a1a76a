// The live_store block.
import { block, bool, duration, float, int, text, withDefaults } from '../../config/field.ts';
import { HOSTNAME, interfaceNames, kvStore } from '../../config/shared-blocks.ts';
import { blockFields, walFields } from '../../store/config.ts';

export const liveStoreFields = {
  ring: block({
    kvstore: kvStore('memberlist', 'live-store'),
    heartbeat_period: duration('5s', 'ring heartbeat'),
    heartbeat_timeout: duration('1m', 'instance counted unhealthy after'),
    instance_id: text(HOSTNAME, 'ring id'),
    instance_interface_names: interfaceNames('eth0', 'en0'),
    instance_addr: text('', 'advertised address'),
    instance_port: int(0, 'advertised port, 0 = gRPC port'),
    enable_inet6: bool(false, 'allow IPv6 address'),
    instance_zone: text('', 'availability zone', { flag: 'live-store.instance-availability-zone' }),
  }),
  partition_ring: block({
    kvstore: kvStore('memberlist', 'live-store.partition-ring.'),
    min_partition_owners_count: int(1, 'partition PENDING to ACTIVE', {
      flag: 'live-store.partition-ring.min-partition-owners-count',
    }),
    min_partition_owners_duration: duration('10s', 'held for', {
      flag: 'live-store.partition-ring.min-partition-owners-duration',
    }),
    delete_inactive_partition_after: duration('13h', '0 = never', {
      flag: 'live-store.partition-ring.delete-inactive-partition-after',
    }),
  }),
  metrics: block({
    time_overlap_cutoff: float(0.2, 'below this overlap ratio use trace time columns', {
      flag: 'live-store.metrics.time-overlap-cutoff',
    }),
  }),
  commit_interval: duration('5s', 'Kafka commit'),
  wal: block(walFields('/var/tempo/live-store/traces', 'live-store.wal.path')),
  query_block_concurrency: int(10, 'blocks per query', { flag: 'live-store.concurrent-blocks' }),
  complete_block_timeout: duration('1h', 'keep local block after its end', {
    flag: 'live-store.complete-block-timeout',
  }),
  complete_block_concurrency: int(2, 'completers'),
  shutdown_marker_dir: text('/var/tempo/live-store/shutdown-marker', 'downscale marker', {
    flag: 'live-store.shutdown_marker_dir',
  }),
  flush_check_period: duration('10s', 'cut loop period'),
  flush_op_timeout: duration('5m', 'per flush deadline'),
  max_trace_live: duration('30s', 'cut after age'),
  max_trace_idle: duration('5s', 'cut after silence'),
  max_live_traces_bytes: int(250_000_000, 'back-pressure above'),
  max_block_duration: duration('30m', 'cut block'),
  max_block_bytes: int(104_857_600, 'cut block'),
  block_config: block(withDefaults(blockFields, { version: '' }), 'new blocks', {
    flagPrefix: 'live-store.block.trace.block.',
  }),
  block_reclaim_grace: duration('2m', 'delay before files are deleted', { hidden: true }),
  readiness_target_lag: duration('0s', 'ready when the lag is below', { hidden: true }),
  readiness_max_wait: duration('30m', 'but after this at the latest', { hidden: true }),
  fail_on_high_lag: bool(true, 'refuse queries while lagging', { hidden: true }),
  remove_owner_on_shutdown: bool(true, 'leave the ring', { hidden: true }),
};
