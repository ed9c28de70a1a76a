// The server and internal_server blocks: listening sockets, their limits, and the log.
import {
  block,
  bool,
  duration,
  int,
  list,
  oneOf,
  text,
  withDefaults,
  type ConfigOf,
} from '../config/field.ts';
import { serverTls } from '../config/shared-blocks.ts';

const cluster_validation = block({
  label: text('', 'cluster label expected of clients'),
  additional_labels: text('', 'comma list of others'),
  grpc: block({
    enabled: bool(false, 'check gRPC calls'),
    soft_validation: bool(false, 'only log'),
  }),
  http: block({
    enabled: bool(false, 'check HTTP requests'),
    soft_validation: bool(false, 'only log'),
    excluded_paths: text('', 'comma list of paths'),
    excluded_user_agents: text('', 'comma list of user agents'),
  }),
});

export const serverFields = {
  http_listen_network: text('tcp', 'tcp, tcp4 or tcp6'),
  http_listen_address: text('', 'bind address, empty = all'),
  http_listen_port: int(3_200, 'HTTP port (80 for a bare server, Tempo sets 3200)', {
    flag: 'server.http-listen-port',
  }),
  http_allowed_hosts: list(
    text('', 'name'),
    [],
    'names under which a loopback address is asked too, and pages may be of',
    {
      hidden: true,
      ours: true,
    },
  ),
  http_listen_conn_limit: int(0, 'max simultaneous connections, 0 = off'),
  grpc_listen_network: text('tcp', 'as http'),
  grpc_listen_address: text('', 'bind address'),
  grpc_listen_port: int(9_095, 'gRPC port', { flag: 'server.grpc-listen-port' }),
  grpc_listen_conn_limit: int(0, 'max connections'),
  grpc_collect_max_streams_by_conn: bool(true, 'export max concurrent streams metric'),
  proxy_protocol_enabled: bool(false, 'accept PROXY protocol'),
  tls_cipher_suites: text('', 'comma list'),
  tls_min_version: text('', 'VersionTLS12 etc.'),
  http_tls_config: serverTls,
  grpc_tls_config: serverTls,
  register_instrumentation: bool(true, 'serve /metrics and /debug/pprof'),
  report_grpc_codes_in_instrumentation_label_enabled: bool(false, 'use gRPC code names as status_code label'),
  graceful_shutdown_timeout: duration('30s', 'wait for running requests at stop'),
  http_server_read_timeout: duration('30s', 'read timeout'),
  http_server_read_header_timeout: duration('0s', '0 = read timeout'),
  http_server_write_timeout: duration(
    '30s',
    'write timeout: caps query time too (set higher for long queries)',
  ),
  http_server_idle_timeout: duration('2m', 'keep-alive idle'),
  http_log_closed_connections_without_response_enabled: bool(false, 'log such connections'),
  grpc_server_max_recv_msg_size: int(16_777_216, 'bytes'),
  grpc_server_max_send_msg_size: int(16_777_216, 'bytes'),
  grpc_server_max_concurrent_streams: int(100, 'per connection'),
  grpc_server_max_connection_idle: duration('2562047h47m16.854775807s', 'close idle connections (infinite)'),
  grpc_server_max_connection_age: duration('2562047h47m16.854775807s', 'recycle connections (infinite)'),
  grpc_server_max_connection_age_grace: duration('2562047h47m16.854775807s', 'grace after age (infinite)'),
  grpc_server_keepalive_time: duration('2h', 'ping interval'),
  grpc_server_keepalive_timeout: duration('20s', 'ping timeout'),
  grpc_server_min_time_between_pings: duration('10s', 'enforcement policy'),
  grpc_server_ping_without_stream_allowed: bool(true, 'enforcement policy'),
  grpc_server_num_workers: int(0, '0 = goroutine per stream'),
  grpc_server_stats_tracking_enabled: bool(true, 'bytes metrics'),
  grpc_server_recv_buffer_pools_enabled: bool(false, 'buffer reuse'),
  grpc_server_read_buffer_size: int(32_768, 'bytes'),
  grpc_server_write_buffer_size: int(32_768, 'bytes'),
  log_format: oneOf(['logfmt', 'json'], 'logfmt', 'format of log lines'),
  log_level: oneOf(['debug', 'info', 'warn', 'error'], 'info', 'least level that is logged', {
    flag: 'log.level',
  }),
  log_source_ips_enabled: bool(false, 'log client ip'),
  log_source_ips_full: bool(false, 'full chain'),
  log_source_ips_header: text('', 'header with the ip'),
  log_source_ips_regex: text('', 'extractor'),
  log_request_headers: bool(false, 'log headers'),
  log_request_at_info_level_enabled: bool(false, 'request log level'),
  log_request_exclude_headers_list: text('', 'comma list'),
  trace_request_headers: bool(false, 'add headers to self traces'),
  trace_request_exclude_headers_list: text('', 'comma list'),
  http_path_prefix: text('', 'base path for all HTTP routes'),
  cluster_validation,
  create_new_traces: bool(false, 'start new self traces'),
};

export type ServerConfig = ConfigOf<typeof serverFields>;

/** A second HTTP server; what it does not serve has no default. */
export const internalServerFields = {
  ...withDefaults(serverFields, {
    http_listen_port: 3101,
    grpc_listen_network: '',
    grpc_listen_port: 0,
    grpc_collect_max_streams_by_conn: false,
    register_instrumentation: false,
    grpc_server_max_recv_msg_size: 0,
    grpc_server_max_send_msg_size: 0,
    grpc_server_max_concurrent_streams: 0,
    grpc_server_max_connection_idle: '0s',
    grpc_server_max_connection_age: '0s',
    grpc_server_max_connection_age_grace: '0s',
    grpc_server_keepalive_time: '0s',
    grpc_server_keepalive_timeout: '0s',
    grpc_server_min_time_between_pings: '0s',
    grpc_server_ping_without_stream_allowed: false,
    grpc_server_stats_tracking_enabled: false,
    grpc_server_read_buffer_size: 0,
    grpc_server_write_buffer_size: 0,
  }),
  enable: bool(false, 'start it'),
  enable_profiles: bool(false, 'serve CPU profiles and heap snapshots below /debug/pprof', {
    hidden: true,
    ours: true,
  }),
};
