// Configuration blocks that several modules contain: TLS, gRPC clients, ring key-value stores, back-off,
// Kafka. A flag that begins with `+` is completed by the `flagPrefix` of the block that contains it.
import { hostname } from 'node:os';
import {
  block,
  bool,
  duration,
  float,
  int,
  list,
  oneOf,
  raw,
  secret,
  size,
  text,
  withDefaults,
} from './field.ts';
import type { BlockField } from './field.ts';

export const HOSTNAME = hostname();

/** Keys of a TLS client, without `tls_enabled`. */
export const tlsFields = {
  tls_cert_path: text('', 'client certificate, PEM', { flag: '+tls-cert-path' }),
  tls_key_path: text('', 'its key, PEM', { flag: '+tls-key-path' }),
  tls_ca_path: text('', 'certificate authorities, PEM; empty = those of the system', {
    flag: '+tls-ca-path',
  }),
  tls_server_name: text('', 'name expected in the server certificate', { flag: '+tls-server-name' }),
  tls_insecure_skip_verify: bool(false, 'accept any server certificate', {
    flag: '+tls-insecure-skip-verify',
  }),
  tls_cipher_suites: text('', 'comma list; empty = default', { flag: '+tls-cipher-suites' }),
  tls_min_version: text('', 'VersionTLS10 to VersionTLS13', { flag: '+tls-min-version' }),
};

/** Certificates of a listening socket. */
export const serverTls = block({
  cert: text('', 'certificate, PEM text'),
  key: raw(null, 'key, PEM text', { secret: true }),
  client_ca: text('', 'authorities for client certificates, PEM text'),
  cert_file: text('', 'certificate, PEM file'),
  key_file: text('', 'key, PEM file'),
  client_auth_type: oneOf(
    [
      '',
      'NoClientCert',
      'RequestClientCert',
      'RequireAnyClientCert',
      'VerifyClientCertIfGiven',
      'RequireAndVerifyClientCert',
    ],
    '',
    'what is asked of client certificates',
  ),
  client_ca_file: text('', 'authorities for client certificates, PEM file'),
});

const backoffFields = {
  min_period: duration('100ms', 'first delay'),
  max_period: duration('10s', 'longest delay'),
  max_retries: int(0, 'tries, 0 = no limit'),
};

const grpcClientFields = {
  max_recv_msg_size: int(104_857_600, 'largest message received, bytes'),
  max_send_msg_size: int(104_857_600, 'largest message sent, bytes'),
  // Snappy, Tempo's default, would add a third to the CPU of a push.
  grpc_compression: oneOf(['', 'gzip', 'snappy'], '', 'compression of messages; Tempo has snappy without it'),
  rate_limit: float(0, 'calls a second, 0 = off'),
  rate_limit_burst: int(0, 'burst of the rate limit'),
  backoff_on_ratelimits: bool(false, 'retry when the rate limit is hit'),
  backoff_config: block(withDefaults(backoffFields, { max_retries: 10 })),
  initial_stream_window_size: size('63KiB1023B', 'HTTP/2 window of a stream'),
  initial_connection_window_size: size('63KiB1023B', 'HTTP/2 window of a connection'),
  tls_enabled: bool(false, 'use TLS', { flag: '+tls-enabled' }),
  ...tlsFields,
  connect_timeout: duration('5s', 'limit of one try to connect'),
  connect_backoff_base_delay: duration('1s', 'first delay after a failed try'),
  connect_backoff_max_delay: duration('5s', 'longest delay after failed tries'),
  cluster_validation: block({ label: text('', 'cluster label sent along') }),
};

/** A gRPC client; `defaults` as in withDefaults. */
export function grpcClient(
  defaults: Readonly<Record<string, string | number | boolean>> = {},
): BlockField<typeof grpcClientFields> {
  return block(withDefaults(grpcClientFields, defaults), 'gRPC client');
}

/** A pooled client of another module's instances. */
export const poolClientFields = {
  pool_config: block({
    checkinterval: duration('15s', 'time between clean-ups of stale clients'),
    healthcheckenabled: bool(true, 'check clients'),
    healthchecktimeout: duration('1s', 'limit of one check'),
    healthcheckgraceperiod: duration('0s', 'failing for that long before removal'),
    maxconcurrenthealthchecks: int(0, 'parallel checks, 0 = 16'),
  }),
  remote_timeout: duration('5s', 'limit of one call'),
  max_unanswered_bytes: size('64MiB', 'what one instance may have unanswered; more fails at once', {
    hidden: true,
    ours: true,
  }),
  grpc_client_config: grpcClient(),
};

