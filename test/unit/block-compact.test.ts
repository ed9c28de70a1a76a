// Compaction: the block that comes out of several has the rows of a block made of all their spans at once.
import { checkBlock } from '../../src/store/check-block.ts';
import t from 'tap';
import { digestOf } from '../../src/block/compact/value-digest.ts';
import { bloomMayHave, bloomShardOf } from '../../src/block/trace-bloom.ts';
import { WorkMemory } from '../../src/lib/work-memory.ts';
import type { ExactValues } from '../../src/parquet/exact-values.ts';
import { expectedRows, readRows, type Row, sameRows, writeBlock } from '../support/block-rows.ts';
import { compactWritten, openWritten } from '../support/compacting.ts';
import { everyTrace } from '../support/every-value.ts';
import { Chance } from '../support/fuzz.ts';
import { aSpan, aTrace, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';
import { randomSpans } from '../support/random-spans.ts';

t.setTimeout(240_000);

const SEED = Number(process.env['FUZZ_SEED'] ?? 20251125);
const ROUNDS = 10;

function ids(rows: readonly Row[]): unknown[] {
  return rows.map((row) => row['TraceID']);
}

t.test('traces of one input each', async (t) => {
  const spans = everyTrace(16).flat();
  const want = expectedRows(spans);
  const part = (n: number): TestSpan[] =>
    spans.filter(({ traceId }) => Number.parseInt(traceId.slice(-4), 16) % 3 === n);
  const cases = [
    { name: 'as they are', input: {}, output: {}, groups: 1 },
    { name: 'inputs of many row groups', input: { rowGroupSpans: 15, pageRows: 2 }, output: {}, groups: 1 },
    {
      name: 'many row groups',
      input: { pageRows: 3 },
      output: { rowGroupSpans: 40, pageRows: 2 },
      groups: 2,
    },
    {
      name: 'small row groups all over',
      input: { rowGroupSpans: 12, pageRows: 1 },
      output: { rowGroupSpans: 20 },
    },
  ];
  for (const { name, input, output, groups } of cases) {
    const inputs = [0, 1, 2].map((n) => writeBlock([part(n)], input));
    const { meta, objects, result } = await compactWritten(inputs, output);
    t.strictSame(await readRows({ meta, objects }), want, name);
    if (groups !== undefined) t.equal(meta.totalRecords, groups, name);
    t.equal(meta.totalObjects, 16);
    t.equal(meta.compactionLevel, 1);
    t.strictSame(result.meta.startSec, Math.min(...inputs.map((block) => block.meta.startSec)));
    t.strictSame(result.meta.endSec, Math.max(...inputs.map((block) => block.meta.endSec)));
    t.match(result, { spans: spans.length, combined: 0, duplicateSpans: 0, cutTraces: 0, cutSpans: 0 });
    const isInBloom = (row: Row): boolean => {
      const id = Uint8Array.from(Buffer.from(row['TraceID'] as string, 'hex'));
      return bloomMayHave(objects.get(`bloom-${bloomShardOf(id, meta.bloomShards)}`)!, id);
    };
    t.ok(want.every(isInBloom), name);
    t.equal([...objects.keys()].at(-1), 'meta.json');
  }
});

t.test('traces that are split, and spans that are there twice', async (t) => {
  const [early, late] = everyTrace(12);
  const all = [...early!, ...late!];
  const halves = await compactWritten([writeBlock([early!]), writeBlock([late!])]);
  sameRows(t, await readRows(halves), expectedRows(all), 'halves');
  t.equal(halves.result.duplicateSpans, 0);
  t.ok(halves.result.combined > 4);
  const copies = await compactWritten([writeBlock([all]), writeBlock([all]), writeBlock([all])]);
  sameRows(t, await readRows(copies), expectedRows(all), 'three copies');
  t.match(copies.result, { combined: 0, duplicateSpans: 2 * all.length, spans: all.length });
  const overlapping = await compactWritten([writeBlock([early!]), writeBlock([all]), writeBlock([late!])], {
    rowGroupSpans: 50,
  });
  sameRows(t, await readRows(overlapping), expectedRows(all), 'overlapping');
  const again = await compactWritten([overlapping, halves, copies]);
  sameRows(t, await readRows(again), expectedRows(all), 'compacted blocks');
  t.equal(again.meta.compactionLevel, 2);
});

t.test('by chance', async (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const chance = new Chance(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const spans = randomSpans(chance, 1 + chance.below(12));
    const count = 2 + chance.below(4);
    const parts: TestSpan[][] = Array.from({ length: count }, () => []);
    const byTrace = chance.once(2);
    for (const span of spans) {
      const of = byTrace ? Number.parseInt(span.traceId.slice(-4), 16) % count : chance.below(count);
      parts[of]!.push(span);
      if (chance.once(10)) parts[chance.below(count)]!.push(span);
    }
    const limits = () => ({
      rowGroupSpans: 1 + chance.below(40),
      pageRows: 1 + chance.below(4),
      pageSpans: 9,
    });
    const inputs = parts.filter((part) => part.length > 0).map((part) => writeBlock([part], limits()));
    const { meta, objects } = await compactWritten(inputs, limits());
    const want = expectedRows(inputs.length === 0 ? [] : parts.flat());
    sameRows(t, await readRows({ meta, objects }), want, `round ${round}`);
  }
});

t.test('a trace that grows too large keeps its largest part', async (t) => {
  const small = aTrace(1, 3);
  const large = aTrace(2, 30);
  const more = large.map((span, i) => ({ ...span, spanId: hexId(1000 + i, 8) })).slice(0, 20);
  const { result, ...block } = await compactWritten(
    [writeBlock([[...small, ...more]]), writeBlock([large])],
    {},
    2000,
  );
  t.match(result, { cutTraces: 1, cutSpans: 20, combined: 0 });
  sameRows(t, await readRows(block), expectedRows([...small, ...large]), 'rows');
  t.strictSame(ids(await readRows(block)), ids(expectedRows([...small, ...large])));
});

t.test('blocks that are not alike', async (t) => {
  const block = writeBlock([[aSpan({ startUnixNano: START_NANO })]]);
  const other = { ...block, meta: { ...block.meta, replicationFactor: 1 } };
  await t.rejects(compactWritten([block, other]), { code: 'invalid_argument' });
  const damaged = { ...block, meta: { ...block.meta, format: 'vParquet3' } };
  await t.rejects(compactWritten([damaged, damaged]), { code: 'unimplemented' });
});

t.test('a new block is compared with what its inputs had', async (t) => {
  const [early, late] = everyTrace(12);
  const inputsOf = (change: (span: TestSpan) => Partial<TestSpan>) => {
    const changed = (span: TestSpan, i: number): TestSpan => (i === 3 ? { ...span, ...change(span) } : span);
    return [writeBlock([early!.map(changed)]), writeBlock([late!])];
  };
  const limits = { rowGroupSpans: 30, pageRows: 2 };
  const compacted = await compactWritten(
    inputsOf(() => ({})),
    limits,
  );
  const { result } = compacted;
  t.ok(compacted.meta.totalRecords > 1);
  await checkBlock(await openWritten(compacted), result);
  const changes: readonly [column: string, change: (span: TestSpan) => Partial<TestSpan>][] = [
    ['Spans.Name', () => ({ name: 'another' })],
    ['StatusMessage', ({ status }) => ({ status: { ...status, message: 'other' } })],
    ['DurationNano', ({ endUnixNano }) => ({ endUnixNano: endUnixNano + 1n })],
    [
      'Events.',
      ({ startUnixNano: timeUnixNano }) => ({
        events: [{ timeUnixNano, name: 'late', attributes: [], droppedAttributes: 0 }],
      }),
    ],
    ['Attrs.', ({ attributes }) => ({ attributes: [...attributes, ['more', 1.5]] })],
    ['Spans.DroppedLinksCount', () => ({ droppedLinks: 77 })],
    ['SpanID', () => ({ spanId: hexId(0xabcdef, 8) })],
  ];
  for (const [column, change] of changes) {
    const other = await compactWritten(inputsOf(change), limits);
    const err = await checkBlock(await openWritten(other), result).catch((cause: unknown) => cause);
    t.match(err, { code: 'block_corrupt' }, column);
    t.match(String(err), /row group 0 has other values in \w/, column);
  }
  const parts: readonly [what: RegExp, wanted: Partial<typeof result>][] = [
    [/spans, not/, { spans: result.spans + 1 }],
    [/other row groups/, { checksums: { ...result.checksums, values: result.checksums.values.slice(1) } }],
    [/number of spans/, { checksums: { ...result.checksums, values: result.checksums.values.with(0, 1) } }],
  ];
  for (const [message, wanted] of parts) {
    const block = await openWritten(compacted);
    await t.rejects(checkBlock(block, { ...result, ...wanted }), { code: 'block_corrupt', message });
  }
  const columns = result.checksums.columns.length;
  for (let i = 0; i < columns; i++) {
    const values = result.checksums.values.slice();
    values[i + 1]! ^= 1;
    const block = await openWritten(compacted);
    const wanted = { ...result, checksums: { ...result.checksums, values } };
    await t.rejects(checkBlock(block, wanted), { message: new RegExp(`${result.checksums.columns[i]}$`) });
  }
  const withObject = (name: string, bytes: Uint8Array) =>
    openWritten({ ...compacted, objects: new Map([...compacted.objects, [name, bytes]]) });
  const bloom = new Uint8Array(compacted.objects.get('bloom-0')!.length);
  bloom.set(compacted.objects.get('bloom-0')!.subarray(0, 24));
  await t.rejects(
    withObject('bloom-0', bloom).then((block) => checkBlock(block, result)),
    {
      message: /bloom filter/,
    },
  );
  const data = compacted.objects.get('data.parquet')!.slice();
  data.fill(0, 300, 310);
  await t.rejects(
    withObject('data.parquet', data).then((block) => checkBlock(block, result)),
    'a page is damaged',
  );
});

t.test('checksums of values', (t) => {
  const memory = new WorkMemory(1 << 16);
  const digest = (values: ExactValues): number => digestOf(values, memory);
  const ints = (...values: number[]): ExactValues => ({ kind: 'int32', values: Int32Array.from(values) });
  const wide = (...words: number[]): ExactValues => ({ kind: 'int64', words: Int32Array.from(words) });
  const bools = (...values: number[]): ExactValues => ({ kind: 'bool', values: Uint8Array.from(values) });
  const packed = (...texts: string[]): ExactValues => ({
    kind: 'packed',
    bytes: Buffer.from(texts.join('')),
    starts: Int32Array.from([0, ...texts.map((_, i) => texts.slice(0, i + 1).join('').length)]),
  });
  const numbered = (ids: number[], ...texts: string[]): ExactValues => {
    const ends = Int32Array.from(texts, (_, i) => texts.slice(0, i + 1).join('').length);
    const starts = Int32Array.of(0, ...ends.subarray(0, -1));
    const table = { bytes: Buffer.from(texts.join('')), starts, ends };
    return { kind: 'strings', ids: Int32Array.from(ids), table };
  };
  const different: readonly (readonly ExactValues[])[] = [
    [ints(), ints(0), ints(0, 0), ints(0, 1), ints(1, 0), ints(1), ints(-1)],
    [wide(), wide(0, 0), wide(0, 1), wide(1, 0), wide(1, 0, 0, 1), wide(0, 1, 1, 0), wide(0, 0, 0, 0)],
    [bools(), bools(0), bools(0, 0), bools(0, 1), bools(1, 0), bools(1), bools(1, 1)],
    [packed(), packed(''), packed('', ''), packed('a'), packed('a', ''), packed('', 'a'), packed('aa')],
    [packed('four', 'more than four'), packed('more than four', 'four'), packed('fourm', 'ore than four')],
    [numbered([0, 1], 'a', 'b'), numbered([1, 0], 'a', 'b'), numbered([0, 0], 'a', 'b')],
  ];
  for (const values of different) {
    t.equal(new Set(values.map(digest)).size, values.length, values[0]!.kind);
  }
  t.equal(
    digest(packed('a', 'bcdef', 'a')),
    digest(numbered([1, 0, 1], 'bcdef', 'a')),
    'however it is stored',
  );
  t.end();
});

t.test('memory that is used again', (t) => {
  const memory = new WorkMemory(64);
  t.equal(memory.bytes(5).length, 5, 'before there is any');
  memory.words(3);
  memory.reset();
  const first = memory.bytes(5);
  const words = memory.words(2);
  t.not(first.buffer, memory.bytes(1000).buffer, 'what has no room is of its own');
  t.equal(first.buffer, words.buffer);
  t.ok(words.byteOffset >= first.byteOffset + 5 && words.byteOffset % 4 === 0);
  memory.reset();
  t.equal(memory.bytes(64).buffer.byteLength, 64, 'not more than may be kept');
  memory.reset();
  const taken = [memory.bytes(32), memory.bytes(32)];
  t.equal(taken[0]!.buffer, taken[1]!.buffer);
  t.equal(taken[1]!.byteOffset, 32);
  t.end();
});
