// A foreign Parquet reader, pyarrow, reads every column of the blocks that the server writes.
import { globSync } from 'node:fs';
import t from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { generateTrace } from '../../cmd/tracegen/traces.ts';
import { type Attribute, aTrace, encodeTraces } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { startTempo } from '../support/server.ts';
import { runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

type ReadFile = {
  readonly rows: number;
  readonly leaves: number;
  readonly spans: number;
  readonly traces: string[];
};

const VPARQUET4_LEAVES = 103;
const GENERATED = 200;
const ODD_TRACES = 20;
const ODD_SPANS = 9;

/** Spans with a value of every kind, events, links and dropped counts. */
function oddTrace(id: number): Uint8Array {
  const attributes: Attribute[] = [
    ['text', 'ä'.repeat(id)],
    ['bool', id % 2 === 0],
    ['int', -(2n ** 62n) - BigInt(id)],
    ['double', id / 3],
    ['bytes', new Uint8Array([0, id, 255])],
    ['strings', ['a', `b${id}`]],
    ['ints', [1n, BigInt(id)]],
    ['mixed', ['a', 1n, true]],
    ['empty', []],
    ['map', { kv: [['k', 'v']] }],
    ['nothing', undefined],
  ];
  const spans = aTrace(id, ODD_SPANS, (i) => ({
    attributes,
    events: [
      { timeUnixNano: 1_767_225_600_000_000_000n, name: `event-${i}`, attributes, droppedAttributes: i },
    ],
    links: [
      {
        traceId: 'ff'.repeat(16),
        spanId: '11'.repeat(8),
        traceState: 'a=b',
        attributes,
        droppedAttributes: 1,
      },
    ],
    status: { code: 2, message: 'broken' },
    traceState: 'c=d',
  }));
  return encodeTraces(spans);
}

t.test('pyarrow reads every column of a block', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`);
  const generated = Array.from({ length: GENERATED }, () => generateTrace());
  for (const { request } of generated) await client.send(request);
  for (let id = 1; id <= ODD_TRACES; id++) await client.send(oddTrace(id));
  client.close();
  await flush(tempo);
  const paths = globSync(`${tempo.data}/blocks/*/*/data.parquet`);
  t.not(paths.length, 0, 'blocks were written');
  const output = await runComponent('PYARROW_PYTHON', ['test/components/read_parquet.py', ...paths]);
  const files = JSON.parse(output) as ReadFile[];
  const total = (pick: (file: ReadFile) => number): number =>
    files.reduce((sum, file) => sum + pick(file), 0);
  const wantSpans = generated.reduce((sum, { spans }) => sum + spans, 0) + ODD_TRACES * ODD_SPANS;
  t.equal(
    total((file) => file.spans),
    wantSpans,
  );
  t.equal(
    total((file) => file.rows),
    GENERATED + ODD_TRACES,
  );
  t.same(new Set(files.map((file) => file.leaves)), new Set([VPARQUET4_LEAVES]));
  const traces = new Set(files.flatMap((file) => file.traces));
  t.same(
    generated.filter(({ traceId }) => !traces.has(traceId)),
    [],
  );
  for (const file of files) t.same(file.traces, file.traces.toSorted(), 'rows are sorted by trace id');
});
