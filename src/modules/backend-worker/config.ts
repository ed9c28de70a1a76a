// The backend_worker block.
import { block, bool, duration, int, text } from '../../config/field.ts';
import { HOSTNAME, interfaceNames, kvStore } from '../../config/shared-blocks.ts';
import { compactionFields } from '../../store/config.ts';

export const backendWorkerFields = {
  backend_scheduler_addr: text('', 'host:port; required except in all'),
  backoff: block({
    min_period: duration('100ms', 'first delay', { flag: 'backend-worker.backoff-min-period' }),
    max_period: duration('1m', 'longest delay', { flag: 'backend-worker.backoff-max-period' }),
    max_retries: int(0, 'tries, 0 = no limit', { flag: 'backend-worker.backoff-retries' }),
  }),
  compaction: block(compactionFields, 'compaction', { flagPrefix: 'backend-worker.compaction.' }),
  override_ring_key: text('backend-worker', 'ring key in the KV store'),
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
  alive_interval: duration('15s', 'time between reports that a job is under way', {
    hidden: true,
    ours: true,
  }),
  finish_on_shutdown_timeout: duration('30s', 'finish job at stop', {
    flag: 'backend-worker.finish-on-shutdown-timeout',
  }),
};
