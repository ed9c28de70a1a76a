// Starts both programs on the same configuration, gives them spans, and waits for their blocks.
import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { flush } from '../support/read-api.ts';
import { type Ports, type RunningTempo, startTempo } from '../support/server.ts';
import type { Corpus } from './corpus.ts';

const CONFIG = 'test/interop/tempo-2.10.yaml';
const CONFIG_3 = 'test/interop/tempo-3.0.yaml';
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
  return startTempo(data, {
    configFile: CONFIG,
    args: ['-config.expand-env=true', ...args],
    program: programOf('TEMPO_BIN', '2.10'),
    env,
  });
}

/** Grafana Tempo 3.0, all in one process. */
export function startReal3(data: string, args: readonly string[] = []): Promise<RunningTempo> {
  return startTempo(data, {
    configFile: CONFIG_3,
    args: ['-config.expand-env=true', ...args],
    program: programOf('TEMPO_3_BIN', '3.0'),
  });
}

function programOf(variable: string, version: string): string {
  const program = process.env[variable];
  if (program === undefined) throw new Error(`${variable} must name the program of Grafana Tempo ${version}`);
  return program;
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

/** In so many blocks, so that many traces lie in several of them. */
export async function pushInParts(tempo: RunningTempo, corpus: Corpus, blocks: number): Promise<void> {
  const size = Math.ceil(corpus.requests.length / blocks);
  for (let from = 0; from < corpus.requests.length; from += size) {
    const part: Corpus = { ...corpus, requests: corpus.requests.slice(from, from + size) };
    await push(tempo, part);
    await flush(tempo);
  }
  await until(`${blocks} blocks`, async () => blockMetas(tempo.data).length === blocks);
  await untilPolled(tempo);
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
