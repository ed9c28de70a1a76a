// The head: what goes in as OTLP comes out whole, by trace and by vector, whatever else is in the bytes.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import t from 'tap';
import { Arena } from '../../src/block/head/arena.ts';
import { Arrivals } from '../../src/block/head/arrivals.ts';
import { type AppendResult, HeadBuilder } from '../../src/block/head/builder.ts';
import { HEADER_BYTES, HEAD_VEC_NAMES } from '../../src/block/head/layout.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { VecReader, VecWriter } from '../../src/block/head/vec.ts';
import { collectGarbage } from '../../src/lib/garbage.ts';
import { NestedSets } from '../../src/block/nested-set.ts';
import { cutBadSpans, scanRequest } from '../../src/model/otlp/scan.ts';
import { type FieldRequest, type SourceMemo, ValueType, type Vector } from '../../src/traceql/source.ts';
import type { HeadReaderData } from '../support/head-reader-worker.ts';
import {
  type Attribute,
  START_NANO,
  type TestSpan,
  type Value,
  aResource,
  aScope,
  aSpan,
  aTrace,
  decodeTraces,
  encodeSpan,
  encodeTraces,
  encodeValue,
  field,
  hexId,
  numberField,
} from '../support/otlp.ts';

const MEGABYTE = 1024 * 1024;

function aHead(maxBytes = 512 * MEGABYTE): HeadBuilder {
  return new HeadBuilder({ maxBytes });
}

function append(head: HeadBuilder, bytes: Uint8Array): AppendResult {
  return head.append(bytes, 0, bytes.length);
}

function sourceOf(head: HeadBuilder): HeadSource {
  return new HeadSource(new HeadReader(head.sab), 'head');
}

function unhex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

async function traceOf(head: HeadBuilder, traceId: string): Promise<TestSpan[]> {
  const bytes = await sourceOf(head).trace(unhex(traceId));
  return bytes === undefined ? [] : decodeTraces(bytes);
}

async function vectorOf(source: HeadSource, request: FieldRequest, rows?: number[]): Promise<Vector> {
  const options = rows === undefined ? {} : { rows: Int32Array.from(rows) };
  return (await source.load([request], options))[0]!;
}

function attribute(
  scope: 'span' | 'resource' | 'event' | 'link' | 'instrumentation',
  name: string,
): FieldRequest {
  return { field: { kind: 'attribute', scope, name } };
}

