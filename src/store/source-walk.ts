// The one way in which jobs go over what a query reads: each source in place, without the traces that lie in
// several, then these, brought together in heads. A visitor sees every span of the job once.
import { HeadBuilder } from '../block/head/builder.ts';
import { HeadReader } from '../block/head/reader.ts';
import { HeadSource } from '../block/head/source.ts';
import type { StoredSpans } from '../block/stored-spans.ts';
import { Bitset } from '../lib/bitset.ts';
import type { ByteLru } from '../lib/lru.ts';
import { lowerBound } from '../lib/lower-bound.ts';
import { TempoError } from '../lib/errors.ts';
import type { NeededValues } from '../traceql/engine/needed-values.ts';
import type { SourceMemo, SpanSource } from '../traceql/source.ts';
import type { BlockOpener } from './block-opener.ts';
import { RemoteTraces } from './remote-traces.ts';
import type { QueryInput, ScanFailure, ScanSource, WholeTraces } from './scan-job.ts';

/** Of what a visitor is to leave out, the parts of traces that have more elsewhere. */
export interface ApartTraces {
  /** Ordinals. */
  readonly traces: Bitset;
  /** What the ordinals begin with in the block. */
  readonly firstRow: number;
}

/** @param excluded ordinals of traces that it must leave out; undefined = none. */
export type VisitSource = (
  source: SpanSource,
  excluded: Bitset | undefined,
  apart: ApartTraces | undefined,
) => Promise<void>;

/** Is told the id of a block that need not be read. */
export type SpareBlock = (blockId: string) => void;

/** Goes over the input of a job. @returns what could not be read. */
export type WalkSources = (visit: VisitSource, spare?: SpareBlock) => Promise<ScanFailure[]>;

/** What is needed of a source whose traces are compared with those of others, or brought together. */
export type OpenTraces = Pick<
  StoredSpans,
  | 'traceCount'
  | 'bytesRead'
  | 'traceIds'
  | 'traceTimes'
  | 'traces'
  | 'newestStart'
  | 'mayHaveIds'
  | 'spanDigests'
>;

/** An open head or row group. */
export interface OpenSource<Spans = StoredSpans> {
  readonly spans: Spans;
  /** Row of its first trace in the block. */
  readonly firstRow: number;
  /** What was read of it is needed no longer, for now. */
  readonly release: () => void;
}

const NOTHING_HELD = (): void => {};

/** Address space of a head in which traces come together. */
const COMBINE_HEAD_BYTES = 1024 * 1024 * 1024;
/** Such a head is evaluated when it holds that much, so that the memory of a job has a bound. */
const COMBINED_BYTES = 32 << 20;
/** Of the parts that are written out at a time. */
const BATCH_BYTES = 8 << 20;
const BATCH_TRACES_FIRST = 16;
const BATCH_TRACES_MAX = 512;

/** @param needed blocks that surely lack one of these values are passed over. */
export async function walkSources(
  blocks: BlockOpener,
  { sources, whole }: QueryInput,
  needed: NeededValues,
  visit: VisitSource,
  signal: AbortSignal,
  spare?: SpareBlock,
): Promise<ScanFailure[]> {
  const failures: ScanFailure[] = [];
  for (const ref of sources) {
    await guarded(ref, failures, async () => {
      if (ref.kind === 'block' && !(await blocks.mayMatch(ref.meta, ref.location, needed, signal))) {
        spare?.(ref.meta.blockId);
        return;
      }
      for (const { spans, firstRow, release } of await openSource(blocks, ref, signal)) {
        signal.throwIfAborted();
        const { traceCount } = spans;
        const excluded = excludedOf(ref, firstRow, traceCount);
        const apart = rowsIn(ref.apart, firstRow, traceCount);
        if (excluded?.count() === traceCount && apart === undefined) continue;
        await visit(spans, excluded, apart && { traces: apart, firstRow }).finally(release);
      }
    });
  }
  if (whole !== undefined) await new WholeWalk(blocks, whole, failures, signal).run(visit);
  return failures;
}

