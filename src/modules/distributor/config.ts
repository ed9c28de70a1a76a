// The distributor block; its receivers are described in src/receivers.
import { block, bool, duration, int, list, text } from '../../config/field.ts';
import { HOSTNAME, emptyKafkaFields, interfaceNames, kvStore } from '../../config/shared-blocks.ts';
import { receivers } from '../../receivers/config.ts';

const logSpans = (prefix: string, doc: string) =>
  block(
    {
      enabled: bool(false, doc, { flag: `${prefix}.enabled`, hidden: true }),
      include_all_attributes: bool(false, 'every attribute as a field', {
        flag: `${prefix}.include-attributes`,
        hidden: true,
      }),
      filter_by_status_error: bool(false, 'only spans with status error', {
        flag: `${prefix}.filter-by-status-error`,
        hidden: true,
      }),
    },
    doc,
    { hidden: true },
  );

export const distributorFields = {
  ring: block({
    kvstore: kvStore('memberlist'),
    heartbeat_period: duration('5s', 'ring heartbeat'),
    heartbeat_timeout: duration('5m', 'instance counted unhealthy after'),
    instance_id: text(HOSTNAME, 'ring id'),
    instance_interface_names: interfaceNames('eth0', 'en0'),
    instance_port: int(0, 'advertised port, 0 = gRPC port'),
    instance_addr: text('', 'advertised address'),
    enable_inet6: bool(false, 'allow IPv6 address'),
  }),
  receivers,
  override_ring_key: text('distributor', 'ring key in the KV store'),
  forwarders: list(
    block({
      name: text('', 'name used in overrides'),
      backend: text('otlpgrpc', 'kind'),
      otlpgrpc: block({
        endpoints: list(text('', 'host:port'), [], 'each gets all spans'),
        tls: block({
          insecure: bool(false, 'plain text'),
          cert_file: text('', 'certificates of authorities that are trusted'),
        }),
      }),
      filter: block({
        traces: block({
          span: list(text('', 'OTTL'), [], 'conditions: spans that are left out'),
          spanevent: list(text('', 'OTTL'), [], 'conditions: events that are left out'),
        }),
      }),
    }),
    [],
    'where spans are copied to',
  ),
  log_received_spans: logSpans('distributor.log-received-spans', 'one log line for each received span'),
  log_discarded_spans: logSpans('distributor.log-discarded-spans', 'one log line for each discarded span'),
  metric_received_spans: block(
    {
      enabled: bool(false, 'count received spans by name', { hidden: true }),
      root_only: bool(false, 'only root spans', { hidden: true }),
    },
    'debug counter of spans',
    { hidden: true },
  ),
  artificial_delay: duration('0s', 'shortest time of a push', { hidden: true }),
  usage: block({
    cost_attribution: block({
      enabled: bool(false, 'serve /usage_metrics', { hidden: true }),
      max_cardinality: int(10_000, 'label sets per tenant'),
      stale_duration: duration('15m', 'drop idle label sets'),
    }),
  }),
  ingester_write_path_enabled: bool(true, 'push to ingesters'),
  kafka_write_path_enabled: bool(false, 'push to Kafka'),
  kafka_config: block(emptyKafkaFields),
  extend_writes: bool(true, 'extra replica for non-ACTIVE ingesters'),
  retry_after_on_resource_exhausted: duration('0s', 'RetryInfo delay, 0 = none'),
  max_attribute_bytes: int(2_048, 'truncate keys and string values'),
};
