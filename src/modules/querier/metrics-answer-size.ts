// How much memory the series of a metrics answer may take, before they are made.
import type { MetricsQuery } from '../../contracts/query.ts';
import type { MetricsAsked } from '../../store/scan-job.ts';
import type { MetricsPart } from '../../traceql/engine/metrics/part.ts';
import { intervalCount } from '../../traceql/engine/metrics/range.ts';

/** Of a series: its labels, and what is around its samples. */
const SERIES_BYTES = 200;
/** Of a sample with a value, and what may stand beside it. */
const CELL_BYTES = { json: 110, proto: 24 } as const;
/** Of a sample without one: JSON leaves most of them out. */
const EMPTY_BYTES = { json: 2, proto: 12 } as const;
/** Samples of a series as numbers, while it is made. */
const NUMBER_BYTES = 8;
/** So many times as many as are answered may be made at a time. */
const MADE_MAX = 6;
/** What was written is put together once. */
const COPIES = 2;

/** Roughly the bytes that a thread needs at most to make the series of these parts; labels may be longer. */
export function makingBytes(
  { isInstant, seriesMax, format }: Pick<MetricsQuery, 'isInstant' | 'seriesMax' | 'format'>,
  { range, samplesMax }: Pick<MetricsAsked, 'range' | 'samplesMax'>,
  parts: readonly MetricsPart[],
): number {
  const intervals = intervalCount(range);
  const possibleMax = Math.max(1, samplesMax / intervals);
  const inAll = parts.reduce((sum, { buckets }) => sum + buckets.length, 0);
  const found = Math.min(inAll, MADE_MAX * possibleMax);
  const possible = Math.min(found, possibleMax);
  const answered = seriesMax > 0 ? Math.min(possible, seriesMax) : possible;
  const samples = answered * (isInstant ? 1 : intervals);
  const cells = Math.min(
    samples,
    parts.reduce((sum, { rows }) => sum + rows.length, 0),
  );
  const body = answered * SERIES_BYTES + cells * CELL_BYTES[format] + samples * EMPTY_BYTES[format];
  return Math.ceil(COPIES * body + found * intervals * NUMBER_BYTES);
}
