// Blocks from heads: every column as the format's rules have it, the row order, and the objects beside the
// data.
import fc from 'fast-check';
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { metaFromJson, metaOfFolder, metaToBytes } from '../../src/block/meta-json.ts';
import type { DedicatedColumn } from '../../src/block/meta.ts';
import { BLOOM_DEFAULTS, bloomMayHave, bloomShardOf, TraceBloom } from '../../src/block/trace-bloom.ts';
import { blockTimes } from '../../src/block/vparquet/block-times.ts';
import { createBlock, DEFAULT_DEDICATED_COLUMNS, ENCODINGS } from '../../src/block/vparquet/create.ts';
import { blockSchema, writtenFormat } from '../../src/block/vparquet/schema.ts';
import type { SchemaNode } from '../../src/parquet/types.ts';
import {
  expectedRows,
  headOf,
  readRows,
  sameRows,
  TEST_BLOCK_ID,
  writeBlock,
} from '../support/block-rows.ts';
import { EVERY_DEDICATED, everyAttribute, everyTrace } from '../support/every-value.ts';
import { openGoldenBlock } from '../support/golden-blocks.ts';
import {
  aResource,
  aScope,
  aSpan,
  aTrace,
  encodeTraces,
  hexId,
  START_NANO,
  type TestSpan,
} from '../support/otlp.ts';

t.setTimeout(120_000);

function unhex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

t.test('every column of every row', async (t) => {
  const requests = everyTrace(60);
  const want = expectedRows(requests.flat());
  const cases = [
    { name: 'one row group, one page', options: {}, groups: 1 },
    { name: 'small pages', options: { pageRows: 3, pageSpans: 7 }, groups: 1 },
    { name: 'many row groups', options: { rowGroupSpans: 40, pageRows: 2 }, groups: 8 },
    { name: 'a row group a trace', options: { rowGroupWireBytes: 1 }, groups: 60 },
  ];
  for (const { name, options, groups } of cases) {
    const block = writeBlock(requests, options);
    t.strictSame(await readRows(block), want, name);
    t.equal(block.meta.totalRecords, groups, `${name}: row groups`);
    const index = JSON.parse(Buffer.from(block.objects.get('index')!).toString()) as { rowGroups: string[] };
    t.equal(index.rowGroups.length, groups);
    t.equal(
      Buffer.from(index.rowGroups[groups - 1]!, 'base64').toString('hex'),
      want[want.length - 1]!['TraceID'],
    );
  }
});

t.test('every column of every row in vParquet5', async (t) => {
  const requests = everyTrace(30);
  const format = 'vParquet5';
  const layouts = { usual: DEFAULT_DEDICATED_COLUMNS, every: EVERY_DEDICATED, none: [] };
  for (const [name, dedicatedColumns] of Object.entries(layouts)) {
    const want = expectedRows(requests.flat(), dedicatedColumns, format);
    for (const limits of [{}, { rowGroupSpans: 40, pageRows: 3, pageSpans: 7 }]) {
      const block = writeBlock(requests, { format, dedicatedColumns, ...limits });
      t.match(block.meta, { format, dedicatedColumns });
      sameRows(t, await readRows(block), want, name);
    }
  }
});

const ids = fc.integer({ min: 1, max: 6 });
const anySpan = fc.record({
  trace: fc.integer({ min: 1, max: 4 }),
  id: ids,
  parent: fc.oneof(fc.constant(0), ids),
  kind: fc.oneof(fc.integer({ min: 1, max: 3 }), fc.constantFrom(15, 16, -1, 2 ** 31 - 1)),
  resource: fc.integer({ min: 0, max: 2 }),
  scope: fc.integer({ min: 0, max: 1 }),
  start: fc.integer({ min: 0, max: 1000 }),
  error: fc.boolean(),
  attributes: fc.nat(3),
});

