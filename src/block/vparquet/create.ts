// Writes the block of a frozen head: data.parquet, then bloom shards and index, then meta.json. Runs in a
// worker thread; files are made by the sink it is given. One row group is in work at a time, one column of
// it at once.
import { crc32 } from 'node:zlib';
import { noteShortLivedBytes } from '../../lib/garbage.ts';
import type { Compressor, Encoding } from '../../parquet/types.ts';
import { ParquetFileWriter } from '../../parquet/file-writer.ts';
import { zstdCompressor } from '../compression.ts';
import type { HeadReader } from '../head/reader.ts';
import type { BlockMeta, DedicatedColumn } from '../meta.ts';
import { BLOOM_DEFAULTS, type BloomOptions } from '../trace-bloom.ts';
import { ValueFilterBuilder } from '../value-filter/builder.ts';
import { addHeadValues, headAttributeCount } from '../value-filter/of-head.ts';
import { type BlockSink, BlockObjects } from './block-objects.ts';
import { columnName } from './block-columns.ts';
import { blockTimes } from './block-times.ts';
import { canonicalResources, canonicalScopes } from './canonical.ts';
import { type ColumnsContext, columnProducers, traceIdBytes } from './columns.ts';
import { headKeys, headStrings } from './head-strings.ts';
import { promotedColumns, usableDedicatedColumns } from './promoted.ts';
import {
  cutPages,
  cutRowGroups,
  orderRows,
  type PageLimits,
  type RowGroupLimits,
  type RowOrder,
} from './row-order.ts';
import { blockSchema, type BlockSchema, type ColumnEncoding, type WrittenFormat } from './schema.ts';
import { buildTraceRows, type OddTraces } from './trace-rows.ts';

export interface CreateOptions extends RowGroupLimits, PageLimits {
  readonly bloom: BloomOptions;
  readonly compressor: Compressor;
  /** Of the filter over attribute values, at most; 0 = none is made. */
  readonly valueFilterBytesMax: number;
}

export interface CreateRequest {
  readonly head: HeadReader;
  readonly blockId: string;
  readonly tenant: string;
  /** vParquet4 when it is not given. */
  readonly format?: WrittenFormat;
  /** As configured; those that the format cannot hold are left out. */
  readonly dedicatedColumns: readonly DedicatedColumn[];
  readonly options?: Partial<CreateOptions>;
  /** Unix ms, for telling absurd times; now when it is not given. */
  readonly nowMs?: number;
  readonly sink: BlockSink;
  /** Traces that are not whole are added here. */
  readonly odd?: OddTraces;
}

export function defaultCreateOptions(): CreateOptions {
  return {
    rowGroupSpans: 200_000,
    rowGroupWireBytes: 64 * 1024 * 1024,
    pageRows: 200,
    pageSpans: 4000,
    bloom: BLOOM_DEFAULTS,
    compressor: zstdCompressor(),
    valueFilterBytesMax: 0,
  };
}

/** What real Tempo's columns dedicate when nothing is configured. */
export const DEFAULT_DEDICATED_COLUMNS: readonly DedicatedColumn[] = [
  'http.request.method',
  'url.path',
  'url.route',
  'server.address',
  'http.route',
].map((name) => ({ scope: 'span', name, type: 'string', options: [] }));

export const CREATED_BY = 'tempo (typescript)';
/** The format's word for each. */
export const ENCODINGS: Readonly<Record<ColumnEncoding, Encoding>> = {
  dictionary: 'RLE_DICTIONARY',
  delta: 'DELTA_BINARY_PACKED',
  bytes: 'DELTA_LENGTH_BYTE_ARRAY',
  plain: 'PLAIN',
};

/**
 * Buffers that a block of one span leaves as garbage, for each of its bytes (1.2 MB for 129 kB; larger blocks
 * leave up to twice as much). Not collected in time they fill the thread's part of malloc's memory with holes
 * that no later block needs: after 10,000 small blocks about 80 MB stayed there.
 */
const GARBAGE_PER_BYTE = 9;

