// Parts of metrics queries over blocks that are kept: what they depend on, and their way from the range of
// one query to that of another. Where they are kept is for others.
import type { MetricsJob, MetricsJobResult } from '../../store/scan-job.ts';
import type { MetricsPart } from '../../traceql/engine/metrics/part.ts';
import { intervalCount, type MetricsRange } from '../../traceql/engine/metrics/range.ts';
import { coversBlock, onlyBlock } from './only-block.ts';

/** A part whose intervals are counted from the one that `firstInterval` is the number of. */
export interface KeptPart {
  readonly part: MetricsPart;
  /** Steps between 1970 and the start of the range. */
  readonly firstInterval: bigint;
}

const NANOS_PER_SECOND = 1_000_000_000n;

/** Equal keys = equal spans in equal intervals; undefined: they may change, or are of this query only. */
export function metricsKey(job: MetricsJob): string | undefined {
  const { range, query, samplesMax, exemplarsMax, isExplained = false } = job;
  const block = onlyBlock(job);
  if (block === undefined || isExplained) return undefined;
  const { meta, rowGroups } = block;
  const { startUnixNano, endUnixNano, stepNanos } = range;
  const startSec = Number(startUnixNano / NANOS_PER_SECOND);
  const endSec = Number(endUnixNano / NANOS_PER_SECOND);
  if (!coversBlock({ startSec, endSec }, meta)) return undefined;
  const asked = [
    meta.tenantId,
    meta.blockId,
    rowGroups?.join('-'),
    stepNanos,
    ...(isOfAnyRange(job) ? [startUnixNano % stepNanos] : [startUnixNano, endUnixNano]),
    samplesMax,
    exemplarsMax,
  ];
  return ['metrics', ...asked.map(String), query].join('|');
}

/** Which exemplars are taken depends on the whole range, and so may what is compared. */
function isOfAnyRange({ exemplarsMax, query }: MetricsJob): boolean {
  return exemplarsMax === 0 && !query.includes('compare');
}

/** What is kept of a result; undefined = it says something of this query only. */
export function keptPart(job: MetricsJob, result: MetricsJobResult): KeptPart | undefined {
  const { part, failures, areTimely } = result;
  // Series were left out, as there were too many for the range.
  if (part === undefined || part.share !== 1 || failures.length > 0) return undefined;
  if (isOfAnyRange(job) && areTimely !== true) return undefined;
  return { part, firstInterval: firstInterval(job.range) };
}

/** The part as a job over the range would have made it; undefined = it would have left something out. */
export function partWithin(
  { part, firstInterval: first }: KeptPart,
  range: MetricsRange,
): MetricsPart | undefined {
  const by = Number(first - firstInterval(range));
  if (by === 0) return part;
  const count = intervalCount(range);
  const intervals = part.intervals.map((interval) => interval + by);
  if (intervals.some((interval) => interval < 0 || interval >= count)) return undefined;
  return { ...part, intervals };
}

function firstInterval({ startUnixNano, stepNanos }: MetricsRange): bigint {
  return startUnixNano / stepNanos;
}
