// Many small blocks of three ingesters, cut at different moments, as they lie about after the object store
// was away: what a search costs over the same blocks as before, and over others each time.
// npm run bench:small -- [--blocks 200] [--runs 40]
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { writeBlock } from '../support/block-rows.ts';
import { aTrace, hexId, type TestSpan } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { cpuSeconds } from './proc.ts';
import { quantile } from './quantile.ts';

const { values: flags } = parseArgs({
  options: { blocks: { type: 'string', default: '200' }, runs: { type: 'string', default: '40' } },
});

const BLOCKS = Number(flags.blocks);
const RUNS = Number(flags.runs);
const TENANT = 'single-tenant';
const REPLICAS = 3;
const TRACES = 72;
const SPANS = 3;
const GROUP_TRACES = 20;
/** Of one block: searches tell blocks apart by seconds. */
const BLOCK_SEC = 2;
const SINCE_SEC = Math.floor(Date.now() / 1000) - 3600;

function spansOf(trace: number): TestSpan[] {
  const startUnixNano =
    BigInt(SINCE_SEC) * 1_000_000_000n + BigInt(Math.floor((trace * BLOCK_SEC * 1e9) / TRACES));
  return aTrace(1, SPANS, () => ({
    traceId: hexId((1n << 64n) + BigInt(trace), 16),
    startUnixNano,
    endUnixNano: startUnixNano + 1000n,
    attributes: [['group', `g${Math.floor(trace / GROUP_TRACES)}`]],
  }));
}

/** One replica begins its blocks a third of a block after the one before. */
function write(folder: string): number {
  let bytes = 0;
  for (let replica = 0; replica < REPLICAS; replica++) {
    for (let block = 0; block < BLOCKS; block++) {
      const from = block * TRACES + Math.floor((replica * TRACES) / REPLICAS);
      const traces = Array.from({ length: TRACES }, (_, i) => spansOf(from + i));
      const blockId = randomUUID();
      const { objects } = writeBlock(traces, { blockId, tenant: TENANT });
      const at = path.join(folder, TENANT, blockId);
      mkdirSync(at, { recursive: true });
      for (const [name, body] of objects) {
        bytes += body.length;
        writeFileSync(path.join(at, name), body);
      }
    }
  }
  return bytes;
}

/** @param fromSec of the time range, in seconds after the first trace. */
async function search(tempo: RunningTempo, group: number, fromSec: number): Promise<number> {
  const endSec = SINCE_SEC + (BLOCKS + 2) * BLOCK_SEC;
  const query = new URLSearchParams({
    q: `{ span.group = "g${group}" }`,
    limit: '1000',
    start: `${SINCE_SEC + fromSec}`,
    end: `${endSec}`,
  });
  const begin = performance.now();
  const answer = await tempo.get(`/api/search?${query.toString()}`);
  const { traces } = (await answer.json()) as { readonly traces: readonly unknown[] };
  const ms = performance.now() - begin;
  if (traces.length !== GROUP_TRACES) throw new Error(`group ${group} has ${traces.length} traces`);
  return ms;
}

async function measure(
  tempo: RunningTempo,
  what: string,
  ask: (run: number) => Promise<number>,
): Promise<void> {
  const cpu = cpuSeconds([tempo.pid]);
  const all: number[] = [];
  for (let run = 0; run < RUNS; run++) all.push(await ask(run));
  const ms = ((cpuSeconds([tempo.pid]) - cpu) * 1000) / RUNS;
  const sorted = all.toSorted((a, b) => a - b);
  const wall = [0.5, 1].map((share) => quantile(sorted, share).toFixed(0)).join(' and ');
  process.stdout.write(`${what.padEnd(28)} ${ms.toFixed(0)} ms CPU, p50 and max ${wall} ms\n`);
}

const scratch = mkdtempSync(path.join(tmpdir(), 'small-blocks-'));
const blocks = path.join(scratch, 'blocks');
const bytes = write(blocks);
process.stdout.write(`${REPLICAS * BLOCKS} blocks, ${(bytes / 1e6).toFixed(1)} MB\n`);
const tempo = await startTempo(path.join(scratch, 'data'), {
  backend: `    backend: local\n    local: { path: '${blocks}' }\n`,
  yaml: 'compactor: { disabled: true }\n',
});
try {
  const groups = Math.floor((BLOCKS * TRACES) / GROUP_TRACES);
  const newer = (run: number): number => groups - 2 - ((run * 7) % Math.floor(groups / 4));
  for (let run = 0; run < RUNS; run++) await search(tempo, newer(run), 0);
  await measure(tempo, 'the same blocks as before', (run) => search(tempo, newer(run + RUNS), 0));
  await measure(tempo, 'other blocks each time', (run) => search(tempo, newer(run), (run + 1) * BLOCK_SEC));
} finally {
  await tempo.kill();
  rmSync(scratch, { recursive: true, force: true });
}
