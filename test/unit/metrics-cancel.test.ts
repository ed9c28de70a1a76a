// The last jobs of a metrics query: what they ask between how much work, and how they end when nobody waits
// any more.
import t, { type Test } from 'tap';
import { followFlag, newCancelFlag, raise } from '../../src/store/cancel-flag.ts';
import { finishMetrics, joinMetrics } from '../../src/store/metrics-job.ts';
import type { FinishMetricsJob, JoinMetricsJob } from '../../src/store/scan-job.ts';
import { CELLS_A_LOOK, type Check } from '../../src/traceql/engine/metrics/check.ts';
import { finishSeries, joinParts } from '../../src/traceql/engine/metrics/finish.ts';
import type { MetricsPart } from '../../src/traceql/engine/metrics/part.ts';
import { shapeOf } from '../../src/traceql/engine/metrics/plan.ts';
import type { MetricsRange } from '../../src/traceql/engine/metrics/range.ts';
import { seriesText } from '../../src/traceql/engine/metrics/series-text.ts';
import { SeriesSet } from '../../src/traceql/engine/metrics/series-set.ts';
import { SeriesWriter } from '../../src/traceql/engine/metrics/series-writer.ts';
import { parse } from '../../src/traceql/parser.ts';
import { START_NANO } from '../support/otlp.ts';

const SERIES = 2000;
const INTERVALS = 300;
const CELLS = SERIES * INTERVALS;
const CELLS_MAX = 10_000_000;
/** CPU time, in which a busy machine does not count, between two looks; without them it is seconds. */
const LOOK_MS_MAX = 200;
const SECOND = 1_000_000_000n;
const LIMITS = { cellsMax: CELLS_MAX, exemplarsMax: 0 };

const RANGE: MetricsRange = {
  startUnixNano: START_NANO,
  endUnixNano: START_NANO + BigInt(INTERVALS) * SECOND,
  stepNanos: SECOND,
};

/** Each series has every tenth sample. */
function partOf(query: string): MetricsPart {
  const { metrics } = parse(query);
  const set = new SeriesSet(shapeOf(metrics!, RANGE), CELLS_MAX);
  const { width, hasBuckets } = set.shape;
  const ids = Int32Array.from({ length: CELLS / 10 }, (_, k) => set.pool.idOfText(`trace ${k % SERIES}`));
  const same = new Int32Array(ids.length).fill(set.pool.idOfText('baseline'));
  const labels = width === 1 ? [ids] : [same, same, ids];
  const buckets = new Uint8Array(ids.length).fill(3);
  const rows = set.rowsOf(labels, hasBuckets ? buckets : undefined, ids.length);
  const intervals = Int32Array.from(ids, (_, k) => (k * 7) % INTERVALS);
  const slots = set.cells.slots(rows, intervals, set.rowCount);
  if (set.shape.kind === 'count') set.cells.count(slots);
  else set.cells.observe(slots, new Float64Array(slots.length).fill(1.5));
  return set.toPart();
}

function counting(): { readonly check: Check; readonly cells: () => number } {
  let sum = 0;
  return { check: (cells = 1) => void (sum += cells), cells: () => sum };
}

const PLAIN = '{ } | rate() by (trace:id)';
const QUERIES = [
  `${PLAIN} | bottomk(1000)`,
  `${PLAIN} | topk(10)`,
  `${PLAIN} > 0.5`,
  '{ } | quantile_over_time(duration, .5, .9) by (trace:id)',
  '{ } | sum_over_time(span.i) by (trace:id) | bottomk(1000)',
  '{ } | compare({ status = error }, 10)',
];

