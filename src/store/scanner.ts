// What a scan thread does with a job: finds the sources, searches each, combines traces that lie in several.
import { HeadBuilder } from '../block/head/builder.ts';
import { HeadReader } from '../block/head/reader.ts';
import { HeadSource } from '../block/head/source.ts';
import { resourceSpansJson } from '../api/trace-json.ts';
import { traceLlmJson } from '../api/trace-llm.ts';
import { TempoError } from '../lib/errors.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import { cutTrace } from '../model/otlp/cut-trace.ts';
import { separateSharedIds } from '../model/otlp/shared-span-ids.ts';
import { parse } from '../traceql/parser.ts';
import { type FoundTrace, type SearchOptions, searchSource } from '../traceql/engine/search.ts';
import type { SpanSource } from '../traceql/source.ts';
import { BlockOpener } from './block-opener.ts';
import { IdSet } from './id-set.ts';
import { firstFound, packFound } from './pack.ts';
import type {
  ScanFailure,
  ScanJob,
  ScanResult,
  ScanSource,
  SearchJob,
  SearchJobResult,
  TraceJob,
  TraceJobResult,
} from './scan-job.ts';
import { scanTagNames, scanTagValues, type VisitSources } from './tag-scan.ts';

export interface ScannerOptions {
  readonly local: ObjectStore;
  readonly backend: ObjectStore;
  readonly cacheBytes: number;
}

/** Address space for the head in which the parts of one trace come together. */
const COMBINE_HEAD_BYTES = 1024 * 1024 * 1024;

/** Where a part of a trace is. */
interface Place {
  readonly ref: ScanSource;
  readonly source: SpanSource;
}

export class Scanner {
  readonly blocks: BlockOpener;

  constructor(options: ScannerOptions) {
    this.blocks = new BlockOpener(options);
  }

  run(job: ScanJob, signal: AbortSignal): Promise<ScanResult> {
    if (job.kind === 'trace') return this.trace(job, signal);
    if (job.kind === 'tagNames') return scanTagNames(job, this.visitor(job, signal), signal);
    if (job.kind === 'tagValues') return scanTagValues(job, this.visitor(job, signal), signal);
    return job.combine === undefined ? this.search(job, signal) : this.combine(job, job.combine, signal);
  }

  private async search(job: SearchJob, signal: AbortSignal): Promise<SearchJobResult> {
    const query = parse(job.query);
    const totals = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
    const found: FoundTrace[] = [];
    const failures: ScanFailure[] = [];
    let hasMore = false;
    for (const ref of job.sources) {
      await guarded(ref, failures, async () => {
        for (const source of await this.sourcesOf(ref, signal)) {
          const outcome = await searchSource(query, source, searchOptions(job, signal));
          for (const trace of outcome.found) found.push(trace);
          hasMore ||= outcome.hasMore;
          totals.inspectedTraces += outcome.inspectedTraces;
          totals.inspectedSpans += outcome.inspectedSpans;
          totals.inspectedBytes += outcome.inspectedBytes;
        }
      });
    }
    const first = firstFound(found, job.limit, job.order);
    return {
      kind: 'search',
      found: packFound(first, job.format),
      hasMore: hasMore || found.length > first.length,
      combined: new Uint8Array(0),
      ...totals,
      failures,
    };
  }

