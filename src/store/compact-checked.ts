// One compaction, wherever it runs: blocks of the backend become one in the scratch folder, which is read
// again before it counts.
import { compactBlocks, type CompactResult } from '../block/compact/compact.ts';
import { type BlockCompression, blockCompressor, blockDecompressors } from '../block/compression.ts';
import type { BloomOptions } from '../block/trace-bloom.ts';
import type { BlockSink } from '../block/vparquet/block-objects.ts';
import type { ObjectStore } from '../objectstore/objectstore.ts';
import { BlockOpener } from './block-opener.ts';
import { checkBlock } from './check-block.ts';
import type { CompactionJob } from './compaction-messages.ts';

export interface CompactionPlaces {
  readonly backend: ObjectStore;
  /** Reads what the sink wrote. */
  readonly scratch: ObjectStore;
  readonly sink: BlockSink & {
    /** Everything is written. */
    finish(): void;
  };
  readonly bloom: BloomOptions;
  readonly valueFilterBytesMax: number;
  /** undefined = zstd. */
  readonly compression?: BlockCompression | undefined;
}

/** Of ids and trees of the row groups in work. */
const CACHE_BYTES = 32 << 20;

const decompressors = blockDecompressors();
const never = new AbortController().signal;

/** Resolves when the new block is complete and was read again. */
export async function compactChecked(
  { inputs, blockId, traceBytesMax }: CompactionJob,
  { backend, scratch, sink, bloom, valueFilterBytesMax, compression }: CompactionPlaces,
): Promise<CompactResult> {
  const blocks = new BlockOpener({ local: backend, backend, cacheBytes: CACHE_BYTES, isUncached: true });
  const opened = await Promise.all(inputs.map((meta) => blocks.open(meta, 'backend', never)));
  const options = { bloom, valueFilterBytesMax, compressor: blockCompressor(compression) };
  const result = await compactBlocks({
    inputs: opened,
    blockId,
    options,
    decompressors,
    traceBytesMax,
    sink,
  });
  sink.finish();
  const written = new BlockOpener({ local: scratch, backend: scratch, cacheBytes: CACHE_BYTES });
  await checkBlock(await written.open(result.meta, 'local', never), result);
  return result;
}
