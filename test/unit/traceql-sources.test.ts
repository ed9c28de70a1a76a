// By chance: the same spans answer the same, byte by byte, wherever they lie and however they are split; and
// metrics of parts come to the metrics of the whole. FUZZ_SEED=N repeats a run.
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { LocalQuerier } from '../../src/modules/querier/index.ts';
import { Bitset } from '../../src/lib/bitset.ts';
import { piecesOf } from '../../src/lib/filled-text.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import type { ScanSource } from '../../src/store/scan-job.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { MetricsAccumulator } from '../../src/traceql/engine/metrics/accumulate.ts';
import { finishSeries } from '../../src/traceql/engine/metrics/finish.ts';
import { seriesText } from '../../src/traceql/engine/metrics/series-text.ts';
import { searchSource } from '../../src/traceql/engine/search.ts';
import { TraceqlError } from '../../src/traceql/error.ts';
import { parse } from '../../src/traceql/parser.ts';
import type { SourceMemo, SpanSource } from '../../src/traceql/source.ts';
import { validate } from '../../src/traceql/validate.ts';
import { ArraySource } from '../support/array-source.ts';
import { Chance } from '../support/fuzz.ts';
import { encodeTraces, START_NANO, type TestSpan } from '../support/otlp.ts';
import { RandomQueries } from '../support/random-query.ts';
import { RANDOM_SPANS_VOCABULARY, randomSpans } from '../support/random-spans.ts';
import { asBlock } from '../support/scan-sources.ts';
import { SCRIPT_SOURCES } from '../support/script-sources.ts';
import type { Search } from '../support/traceql-script.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const SEARCHES_SECONDS = 8;
const METRICS_SECONDS = 4;
const GROWING_SECONDS = 4;
const QUERIES_A_CORPUS = 40;
/** However slow the machine is. */
const SEARCHES_MIN = 16;
const SECOND = 1_000_000_000n;

t.setTimeout(120_000);

/** The answer, or what is wrong with the query. */
async function answer(search: Search, query: string): Promise<string> {
  try {
    const found = await search(query);
    return found.map((json) => Buffer.from(json).toString()).join('\n');
  } catch (error) {
    if (error instanceof TraceqlError) return error.message;
    throw new Error(`${query}: ${(error as Error).message}`, { cause: error });
  }
}

function firstDifference(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const from = Math.max(0, at - 60);
  return `${a.slice(from, at + 60)} or ${b.slice(from, at + 60)}`;
}

await t.test('sources agree', async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  const endsAt = performance.now() + SEARCHES_SECONDS * 1000;
  const problems: string[] = [];
  let asked = 0;
  let found = 0;
  const isOver = (): boolean => performance.now() >= endsAt && asked >= SEARCHES_MIN;
  while (!isOver() && problems.length === 0) {
    const spans = randomSpans(chance, 12);
    const queries = new RandomQueries(chance, RANDOM_SPANS_VOCABULARY);
    const searches = new Map<string, Search>();
    for (const [name, open] of Object.entries(SCRIPT_SOURCES)) {
      // of several roots it takes the one that is given first
      if (name !== 'array') searches.set(name, (await open(spans)).search);
    }
    for (let i = 0; i < QUERIES_A_CORPUS && !isOver(); i++) {
      const query = queries.search();
      const want = await answer(searches.get('head')!, query);
      asked++;
      if (want.startsWith('{')) found++;
      for (const [name, search] of searches) {
        const got = await answer(search, query);
        if (got !== want) problems.push(`${name}: ${query}: ${firstDifference(got, want)}`);
      }
    }
  }
  t.same(problems, [], `FUZZ_SEED=${SEED}`);
  t.ok(found > asked / 4, `${found} of ${asked} found something`);
});

/** What one search of the head after another keeps of it. */
class Kept implements SourceMemo {
  private readonly values = new Map<string, object>();
  private readonly chance: Chance;

  constructor(chance: Chance) {
    this.chance = chance;
  }