t.test('any spans', async (t) => {
  const resources = [aResource('a'), aResource('b', [['x', 1n]]), aResource('b', [['x', 2n]])];
  const scopes = [aScope('one'), aScope('two')];
  await fc.assert(
    fc.asyncProperty(
      fc.array(anySpan, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 60 }),
      async (list, cut) => {
        const spans = list.map((s, i) =>
          aSpan({
            traceId: hexId(s.trace, 16),
            spanId: hexId(s.id, 8),
            parentSpanId: s.parent === 0 ? '' : hexId(s.parent, 8),
            kind: s.kind,
            startUnixNano: START_NANO + BigInt(s.start * 100 + i),
            endUnixNano: START_NANO + BigInt(s.start * 100 + i + 50),
            status: { code: s.error ? 2 : s.kind > 3 ? s.kind : 0, message: '' },
            attributes: everyAttribute(i).slice(0, s.attributes * 4),
            resource: resources[s.resource]!,
            scope: scopes[s.scope]!,
          }),
        );
        const block = writeBlock([spans.slice(0, cut), spans.slice(cut)], { pageRows: 2, rowGroupSpans: 20 });
        t.strictSame(await readRows(block), expectedRows(spans));
        const layout = { format: 'vParquet5', dedicatedColumns: EVERY_DEDICATED } as const;
        const block5 = writeBlock([spans.slice(0, cut), spans.slice(cut)], { pageRows: 2, ...layout });
        sameRows(t, await readRows(block5), expectedRows(spans, EVERY_DEDICATED, 'vParquet5'), 'vParquet5');
      },
    ),
    { numRuns: 80 },
  );
});

t.test('what is summed up of a trace', async (t) => {
  const self = hexId(1, 16);
  const link = (traceId: string, value: string): TestSpan['links'] => [
    {
      traceId,
      spanId: hexId(9, 8),
      traceState: '',
      attributes: [['opentracing.ref_type', value]],
      droppedAttributes: 0,
    },
  ];
  const at = (n: number): Partial<TestSpan> => ({
    spanId: hexId(n, 8),
    startUnixNano: START_NANO + BigInt(n),
  });
  const child = (n: number, parent: number): TestSpan => aSpan({ ...at(n), parentSpanId: hexId(parent, 8) });
  const cases: { name: string; spans: TestSpan[]; root?: string; left: number[] }[] = [
    {
      name: 'two roots: the earlier counts',
      spans: [aSpan({ ...at(2), name: 'b' }), aSpan({ ...at(1), name: 'a' })],
      root: 'a',
      left: [1, 3],
    },
    {
      name: 'children are numbered by start, whatever resource they have',
      spans: [aSpan(at(1)), child(3, 1), { ...child(2, 1), resource: aResource('other') }, child(4, 1)],
      left: [1, 4, 6, 2],
    },
    { name: 'no root: nothing is known', spans: [child(1, 7), child(2, 1)], root: '', left: [0, 0] },
    { name: 'an orphan stays outside', spans: [aSpan(at(1)), child(2, 7), child(3, 1)], left: [1, 0, 2] },
    { name: 'a span below itself', spans: [aSpan(at(1)), child(2, 2)], left: [1, 0] },
    { name: 'a circle', spans: [aSpan(at(1)), child(2, 3), child(3, 2)], left: [1, 0, 0] },
    {
      name: 'an id thrice: nothing is known',
      spans: [aSpan(at(1)), ...[1, 2, 3].map((kind) => aSpan({ ...at(2), parentSpanId: hexId(1, 8), kind }))],
      left: [0, 0, 0, 0],
    },
    {
      name: 'a child of by link is no root',
      spans: [aSpan({ ...at(1), name: 'a', links: link(self, 'child_of') }), aSpan({ ...at(2), name: 'b' })],
      root: 'b',
      left: [1, 3],
    },
    {
      name: 'links that change nothing',
      spans: [
        aSpan({ ...at(1), name: 'a', links: link(self, 'follows_from') }),
        aSpan({ ...at(2), name: 'b', links: link(hexId(2, 16), 'child_of') }),
      ],
      root: 'a',
      left: [1, 3],
    },
  ];
  for (const { name, spans, root, left } of cases) {
    const [row] = await readRows(writeBlock([spans]));
    const stored = JSON.stringify(row).matchAll(/"NestedSetLeft":"(\d+)"/g);
    t.same(
      [...stored].map((match) => Number(match[1])),
      left,
      name,
    );
    if (root !== undefined) t.equal(row!['RootSpanName'], root, name);
  }
});

