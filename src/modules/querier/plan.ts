// Which sources a query reads and how they are cut into jobs for scan threads. No I/O here.
import type { BlockMeta } from '../../block/meta.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import type { QueryInput, ScanSource, SharedTracesJobResult } from '../../store/scan-job.ts';

export interface PlannedJob {
  readonly input: QueryInput;
  /** Jobs over the same bytes have the same number, so that a thread's cache helps the next query. */
  readonly affinity: number;
  /** A microsecond since 1970 that no trace of it starts after; Infinity = unknown. */
  readonly newestStart: number;
}

/** A source in place, and what is known of its newest trace. */
export type DatedSource = ScanSource & { readonly newestStart?: number };

/** Fewer traces are not worth another job. */
const WHOLE_TRACES_PER_JOB_MIN = 64;

/** Sources by block id, each once: heads and local blocks win over the backend's copy. */
export function distinctSources(recent: readonly SourceRef[], backend: readonly BlockMeta[]): SourceRef[] {
  const byId = new Map<string, SourceRef>();
  for (const source of recent) {
    const id = blockIdOf(source);
    // A finished block says more than the head it came from: it can be read in parallel.
    if (!byId.has(id) || source.kind === 'block') byId.set(id, source);
  }
  for (const meta of backend) {
    if (!byId.has(meta.blockId)) byId.set(meta.blockId, { kind: 'block', meta, location: 'backend' });
  }
  return [...byId.values()];
}

export function blockIdOf(source: SourceRef): string {
  return source.kind === 'head' ? source.blockId : source.meta.blockId;
}

/** One job a head; blocks in runs of row groups of about `targetBytes`. */
export function planSearch(sources: readonly DatedSource[], targetBytes: number): PlannedJob[] {
  const jobs: PlannedJob[] = [];
  for (const { newestStart = Infinity, ...source } of sources) {
    const affinity = hashText(blockIdOf(source));
    if (source.kind === 'head') {
      jobs.push({ input: { sources: [source] }, affinity, newestStart });
      continue;
    }
    const { totalRecords, sizeBytes } = source.meta;
    const groups = Math.max(1, Math.floor(targetBytes / Math.max(1, sizeBytes / Math.max(1, totalRecords))));
    for (let from = 0, run = 0; from < totalRecords; from += groups, run++) {
      const rowGroups = [from, Math.min(totalRecords, from + groups)] as const;
      jobs.push({ input: { sources: [{ ...source, rowGroups }] }, affinity: affinity + run, newestStart });
    }
  }
  return jobs;
}

/** Jobs that bring the traces at these places together: ranges of them, so that every thread has some. */
export function planWhole(
  sources: readonly SourceRef[],
  { places, newestStarts }: Pick<SharedTracesJobResult, 'places' | 'newestStarts'>,
  threads: number,
): PlannedJob[] {
  const count = places.ends.length;
  const jobs = Math.min(threads, Math.ceil(count / WHOLE_TRACES_PER_JOB_MIN));
  const newestStart = places.source.reduce((max, source) => Math.max(max, newestStarts[source]!), -Infinity);
  return Array.from({ length: jobs }, (_, i) => {
    const range = [Math.floor((count * i) / jobs), Math.floor((count * (i + 1)) / jobs)] as const;
    const input = { sources: [], whole: { sources, places, range } };
    return { input, affinity: i, newestStart };
  });
}

/** Sources spread over at most `jobsMax` jobs, each with at least a few. */
export function planTrace(sources: readonly SourceRef[], jobsMax: number): PlannedJob[] {
  const SOURCES_PER_JOB_MIN = 8;
  const jobs = Math.max(1, Math.min(jobsMax, Math.ceil(sources.length / SOURCES_PER_JOB_MIN)));
  const parts: ScanSource[][] = Array.from({ length: jobs }, () => []);
  for (const source of sources) parts[hashText(blockIdOf(source)) % jobs]!.push(source);
  return parts
    .map((part, affinity) => ({ input: { sources: part }, affinity, newestStart: Infinity }))
    .filter(({ input }) => input.sources.length > 0);
}

function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 1) & 0xffffff;
}
