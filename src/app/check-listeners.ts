// What is wrong with the configuration of listening sockets, and which of their keys have no effect.
import { parseEndpoint } from '../rpc/listen.ts';
import { checkPorts } from './check-ports.ts';
import type { TempoConfig } from './config.ts';
import type { ServerConfig } from './server-config.ts';
import { TLS_VERSIONS } from './server-tls.ts';

type Report = (path: string, text: string) => void;

const NETWORKS: readonly string[] = ['', 'tcp', 'tcp4', 'tcp6'];
const TLS_NAMES: readonly string[] = Object.keys(TLS_VERSIONS);

export function checkListeners(config: TempoConfig, fail: Report, warn: Report): void {
  checkServer('server', config.server, fail, warn);
  if (config.internalServer.enable) checkServer('internal_server', config.internalServer, fail, warn);
  for (const name of ['grpc', 'http'] as const) {
    const protocol = config.distributor.receivers.otlp?.protocols[name];
    if (protocol === undefined) continue;
    const path = `distributor.receivers.otlp.protocols.${name}`;
    if (protocol.transport === 'unix') fail(`${path}.transport`, 'is unix, only tcp is listened to');
    if (protocol.auth !== undefined) warn(`${path}.auth`, 'has no effect');
    try {
      parseEndpoint(protocol.endpoint);
    } catch (err) {
      fail(`${path}.endpoint`, (err as Error).message);
    }
  }
  checkPorts(config, fail);
}

function checkServer(block: string, config: ServerConfig, fail: Report, warn: Report): void {
  const oneOf = (key: string, value: string, known: readonly string[]): void => {
    if (known.includes(value)) return;
    const names = known.filter((name) => name !== '').join(', ');
    fail(`${block}.${key}`, `is "${value}", must be one of ${names}`);
  };
  for (const [key, port] of [
    ['http_listen_port', config.httpListenPort],
    ['grpc_listen_port', config.grpcListenPort],
  ] as const) {
    if (port < 0 || port > 65_535) fail(`${block}.${key}`, `is ${port}, no port`);
  }
  oneOf('http_listen_network', config.httpListenNetwork, NETWORKS);
  oneOf('grpc_listen_network', config.grpcListenNetwork, NETWORKS);
  oneOf('tls_min_version', config.tlsMinVersion, TLS_NAMES);
  try {
    new RegExp(config.logSourceIpsRegex);
  } catch {
    fail(`${block}.log_source_ips_regex`, 'is no regular expression');
  }
  for (const [key, isOn] of withoutEffect(config)) if (isOn) warn(`${block}.${key}`, 'has no effect');
}

function withoutEffect(config: ServerConfig): readonly (readonly [string, boolean])[] {
  const { clusterValidation } = config;
  return [
    ['proxy_protocol_enabled', config.proxyProtocolEnabled],
    [
      'http_log_closed_connections_without_response_enabled',
      config.httpLogClosedConnectionsWithoutResponseEnabled,
    ],
    ['trace_request_headers', config.traceRequestHeaders],
    ['create_new_traces', config.createNewTraces],
    ['cluster_validation.grpc', clusterValidation.grpc.enabled],
    ['cluster_validation.http', clusterValidation.http.enabled],
  ];
}
