// The compactor block.
import { block, bool, duration, int, text } from '../../config/field.ts';
import { HOSTNAME, interfaceNames, kvStore } from '../../config/shared-blocks.ts';
import { compactionFields } from '../../store/config.ts';

export const compactorFields = {
  ring: block({
    kvstore: kvStore(''),
    heartbeat_period: duration('5s', 'ring heartbeat'),
    heartbeat_timeout: duration('1m', 'instance counted unhealthy after'),
    wait_stability_min_duration: duration('1m', 'wait before first job'),
    wait_stability_max_duration: duration('5m', 'upper bound of that wait'),
    instance_id: text(HOSTNAME, 'ring id'),
    instance_interface_names: interfaceNames('eth0', 'en0'),
    instance_port: int(0, 'advertised port, 0 = gRPC port'),
    instance_addr: text('', 'advertised address'),
    enable_inet6: bool(false, 'allow IPv6 address'),
    wait_active_instance_timeout: duration('10m', 'give up joining after'),
  }),
  compaction: block(compactionFields, 'compaction and retention', {
    flagPrefix: 'compactor.compaction.',
    aliases: {
      chunk_size_bytes: 'v2_in_buffer_bytes',
      flush_size_bytes: 'v2_out_buffer_bytes',
      iterator_buffer_size: 'v2_prefetch_traces_count',
    },
  }),
  disabled: bool(false, 'only poll and write the tenant index', { flag: 'compactor.disabled', hidden: true }),
  override_ring_key: text('compactor', 'ring key in the KV store'),
};
