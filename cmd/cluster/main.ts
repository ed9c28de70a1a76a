// `npm run cluster`: starts every role as a process of its own on this machine, from
// config/microservices/tempo.yaml. Blocks go into the bucket that S3_ENDPOINT and S3_BUCKET name, else below
// the data folder. Ends with all of them on Ctrl-C, and when one of them ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { type Bucket, CONFIG_FILE, type RoleName, type RolePorts, ROLES, roleEnvironment } from './layout.ts';

const FIRST_HTTP_PORT = 3200;
const FIRST_GRPC_PORT = 9095;
const FIRST_GOSSIP_PORT = 7946;
const READY_PAUSE_MS = 200;

const root = path.resolve(import.meta.dirname, '../..');
const folder = path.resolve(process.env['CLUSTER_DATA'] ?? 'data/cluster');

function portsOf(name: RoleName): RolePorts {
  const at = ROLES.findIndex((role) => role.name === name);
  return { http: FIRST_HTTP_PORT + at, grpc: FIRST_GRPC_PORT + at, gossip: FIRST_GOSSIP_PORT + at };
}

function bucketOf(env: NodeJS.ProcessEnv): Bucket | undefined {
  const endpoint = env['S3_ENDPOINT'] ?? '';
  if (endpoint === '') return undefined;
  return {
    S3_ENDPOINT: endpoint,
    S3_BUCKET: env['S3_BUCKET'] ?? 'tempo',
    S3_ACCESS_KEY: env['S3_ACCESS_KEY'] ?? 'minioadmin',
    S3_SECRET_KEY: env['S3_SECRET_KEY'] ?? 'minioadmin',
  };
}

function start({ name, target }: (typeof ROLES)[number]): ChildProcess {
  mkdirSync(path.join(folder, name), { recursive: true });
  const flags = [`-config.file=${CONFIG_FILE}`, '-config.expand-env=true', `-target=${target}`];
  const child = spawn(process.execPath, [path.join(root, 'cmd/tempo/main.ts'), ...flags], {
    stdio: ['ignore', 'inherit', 'pipe'],
    // Not in the terminal's group: Ctrl-C and our SIGTERM are two signals; the second ends at once.
    detached: true,
    env: { ...process.env, ...roleEnvironment(name, folder, portsOf, bucketOf(process.env)) },
  });
  const lines = createInterface({ input: child.stderr! });
  lines.on('line', (line) => process.stderr.write(`${name.padEnd(18)} ${line}\n`));
  return child;
}

async function untilReady(name: RoleName): Promise<void> {
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${portsOf(name).http}/ready`).then(
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
await Promise.all(ROLES.map(({ name }) => untilReady(name)));
if (!isStopping) {
  process.stdout.write(`
The cluster is ready.
  queries  http://127.0.0.1:${FIRST_HTTP_PORT}
  spans    127.0.0.1:4317 (gRPC), http://127.0.0.1:4318 (HTTP)
  ring     http://127.0.0.1:${portsOf('distributor').http}/ingester/ring
  data     ${folder}
Ctrl-C stops it.
`);
}
