// What a scan thread does with a job: searches its sources, or finds one trace in them.
import { resourceSpansJson } from '../api/trace-json.ts';
import { traceLlmJson } from '../api/trace-llm.ts';
import type { BlockMeta } from '../block/meta.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import { cutTrace } from '../model/otlp/cut-trace.ts';
import { separateSharedIds } from '../model/otlp/shared-span-ids.ts';
import { IntList } from '../lib/int-list.ts';
import { parse } from '../traceql/parser.ts';
import { neededValues } from '../traceql/engine/needed-values.ts';
import { looksAtSpansOnly } from '../traceql/engine/span-queries.ts';
import { isNewestFirst } from '../traceql/engine/order.ts';
import { type FoundTrace, type SearchOptions, searchSource } from '../traceql/engine/search.ts';
import type { SpanSource } from '../traceql/source.ts';
import { BlockOpener, type CachedParts } from './block-opener.ts';
import { JobReports } from './job-reports.ts';
import { finishMetrics, joinMetrics, scanMetrics } from './metrics-job.ts';
import { firstFound, packFound } from './pack.ts';
import type {
  QueryInput,
  ScanFailure,
  ScanJob,
  ScanResult,
  SearchJob,
  SearchJobResult,
  TraceJob,
  TraceJobResult,
} from './scan-job.ts';
import { findSharedTraces } from './shared-traces.ts';
import { findTraceParts } from './trace-parts.ts';
import { readTraceParts, readTraceTable } from './trace-table.ts';
import { type ApartTraces, newCombineHead, openHead, type WalkSources, walkSources } from './source-walk.ts';
import { scanTagNames, scanTagValues } from './tag-scan.ts';

const MICROS_PER_SECOND = 1e6;

export interface ScannerOptions {
  readonly local: ObjectStore;
  readonly backend: ObjectStore;
  /** Is each read of the backend a request over the network? */
  readonly isRemote?: boolean;
  readonly cacheBytes: number;
  readonly cached?: CachedParts | undefined;
  readonly nowMs?: () => number;
}

/** Remote blocks in which a trace is looked for at a time. */
const REMOTE_BLOCKS_AT_ONCE = 32;

export class Scanner {
  private readonly blocksAtOnce: number;
  readonly blocks: BlockOpener;

  constructor(options: ScannerOptions) {
    this.blocks = new BlockOpener(options);
    this.blocksAtOnce = options.isRemote === true ? REMOTE_BLOCKS_AT_ONCE : 1;
  }

  /** A job over blocks that cannot be decoded is done once more, past the caches. */
  async run(job: ScanJob, signal: AbortSignal): Promise<ScanResult> {
    const result = await this.counted(job, signal);
    const damaged = damagedBlocks(job, result);
    const isOfUse = damaged.length > 0 && (await this.blocks.distrust(damaged));
    return isOfUse ? this.counted(job, signal) : result;
  }

  /** With what opening blocks has read. */
  private async counted(job: ScanJob, signal: AbortSignal): Promise<ScanResult> {
    const before = this.blocks.ownBytesRead;
    const result = await this.attempt(job, signal);
    if (!('inspectedBytes' in result)) return result;
    return { ...result, inspectedBytes: result.inspectedBytes + this.blocks.ownBytesRead - before };
  }

  private async attempt(job: ScanJob, signal: AbortSignal): Promise<ScanResult> {
    if (job.kind === 'trace') return this.trace(job, signal);
    if (job.kind === 'tagNames') return scanTagNames(job, this.walker(job, signal), signal);
    if (job.kind === 'tagValues') return scanTagValues(job, this.walker(job, signal), signal);
    if (job.kind === 'sharedTraces') return findSharedTraces(this.blocks, job, signal);
    if (job.kind === 'traceTable') return readTraceTable(this.blocks, job, signal);
    if (job.kind === 'traceParts') return readTraceParts(this.blocks, job, signal);
    if (job.kind === 'metrics') return scanMetrics(job, this.walker(job, signal), signal);
    if (job.kind === 'joinMetrics') return joinMetrics(job, signal);
    if (job.kind === 'finishMetrics') return finishMetrics(job, signal);
    return this.search(job, signal);
  }

