// Exemplars of a metrics query: at most one of a trace, spread over the range. Which ones are taken depends
// on the traces only, not on jobs or on the order of spans.
import { TRACE_ID_BYTES } from '../../../model/ids.ts';
import type { FieldRef, Query } from '../../ast.ts';
import { printField } from '../../print.ts';
import type { Rows, Scan } from '../scan.ts';
import { shownFields } from '../shown-field.ts';
import { entriesOf } from './entries.ts';
import { ExemplarChoice, type Slicing } from './exemplar-choice.ts';
import { LabelPool, NO_VALUE } from './label-pool.ts';
import { type MetricsRange, intervalCount } from './range.ts';
import type { TimedSpans } from './range.ts';

export interface Exemplar {
  /** Those with the lowest numbers are kept. */
  readonly priority: number;
  readonly interval: number;
  readonly timestampMs: number;
  /** NaN = that of the sample. */
  readonly value: number;
  /** Of its series: values of the labels, and the exponent of the bucket. */
  readonly group: readonly Uint8Array[];
  readonly bucket: number;
  readonly labels: readonly { readonly key: string; readonly value: Uint8Array }[];
}

/** The range is cut into slices of so many exemplars or, where it has few intervals, of more. */
const PER_SLICE_MIN = 2;
const NANOS_PER_MILLI = 1_000_000n;

/** What an exemplar of a span would be. */
export interface ExemplarSource {
  /** Of each of the spans; -1 = it is in no series. undefined = all are in the only one, 0. */
  readonly rows: Int32Array | undefined;
  groupOf(row: number): { readonly group: readonly Uint8Array[]; readonly bucket: number };
  valueOf(k: number): number;
}

export class Exemplars {
  private readonly slices: number;
  private readonly perSlice: number;
  private readonly range: MetricsRange;
  private readonly fields: readonly FieldRef[];
  /** By slice of the range, lowest priority first. */
  private readonly kept = new Map<number, Exemplar[]>();

  /** @param max in all; 0 = none. */
  constructor(query: Query, range: MetricsRange, max: number) {
    this.slices = Math.max(1, Math.min(Math.floor(max / PER_SLICE_MIN), intervalCount(range)));
    this.perSlice = Math.floor(max / this.slices);
    this.range = range;
    this.fields = labelFields(query);
  }

  get all(): readonly Exemplar[] {
    return [...this.kept.values()].flat();
  }

  add(exemplar: Exemplar): void {
    const slice = this.sliceOf(exemplar.interval);
    const others = this.kept.get(slice) ?? [];
    others.push(exemplar);
    others.sort((a, b) => a.priority - b.priority || a.timestampMs - b.timestampMs);
    this.kept.set(slice, others.slice(0, this.perSlice));
  }

  private sliceOf(interval: number): number {
    return Math.floor((interval * this.slices) / intervalCount(this.range));
  }

  async addSpans(
    scan: Scan,
    timed: TimedSpans,
    restriction: Rows | undefined,
    source: ExemplarSource,
  ): Promise<void> {
    const { ids } = await scan.source.traceIds(scan.signal);
    const spanTrace = await scan.relation('spanTrace');
    const choice = new ExemplarChoice({ timed, spanTrace, rows: source.rows, ids }, this.slicing());
    const chosen = choice.made();
    if (chosen.length === 0) return;
    const spans = Int32Array.from(chosen, ({ k }) => timed.spans[k]!);
    const labels = await this.labelsOf(scan, spans, restriction);
    const pool = new LabelPool();
    chosen.forEach(({ k, trace, priority }, i) => {
      const startUnixNano = this.range.startUnixNano + BigInt(timed.offsets[k]!);
      const id = ids.slice(trace * TRACE_ID_BYTES, (trace + 1) * TRACE_ID_BYTES);
      this.add({
        priority,
        interval: timed.intervals[k]!,
        timestampMs: Number(startUnixNano / NANOS_PER_MILLI),
        value: source.valueOf(k),
        ...source.groupOf(source.rows?.[k] ?? 0),
        labels: [{ key: 'trace:id', value: pool.bytes(pool.idOfTraceId(id)).slice() }, ...labels[i]!],
      });
    });
  }

  /** The slices as they are now: above its limit a priority changes nothing there. */
  private slicing(): Slicing {
    const intervals = intervalCount(this.range);
    const limits = new Float64Array(this.slices).fill(Number.POSITIVE_INFINITY);
    for (const [slice, others] of this.kept) {
      if (others.length === this.perSlice) limits[slice] = others.at(-1)!.priority;
    }
    return {
      sliceOf: Int32Array.from({ length: intervals }, (_, interval) => this.sliceOf(interval)),
      perSlice: this.perSlice,
      limits,
    };
  }

  private async labelsOf(
    scan: Scan,
    spans: Int32Array,
    restriction: Rows | undefined,
  ): Promise<readonly Exemplar['labels'][number][][]> {
    const pool = new LabelPool();
    const labels: Exemplar['labels'][number][][] = Array.from(spans, () => []);
    for (const field of this.fields) {
      const isNamed = new Uint8Array(spans.length);
      for (const { vector, entries } of await entriesOf(scan, field, spans, restriction)) {
        const values = pool.idsOf(vector, entries);
        for (let i = 0; i < spans.length; i++) {
          if (values[i] === NO_VALUE || isNamed[i] === 1) continue;
          isNamed[i] = 1;
          labels[i]!.push({ key: printField(field), value: pool.bytes(values[i]!).slice() });
        }
      }
    }
    return labels;
  }
}

/** What is told of the span: all fields that the query mentions. */
function labelFields(query: Query): readonly FieldRef[] {
  const refs = shownFields(query).map(({ ref }) => ref);
  if (query.metrics?.kind === 'metrics') {
    refs.push(...query.metrics.by);
    if (query.metrics.arg) refs.push(query.metrics.arg);
  }
  return [...new Map(refs.map((ref) => [printField(ref), ref])).values()].filter(
    (ref) => ref.kind !== 'intrinsic' || ref.name !== 'trace:id',
  );
}
