// Opens a block for reading: footer, columns bound by name, row groups as sources for the engine, lookup by
// trace id behind the bloom filter. All I/O goes through what the caller gives.
import { TempoError } from '../../lib/errors.ts';
import type { ByteLru } from '../../lib/lru.ts';
import { ScratchPool } from '../../lib/scratch.ts';
import { asBytes } from '../../parquet/column-pages.ts';
import { FOOTER_TAIL_BYTES, footerLength, parseFooter } from '../../parquet/footer.ts';
import type { ReadRange } from '../../parquet/plan.ts';
import type { Decompressors, FileMetadata } from '../../parquet/types.ts';
import type { BlockMeta } from '../meta.ts';
import type { LocatedTrace } from '../stored-spans.ts';
import { bloomMayHave, bloomObjectName, bloomShardOf } from '../trace-bloom.ts';
import { columnsOf } from './block-columns.ts';
import { type BlockFile, MaterialAtHand } from './group-columns.ts';
import { RowGroupSource } from './row-group.ts';

export interface OpenBlockOptions {
  readonly meta: BlockMeta;
  /** Of data.parquet. */
  readonly readRange: ReadRange;
  /** Another object of the block, whole: bloom shards, a filter. Without it every lookup goes to the data. */
  readonly readObject?: (name: string, signal?: AbortSignal) => Promise<Uint8Array>;
  readonly decompressors: Decompressors;
  /** Of the thread. Blocks share it, their ids keep the entries apart. */
  readonly cache: ByteLru;
  /** Of the thread too: what queries found, which is small beside what they looked at; as `cache` without. */
  readonly memos?: ByteLru;
  /** Of the thread too. */
  readonly scratch?: ScratchPool;
  readonly signal?: AbortSignal;
}

/** Parsed footers take about this many times their stored size, beside the schema, which they share. */
const FOOTER_GROWTH = 3;

export interface BloomAnswer {
  readonly isPossible: boolean;
  readonly bytesRead: number;
}

/** Whether a block may have a trace (16 bytes). Nothing else of the block is read for it. */
export async function askBloom(
  { readObject, cache, meta }: Pick<OpenBlockOptions, 'readObject' | 'cache' | 'meta'>,
  id: Uint8Array,
  signal?: AbortSignal,
): Promise<BloomAnswer> {
  if (readObject === undefined) return { isPossible: true, bytesRead: 0 };
  const name = bloomObjectName(bloomShardOf(id, meta.bloomShards));
  const key = `${meta.blockId}/${name}`;
  const kept = cache.get<Uint8Array>(key);
  if (kept !== undefined) return { isPossible: bloomMayHave(kept, id), bytesRead: 0 };
  const shard = asBytes(await readObject(name, signal));
  cache.set(key, shard, shard.length);
  return { isPossible: bloomMayHave(shard, id), bytesRead: shard.length };
}

export async function openBlock(options: OpenBlockOptions): Promise<Block> {
  const { meta, cache, readRange, decompressors, signal } = options;
  const key = `${meta.blockId}/footer`;
  let metadata = cache.get<FileMetadata>(key);
  let bytesRead = 0;
  if (metadata === undefined) {
    const footer = await readFooter(meta, readRange, signal);
    bytesRead = footer.length + FOOTER_TAIL_BYTES;
    metadata = inBlock(meta, () => parseFooter(footer, meta.sizeBytes));
    cache.set(key, metadata, footer.length * FOOTER_GROWTH);
  }
  const columns = columnsOf(metadata, meta.dedicatedColumns);
  const scratch = options.scratch ?? new ScratchPool();
  const file: BlockFile = {
    blockId: meta.blockId,
    metadata,
    columns,
    readRange,
    decompressors,
    cache,
    memos: options.memos ?? cache,
    atHand: new MaterialAtHand(scratch),
    scratch,
  };
  return new Block(options, file, bytesRead);
}

/** The meta says how long the footer is; a meta without that costs one read more. */
async function readFooter(meta: BlockMeta, readRange: ReadRange, signal?: AbortSignal): Promise<Uint8Array> {
  const { sizeBytes } = meta;
  let wanted = meta.footerSizeBytes > 0 ? meta.footerSizeBytes : 0;
  for (;;) {
    const length = wanted + FOOTER_TAIL_BYTES;
    if (length > sizeBytes) throw damaged(meta, 'data.parquet is shorter than its footer');
    const bytes = asBytes(await readRange(sizeBytes - length, length, signal, 'footer'));
    if (bytes.length !== length) throw damaged(meta, 'data.parquet ends too early');
    const stated = inBlock(meta, () => footerLength(bytes));
    if (stated === wanted) return bytes.subarray(0, wanted);
    if (wanted !== 0) throw damaged(meta, `the footer has ${stated} bytes and not ${wanted}`);
    wanted = stated;
  }
}

function damaged(meta: BlockMeta, what: string, cause?: unknown): TempoError {
  return new TempoError('block_corrupt', `block ${meta.blockId}: ${what}`, cause);
}

/** Adds the name of the block to what went wrong. */
function inBlock<T>(meta: BlockMeta, work: () => T): T {
  try {
    return work();
  } catch (err) {
    if (err instanceof TempoError && err.code === 'block_corrupt') throw damaged(meta, err.message, err);
    throw err;
  }
}

export class Block {
  readonly meta: BlockMeta;
  readonly metadata: FileMetadata;
  readonly rowGroups: readonly RowGroupSource[];
  private readonly options: OpenBlockOptions;
  private readonly file: BlockFile;
  private ownBytesRead: number;

  constructor(options: OpenBlockOptions, file: BlockFile, bytesRead: number) {
    this.options = options;
    this.file = file;
    this.meta = options.meta;
    this.metadata = file.metadata;
    this.rowGroups = file.metadata.rowGroups.map((_, i) => new RowGroupSource(file, i));
    this.ownBytesRead = bytesRead;
  }

  /** Bytes read from storage so far: footer, bloom shards and columns. */
  get bytesRead(): number {
    return this.rowGroups.reduce((sum, group) => sum + group.bytesRead, this.ownBytesRead);
  }

  get readObject(): OpenBlockOptions['readObject'] {
    return this.options.readObject;
  }

  /** False when the bloom filter says that the trace (16 bytes) is not here. */
  async mightContain(id: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const { isPossible, bytesRead } = await askBloom(this.options, id, signal);
    this.ownBytesRead += bytesRead;
    return isPossible;
  }

  /** What was read is needed no longer: its memory is used again. */
  release(): void {
    this.file.atHand.release();
  }

  /** Whoever calls it has asked the bloom filter, which is much cheaper. */
  async locate(id: Uint8Array, signal?: AbortSignal): Promise<LocatedTrace | undefined> {
    for (const group of this.rowGroups) {
      const located = await group.locate(id, signal);
      if (located !== undefined) return located;
    }
    return undefined;
  }
}
