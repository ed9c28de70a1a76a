// Ports of the configuration on which two listeners would meet, which ends the start of the second one.
import { familyOf, type ListenAddress, parseEndpoint } from '../rpc/listen.ts';
import { usesGossip } from './check-rings.ts';
import type { TempoConfig } from './config.ts';
import { startOrder } from './graph.ts';

type Report = (path: string, text: string) => void;

interface Listener extends ListenAddress {
  /** The key that says the port. */
  readonly path: string;
}

const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

export function checkPorts(config: TempoConfig, fail: Report): void {
  const listeners = listenersOf(config).filter(({ port }) => port > 0);
  listeners.forEach((listener, i) => {
    const other = listeners.slice(0, i).find((each) => meet(each, listener));
    if (other !== undefined) fail(listener.path, `port ${listener.port} is that of ${other.path} too`);
  });
}

/** In the order in which they begin to listen. */
function listenersOf(config: TempoConfig): readonly Listener[] {
  const { server, internalServer: internal, memberlist } = config;
  const listeners: Listener[] = [
    {
      path: 'server.http_listen_port',
      port: server.httpListenPort,
      host: server.httpListenAddress,
      family: familyOf(server.httpListenNetwork),
    },
    {
      path: 'server.grpc_listen_port',
      port: server.grpcListenPort,
      host: server.grpcListenAddress,
      family: familyOf(server.grpcListenNetwork),
    },
  ];
  if (internal.enable) {
    listeners.push({
      path: 'internal_server.http_listen_port',
      port: internal.httpListenPort,
      host: internal.httpListenAddress,
      family: familyOf(internal.httpListenNetwork),
    });
  }
  if (usesGossip(config)) {
    const { bindAddr, bindPort: port } = memberlist;
    const hosts = bindAddr.length === 0 ? [undefined] : bindAddr;
    // Two addresses that meet each other have this one key.
    for (const host of hosts) listeners.push({ path: 'memberlist.bind_port', port, host });
  }
  return [...listeners, ...receivers(config)];
}

function receivers({ distributor, target }: TempoConfig): readonly Listener[] {
  if (!startOrder(target).includes('distributor')) return [];
  return (['grpc', 'http'] as const).flatMap((name) => {
    const protocol = distributor.receivers.otlp?.protocols[name];
    if (protocol === undefined) return [];
    const path = `distributor.receivers.otlp.protocols.${name}.endpoint`;
    try {
      return [{ ...parseEndpoint(protocol.endpoint), path, family: familyOf(protocol.transport) }];
    } catch {
      return []; // it is told elsewhere that this is no endpoint
    }
  });
}

function meet(a: Listener, b: Listener): boolean {
  if (a.port !== b.port) return false;
  const [hostA, hostB] = [hostOf(a), hostOf(b)];
  const [familyA, familyB] = [addressFamily(a, hostA), addressFamily(b, hostB)];
  if (familyA !== undefined && familyB !== undefined && familyA !== familyB) return false;
  return hostA === undefined || hostB === undefined || hostA === hostB;
}

/** undefined = every interface. */
function hostOf({ host = '' }: Listener): string | undefined {
  if (host === '' || WILDCARDS.includes(host)) return undefined;
  return host === 'localhost' ? '127.0.0.1' : host;
}

/** undefined = both, or not known before the name is looked up. */
function addressFamily({ family, host: text }: Listener, host: string | undefined): 4 | 6 | undefined {
  if (text === '0.0.0.0') return 4;
  if (host === undefined || family !== undefined) return family;
  if (host.includes(':')) return 6;
  return /^[\d.]+$/.test(host) ? 4 : undefined;
}
