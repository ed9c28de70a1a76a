// The blocks that real Tempo wrote, as sources, and its recorded answers over them.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { blockDecompressors } from '../../src/block/compression.ts';
import { metaFromJson } from '../../src/block/meta-json.ts';
import { type Block, openBlock } from '../../src/block/vparquet/open.ts';
import { ByteLru } from '../../src/lib/lru.ts';
import type { WrittenBlock } from './block-rows.ts';

export interface Golden {
  readonly name: string;
  readonly request: string;
  readonly status: number;
  readonly want: unknown;
}

/** @param file below test/golden/answers. */
export function goldenAnswers(file: string): Golden[] {
  return gunzipSync(readFileSync(new URL(`../golden/answers/${file}.jsonl.gz`, import.meta.url)))
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Golden);
}

/** @param name below test/golden. */
export function goldenObjects(name: string): WrittenBlock {
  const objects = new Map(
    ['data.parquet', 'bloom-0', 'meta.json'].map((object) => [object, readGolden(name, object)]),
  );
  return { meta: metaFromJson(objects.get('meta.json')!), objects };
}

function readGolden(name: string, object: string): Uint8Array {
  return Uint8Array.from(readFileSync(new URL(`../golden/${name}/${object}`, import.meta.url)));
}

/** @param name below test/golden. */
export async function openGoldenBlock(name: string): Promise<Block> {
  const read = (object: string): Uint8Array => readGolden(name, object);
  const data = read('data.parquet');
  return openBlock({
    meta: metaFromJson(read('meta.json')),
    cache: new ByteLru(64e6),
    decompressors: blockDecompressors(),
    readRange: async (offset, length) => data.subarray(offset, offset + length),
    readObject: async (object) => read(object),
  });
}
