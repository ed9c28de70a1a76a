// How much memory the series of a metrics answer take, and what is thought of it before they are made.
import t from 'tap';
import type { MetricsQuery } from '../../src/contracts/query.ts';
import { TempoError, TimeIsUpError } from '../../src/lib/errors.ts';
import { textBytes } from '../../src/lib/filled-text.ts';
import { makingBytes } from '../../src/modules/querier/metrics-answer-size.ts';
import { findMetrics, type MetricsScan } from '../../src/modules/querier/metrics.ts';
import { PartsBudget } from '../../src/modules/querier/parts-budget.ts';
import { ResultBudget } from '../../src/modules/querier/result-budget.ts';
import { QueryTurn } from '../../src/store/job-queue.ts';
import { finishMetrics, joinMetrics } from '../../src/store/metrics-job.ts';
import { buffersOf } from '../../src/store/result-buffers.ts';
import type {
  FinishMetricsJob,
  FinishMetricsJobResult,
  ScanJob,
  ScanResult,
} from '../../src/store/scan-job.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { Cells } from '../../src/traceql/engine/metrics/cells.ts';
import { noCheck } from '../../src/traceql/engine/metrics/check.ts';
import { type FinishedSeries, finishSeries } from '../../src/traceql/engine/metrics/finish.ts';
import { type MetricsPart, partBytes } from '../../src/traceql/engine/metrics/part.ts';
import { shapeOf } from '../../src/traceql/engine/metrics/plan.ts';
import { intervalCount, type MetricsRange } from '../../src/traceql/engine/metrics/range.ts';
import { SeriesSet } from '../../src/traceql/engine/metrics/series-set.ts';
import { ZeroSamples } from '../../src/traceql/engine/metrics/zero-samples.ts';
import { parse } from '../../src/traceql/parser.ts';
import { START_NANO } from '../support/otlp.ts';

const SAMPLES_MAX = 1_000_000;
const SECOND = 1_000_000_000n;
const MIB = 1 << 20;
const WAIT_MS = 10_000;
const { signal } = new AbortController();

function rangeOf(intervals: number): MetricsRange {
  return {
    startUnixNano: START_NANO,
    endUnixNano: START_NANO + BigInt(intervals) * SECOND,
    stepNanos: SECOND,
  };
}

interface Cell {
  /** The number in the only label of its series. */
  readonly series: number;
  readonly interval: number;
  readonly bucket?: number;
}

/** As a job makes it of spans. */
function partOf(query: string, range: MetricsRange, cells: readonly Cell[]): MetricsPart {
  const set = new SeriesSet(shapeOf(parse(query).metrics!, range), SAMPLES_MAX);
  const labels = Int32Array.from(cells, ({ series }) => set.pool.idOfText(`service ${series}`));
  const buckets = Uint8Array.from(cells, ({ bucket = 1 }) => bucket);
  const rows = set.rowsOf([labels], buckets, cells.length);
  const intervals = Int32Array.from(cells, ({ interval }) => interval);
  set.cells.count(set.cells.slots(rows, intervals, set.rowCount));
  return set.toPart();
}