/** As `openSource`, of a source in another process as far as it is known here. */
export async function openTraces(
  blocks: BlockOpener,
  ref: ScanSource,
  signal: AbortSignal,
): Promise<readonly OpenSource<OpenTraces>[]> {
  return ref.kind === 'remote'
    ? [{ spans: new RemoteTraces(ref), firstRow: 0, release: NOTHING_HELD }]
    : openSource(blocks, ref, signal);
}

export async function openSource(
  blocks: BlockOpener,
  ref: ScanSource,
  signal: AbortSignal,
): Promise<readonly OpenSource[]> {
  if (ref.kind === 'remote') throw new Error(`source ${ref.blockId} is evaluated where it is`);
  if (ref.kind === 'head') {
    const spans = openHead(ref.sab, ref.blockId, blocks.heads);
    return [{ spans, firstRow: 0, release: NOTHING_HELD }];
  }
  const block = await blocks.open(ref.meta, ref.location, signal);
  let firstRow = 0;
  const release = (): void => block.release();
  const all = block.rowGroups.map((spans): OpenSource => {
    const open = { spans, firstRow, release };
    firstRow += spans.traceCount;
    return open;
  });
  return all.slice(...(ref.rowGroups ?? []));
}

/** @param cache keeps what is made of the head, for those who open it next. */
export function openHead(sab: SharedArrayBuffer, blockId: string, cache?: ByteLru): HeadSource {
  const reader = new HeadReader(sab);
  return new HeadSource(reader, blockId, cache && headMemo(cache, `${headKey(blockId)}${reader.birth}/`));
}

/** A head is gone, and what was made of it. */
export function forgetHead(cache: ByteLru, blockId: string): void {
  cache.deletePrefix(headKey(blockId));
}

/** Begins the keys of what is kept of a head. */
function headKey(blockId: string): string {
  return `${blockId}/`;
}

function headMemo(cache: ByteLru, prefix: string): SourceMemo {
  return {
    get: (what) => cache.get(prefix + what),
    set: (what, value, bytes) => cache.set(prefix + what, value, bytes),
  };
}

export function newCombineHead(): HeadBuilder {
  return new HeadBuilder({ maxBytes: COMBINE_HEAD_BYTES });
}

/** A source that cannot be read is told, and the others are read. A cancelled job ends. */
export async function guarded(
  ref: ScanSource,
  failures: ScanFailure[],
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (err) {
    if (!(err instanceof TempoError) || (err.code !== 'block_corrupt' && err.code !== 'not_found')) throw err;
    const source = sourceName(ref);
    failures.push({ source, code: err.code, message: err.message });
  }
}

export function sourceName(ref: ScanSource): string {
  return ref.kind === 'block' ? ref.meta.blockId : ref.blockId;
}

/** Of the traces of a head or row group that begins at `firstRow` those that are not evaluated there. */
function excludedOf(ref: ScanSource, firstRow: number, traceCount: number): Bitset | undefined {
  const { without, traceCount: seen = Infinity } = ref;
  const known = rowsIn(without, firstRow, traceCount);
  if (traceCount <= seen) return known;
  const excluded = known ?? new Bitset(traceCount);
  for (let i = seen; i < traceCount; i++) excluded.add(i);
  return excluded;
}

/** Which of `count` traces from `firstRow` on are among the rows (ascending); undefined = none. */
function rowsIn(rows: Int32Array | undefined, firstRow: number, count: number): Bitset | undefined {
  if (rows === undefined) return undefined;
  const begin = lowerBound(rows, firstRow);
  const end = lowerBound(rows, firstRow + count);
  if (begin === end) return undefined;
  const traces = new Bitset(count);
  for (let i = begin; i < end; i++) traces.add(rows[i]! - firstRow);
  return traces;
}

/** A head with the traces from some place in the list up to `end`. */
interface CombinedHead {
  readonly sab: SharedArrayBuffer;
  readonly end: number;
  readonly version: string;
}

