// From the sources of a query to its jobs: first the traces are found that lie in several sources, so that
// each is evaluated once and whole. What was found is kept as long as the sources are the same.
import { createHash } from 'node:crypto';
import { headCounts, headVersion } from '../../block/head/reader.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import { ByteLru } from '../../lib/lru.ts';
import { OneRun } from '../../lib/one-run.ts';
import type { ScanFailure, ScanSource, SharedTracesJobResult } from '../../store/scan-job.ts';
import type { RunOptions, ScanPool } from '../../store/scan-pool.ts';
import type { Counter, Metrics } from '../../telemetry/metrics.ts';
import { blockIdOf, type DatedSource, type PlannedJob, planSearch, planWhole } from './plan.ts';
import { chooseWhole, type WholeChoice } from './whole-choice.ts';

export interface PlannerOptions {
  readonly pool: Pick<ScanPool, 'run'>;
  readonly metrics: Metrics;
  readonly targetBytesPerJob: number;
  readonly scanThreads: number;
  /** Of what is known about traces in several sources. */
  readonly sharedCacheBytes: number;
  /** Traces among which one job looks for those in several sources, at most. */
  readonly idsPerJob: number;
}

export interface JobSize {
  /** Of blocks that a job reads. */
  readonly targetBytesPerJob?: number;
  /** Of the answer, for each trace that is looked at: large ones are made by more jobs. */
  readonly bytesPerTrace?: number;
}

export interface QueryPlan {
  readonly jobs: readonly PlannedJob[];
  /** Of these the ones in place, and those that bring traces together. */
  readonly inPlace: readonly PlannedJob[];
  readonly whole: readonly PlannedJob[];
  /** As `whole`, for some of these traces only. */
  readonly chooseWhole: (choice: WholeChoice) => readonly PlannedJob[];
  /** Of planning. */
  readonly inspectedBytes: number;
  readonly failures: readonly ScanFailure[];
}

const ID_PREFIXES = 2 ** 32;
/** What an entry of the cache takes beside its arrays and its key. */
const ENTRY_BYTES = 500;

export class Planner {
  private readonly options: PlannerOptions;
  private readonly cache: ByteLru;
  private readonly running = new OneRun<SharedTracesJobResult>();
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
    { targetBytesPerJob = this.options.targetBytesPerJob, bytesPerTrace = 0 }: JobSize = {},
  ): Promise<QueryPlan> {
    const { scanThreads } = this.options;
    if (sources.length < 2) {
      return apart(planSearch(sources, targetBytesPerJob, scanThreads, bytesPerTrace));
    }
    const ordered = inOrder(sources);
    const name = digestOf(ordered.map(blockIdOf));
    const { found, isCached } = await this.find(ordered, run);
    const { version } = found;
    this.combined.inc(found.places.ends.length);
    const inPlace = planSearch(
      ordered.flatMap((source, i) => sourceInPlace(source, i, found)),
      targetBytesPerJob,
      scanThreads,
      bytesPerTrace,
    ).sort(byNewest);
    // what lacks the traces of a source is not what others mean by the name
    const isKept = found.failures.length === 0;
    const wholeSources = { name: isKept ? name : undefined, version, sources: ordered };
    const whole = planWhole(wholeSources, found, scanThreads);
    return {
      jobs: [...inPlace, ...whole].sort(byNewest),
      inPlace,
      whole,
      chooseWhole: (choice) => {
        const some = chooseWhole(ordered, found, choice);
        if (some === undefined) return whole;
        return planWhole({ name: undefined, version, sources: ordered }, some, scanThreads);
      },
      inspectedBytes: isCached ? 0 : found.inspectedBytes,
      failures: found.failures,
    };
  }

  /**
   * Jobs over sources in which a trace may be in part, for what does not depend on whole traces. Sources that
   * have nothing of their own are left out, as far as no block has to be read to know that.
   */
  async planApart(sources: readonly SourceRef[], run: RunOptions): Promise<QueryPlan> {
    const { targetBytesPerJob, scanThreads } = this.options;
    const copies = await this.copies(sources, run);
    const own = sources.filter((source) => !copies.has(blockIdOf(source)));
    return apart(planSearch(own, targetBytesPerJob, scanThreads));
  }

  /** Ids of sources whose traces are all in others. */
  private async copies(sources: readonly SourceRef[], run: RunOptions): Promise<ReadonlySet<string>> {
    const all = inOrder(sources);
    const remote = all.filter(({ kind }) => kind === 'remote');
    let known = this.known(all);
    let named = all;
    if (known === undefined && remote.length > 1) {
      ({ found: known } = await this.find(remote, run));
      named = remote;
    }
    return new Set(named.filter((_, i) => known !== undefined && isCopy(known, i)).map(blockIdOf));
  }

  /** What was found for the same sources. */
  private known(sources: readonly ScanSource[]): SharedTracesJobResult | undefined {
    const key = keyOf(sources);
    const parts = idRanges(sources, this.options.idsPerJob).map((_, i) =>
      this.cache.get<SharedTracesJobResult>(`${key}/${i}`),
    );
    return parts.every((part) => part !== undefined) ? joinShared(parts) : undefined;
  }

  private async find(
    sources: readonly ScanSource[],
    run: RunOptions,
  ): Promise<{ readonly found: SharedTracesJobResult; readonly isCached: boolean }> {
    const key = keyOf(sources);
    let isCached = true;
    const parts = await Promise.all(
      idRanges(sources, this.options.idsPerJob).map(async (range, i) => {
        const cached = this.cache.get<SharedTracesJobResult>(`${key}/${i}`);
        if (cached !== undefined) return cached;
        const find = (): Promise<SharedTracesJobResult> => {
          isCached = false;
          return this.findIn(sources, range, run);
        };
        const found = await this.running.run(`${key}/${i}`, find, run.signal);
        if (found.failures.length === 0)
          this.cache.set(`${key}/${i}`, found, resultBytes(found) + key.length);
        return found;
      }),
    );
    return { found: joinShared(parts), isCached };
  }

  private async findIn(
    sources: readonly ScanSource[],
    range: readonly [number, number],
    run: RunOptions,
  ): Promise<SharedTracesJobResult> {
    const found = await this.options.pool.run({ kind: 'sharedTraces', sources, range }, run);
    if (found.kind !== 'sharedTraces') throw new Error('a job for shared traces answered as something else');
    return found;
  }
}

