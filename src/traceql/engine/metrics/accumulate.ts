// A metrics function over the spans of sources, one source after another, as far as one job goes.
import type { FieldRef, MetricsStage, Query } from '../../ast.ts';
import type { Bitset } from '../../../lib/bitset.ts';
import { roundedSum } from '../../../lib/rounded-sum.ts';
import { type SpanSource, ValueType } from '../../source.ts';
import { storedFields } from '../fields.ts';
import { OWN_COLUMNS, WELL_KNOWN } from '../own-columns.ts';
import { runStages } from '../pipeline.ts';
import { type Rows, Scan } from '../scan.ts';
import { tracesInScope } from '../search.ts';
import { typeAt } from '../value-reader.ts';
import { Comparison } from './compare.ts';
import { type SpanEntries, entriesOf } from './entries.ts';
import { Exemplars } from './exemplars.ts';
import { NO_VALUE } from './label-pool.ts';
import type { MetricsPart } from './part.ts';
import { hasBuckets, isDuration, isSpanDuration, shapeOf } from './plan.ts';
import { type MetricsRange, type TimedSpans, timedSpans } from './range.ts';
import { SeriesSet } from './series-set.ts';

const NANOS_PER_SECOND = 1e9;

type Aggregation = Extract<MetricsStage, { kind: 'metrics' }>;

export interface AccumulateOptions {
  /** Ordinals of traces that are counted elsewhere. */
  readonly excludeTraces?: Bitset | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface MetricsLimits {
  /** Values of series and intervals that are kept at a time; above it series are left out. */
  readonly cellsMax: number;
  /** 0 = none. */
  readonly exemplarsMax: number;
}

export class MetricsAccumulator {
  inspectedTraces = 0;
  /** Spans that counted. */
  inspectedSpans = 0;
  inspectedBytes = 0;
  /** No span that matches was left out for its time, and no trace. */
  areTimely = true;
  private readonly query: Query;
  private readonly stage: MetricsStage;
  private readonly range: MetricsRange;
  private readonly series: SeriesSet;
  private readonly comparison: Comparison | undefined;
  /** undefined = not wanted. */
  private readonly exemplars: Exemplars | undefined;

  /** @param query valid, with a metrics function. */
  constructor(query: Query, range: MetricsRange, { cellsMax, exemplarsMax }: MetricsLimits) {
    if (query.metrics === undefined) throw new Error('not a metrics query');
    this.query = query;
    this.stage = query.metrics;
    this.range = range;
    this.series = new SeriesSet(shapeOf(query.metrics, range), cellsMax);
    if (exemplarsMax > 0) this.exemplars = new Exemplars(query, range, exemplarsMax);
    if (query.metrics.kind === 'compare') {
      this.comparison = new Comparison(query.metrics, range, this.series);
    }
  }

  /** Throws TraceqlError for what cannot be executed. */
  async add(source: SpanSource, options: AccumulateOptions = {}): Promise<void> {
    if (source.traceCount === 0) return;
    const bytesBefore = source.bytesRead;
    this.inspectedTraces += source.traceCount;
    try {
      await this.addSpans(source, options);
    } finally {
      this.inspectedBytes += source.bytesRead - bytesBefore;
    }
  }

  private async addSpans(source: SpanSource, { excludeTraces, signal }: AccumulateOptions): Promise<void> {
    const { endUnixNano } = this.range;
    // times of traces are exact to a microsecond
    const startUnixNano = this.range.startUnixNano - (this.range.startUnixNano % 1000n);
    const times = await source.traceTimes(signal);
    const traces = tracesInScope(source, times, { startUnixNano, endUnixNano, excludeTraces });
    if (traces !== undefined) this.areTimely = false;
    if (traces?.isEmpty()) return;
    const scan = new Scan(source, traces, signal);
    const matched = (await runStages(scan, this.query.stages)).spans();
    if (matched.isEmpty()) return;
    const rows = await scan.rowsOf(matched);
    const timed = await timedSpans(scan, matched, rows, this.range);
    if (timed.spans.length < matched.count()) this.areTimely = false;
    if (timed.spans.length === 0) return;
    this.inspectedSpans += timed.spans.length;
    if (this.stage.kind === 'metrics') await this.aggregate(scan, this.stage, timed, rows);
    else await this.comparison?.add(scan, timed, rows);
    this.series.limit();
  }

  private async aggregate(
    scan: Scan,
    stage: Aggregation,
    timed: TimedSpans,
    rows: Rows | undefined,
  ): Promise<void> {
    const { series } = this;
    const { spans, intervals } = timed;
    const values = stage.arg && numbersOf(await entriesOf(scan, stage.arg, spans, rows), spans.length);
    const labels: Int32Array[] = [];
    for (const field of stage.by) {
      const ids = this.labelIds(await entriesOf(scan, field, spans, rows), spans.length);
      labels.push(isAbsenceNamed(field) ? this.named(ids) : ids);
    }
    const isBucketed = hasBuckets(stage);
    if (!isBucketed) this.nameAbsent(labels, spans.length);
    const buckets = isBucketed ? bucketsOf(values!) : undefined;
    const isAlone = labels.length === 0 && buckets === undefined;
    const row = isAlone ? undefined : series.rowsOf(labels, buckets, spans.length);
    const slots = series.cells.slots(row, intervals, series.rowCount);
    if (values === undefined || isBucketed) series.cells.count(slots);
    else series.cells.observe(slots, values.numbers);
    await this.exemplars?.addSpans(scan, timed, rows, {
      rows: values === undefined || isBucketed ? row : withValue(row, values.numbers),
      groupOf: (one) => ({
        group: series.valuesOf(series.groupOf(one)),
        bucket: series.bucketOf(one),
      }),
      valueOf: exemplarValues(stage, values?.numbers),
    });
  }

