// From the sources of a query to its jobs: first the traces are found that lie in several sources, so that
// each is evaluated once and whole. What was found is kept as long as the sources are the same.
import { createHash } from 'node:crypto';
import { headVersion } from '../../block/head/reader.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import { ByteLru } from '../../lib/lru.ts';
import type { ScanFailure, SharedTracesJobResult } from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import type { Counter, Metrics } from '../../telemetry/metrics.ts';
import { blockIdOf, type DatedSource, type PlannedJob, planSearch, planWhole } from './plan.ts';

export interface PlannerOptions {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly metrics: Metrics;
  readonly targetBytesPerJob: number;
  readonly scanThreads: number;
  /** Of what is known about traces in several sources. */
  readonly sharedCacheBytes: number;
}

export interface QueryPlan {
  readonly jobs: readonly PlannedJob[];
  /** Of planning. */
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

/** What an entry of the cache takes beside its arrays and its key. */
const ENTRY_BYTES = 500;

export class Planner {
  private readonly options: PlannerOptions;
  private readonly cache: ByteLru;
  private readonly combined: Counter;

  constructor(options: PlannerOptions) {
    const { metrics, sharedCacheBytes } = options;
    this.options = options;
    this.cache = new ByteLru(sharedCacheBytes);
    this.combined = metrics.counter(
      'tempo_querier_combined_traces_total',
      'Traces whose parts were brought together for a search, because they lie in several blocks or heads.',
    );
    metrics.gauge(
      'tempo_querier_shared_traces_cache_bytes',
      'Memory of what is known about traces in several blocks or heads.',
      [],
      (gauge) => gauge.set(this.cache.sizeBytes),
    );
  }

  /** Jobs in which each span of the sources is once, and each trace whole; the newest traces first. */
  async plan(
    sources: readonly SourceRef[],
    run: RunOptions,
    targetBytesPerJob = this.options.targetBytesPerJob,
  ): Promise<QueryPlan> {
    const { scanThreads } = this.options;
    if (sources.length < 2) {
      return { jobs: planSearch(sources, targetBytesPerJob, scanThreads), inspectedBytes: 0, failures: [] };
    }
    const ordered = [...sources].sort((a, b) => (blockIdOf(a) < blockIdOf(b) ? -1 : 1));
    const name = digestOf(ordered.map(blockIdOf));
    const version = ordered.map(versionOf).join();
    const { found, isCached } = await this.find(ordered, name + version, run);
    this.combined.inc(found.places.ends.length);
    const jobs = [
      ...planSearch(
        ordered.flatMap((source, i) => inPlace(source, i, found)),
        targetBytesPerJob,
        scanThreads,
      ),
      ...planWhole({ name, version, sources: ordered }, found, scanThreads),
    ].sort((a, b) => (a.newestStart > b.newestStart ? -1 : a.newestStart < b.newestStart ? 1 : 0));
    return { jobs, inspectedBytes: isCached ? 0 : found.inspectedBytes, failures: found.failures };
  }

  /** Jobs over sources in which a trace may be in part: for what does not depend on whole traces. */
  planApart(sources: readonly SourceRef[]): QueryPlan {
    const { targetBytesPerJob, scanThreads } = this.options;
    const jobs = planSearch(sources, targetBytesPerJob, scanThreads);
    return { jobs, inspectedBytes: 0, failures: [] };
  }

  private async find(
    sources: readonly SourceRef[],
    key: string,
    run: RunOptions,
  ): Promise<{ readonly found: SharedTracesJobResult; readonly isCached: boolean }> {
    const cached = this.cache.get<SharedTracesJobResult>(key);
    if (cached !== undefined) return { found: cached, isCached: true };
    const found = await this.options.pool.run({ kind: 'sharedTraces', sources }, run);
    if (found.kind !== 'sharedTraces') throw new Error('a job for shared traces answered as something else');
    if (found.failures.length === 0) this.cache.set(key, found, resultBytes(found) + key.length);
    return { found, isCached: false };
  }
}

function digestOf(names: readonly string[]): string {
  return createHash('sha256').update(names.join()).digest('base64');
}

/** Blocks never change, heads grow. */
function versionOf(source: SourceRef): string {
  return source.kind === 'head' ? `${headVersion(source.sab)}` : '';
}

/** The source without the traces that are evaluated elsewhere; nothing when that is all of them. */
function inPlace(source: SourceRef, i: number, found: SharedTracesJobResult): DatedSource[] {
  const without = found.without[i]!;
  const traceCount = found.traceCounts[i]!;
  if (without.length > 0 && without.length === traceCount) return [];
  const newestStart = found.newestStarts[i]!;
  if (source.kind === 'head') return [{ ...source, without, traceCount, newestStart }];
  return [without.length === 0 ? { ...source, newestStart } : { ...source, without, newestStart }];
}

function resultBytes({ without, places }: SharedTracesJobResult): number {
  const arrays = [...without, places.ends, places.source, places.row];
  return arrays.reduce((sum, array) => sum + array.byteLength, ENTRY_BYTES);
}