  private async search(job: SearchJob, signal: AbortSignal): Promise<SearchJobResult> {
    const query = parse(job.query);
    const totals = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
    const reports = job.isExplained === true ? new JobReports() : undefined;
    let found: FoundTrace[] = [];
    let hasMore = false;
    const isNewest = job.order === undefined || isNewestFirst(job.order);
    // in a job of several sources nobody could tell whose rows they are
    const checked = job.areTimesChecked === true ? blockMetaOf(job) : undefined;
    let areTimely = checked !== undefined;
    const matchedApart = looksAtSpansOnly(query) && job.sources.length === 1 ? new IntList(0) : undefined;
    const apartOf = (apart: ApartTraces | undefined) =>
      matchedApart === undefined ? {} : { apartTraces: apart?.traces };
    const keepFirst = (): void => {
      hasMore ||= found.length > job.limit;
      found = firstFound(found, job.limit, job.order);
    };
    const walk = this.walker(job, signal);
    const spare = (blockId: string): void => reports?.spare(blockId);
    const failures = await walk(async (source, excluded, apart) => {
      const isFull = hasMore && isNewest && found.length >= job.limit;
      const notBeforeUnixNano = isFull ? found[job.limit - 1]?.startUnixNano : job.notBeforeUnixNano;
      const options = {
        ...searchOptions(job, signal),
        notBeforeUnixNano,
        excludeTraces: excluded,
        ...apartOf(apart),
      };
      const outcome = await (reports === undefined
        ? searchSource(query, source, options)
        : reports.note(source, (noted) => searchSource(query, noted, options)));
      if (checked !== undefined) areTimely &&= await overlapAll(source, checked, signal);
      for (const trace of outcome.found) found.push(trace);
      for (const trace of outcome.matchedApart) matchedApart?.push(trace + (apart?.firstRow ?? 0));
      if (found.length >= job.limit) keepFirst();
      hasMore ||= outcome.hasMore;
      totals.inspectedTraces += outcome.inspectedTraces;
      totals.inspectedSpans += outcome.inspectedSpans;
      totals.inspectedBytes += outcome.inspectedBytes;
    }, spare);
    keepFirst();
    const packed = packFound(found, job.format);
    const rows = matchedApart?.view().slice();
    const outcome = { found: packed, hasMore, matchedApart: rows, areTimely, report: reports?.job() };
    return { kind: 'search', ...outcome, ...totals, failures };
  }

  private async trace(job: TraceJob, signal: AbortSignal): Promise<TraceJobResult> {
    const failures: ScanFailure[] = [];
    const { found, hasRepeats, inspectedBytes } = await findTraceParts(
      this.blocks,
      job,
      this.blocksAtOnce,
      failures,
      signal,
    );
    const parts = [...(job.parts ?? []), ...found];
    const whole = parts.length > 1 || hasRepeats ? await combineParts(parts, job.id) : parts[0];
    if (whole === undefined) return { kind: 'trace', trace: whole, isCut: false, inspectedBytes, failures };
    const isCut = job.bytesMax > 0 && whole.length > job.bytesMax;
    const kept = isCut ? cutTrace(whole, job.bytesMax) : whole;
    return { kind: 'trace', trace: formatted(kept, job.format), isCut, inspectedBytes, failures };
  }

  private walker(job: QueryInput & { readonly query: string | undefined }, signal: AbortSignal): WalkSources {
    const needed = job.query === undefined ? [] : neededValues(parse(job.query));
    return (visit, spare) => walkSources(this.blocks, job, needed, visit, signal, spare);
  }
}

/** Blocks of the backend that the job could not decode. */
function damagedBlocks(job: ScanJob, result: ScanResult): readonly BlockMeta[] {
  if (!('failures' in result) || result.failures.length === 0) return [];
  const corrupt = result.failures.filter(({ code }) => code === 'block_corrupt').map(({ source }) => source);
  const whole = 'whole' in job ? (job.whole?.sources ?? []) : [];
  const metas = [...job.sources, ...whole].flatMap((ref) =>
    ref.kind === 'block' && ref.location === 'backend' && corrupt.includes(ref.meta.blockId) ? ref.meta : [],
  );
  return [...new Map(metas.map((meta) => [meta.blockId, meta])).values()];
}

/** The parts come together in a head, where a span counts once. */
async function combineParts(parts: readonly Uint8Array[], id: Uint8Array): Promise<Uint8Array | undefined> {
  const head = newCombineHead();
  for (const part of parts) head.append(part, 0, part.length);
  return openHead(head.sab, 'combined').trace(id);
}

function formatted(trace: Uint8Array, format: TraceJob['format']): Uint8Array {
  if (format === 'part') return trace;
  const separated = separateSharedIds(trace);
  if (format === 'proto') return separated;
  return encodeText(format === 'json' ? resourceSpansJson(separated) : traceLlmJson(separated));
}

function searchOptions(job: SearchJob, signal: AbortSignal): SearchOptions {
  const { startSec, endSec } = job.range;
  return {
    limit: job.limit,
    order: job.order,
    after: job.after,
    spansPerSpanSet: job.spansPerSpanSet,
    ...(startSec === undefined ? {} : { startUnixNano: BigInt(startSec) * 1_000_000_000n }),
    ...(endSec === undefined ? {} : { endUnixNano: BigInt(endSec) * 1_000_000_000n }),
    signal,
  };
}

function blockMetaOf({ sources: [source] }: SearchJob): BlockMeta | undefined {
  return source?.kind === 'block' ? source.meta : undefined;
}

/** Does each trace overlap the time range that the block says it has? */
async function overlapAll(
  source: SpanSource,
  { startSec, endSec }: BlockMeta,
  signal: AbortSignal,
): Promise<boolean> {
  const { startMicros, endMicros } = await source.traceTimes(signal);
  const from = startSec * MICROS_PER_SECOND;
  const to = endSec * MICROS_PER_SECOND;
  for (let i = 0; i < source.traceCount; i++) if (startMicros[i]! > to || endMicros[i]! < from) return false;
  return true;
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