const kvStoreFields = {
  store: oneOf(
    ['', 'consul', 'etcd', 'inmemory', 'memberlist', 'multi'],
    'memberlist',
    'where the ring is kept',
    {
      flag: '+store',
    },
  ),
  prefix: text('collectors/', 'prefix of the keys', { flag: '+prefix' }),
  consul: block({
    host: text('localhost:8500', 'address', { flag: '+consul.hostname' }),
    acl_token: secret('ACL token', { flag: '+consul.acl-token' }),
    http_client_timeout: duration('20s', 'limit of one call', { flag: '+consul.client-timeout' }),
    consistent_reads: bool(false, 'consistent reads', { flag: '+consul.consistent-reads' }),
    watch_rate_limit: float(1, 'watch calls a second', { flag: '+consul.watch-rate-limit' }),
    watch_burst_size: int(1, 'burst of watch calls', { flag: '+consul.watch-burst-size' }),
    cas_retry_delay: duration('1s', 'delay after a lost compare-and-swap', {
      flag: '+consul.cas-retry-delay',
    }),
  }),
  etcd: block(
    {
      endpoints: list(text('', 'address'), [], 'addresses', { flag: '+endpoints' }),
      dial_timeout: duration('10s', 'limit of one try to connect', { flag: '+dial-timeout' }),
      max_retries: int(10, 'tries of one call', { flag: '+max-retries' }),
      tls_enabled: bool(false, 'use TLS', { flag: '+tls-enabled' }),
      ...tlsFields,
      username: text('', 'user', { flag: '+username' }),
      password: secret('password', { flag: '+password' }),
    },
    'etcd client',
    { flagPrefix: '+etcd.' },
  ),
  multi: block(
    {
      primary: text('', 'store read and written', { flag: '+primary' }),
      secondary: text('', 'store written too', { flag: '+secondary' }),
      mirror_enabled: bool(false, 'write to the second store', { flag: '+mirror-enabled' }),
      mirror_timeout: duration('2s', 'limit of a write to the second store', { flag: '+mirror-timeout' }),
    },
    'two stores at once',
    { flagPrefix: '+multi.' },
  ),
};

/** The key-value store behind a ring. Without `flagPrefix` it has no flags. */
export function kvStore(store: 'memberlist' | '', flagPrefix?: string): BlockField<typeof kvStoreFields> {
  const options = flagPrefix === undefined ? {} : { flagPrefix };
  return block(withDefaults(kvStoreFields, { store }), 'key-value store of the ring', options);
}

export const kafkaFields = {
  address: text('localhost:9092', 'broker', { flag: '+address' }),
  topic: text('', 'topic', { flag: '+topic' }),
  client_id: text('', 'client id', { flag: '+client-id' }),
  dial_timeout: duration('2s', 'limit of one try to connect', { flag: '+dial-timeout' }),
  write_timeout: duration('10s', 'limit of one write', { flag: '+write-timeout' }),
  sasl_username: text('', 'SASL user', { flag: '+sasl-username' }),
  sasl_password: secret('SASL password', { flag: '+sasl-password' }),
  consumer_group: text('', 'consumer group', { flag: '+consumer-group' }),
  consumer_group_offset_commit_interval: duration('1s', 'time between commits', {
    flag: '+consumer-group-offset-commit-interval',
  }),
  last_produced_offset_retry_timeout: duration('10s', 'retries of asking for the last offset', {
    flag: '+last-produced-offset-retry-timeout',
  }),
  auto_create_topic_enabled: bool(true, 'create the topic', { flag: '+auto-create-topic-enabled' }),
  auto_create_topic_default_partitions: int(1000, 'partitions of a created topic', {
    flag: '+auto-create-topic-default-partitions',
  }),
  producer_max_record_size_bytes: int(15_983_616, 'largest record', {
    flag: '+producer-max-record-size-bytes',
  }),
  producer_max_buffered_bytes: int(1_073_741_824, 'largest send buffer', {
    flag: '+producer-max-buffered-bytes',
  }),
  target_consumer_lag_at_startup: duration('2s', 'lag to reach before ready', {
    flag: '+target-consumer-lag-at-startup',
  }),
  max_consumer_lag_at_startup: duration('15s', 'lag allowed when ready', {
    flag: '+max-consumer-lag-at-startup',
  }),
  disable_kafka_telemetry: bool(false, 'no client telemetry', { flag: '+disable-kafka-telemetry' }),
  consumer_group_lag_metric_update_interval: duration('1m', 'time between updates of the lag metric', {
    flag: '+consumer_group_lag_metric_update_interval',
  }),
};

/** Kafka without any default, as blocks that repeat it have it. */
export const emptyKafkaFields = withDefaults(kafkaFields, {
  address: '',
  dial_timeout: '0s',
  write_timeout: '0s',
  consumer_group_offset_commit_interval: '0s',
  last_produced_offset_retry_timeout: '0s',
  auto_create_topic_enabled: false,
  auto_create_topic_default_partitions: 0,
  producer_max_record_size_bytes: 0,
  producer_max_buffered_bytes: 0,
  target_consumer_lag_at_startup: '0s',
  max_consumer_lag_at_startup: '0s',
  consumer_group_lag_metric_update_interval: '0s',
});

/** Names of network interfaces whose first address an instance advertises. */
export function interfaceNames(...names: string[]) {
  return list(text('', 'name'), names, 'interfaces to take the address from');
}

/** An attribute with a column of its own. */
export const dedicatedColumn = block({
  scope: oneOf(['resource', 'span', 'event'], 'span', 'where the attribute is'),
  name: text('', 'name of the attribute'),
  type: oneOf(['string', 'int'], 'string', 'its type'),
  options: list(text('', 'array or blob'), [], 'how its column is written'),
});