/** A cell in each of these intervals of so many series, and buckets. */
function cellsOf(
  series: number,
  intervals: readonly number[],
  { first = 0, buckets = 1 }: { readonly first?: number; readonly buckets?: number } = {},
): Cell[] {
  return Array.from({ length: series }, (_, i) =>
    intervals.flatMap((interval) =>
      Array.from({ length: buckets }, (__, k) => ({ series: first + i, interval, bucket: 10 + k })),
    ),
  ).flat();
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function jobOf(query: string, range: MetricsRange, parts: readonly MetricsPart[]): FinishMetricsJob {
  const limits = { samplesMax: SAMPLES_MAX, exemplarsMax: 0, seriesMax: 0 };
  const form = { isInstant: false, format: 'json' } as const;
  return { kind: 'finishMetrics', query, range, sources: [], parts, ...limits, ...form };
}

function answerBytes({ bodies, text }: FinishMetricsJobResult): number {
  return bodies.length + (text === undefined ? 0 : textBytes(text));
}

const RATE = '{ } | rate() by (name)';
const QUANTILE = '{ } | quantile_over_time(duration, .5) by (name)';
const QUANTILES = '{ } | quantile_over_time(duration, .25, .5, .75, .9, .95, .99, .999) by (name)';

t.test('the memory of an answer is known before it is made, to a factor of a few', (t) => {
  const cases: readonly (readonly [
    name: string,
    query: string,
    intervals: number,
    parts: readonly (readonly Cell[])[],
    how?: Partial<FinishMetricsJob>,
  ])[] = [
    ['a value in every sample', RATE, 60, [cellsOf(1000, upTo(60))]],
    ['as protobuf', RATE, 60, [cellsOf(1000, upTo(60))], { format: 'proto' }],
    ['few values', RATE, 240, [cellsOf(1000, [3, 100])]],
    ['no values, as protobuf', RATE, 240, [cellsOf(1000, [3])], { format: 'proto' }],
    ['an instant', RATE, 1, [cellsOf(5000, [0])], { isInstant: true }],
    ['other series in each part', RATE, 60, upTo(20).map((n) => cellsOf(50, upTo(60), { first: n * 50 }))],
    ['quantiles of one bucket each', QUANTILES, 240, [cellsOf(100, upTo(240))]],
    ['quantiles of ten buckets each', QUANTILES, 60, [cellsOf(200, upTo(60), { buckets: 10 })]],
    ['one quantile of ten buckets', QUANTILE, 60, [cellsOf(200, upTo(60), { buckets: 10 })]],
    ['as many intervals as may be', RATE, 1_000_000, [cellsOf(1, [5])]],
    ['many intervals and a few series', RATE, 100_000, [cellsOf(5, upTo(1000))]],
  ];
  for (const [name, query, intervals, cells, how] of cases) {
    const range = rangeOf(intervals);
    const parts = cells.map((some) => partOf(query, range, some));
    const job = { ...jobOf(query, range, parts), ...how };
    const known = makingBytes(job, job, parts);
    const made = finishMetrics(job, signal);
    const numbers = parts.reduce((sum, { buckets }) => sum + buckets.length, 0) * intervals;
    const bytes = answerBytes(made) + numbers * Float64Array.BYTES_PER_ELEMENT;
    t.ok(known >= bytes, `${name}: ${known} for ${bytes} bytes`);
    t.ok(known <= 8 * bytes, `${name}: ${known} for ${bytes} bytes`);
  }
  t.end();
});

t.test('samples that are made of others are known too', (t) => {
  const range = rangeOf(240);
  for (const stage of ['| topk(3)', '| bottomk(3)', '> 100']) {
    const query = `${RATE} ${stage}`;
    const parts = [partOf(query, range, cellsOf(1000, [3]))];
    const job = jobOf(query, range, parts);
    const numbers = 2 * 1000 * 240 * Float64Array.BYTES_PER_ELEMENT;
    const bytes = numbers + answerBytes(finishMetrics(job, signal));
    const known = makingBytes(job, job, parts);
    t.ok(known >= bytes && known <= 8 * bytes, `${query}: ${known} for ${bytes} bytes`);
  }
  t.end();
});

t.test('series are not looked at one by one for it, which would take long', (t) => {
  const range = rangeOf(60);
  const part = partOf(QUANTILES, range, cellsOf(200, upTo(60), { buckets: 10 }));
  const job = jobOf(QUANTILES, range, [part]);
  const blind = new Proxy(part, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      return ArrayBuffer.isView(value) ? { length: (value as Uint8Array).length } : value;
    },
  });
  const known = makingBytes(job, job, [part]);
  t.equal(makingBytes(job, job, [blind]), known);
  const { groups, ...older } = part;
  t.equal(groups, 200);
  t.ok(makingBytes(job, job, [older]) >= known, 'a part of an ingester of an older version');
  t.end();
});

t.test('what is asked of an answer makes it smaller', (t) => {
  const range = rangeOf(100);
  const parts = [partOf(RATE, range, cellsOf(50, [1, 7]))];
  const job = jobOf(RATE, range, parts);
  const all = makingBytes(job, job, parts);
  for (const less of [{ seriesMax: 1 }, { isInstant: true }, { samplesMax: 200 }]) {
    t.ok(makingBytes({ ...job, ...less }, { ...job, ...less }, parts) < all, JSON.stringify(less));
  }
  t.ok(makingBytes({ ...job, format: 'proto' }, job, parts) > all, 'each sample is written');
  t.end();
});