t.test('resources that differ in the order of attributes are one', async (t) => {
  const one = aResource('a', [
    ['x', 1n],
    ['y', 2.5],
    ['z', 2n ** 60n],
  ]);
  const same = aResource('a', [
    ['z', 2n ** 60n],
    ['y', 2.5],
    ['x', 1n],
  ]);
  const other = aResource('a', [
    ['z', 2n ** 60n + 1n],
    ['y', 2.5],
    ['x', 1n],
  ]);
  const spans = [one, other, same].map((resource, i) =>
    aSpan({ spanId: hexId(i + 1, 8), startUnixNano: START_NANO + BigInt(i), resource }),
  );
  const rows = await readRows(writeBlock([spans]));
  t.equal((rows[0]!['rs'] as unknown[]).length, 2);
  t.strictSame(rows, expectedRows(spans));
});

t.test('times at the edges of 64 bits', async (t) => {
  const end = 2n ** 64n - 1n;
  const spans = [
    aSpan({ spanId: hexId(1, 8), startUnixNano: 0n, endUnixNano: 1n }),
    aSpan({ spanId: hexId(2, 8), startUnixNano: START_NANO, endUnixNano: START_NANO - 5n }),
    aSpan({ spanId: hexId(3, 8), startUnixNano: end - 1n, endUnixNano: end }),
  ];
  const block = writeBlock([spans]);
  t.strictSame(await readRows(block), expectedRows(spans));
  const atSec = Number(START_NANO / 1_000_000_000n);
  t.match(block.meta, { startSec: atSec - 1, endSec: atSec }, 'only sane times count');
});

t.test('the time range of a block', (t) => {
  const nowSec = Number(START_NANO / 1_000_000_000n);
  const at = (seconds: number): bigint => BigInt(Math.round(seconds * 10)) * 100_000_000n;
  const cases: { name: string; times: [number, number][]; want: [number, number] }[] = [
    { name: 'floor and ceiling', times: [[nowSec + 0.1, nowSec + 0.2]], want: [nowSec, nowSec + 1] },
    { name: 'whole seconds', times: [[nowSec, nowSec + 2]], want: [nowSec, nowSec + 2] },
    { name: 'late ones', times: [[nowSec - 4e7, nowSec - 4e7 + 1]], want: [nowSec - 4e7, nowSec - 4e7 + 1] },
    {
      name: 'zero, 1999 and 2262 beside a sane one',
      times: [
        [0, 0],
        [946_684_799, nowSec - 7],
        [nowSec - 3.5, 9_223_372_036.8],
        [nowSec + 86_401, nowSec + 86_402],
      ],
      want: [nowSec - 7, nowSec - 3],
    },
    {
      name: 'hours ahead',
      times: [[nowSec + 50_000, nowSec + 50_001]],
      want: [nowSec + 50_000, nowSec + 50_001],
    },
    { name: 'inverted', times: [[nowSec + 5, nowSec - 5]], want: [nowSec - 5, nowSec + 5] },
    { name: 'nothing sane', times: [[0, 9_223_372_036.8]], want: [nowSec, nowSec] },
  ];
  for (const { name, times, want } of cases) {
    const spans = times.map(([start, end], i) =>
      aSpan({ spanId: hexId(i + 1, 8), startUnixNano: at(start), endUnixNano: at(end) }),
    );
    const head = new HeadBuilder({ maxBytes: 64 * 1024 * 1024 });
    const bytes = encodeTraces(spans);
    head.append(bytes, 0, bytes.length);
    const { startSec, endSec } = blockTimes(new HeadReader(head.sab), nowSec * 1000);
    t.same([startSec, endSec], want, name);
  }
  t.end();
});

t.test('dedicated columns', async (t) => {
  const column = (name: string, over: Partial<DedicatedColumn> = {}): DedicatedColumn => ({
    scope: 'span',
    name,
    type: 'string',
    options: [],
    ...over,
  });
  const many = Array.from({ length: 11 }, (_, i) => column(`many-${i}`));
  const configured = [
    column('http.url'),
    column('cluster', { scope: 'resource' }),
    column('service.name', { scope: 'resource' }),
    column('text', { scope: 'resource' }),
    column('size', { type: 'int' }),
    column('list', { options: ['array'] }),
    column('event', { scope: 'event' }),
    ...many,
  ];
  const usable = [column('text', { scope: 'resource' }), ...many.slice(0, 10)];
  const spans = aTrace(1, 3, (i) => ({
    attributes: [
      ['many-0', `m${i}`],
      ['many-9', i],
      ['many-9', 'nine'],
      ['many-10', 'ten'],
      ['size', 5n],
    ],
    resource: aResource('s', [
      ['text', 'r'],
      ['cluster', 'c'],
    ]),
  }));
  const block = writeBlock([spans], { dedicatedColumns: configured });
  t.same(block.meta.dedicatedColumns, usable);
  t.strictSame(await readRows(block), expectedRows(spans, usable));
});

