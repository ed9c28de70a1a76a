// The memberlist block.
import { tlsFields } from '../config/shared-blocks.ts';
import { block, bool, type ConfigOf, duration, int, list, text } from '../config/field.ts';

const ours = { hidden: true, ours: true };

export const memberlistFields = {
  node_name: text('', 'memberlist name'),
  randomize_node_name: bool(true, 'append random suffix'),
  stream_timeout: duration('2s', 'TCP timeout'),
  retransmit_factor: int(2, 'gossip retransmit multiplier'),
  pull_push_interval: duration('30s', 'full state sync'),
  gossip_interval: duration('1s', 'gossip period'),
  gossip_nodes: int(2, 'peers per round'),
  gossip_to_dead_nodes_time: duration(
    '30s',
    'gossip goes on to who died; then it is forgotten, and its name is free',
  ),
  dead_node_reclaim_time: duration('0s', 'name reuse'),
  compression_enabled: bool(false, 'compress packets'),
  notify_interval: duration('0s', 'batch notifications'),
  received_messages_queue_size: int(1_024, 'per key queue'),
  advertise_addr: text('', 'advertised ip'),
  advertise_port: int(7_946, 'advertised port'),
  cluster_label: text('', 'isolation label'),
  cluster_label_verification_disabled: bool(false, 'migration'),
  join_members: list(text('', 'member'), [], 'members to join: host:port, dns+host:port, dnssrv+name', {
    orText: true,
    flag: 'memberlist.host-port',
  }),
  min_join_backoff: duration('1s', 'join retry'),
  max_join_backoff: duration('1m', 'join retry'),
  max_join_retries: int(10, 'join retry'),
  abort_if_cluster_fast_join_fails: bool(false, 'fail start'),
  abort_if_cluster_fast_join_fails_min_nodes: int(1, 'min nodes'),
  abort_if_cluster_join_fails: bool(false, 'fail start when join fails'),
  rejoin_interval: duration('0s', 'periodic rejoin, 0 = off'),
  rejoin_seed_nodes: text('', 'seeds for rejoin'),
  left_ingesters_timeout: duration('5m', 'LEFT tombstone life'),
  obsolete_entries_timeout: duration('30s', 'deleted keys life'),
  leave_timeout: duration('20s', 'leave at stop'),
  broadcast_timeout_for_local_updates_on_shutdown: duration('10s', 'flush at stop'),
  message_history_buffer_bytes: int(0, 'debug history', { flag: 'memberlist.message-history-buffer-bytes' }),
  watch_prefix_buffer_size: int(128, 'watch buffer'),
  bind_addr: list(text('', 'value'), [], 'list of addresses'),
  bind_port: int(7_946, 'port', { flag: 'memberlist.bind-port' }),
  packet_dial_timeout: duration('2s', 'dial'),
  packet_write_timeout: duration('5s', 'write'),
  max_concurrent_writes: int(3, 'writers'),
  acquire_writer_timeout: duration('250ms', 'wait for a writer'),
  tls_enabled: bool(false, 'use TLS'),
  ...tlsFields,
  max_message_bytes: int(16_777_216, 'largest message that is taken or sent', ours),
  max_connections: int(256, 'connections that others may open at once', ours),
  max_members: int(5_000, 'members that are remembered, and instances of a ring', ours),
  zone_aware_routing: block({
    enabled: bool(false, 'not read'),
    instance_availability_zone: text('', 'value'),
    role: text('member', ''),
  }),
  propagation_delay_tracker: block({
    enabled: bool(false, 'not read'),
    beacon_interval: duration('1m', ''),
    beacon_lifetime: duration('10m', ''),
    log_beacons_latency_longer_than: duration('0s', ''),
  }),
};

export type MemberlistConfig = ConfigOf<typeof memberlistFields>;
