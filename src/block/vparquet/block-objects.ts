// The objects of a block while it is written: data.parquet, and what is made from the trace ids of its rows
// (bloom shards and index) and from their attributes. The meta comes last.
import type { FinishedFile } from '../../parquet/file-writer.ts';
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import { metaToBytes } from '../meta-json.ts';
import { type BlockMeta, META_NAME, VALUE_FILTER_NAME } from '../meta.ts';
import { bloomObjectName, type BloomOptions, TraceBloom } from '../trace-bloom.ts';
import { encodeFilter } from '../value-filter/format.ts';

/** One object of the block while it is written. */
interface BlockObject {
  /** Consumes the bytes before it returns: they are overwritten afterwards. */
  write(bytes: Uint8Array): void;
  /** Makes it durable. */
  close(): void;
}

export interface BlockSink {
  /** @param name e.g. `data.parquet`, within the block. */
  create(name: string): BlockObject;
}

/** What the objects do not tell. */
type MetaFields = Omit<
  BlockMeta,
  'totalObjects' | 'sizeBytes' | 'totalRecords' | 'bloomShards' | 'footerSizeBytes' | 'valueFilterBytes'
>;

export class BlockObjects {
  private readonly sink: BlockSink;
  private readonly data: BlockObject;
  private readonly bloom: TraceBloom;
  /** Base64, of each row group. */
  private readonly lastIds: string[] = [];
  private traceCount = 0;

  /** @param traceCountMax what the bloom filter is made for. */
  constructor(sink: BlockSink, traceCountMax: number, bloom: BloomOptions) {
    this.sink = sink;
    this.bloom = new TraceBloom(traceCountMax, bloom);
    this.data = sink.create('data.parquet');
  }

  /** Bytes of data.parquet. */
  readonly write = (bytes: Uint8Array): void => this.data.write(bytes);

  /** @param ids 16 bytes a row, of the next row group. */
  rowGroup(ids: Uint8Array): void {
    for (let at = 0; at < ids.length; at += TRACE_ID_BYTES) this.bloom.add(ids, at);
    this.traceCount += ids.length / TRACE_ID_BYTES;
    this.lastIds.push(Buffer.from(ids.subarray(ids.length - TRACE_ID_BYTES)).toString('base64'));
  }

  /**
   * Returns when all objects are durable.
   * @param valueBits of the filter over attribute values; undefined = the block has none.
   * @param compactedFrom ids of the blocks whose spans these are.
   */
  finish(
    { sizeBytes, footerBytes }: FinishedFile,
    fields: MetaFields,
    valueBits: Uint8Array | undefined,
    compactedFrom: readonly string[] = [],
  ): BlockMeta {
    this.data.close();
    const { bloom } = this;
    for (let n = 0; n < bloom.shardCount; n++) this.put(bloomObjectName(n), bloom.shardBytes(n));
    this.put('index', new TextEncoder().encode(JSON.stringify({ rowGroups: this.lastIds })));
    const filter = valueBits && encodeFilter(fields.blockId, valueBits);
    if (filter !== undefined) this.put(VALUE_FILTER_NAME, filter);
    const meta: BlockMeta = {
      ...fields,
      totalObjects: this.traceCount,
      sizeBytes,
      totalRecords: this.lastIds.length,
      bloomShards: bloom.shardCount,
      footerSizeBytes: footerBytes,
      ...(filter && { valueFilterBytes: filter.length }),
    };
    this.put(META_NAME, metaToBytes(meta, compactedFrom));
    return meta;
  }

  private put(name: string, bytes: Uint8Array): void {
    const object = this.sink.create(name);
    object.write(bytes);
    object.close();
  }
}
