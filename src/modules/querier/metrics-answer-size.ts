// How much memory the series of a metrics answer may take, before they are made.
import type { MetricsQuery } from '../../contracts/query.ts';
import type { MetricsAsked } from '../../store/scan-job.ts';
import type { MetricsPart } from '../../traceql/engine/metrics/part.ts';
import { intervalCount } from '../../traceql/engine/metrics/range.ts';
import { madeMaxOf, rowsMaxOf } from '../../traceql/engine/metrics/series-set.ts';
import { ZERO_SAMPLE_BYTES } from '../../traceql/engine/metrics/zero-samples.ts';
import { parse } from '../../traceql/parser.ts';

/** Of a series: its labels, and what is around its samples. */
const SERIES_BYTES = 200;
/** Of a sample with a value, and what may stand beside it. */
const CELL_BYTES = { json: 110, proto: 24 } as const;
/** Of a sample without one: JSON leaves most of them out. */
const EMPTY_BYTES = { json: 2, proto: 12 } as const;
/** Samples of a series as numbers, while it is made. */
const NUMBER_BYTES = 8;
/** What was written is put together once. */
const COPIES = 2;

/** Roughly the bytes that a thread needs at most to make the series of these parts; labels may be longer. */
export function makingBytes(
  { query, isInstant, seriesMax, format }: Pick<MetricsQuery, 'query' | 'isInstant' | 'seriesMax' | 'format'>,
  { range, samplesMax }: Pick<MetricsAsked, 'range' | 'samplesMax'>,
  parts: readonly MetricsPart[],
): number {
  const intervals = intervalCount(range);
  const possibleMax = Math.max(1, samplesMax / intervals);
  const found = Math.min(sumOf(parts, rowsOf), rowsMaxOf(samplesMax, intervals));
  const { metrics, second } = parse(query);
  // how many series a group becomes; 0 = its series are as they were found
  const quantiles = metrics?.kind === 'metrics' ? metrics.quantiles.length : 0;
  // of each group so many, and the counts that they are made of beside them
  const madeMax = madeMaxOf(samplesMax, intervals);
  const groups = quantiles === 0 ? 0 : Math.min(found, sumOf(parts, groupsOf));
  const made = quantiles === 0 ? found : Math.min(groups * quantiles, madeMax);
  const possible = Math.min(made, possibleMax);
  const answered = seriesMax > 0 ? Math.min(possible, seriesMax) : possible;
  const samples = answered * (isInstant ? 1 : intervals);
  const cells = Math.min(samples, sumOf(parts, cellsOf) * Math.max(1, quantiles));
  const body = answered * SERIES_BYTES + cells * CELL_BYTES[format] + samples * EMPTY_BYTES[format];
  // topk, bottomk and comparisons make other samples of those that they are given
  const copies = (quantiles > 0 ? 1 : 0) + (second.length > 0 ? 1 : 0);
  const numbers = (found + copies * made) * intervals * NUMBER_BYTES;
  const zeros = format === 'json' && !isInstant ? intervals * ZERO_SAMPLE_BYTES : 0;
  return Math.ceil(COPIES * (body + zeros) + numbers);
}

/** Might they have half as many series when they are one, or less? */
export function mayBeFewer(parts: readonly MetricsPart[]): boolean {
  const most = parts.reduce((max, part) => Math.max(max, rowsOf(part)), 0);
  return parts.length > 1 && sumOf(parts, rowsOf) >= 2 * most;
}

function rowsOf({ buckets }: MetricsPart): number {
  return buckets.length;
}

function groupsOf({ groups, buckets }: MetricsPart): number {
  return groups ?? buckets.length;
}

function cellsOf({ rows }: MetricsPart): number {
  return rows.length;
}

function sumOf(parts: readonly MetricsPart[], of: (part: MetricsPart) => number): number {
  return parts.reduce((sum, part) => sum + of(part), 0);
}