t.test('no more series are thought of than a query can have', (t) => {
  const range = rangeOf(10);
  const parts = [partOf(RATE, range, cellsOf(1000, [1]))];
  const job = { ...jobOf(RATE, range, parts), samplesMax: 1600 };
  const few = [partOf(RATE, range, cellsOf(100, upTo(10)))];
  t.ok(makingBytes(job, job, parts) <= makingBytes(job, job, few), 'a hundred are a sixteenth of 1,600');
  t.end();
});

/** A querier over blocks whose jobs answer with these parts. */
function scanOver(parts: readonly (MetricsPart | undefined)[], results: ResultBudget, end = signal) {
  const ran: ScanJob[] = [];
  let read = 0;
  const run = async (job: ScanJob): Promise<ScanResult> => {
    ran.push(job);
    if (job.kind === 'joinMetrics') return joinMetrics(job, signal);
    if (job.kind === 'finishMetrics') return finishMetrics(job, signal);
    const totals = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0, failures: [] };
    return { kind: 'metrics', part: parts[read++], ...totals };
  };
  const jobs = parts.map(() => ({ input: { sources: [] }, affinity: 0, newestStart: Infinity }));
  const scan: MetricsScan = {
    pool: { run },
    turn: new QueryTurn(),
    budget: new PartsBudget({ bytesMax: 64 * MIB, metrics: new Metrics() }),
    results,
    sources: [],
    plan: { jobs, inPlace: jobs, whole: [], chooseWhole: () => [], inspectedBytes: 0, failures: [] },
    samplesMax: SAMPLES_MAX,
    concurrency: 4,
    signal: end,
    allRead: () => {},
    onProgress: undefined,
    graceMs: 1,
  };
  return { scan, ran };
}

function askedOf(query: string, range: MetricsRange): MetricsQuery {
  const form = { isInstant: false, exemplarsMax: 0, seriesMax: 0, format: 'json' } as const;
  return { tenant: 'team', query, ...range, ...form };
}

t.test('small answers of many parts do not wait for large ones', async (t) => {
  const metrics = new Metrics();
  const results = new ResultBudget({ bytesMax: 8 * MIB, waitMs: 0, metrics, taken: () => undefined });
  const range = rangeOf(240);
  const asked = askedOf(RATE, range);
  const same = upTo(90).map((n) => partOf(RATE, range, cellsOf(20, [n])));
  const kindsOf = (ran: readonly ScanJob[]) =>
    ran.map(({ kind }) => kind).filter((kind) => kind !== 'metrics');

  const sent = new AbortController();
  const alone = scanOver(same, results, sent.signal);
  const { answer } = await findMetrics(asked, alone.scan);
  t.strictSame(kindsOf(alone.ran), ['finishMetrics'], 'where there is room nothing is joined for it');
  const large = await results.take('another', 7 * MIB, undefined);
  const beside = scanOver(same, results, sent.signal);
  t.same((await findMetrics(asked, beside.scan)).answer.text, answer.text, 'the same, and at once');
  t.strictSame(kindsOf(beside.ran), ['joinMetrics', 'finishMetrics']);
  sent.abort();

  const other = upTo(20).map((n) => partOf(RATE, range, cellsOf(200, [n], { first: 200 * n })));
  const waiting = scanOver(other, results);
  const found = findMetrics(asked, waiting.scan);
  await until(() => isWaiting(metrics));
  t.strictSame(kindsOf(waiting.ran), ['joinMetrics'], 'these are many series');
  large.drop();
  await found;
  t.strictSame(kindsOf(waiting.ran), ['joinMetrics', 'finishMetrics']);
});

t.test('one that waits for the memory of its answer does not hold up the jobs of the next', async (t) => {
  const metrics = new Metrics();
  const results = new ResultBudget({ bytesMax: 8 * MIB, waitMs: 0, metrics, taken: () => undefined });
  const range = rangeOf(240);
  const asked = askedOf(RATE, range);
  const part = partOf(RATE, range, cellsOf(4000, [1]));
  const budget = new PartsBudget({ bytesMax: 2 * partBytes(part), metrics });
  const large = await results.take('another', 7 * MIB, undefined);
  const sent = new AbortController();
  const first = scanOver([part], results, sent.signal);
  const found = findMetrics(asked, { ...first.scan, budget });
  await until(() => isWaiting(metrics));
  // there is no room for the third one
  const next = scanOver([part, part, part], results);
  const foundNext = findMetrics(asked, { ...next.scan, budget, concurrency: 1 });
  await until(async () => next.ran.filter(({ kind }) => kind === 'metrics').length === 3);
  large.drop();
  await found;
  sent.abort();
  await foundNext;
  t.match(await metrics.text(), /^tempo_querier_metrics_part_bytes 0$/m);
});