t.test('the objects of a block', async (t) => {
  const spans = aTrace(1, 3);
  const { meta, objects } = writeBlock([spans]);
  t.same([...objects.keys()], ['data.parquet', 'bloom-0', 'index', 'meta.json'], 'meta.json is last');
  const data = objects.get('data.parquet')!;
  const view = new DataView(data.buffer, data.length - 8);
  t.equal(meta.sizeBytes, data.length);
  t.equal(meta.footerSizeBytes, view.getInt32(0, true));
  t.equal(Buffer.from(data.subarray(data.length - 4)).toString(), 'PAR1');
  t.equal(
    Buffer.from(objects.get('meta.json')!).toString(),
    `{"format":"vParquet4","blockID":"${TEST_BLOCK_ID}","tenantID":"acme",` +
      `"startTime":"2026-01-01T00:00:00Z","endTime":"2026-01-01T00:00:01Z",` +
      `"totalObjects":1,"size":${data.length},"compactionLevel":0,` +
      `"encoding":"none","indexPageSize":0,"totalRecords":1,"dataEncoding":"","bloomShards":1,` +
      `"footerSize":${meta.footerSizeBytes},"dedicatedColumns":[{"n":"http.request.method"},` +
      '{"n":"url.path"},{"n":"url.route"},{"n":"server.address"},{"n":"http.route"}]}',
  );
  t.same(metaFromJson(objects.get('meta.json')!), meta);
});

t.test('traces that are not whole are counted', (t) => {
  const head = new HeadBuilder({ maxBytes: 1 << 30 });
  const child = (trace: number, id: number, parent: number) =>
    aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), parentSpanId: hexId(parent, 8) });
  const spans = [
    ...aTrace(1, 5),
    // its middle is missing
    ...aTrace(2, 5).filter(({ spanId }) => spanId !== hexId(2, 8)),
    // its root is missing
    child(3, 2, 1),
    child(3, 3, 2),
    aSpan({ traceId: hexId(4, 16) }),
  ];
  const bytes = encodeTraces(spans);
  head.append(bytes, 0, bytes.length);
  const odd = { disconnected: 0, rootless: 0 };
  createBlock({
    head: new HeadReader(head.sab),
    blockId: TEST_BLOCK_ID,
    tenant: 'acme',
    dedicatedColumns: [],
    options: { rowGroupSpans: 4 },
    sink: { create: () => ({ write: () => {}, close: () => {} }) },
    odd,
  });
  t.same(odd, { disconnected: 2, rootless: 1 });
  t.end();
});

t.test('a sink that fails leaves no meta.json', async (t) => {
  for (const failing of ['data.parquet', 'bloom-0', 'index']) {
    const closed: string[] = [];
    const request = {
      head: headOf([aTrace(1, 3)]),
      blockId: TEST_BLOCK_ID,
      tenant: 'acme',
      dedicatedColumns: [],
      sink: {
        create: (name: string) => ({
          write: () => {
            if (name === failing) throw new Error('disk is full');
          },
          close: () => closed.push(name),
        }),
      },
    };
    t.throws(() => createBlock(request), { message: 'disk is full' });
    t.notOk(closed.includes('meta.json'));
  }
  t.throws(() => writeBlock([]), { message: 'a block has at least one trace' });
});

/** What the trees of two schemas are compared by. */
function shape({ name, repetition, type, logical, children }: SchemaNode): unknown {
  return { name, repetition, type, logical, children: children?.map(shape) };
}