/** A vector as [owner, value] pairs; strings and ids as text. */
function entries(vector: Vector, show = (bytes: Uint8Array) => Buffer.from(bytes).toString()): unknown[][] {
  return Array.from({ length: vector.count }, (_, i) => {
    const owner = vector.owners === undefined ? i : vector.owners[i];
    const type = typeof vector.type === 'number' ? vector.type : vector.type[i];
    if (type === ValueType.string || type === ValueType.bytes)
      return [owner, show(vector.table!.bytes(vector.str![i]!))];
    if (type === ValueType.bool) return [owner, vector.num![i] === 1];
    if (vector.exact !== undefined && type !== ValueType.float)
      return [owner, vector.base + vector.exact[i]!];
    return [owner, Number(vector.base) + vector.num![i]!];
  });
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

t.test('every field of a span comes back', async (t) => {
  const everyValue: Attribute[] = [
    ['string', 'text'],
    ['empty string', ''],
    ['unicode', 'grüße ☃'],
    ['', 'no key'],
    ['true', true],
    ['false', false],
    ['zero', 0n],
    ['small', 127n],
    ['negative', -1n],
    ['int32 min', -(2n ** 31n)],
    ['int32 max', 2n ** 31n - 1n],
    ['above int32', 2n ** 31n],
    ['int64 max', 2n ** 63n - 1n],
    ['int64 min', -(2n ** 63n)],
    ['double', 1.5],
    ['double zero', 0],
    ['infinity', Number.NEGATIVE_INFINITY],
    ['none', undefined],
    ['bytes', Uint8Array.of(0, 255, 7)],
    ['strings', ['a', '', 'c']],
    ['bools', [true, false]],
    ['ints', [1n, -5n, 2n ** 62n]],
    ['doubles', [0.5, -1]],
    ['nothing', []],
    ['mixed', ['a', 1n, [true]]],
    [
      'map',
      {
        kv: [
          ['k', 'v'],
          ['deep', { kv: [['x', [1n]]] }],
        ],
      },
    ],
    ['twice', 'first'],
    ['twice', 'second'],
  ];
  const event = { timeUnixNano: START_NANO + 5n, name: 'e', attributes: everyValue, droppedAttributes: 3 };
  const link = {
    traceId: hexId(77, 16),
    spanId: hexId(78, 8),
    traceState: 'a=b',
    attributes: everyValue,
    droppedAttributes: 2 ** 32 - 1,
  };
  const cases: { name: string; span: Partial<TestSpan> }[] = [
    { name: 'plain', span: {} },
    { name: 'no name, no kind', span: { name: '', kind: 0 } },
    { name: 'attributes', span: { attributes: everyValue } },
    { name: 'dropped counts', span: { droppedAttributes: 1, droppedEvents: 2, droppedLinks: 3 } },
    { name: 'one dropped count', span: { droppedLinks: 2 ** 31 } },
    { name: 'status', span: { status: { code: 2, message: 'broken' } } },
    ...[6, 14, 15, 16, 255, 2 ** 31 - 1, -1, -(2 ** 31)].map((n) => ({
      name: `kind and status ${n}`,
      span: { kind: n, status: { code: n, message: '' } },
    })),
    { name: 'odd kind', span: { kind: 99, status: { code: 2, message: 'm' } } },
    { name: 'odd status', span: { status: { code: 99, message: 'm' } } },
    { name: 'status without message', span: { status: { code: 1, message: '' } } },
    { name: 'trace state', span: { traceState: 'vendor=1' } },
    { name: 'parent', span: { parentSpanId: 'ff00000000000001' } },
    { name: 'times at the ends of uint64', span: { startUnixNano: 0n, endUnixNano: 2n ** 64n - 1n } },
    { name: 'end before start', span: { startUnixNano: START_NANO, endUnixNano: START_NANO - 1n } },
    { name: 'event', span: { events: [event, { ...event, name: '', attributes: [] }] } },
    { name: 'event before start', span: { events: [{ ...event, timeUnixNano: 1n }] } },
    { name: 'links', span: { links: [link, { ...link, traceState: '', droppedAttributes: 0 }] } },
    {
      name: 'resource and scope',
      span: {
        resource: { attributes: everyValue, droppedAttributes: 9 },
        scope: { name: 'n', version: 'v', attributes: everyValue, droppedAttributes: 8 },
      },
    },
    {
      name: 'nothing around',
      span: { resource: { attributes: [], droppedAttributes: 0 }, scope: aScope('', '') },
    },
    ...[126, 127, 128, 16_380, 16_384, 70_000, 2_200_000].map((n) => ({
      name: `a string of ${n}`,
      span: { attributes: [['long', 'x'.repeat(n)] as Attribute] },
    })),
  ];
  const head = aHead();
  const spans = cases.map((c, i) => aSpan({ traceId: hexId(i + 1, 16), ...c.span }));
  // in one request, with bytes before and after it in the buffer
  const request = encodeTraces(spans);
  const buffer = new Uint8Array(request.length + 20).fill(0xff);
  buffer.set(request, 10);
  const result = head.append(buffer, 10, 10 + request.length);
  const traces = spans.length;
  const nothingLeftOut = { duplicates: 0, malformed: 0, truncated: 0 };
  t.same(result, { spans: traces, traces, touchedTraces: traces, awakenedTraces: 0, ...nothingLeftOut });
  for (const [i, { name }] of cases.entries()) {
    t.strictSame(await traceOf(head, hexId(i + 1, 16)), [spans[i]], name);
  }
  t.equal(await sourceOf(head).trace(unhex(hexId(999, 16))), undefined);
});

t.test('of a kind or status beyond 32 bits the low ones count', async (t) => {
  const head = aHead();
  const number = 2n ** 32n + 2n;
  const status = field(15, numberField(3, number));
  const span = Uint8Array.from([...encodeSpan(aSpan({ kind: 0 })), ...numberField(6, number), ...status]);
  append(head, field(1, field(2, field(2, span))));
  t.match(await traceOf(head, hexId(1, 16)), [{ kind: 2, status: { code: 2 } }]);
});

t.test('spans of odd kinds count once each', (t) => {
  const head = aHead();
  // enough for the table to grow
  const bytes = encodeTraces(Array.from({ length: 200 }, (_, kind) => aSpan({ kind })));
  t.match(append(head, bytes), { spans: 200, duplicates: 0 });
  t.match(append(head, bytes), { spans: 0, duplicates: 200 });
  t.end();
});

t.test('a trace is grouped by resource and scope, over several requests', async (t) => {
  const head = aHead();
  const [a, b] = [aResource('a'), aResource('b')];
  const [x, y] = [aScope('x'), aScope('y')];
  const spans = [a, b, a, a, b].map((resource, i) =>
    aSpan({ spanId: hexId(i + 1, 8), resource, scope: i === 3 ? y : x }),
  );
  for (const span of spans) append(head, encodeTraces([span]));
  const got = await traceOf(head, spans[0]!.traceId);
  t.strictSame(
    got.map((s) => Number(`0x${s.spanId}`)),
    [1, 3, 4, 2, 5],
  );
  t.strictSame(got[2], spans[3]);
  t.equal(head.traceCount, 1);
});

t.test('a span counts once', async (t) => {
  const head = aHead();
  const spans = aTrace(1, 50);
  const bytes = encodeTraces([...spans, spans[7]!, { ...spans[7]!, kind: 2 }]);
  t.match(append(head, bytes), { spans: 51, traces: 1, duplicates: 1, malformed: 0 });
  t.match(append(head, bytes), { spans: 0, traces: 0, duplicates: 52, malformed: 0 });
  t.match(append(head, encodeTraces(aTrace(2, 50))), { spans: 50, traces: 1, duplicates: 0 });
  t.equal((await traceOf(head, hexId(1, 16))).length, 51);
  t.strictSame(await traceOf(head, hexId(2, 16)), aTrace(2, 50), 'what the duplicates brought is taken back');
});

t.test('a span that is left out leaves nothing behind', async (t) => {
  const head = aHead();
  const rich = aSpan({
    spanId: hexId(2, 8),
    attributes: [
      ['x', 1.5],
      ['big', 2n ** 40n],
    ],
    events: [{ timeUnixNano: START_NANO, name: 'e', attributes: [['y', 2.5]], droppedAttributes: 0 }],
    links: [
      {
        traceId: hexId(5, 16),
        spanId: hexId(5, 8),
        traceState: '',
        attributes: [['z', 1n]],
        droppedAttributes: 0,
      },
    ],
    droppedEvents: 4,
  });
  const plain = aSpan({ spanId: hexId(1, 8) });
  append(head, encodeTraces([rich, plain]));
  const before = new HeadReader(head.sab).vecs;
  const cut = Uint8Array.from([...encodeSpan({ ...rich, spanId: hexId(3, 8) }), 0x4a, 9]);
  t.match(append(head, encodeTraces([rich])), { spans: 0, duplicates: 1, malformed: 0 });
  t.match(append(head, field(1, field(2, field(2, cut)))), { spans: 0, duplicates: 0, malformed: 1 });
  const after = new HeadReader(head.sab).vecs;
  for (const name of HEAD_VEC_NAMES) {
    if (!/^(str|resource|scope)/.test(name)) t.equal(after[name].count, before[name].count, name);
  }
  // 200 elements each: over the ends of chunks
  for (let i = 0; i < 200; i++) {
    append(head, encodeTraces([{ ...plain, spanId: hexId(100 + i, 8) }, rich]));
  }
  const spans = await traceOf(head, plain.traceId);
  t.strictSame(spans[0], rich);
  t.strictSame(
    spans.slice(1).filter((s) => s.events.length + s.links.length + s.attributes.length > 0),
    [],
  );
});

t.test('malformed bytes', async (t) => {
  const good = encodeSpan(aSpan({ spanId: hexId(2, 8) }));
  const plain = encodeSpan(aSpan());
  const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((p) => [...p]));
  const request = (...spans: Uint8Array[]): Uint8Array =>
    field(1, field(2, join(...spans.map((s) => field(2, s)))));
  const attr = (value: Uint8Array): Uint8Array => field(9, join(field(1, [0x6b]), field(2, value)));
  const nested = (depth: number): Uint8Array => {
    let value = encodeValue('x');
    for (let i = 0; i < depth; i++) value = field(5, field(1, value));
    return value;
  };
  const cases: { name: string; bytes: Uint8Array; spans: number; malformed: number }[] = [
    { name: 'empty', bytes: new Uint8Array(0), spans: 0, malformed: 0 },
    { name: 'garbage', bytes: new Uint8Array(40).fill(0xff), spans: 0, malformed: 1 },
    { name: 'an unknown field', bytes: join(numberField(99, 5), request(good)), spans: 1, malformed: 0 },
    { name: 'field number 0', bytes: join(request(good), Uint8Array.of(0)), spans: 1, malformed: 1 },
    { name: 'a group', bytes: join(request(good), Uint8Array.of(0x1b, 0x1c)), spans: 1, malformed: 1 },
    { name: 'cut off', bytes: join(request(plain), request(good).slice(0, -1)), spans: 1, malformed: 1 },
    { name: 'a length beyond the request', bytes: Uint8Array.of(0x0a, 0x7f), spans: 0, malformed: 1 },
    {
      name: 'a length of 2^64 - 1',
      bytes: join(Uint8Array.of(0x0a), new Uint8Array(9).fill(0xff), Uint8Array.of(1)),
      spans: 0,
      malformed: 1,
    },
    { name: 'no trace id', bytes: request(plain.slice(18), good), spans: 1, malformed: 1 },
    {
      name: 'a trace id of 15 bytes',
      bytes: request(join(field(1, new Uint8Array(15)), plain.slice(18)), good),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'no span id',
      bytes: request(join(plain.slice(0, 18), plain.slice(28)), good),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'a span with a cut field',
      bytes: request(join(plain, Uint8Array.of(0x4a, 9, 1)), good),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'a span with an endless varint',
      bytes: request(join(plain, Uint8Array.of(0x30), new Uint8Array(11).fill(0x80)), good),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'a span with half a time',
      bytes: request(join(plain, Uint8Array.of(0x39, 1, 2)), good),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'a time as a varint',
      bytes: request(join(plain, numberField(7, 5)), good),
      spans: 2,
      malformed: 0,
    },
    {
      name: 'an unknown field with a large number',
      bytes: request(join(plain, numberField(2 ** 28, 5)), good),
      spans: 2,
      malformed: 0,
    },
    {
      name: 'a broken status',
      bytes: request(join(plain, field(15, [0x12, 5])), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'a broken event',
      bytes: request(join(plain, field(11, [0x12, 5])), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'a broken link',
      bytes: request(join(plain, field(13, [0x0a, 5])), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an attribute cut off',
      bytes: request(join(plain, field(9, [0x0a, 5, 1])), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an attribute with half a double',
      bytes: request(join(plain, attr(Uint8Array.of(0x21, 1))), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an attribute with a broken array',
      bytes: request(join(plain, attr(Uint8Array.of(0x2a, 2, 0x0a, 9))), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an attribute with a broken array behind a tag longer than it need be',
      bytes: request(join(plain, attr(Uint8Array.of(0x2a, 5, 0x8a, 0, 2, 0x0a, 9))), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an array with a field that nobody knows',
      bytes: request(join(plain, attr(Uint8Array.of(0x2a, 5, 0x9a, 6, 2, 0x0a, 9))), good),
      spans: 2,
      malformed: 0,
    },
    {
      name: 'an array in an array, 100 deep',
      bytes: request(join(plain, attr(nested(100))), good),
      spans: 2,
      malformed: 0,
    },
    {
      name: 'an array in an array, 101 deep',
      bytes: request(join(plain, attr(nested(101))), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'an array in an array, 5000 deep',
      bytes: request(join(plain, attr(nested(5000))), good),
      spans: 2,
      malformed: 1,
    },
    {
      name: 'a broken resource',
      bytes: field(1, join(field(1, [0x0a, 9]), field(2, field(2, good)))),
      spans: 1,
      malformed: 1,
    },
    {
      name: 'a broken scope',
      bytes: field(1, field(2, join(field(1, [0x0a, 9]), field(2, good)))),
      spans: 1,
      malformed: 1,
    },
  ];
  for (const { name, bytes, spans, malformed } of cases) {
    const head = aHead();
    t.match(append(head, bytes), { spans, malformed, duplicates: 0 }, name);
    t.equal((await traceOf(head, hexId(1, 16))).length, spans, `${name}: what is left is whole`);
    t.match(
      append(head, encodeTraces(aTrace(2, 9))),
      { spans: 9, malformed: 0 },
      `${name}: the next request`,
    );
    t.strictSame(await traceOf(head, hexId(2, 16)), aTrace(2, 9), `${name}: the next request is whole`);
  }
});

t.test('what the scan lets through is taken in: no acknowledged span is left out', async (t) => {
  const valid = encodeTraces([
    ...aTrace(1, 5),
    aSpan({
      spanId: hexId(99, 8),
      traceState: 'x'.repeat(200),
      status: { code: 2, message: 'failed' },
      resource: aResource('b'),
      scope: aScope('s', '2'),
      links: [
        { traceId: hexId(9, 16), spanId: hexId(8, 8), traceState: '', attributes: [], droppedAttributes: 1 },
      ],
      events: [{ timeUnixNano: START_NANO, name: 'e', attributes: [['k', [1n, 'a']]], droppedAttributes: 0 }],
    }),
  ]);
  const check = (bytes: Uint8Array): void => {
    let scanned;
    try {
      scanned = scanRequest(bytes);
    } catch {
      return;
    }
    const good = scanned.spanCount - scanned.badTraceIds - scanned.badSpanIds;
    const { spans, duplicates } = append(aHead(MEGABYTE), cutBadSpans(bytes));
    if (spans + duplicates !== good) throw new Error(`${spans} + ${duplicates} of ${good} spans`);
  };
  // Every byte, set to values that mean much on the wire; then several anywhere.
  for (let at = 0; at < valid.length; at++) {
    for (const byte of [0, 1, 0x0a, 0x12, 0x7f, 0x80, 0xff]) {
      const mutated = valid.slice();
      mutated[at] = byte;
      try {
        check(mutated);
      } catch (err) {
        t.fail(`byte ${at} as ${byte}: ${String(err)}`);
      }
    }
  }
  const edit = fc.tuple(fc.nat(valid.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 4 }), (edits) => {
      const mutated = valid.slice();
      for (const [at, byte] of edits) mutated[at] = byte;
      check(mutated);
    }),
    { numRuns: 1000 },
  );
  const span = encodeSpan(aSpan());
  const join = (...parts: (Uint8Array | number[])[]): Uint8Array =>
    Uint8Array.from(parts.flatMap((p) => [...p]));
  // The tag of field 1 or 2 in two bytes, which decoders read as the same.
  const overlong = (tag: number, payload: Uint8Array): Uint8Array =>
    join([tag | 0x80, 0, payload.length], payload);
  const scopeSpans = field(2, span);
  const cases: { name: string; bytes: Uint8Array }[] = [
    { name: 'two trace ids', bytes: field(1, field(2, field(2, join(field(1, [1]), span)))) },
    { name: 'two span ids', bytes: field(1, field(2, field(2, join(field(2, [1]), span)))) },
    { name: 'overlong tag of a resource', bytes: overlong(0x0a, field(2, scopeSpans)) },
    { name: 'overlong tag of a scope', bytes: field(1, overlong(0x12, scopeSpans)) },
    { name: 'overlong tag of a span', bytes: field(1, field(2, overlong(0x12, span))) },
    {
      name: 'a length with padding',
      bytes: join([0x0a, field(2, scopeSpans).length | 0x80, 0], field(2, scopeSpans)),
    },
  ];
  for (const { name, bytes } of cases) t.doesNotThrow(() => check(bytes), name);
});

t.test('resource and scope may follow what they own', async (t) => {
  const head = aHead();
  const resource = field(1, field(1, [...field(1, [0x6b]), ...field(2, encodeValue('v'))]));
  const scopeSpans = field(2, [...field(2, encodeSpan(aSpan())), ...field(1, field(1, [0x6e]))]);
  append(head, field(1, [...scopeSpans, ...resource]));
  const [span] = await traceOf(head, hexId(1, 16));
  t.strictSame(span!.resource.attributes, [['k', 'v']]);
  t.equal(span!.scope.name, 'n');
});

t.test('event times before the span start in the bytes', async (t) => {
  const span = aSpan({
    events: [{ timeUnixNano: START_NANO + 9n, name: 'e', attributes: [], droppedAttributes: 0 }],
  });
  const fields = encodeSpan({ ...span, events: [], startUnixNano: 0n });
  const event = encodeSpan({ ...span, startUnixNano: 0n }).slice(fields.length);
  const head = aHead();
  append(head, field(1, field(2, field(2, [...event, ...encodeSpan({ ...span, events: [] })]))));
  t.strictSame((await traceOf(head, span.traceId))[0]!.events, span.events);
});

t.test('parents of other lengths', async (t) => {
  const cases = [
    { name: 'short', input: '0102', want: '0000000000000102' },
    { name: 'five bytes', input: '0102030405', want: '0000000102030405' },
    { name: 'long', input: '000102030405060708090a', want: '030405060708090a' },
    { name: 'zero', input: '0000000000000000', want: '' },
  ];
  for (const { name, input, want } of cases) {
    const head = aHead();
    append(head, encodeTraces([aSpan({ parentSpanId: input })]));
    t.equal((await traceOf(head, hexId(1, 16)))[0]!.parentSpanId, want, name);
  }
});

t.test('mutated requests never crash and never harm what is there', async (t) => {
  const spans = aTrace(1, 6, (i) => ({
    attributes: [
      ['a', 'b'],
      ['i', BigInt(i)],
      ['l', ['x', 1n, { kv: [['k', 2.5]] }]],
      ['big', 2n ** 60n],
    ],
    events: [{ timeUnixNano: START_NANO, name: 'e', attributes: [['x', true]], droppedAttributes: 1 }],
    links: [
      {
        traceId: hexId(9, 16),
        spanId: hexId(9, 8),
        traceState: '',
        attributes: [['y', 1.5]],
        droppedAttributes: 0,
      },
    ],
    status: { code: 2, message: 'm' },
  }));
  const valid = encodeTraces(spans);
  const kept = aTrace(2, 5);
  const keptBytes = encodeTraces(kept);
  const mutation = fc.record({ at: fc.nat(valid.length - 1), byte: fc.nat(255), cut: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 8 }), async (mutations) => {
      const head = aHead();
      append(head, keptBytes);
      let bytes = valid.slice();
      for (const { at, byte, cut } of mutations) {
        if (cut && byte < 20) bytes = bytes.slice(0, at);
        else if (at < bytes.length) bytes[at] = byte;
      }
      const result = append(head, bytes);
      const source = sourceOf(head);
      const { ids } = await source.traceIds();
      let found = 0;
      for (let i = 0; i < ids.length; i += 16) {
        found += decodeTraces((await source.trace(ids.subarray(i, i + 16)))!).length;
      }
      for (const name of ['a', 'i', 'l', 'big']) await vectorOf(source, attribute('span', name));
      const intact = decodeTraces((await source.trace(unhex(hexId(2, 16))))!);
      return found === 5 + result.spans && intact.length >= 5 && intact[4]!.name === kept[4]!.name;
    }),
    { numRuns: 400, verbose: 1 },
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      const head = aHead();
      append(head, bytes);
      append(head, field(1, field(2, field(2, bytes))));
      append(head, field(1, field(2, field(2, [...encodeSpan(aSpan()), ...bytes]))));
      return sourceOf(head).traceCount <= 3;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('a full head keeps whole requests only', async (t) => {
  const head = aHead(MEGABYTE);
  let appended = 0;
  const requestOf = (i: number): TestSpan[] =>
    aTrace(1 + (i % 20), 40, (n) => ({ spanId: hexId(1 + i * 100 + n, 8) }));
  const fill = (): void => {
    for (; appended < 10_000; appended++) append(head, encodeTraces(requestOf(appended)));
  };
  t.notOk(head.isFull);
  t.throws(fill, { name: 'ArenaFullError' });
  t.ok(head.isFull);
  t.ok(appended > 20, `${appended} requests fit`);
  t.equal(head.spanCount, appended * 40);
  t.throws(() => append(head, encodeTraces([aSpan()])), { name: 'ArenaFullError' }, 'it takes no more');
  const source = sourceOf(head);
  t.equal(source.spanCount, appended * 40);
  for (let trace = 1; trace <= 20; trace++) {
    const ids = (await traceOf(head, hexId(trace, 16))).map((s) => Number(`0x${s.spanId}`));
    const want = [];
    for (let i = trace - 1; i < appended; i += 20) for (let n = 1; n <= 40; n++) want.push(1 + i * 100 + n);
    t.strictSame(ids, want, `trace ${trace}`);
  }
  t.equal(
    append(aHead(MEGABYTE), encodeTraces(requestOf(appended))).spans,
    40,
    'a new head takes the request',
  );
});

t.test('a trace of 100,000 spans', async (t) => {
  const count = 100_000;
  const head = aHead();
  const template = encodeSpan(aSpan({ parentSpanId: hexId(0, 8), attributes: [['n', 1n]] }));
  const one = field(2, template);
  const perRequest = 5000;
  for (let from = 0; from < count; from += perRequest) {
    const spans = new Uint8Array(one.length * perRequest);
    const view = new DataView(spans.buffer);
    for (let i = 0; i < perRequest; i++) {
      const at = i * one.length + (one.length - template.length);
      spans.set(one, i * one.length);
      view.setUint32(at + 20 + 4, from + i + 1); // span id
      view.setUint32(at + 30 + 4, from + i); // parent: the one before, the first has none
    }
    const request = field(1, field(2, spans));
    t.equal(append(head, request).spans, perRequest);
    t.equal(append(head, request).duplicates, perRequest);
  }
  const source = sourceOf(head);
  t.equal(head.traceCount, 1);
  const spans = decodeTraces((await source.trace(unhex(hexId(1, 16))))!);
  t.equal(spans.length, count);
  t.equal(spans[count - 1]!.parentSpanId, hexId(count - 1, 8));
  const left = await vectorOf(source, { field: { kind: 'intrinsic', name: 'span:nestedSetLeft' } });
  const right = await vectorOf(source, { field: { kind: 'intrinsic', name: 'span:nestedSetRight' } });
  t.equal(left.num![count - 1], count);
  t.equal(right.num![0], 2 * count);
  t.equal(head.bytesOfTrace(0), template.length * count);
});

t.test('long attributes are cut', async (t) => {
  const LIMIT = 100;
  const cases: { name: string; value: Value; want?: Value }[] = [
    { name: 'at the limit', value: 'a'.repeat(LIMIT) },
    { name: 'no longer than the mark', value: 'a'.repeat(LIMIT + 24) },
    { name: 'longer', value: 'a'.repeat(LIMIT + 25), want: `${'a'.repeat(LIMIT)}...[+25 bytes]` },
    { name: '10 MB', value: 'b'.repeat(10_000_000), want: `${'b'.repeat(LIMIT)}...[+9999900 bytes]` },
    // The cut would be in the middle of a character of two, three and four bytes.
    { name: 'é', value: `x${'é'.repeat(LIMIT)}`, want: `x${'é'.repeat(49)}...[+102 bytes]` },
    { name: '漢', value: `xx${'漢'.repeat(LIMIT)}`, want: `xx${'漢'.repeat(32)}...[+204 bytes]` },
    { name: '𝄞', value: `xxx${'𝄞'.repeat(LIMIT)}`, want: `xxx${'𝄞'.repeat(24)}...[+304 bytes]` },
    { name: 'a list is left whole', value: ['c'.repeat(LIMIT * 2)] },
    { name: 'bytes are left whole', value: new Uint8Array(LIMIT * 2) },
    { name: 'a number', value: 5n },
  ];
  const attributes = cases.map(({ name, value }): Attribute => [name, value]);
  const wanted = cases.map(({ name, value, want }): Attribute => [name, want ?? value]);
  const cuts = cases.filter(({ want }) => want !== undefined).length;
  const event = { timeUnixNano: START_NANO, name: 'e', droppedAttributes: 0 };
  const link = { traceId: hexId(2, 16), spanId: hexId(2, 8), traceState: '', droppedAttributes: 0 };
  const spanWith = (given: Attribute[], over: Partial<TestSpan> = {}): TestSpan =>
    aSpan({
      attributes: given,
      events: [{ ...event, attributes: given }],
      links: [{ ...link, attributes: given }],
      resource: aResource('shop', given),
      scope: { ...aScope(), attributes: given },
      ...over,
    });

  const head = aHead();
  head.attributeBytesMax = LIMIT;
  const sent = spanWith(attributes);
  t.match(append(head, encodeTraces([sent])), { spans: 1, truncated: 5 * cuts, malformed: 0 });
  t.strictSame(await traceOf(head, hexId(1, 16)), [spanWith(wanted)], 'in every place');
  t.match(append(head, encodeTraces([sent])), { duplicates: 1, truncated: 0 }, 'what is there already');

  const invalid = Buffer.alloc(LIMIT + 50, 0x80).toString('latin1');
  const longKey = 'k'.repeat(LIMIT + 50);
  const bytes = encodeTraces([aSpan({ spanId: hexId(2, 8), attributes: [[longKey, invalid]] })]);
  t.match(append(head, bytes), { spans: 1, truncated: 2 }, 'keys as well');
  const [, odd] = await traceOf(head, hexId(1, 16));
  t.equal(odd!.attributes[0]![0], `${'k'.repeat(LIMIT)}...[+50 bytes]`);

  const whole = aHead();
  t.match(append(whole, encodeTraces([sent])), { truncated: 0 });
  t.strictSame(await traceOf(whole, hexId(1, 16)), [sent], 'without a limit');
});

t.test('how far spans are from their arrival', (t) => {
  const arrivals = new Arrivals();
  const head = new HeadBuilder({ maxBytes: 64 * MEGABYTE, arrivals });
  arrivals.begin(Number(START_NANO / 1_000_000n), 120_000);
  const spanAt = (i: number, startSec: number, endSec: number): TestSpan => {
    const at = (seconds: number): bigint => START_NANO + BigInt(seconds * 1e9);
    return aSpan({ spanId: hexId(i, 8), startUnixNano: at(startSec), endUnixNano: at(endSec) });
  };
  const ranges: [number, number][] = [
    [-100, -90],
    [-121, -100],
    [0, 121],
    [10, 5],
    [-400, -300],
    [-400, -301],
    [-5000, -2000],
    [-9000, -4000],
    [2000, 4000],
  ];
  append(head, encodeTraces(ranges.map(([start, end], i) => spanAt(i + 1, start, end))));
  t.equal(arrivals.outsideSlack, 8, 'all but the first');
  t.strictSame([...arrivals.past].map(Math.round), [3, 1, 1, 1, 90 + 100 + 300 + 301 + 2000 + 4000]);
  t.strictSame([...arrivals.future].map(Math.round), [2, 0, 0, 1, 121 + 5 + 4000]);
  arrivals.clear();
  t.same([arrivals.outsideSlack, ...arrivals.past, ...arrivals.future], Array(11).fill(0));
  t.end();
});

t.test('what a head says of itself', (t) => {
  const head = aHead();
  const empty = head.usedBytes;
  const spans = [
    aSpan({ spanId: hexId(1, 8) }),
    aSpan({ spanId: hexId(2, 8), startUnixNano: START_NANO - 10n, endUnixNano: START_NANO }),
    aSpan({ spanId: hexId(3, 8), startUnixNano: 5n, endUnixNano: 6n }),
    aSpan({ spanId: hexId(4, 8), startUnixNano: START_NANO + 5n, endUnixNano: START_NANO * 2n }),
  ];
  append(head, encodeTraces(spans));
  t.equal(head.spanCount, 4);
  t.equal(head.traceCount, 1);
  const wire = spans.reduce((sum, span) => sum + encodeSpan(span).length, 0);
  t.equal(head.bytesOfTrace(0), wire);
  t.equal(head.estimatedBlockBytes, Math.round(wire * 0.34));
  t.ok(head.usedBytes > empty);
  t.ok(head.reservedBytes <= head.sab.byteLength);
  t.end();
});

t.test('vectors', async (t) => {
  const a = aResource('a', [['pod', 'p1']]);
  const b: TestSpan['resource'] = { attributes: [['service.name', 7n]], droppedAttributes: 0 };
  const scope = { ...aScope('lib', '2'), attributes: [['s', 'x']] as Attribute[] };
  const event = (name: string, at: bigint): TestSpan['events'][0] => ({
    timeUnixNano: START_NANO + at,
    name,
    attributes: [['e', name]],
    droppedAttributes: 0,
  });
  const link = {
    traceId: hexId(5, 16),
    spanId: hexId(6, 8),
    traceState: '',
    attributes: [['l', true]] as Attribute[],
    droppedAttributes: 0,
  };
  const spans: TestSpan[] = [
    aSpan({
      traceId: hexId(1, 16),
      spanId: hexId(1, 8),
      name: 'root',
      resource: a,
      scope,
      attributes: [
        ['k', 'v'],
        ['n', 1n],
      ],
    }),
    aSpan({
      traceId: hexId(2, 16),
      spanId: hexId(2, 8),
      name: 'other',
      resource: b,
      scope,
      attributes: [['k', 2n ** 60n + 1n]],
      kind: 3,
    }),
    aSpan({
      traceId: hexId(1, 16),
      spanId: hexId(3, 8),
      parentSpanId: hexId(1, 8),
      resource: b,
      scope,
      attributes: [
        ['k', 'w'],
        ['k', ['v', 'x']],
        ['n', 2.5],
      ],
      status: { code: 2, message: 'bad' },
      startUnixNano: START_NANO + 100n,
      endUnixNano: START_NANO + 2_000_000n,
      events: [event('e1', 5n), event('e2', 105n)],
    }),
    aSpan({
      traceId: hexId(2, 16),
      spanId: hexId(4, 8),
      parentSpanId: hexId(2, 8),
      resource: a,
      scope,
      attributes: [['k', true]],
      links: [link],
    }),
  ];
  const head = aHead();
  append(head, encodeTraces(spans));
  const source = sourceOf(head);
  const big = 2n ** 60n + 1n;
  const k: unknown[][] = [
    [0, 'v'],
    [1, big],
    [2, 'w'],
    [2, 'v'],
    [2, 'x'],
    [3, true],
  ];
  const cases: { name: string; request: FieldRequest; rows?: number[]; want: unknown[][]; hex?: boolean }[] =
    [
      { name: 'mixed types', request: attribute('span', 'k'), want: k },
      { name: 'one type', request: attribute('resource', 'pod'), want: [[0, 'p1']] },
      {
        name: 'int and double',
        request: attribute('span', 'n'),
        want: [
          [0, 1],
          [2, 2.5],
        ],
      },
      { name: 'not there', request: attribute('span', 'nope'), want: [] },
      { name: 'not there in this scope', request: attribute('link', 'k'), want: [] },
      {
        name: 'event attribute',
        request: attribute('event', 'e'),
        want: [
          [0, 'e1'],
          [1, 'e2'],
        ],
      },
      { name: 'link attribute', request: attribute('link', 'l'), want: [[0, true]] },
      { name: 'scope attribute', request: attribute('instrumentation', 's'), want: [[0, 'x']] },
      {
        name: 'service.name',
        request: attribute('resource', 'service.name'),
        want: [
          [0, 'a'],
          [1, 7],
        ],
      },
      {
        name: 'rows',
        request: attribute('span', 'k'),
        rows: [1],
        want: [
          [1, big],
          [3, true],
        ],
      },
      { name: 'rows of events', request: attribute('event', 'e'), rows: [1], want: [] },
      {
        name: 'equals leaves out nothing where there are arrays',
        request: { ...attribute('span', 'k'), equals: [Buffer.from('v')] },
        want: [
          [0, 'v'],
          [1, big],
          [2, 'w'],
          [2, 'v'],
          [2, 'x'],
          [3, true],
        ],
      },
      {
        name: 'equals of no string',
        request: { ...attribute('resource', 'pod'), equals: [Buffer.from('no')] },
        want: [],
      },
      {
        name: 'equals with rows',
        request: { ...attribute('span', 'k'), equals: [Buffer.from('w')] },
        rows: [0],
        want: [
          [2, 'w'],
          [2, 'v'],
          [2, 'x'],
        ],
      },
      ...(
        [
          [
            'span:name',
            [
              [0, 'root'],
              [1, 'other'],
              [2, 'op'],
              [3, 'op'],
            ],
          ],
          [
            'span:kind',
            [
              [0, 1],
              [1, 3],
              [2, 1],
              [3, 1],
            ],
          ],
          [
            'span:status',
            [
              [0, 0],
              [1, 0],
              [2, 2],
              [3, 0],
            ],
          ],
          [
            'span:statusMessage',
            [
              [0, ''],
              [1, ''],
              [2, 'bad'],
              [3, ''],
            ],
          ],
          [
            'span:duration',
            [
              [0, 1_000_000],
              [1, 1_000_000],
              [2, 1_999_900],
              [3, 1_000_000],
            ],
          ],
          ['span:id', [1, 2, 3, 4].map((n, i) => [i, hexId(n, 8)]), true],
          [
            'span:parentID',
            [
              [0, ''],
              [1, ''],
              [2, hexId(1, 8)],
              [3, hexId(2, 8)],
            ],
            true,
          ],
          [
            'span:nestedSetLeft',
            [
              [0, 1],
              [1, 1],
              [2, 2],
              [3, 2],
            ],
          ],
          [
            'span:nestedSetRight',
            [
              [0, 4],
              [1, 4],
              [2, 3],
              [3, 3],
            ],
          ],
          [
            'span:nestedSetParent',
            [
              [0, -1],
              [1, -1],
              [2, 1],
              [3, 1],
            ],
          ],
          [
            'span:childCount',
            [
              [0, 1],
              [1, 1],
              [2, 0],
              [3, 0],
            ],
          ],
          [
            'trace:id',
            [
              [0, hexId(1, 16)],
              [1, hexId(2, 16)],
            ],
            true,
          ],
          [
            'trace:duration',
            [
              [0, 2_000_000],
              [1, 1_000_000],
            ],
          ],
          [
            'trace:rootName',
            [
              [0, 'root'],
              [1, 'other'],
            ],
          ],
          [
            'trace:rootService',
            [
              [0, 'a'],
              [1, ''],
            ],
          ],
          [
            'event:name',
            [
              [0, 'e1'],
              [1, 'e2'],
            ],
          ],
          [
            'event:timeSinceStart',
            [
              [0, -95],
              [1, 5],
            ],
          ],
          ['link:traceID', [[0, hexId(5, 16)]], true],
          ['link:spanID', [[0, hexId(6, 8)]], true],
          ['instrumentation:name', [[0, 'lib']]],
          ['instrumentation:version', [[0, '2']]],
        ] as const
      ).map(([name, want, hex]) => ({
        name,
        request: { field: { kind: 'intrinsic' as const, name } },
        want: want as unknown as unknown[][],
        hex: hex === true,
      })),
    ];
  for (const { name, request, rows, want, hex } of cases) {
    // what is kept for all traces is given for some of them too
    const vector = await vectorOf(rows === undefined ? source : sourceOf(head), request, rows);
    t.strictSame(entries(vector, hex === true ? hexOf : undefined), want, name);
    // With rows the same entries, less those of other traces.
    if (rows !== undefined || want.length === 0 || !/^(span|event|link|trace):/.test(name)) continue;
    const second = entries(await vectorOf(source, request, [1]), hex === true ? hexOf : undefined);
    const owned = { span: [1, 3], trace: [1], event: [], link: [0] }[name.split(':')[0]!]!;
    t.strictSame(
      second,
      want.filter(([owner]) => owned.includes(owner as never)),
      `${name} of one trace`,
    );
  }
  const array = await vectorOf(source, attribute('span', 'k'));
  t.strictSame([...array.isElement!], [0, 0, 0, 1, 1, 0]);
  const starts = await vectorOf(source, { field: { kind: 'intrinsic', name: 'span:start' } });
  t.equal(starts.base + BigInt(starts.num![2]!), START_NANO + 100n);
  t.strictSame([...(await source.relation('spanTrace'))], [0, 1, 0, 1]);
  t.strictSame([...(await source.relation('spanResource'))], [0, 1, 1, 0]);
  t.strictSame([...(await source.relation('spanScope'))], [0, 0, 0, 0]);
  t.strictSame([...(await source.relation('eventSpan'))], [2, 2]);
  t.strictSame([...(await source.relation('linkSpan'))], [3]);
  const { startMicros, endMicros } = await source.traceTimes();
  t.strictSame([...startMicros], [Number(START_NANO / 1000n), Number(START_NANO / 1000n)]);
  t.equal(endMicros[0], Number(START_NANO / 1000n) + 2000);
  t.strictSame(await source.facts(Int32Array.of(1, 0)), [
    {
      id: unhex(hexId(2, 16)),
      rootService: '',
      rootName: 'other',
      hasRoot: true,
      startUnixNano: START_NANO,
      endUnixNano: START_NANO + 1_000_000n,
      services: [
        { service: '', spanCount: 1, errorCount: 0 },
        { service: 'a', spanCount: 1, errorCount: 0 },
      ],
    },
    {
      id: unhex(hexId(1, 16)),
      rootService: 'a',
      rootName: 'root',
      hasRoot: true,
      startUnixNano: START_NANO,
      endUnixNano: START_NANO + 2_000_000n,
      services: [
        { service: 'a', spanCount: 1, errorCount: 0 },
        { service: '', spanCount: 1, errorCount: 1 },
      ],
    },
  ]);
});

t.test('many entries of one attribute over many chunks', async (t) => {
  const head = aHead();
  const want: unknown[][] = [];
  for (let trace = 1; trace <= 40; trace++) {
    const spans = aTrace(trace, 100, (i) => ({
      attributes:
        i % 3 === 0
          ? [
              ['a', 'x'],
              ['n', BigInt(i)],
            ]
          : [['a', 'x']],
    }));
    append(head, encodeTraces(spans));
    for (let i = 1; i <= 100; i++) if (i % 3 === 0) want.push([(trace - 1) * 100 + i - 1, i]);
  }
  t.strictSame(entries(await vectorOf(sourceOf(head), attribute('span', 'n'))), want);
});

t.test('a root that says it is a child', async (t) => {
  const head = aHead();
  const link = { traceId: hexId(1, 16), spanId: hexId(9, 8), traceState: '', droppedAttributes: 0 };
  const childOf: Attribute[] = [['opentracing.ref_type', 'child_of']];
  append(
    head,
    encodeTraces([
      aSpan({ name: 'root', spanId: hexId(4, 8) }),
      aSpan({ name: 'child', spanId: hexId(2, 8), links: [{ ...link, attributes: childOf }] }),
    ]),
  );
  const source = sourceOf(head);
  t.equal((await source.facts(Int32Array.of(0)))[0]!.rootName, 'root');
  t.strictSame(entries(await vectorOf(source, { field: { kind: 'intrinsic', name: 'trace:rootName' } })), [
    [0, 'root'],
  ]);
  append(
    head,
    encodeTraces([
      aSpan({ name: 'twin', spanId: hexId(3, 8), links: [{ ...link, attributes: [] }] }),
      aSpan({ name: 'later', spanId: hexId(1, 8), startUnixNano: START_NANO + 1n }),
    ]),
  );
  const now = sourceOf(head);
  const name = 'the earliest root counts, of equal start that with the smaller id';
  t.equal((await now.facts(Int32Array.of(0)))[0]!.rootName, 'twin', name);
  t.strictSame(entries(await vectorOf(now, { field: { kind: 'intrinsic', name: 'trace:rootName' } })), [
    [0, 'twin'],
  ]);
  t.equal((await source.facts(Int32Array.of(0)))[0]!.rootName, 'root', 'a snapshot stays what it was');
});

t.test('nested sets do not depend on the order of arrival', async (t) => {
  const spans = aTrace(1, 40);
  const want = aHead();
  append(want, encodeTraces(spans));
  const head = aHead();
  // 7 and 40 have no common factor, so every span comes once, in disorder
  const arrived = spans.map((_, i) => spans[(i * 7) % 40]!);
  append(head, encodeTraces(arrived));
  const left = async (source: HeadSource): Promise<number[]> => {
    const { num } = await vectorOf(source, { field: { kind: 'intrinsic', name: 'span:nestedSetLeft' } });
    return [...(num ?? [])];
  };
  const sorted = await left(sourceOf(want));
  t.strictSame(
    await left(sourceOf(head)),
    arrived.map((span) => sorted[spans.indexOf(span)]),
  );
});

t.test('nested sets', (t) => {
  type Row = [id: number, parent: number, kind?: number];
  const cases: { name: string; input: Row[]; want: [left: number, right: number, parent: number][] }[] = [
    { name: 'none', input: [], want: [] },
    { name: 'one', input: [[1, 0]], want: [[1, 2, -1]] },
    {
      name: 'children in order',
      input: [
        [2, 1],
        [1, 0],
        [3, 1],
      ],
      want: [
        [2, 3, 1],
        [1, 6, -1],
        [4, 5, 1],
      ],
    },
    {
      name: 'two roots',
      input: [
        [1, 0],
        [2, 0],
        [3, 2],
      ],
      want: [
        [1, 2, -1],
        [3, 6, -1],
        [4, 5, 3],
      ],
    },
    {
      name: 'no root',
      input: [
        [1, 9],
        [2, 1],
      ],
      want: [
        [0, 0, 0],
        [0, 0, 0],
      ],
    },
    {
      name: 'orphan',
      input: [
        [1, 0],
        [2, 9],
        [3, 2],
      ],
      want: [
        [1, 2, -1],
        [0, 0, 0],
        [0, 0, 0],
      ],
    },
    {
      name: 'own parent',
      input: [
        [1, 0],
        [2, 2],
      ],
      want: [
        [1, 2, -1],
        [0, 0, 0],
      ],
    },
    {
      name: 'circle',
      input: [
        [1, 0],
        [2, 3],
        [3, 2],
      ],
      want: [
        [1, 2, -1],
        [0, 0, 0],
        [0, 0, 0],
      ],
    },
    {
      name: 'an id three times',
      input: [
        [1, 0, 1],
        [1, 0, 2],
        [1, 0, 3],
      ],
      want: [
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
      ],
    },
    {
      name: 'an id shared by client and server',
      input: [
        [1, 0, 3],
        [1, 0, 2],
        [2, 1, 1],
        [3, 1, 2],
      ],
      want: [
        [1, 4, -1],
        [5, 8, -1],
        [6, 7, 5],
        [2, 3, 1],
      ],
    },
    {
      name: 'an id shared by neither',
      input: [
        [1, 0, 1],
        [1, 0, 4],
        [2, 1, 1],
      ],
      want: [
        [1, 2, -1],
        [3, 4, -1],
        [0, 0, 0],
      ],
    },
  ];
  const sets = new NestedSets();
  for (const { name, input, want } of cases) {
    const ids = Int32Array.from(input.flatMap(([id]) => [id, 0]));
    const parents = Int32Array.from(input.flatMap(([, parent]) => [parent, 0]));
    sets.compute(input.length, ids, parents, Uint8Array.from(input.map(([, , kind]) => kind ?? 1)));
    t.strictSame(
      input.map((_, i) => [sets.left[i], sets.right[i], sets.parent[i]]),
      want,
      name,
    );
  }
  t.end();
});

t.test('another thread reads whole frames while the head grows', async (t) => {
  const spansPerFrame = 64;
  const head = aHead();
  const flags = new Int32Array(new SharedArrayBuffer(8));
  const data: HeadReaderData = { sab: head.sab, flags, spansPerFrame };
  const worker = new Worker(new URL('../support/head-reader-worker.ts', import.meta.url), {
    workerData: data,
  });
  const report = once(worker, 'message');
  let frames = 0;
  for (let seen = 0; seen < 20 || frames < 200; frames++) {
    if (frames === 20_000) break;
    const frame = aTrace(1 + (frames % 90), spansPerFrame, (i) => ({
      spanId: hexId(1 + frames * spansPerFrame + i, 8),
      startUnixNano: START_NANO + BigInt(frames) * 3_000_000_000n,
      endUnixNano: START_NANO + BigInt(frames) * 3_000_000_000n + 5n,
    }));
    t.equal(append(head, encodeTraces(frame)).spans, spansPerFrame);
    seen = Atomics.load(flags, 1);
  }
  Atomics.store(flags, 0, 1);
  const [{ problems, largest }] = (await report) as [{ problems: string[]; largest: number }];
  t.strictSame(problems, []);
  t.equal(largest, frames * spansPerFrame);
});

t.test('a head of one span is small, as there may be one for each of many tenants', (t) => {
  const request = encodeTraces([aSpan({ attributes: [['a', 'b']] })]);
  const heads = Array.from({ length: 100 }, () => aHead());
  for (const head of heads) append(head, request);
  collectGarbage();
  const before = process.memoryUsage();
  const more = Array.from({ length: 1000 }, () => {
    const head = aHead();
    append(head, request);
    return head;
  });
  collectGarbage();
  const after = process.memoryUsage();
  const bytes = (after.heapUsed - before.heapUsed + after.external - before.external) / more.length;
  t.ok(more[0]!.reservedBytes < 14_000, `${more[0]!.reservedBytes} bytes of the shared buffer`);
  t.ok(bytes < 26_000, `${bytes} bytes of objects`);
  const estimate = more[0]!.usedBytes;
  t.ok(estimate > 30_000 && estimate < 60_000, `${estimate} bytes are counted for it`);
  t.end();
});

const WIDTHS = { i32: 1, pair: 2, quad: 4 } as const;

t.test('vectors keep what is pushed, taken back and pushed again', (t) => {
  const kinds = ['i32', 'pair', 'quad'] as const;
  const step = fc.oneof(fc.record({ push: fc.nat(100) }), fc.record({ keep: fc.nat(100) }));
  const picked = fc.array(fc.nat(1000));
  fc.assert(
    fc.property(fc.constantFrom(...kinds), fc.array(step), picked, (kind, steps, picks) => {
      const arena = new Arena(1 << 24);
      arena.allocate(HEADER_BYTES);
      const [vec, neighbour] = [0, 1].map((index) => new VecWriter(arena, kind, index));
      const want: number[][] = [];
      let next = 0;
      const element = (): number[] => Array.from({ length: WIDTHS[kind] }, () => ++next);
      const push = (to: VecWriter, [a, b, c, d]: readonly number[]): void => {
        if (kind === 'i32') to.push(a!);
        else if (kind === 'pair') to.push2(a!, b!);
        else to.push4(a!, b!, c!, d!);
      };
      for (const each of steps) {
        if ('keep' in each) {
          want.length = Math.floor((want.length * each.keep) / 100);
          vec!.truncate(want.length);
          continue;
        }
        for (let i = 0; i < each.push; i++) {
          want.push(element());
          push(vec!, want.at(-1)!);
          push(neighbour!, element());
        }
      }
      const reader = new VecReader(arena.sab, kind, 0, vec!.count);
      const flat = want.flat();
      // Compared as texts: a comparison of so many numbers one by one takes seconds.
      const read = want.map((words, i) => words.map((_, word) => reader.get(i, word)));
      const written = want.map((words, i) => words.map((_, word) => vec!.get(i, word)));
      const ordinals = Int32Array.from(new Set(picks.map((pick) => pick % want.length))).sort();
      const within = want.length === 0 ? new Int32Array(0) : ordinals;
      const wanted = [...within].map((i) => want[i]!);
      const got = [reader.toArray(), read, written, reader.pick(within)].map((each) => each.join());
      const all = flat.join();
      if (got.join(';') !== [all, all, all, wanted.join()].join(';')) throw new Error('other elements');
    }),
    {
      numRuns: 50,
      examples: [
        ['i32', [{ push: 100 }, { keep: 10 }, { push: 100 }], [0, 15, 16, 17, 48, 109]],
        ['pair', [{ push: 100 }, { keep: 15 }, { push: 5 }], [14, 15]],
      ],
    },
  );
  t.end();
});

/** Keeps whatever is made of one head. */
function aMemo(): SourceMemo {
  const values = new Map<string, object>();
  return {
    get: <T extends object>(what: string) => values.get(what) as T | undefined,
    set: (what, value) => void values.set(what, value),
  };
}

t.test('a string that a head did not have is found when it has come', async (t) => {
  const head = aHead();
  const memo = aMemo();
  const add = (i: number, value: string): void => {
    append(head, encodeTraces([aSpan({ spanId: hexId(i, 8), attributes: [['a', value]] })]));
  };
  const spansWith = async (value: string): Promise<number[]> => {
    const source = new HeadSource(new HeadReader(head.sab), 'head', memo);
    const equals = [Buffer.from(value)];
    const field = { kind: 'attribute', scope: 'span', name: 'a' } as const;
    const [vector] = await source.load([{ field, equals }]);
    return [...(vector!.owners ?? [])];
  };
  add(1, 'first');
  t.same(await spansWith('late'), [], 'nobody has it');
  t.same(await spansWith('late'), [], 'nor now');
  add(2, 'other');
  t.same(await spansWith('late'), [], 'nor among what has come');
  add(3, 'late');
  t.same(await spansWith('late'), [2]);
  add(4, 'late');
  t.same(await spansWith('late'), [2, 3]);
  t.same(await spansWith('first'), [0]);
});

t.test('kinds and statuses without a name are kept as they are, whenever they come', async (t) => {
  const head = aHead();
  const memo = aMemo();
  const kinds = [1, 300, 5, -7, 15, 2];
  const seen: number[] = [];
  for (const [i, kind] of kinds.entries()) {
    append(
      head,
      encodeTraces([aSpan({ spanId: hexId(i + 1, 8), kind, status: { code: kind, message: '' } })]),
    );
    seen.push(kind);
    const source = new HeadSource(new HeadReader(head.sab), 'head', memo);
    for (const name of ['span:kind', 'span:status'] as const) {
      const [vector] = await source.load([{ field: { kind: 'intrinsic', name } }]);
      t.same([...vector!.num!], seen, `${name} of ${i + 1}`);
    }
  }
});
