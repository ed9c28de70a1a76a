// Reads a block that was just written, before anything is deleted that it stands for: ids in order, as many
// traces and spans as there should be, a bloom filter that knows them, and in every column the values that
// the inputs had.
import type { Checksums } from '../block/compact/compact.ts';
import { digestOf, digestOfInts } from '../block/compact/value-digest.ts';
import type { Block } from '../block/vparquet/open.ts';
import type { RowGroupSource } from '../block/vparquet/row-group.ts';
import { loadSpanTree } from '../block/vparquet/span-tree.ts';
import { TempoError } from '../lib/errors.ts';
import { WorkMemory } from '../lib/work-memory.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import { exactValues } from '../parquet/exact-values.ts';

/** Columns that need more are read into memory of their own. */
const MEMORY_BYTES_MAX = 64 << 20;

/** Of a column without values. */
const NOTHING = digestOfInts(new Int32Array(0));

export interface WantedBlock {
  readonly spans: number;
  readonly checksums: Checksums;
}

/** Rejects with `block_corrupt`. */
export async function checkBlock(block: Block, { spans, checksums }: WantedBlock): Promise<void> {
  const { meta, rowGroups } = block;
  const damaged = (what: string): TempoError =>
    new TempoError('block_corrupt', `block ${meta.blockId} is not what was written: ${what}`);
  const perGroup = checksums.columns.length + 1;
  if (checksums.values.length !== perGroup * rowGroups.length) throw damaged('it has other row groups');
  let traces = 0;
  let found = 0;
  let last: Buffer | undefined;
  const memory = new WorkMemory(MEMORY_BYTES_MAX);
  for (const [i, source] of rowGroups.entries()) {
    const { ids, sorted } = await source.traceIds();
    const first = Buffer.from(ids.subarray(0, TRACE_ID_BYTES));
    if (!sorted || (last !== undefined && last.compare(first) >= 0)) throw damaged('ids are not in order');
    last = Buffer.from(ids.subarray(ids.length - TRACE_ID_BYTES));
    for (const id of [first, last]) {
      if (!(await block.mightContain(new Uint8Array(id)))) throw damaged('the bloom filter lacks an id');
    }
    traces += source.traceCount;
    found += (await loadSpanTree(source.group)).rowSpan[source.traceCount]!;
    const wanted = checksums.values.subarray(i * perGroup, (i + 1) * perGroup);
    const different = await differentColumn(source, checksums.columns, wanted, memory);
    if (different !== undefined) throw damaged(`row group ${i} has other values in ${different}`);
  }
  if (traces !== meta.totalObjects) throw damaged(`${traces} traces, not ${meta.totalObjects}`);
  if (found !== spans) throw damaged(`${found} spans, not ${spans}`);
}

/** One column is in memory at a time. */
async function differentColumn(
  source: RowGroupSource,
  columns: readonly string[],
  wanted: Int32Array,
  memory: WorkMemory,
): Promise<string | undefined> {
  const { rowSpan } = await loadSpanTree(source.group);
  const counts = Int32Array.from({ length: source.traceCount }, (_, i) => rowSpan[i + 1]! - rowSpan[i]!);
  if (digestOfInts(counts) !== wanted[0]) return 'the number of spans of a trace';
  for (const [i, name] of columns.entries()) {
    if ((await columnDigest(source, name, memory)) !== wanted[i + 1]) return name;
  }
  return undefined;
}

async function columnDigest({ group }: RowGroupSource, column: string, memory: WorkMemory): Promise<number> {
  if (!group.hasValues(column)) return NOTHING;
  memory.reset();
  const rows = { from: 0, to: group.rowCount };
  const { pages, dictionaryPage } = await group.rowRange(column, rows, memory);
  if (pages.entryCount !== group.chunk(column)?.valueCount) throw group.damaged(column, 'lacks pages');
  return digestOf(
    exactValues(pages, { dictionaryPage, decompressors: group.file.decompressors, memory }),
    memory,
  );
}
