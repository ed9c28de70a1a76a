// The size of the complete blocks below a data folder.
import { existsSync, globSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';

export type DiskUse = { readonly blocks: number; readonly bytes: number };

/** Sums the files of every folder with a meta.json; a block that stands in two places counts once. */
export function blocksBelow(folder: string): DiskUse {
  const sizes = new Map<string, number>();
  for (const metaPath of globSync(join(folder, '**/meta.json'))) {
    const block = dirname(metaPath);
    if (!existsSync(join(block, 'data.parquet'))) continue;
    const meta: { blockID?: string } = JSON.parse(readFileSync(metaPath, 'utf8'));
    const files = readdirSync(block).map((name) => statSync(join(block, name)).size);
    const bytes = files.reduce((sum, size) => sum + size, 0);
    sizes.set(meta.blockID ?? block, bytes);
  }
  return { blocks: sizes.size, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
}
