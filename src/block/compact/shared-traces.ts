// Traces that lie in several inputs: copies with the same spans become one of them, parts are brought
// together through a head (as queries do), which takes each span once, and become rows of a block in memory.
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import { HeadBuilder } from '../head/builder.ts';
import { HeadReader } from '../head/reader.ts';
import { IntList } from '../../lib/int-list.ts';
import { ByteLru } from '../../lib/lru.ts';
import type { Compressor, Decompressors } from '../../parquet/types.ts';
import type { BlockMeta } from '../meta.ts';
import { DIGEST_WORDS } from '../stored-spans.ts';
import { type CreateOptions, createBlock } from '../vparquet/create.ts';
import { openBlock } from '../vparquet/open.ts';
import { orderRows } from '../vparquet/row-order.ts';
import type { RowGroupSource } from '../vparquet/row-group.ts';
import { writtenFormat } from '../vparquet/schema.ts';
import { loadSpanTree } from '../vparquet/span-tree.ts';
import { blaming } from './blamed.ts';
import type { MergedRows } from './merge-rows.ts';

export interface CombineOptions {
  /** What the block in memory is like. */
  readonly like: BlockMeta;
  readonly create: CreateOptions;
  readonly decompressors: Decompressors;
  /** Most wire bytes of a trace that is brought together; 0 = any. */
  readonly traceBytesMax: number;
  readonly signal: AbortSignal | undefined;
}

export interface CombineResult {
  /** Traces whose parts were brought together. */
  combined: number;
  /** Spans that were there more than once. */
  duplicateSpans: number;
  /** Traces that would have become too large, and their spans that are left out. */
  cutTraces: number;
  cutSpans: number;
}

/** Address space of the head in which traces come together. */
const HEAD_BYTES = 2 * 1024 * 1024 * 1024;
/** Rows that are written out at a time. */
const BATCH_ROWS = 256;
const CACHE_BYTES = 8 << 20;
/** What is in memory only is not worth compressing. */
const AS_IT_IS: Compressor = { codec: 'UNCOMPRESSED', compress: (bytes) => bytes };

/** Decides where the shared rows come from: sets `part`, `row` and `spans` of them, and adds a part. */
export async function combineShared(rows: MergedRows, options: CombineOptions): Promise<CombineResult> {
  const result = { combined: 0, duplicateSpans: 0, cutTraces: 0, cutSpans: 0 };
  if (rows.shared.at.length === 0) return result;
  const different = await differentCopies(rows, result, options.signal);
  if (different.length > 0) await new Combination(rows, different, options, result).run();
  return result;
}

function firstCopy({ shared }: MergedRows, k: number): number {
  return k === 0 ? 0 : shared.ends[k - 1];
}

/** Numbers of shared rows whose copies differ in their spans. */
async function differentCopies(
  rows: MergedRows,
  result: CombineResult,
  signal: AbortSignal | undefined,
): Promise<Int32Array> {
  const { parts, shared } = rows;
  const digests: Int32Array[] = [];
  for (let part = 0; part < parts.length; part++) {
    const wanted = shared.row.filter((_, i) => shared.part[i] === part);
    digests.push(wanted.length === 0 ? wanted : await digestsOf(parts[part].source, wanted, signal));
  }
  const next = parts.map(() => 0);
  const different = new IntList();
  for (let k = 0; k < shared.at.length; k++) {
    const first = firstCopy(rows, k);
    const of = digests[shared.part[first]];
    const at = next[shared.part[first]]++ * DIGEST_WORDS;
    let isSame = true;
    let others = 0;
    for (let i = first + 1; i < shared.ends[k]; i++) {
      const other = digests[shared.part[i]];
      const otherAt = next[shared.part[i]]++ * DIGEST_WORDS;
      others += shared.spans[i];
      for (let word = 0; word < DIGEST_WORDS; word++) {
        if (of[at + word] !== other[otherAt + word]) isSame = false;
      }
    }
    if (isSame) result.duplicateSpans += others;
    else different.push(k);
  }
  return different.view();
}

function digestsOf(source: RowGroupSource, rows: Int32Array, signal?: AbortSignal): Promise<Int32Array> {
  return blaming(source.group.file.blockId, () => source.spanDigests(rows, signal));
}

