// Starts both programs on the same configuration, gives them spans, and waits for their blocks.
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Ports, type RunningTempo, startTempo } from '../support/server.ts';
import type { Corpus } from './corpus.ts';

const CONFIG = 'test/interop/tempo-2.10.yaml';
const WAIT_LIMIT_MS = 60_000;
const WAIT_PAUSE_MS = 100;

export function startOurs(
  data: string,
  ports?: Ports,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningTempo> {
  return startTempo(data, {
    configFile: CONFIG,
    args: ['-config.expand-env=true'],
    env,
    ...(ports === undefined ? {} : { ports }),
  });
}

export function startReal(
  data: string,
  env: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): Promise<RunningTempo> {
  const program = process.env['TEMPO_BIN'];
  if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  return startTempo(data, {
    configFile: CONFIG,
    args: ['-config.expand-env=true', ...args],
    program,
    env,
  });
}

/** Sends the corpus over OTLP/HTTP. */
export async function push(tempo: RunningTempo, corpus: Corpus): Promise<void> {
  for (const request of corpus.requests) {
    const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: Buffer.from(request),
    });
    const answer = await response.arrayBuffer();
    // A body of 0 bytes: nothing was rejected.
    if (!response.ok || answer.byteLength > 2) throw new Error(`push: status ${response.status}`);
  }
}

/** Waits until the blocks in the backend folder hold this many traces together. */
export async function untilBlocksHold(data: string, traces: number): Promise<void> {
  await until(`${traces} traces in blocks`, async () => {
    const held = blockMetas(data).reduce((sum, { totalObjects }) => sum + totalObjects, 0);
    return held >= traces;
  });
}

/** Waits until the server knows as many blocks as its backend folder has. */
export async function untilPolled(tempo: RunningTempo): Promise<void> {
  const blocks = blockMetas(tempo.data).length;
  await until(`${blocks} blocks in the blocklist`, async () => {
    const metrics = await (await tempo.get('/metrics')).text();
    const line = /^tempodb_blocklist_length\{[^}]*\} (\d+)/m.exec(metrics);
    return line !== null && Number(line[1]) === blocks;
  });
}

/** A data folder with a copy of the backend folder of another. */
export function copyBlocks(from: string, to: string): void {
  cpSync(join(from, 'blocks'), join(to, 'blocks'), { recursive: true });
}

export function blockMetas(data: string): { readonly blockID: string; readonly totalObjects: number }[] {
  const folder = join(data, 'blocks', 'single-tenant');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => join(folder, name, 'meta.json'))
    .filter((path) => existsSync(path))
    .map((path) => JSON.parse(readFileSync(path, 'utf8')) as { blockID: string; totalObjects: number });
}

export async function until(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + WAIT_LIMIT_MS;
  while (!(await isTrue())) {
    if (performance.now() > endsAtMs) throw new Error(`waited ${WAIT_LIMIT_MS} ms for ${what}`);
    await pause(WAIT_PAUSE_MS);
  }
}
