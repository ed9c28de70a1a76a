// Reads a block that was just written, before anything is deleted that it stands for: ids in order, as many
// traces and spans as there should be, and a bloom filter that knows them.
import type { Block } from '../block/vparquet/open.ts';
import { loadSpanTree } from '../block/vparquet/span-tree.ts';
import { TempoError } from '../lib/errors.ts';

const ID_BYTES = 16;

/** Rejects with `block_corrupt`. @param spans that there should be. */
export async function checkBlock(block: Block, spans: number): Promise<void> {
  const { meta, rowGroups } = block;
  const damaged = (what: string): TempoError =>
    new TempoError('block_corrupt', `block ${meta.blockId} is not what was written: ${what}`);
  let traces = 0;
  let found = 0;
  let last: Buffer | undefined;
  for (const source of rowGroups) {
    const { ids, sorted } = await source.traceIds();
    const first = Buffer.from(ids.subarray(0, ID_BYTES));
    if (!sorted || (last !== undefined && last.compare(first) >= 0)) throw damaged('ids are not in order');
    last = Buffer.from(ids.subarray(ids.length - ID_BYTES));
    for (const id of [first, last]) {
      if (!(await block.mightContain(new Uint8Array(id)))) throw damaged('the bloom filter lacks an id');
    }
    traces += source.traceCount;
    found += (await loadSpanTree(source.group)).rowSpan[source.traceCount]!;
  }
  if (traces !== meta.totalObjects) throw damaged(`${traces} traces, not ${meta.totalObjects}`);
  if (found !== spans) throw damaged(`${found} spans, not ${spans}`);
}
