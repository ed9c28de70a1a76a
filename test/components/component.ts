// Foreign programs that tests need: their paths come from the environment, and a missing one is an error.
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export type Component =
  | 'TELEMETRYGEN'
  | 'PYARROW_PYTHON'
  | 'GRPCIO_PYTHON'
  | 'COLLECTOR'
  | 'CHROMIUM'
  | 'IMAGE_STORAGE'
  | 'PROMETHEUS'
  | 'PROMTOOL'
  | 'MINIO'
  | 'VERSITYGW'
  | 'FAKE_GCS'
  | 'AZURITE'
  | 'MEMCACHED'
  | 'REDIS'
  | 'ETCD'
  | 'NGINX_PROGRAM';

/** @throws Error when the variable is not set or its program cannot be run. */
export function componentPath(name: Component): string {
  const path = process.env[name];
  if (path === undefined || path === '') throw new Error(`${name} is not set; .ci/run installs and names it`);
  accessSync(path, constants.X_OK);
  return path;
}

/** Runs a component to its end. @returns its standard output. @throws Error with its output when it fails. */
export function runComponent(name: Component, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(componentPath(name), args, { maxBuffer: 1 << 28 }, (err, stdout, stderr) => {
      if (err === null) resolve(stdout);
      else reject(new Error(`${name} failed: ${err.message}\n${stderr}`));
    });
  });
}

export interface RunningComponent {
  readonly output: () => string;
  readonly stop: () => Promise<void>;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves when it is gone. */
  readonly ended: Promise<void>;
}

/** Where a server answers when it is up: at an address, whatever the status, or a port. */
export type ComponentDoor = { readonly url: string } | { readonly port: number };

const READY_LIMIT_MS = 30_000;
const READY_PAUSE_MS = 50;

function isOpen(door: ComponentDoor): Promise<boolean> {
  if ('url' in door) {
    return fetch(door.url).then(
      () => true,
      () => false,
    );
  }
  return new Promise((resolve) => {
    const socket = connect(door.port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Starts a server and waits until its door is open. */
export async function startComponent(
  name: Component,
  args: readonly string[],
  { env, ...door }: ComponentDoor & { readonly env: Readonly<Record<string, string>> },
): Promise<RunningComponent> {
  const program = componentPath(name);
  const [command, ...all] = program.endsWith('.js')
    ? [process.execPath, program, ...args]
    : [program, ...args];
  const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const output = (): string => Buffer.concat(chunks).toString();
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = (): Promise<void> => {
    child.kill('SIGKILL');
    return ended;
  };
  const endsAtMs = performance.now() + READY_LIMIT_MS;
  while (performance.now() < endsAtMs) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}:\n${output()}`);
    if (await isOpen(door)) return { output, stop, signal: (signal) => void child.kill(signal), ended };
    await pause(READY_PAUSE_MS);
  }
  await stop();
  throw new Error(`${name} did not answer within ${READY_LIMIT_MS} ms:\n${output()}`);
}