  /** For each span the number of its value in the pool; of several scopes the first that has one. */
  private labelIds(sources: readonly SpanEntries[], count: number): Int32Array {
    const { pool } = this.series;
    let ids: Int32Array | undefined;
    for (const { vector, entries } of sources) {
      const own = pool.idsOf(vector, entries);
      if (ids === undefined) ids = own;
      else for (let k = 0; k < count; k++) if (ids[k] === NO_VALUE) ids[k] = own[k]!;
    }
    return ids ?? new Int32Array(count);
  }

  /** Gives those without a value the value nil. */
  private named(ids: Int32Array): Int32Array {
    const nil = this.series.pool.nilTextId;
    for (let k = 0; k < ids.length; k++) if (ids[k] === NO_VALUE) ids[k] = nil;
    return ids;
  }

  /** A series without any label would have no name: its first label is called nil. */
  private nameAbsent(labels: readonly Int32Array[], count: number): void {
    const [first, ...others] = labels;
    if (first === undefined) return;
    const nil = this.series.pool.nilTextId;
    for (let k = 0; k < count; k++) {
      if (first[k] === NO_VALUE && others.every((ids) => ids[k] === NO_VALUE)) first[k] = nil;
    }
  }

  part(): MetricsPart {
    return { ...this.series.toPart(), exemplars: this.exemplars?.all ?? [] };
  }
}

/** Spans without a value are in no series. */
function withValue(rows: Int32Array | undefined, numbers: Float64Array): Int32Array {
  const all = new Int32Array(numbers.length);
  for (let k = 0; k < all.length; k++)
    all[k] = numbers[k] !== numbers[k] ? -1 : rows === undefined ? 0 : rows[k]!;
  return all;
}

/** The value of an exemplar is that of its span, in seconds for durations; counts have none. */
function exemplarValues(stage: Aggregation, numbers: Float64Array | undefined): (k: number) => number {
  if (numbers === undefined || stage.name === 'histogram_over_time') return () => Number.NaN;
  const isInSeconds = stage.name === 'quantile_over_time' ? isDuration(stage.arg) : isSpanDuration(stage.arg);
  return (k) => numbers[k]! / (isInSeconds ? NANOS_PER_SECOND : 1);
}

/** As in Tempo attributes with columns of their own have a label in every series. */
function isAbsenceNamed(field: FieldRef): boolean {
  return storedFields(field).some(
    (stored) =>
      stored.kind === 'attribute' &&
      (WELL_KNOWN[stored.scope].has(stored.name) || OWN_COLUMNS[stored.scope].has(stored.name)),
  );
}

interface Numbers {
  /** NaN = none. Durations in ns. */
  readonly numbers: Float64Array;
  /** 1 where the number is a float. */
  readonly isFloat: Uint8Array;
}

/** The numbers of some spans; of several scopes the first that has a value counts. */
function numbersOf(sources: readonly SpanEntries[], count: number): Numbers {
  const numbers = new Float64Array(count).fill(Number.NaN);
  const isFloat = new Uint8Array(count);
  const isSet = sources.length > 1 ? new Uint8Array(count) : undefined;
  for (const { vector, entries } of sources) {
    const { num, base, isElement } = vector;
    for (let k = 0; k < count; k++) {
      const entry = entries[k]!;
      if (entry < 0) continue;
      if (isSet !== undefined) {
        if (isSet[k] === 1) continue;
        isSet[k] = 1;
      }
      const type = typeAt(vector, entry);
      if (num === undefined || (isElement !== undefined && isElement[entry] === 1)) continue;
      if (type !== ValueType.int && type !== ValueType.float && type !== ValueType.duration) continue;
      numbers[k] = roundedSum(base, num[entry]!);
      if (type === ValueType.float) isFloat[k] = 1;
    }
  }
  return { numbers, isFloat };
}

/** For each number the exponent of the smallest power of two that is not below it. 0 = it has no bucket. */
function bucketsOf({ numbers, isFloat }: Numbers): Uint8Array {
  const buckets = new Uint8Array(numbers.length);
  for (let k = 0; k < numbers.length; k++) {
    if (isFloat[k] === 0 && numbers[k]! >= 2) buckets[k] = exponentOf(numbers[k]!);
  }
  return buckets;
}

const WORD = 2 ** 32;

function exponentOf(number: number): number {
  if (number <= WORD) return 32 - Math.clz32(number - 1);
  return 64 - Math.clz32(Math.ceil(number / WORD) - 1);
}