t.test('the schemas are those of the blocks that Tempo wrote', async (t) => {
  const blocks = ['vparquet4', 'vparquet4-odd', 'vparquet5', 'vparquet5-2.10', 'vparquet5-3.0'];
  for (const name of [...blocks, 'vparquet5-columns-2.10', 'vparquet5-columns-3.0']) {
    const { meta, metadata } = await openGoldenBlock(name);
    const { root, columns } = blockSchema(writtenFormat(meta.format), meta.dedicatedColumns);
    t.strictSame(root.children!.map(shape), metadata.schema.children!.map(shape), name);
    const encodings = metadata.rowGroups[0]!.columns.map((chunk) => chunk.encodings);
    const lacking = columns
      .filter(({ encoding }, i) => !encodings[i]!.includes(ENCODINGS[encoding]))
      .map(({ leaf }) => leaf.path.join('.'));
    t.same(
      lacking.filter((path) => path !== 'ServiceStats.key_value.key'), // ours has a dictionary
      [],
      `${name}: encodings`,
    );
  }
  t.throws(() => writtenFormat('vParquet3'), { code: 'unimplemented' });
});

// The bloom filter, once more with big integers, from the description of its parts.
const WORD = (1n << 64n) - 1n;
const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & WORD;

function fmix(value: bigint): bigint {
  let k = value;
  k = ((k ^ (k >> 33n)) * 0xff51afd7ed558ccdn) & WORD;
  k = ((k ^ (k >> 33n)) * 0xc4ceb9fe1a85ec53n) & WORD;
  return k ^ (k >> 33n);
}

function murmur(id: Uint8Array, tail: boolean): [bigint, bigint] {
  const [c1, c2] = [0x87c37b91114253d5n, 0x4cf5ad432745937fn];
  const view = new DataView(id.buffer, id.byteOffset, 16);
  let h1 = rotl((rotl((view.getBigUint64(0, true) * c1) & WORD, 31n) * c2) & WORD, 27n);
  h1 = (h1 * 5n + 0x52dce729n) & WORD;
  let h2 = (rotl((rotl((view.getBigUint64(8, true) * c2) & WORD, 33n) * c1) & WORD, 31n) + h1) & WORD;
  h2 = (h2 * 5n + 0x38495ab5n) & WORD;
  if (tail) h1 ^= (rotl(c1, 31n) * c2) & WORD;
  const length = tail ? 17n : 16n;
  h1 ^= length;
  h2 ^= length;
  h1 = (h1 + h2) & WORD;
  h2 = (h2 + h1) & WORD;
  [h1, h2] = [fmix(h1), fmix(h2)];
  h1 = (h1 + h2) & WORD;
  return [h1, (h2 + h1) & WORD];
}

function bloomBits(id: Uint8Array, bits: number): Set<number> {
  const h = [...murmur(id, false), ...murmur(id, true)];
  const out = new Set<number>();
  for (let i = 0; i < 7; i++) {
    const step = h[2 + (((i + (i % 2)) % 4) >> 1)]!;
    out.add(Number(((h[i % 2]! + BigInt(i) * step) & WORD) % BigInt(bits)));
  }
  return out;
}

