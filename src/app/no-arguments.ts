// What a start without any configuration means: a laptop. Loopback only, a folder of the user's, a bound on
// what is kept there, and a word on where to send and where to look.
import { homedir } from 'node:os';
import path from 'node:path';
import { formatSize } from '../lib/size.ts';
import type { TempoConfig } from './config.ts';

/** As much as is kept on disk unless a flag says otherwise. */
const SIZE_MAX = '10GiB';

/** Whoever gives one of these has a configuration of their own. */
const OWN_CONFIGURATION = ['config.file', 'target'];

/** @param flags names of the flags that were given. */
export function isWithoutConfiguration(flags: Iterable<string>): boolean {
  for (const flag of flags) {
    if (OWN_CONFIGURATION.includes(flag) || flag.startsWith('storage.')) return false;
  }
  return true;
}

export interface Place {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Where programs of the platform keep the data of their user. */
export function userFolder({ platform, env }: Place): string {
  if (platform === 'win32') {
    return path.win32.join(env['LOCALAPPDATA'] ?? path.win32.join(homedir(), 'AppData', 'Local'), 'tempo');
  }
  const home = env['HOME'] ?? homedir();
  if (platform === 'darwin') return path.posix.join(home, 'Library', 'Application Support', 'tempo');
  // By its specification a relative path there is to be ignored.
  const data = env['XDG_DATA_HOME'] ?? '';
  return path.posix.join(data.startsWith('/') ? data : path.posix.join(home, '.local', 'share'), 'tempo');
}

/** The configuration as text, which flags may still change. */
export function builtInConfig(folder: string): string {
  const quoted = (name: string): string => JSON.stringify(path.join(folder, name));
  return `
server:
  http_listen_address: 127.0.0.1
  grpc_listen_address: 127.0.0.1
  log_level: warn
distributor:
  receivers:
    otlp: { protocols: { grpc: { endpoint: '127.0.0.1:4317' }, http: { endpoint: '127.0.0.1:4318' } } }
storage:
  trace:
    backend: local
    local: { path: ${quoted('blocks')}, max_bytes: ${SIZE_MAX} }
    wal: { path: ${quoted('wal')} }
`;
}

/** What is printed once the program is ready. */
export function welcomeText(config: TempoConfig, folder: string): string {
  const { http, grpc } = config.distributor.receivers.otlp?.protocols ?? {};
  const { httpListenAddress, httpListenPort } = config.server;
  const address = `http://${httpListenAddress}:${httpListenPort}`;
  const { maxBytes } = config.storage.trace.local;
  return `Tempo is ready.
  Send   OTLP over gRPC to ${grpc?.endpoint}, over HTTP to http://${http?.endpoint}${http?.tracesUrlPath}
  Look   ${address}/ (in Grafana: a data source of type Tempo with the URL ${address})
  Kept   in ${folder}, the oldest is deleted above ${formatSize(maxBytes)}
  Stop   Ctrl+C
`;
}
