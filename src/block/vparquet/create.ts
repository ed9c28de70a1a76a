// Writes the block of a frozen head: data.parquet, then bloom shards and index, then meta.json. Runs in a
// worker thread; files are made by the sink it is given. One row group is in work at a time, one column of
// it at once.
import { crc32 } from 'node:zlib';
import type { Compressor, Encoding } from '../../parquet/types.ts';
import { ParquetFileWriter } from '../../parquet/file-writer.ts';
import { zstdCompressor } from '../compression.ts';
import type { HeadReader } from '../head/reader.ts';
import { metaToBytes } from '../meta-json.ts';
import { type BlockMeta, type DedicatedColumn, META_NAME } from '../meta.ts';
import { BLOOM_DEFAULTS, bloomObjectName, type BloomOptions, TraceBloom } from '../trace-bloom.ts';
import { blockTimes } from './block-times.ts';
import { canonicalResources, canonicalScopes } from './canonical.ts';
import { type ColumnsContext, columnProducers, traceIdBytes } from './columns.ts';
import { headKeys, headStrings } from './head-strings.ts';
import { codesByKey, resourceKeys, spanKeys, usableDedicatedColumns } from './promoted.ts';
import {
  cutPages,
  cutRowGroups,
  orderRows,
  type PageLimits,
  type RowGroupLimits,
  type RowOrder,
} from './row-order.ts';
import { blockSchema, type BlockSchema, type ColumnEncoding } from './schema.ts';
import { buildTraceRows, type OddTraces } from './trace-rows.ts';

/** One object of the block while it is written. */
interface BlockObject {
  /** Consumes the bytes before it returns: they are overwritten afterwards. */
  write(bytes: Uint8Array): void;
  /** Makes it durable. */
  close(): void;
}

interface BlockSink {
  /** @param name e.g. `data.parquet`, within the block. */
  create(name: string): BlockObject;
}

export interface CreateOptions extends RowGroupLimits, PageLimits {
  readonly bloom: BloomOptions;
  readonly compressor: Compressor;
}

export interface CreateRequest {
  readonly head: HeadReader;
  readonly blockId: string;
  readonly tenant: string;
  /** As configured; those that the format cannot hold are left out. */
  readonly dedicatedColumns: readonly DedicatedColumn[];
  readonly options?: Partial<CreateOptions>;
  /** Unix ms, for telling absurd times; now when it is not given. */
  readonly nowMs?: number;
  readonly sink: BlockSink;
  /** Traces that are not whole are added here. */
  readonly odd?: OddTraces;
}

function defaultCreateOptions(): CreateOptions {
  return {
    rowGroupSpans: 200_000,
    rowGroupWireBytes: 64 * 1024 * 1024,
    pageRows: 200,
    pageSpans: 4000,
    bloom: BLOOM_DEFAULTS,
    compressor: zstdCompressor(),
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

const FORMAT = 'vParquet4';
const CREATED_BY = 'tempo (typescript)';
const ENCODINGS: Readonly<Record<ColumnEncoding, Encoding>> = {
  dictionary: 'RLE_DICTIONARY',
  delta: 'DELTA_BINARY_PACKED',
  bytes: 'DELTA_LENGTH_BYTE_ARRAY',
  plain: 'PLAIN',
};

/** Returns when all objects are durable. Throws what the sink throws; the block then has no meta.json. */
export function createBlock(request: CreateRequest): BlockMeta {
  const { head, sink } = request;
  if (head.traceCount === 0) throw new Error('a block has at least one trace');
  const options = { ...defaultCreateOptions(), ...request.options };
  const dedicatedColumns = usableDedicatedColumns(request.dedicatedColumns);
  const order = orderRows(head);
  const groups = cutRowGroups(head, order, options);
  const bloom = new TraceBloom(head.traceCount, options.bloom);
  const data = sink.create('data.parquet');
  const writer = new RowGroupWriter(head, dedicatedColumns, options, (bytes) => data.write(bytes));
  const lastIds: string[] = [];
  for (let g = 0; g + 1 < groups.length; g++) {
    const ids = traceIdBytes(head, order.traces.subarray(groups[g], groups[g + 1]));
    for (let at = 0; at < ids.length; at += 16) bloom.add(ids, at);
    lastIds.push(Buffer.from(ids.subarray(ids.length - 16)).toString('base64'));
    const { disconnected, rootless } = writer.write(order, groups[g], groups[g + 1]);
    if (request.odd === undefined) continue;
    request.odd.disconnected += disconnected;
    request.odd.rootless += rootless;
  }
  const { sizeBytes, footerBytes } = writer.file.finish();
  data.close();
  const put = (name: string, bytes: Uint8Array): void => {
    const object = sink.create(name);
    object.write(bytes);
    object.close();
  };
  for (let n = 0; n < bloom.shardCount; n++) put(bloomObjectName(n), bloom.shardBytes(n));
  put('index', new TextEncoder().encode(JSON.stringify({ rowGroups: lastIds })));
  const meta: BlockMeta = {
    format: FORMAT,
    blockId: request.blockId,
    tenantId: request.tenant,
    ...blockTimes(head, request.nowMs ?? Date.now()),
    totalObjects: head.traceCount,
    sizeBytes,
    compactionLevel: 0,
    totalRecords: groups.length - 1,
    bloomShards: bloom.shardCount,
    footerSizeBytes: footerBytes,
    dedicatedColumns,
    replicationFactor: 0,
  };
  put(META_NAME, metaToBytes(meta));
  return meta;
}

class RowGroupWriter {
  readonly file: ParquetFileWriter;
  private readonly schema: BlockSchema;
  private readonly context: ColumnsContext;
  private readonly canonical: { readonly resources: Int32Array; readonly scopes: Int32Array };
  private readonly options: CreateOptions;

  constructor(
    head: HeadReader,
    dedicated: readonly DedicatedColumn[],
    options: CreateOptions,
    write: (bytes: Uint8Array) => void,
  ) {
    this.schema = blockSchema(FORMAT);
    this.file = new ParquetFileWriter(this.schema.root, CREATED_BY, write, crc32);
    this.options = options;
    const keys = headKeys(head);
    const ofResource = resourceKeys(dedicated);
    const ofSpan = spanKeys(dedicated);
    this.context = {
      head,
      strings: headStrings(head),
      keys,
      resourceKeys: ofResource,
      spanKeys: ofSpan,
      resourceCodes: codesByKey(ofResource, keys),
      spanCodes: codesByKey(ofSpan, keys),
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
      const path = spec.leaf.path.join('.');
      const produce = producers.get(path);
      if (produce === undefined) throw new Error(`no values for column ${path}`);
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