t.test('large series so far are made where there is room for them, and count meanwhile', async (t) => {
  const range = rangeOf(240);
  const asked = askedOf(RATE, range);
  for (const [series, largeMib, isMade] of [
    [4000, 7, false],
    [4000, 0, true],
    [20, 7, true],
  ] as const) {
    const metrics = new Metrics();
    const results = new ResultBudget({ bytesMax: 8 * MIB, waitMs: 0, metrics, taken: () => undefined });
    const held = async (): Promise<number> =>
      Number(/^tempo_querier_result_bytes (\d+)/m.exec(await metrics.text())![1]);
    const large = await results.take('another', largeMib * MIB, undefined);
    const { scan } = scanOver([partOf(RATE, range, cellsOf(series, [1])), undefined], results);
    let jobs = 0;
    const heldWhileMade: Promise<number>[] = [];
    const goOn = Promise.withResolvers<void>();
    const run: typeof scan.pool.run = async (job, how) => {
      if (job.kind === 'finishMetrics') heldWhileMade.push(held());
      else if (jobs++ > 0) await goOn.promise;
      return scan.pool.run(job, how);
    };
    let made: Promise<unknown> | undefined;
    const onProgress: MetricsScan['onProgress'] = (progress) => void (made ??= progress.seriesSoFar());
    const found = findMetrics(asked, { ...scan, pool: { run }, concurrency: 1, onProgress });
    await until(async () => made !== undefined);
    t.equal((await made) !== undefined, isMade, `${series} series beside ${largeMib} MiB`);
    t.equal(heldWhileMade.length, isMade ? 1 : 0);
    if (isMade) t.ok((await heldWhileMade[0]!) > largeMib * MIB);
    await until(async () => (await held()) === largeMib * MIB);
    large.drop();
    goOn.resolve();
    await found;
  }
});

t.test('who waits for the memory of an answer may leave, and is refused when its time is over', async (t) => {
  const range = rangeOf(240);
  const asked = askedOf(RATE, range);
  for (const [reason, code, refused] of [
    [new TempoError('cancelled', 'the client closed the request'), 'cancelled', 0],
    [new TimeIsUpError('query_frontend.api_timeout', 'too late'), 'resource_exhausted', 1],
  ] as const) {
    const metrics = new Metrics();
    const results = new ResultBudget({ bytesMax: 8 * MIB, waitMs: 0, metrics, taken: () => undefined });
    const large = await results.take('another', 7 * MIB, undefined);
    const client = new AbortController();
    const { scan, ran } = scanOver([partOf(RATE, range, cellsOf(4000, [1]))], results, client.signal);
    const budget = new PartsBudget({ bytesMax: MIB, metrics });
    const found = findMetrics(asked, { ...scan, budget });
    await until(() => isWaiting(metrics));
    t.notMatch(await metrics.text(), /^tempo_querier_metrics_part_bytes 0$/m);
    client.abort(reason);
    await t.rejects(found, { code });
    t.strictSame(
      ran.map(({ kind }) => kind),
      ['metrics'],
      'no series are made',
    );
    const told = await metrics.text();
    t.match(told, /^tempo_querier_waiting_searches 0$/m);
    t.match(told, /^tempo_querier_metrics_part_bytes 0$/m);
    t.match(told, new RegExp(`^tempo_querier_refused_searches_total ${refused}$`, 'm'));
    t.match(told, new RegExp(`^tempo_querier_result_bytes ${7 * MIB}$`, 'm'));
    large.drop();
  }
});

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + WAIT_MS;
  while (!(await isTrue())) {
    if (performance.now() > endsAt) throw new Error('it does not come to that');
    await new Promise(setImmediate);
  }
}

async function isWaiting(metrics: Metrics): Promise<boolean> {
  return /^tempo_querier_waiting_searches 1$/m.test(await metrics.text());
}

