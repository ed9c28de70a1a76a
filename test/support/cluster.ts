// `npm run cluster`: starts every role as a process of its own on this machine, from
// config/microservices/tempo.yaml. Blocks go into the bucket that S3_ENDPOINT and S3_BUCKET name, else below
// the data folder. Ends with all of them on Ctrl-C, and when one of them ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

const FIRST_HTTP_PORT = 3200;
const FIRST_GRPC_PORT = 9095;
const FIRST_GOSSIP_PORT = 7946;
const READY_PAUSE_MS = 200;

/** The first one answers queries on port 3200; ports of the others follow in this order. */
const ROLES = [
  { name: 'query-frontend', target: 'query-frontend' },
  { name: 'ingester-0', target: 'ingester' },
  { name: 'ingester-1', target: 'ingester' },
  { name: 'ingester-2', target: 'ingester' },
  { name: 'distributor', target: 'distributor' },
  { name: 'querier', target: 'querier' },
  { name: 'backend-scheduler', target: 'backend-scheduler' },
  { name: 'backend-worker', target: 'backend-worker' },
] as const;

const root = path.resolve(import.meta.dirname, '../..');
const folder = path.resolve(process.env['CLUSTER_DATA'] ?? 'data/cluster');
const grpcPortOf = (name: string): number => FIRST_GRPC_PORT + ROLES.findIndex((role) => role.name === name);

function environment(name: string, at: number): NodeJS.ProcessEnv {
  const given = process.env;
  const isBucket = (given['S3_ENDPOINT'] ?? '') !== '';
  return {
    S3_ENDPOINT: '',
    S3_BUCKET: 'tempo',
    S3_ACCESS_KEY: 'minioadmin',
    S3_SECRET_KEY: 'minioadmin',
    ...given,
    INSTANCE: name,
    HTTP_PORT: String(FIRST_HTTP_PORT + at),
    GRPC_PORT: String(FIRST_GRPC_PORT + at),
    GOSSIP_PORT: String(FIRST_GOSSIP_PORT + at),
    // An ingester: it is there first, and all others join by it.
    FIRST_GOSSIP_PORT: String(FIRST_GOSSIP_PORT + 1),
    FRONTEND_GRPC_PORT: String(grpcPortOf('query-frontend')),
    SCHEDULER_GRPC_PORT: String(grpcPortOf('backend-scheduler')),
    STORAGE_BACKEND: isBucket ? 's3' : 'local',
    BLOCKS: path.join(folder, 'blocks'),
    DATA: path.join(folder, name),
  };
}

function start({ name, target }: (typeof ROLES)[number], at: number): ChildProcess {
  mkdirSync(path.join(folder, name), { recursive: true });
  const file = path.join(root, 'config/microservices/tempo.yaml');
  const flags = [`-config.file=${file}`, '-config.expand-env=true', `-target=${target}`];
  const child = spawn(process.execPath, [path.join(root, 'cmd/tempo/main.ts'), ...flags], {
    stdio: ['ignore', 'inherit', 'pipe'],
    // Not in the terminal's group: Ctrl-C and our SIGTERM are two signals; the second ends at once.
    detached: true,
    env: environment(name, at),
  });
  const lines = createInterface({ input: child.stderr! });
  lines.on('line', (line) => process.stderr.write(`${name.padEnd(18)} ${line}\n`));
  return child;
}

async function untilReady(at: number): Promise<void> {
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${FIRST_HTTP_PORT + at}/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady || isStopping) return;
    await pause(READY_PAUSE_MS);
  }
}

let isStopping = false;
const children = ROLES.map(start);

function stop(): void {
  if (isStopping) return;
  isStopping = true;
  for (const child of children) child.kill('SIGTERM');
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
for (const child of children) {
  child.once('exit', (code) => {
    if (!isStopping) process.exitCode = code === 0 ? 1 : (code ?? 1);
    stop();
  });
}
await Promise.all(ROLES.map((_, at) => untilReady(at)));
if (!isStopping) {
  const distributor = FIRST_HTTP_PORT + ROLES.findIndex(({ name }) => name === 'distributor');
  process.stdout.write(`
The cluster is ready.
  queries  http://127.0.0.1:${FIRST_HTTP_PORT}
  spans    127.0.0.1:4317 (gRPC), http://127.0.0.1:4318 (HTTP)
  ring     http://127.0.0.1:${distributor}/ingester/ring
  data     ${folder}
Ctrl-C stops it.
`);
}