function apart(jobs: readonly PlannedJob[]): QueryPlan {
  return { jobs, inPlace: jobs, whole: [], chooseWhole: () => [], inspectedBytes: 0, failures: [] };
}

/** What may have the newest traces first. */
function byNewest({ newestStart: a }: PlannedJob, { newestStart: b }: PlannedJob): number {
  return a > b ? -1 : a < b ? 1 : 0;
}

/** Parts of all ids, of about so many. */
function idRanges(sources: readonly ScanSource[], idsPerJob: number): (readonly [number, number])[] {
  let count = 0;
  for (const source of sources) {
    count += source.kind === 'block' ? source.meta.totalObjects : (source.traceCount ?? 0);
  }
  const parts = Math.max(1, Math.ceil(count / idsPerJob));
  const bound = (i: number): number => Math.floor((ID_PREFIXES * i) / parts);
  return Array.from({ length: parts }, (_, i) => [bound(i), bound(i + 1)] as const);
}

function inOrder(sources: readonly SourceRef[]): readonly ScanSource[] {
  return [...sources].sort((a, b) => (blockIdOf(a) < blockIdOf(b) ? -1 : 1)).map(asOfNow);
}

/** Of what is known about sources: their ids and what they hold. */
function keyOf(sources: readonly ScanSource[]): string {
  return digestOf(sources.map(blockIdOf)) + sources.map(versionOf).join();
}

function digestOf(names: readonly string[]): string {
  return createHash('sha256').update(names.join()).digest('base64');
}

/** Whatever reads the head from now on, it is about the traces that are there. */
function asOfNow(source: SourceRef): ScanSource {
  if (source.kind === 'head') return { ...source, traceCount: headCounts(source.sab).traces };
  return source.kind === 'remote' ? { ...source, traceCount: source.table.traceCount } : source;
}

/**
 * Blocks never change, heads grow. With the count, because a head may grow after its traces are counted and
 * before its version is read: what is kept for fewer traces must not answer for more.
 */
function versionOf(source: ScanSource): string {
  if (source.kind === 'remote') return source.version;
  return source.kind === 'head' ? `${headVersion(source.sab)}/${source.traceCount}` : '';
}

/** All that the source has is evaluated elsewhere, in place. */
function isCopy({ without, apart: parts, traceCounts }: SharedTracesJobResult, i: number): boolean {
  const { length } = without[i]!;
  return length > 0 && length === traceCounts[i] && parts[i]!.length === 0;
}

/** The source without the traces that are evaluated elsewhere; nothing when that is all of them. */
function sourceInPlace(source: SourceRef, i: number, found: SharedTracesJobResult): DatedSource[] {
  if (isCopy(found, i)) return [];
  const without = found.without[i]!;
  const parts = found.apart[i]!;
  const traceCount = found.traceCounts[i]!;
  const newestStart = found.newestStarts[i]!;
  if (source.kind !== 'block') return [{ ...source, without, apart: parts, traceCount, newestStart }];
  if (without.length === 0) return [{ ...source, newestStart }];
  return [{ ...source, without, apart: parts, newestStart }];
}

function resultBytes(result: SharedTracesJobResult): number {
  const { without, apart: parts, places, startMicros, endMicros } = result;
  const arrays = [...without, ...parts, places.ends, places.source, places.row, startMicros, endMicros];
  return arrays.reduce((sum, array) => sum + array.byteLength, ENTRY_BYTES);
}

/** What was found for ranges of ids, in their order. */
function joinShared(parts: readonly SharedTracesJobResult[]): SharedTracesJobResult {
  const [first] = parts;
  if (parts.length === 1) return first!;
  let places = 0;
  const ends = parts.map((part) => {
    const shifted = part.places.ends.map((end) => end + places);
    places += part.places.row.length;
    return shifted;
  });
  return {
    kind: 'sharedTraces',
    without: first!.without.map((_, i) => joined(parts.map(({ without }) => without[i]!)).sort()),
    apart: first!.apart.map((_, i) => joined(parts.map((part) => part.apart[i]!)).sort()),
    startMicros: Float64Array.from(parts.flatMap(({ startMicros }) => [...startMicros])),
    endMicros: Float64Array.from(parts.flatMap(({ endMicros }) => [...endMicros])),
    traceCounts: first!.traceCounts,
    newestStarts: first!.newestStarts.map((_, i) => Math.max(...parts.map((part) => part.newestStarts[i]!))),
    places: {
      ends: joined(ends),
      source: joined(parts.map((part) => part.places.source)),
      row: joined(parts.map((part) => part.places.row)),
    },
    version: parts.map((part) => part.version).join(),
    inspectedBytes: parts.reduce((sum, part) => sum + part.inspectedBytes, 0),
    failures: parts.flatMap(({ failures }) => failures),
  };
}

/** In shared memory, as the parts are. */
function joined(parts: readonly Int32Array[]): Int32Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const all = new Int32Array(new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
