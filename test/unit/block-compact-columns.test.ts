// Compaction of vParquet5: columns of every kind, and blocks as both Tempos wrote them.
import t from 'tap';
import { DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
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
