// Which sources a query reads and how they are cut into jobs for scan threads. No I/O here.
import { headCounts } from '../../block/head/reader.ts';
import type { BlockMeta } from '../../block/meta.ts';
import type { SearchQuery } from '../../contracts/query.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import type { QueryInput, ScanSource, SharedTracesJobResult, WholeTraces } from '../../store/scan-job.ts';

export interface PlannedJob {
  readonly input: QueryInput;
  /** Jobs over the same bytes have the same number, so that a thread's cache helps the next query. */
  readonly affinity: number;
  /** A microsecond since 1970 that no trace of it starts after; Infinity = unknown. */
  readonly newestStart: number;
}

/** A source in place, and what is known of its newest trace. */
export type DatedSource = ScanSource & { readonly newestStart?: number };

/** A block is shared by threads when each of them has that much of it. */
const SHARED_JOB_BYTES_MIN = 8 << 20;

/** Fewer traces are not worth another job. */
const WHOLE_TRACES_PER_JOB_MIN = 64;

/**
 * Sources by block id, each once: heads and local blocks win over the backend's copy.
 * @param isReplaced what was compacted meanwhile: its spans are in another block of the backend.
 */
export function distinctSources(
  recent: readonly SourceRef[],
  backend: readonly BlockMeta[],
  isReplaced: (blockId: string) => boolean = () => false,
): SourceRef[] {
  const byId = new Map<string, SourceRef>();
  for (const source of recent) {
    const id = blockIdOf(source);
    if (isReplaced(id)) continue;
    // A finished block says more than the head it came from: it can be read in parallel.
    if (!byId.has(id) || source.kind === 'block') byId.set(id, source);
  }
  for (const meta of backend) {
    if (!byId.has(meta.blockId)) byId.set(meta.blockId, { kind: 'block', meta, location: 'backend' });
  }
  return [...byId.values()];
}

export function blockIdOf(source: SourceRef): string {
  return source.kind === 'block' ? source.meta.blockId : source.blockId;
}

/** A job answers with about so much at most, where a row group does not have more. */
const ANSWER_BYTES_PER_JOB = 16 << 20;

/**
 * One job a head; blocks in runs of row groups of at most about `targetBytes`, and so many that every
 * thread has some of a block that is not small. A block is always cut in the same way, whatever else is
 * read, so that threads have in their caches what they need. Runs whose answer may be large are several jobs
 * of the same thread: what a job answers is in memory twice.
 */
export function planSearch(
  sources: readonly DatedSource[],
  targetBytes: number,
  threads: number,
  bytesPerTrace = 0,
): PlannedJob[] {
  const jobs: PlannedJob[] = [];
  for (const { newestStart = Infinity, ...source } of sources) {
    const affinity = hashText(blockIdOf(source));
    if (source.kind !== 'block') {
      jobs.push({ input: { sources: [source] }, affinity, newestStart });
      continue;
    }
    const runs =
      source.rowGroups === undefined ? rowGroupRuns(source.meta, targetBytes, threads) : [source.rowGroups];
    const groupBytes = (source.meta.totalObjects * bytesPerTrace) / Math.max(1, source.meta.totalRecords);
    runs.forEach((run, i) => {
      for (const rowGroups of piecesOf(run, groupBytes)) {
        jobs.push({ input: { sources: [{ ...source, rowGroups }] }, affinity: affinity + i, newestStart });
      }
    });
  }
  return jobs;
}

/** A run of row groups, in pieces where each of these answers with so many bytes. */
function piecesOf([from, to]: readonly [number, number], groupBytes: number): (readonly [number, number])[] {
  const groups = groupBytes > 0 ? Math.max(1, Math.floor(ANSWER_BYTES_PER_JOB / groupBytes)) : Infinity;
  const pieces: (readonly [number, number])[] = [];
  for (let at = from; at < to; at += groups) pieces.push([at, Math.min(to, at + groups)]);
  return pieces;
}

/** Ranges [from, to) of the row groups of a block, of nearly equal size. */
function rowGroupRuns(
  { totalRecords, sizeBytes }: BlockMeta,
  targetBytes: number,
  threads: number,
): (readonly [number, number])[] {
  const groupsMax = Math.max(1, Math.floor((targetBytes * totalRecords) / Math.max(1, sizeBytes)));
  const shares = Math.min(threads, Math.floor(sizeBytes / SHARED_JOB_BYTES_MIN));
  const runs = Math.min(totalRecords, Math.max(shares, Math.ceil(totalRecords / groupsMax)));
  return Array.from({ length: runs }, (_, i) => {
    return [Math.floor((totalRecords * i) / runs), Math.floor((totalRecords * (i + 1)) / runs)] as const;
  });
}

