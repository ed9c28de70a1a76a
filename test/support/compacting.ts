// Compaction in tests: blocks in memory become one block in memory.
import { blockDecompressors } from '../../src/block/compression.ts';
import { compactBlocks, type CompactResult } from '../../src/block/compact/compact.ts';
import type { CreateOptions } from '../../src/block/vparquet/create.ts';
import { type Block, openBlock } from '../../src/block/vparquet/open.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { ByteLru } from '../../src/lib/lru.ts';
import type { WrittenBlock } from './block-rows.ts';

const decompressors = blockDecompressors();

export interface Compacted extends WrittenBlock {
  readonly result: CompactResult;
}

export function openWritten({ meta, objects }: WrittenBlock, blockId = meta.blockId): Promise<Block> {
  const data = objects.get('data.parquet')!;
  return openBlock({
    meta: { ...meta, blockId },
    readRange: (offset, length) => Promise.resolve(data.slice(offset, offset + length)),
    readObject: async (name) => {
      const bytes = objects.get(name);
      if (bytes === undefined) throw new TempoError('not_found', `${name} is not there`);
      return bytes;
    },
    decompressors,
    cache: new ByteLru(1 << 20),
  });
}

export async function compactWritten(
  blocks: readonly WrittenBlock[],
  options: Partial<CreateOptions> = {},
  traceBytesMax = 0,
  blockId = '22222222-2222-4333-8444-555555555555',
): Promise<Compacted> {
  const inputs: Block[] = [];
  const isEachOwn = new Set(blocks.map(({ meta }) => meta.blockId)).size === blocks.length;
  for (const [i, block] of blocks.entries()) {
    inputs.push(await openWritten(block, isEachOwn ? block.meta.blockId : `input-${i}`));
  }
  const objects = new Map<string, Uint8Array>();
  const result = await compactBlocks({
    inputs,
    blockId,
    options,
    decompressors,
    traceBytesMax,
    sink: {
      create(name) {
        const parts: Uint8Array[] = [];
        return {
          write: (bytes) => parts.push(bytes.slice()),
          close: () => objects.set(name, Uint8Array.from(Buffer.concat(parts))),
        };
      },
    },
  });
  return { meta: result.meta, objects, result };
}