t.test('what is done with all samples is told', (t) => {
  const cellsOf = (query: string): number => {
    const { check, cells } = counting();
    finishSeries(parse(query), RANGE, [partOf(query)], LIMITS, check);
    return cells();
  };
  const plain = cellsOf(PLAIN);
  t.ok(plain >= CELLS / 10, 'cells of parts');
  for (const query of QUERIES) t.ok(cellsOf(query) >= plain + CELLS, query);

  const joined = counting();
  joinParts(parse(PLAIN), RANGE, [partOf(PLAIN)], LIMITS, joined.check);
  t.ok(joined.cells() >= CELLS / 10, 'joins');

  const { series, pool } = finishSeries(parse(PLAIN), RANGE, [partOf(PLAIN)], LIMITS);
  const text = counting();
  seriesText(series, RANGE, pool, text.check);
  t.ok(text.cells() >= CELLS, 'text');
  const proto = counting();
  const writer = new SeriesWriter(RANGE, pool, { format: 'proto', isInstant: false }, proto.check);
  for (const one of series) writer.write(one);
  t.ok(proto.cells() >= CELLS, 'protobuf');
  t.end();
});

interface Looks {
  readonly signal: AbortSignal;
  count: number;
  /** The longest time between two. */
  cpuMs: number;
}

/** The signal of a job in a scan thread, whose flag is raised just before it is asked for the nth time. */
function cancelledAt(n: number): Looks {
  const flag = newCancelFlag();
  const signal = followFlag(new AbortController(), flag);
  let before = process.threadCpuUsage();
  const looks: Looks = {
    count: 0,
    cpuMs: 0,
    signal: {
      throwIfAborted(): void {
        const { user, system } = process.threadCpuUsage(before);
        looks.cpuMs = Math.max(looks.cpuMs, (user + system) / 1000);
        if (++looks.count === n) raise(flag);
        before = process.threadCpuUsage();
        signal.throwIfAborted();
      },
    } as AbortSignal,
  };
  return looks;
}

function endsWhereCancelled(t: Test, name: string, run: (signal: AbortSignal) => unknown): void {
  const patient = cancelledAt(Infinity);
  run(patient.signal);
  t.ok(patient.cpuMs < LOOK_MS_MAX, `${name}: asks every few ms`);
  t.ok(patient.count > CELLS / 10 / CELLS_A_LOOK, `${name}: asks now and then`);
  for (const share of [0, 0.6, 1]) {
    const n = Math.max(1, Math.round(patient.count * share));
    const looks = cancelledAt(n);
    t.throws(() => run(looks.signal), { name: 'AbortError' });
    t.equal(looks.count, n, `${name}: ends at look ${n} of ${patient.count}`);
  }
}

t.test('the job that makes the series ends when it is cancelled', (t) => {
  for (const query of [PLAIN, ...QUERIES]) {
    const parts = [partOf(query)];
    const asked = { query, range: RANGE, samplesMax: CELLS_MAX, exemplarsMax: 0, parts };
    for (const format of ['json', 'proto'] as const) {
      const job: FinishMetricsJob = {
        kind: 'finishMetrics',
        ...asked,
        sources: [],
        isInstant: false,
        seriesMax: 0,
        format,
      };
      endsWhereCancelled(t, `${query} as ${format}`, (signal) => finishMetrics(job, signal));
    }
  }
  t.end();
});

t.test('the job that joins parts ends when it is cancelled', (t) => {
  for (const query of [PLAIN, '{ } | avg_over_time(span.i) by (trace:id)']) {
    const parts = [partOf(query), partOf(query)];
    const asked = { query, range: RANGE, samplesMax: CELLS_MAX, exemplarsMax: 0, parts };
    const job: JoinMetricsJob = { kind: 'joinMetrics', ...asked, sources: [] };
    endsWhereCancelled(t, query, (signal) => joinMetrics(job, signal));
  }
  t.end();
});

t.test('one series of very many intervals is written in pieces that end', (t) => {
  const intervals = 500_000;
  const range = { ...RANGE, endUnixNano: START_NANO + BigInt(intervals) * SECOND };
  const { pool } = finishSeries(parse(PLAIN), RANGE, [partOf(PLAIN)], LIMITS);
  const values = Float64Array.from({ length: intervals }, (_, i) => i % 3);
  const labels = [{ key: 'a', value: pool.idOfText('x') }];
  const { check, cells } = counting();
  seriesText([{ labels, values }], range, pool, check);
  t.ok(cells() >= 2 * intervals);
  t.end();
});
