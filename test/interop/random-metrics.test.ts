// Random metrics queries: real Tempo on our blocks computes what we compute, from heads and blocks alike, but
// where docs/decisions/deviations.md says otherwise. RANDOM_SEED=N, RANDOM_QUERIES=N and CORPUS_SEED=N.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from '../../src/traceql/parser.ts';
import { Chance } from '../support/fuzz.ts';
import { RandomQueries } from '../support/random-query.ts';
import { flush } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { loadCorpus } from './corpus.ts';
import { deviationsOf } from './deviation-rules.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { METRICS_DEVIATIONS } from './searches.ts';
import { VOCABULARY } from './vocabulary.ts';
import { testFolder } from '../support/test-folder.ts';

const SEED = Number(process.env['RANDOM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env['RANDOM_QUERIES'] ?? 1000);
const TIMEOUT_MS = 900_000;
const FOUND_SHARE_MIN = 0.3;
/** Sums of floats depend on the order of spans in Tempo. */
const TOLERANCE = 1e-9;
interface Series {
  readonly labels: readonly { readonly key: string; readonly value: unknown }[];
  readonly samples: readonly { readonly timestampMs: string; readonly value?: number }[];
}

type Answer = string | ReadonlyMap<string, ReadonlyMap<string, number>>;

function rootless(query: string): boolean {
  return deviationsOf(parse(query)).ignoresRootless;
}

async function ask(tempo: RunningTempo, range: string, q: string): Promise<Answer> {
  const response = await tempo.get(`/api/metrics/query_range?${range}&q=${encodeURIComponent(q)}`);
  const text = await response.text();
  if (response.status !== 200) return `status ${response.status}`;
  const { series } = JSON.parse(text) as { readonly series: readonly Series[] };
  return new Map(
    series.map(({ labels, samples }) => [
      labels
        .map(({ key, value }) => `${key}=${JSON.stringify(value)}`)
        .toSorted()
        .join(),
      new Map(samples.map(({ timestampMs, value = 0 }) => [timestampMs, value])),
    ]),
  );
}

function difference(a: Answer, b: Answer): string | undefined {
  if (typeof a === 'string' || typeof b === 'string') return a === b ? undefined : `${show(a)} or ${show(b)}`;
  for (const labels of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(labels), b.get(labels)];
    if (left === undefined || right === undefined) return `${labels}: only ${left ? 'ours' : 'theirs'}`;
    for (const at of new Set([...left.keys(), ...right.keys()])) {
      const [x, y] = [left.get(at), right.get(at)];
      const isClose =
        x !== undefined &&
        y !== undefined &&
        Math.abs(x - y) <= TOLERANCE * Math.max(Math.abs(x), Math.abs(y));
      if (x !== y && !isClose) return `${labels} at ${at}: ${x} or ${y}`;
    }
  }
  return undefined;
}

const show = (answer: Answer): string => (typeof answer === 'string' ? answer : `${answer.size} series`);

const random = new RandomQueries(new Chance(SEED), VOCABULARY);
const queries = Array.from({ length: COUNT }, () => random.metrics());
/** Their sum is no double any more. */
const OVERFLOW = /(avg|sum)_over_time\(span\.odd\.huge\)/;
const alike = queries.filter(
  (query) => deviationsOf(parse(query)).headings.size === 0 && !rootless(query) && !OVERFLOW.test(query),
);

t.setTimeout(TIMEOUT_MS);
await t.test('random metrics queries', { timeout: TIMEOUT_MS }, async (t) => {
  t.comment(`RANDOM_SEED=${SEED} RANDOM_QUERIES=${COUNT}: ${alike.length} are compared with Tempo`);
  const data = testFolder(t, { ours: {}, real: {} });
  const corpus = loadCorpus();
  const range = `start=${corpus.startSec}&end=${corpus.endSec}&step=60s`;
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  const inHead = new Map<string, Answer>();
  for (const query of queries) inHead.set(query, await ask(ours, range, query));
  const found = [...inHead.values()].filter((answer) => typeof answer !== 'string' && answer.size > 0);
  t.ok(found.length > COUNT * FOUND_SHARE_MIN, `${found.length} have series`);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  const changed: string[] = [];
  for (const query of queries) {
    const what = difference(inHead.get(query)!, await ask(ours, range, query));
    if (what !== undefined) changed.push(`${query}: ${what}`);
  }
  t.strictSame(changed, [], 'head and blocks');

  copyBlocks(ours.data, join(data, 'real'));
  forMetrics(join(data, 'real', 'blocks', 'single-tenant'));
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  const different: string[] = [];
  for (const query of alike) {
    const what = difference(inHead.get(query)!, await ask(real, range, query));
    if (what !== undefined) different.push(`${query}: ${what}`);
  }
  t.strictSame(different, [], 'ours and Tempo');
  for (const query of Object.values(METRICS_DEVIATIONS).flat()) {
    t.ok(difference(await ask(ours, range, query), await ask(real, range, query)), `${query} is a deviation`);
  }
});

/** Tempo computes metrics of blocks of a generator only, which say that they are not replicated. */
function forMetrics(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name, 'meta.json');
    if (name.startsWith('index') || name.startsWith('.')) rmSync(join(folder, name));
    else {
      const meta = JSON.parse(readFileSync(path, 'utf8')) as object;
      writeFileSync(path, JSON.stringify({ ...meta, replicationFactor: 1 }));
    }
  }
}
