// A foreign Parquet reader, pyarrow, reads every column of a block that holds a value of every kind, and
// finds in each what the format's rules say.
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { blockCompressor } from '../../src/block/compression.ts';
import { expectedRows, type Row, writeBlock, sameRows } from '../support/block-rows.ts';
import { EVERY_DEDICATED, everyAttribute, everyColumn } from '../support/every-value.ts';
import { aResource, aScope, aTrace, START_NANO, type TestSpan } from '../support/otlp.ts';
import { runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

const TRACES = 50;

t.setTimeout(180_000);

function spansOf(id: number): TestSpan[] {
  return aTrace(id, (id % 12) + 1, (i) => ({
    kind: i % 6,
    status: { code: i % 3, message: i % 2 === 0 ? '' : `message ${i}` },
    traceState: i % 2 === 0 ? 'a=b' : '',
    attributes: i % 4 === 3 ? [] : [...everyAttribute(id), ...everyColumn(i)],
    droppedAttributes: i % 5,
    events: Array.from({ length: i % 3 }, (_, e) => ({
      timeUnixNano: START_NANO + BigInt(e),
      name: `event ${e}`,
      attributes: everyAttribute(e),
      droppedAttributes: e,
    })),
    links: Array.from({ length: i % 2 }, () => ({
      traceId: 'ff'.repeat(16),
      spanId: '11'.repeat(8),
      traceState: 'c=d',
      attributes: everyAttribute(i),
      droppedAttributes: 1,
    })),
    resource: aResource(`service ${i % 2}`, [...everyAttribute(i), ['cluster', 'c']]),
    scope: { ...aScope(`scope ${i % 2}`), attributes: everyAttribute(3) },
  }));
}

t.test('pyarrow finds in every column what belongs there', async (t) => {
  const spans = Array.from({ length: TRACES }, (_, id) => spansOf(id + 1)).flat();
  const { objects } = writeBlock([spans], { rowGroupSpans: 100, pageRows: 5 });
  const path = `${testFolder(t)}/data.parquet`;
  writeFileSync(path, objects.get('data.parquet')!);
  const output = await runComponent('PYARROW_PYTHON', ['test/components/dump_parquet.py', path]);
  sameRows(t, JSON.parse(output) as Row[], expectedRows(spans), 'vParquet4');
});

t.test('and in every column of vParquet5, with pages in snappy', async (t) => {
  const spans = Array.from({ length: TRACES }, (_, id) => spansOf(id + 1)).flat();
  const layout = { format: 'vParquet5', dedicatedColumns: EVERY_DEDICATED } as const;
  const compressor = blockCompressor('snappy');
  const { objects } = writeBlock([spans], { rowGroupSpans: 100, pageRows: 5, compressor, ...layout });
  const path = `${testFolder(t)}/data.parquet`;
  writeFileSync(path, objects.get('data.parquet')!);
  const output = await runComponent('PYARROW_PYTHON', ['test/components/dump_parquet.py', path]);
  const want = expectedRows(spans, EVERY_DEDICATED, 'vParquet5');
  sameRows(t, JSON.parse(output) as Row[], want, 'vParquet5');
});