  get<T extends object>(what: string): T | undefined {
    return this.values.get(what) as T | undefined;
  }

  /** A cache drops what it likes. */
  set(what: string, value: object): void {
    this.values.set(what, value);
    if (this.chance.once(8)) this.values.delete(this.chance.of([...this.values.keys()]));
  }
}

/** @param excludeTraces left out, as a time range or another source leaves traces out. */
function searchOver(source: SpanSource, excludeTraces?: Bitset): Search {
  return async (text) => {
    const query = parse(text);
    validate(query);
    const options = { limit: 1000, spansPerSpanSet: 0, excludeTraces };
    const { found } = await searchSource(query, source, options);
    return found.map(({ json }) => json);
  };
}

function someOf(chance: Chance, size: number): Bitset {
  const some = new Bitset(size);
  for (let i = 0; i < size; i++) if (chance.once(2)) some.add(i);
  return some;
}

await t.test('what is kept of a head that grows answers as what is made anew', async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  const endsAt = performance.now() + GROWING_SECONDS * 1000;
  const problems: string[] = [];
  let found = 0;
  while (performance.now() < endsAt && problems.length === 0) {
    const spans = randomSpans(chance, 12);
    const head = new HeadBuilder({ maxBytes: 1 << 24 });
    const kept = new Kept(chance);
    const queries = new RandomQueries(chance, RANDOM_SPANS_VOCABULARY);
    let asked = ['{ }'];
    /** The snapshots before, with what was opened then. */
    let snapshots: (readonly [HeadReader, SpanSource])[] = [];
    while (spans.length > 0 && performance.now() < endsAt) {
      const bytes = encodeTraces(spans.splice(0, 1 + chance.below(8)));
      head.append(bytes, 0, bytes.length);
      const reader = new HeadReader(head.sab);
      snapshots = [...snapshots.slice(-2), [reader, new HeadSource(reader, 'kept', kept)] as const];
      asked = [...asked.slice(-4), queries.search()];
      for (const query of asked) {
        for (const [snapshot, opened] of chance.once(2) ? snapshots : snapshots.toReversed()) {
          const without = chance.once(3) ? someOf(chance, snapshot.traceCount) : undefined;
          const want = await answer(searchOver(new HeadSource(snapshot, 'anew'), without), query);
          if (want.startsWith('{')) found++;
          for (const source of [opened, new HeadSource(snapshot, 'again', kept)]) {
            const got = await answer(searchOver(source, without), query);
            if (got !== want) problems.push(`${query}: ${firstDifference(got, want)}`);
          }
        }
      }
    }
  }
  t.same(problems, [], `FUZZ_SEED=${SEED}`);
  t.ok(found > 0, `${found} found something`);
});

/** Searches the sources as a process does, with all that it keeps between searches. */
function searchingProcess(backend: MemoryStore, sources: readonly ScanSource[]): Search {
  const scanner = new Scanner({ local: new MemoryStore(() => 0), backend, cacheBytes: 1 << 22 });
  const { signal } = new AbortController();
  const querier = new LocalQuerier({
    admit: async () => {},
    blocklist: new Blocklist(),
    pool: { run: (job) => scanner.run(job, signal) },
    recent: { recentSources: async () => ({ sources, complete: true, release: () => {} }) },
    logger: silentLogger,
    metrics: new Metrics(),
    targetBytesPerJob: 1 << 20,
    scanThreads: 2,
    concurrentJobs: 2,
    metricsJobs: { targetBytesPerJob: 1 << 20, concurrentJobs: 2 },
    samplesMax: 1000,
    resultBytesMax: 1 << 24,
    resultBytesTaken: () => {},
    metricsPartsBytesMax: 1 << 20,
    idsPerJob: 8,
    sharedCacheBytes: 1 << 20,
    jobLimitMs: () => 0,
    nowMs: () => 0,
  });
  const asked = { tenant: 'team', limit: 1000, spansPerSpanSet: 0, format: 'json' } as const;
  return async (text) => {
    validate(parse(text));
    const range = { startSec: undefined, endSec: undefined };
    const { traces, partial } = await querier.search({ ...asked, query: text, range });
    if (partial.length > 0) throw new Error(partial.join());
    return traces.map(({ body }) => body);
  };
}

