// What it costs to take spans in one, two and four processes: as many distributors in front of three
// ingesters with replication factor 3, each with an equal part of a corpus at the same time.
// npm run bench:acceptors -- --corpus DIR [--spans N] [--rounds 2] [--connections 2]
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Corpus, cutCorpus, readCorpus } from './corpus.ts';
import { startReplicas } from './layouts.ts';
import { cpuSeconds, untilIdle } from './proc.ts';
import { push } from './push.ts';
import { provenance } from './report.ts';
import { markdownTable } from './table.ts';

const { values: flags } = parseArgs({
  options: {
    corpus: { type: 'string' },
    spans: { type: 'string' },
    rounds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '2' },
  },
});

const COUNTS = [1, 2, 4];
/** Of the corpus: code that has just been loaded is slow. */
const WARM_UP_SHARE = 0.4;
const QUIET_MS = 2000;
const IDLE_LIMIT_MS = 60_000;

type Taken = { readonly distributorUs: number; readonly ingesterUs: number; readonly spansPerSec: number };

async function pushParts(otlps: readonly string[], corpus: Corpus): Promise<void> {
  const parts = cutCorpus(
    corpus,
    otlps.map(() => Math.ceil(corpus.spans / otlps.length)),
  );
  const options = { connections: Number(flags.connections), spansPerSec: 0, tenants: 0 };
  const results = await Promise.all(parts.map((part, i) => push(part, { ...options, otlp: otlps[i]! })));
  for (const { lostSpans, problems } of results) {
    if (lostSpans > 0) throw new Error(`${lostSpans} spans were refused: ${[...problems.keys()].join('; ')}`);
  }
}

async function measure(corpus: Corpus, folder: string, distributors: number): Promise<Taken> {
  const layout = await startReplicas(folder, { name: 'this', reads: false, distributors });
  try {
    const pidsOf = (role: string): number[] =>
      [...layout.processes].filter(([name]) => name.startsWith(role)).map(([, { pid }]) => pid);
    const [takers, keepers] = [pidsOf('distributor'), pidsOf('ingester')];
    const [warmUp, counted] = cutCorpus(corpus, [WARM_UP_SHARE * corpus.spans, corpus.spans]);
    await pushParts(layout.otlps, warmUp!);
    await untilIdle(layout.pids, QUIET_MS, IDLE_LIMIT_MS);
    const before = [cpuSeconds(takers), cpuSeconds(keepers)] as const;
    const beganMs = performance.now();
    await pushParts(layout.otlps, counted!);
    const wallSec = (performance.now() - beganMs) / 1000;
    const us = (pids: readonly number[], from: number): number =>
      ((cpuSeconds(pids) - from) * 1e6) / counted!.spans;
    return {
      distributorUs: us(takers, before[0]),
      ingesterUs: us(keepers, before[1]),
      spansPerSec: counted!.spans / wallSec,
    };
  } finally {
    await layout.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (flags.corpus === undefined)
  throw new Error('--corpus is missing; see the head of test/bench/acceptors.ts');
const corpus = readCorpus(flags.corpus, flags.spans === undefined ? undefined : Number(flags.spans));
const folder = mkdtempSync(join(tmpdir(), 'acceptors-'));
const all = new Map<number, Taken[]>(COUNTS.map((count) => [count, []]));
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const count of COUNTS) {
    all.get(count)!.push(await measure(corpus, join(folder, `${round}-${count}`), count));
  }
}
rmSync(folder, { recursive: true, force: true });
const cells = (count: number, digits: number, pick: (taken: Taken) => number): string =>
  all
    .get(count)!
    .map((taken) => pick(taken).toFixed(digits))
    .join(', ');
console.log(
  [
    provenance(corpus),
    markdownTable([
      ['distributors', 'CPU µs a span of all distributors', 'of three ingesters', 'spans a second'],
      ...COUNTS.map((count) => [
        String(count),
        cells(count, 2, ({ distributorUs }) => distributorUs),
        cells(count, 2, ({ ingesterUs }) => ingesterUs),
        cells(count, 0, ({ spansPerSec }) => spansPerSec),
      ]),
    ]),
  ].join('\n\n'),
);