/** Brings traces together, some at a time. */
class WholeWalk {
  private readonly blocks: BlockOpener;
  private readonly whole: WholeTraces;
  private readonly failures: ScanFailure[];
  private readonly signal: AbortSignal;
  private readonly opened = new Map<number, readonly OpenSource<OpenTraces>[]>();

  constructor(blocks: BlockOpener, whole: WholeTraces, failures: ScanFailure[], signal: AbortSignal) {
    this.blocks = blocks;
    this.whole = whole;
    this.failures = failures;
    this.signal = signal;
  }

  async run(visit: VisitSource): Promise<void> {
    const [begin, to] = this.whole.range;
    for (let from = begin; from < to; ) {
      this.signal.throwIfAborted();
      const { sab, end } = this.kept(from) ?? (await this.combine(from));
      await visit(openHead(sab, 'combined'), undefined, undefined);
      from = end;
    }
  }

  private kept(from: number): CombinedHead | undefined {
    if (this.whole.name === undefined) return undefined;
    const head = this.blocks.cache.get<CombinedHead>(this.key(from));
    return head?.version === this.whole.version ? head : undefined;
  }

  /** One for each place in the list of traces, so that growing heads do not fill the cache. */
  private key(from: number): string {
    return `whole/${this.whole.name}/${from}-${this.whole.range[1]}`;
  }

  /** Brings traces from `from` on together, as many as a head is to hold. */
  private async combine(from: number): Promise<CombinedHead> {
    const { version } = this.whole;
    const [, to] = this.whole.range;
    const failed = this.failures.length;
    const head = newCombineHead();
    let end = from;
    let batch = BATCH_TRACES_FIRST;
    while (end < to && head.usedBytes < COMBINED_BYTES) {
      const next = Math.min(to, end + batch);
      const bytes = await this.append(head, end, next);
      batch = nextBatch(bytes / (next - end));
      end = next;
    }
    const combined = { sab: head.sab, end, version };
    const isOfUse = this.whole.name !== undefined && this.failures.length === failed;
    if (isOfUse) this.blocks.cache.set(this.key(from), combined, head.usedBytes);
    return combined;
  }

  /** Adds the parts of some traces to a head, which takes each span once. @returns their bytes. */
  private async append(head: HeadBuilder, from: number, to: number): Promise<number> {
    const { sources } = this.whole;
    let bytes = 0;
    for (const [source, rows] of this.rowsBySource(from, to)) {
      const ref = sources[source]!;
      await guarded(ref, this.failures, async () => {
        for (const { spans, firstRow, release } of await this.open(source)) {
          const some = rows.subarray(
            lowerBound(rows, firstRow),
            lowerBound(rows, firstRow + spans.traceCount),
          );
          if (some.length === 0) continue;
          this.signal.throwIfAborted();
          const ordinals = some.map((row) => row - firstRow);
          const part = await spans.traces(ordinals, this.signal).finally(release);
          head.append(part, 0, part.length);
          bytes += part.length;
        }
      });
    }
    return bytes;
  }

  /** For each source (ascending) the rows of the traces [from, to), ascending. */
  private rowsBySource(from: number, to: number): readonly (readonly [number, Int32Array])[] {
    const { ends, source, row } = this.whole.places;
    const rows = new Map<number, number[]>();
    for (let i = from === 0 ? 0 : ends[from - 1]!; i < ends[to - 1]!; i++) {
      const list = rows.get(source[i]!);
      if (list === undefined) rows.set(source[i]!, [row[i]!]);
      else list.push(row[i]!);
    }
    return [...rows].sort(([a], [b]) => a - b).map(([k, list]) => [k, Int32Array.from(list).sort()] as const);
  }

  private async open(source: number): Promise<readonly OpenSource<OpenTraces>[]> {
    let open = this.opened.get(source);
    if (open === undefined) {
      open = await openTraces(this.blocks, this.whole.sources[source]!, this.signal);
      this.opened.set(source, open);
    }
    return open;
  }
}

function nextBatch(bytesPerTrace: number): number {
  return Math.max(1, Math.min(BATCH_TRACES_MAX, Math.floor(BATCH_BYTES / Math.max(1, bytesPerTrace))));
}