  /** Of the given traces, those that lie in several sources: their parts in one head, searched there. */
  private async combine(job: SearchJob, ids: Uint8Array, signal: AbortSignal): Promise<SearchJobResult> {
    const failures: ScanFailure[] = [];
    const wanted = new IdSet(ids);
    const places: Place[][] = Array.from({ length: wanted.size }, () => []);
    for (const ref of job.sources) {
      await guarded(ref, failures, async () => {
        for (const source of await this.sourcesOf(ref, signal)) {
          const { ids: present } = await source.traceIds(signal);
          for (let at = 0; at < present.length; at += 16) {
            const i = wanted.indexOf(present, at);
            if (i >= 0) places[i]!.push({ ref, source });
          }
        }
      });
    }
    const head = new HeadBuilder({ maxBytes: COMBINE_HEAD_BYTES });
    const combined: Uint8Array[] = [];
    for (let i = 0; i < places.length; i++) {
      if (places[i]!.length < 2) continue;
      const id = ids.subarray(16 * i, 16 * i + 16);
      combined.push(id);
      for (const { ref, source } of places[i]!) {
        await guarded(ref, failures, async () => {
          const part = await source.trace(id, signal);
          if (part !== undefined) head.append(part, 0, part.length);
        });
      }
    }
    let found: readonly FoundTrace[] = [];
    let hasMore = false;
    if (combined.length > 0) {
      const source = new HeadSource(new HeadReader(head.sab), 'combined');
      ({ found, hasMore } = await searchSource(parse(job.query), source, searchOptions(job, signal)));
    }
    const totals = { inspectedTraces: 0, inspectedSpans: 0, inspectedBytes: 0 };
    const bytes = new Uint8Array(Buffer.concat(combined));
    const packed = packFound(found, job.format);
    return { kind: 'search', found: packed, hasMore, combined: bytes, ...totals, failures };
  }

  private async trace(job: TraceJob, signal: AbortSignal): Promise<TraceJobResult> {
    const failures: ScanFailure[] = [];
    const parts: Uint8Array[] = [...(job.parts ?? [])];
    let inspectedBytes = 0;
    for (const ref of job.sources) {
      await guarded(ref, failures, async () => {
        const { part, bytesRead } = await this.findIn(ref, job.id, signal);
        inspectedBytes += bytesRead;
        if (part !== undefined) parts.push(part);
      });
    }
    const whole = parts.length > 1 ? await combineParts(parts, job.id) : parts[0];
    if (whole === undefined) return { kind: 'trace', trace: whole, isCut: false, inspectedBytes, failures };
    const isCut = job.bytesMax > 0 && whole.length > job.bytesMax;
    const kept = isCut ? cutTrace(whole, job.bytesMax) : whole;
    return { kind: 'trace', trace: formatted(kept, job.format), isCut, inspectedBytes, failures };
  }

  private async findIn(
    ref: ScanSource,
    id: Uint8Array,
    signal: AbortSignal,
  ): Promise<{ readonly part: Uint8Array | undefined; readonly bytesRead: number }> {
    if (ref.kind === 'head') {
      const part = await openHead(ref.sab, ref.blockId).trace(id);
      return { part, bytesRead: part?.length ?? 0 };
    }
    const block = await this.blocks.open(ref.meta, ref.location, signal);
    return block.findTrace(id, signal);
  }

  /** Calls its argument for every source that can be opened; what cannot be read is told. */
  private visitor(job: ScanJob, signal: AbortSignal): VisitSources {
    return async (visit) => {
      const failures: ScanFailure[] = [];
      for (const ref of job.sources) {
        await guarded(ref, failures, async () => {
          for (const source of await this.sourcesOf(ref, signal)) await visit(source);
        });
      }
      return failures;
    };
  }

  private async sourcesOf(ref: ScanSource, signal: AbortSignal): Promise<readonly SpanSource[]> {
    if (ref.kind === 'head') return [openHead(ref.sab, ref.blockId)];
    const block = await this.blocks.open(ref.meta, ref.location, signal);
    return block.rowGroups.slice(...(ref.rowGroups ?? []));
  }
}

function openHead(sab: SharedArrayBuffer, blockId: string): HeadSource {
  return new HeadSource(new HeadReader(sab), blockId);
}

/** The parts come together in a head, where a span counts once. */
async function combineParts(parts: readonly Uint8Array[], id: Uint8Array): Promise<Uint8Array | undefined> {
  const head = new HeadBuilder({ maxBytes: COMBINE_HEAD_BYTES });
  for (const part of parts) head.append(part, 0, part.length);
  return new HeadSource(new HeadReader(head.sab), 'combined').trace(id);
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

/** A source that cannot be read is told, and the others are read. A cancelled job ends. */
async function guarded(ref: ScanSource, failures: ScanFailure[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (err) {
    if (!(err instanceof TempoError) || (err.code !== 'block_corrupt' && err.code !== 'not_found')) throw err;
    const source = ref.kind === 'head' ? ref.blockId : ref.meta.blockId;
    failures.push({ source, code: err.code, message: err.message });
  }
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
