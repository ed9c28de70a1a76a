// Exemplars of a metrics query: at most one of a trace, spread over the range. Which ones are taken depends
// on the traces only, not on jobs or on the order of spans.
import { fnv1aOf32 } from '../../../lib/hash.ts';
import { TRACE_ID_BYTES } from '../../../model/ids.ts';
import type { FieldRef, Query } from '../../ast.ts';
import { printField } from '../../print.ts';
import type { Rows, Scan } from '../scan.ts';
import { shownFields } from '../shown-field.ts';
import { entriesOf } from './entries.ts';
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
  /** Of each of the spans; -1 = it is in no series. */
  readonly rows: Int32Array;
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

  private isWanted(interval: number, priority: number): boolean {
    const others = this.kept.get(this.sliceOf(interval));
    if (others === undefined || others.length < this.perSlice) return true;
    return priority < others.at(-1)!.priority;
  }

  async addSpans(
    scan: Scan,
    timed: TimedSpans,
    restriction: Rows | undefined,
    source: ExemplarSource,
  ): Promise<void> {
    const { ids } = await scan.source.traceIds(scan.signal);
    const chosen = this.choose(await oneOfEachTrace(scan, timed, source.rows), timed, ids);
    if (chosen.length === 0) return;
    const spans = Int32Array.from(chosen, ({ k }) => timed.spans[k]!);
    const labels = await this.labelsOf(scan, spans, restriction);
    chosen.forEach(({ k, priority, id }, i) => {
      const startUnixNano = this.range.startUnixNano + BigInt(timed.offsets[k]!);
      this.add({
        priority,
        interval: timed.intervals[k]!,
        timestampMs: Number(startUnixNano / NANOS_PER_MILLI),
        value: source.valueOf(k),
        ...source.groupOf(source.rows[k]!),
        labels: [{ key: 'trace:id', value: id }, ...labels[i]!],
      });
    });
  }

  /** Of the candidates those that may be kept, in the order of their spans. */
  private choose(candidates: Int32Array, timed: TimedSpans, ids: Uint8Array): Chosen[] {
    const bySlice = new Map<number, Chosen[]>();
    for (let trace = 0; trace < candidates.length; trace++) {
      const k = candidates[trace]!;
      if (k < 0) continue;
      const priority = mixed(fnv1aOf32(ids, trace * TRACE_ID_BYTES, (trace + 1) * TRACE_ID_BYTES), 0);
      if (!this.isWanted(timed.intervals[k]!, priority)) continue;
      const slice = this.sliceOf(timed.intervals[k]!);
      const others = bySlice.get(slice) ?? [];
      if (others.length === this.perSlice && priority >= others.at(-1)!.priority) continue;
      const id = ids.slice(trace * TRACE_ID_BYTES, (trace + 1) * TRACE_ID_BYTES);
      others.push({ k, priority, id });
      bySlice.set(slice, others.sort((a, b) => a.priority - b.priority).slice(0, this.perSlice));
    }
    const pool = new LabelPool();
    return [...bySlice.values()]
      .flat()
      .sort((a, b) => a.k - b.k)
      .map((one) => ({ ...one, id: pool.bytes(pool.idOfTraceId(one.id)).slice() }));
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

interface Chosen {
  readonly k: number;
  readonly priority: number;
  readonly id: Uint8Array;
}

/** For each trace one of its spans, as a place in the list; -1 = none. */
async function oneOfEachTrace(
  scan: Scan,
  { spans, offsets }: TimedSpans,
  rows: Int32Array,
): Promise<Int32Array> {
  const spanTrace = await scan.relation('spanTrace');
  const chosen = new Int32Array(scan.source.traceCount).fill(-1);
  const lowest = new Uint32Array(scan.source.traceCount);
  for (let k = 0; k < spans.length; k++) {
    if (rows[k]! < 0) continue;
    const trace = spanTrace[spans[k]!]!;
    const offset = offsets[k]!;
    const hash = mixed((offset % 4294967296) | 0, (offset / 4294967296) | 0);
    if (chosen[trace]! >= 0 && hash >= lowest[trace]!) continue;
    chosen[trace] = k;
    lowest[trace] = hash;
  }
  return chosen;
}

function mixed(a: number, b: number): number {
  let hash = Math.imul(a ^ 0x7f4a7c15, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35);
  return (hash ^ (hash >>> 15)) >>> 0;
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