t.test('bloom', async (t) => {
  const anyId = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(anyId, fc.constantFrom(1, 100, 80_000, 800_000), (id, traces) => {
      const bloom = new TraceBloom(traces, { falsePositive: 0.01, shardSizeBytes: 2 ** 20 });
      bloom.add(id);
      const bytes = bloom.shardBytes(0);
      const view = new DataView(bytes.buffer);
      const bits = Number(view.getBigUint64(0));
      const set = new Set<number>();
      for (let word = 0; word < (bytes.length - 24) / 8; word++) {
        let rest = view.getBigUint64(24 + word * 8);
        for (let bit = word * 64; rest > 0n; bit++, rest >>= 1n) if ((rest & 1n) === 1n) set.add(bit);
      }
      t.strictSame(
        [...set].toSorted((a, b) => a - b),
        [...bloomBits(id, bits)].toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 20 },
  );
  const sizeFor = (traces: number): number => new TraceBloom(traces).shardBytes(0).length;
  t.same([1, 1000, 85_000, 86_000].map(sizeFor), [32, 1224, 101_872, 102_424], 'as large as it must be');
  const spans = Array.from({ length: 300 }, (_, i) =>
    aSpan({ traceId: hexId(BigInt(i + 1) * 0x9e3779b97f4a7c15n, 16) }),
  );
  const { meta, objects } = writeBlock([spans], { bloom: { ...BLOOM_DEFAULTS, shardSizeBytes: 96 } });
  t.equal(meta.bloomShards, 4);
  const asked = (traceId: string): boolean => {
    const id = unhex(traceId);
    return bloomMayHave(objects.get(`bloom-${bloomShardOf(id, meta.bloomShards)}`)!, id);
  };
  t.ok(spans.every(({ traceId }) => asked(traceId)));
  const wrong = spans.filter(({ traceId }) => asked(traceId.replace(/^../, 'ff'))).length;
  t.ok(wrong < 20, `${wrong} of 300 absent ids may be there`);
  for (const bytes of [new Uint8Array(3), new Uint8Array(24), objects.get('bloom-0')!.slice(0, -8)]) {
    t.throws(() => bloomMayHave(bytes, unhex(hexId(1, 16))), { code: 'block_corrupt' });
  }
});

t.test('meta.json', async (t) => {
  const base: Record<string, unknown> = {
    format: 'vParquet5',
    blockID: TEST_BLOCK_ID,
    tenantID: 'a',
    startTime: '2026-11-20T22:16:27Z',
    endTime: '2026-11-20T22:16:28.5Z',
    totalObjects: 3,
    size: 10,
  };
  const parse = (over: Record<string, unknown>): unknown =>
    metaFromJson(Buffer.from(JSON.stringify({ ...base, ...over })));
  t.match(parse({ minID: 'x', replicationFactor: 1 }), {
    endSec: 1795212989,
    bloomShards: 0,
    replicationFactor: 1,
  });
  const dedicatedColumns = [{ s: 'event', n: 'x', t: 'int', o: ['array'] }];
  t.match(parse({ dedicatedColumns }), {
    dedicatedColumns: [{ scope: 'event', name: 'x', type: 'int', options: ['array'] }],
  });
  const text = Buffer.from(
    metaToBytes(metaFromJson(Buffer.from(JSON.stringify({ ...base, dedicatedColumns })))),
  ).toString();
  t.match(JSON.parse(text), { dedicatedColumns });
  for (const over of [
    { format: 5 },
    { startTime: 'yesterday' },
    { size: -1 },
    { totalObjects: 1.5 },
    { dedicatedColumns: 'x' },
    { dedicatedColumns: [{ n: 'x', s: 'moon' }] },
    { dedicatedColumns: [{ n: 'x', o: 'array' }] },
    { dedicatedColumns: [5] },
  ]) {
    t.throws(() => parse(over), { code: 'block_corrupt' }, JSON.stringify(over));
  }
  t.throws(() => metaFromJson(Buffer.from('{"for')), { code: 'block_corrupt' });
  t.throws(() => metaFromJson(Buffer.from('[]')), { code: 'block_corrupt' });

  const lying = (over: Record<string, unknown>, tenant = 'a'): unknown =>
    metaOfFolder(Buffer.from(JSON.stringify({ ...base, ...over })), tenant, TEST_BLOCK_ID);
  t.match(lying({ compactedFrom: ['x'] }), { meta: { tenantId: 'a' }, compactedFrom: ['x'] });
  t.match(lying({ blockID: TEST_BLOCK_ID.toUpperCase() }), { meta: { blockId: TEST_BLOCK_ID } });
  const other = TEST_BLOCK_ID.replace(/^./, 'f');
  const wrong: readonly (readonly [Record<string, unknown>, string, string])[] = [
    [{}, 'b', `what is stored as b/${TEST_BLOCK_ID} is the meta of a/${TEST_BLOCK_ID}`],
    [{}, 'A', `what is stored as A/${TEST_BLOCK_ID} is the meta of a/${TEST_BLOCK_ID}`],
    [{ blockID: other }, 'a', `what is stored as a/${TEST_BLOCK_ID} is the meta of a/${other}`],
    [{ blockID: '' }, 'a', `what is stored as a/${TEST_BLOCK_ID} is the meta of a/`],
  ];
  for (const [over, tenant, message] of wrong)
    t.throws(() => lying(over, tenant), { code: 'block_corrupt', message });
});