t.test('the arrays of an answer move from thread to thread', (t) => {
  const range = rangeOf(60);
  const parts = [partOf(RATE, range, cellsOf(10, [3, 40]))];
  const text = finishMetrics(jobOf(RATE, range, parts), signal);
  const bodies = finishMetrics({ ...jobOf(RATE, range, parts), format: 'proto' }, signal);
  for (const result of [text, bodies]) {
    const arrays = [...Object.values(result), ...Object.values(result.text ?? {})].filter((value) =>
      ArrayBuffer.isView(value),
    );
    const sizes = arrays.map(({ byteLength }) => byteLength);
    t.ok(sizes.some((size) => size > 100));
    const moved = structuredClone(result, { transfer: buffersOf(result) });
    t.same(
      arrays.map(({ byteLength }) => byteLength),
      sizes.map(() => 0),
      'nothing of them is left',
    );
    t.equal(answerBytes(moved) > 0, true);
  }
  t.end();
});

t.test('texts of samples without a value are made when they are asked for', (t) => {
  const before = process.memoryUsage().arrayBuffers;
  const zeros = new ZeroSamples(rangeOf(1_000_000));
  t.ok(process.memoryUsage().arrayBuffers - before < MIB, 'not yet');
  const textAt = ({ bytes, begins }: ZeroSamples, i: number): string =>
    Buffer.from(bytes.subarray(begins[i], begins[i + 1])).toString();
  const startMs = Number(START_NANO / 1_000_000n);
  for (const i of [0, 999, 1000, 999_999]) {
    t.equal(textAt(zeros, i), `,{"timestampMs":"${startMs + 1000 * (i + 1)}"}`);
    t.equal(zeros.timestampsMs[i], startMs + 1000 * (i + 1));
  }
  t.equal(zeros.bytes.length, zeros.bytes.buffer.byteLength, 'no more than they need');
  const early = new ZeroSamples({
    startUnixNano: -2n * SECOND,
    endUnixNano: 12n * SECOND,
    stepNanos: SECOND,
  });
  t.same(
    upTo(intervalCount(rangeOf(14))).map((i) => textAt(early, i)),
    upTo(14).map((i) => `,{"timestampMs":"${1000 * (i - 1)}"}`),
    'times of other lengths',
  );
  t.equal(early.bytes.length, early.begins.at(-1));
  t.end();
});

t.test('so many quantiles that their series would fill the memory are a part of the answer', (t) => {
  const intervals = 10_000;
  const range = rangeOf(intervals);
  const samplesOf = ({ series }: FinishedSeries): number =>
    series.reduce((sum, { values }) => sum + values.length, 0);
  const quantiles = (count: number): string => Array.from({ length: count }, () => '.5').join();
  const finished = (query: string, groups: number): FinishedSeries => {
    const part = partOf(query, range, cellsOf(groups, [1]));
    return finishSeries(parse(query), range, [part], { cellsMax: SAMPLES_MAX, exemplarsMax: 0 });
  };
  for (const [count, groups] of [
    [3000, 1],
    [3000, 4],
    [10, 500],
  ] as const) {
    const query = `{ } | quantile_over_time(duration, ${quantiles(count)}) by (name)`;
    const some = finished(query, groups);
    t.ok(some.isPartial, `${count} quantiles of ${groups} groups`);
    t.ok(samplesOf(some) <= 7 * SAMPLES_MAX, `${samplesOf(some)} samples`);
    t.ok(some.series.length > 0);
  }
  const query = `{ } | quantile_over_time(duration, ${quantiles(3000)}) by (name)`;
  const parts = [partOf(query, range, cellsOf(50, [1]))];
  const job = jobOf(query, range, parts);
  const known = makingBytes(job, job, parts);
  t.ok(known < 128 * MIB, `${known} bytes are thought of`);
  const all = finished(QUANTILES, 50);
  t.notOk(all.isPartial);
  t.equal(all.series.length, 7 * 50);
  t.end();
});

t.test('a few cells of very many intervals take no memory for many series', (t) => {
  const intervals = 1_000_000;
  const before = process.memoryUsage().arrayBuffers;
  const cells = new Cells('avg', intervals, noCheck);
  const slots = cells.slots(Int32Array.of(0, 0), Int32Array.of(5, 900_000), 1);
  cells.observe(slots, Float64Array.of(1, 2));
  const bytes = process.memoryUsage().arrayBuffers - before;
  t.ok(bytes < 8 * intervals * Float64Array.BYTES_PER_ELEMENT, `${bytes} bytes`);
  t.same(
    Array.from(slots, (slot) => cells.resultAt(slot)),
    [1, 2],
  );
  t.end();
});
