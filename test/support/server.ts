// Starts the server as a process of its own, on free ports of loopback, for end-to-end tests. TEMPO_BINARY
// names another program with the same flags, so that the same tests run against real Tempo.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { AwakeLimit } from './awake.ts';
import { freePort } from './free-port.ts';

export type Ports = {
  readonly http: number;
  readonly grpc: number;
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
};

export type RunningTempo = {
  readonly pid: number;
  readonly ports: Ports;
  readonly url: string;
  readonly data: string;
  /** What the process wrote so far, both streams. */
  readonly output: () => string;
  /** Asks for a path of the query API. */
  readonly get: (path: string) => Promise<Response>;
  /** Sends SIGTERM. @returns the exit status. */
  readonly stop: () => Promise<number>;
  /** Sends SIGKILL and waits until the process is gone. */
  readonly kill: () => Promise<void>;
};

export type StartOptions = {
  /** YAML that is appended to the configuration: blocks that it does not have yet. */
  readonly yaml?: string;
  /** Lines that the server block gets too, indented. */
  readonly server?: string;
  /** Lines of storage.trace in place of the local backend, indented by four. */
  readonly backend?: string;
  /** Keys of storage.trace.wal, as YAML between braces. */
  readonly wal?: string;
  readonly args?: readonly string[];
  /** Those of an earlier process, to come back at the same address. */
  readonly ports?: Ports;
  /** Another program with the same flags. */
  readonly program?: string;
  /** The main file of another version of ours. */
  readonly entry?: string;
  /** A configuration in place of the usual one; it finds DATA and its ports in the environment. */
  readonly configFile?: string;
  readonly env?: Readonly<Record<string, string>>;
};

const READY_LIMIT_MS = 60_000;
const READY_PAUSE_MS = 20;

export async function freePorts(): Promise<Ports> {
  return {
    http: await freePort(),
    grpc: await freePort(),
    otlpGrpc: await freePort(),
    otlpHttp: await freePort(),
  };
}

function localBackend(data: string): string {
  return `    backend: local\n    local: { path: '${data}/blocks' }\n`;
}

export function configText(
  data: string,
  ports: Ports,
  { wal = '', server = '', backend }: Pick<StartOptions, 'wal' | 'server' | 'backend'> = {},
): string {
  return `
server:
  http_listen_address: 127.0.0.1
  http_listen_port: ${ports.http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: ${ports.grpc}
${server}distributor:
  receivers:
    otlp:
      protocols:
        grpc: { endpoint: '127.0.0.1:${ports.otlpGrpc}' }
        http: { endpoint: '127.0.0.1:${ports.otlpHttp}' }
storage:
  trace:
${backend ?? localBackend(data)}    wal: { path: '${data}/wal', ${wal} }
usage_report: { reporting_enabled: false }
`;
}

async function configVariables(data: string, ports: Ports): Promise<Record<string, string>> {
  return {
    DATA: data,
    HTTP_PORT: String(ports.http),
    GRPC_PORT: String(ports.grpc),
    OTLP_GRPC_PORT: String(ports.otlpGrpc),
    OTLP_HTTP_PORT: String(ports.otlpHttp),
    GOSSIP_PORT: String(await freePort()),
  };
}

async function untilReady(child: ChildProcess, url: string, output: () => string): Promise<void> {
  const limit = new AwakeLimit(READY_LIMIT_MS);
  while (!limit.isOver) {
    if (child.exitCode !== null) throw new Error(`tempo ended with ${child.exitCode}:\n${output()}`);
    const ready = await fetch(`${url}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    await pause(READY_PAUSE_MS);
  }
  child.kill('SIGKILL');
  throw new Error(`tempo was not ready within ${READY_LIMIT_MS} ms:\n${output()}`);
}

/** Starts the server on a data folder and waits until it is ready. */
export async function startTempo(data: string, options: StartOptions = {}): Promise<RunningTempo> {
  const ports = options.ports ?? (await freePorts());
  mkdirSync(data, { recursive: true });
  const config = options.configFile ?? join(data, 'tempo.yaml');
  if (options.configFile === undefined)
    writeFileSync(config, configText(data, ports, options) + (options.yaml ?? ''));
  const flags = [`-config.file=${config}`, '-target=all', ...(options.args ?? [])];
  const program = options.program ?? process.env['TEMPO_BINARY'];
  const [command, ...args] =
    program === undefined
      ? [process.execPath, options.entry ?? 'cmd/tempo/main.ts', ...flags]
      : [program, ...flags];
  const env = { ...process.env, ...(await configVariables(data, ports)), ...options.env };
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const output = (): string => Buffer.concat(chunks).toString();
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)));
  const url = `http://127.0.0.1:${ports.http}`;
  await untilReady(child, url, output);
  const end = (signal: NodeJS.Signals): Promise<number> => {
    child.kill(signal);
    return ended;
  };
  return {
    pid: child.pid as number,
    ports,
    url,
    data,
    output,
    get: (path) => fetch(url + path),
    stop: () => end('SIGTERM'),
    kill: async () => void (await end('SIGKILL')),
  };
}
