// Compaction of vParquet5: columns of every kind, and blocks as both Tempos wrote them.
import t from 'tap';
import { ValueGatherer } from '../../src/block/compact/gather-values.ts';
import { MergedStrings } from '../../src/block/compact/merged-strings.ts';
import { DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
import { WorkMemory } from '../../src/lib/work-memory.ts';
import { expectedRows, readRows, sameRows, writeBlock } from '../support/block-rows.ts';
import { compactWritten } from '../support/compacting.ts';
import { EVERY_DEDICATED, everyTrace } from '../support/every-value.ts';
import { goldenObjects } from '../support/golden-blocks.ts';

t.setTimeout(240_000);

t.test('vParquet5, with columns of every kind', async (t) => {
  const [early, late] = everyTrace(12);
  const all = [...early!, ...late!];
  const layouts = { usual: DEFAULT_DEDICATED_COLUMNS, every: EVERY_DEDICATED };
  for (const [name, dedicatedColumns] of Object.entries(layouts)) {
    const layout = { format: 'vParquet5', dedicatedColumns } as const;
    const want = expectedRows(all, dedicatedColumns, 'vParquet5');
    const parts = [early!, late!, early!.slice(0, 20)];
    const inputs = parts.map((part) => writeBlock([part], { ...layout, rowGroupSpans: 15, pageRows: 2 }));
    const compacted = await compactWritten(inputs, { pageRows: 3, rowGroupSpans: 60 });
    sameRows(t, await readRows(compacted), want, name);
    t.match(compacted.meta, { format: 'vParquet5', dedicatedColumns, compactionLevel: 1 });
    const again = await compactWritten([compacted, writeBlock([late!], layout)]);
    sameRows(t, await readRows(again), want, `${name}, again`);
  }
});

t.test('strings of one column after another: those that repeat get numbers, from 0 each time', (t) => {
  const memory = new WorkMemory(1 << 24);
  const gatherer = new ValueGatherer(memory);
  const count = 70_000;
  const gather = (textOf: (i: number) => string) => {
    memory.reset();
    const texts = Array.from({ length: count }, (_, i) => Buffer.from(textOf(i)));
    const starts = new Int32Array(count + 1);
    texts.forEach((text, i) => (starts[i + 1] = starts[i]! + text.length));
    const rows = Int32Array.from({ length: count + 1 }, (_, i) => i);
    const column = {
      entries: { count, repetition: undefined, rowStarts: rows },
      definition: 1,
      valueStarts: rows,
      values: { kind: 'packed', bytes: new Uint8Array(Buffer.concat(texts)), starts },
    } as const;
    const runs = {
      part: Int32Array.of(0),
      row: Int32Array.of(0),
      length: Int32Array.of(count),
      pageRows: Int32Array.of(0, count),
    };
    const leaf = { type: 'BYTE_ARRAY' } as Parameters<ValueGatherer['gather']>[2];
    return gatherer.gather([column], runs, leaf, true).values;
  };
  const sizeOf = (values: ReturnType<typeof gather>): number => {
    if (values.kind !== 'strings') return -1;
    const table = values.table as MergedStrings;
    t.strictSame([...values.ids.subarray(0, 3)], [0, 1, 2]);
    t.equal(table.body().length, table.ends[table.size - 1], 'its bytes are those of the column alone');
    return table.size;
  };
  t.equal(gather((i) => `distinct ${i}`).kind, 'packed');
  t.equal(sizeOf(gather((i) => `first ${i % 300}`)), 300);
  t.equal(sizeOf(gather((i) => `second ${i % 200}`)), 200, 'what was there before is forgotten');
  t.equal(sizeOf(gather((i) => `second ${i % 200}`)), 200);
  // Nine of ten differ: that is about as many as pay.
  t.equal(gather((i) => `mostly ${i % 20 === 0 ? 0 : i}`).kind, 'packed');
  t.equal(gather((i) => `less so ${i % 5 === 0 ? 0 : i}`).kind, 'strings');
  t.end();
});

t.test('blocks that Tempo wrote in vParquet5', async (t) => {
  for (const name of ['vparquet5', 'vparquet5-columns-2.10', 'vparquet5-columns-3.0']) {
    const golden = goldenObjects(name);
    const rows = await readRows(golden);
    const alone = await compactWritten([golden], { pageRows: 5 });
    sameRows(t, await readRows(alone), rows, name);
    t.same(alone.meta.dedicatedColumns, golden.meta.dedicatedColumns);
    const twice = await compactWritten([golden, alone]);
    sameRows(t, await readRows(twice), rows, `${name} with a copy of itself`);
  }
  // the same spans as one of 3.0 has them: replication factors differ, columns do not
  const [of2, of3] = ['vparquet5-2.10', 'vparquet5-3.0'].map(goldenObjects);
  const alike = { ...of3!, meta: { ...of3!.meta, replicationFactor: 0 } };
  const { result } = await compactWritten([of2!, alike]);
  t.match(result, { combined: 0, spans: 20_008, duplicateSpans: 20_008 });
});

t.test('a table of strings that is used again forgets what it had', (t) => {
  const table = new MergedStrings();
  const add = (text: string, hash: number): number => {
    const bytes = Buffer.from(` ${text} `);
    return table.idOf(bytes, 1, bytes.length - 1, hash);
  };
  // so many that it grows; hashes that meet in one slot, too
  const fill = (count: number, prefix: string): void => {
    for (let n = 0; n < count; n++) t.equal(add(`${prefix}${n}`, n >> 2), n);
    for (let n = 0; n < count; n++) t.equal(add(`${prefix}${n}`, n >> 2), n, 'each is known');
    const texts = Array.from({ length: count }, (_, n) => `${prefix}${n}`);
    const body = texts.flatMap((text) => [text.length, 0, 0, 0, ...Buffer.from(text)]);
    t.strictSame([...table.body()], body);
    t.equal(table.size, count);
  };
  fill(500, 'a');
  table.reset();
  t.equal(table.size, 0);
  t.equal(table.body().length, 0);
  t.equal(add('a400', 100), 0, 'of another column');
  t.equal(add('a0', 0), 1);
  table.reset();
  fill(500, 'bb');
  t.end();
});