/** Jobs that bring the traces at these places together: ranges of them, so that every thread has some. */
export function planWhole(
  sources: Pick<WholeTraces, 'name' | 'version' | 'sources'>,
  { places, newestStarts }: Pick<SharedTracesJobResult, 'places' | 'newestStarts'>,
  threads: number,
): PlannedJob[] {
  const count = places.ends.length;
  const jobs = Math.min(threads, Math.ceil(count / WHOLE_TRACES_PER_JOB_MIN));
  const newestStart = places.source.reduce((max, source) => Math.max(max, newestStarts[source]!), -Infinity);
  return Array.from({ length: jobs }, (_, i) => {
    const range = [Math.floor((count * i) / jobs), Math.floor((count * (i + 1)) / jobs)] as const;
    const input = { sources: [], whole: { ...sources, places, range } };
    return { input, affinity: i, newestStart };
  });
}

/** Bytes of a block for each of its spans. */
export const BLOCK_BYTES_PER_SPAN = 90;
/** Bytes of an answer for each trace and each span that it shows. */
const ANSWER_BYTES_PER_TRACE = 400;
const ANSWER_BYTES_PER_SPAN = 200;

/** Of any search that the limits allow, which are none where they are 0. */
export function largestAnswerBytes(limit: number, spansPerSpanSet: number): number {
  const bytesPerTrace = ANSWER_BYTES_PER_TRACE + (spansPerSpanSet || Infinity) * ANSWER_BYTES_PER_SPAN;
  return (limit || Infinity) * bytesPerTrace;
}

export interface AnswerSize {
  readonly bytes: number;
  /** For each trace that is looked at. */
  readonly bytesPerTrace: number;
}

/** Roughly what a search may answer with, if all that there is matches. */
export function answerSize(
  sources: readonly SourceRef[],
  { limit, spansPerSpanSet }: Pick<SearchQuery, 'limit' | 'spansPerSpanSet'>,
): AnswerSize {
  let traces = 0;
  let spans = 0;
  for (const source of sources) {
    const counts = countsOf(source);
    traces += counts.traces;
    spans += counts.spans;
  }
  if (traces === 0) return { bytes: 0, bytesPerTrace: 0 };
  const shown = spansPerSpanSet > 0 ? Math.min(spansPerSpanSet, spans / traces) : spans / traces;
  const bytes = Math.ceil(Math.min(limit, traces) * (ANSWER_BYTES_PER_TRACE + shown * ANSWER_BYTES_PER_SPAN));
  return { bytes, bytesPerTrace: bytes / traces };
}

function countsOf(source: SourceRef): { readonly traces: number; readonly spans: number } {
  if (source.kind === 'head') return headCounts(source.sab);
  if (source.kind === 'block') return blockCounts(source.meta);
  return { traces: source.table.traceCount, spans: source.spanCount };
}

function blockCounts({ totalObjects, sizeBytes }: BlockMeta): {
  readonly traces: number;
  readonly spans: number;
} {
  return { traces: totalObjects, spans: sizeBytes / BLOCK_BYTES_PER_SPAN };
}

/** Sources spread over at most `jobsMax` jobs, each with at least a few. */
export function planTrace(sources: readonly SourceRef[], jobsMax: number): PlannedJob[] {
  // Copies are compared within a job.
  const SOURCES_PER_JOB_MIN = 32;
  const jobs = Math.max(1, Math.min(jobsMax, Math.floor(sources.length / SOURCES_PER_JOB_MIN)));
  const parts: ScanSource[][] = Array.from({ length: jobs }, () => []);
  const elsewhere = Map.groupBy(
    sources.filter((source) => source.kind === 'remote'),
    ({ session }) => session,
  );
  for (const source of sources) {
    if (source.kind !== 'remote') parts[hashText(blockIdOf(source)) % jobs]!.push(source);
  }
  // Whoever has sources looks into all of them.
  return [...parts, ...elsewhere.values()]
    .map((part, affinity) => ({ input: { sources: part }, affinity, newestStart: Infinity }))
    .filter(({ input }) => input.sources.length > 0);
}

function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 1) & 0xffffff;
}