/** Returns when all objects are durable. Throws what the sink throws; the block then has no meta.json. */
export function createBlock(request: CreateRequest): BlockMeta {
  const { head, sink } = request;
  if (head.traceCount === 0) throw new Error('a block has at least one trace');
  const options = { ...defaultCreateOptions(), ...request.options };
  const { format = 'vParquet4' } = request;
  const dedicatedColumns = usableDedicatedColumns(format, request.dedicatedColumns);
  const order = orderRows(head);
  const groups = cutRowGroups(head, order, options);
  const objects = new BlockObjects(sink, head.traceCount, options.bloom);
  const writer = new RowGroupWriter(head, { format, dedicatedColumns }, options, objects.write);
  for (let g = 0; g + 1 < groups.length; g++) {
    objects.rowGroup(traceIdBytes(head, order.traces.subarray(groups[g], groups[g + 1])));
    const { disconnected, rootless } = writer.write(order, groups[g], groups[g + 1]);
    if (request.odd === undefined) continue;
    request.odd.disconnected += disconnected;
    request.odd.rootless += rootless;
  }
  const fields = {
    format,
    blockId: request.blockId,
    tenantId: request.tenant,
    ...blockTimes(head, request.nowMs ?? Date.now()),
    compactionLevel: 0,
    dedicatedColumns,
    replicationFactor: 0,
  };
  const meta = objects.finish(writer.file.finish(), fields, valueBits(head, options));
  noteShortLivedBytes(meta.sizeBytes * GARBAGE_PER_BYTE);
  return meta;
}

/** Of the filter over attribute values. */
function valueBits(
  head: HeadReader,
  { valueFilterBytesMax: bytesMax }: CreateOptions,
): Uint8Array | undefined {
  if (bytesMax === 0) return undefined;
  const builder = new ValueFilterBuilder({ bytesMax, valuesMax: headAttributeCount(head) });
  addHeadValues(builder, head);
  return builder.finish();
}

interface Layout {
  readonly format: WrittenFormat;
  readonly dedicatedColumns: readonly DedicatedColumn[];
}

class RowGroupWriter {
  readonly file: ParquetFileWriter;
  private readonly schema: BlockSchema;
  private readonly context: ColumnsContext;
  private readonly canonical: { readonly resources: Int32Array; readonly scopes: Int32Array };
  private readonly options: CreateOptions;

  constructor(head: HeadReader, layout: Layout, options: CreateOptions, write: (bytes: Uint8Array) => void) {
    const { format, dedicatedColumns } = layout;
    this.schema = blockSchema(format, dedicatedColumns);
    this.file = new ParquetFileWriter(this.schema.root, CREATED_BY, write, crc32);
    this.options = options;
    const keys = headKeys(head);
    this.context = {
      head,
      strings: headStrings(head),
      keys,
      promoted: {
        resource: promotedColumns(format, 'resource', dedicatedColumns, keys),
        span: promotedColumns(format, 'span', dedicatedColumns, keys),
        event: promotedColumns(format, 'event', dedicatedColumns, keys),
      },
      droppedOf: droppedIndex(head),
    };
    this.canonical = { resources: canonicalResources(head), scopes: canonicalScopes(head) };
  }

  /** Writes rows [from, to) as a row group. */
  write(order: RowOrder, from: number, to: number): OddTraces {
    const spanStarts = order.spanStarts.subarray(from, to + 1);
    const rows = buildTraceRows(this.context.head, this.canonical, {
      traces: order.traces.subarray(from, to),
      spanStarts,
      spans: order.spans.subarray(spanStarts[0], spanStarts[to - from]),
      pageRows: cutPages(order, from, to, this.options),
    });
    const producers = columnProducers(this.context, rows);
    this.file.beginRowGroup(rows.pageRows);
    for (const spec of this.schema.columns) {
      const name = columnName(spec.leaf);
      const produce = producers.get(name);
      if (produce === undefined) throw new Error(`no values for column ${name}`);
      this.file.column({
        leaf: spec.leaf,
        encoding: ENCODINGS[spec.encoding],
        compressor: spec.compressed ? this.options.compressor : undefined,
        packLevels: spec.leaf.maxRepetition > 0,
        ...produce(),
      });
    }
    return rows.odd;
  }
}

function droppedIndex(head: HeadReader): Int32Array | undefined {
  const { spanDropped } = head.vecs;
  if (spanDropped.count === 0) return undefined;
  const index = new Int32Array(head.spanCount);
  for (let i = 0; i < spanDropped.count; i++) index[spanDropped.get(i, 0)] = i + 1;
  return index;
}