await t.test('traces in a block and in a head that grows answer as when nothing is kept', async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  const endsAt = performance.now() + GROWING_SECONDS * 1000;
  const problems: string[] = [];
  let found = 0;
  while (performance.now() < endsAt && problems.length === 0) {
    const spans = randomSpans(chance, 12);
    const backend = new MemoryStore(() => 0);
    const isOld = spans.map(() => chance.once(2));
    const head = new HeadBuilder({ maxBytes: 1 << 24 });
    const block = await asBlock(
      backend,
      'block',
      spans.filter((_, i) => isOld[i]),
    );
    const sources: readonly ScanSource[] = [block, { kind: 'head', blockId: 'head', sab: head.sab }];
    // some of them are in both
    const rest = spans.filter((_, i) => !isOld[i] || chance.once(8));
    const queries = new RandomQueries(chance, RANDOM_SPANS_VOCABULARY);
    const keeping = searchingProcess(backend, sources);
    let asked = ['{ }', '{ } >> { }'];
    while (rest.length > 0 && performance.now() < endsAt) {
      const bytes = encodeTraces(rest.splice(0, 1 + chance.below(4)));
      head.append(bytes, 0, bytes.length);
      asked = [...asked.slice(-4), queries.search()];
      for (const query of asked) {
        const want = await answer(searchingProcess(backend, sources), query);
        if (want.startsWith('{')) found++;
        const got = await answer(keeping, query);
        if (got !== want) problems.push(`${query}: ${firstDifference(got, want)}`);
      }
    }
  }
  t.same(problems, [], `FUZZ_SEED=${SEED}`);
  t.ok(found > 0, `${found} found something`);
});

/** Each part is a job of its own. */
async function metrics(text: string, parts: readonly (readonly TestSpan[])[]): Promise<string> {
  const range = {
    startUnixNano: START_NANO - SECOND,
    endUnixNano: START_NANO + SECOND,
    stepNanos: SECOND / 4n,
    cellsMax: 100_000,
    exemplarsMax: 0,
  };
  const query = parse(text);
  validate(query);
  const made = [];
  for (const spans of parts) {
    const job = new MetricsAccumulator(query, range, range);
    await job.add(new ArraySource(spans));
    made.push(structuredClone(job.part()));
  }
  const { series, pool } = finishSeries(query, range, made, range);
  const pieces = [...piecesOf(seriesText(series, range, pool, () => undefined))];
  return rounded(Buffer.concat(pieces).toString());
}

/** Sums of floats in another order. */
function rounded(json: string): string {
  return json.replaceAll(/"value":(-?[\d.e+-]+)/g, (_, value) => `"value":${Number(value).toPrecision(9)}`);
}

await t.test('metrics of parts come to those of the whole', async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  const endsAt = performance.now() + METRICS_SECONDS * 1000;
  const problems: string[] = [];
  let found = 0;
  while (performance.now() < endsAt && problems.length === 0) {
    const spans = randomSpans(chance, 20);
    const queries = new RandomQueries(chance, RANDOM_SPANS_VOCABULARY);
    const parts = [0, 1, 2].map((n) => spans.filter(({ traceId }) => Number.parseInt(traceId, 16) % 3 === n));
    for (let i = 0; i < QUERIES_A_CORPUS && performance.now() < endsAt; i++) {
      const query = queries.metrics();
      try {
        const whole = await metrics(query, [spans]);
        const sharded = await metrics(query, parts);
        if (whole !== '') found++;
        if (whole !== sharded) problems.push(`${query}: ${firstDifference(whole, sharded)}`);
      } catch (error) {
        if (!(error instanceof TraceqlError)) throw new Error(query, { cause: error });
      }
    }
  }
  t.same(problems, [], `FUZZ_SEED=${SEED}`);
  t.ok(found > 0, `${found} have series`);
});