class Combination {
  private readonly rows: MergedRows;
  private readonly different: Int32Array;
  private readonly options: CombineOptions;
  private readonly result: CombineResult;

  constructor(rows: MergedRows, different: Int32Array, options: CombineOptions, result: CombineResult) {
    this.rows = rows;
    this.different = different;
    this.options = options;
    this.result = result;
  }

  async run(): Promise<void> {
    const head = new HeadBuilder({ maxBytes: HEAD_BYTES });
    for (let part = 0; part < this.rows.parts.length; part++) await this.append(head, part);
    if (head.traceCount === 0) return;
    const reader = new HeadReader(head.sab);
    const source = await this.asRowGroup(reader);
    await this.take(source, reader);
  }

  /** Adds the copies that lie in a part, in the order of the inputs: of equal spans the first one counts. */
  private async append(head: HeadBuilder, part: number): Promise<void> {
    const { shared, parts } = this.rows;
    const wanted = new IntList();
    for (const k of this.different) {
      for (let i = firstCopy(this.rows, k); i < shared.ends[k]; i++) {
        if (shared.part[i] === part) wanted.push(shared.row[i]);
      }
    }
    const all = wanted.view();
    const { source } = parts[part];
    for (let from = 0; from < all.length; from += BATCH_ROWS) {
      const rows = all.slice(from, from + BATCH_ROWS);
      const bytes = await blaming(source.group.file.blockId, () =>
        source.rowTraces(rows, this.options.signal),
      );
      head.append(bytes, 0, bytes.length);
    }
  }

  private async asRowGroup(head: HeadReader): Promise<RowGroupSource> {
    const { like, create, decompressors, signal } = this.options;
    const parts: Uint8Array[] = [];
    const meta = createBlock({
      head,
      blockId: 'combined',
      tenant: like.tenantId,
      format: writtenFormat(like.format),
      dedicatedColumns: like.dedicatedColumns,
      options: { ...create, compressor: AS_IT_IS, rowGroupSpans: Infinity, rowGroupWireBytes: Infinity },
      sink: {
        create: (name) => ({
          write: (bytes) => {
            if (name === 'data.parquet') parts.push(bytes.slice());
          },
          close: () => {},
        }),
      },
    });
    const data = Uint8Array.from(Buffer.concat(parts));
    const block = await openBlock({
      meta,
      readRange: (offset, length) => Promise.resolve(data.subarray(offset, offset + length)),
      decompressors,
      cache: new ByteLru(CACHE_BYTES),
      ...(signal === undefined ? {} : { signal }),
    });
    return block.rowGroups[0];
  }

  /** The shared rows come from the new part, unless they are too large now. */
  private async take(source: RowGroupSource, head: HeadReader): Promise<void> {
    const { rows, options, result } = this;
    const { shared } = rows;
    const { ids } = await source.traceIds(options.signal);
    const { rowSpan } = await loadSpanTree(source.group, options.signal);
    const { traces } = orderRows(head);
    const part = rows.parts.length;
    let row = 0;
    for (const k of this.different) {
      const at = shared.at[k];
      if (!isAt(ids, row, rows.ids, at)) continue; // copies without any span
      const spans = rowSpan[row + 1] - rowSpan[row];
      let before = 0;
      let largest = firstCopy(rows, k);
      for (let i = largest; i < shared.ends[k]; i++) {
        before += shared.spans[i];
        if (shared.spans[i] > shared.spans[largest]) largest = i;
      }
      result.duplicateSpans += before - spans;
      if (options.traceBytesMax > 0 && head.vecs.traceBytes.get(traces[row]) > options.traceBytesMax) {
        rows.part[at] = shared.part[largest];
        rows.row[at] = shared.row[largest];
        rows.spans[at] = shared.spans[largest];
        result.cutTraces++;
        result.cutSpans += spans - shared.spans[largest];
      } else {
        rows.part[at] = part;
        rows.row[at] = row;
        rows.spans[at] = spans;
        result.combined++;
      }
      row++;
    }
    rows.parts.push({ source, from: 0, to: source.traceCount });
  }
}

function isAt(ids: Uint8Array, row: number, wanted: Uint8Array, at: number): boolean {
  for (let k = 0; k < TRACE_ID_BYTES; k++)
    if (ids[row * TRACE_ID_BYTES + k] !== wanted[at * TRACE_ID_BYTES + k]) return false;
  return true;
}
