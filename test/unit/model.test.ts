// The wire scan against adversarial bytes, OTLP JSON, ids and tenants.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { bytesOfHex, hexOfBytes } from '../../src/model/ids.ts';
import {
  bufferBytes,
  measureEntries,
  pushReasons,
  pushResponse,
  readPushRequest,
  writeEntries,
} from '../../src/contracts/push-bytes.ts';
import { requestOfJson } from '../../src/model/otlp/json.ts';
import { cutBadSpans, scanRequest } from '../../src/model/otlp/scan.ts';
import { cutTrace } from '../../src/model/otlp/cut-trace.ts';
import { TraceLayout } from '../../src/model/otlp/trace-layout.ts';
import { separateSharedIds } from '../../src/model/otlp/shared-span-ids.ts';
import { SINGLE_TENANT, tenantOfHeader, tenantsOfHeader } from '../../src/model/tenant.ts';
import {
  type Attribute,
  aResource,
  aScope,
  aSpan,
  aTrace,
  decodeTraces,
  encodeSpan,
  encodeTraces,
  field,
  hexId,
  readFields,
  START_NANO,
  type TestSpan,
} from '../support/otlp.ts';

const bytes = (...parts: (Uint8Array | number[])[]): Uint8Array =>
  Buffer.concat(parts.map((p) => Buffer.from(p)));
/** A request of one span from the span's own bytes. */
const requestOf = (span: Uint8Array | number[]): Uint8Array => field(1, field(2, field(2, span)));
const goodIds = encodeSpan(aSpan()).subarray(0, 28);
const thrown = (run: () => unknown): unknown => {
  try {
    run();
  } catch (err) {
    return err;
  }
  return undefined;
};

t.test('scan refuses what is no request, and says where', (t) => {
  const cases: { name: string; input: Uint8Array | number[]; want: string }[] = [
    {
      name: 'text',
      input: Buffer.from('hello world'),
      want: 'wire type 4 is not allowed at byte 3',
    },
    { name: 'only a tag', input: [0x0a], want: 'truncated varint at byte 1' },
    { name: 'field 0', input: [0x00, 0x01], want: 'field number 0 at byte 0' },
    { name: 'group start', input: [0x13], want: 'wire type 3 is not allowed at byte 1' },
    {
      name: 'group start of an unknown field',
      input: [0x4b, 0x4c],
      want: 'wire type 3 is not allowed at byte 1',
    },
    { name: 'wire type 7', input: [0x4f], want: 'wire type 7 is not allowed at byte 1' },
    {
      name: 'varint of 11 bytes',
      input: [0x48, ...Array(10).fill(0x80), 0],
      want: 'varint longer than 10 bytes at byte 1',
    },
    {
      name: 'giant length',
      input: [0x0a, ...Array(9).fill(0xff), 1],
      want: 'beyond the end of its message at byte 1',
    },
    {
      name: 'length 2^32 + 0',
      input: [0x0a, 0x80, 0x80, 0x80, 0x80, 0x10],
      want: 'length 4294967296 beyond',
    },
    {
      name: 'huge field number',
      input: [0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
      want: 'field number too large at byte 0',
    },
    { name: 'resource_spans as varint', input: [0x08, 0x01], want: 'field 1 with wire type 0' },
    { name: 'scope_spans as fixed32', input: field(1, [0x15, 1, 2, 3, 4]), want: 'field 2 with wire type 5' },
    { name: 'spans as varint', input: field(1, field(2, [0x10, 1])), want: 'field 2 with wire type 0' },
    {
      name: 'scope beyond its parent',
      input: bytes([0x0a, 4, 0x12, 5, 0, 0], Array(9).fill(0)),
      want: 'length 5 beyond',
    },
    {
      name: 'name beyond the span',
      input: requestOf(bytes(goodIds, [0x2a, 5, 65])),
      want: 'length 5 beyond',
    },
    {
      name: 'long name beyond the span',
      input: requestOf(bytes(goodIds, [0x2a, 0x80, 2, 65])),
      want: 'length 256 beyond',
    },
    { name: 'name as varint', input: requestOf([0x28, 1]), want: 'field 5 with wire type 0' },
    { name: 'kind as bytes', input: requestOf([0x32, 1, 1]), want: 'field 6 with wire type 2' },
    { name: 'truncated start time', input: requestOf([0x39, 1, 2, 3]), want: 'truncated fixed-size value' },
    { name: 'start time as varint', input: requestOf([0x38, 3]), want: 'field 7 with wire type 0' },
    { name: 'truncated kind', input: requestOf([0x30, 0x80]), want: 'truncated varint' },
    { name: 'tag without value', input: requestOf(bytes(goodIds, [0x4a])), want: 'truncated varint' },
    { name: 'flags as varint', input: requestOf([0x80, 0x01, 0x01]), want: 'field 16 with wire type 0' },
    {
      name: 'overlong tag of the trace id',
      input: requestOf([0x8a, 0x00, 0]),
      want: 'overlong tag of field 1',
    },
    { name: 'group in a span', input: requestOf([0x0b, 0x0c]), want: 'field 1 with wire type 3' },
  ];
  for (const { name, input, want } of cases) {
    const err = thrown(() => scanRequest(Uint8Array.from(input)));
    t.ok(err instanceof TempoError && err.code === 'invalid_argument', `${name}: refused`);
    t.match(String(err), want, name);
  }
  t.end();
});

t.test('scan takes what decoders take', (t) => {
  const nested = (depth: number): Uint8Array => {
    let value: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < depth; i++) value = field(1, value);
    return value;
  };
  const span = encodeSpan(aSpan());
  const spanField = field(2, span);
  const bigRequest = field(1, field(2, Buffer.concat(Array<Uint8Array>(100_000).fill(spanField))));
  const cases: { name: string; input: Uint8Array; want: number }[] = [
    { name: 'nothing', input: new Uint8Array(0), want: 0 },
    { name: 'empty messages', input: field(1, field(2, [])), want: 0 },
    {
      name: 'unknown fields at every level',
      want: 1,
      input: bytes(
        [0x48, 1],
        field(
          1,
          bytes([0x4d, 1, 2, 3, 4], field(2, bytes(field(9, [1]), field(2, bytes(span, field(99, [1, 2])))))),
        ),
      ),
    },
    {
      name: 'a length with padding',
      input: bytes([0x0a, 0x84, 0x80, 0x00, 0x12, 0x02, 0x1a, 0x00]),
      want: 0,
    },
    { name: 'the last of two trace ids counts', input: requestOf(bytes(field(1, [1]), span)), want: 1 },
    { name: 'negative kind', input: requestOf(bytes(span, [0x30, ...Array(9).fill(0xff), 1])), want: 1 },
    { name: 'flags', input: requestOf(bytes(span, [0x85, 0x01, 1, 0, 0, 0])), want: 1 },
    { name: '100,000 spans', input: bigRequest, want: 100_000 },
    { name: '5,000 levels', input: nested(5000), want: 0 },
    {
      name: 'deeply nested attribute',
      want: 1,
      input: encodeTraces([
        aSpan({ attributes: [['deep', Array.from({ length: 500 }).reduce<Attribute[1]>((v) => [v], 1n)]] }),
      ]),
    },
  ];
  for (const { name, input, want } of cases) {
    t.same(scanRequest(input), { spanCount: want, badTraceIds: 0, badSpanIds: 0, message: '' }, name);
  }
  t.end();
});

t.test('bad ids are counted, told and cut out', (t) => {
  const cases: { name: string; input: TestSpan; trace: number; span: number; want: string }[] = [
    {
      name: 'no trace id',
      input: aSpan({ traceId: '' }),
      trace: 1,
      span: 0,
      want: 'trace ids must be 128 bit, received 0 bits',
    },
    {
      name: 'short trace id',
      input: aSpan({ traceId: 'ab'.repeat(8) }),
      trace: 1,
      span: 0,
      want: 'trace ids must be 128 bit, received 64 bits',
    },
    {
      name: 'long trace id',
      input: aSpan({ traceId: 'ab'.repeat(17) }),
      trace: 1,
      span: 0,
      want: 'trace ids must be 128 bit, received 136 bits',
    },
    {
      name: 'zero trace id',
      input: aSpan({ traceId: hexId(0, 16) }),
      trace: 1,
      span: 0,
      want: 'trace ids must be 128 bit',
    },
    {
      name: 'no span id',
      input: aSpan({ spanId: '' }),
      trace: 0,
      span: 1,
      want: 'span ids must be 64 bit and not all zero, received 0 bits',
    },
    {
      name: 'zero span id',
      input: aSpan({ spanId: hexId(0, 8) }),
      trace: 0,
      span: 1,
      want: 'span ids must be 64 bit and not all zero',
    },
    { name: 'short span id', input: aSpan({ spanId: 'ff' }), trace: 0, span: 1, want: 'received 8 bits' },
    {
      name: 'both bad counts once',
      input: aSpan({ traceId: '', spanId: '' }),
      trace: 1,
      span: 0,
      want: 'trace ids must be',
    },
  ];
  for (const { name, input, trace, span, want } of cases) {
    const other = aSpan({ resource: aResource('other'), scope: aScope('s2') });
    const spans = [aSpan({ spanId: hexId(2, 8) }), input, aSpan({ spanId: hexId(3, 8) }), other];
    const found = scanRequest(encodeTraces(spans));
    t.equal(found.spanCount, 4, name);
    t.same([found.badTraceIds, found.badSpanIds], [trace, span], name);
    t.match(found.message, want, name);
    const good = cutBadSpans(encodeTraces(spans));
    t.same(
      decodeTraces(good),
      spans.filter((s) => s !== input),
      `${name}: the others are kept as they were`,
    );
    t.same(scanRequest(good), { spanCount: 3, badTraceIds: 0, badSpanIds: 0, message: '' }, `${name}: cut`);
  }
  const only = encodeTraces([aSpan({ spanId: '', resource: aResource('gone') }), aSpan()]);
  t.same(decodeTraces(cutBadSpans(only)), [aSpan()], 'a resource with no other span goes too');
  t.equal(Buffer.from(cutBadSpans(only)).indexOf('gone'), -1);
  t.end();
});

t.test('properties', (t) => {
  const onlyTempoError = (body: Uint8Array): void => {
    const err = thrown(() => scanRequest(body));
    assert.ok(err === undefined || err instanceof TempoError, String(err));
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), onlyTempoError), { numRuns: 2000 });
  const valid = encodeTraces([
    ...aTrace(1, 9),
    aSpan({ resource: aResource('b'), traceState: 'x'.repeat(300) }),
  ]);
  const at = fc.nat(valid.length - 1);
  fc.assert(
    fc.property(fc.array(fc.tuple(at, fc.nat(255)), { maxLength: 4 }), at, (edits, end) => {
      const mutated = valid.slice();
      for (const [index, byte] of edits) mutated[index] = byte;
      onlyTempoError(mutated);
      onlyTempoError(mutated.subarray(0, end));
      const found = thrown(() => scanRequest(mutated)) === undefined ? scanRequest(mutated) : undefined;
      if (found === undefined) return;
      const kept = scanRequest(cutBadSpans(mutated));
      assert.equal(kept.spanCount, found.spanCount - found.badTraceIds - found.badSpanIds);
      assert.equal(kept.message, '');
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.nat(3)), { maxLength: 20 }), (choices) => {
      const spans = choices.map(([goodTrace, goodSpan, scope], i) =>
        aSpan({
          traceId: hexId(goodTrace ? i + 1 : 0, 16),
          spanId: goodSpan ? hexId(i + 1, 8) : 'aa',
          scope: aScope(`scope-${scope}`),
          resource: aResource(`service-${scope & 1}`),
        }),
      );
      const good = spans.filter((_, i) => choices[i]![0] && choices[i]![1]);
      assert.deepEqual(decodeTraces(cutBadSpans(encodeTraces(spans))), decodeTraces(encodeTraces(good)));
    }),
    { numRuns: 200 },
  );
  t.end();
});

const jsonRequest = (span: object): Uint8Array =>
  Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{ ...span }] }] }] }));
const ids = { traceId: '5B8EFFF798038103D269B633813FC60C', spanId: 'eee19b7ec3c1b174' };

t.test('OTLP JSON becomes the protobuf of the same request', (t) => {
  const want: TestSpan = aSpan({
    traceId: ids.traceId.toLowerCase(),
    spanId: ids.spanId,
    parentSpanId: 'eee19b7ec3c1b173',
    traceState: 'a=b',
    name: "I'm a server spän",
    kind: 2,
    startUnixNano: 1544712660000000000n,
    endUnixNano: 1544712661123456789n,
    attributes: [
      ['text', 'välue'],
      ['yes', true],
      ['int', -7n],
      ['big', 9223372036854775807n],
      ['double', 0.5],
      ['bytes', Uint8Array.of(1, 2, 255)],
      ['list', ['a', 1n, [false]]],
      [
        'map',
        {
          kv: [
            ['k', 'v'],
            ['n', { kv: [] }],
          ],
        },
      ],
      ['none', undefined],
      ['empty', ''],
    ],
    droppedAttributes: 1,
    events: [{ timeUnixNano: START_NANO, name: 'event', attributes: [['e', 1n]], droppedAttributes: 2 }],
    droppedEvents: 3,
    links: [
      {
        traceId: hexId(9, 16),
        spanId: hexId(8, 8),
        traceState: 's',
        attributes: [['l', 'x']],
        droppedAttributes: 4,
      },
    ],
    droppedLinks: 5,
    status: { code: 2, message: 'bad' },
    resource: { attributes: [['service.name', 'my.service']], droppedAttributes: 6 },
    scope: { name: 'my.library', version: '1.0.0', attributes: [['s', 's']], droppedAttributes: 7 },
  });
  const camel = (numbers: boolean): string => `{"resourceSpans":[{
    "scopeSpans":[{"spans":[{
      "traceId":"${ids.traceId}","spanId":"${ids.spanId}","parentSpanId":"eee19b7ec3c1b173",
      "traceState":"a=b",
      "name":"I'm a server spän","kind":${numbers ? 2 : '"SPAN_KIND_SERVER"'},"unknownField":{"x":[1]},
      "startTimeUnixNano":${numbers ? '1544712660000000000' : '"1544712660000000000"'},
      "endTimeUnixNano":${numbers ? '1544712661123456789' : '"1544712661123456789"'},
      "attributes":[
        {"key":"text","value":{"stringValue":"välue"}},{"key":"yes","value":{"boolValue":true}},
        {"key":"int","value":{"intValue":${numbers ? '-7' : '"-7"'}}},
        {"key":"big","value":{"intValue":${numbers ? '9223372036854775807' : '"9223372036854775807"'}}},
        {"key":"double","value":{"doubleValue":${numbers ? '0.5' : '"0.5"'}}},
        {"key":"bytes","value":{"bytesValue":"AQL/"}},
        {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":1},
          {"arrayValue":{"values":[{"boolValue":false}]}}]}}},
        {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}},
          {"key":"n","value":{"kvlistValue":{"values":[]}}}]}}},
        {"key":"none","value":null},{"key":"empty","value":{"stringValue":""}}],
      "droppedAttributesCount":1,
      "events":[{"timeUnixNano":"${START_NANO}","name":"event",
        "attributes":[{"key":"e","value":{"intValue":"1"}}],"droppedAttributesCount":2}],
      "droppedEventsCount":3,
      "links":[{"traceId":"${hexId(9, 16)}","spanId":"${hexId(8, 8)}","traceState":"s",
        "attributes":[{"key":"l","value":{"stringValue":"x"}}],"droppedAttributesCount":4}],
      "droppedLinksCount":5,
      "status":{"code":${numbers ? 2 : '"STATUS_CODE_ERROR"'},"message":"bad"},"flags":256}],
      "scope":{"name":"my.library","version":"1.0.0",
        "attributes":[{"key":"s","value":{"stringValue":"s"}}],"droppedAttributesCount":7},"schemaUrl":"u"}],
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}],
      "droppedAttributesCount":6}}]}`;
  const snake = camel(false).replace(
    /"([a-z]+[A-Z][A-Za-z]*)":/g,
    (_all, name: string) => `"${name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)}":`,
  );
  for (const [name, text] of [
    ['texts', camel(false)],
    ['numbers', camel(true)],
    ['snake case', snake],
  ] as const) {
    const body = requestOfJson(Buffer.from(text));
    t.same(decodeTraces(body), [want], name);
    t.equal(scanRequest(body).message, '', name);
  }
  t.same(requestOfJson(Buffer.from('{}')), new Uint8Array(0), 'an empty request');
  t.equal(
    scanRequest(requestOfJson(jsonRequest({ name: 'no ids' }))).badTraceIds,
    1,
    'missing ids are for the scan',
  );
  const long = decodeTraces(requestOfJson(jsonRequest({ ...ids, name: 'é'.repeat(70_000) })));
  t.equal(long[0]?.name.length, 70_000, 'lengths of more than two bytes');
  t.end();
});

t.test('OTLP JSON that is none: the path and what was wanted', (t) => {
  const value = (v: unknown): Uint8Array => jsonRequest({ ...ids, attributes: [{ key: 'a', value: v }] });
  const span = 'resourceSpans[0].scopeSpans[0].spans[0]';
  let deep: unknown = { intValue: 1 };
  for (let i = 0; i < 64; i++) deep = { arrayValue: { values: [deep] } };
  const cases: { name: string; input: Uint8Array | string; want: string | RegExp }[] = [
    { name: 'no JSON', input: '{nope', want: 'malformed JSON: ' },
    { name: 'nothing', input: '', want: 'malformed JSON: ' },
    {
      name: 'gzip that nobody told of',
      input: Uint8Array.of(0x1f, 0x8b, 8, 0),
      want: 'malformed JSON: it is gzip, without a Content-Encoding: gzip',
    },
    { name: 'bad UTF-8', input: Uint8Array.of(0x22, 0xff, 0x22), want: 'malformed JSON: ' },
    { name: 'a list', input: '[]', want: 'request: expected an object, found an array' },
    {
      name: 'no list',
      input: '{"resourceSpans":{}}',
      want: 'resourceSpans: expected an array, found an object',
    },
    {
      name: 'id',
      input: jsonRequest({ traceId: 'xyz' }),
      want: `${span}.traceId: expected hex digits, two for each byte (not base64), found "xyz"`,
    },
    {
      name: 'odd id',
      input: jsonRequest({ spanId: 'abc' }),
      want: `${span}.spanId: expected hex digits, two for each byte (not base64)`,
    },
    {
      name: 'kind',
      input: jsonRequest({ kind: 'SERVER' }),
      want: `${span}.kind: expected a number or SPAN_KIND_`,
    },
    {
      name: 'time',
      input: jsonRequest({ startTimeUnixNano: '-1' }),
      want: `${span}.startTimeUnixNano: expected an integer from 0`,
    },
    {
      name: 'fraction',
      input: jsonRequest({ endTimeUnixNano: 1.5 }),
      want: `${span}.endTimeUnixNano: expected an integer, found 1.5`,
    },
    { name: 'name', input: jsonRequest({ name: 5 }), want: `${span}.name: expected a string, found 5` },
    {
      name: 'int64 overflow',
      input: value({ intValue: '9223372036854775808' }),
      want: `${span}.attributes[0].value.intValue`,
    },
    {
      name: 'an integer of a megabyte',
      input: `{"resourceSpans":[{"schemaUrl":${'9'.repeat(1_000_000)}}]}`,
      want: /expected a string, found Infinity$/,
    },
    { name: 'bool', input: value({ boolValue: 'true' }), want: 'expected true or false' },
    { name: 'double', input: value({ doubleValue: 'x' }), want: 'expected a number' },
    { name: 'base64', input: value({ bytesValue: '*' }), want: 'expected base64' },
    {
      name: 'two kinds',
      input: value({ intValue: 1, stringValue: 'x' }),
      want: 'expected one kind of value',
    },
    { name: 'too deep', input: value(deep), want: 'expected values nested at most 64 deep' },
    { name: 'absurdly deep', input: `${'{"a":'.repeat(200_000)}1`, want: 'malformed JSON' },
    { name: 'deep lists', input: `${'['.repeat(200_000)}${']'.repeat(200_000)}`, want: 'found an array' },
    {
      name: 'deep numbers',
      input: `${'['.repeat(200_000)}12345678901234567890${']'.repeat(200_000)}`,
      want: 'malformed JSON',
    },
  ];
  for (const { name, input, want } of cases) {
    const err = thrown(() => requestOfJson(typeof input === 'string' ? Buffer.from(input) : input));
    t.ok(err instanceof TempoError && err.code === 'invalid_argument', `${name}: refused`);
    t.match(String(err), want, name);
  }
  fc.assert(
    fc.property(fc.json({ depthSize: 'large' }), (text) => {
      const err = thrown(() => requestOfJson(Buffer.from(text)));
      assert.ok(err === undefined || err instanceof TempoError, String(err));
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('ids as text', (t) => {
  t.equal(hexOfBytes(Uint8Array.of(0, 10, 255)), '000aff');
  t.same(bytesOfHex('000AfF'), Uint8Array.of(0, 10, 255));
  t.equal(bytesOfHex('0g'), undefined);
  t.equal(bytesOfHex('0ä'), undefined);
  t.end();
});

t.test('a server that shares the id of its client', (t) => {
  const span = (n: number, parent: number, kind: number, start = n): TestSpan =>
    aSpan({
      spanId: hexId(n, 8),
      parentSpanId: parent === 0 ? '' : hexId(parent, 8),
      kind,
      startUnixNano: START_NANO + BigInt(start),
      traceState: 'a=1',
      attributes: [['n', BigInt(start)]],
    });
  const cases: { name: string; input: TestSpan[]; want: [id: number, parent: number][] }[] = [
    {
      name: 'nothing is shared',
      input: [span(7, 0, 2), span(8, 7, 3)],
      want: [
        [7, 0],
        [8, 7],
      ],
    },
    {
      name: 'the server moves below its client, and its children with it',
      input: [span(9, 1, 1), span(8, 7, 2), span(7, 1, 2), span(7, 1, 3), span(1, 0, 2)],
      want: [
        [9, 1],
        [8, 2],
        [2, 7],
        [7, 1],
        [1, 0],
      ],
    },
    {
      name: 'a server without a parent gets one',
      input: [span(7, 0, 2), span(7, 0, 3)],
      want: [
        [1, 7],
        [7, 0],
      ],
    },
    {
      name: 'the earlier server gets the smaller id',
      input: [span(7, 5, 2, 20), span(7, 5, 3), span(8, 5, 3), span(8, 5, 2, 10)],
      want: [
        [2, 7],
        [7, 5],
        [8, 5],
        [1, 8],
      ],
    },
    {
      name: 'servers alone',
      input: [span(7, 5, 2), span(7, 5, 1)],
      want: [
        [7, 5],
        [7, 5],
      ],
    },
  ];
  for (const { name, input, want } of cases) {
    const bytes = encodeTraces(input);
    const got = separateSharedIds(bytes);
    const renamed = input.map((given, i) => ({
      ...given,
      spanId: hexId(want[i]![0], 8),
      parentSpanId: want[i]![1] === 0 ? '' : hexId(want[i]![1], 8),
    }));
    t.same(decodeTraces(got), renamed, name);
    if (name === 'nothing is shared') t.equal(got, bytes, 'the same bytes');
  }
  t.end();
});

const SEVERAL = 'invalid_argument: multiple org IDs present';

t.test('the tenants of a read', (t) => {
  const cases: { name: string; header: string; want: string; alone?: string }[] = [
    { name: 'one', header: 'a', want: 'a' },
    { name: 'sorted, each once', header: 'b|a|b', want: 'a|b', alone: SEVERAL },
    { name: 'twice the same', header: 'a|a', want: 'a' },
    { name: 'with what is said of the request', header: 'b:x=1|a:y=2:z=3|a', want: 'a|b', alone: SEVERAL },
    { name: 'an empty one', header: 'a||b', want: 'invalid_argument: no org id', alone: SEVERAL },
    { name: 'none', header: '', want: 'unauthenticated: no org id' },
    { name: 'dots', header: 'a|..', want: `invalid_argument: tenant ID is '.' or '..'`, alone: SEVERAL },
    { name: 'two headers', header: 'a, b', want: SEVERAL },
    {
      name: 'a repetition of many',
      header: 'aaa|'.repeat(16_383) + 'aaa',
      want: 'aaa',
    },
    {
      name: 'too many',
      header: Array.from({ length: 1001 }, (_, i) => i).join('|'),
      want: 'invalid_argument: too many tenants: 1001, max 1000',
      alone: SEVERAL,
    },
    {
      name: 'too long to look at',
      header: 'aaa|'.repeat(16_384) + 'a',
      want: 'invalid_argument: tenant IDs are too long: max 65536 characters',
    },
    {
      name: 'too many headers',
      header: 'a, '.repeat(30_000) + 'a',
      want: 'invalid_argument: tenant IDs are too long: max 65536 characters',
    },
  ];
  const got = (header: string, severalAllowed: boolean): string => {
    try {
      return tenantsOfHeader(header, true, severalAllowed);
    } catch (err) {
      return err instanceof TempoError ? `${err.code}: ${err.message}` : String(err);
    }
  };
  for (const { name, header, want, alone } of cases) {
    t.equal(got(header, true), want, name);
    t.equal(got(header, false), alone ?? want, `${name}, several are not allowed`);
    t.equal(tenantsOfHeader(header, false, true), SINGLE_TENANT, `${name}: without multitenancy`);
  }
  const most = Array.from({ length: 1000 }, (_, i) => `tenant-${i}`)
    .toSorted()
    .join('|');
  t.equal(got(`${most}|tenant-0`, true), most, 'as many as may be');
  t.end();
});

t.test('the tenant of a write', (t) => {
  const cases: { name: string; header: string | undefined; want: string }[] = [
    { name: 'one', header: 'team-a', want: 'team-a' },
    { name: 'twice the same', header: 'team-a, team-a', want: 'team-a' },
    { name: 'two', header: 'a, b', want: 'invalid_argument: multiple org IDs present' },
    { name: 'several for reads', header: 'a|b', want: 'invalid_argument: multiple org IDs present' },
    { name: 'none', header: undefined, want: 'unauthenticated: no org id' },
    { name: 'empty', header: '', want: 'unauthenticated: no org id' },
    {
      name: 'path',
      header: '../x',
      want: `invalid_argument: tenant ID '../x' contains unsupported character '/'`,
    },
    { name: 'dots', header: '..', want: `invalid_argument: tenant ID is '.' or '..'` },
    {
      name: 'comma',
      header: 'a,b',
      want: `invalid_argument: tenant ID 'a,b' contains unsupported character ','`,
    },
    { name: 'the same for reads', header: 'a|a', want: 'a' },
    { name: 'with what is said of the request', header: 'team:product=k6', want: 'team' },
    { name: 'with any text behind it', header: 'a:/|a', want: 'a' },
    { name: 'nothing else', header: ':x=1', want: 'invalid_argument: no org id' },
    { name: 'bars', header: '|', want: 'invalid_argument: no org id' },
    { name: 'a bar', header: 'a|', want: 'invalid_argument: multiple org IDs present' },
    {
      name: 'long',
      header: 'a'.repeat(151),
      want: 'invalid_argument: tenant ID is too long: max 150 characters',
    },
    { name: 'all that is allowed', header: `Az09!_.*'()-`, want: `Az09!_.*'()-` },
  ];
  for (const { name, header, want } of cases) {
    let got: string;
    try {
      got = tenantOfHeader(header, true);
    } catch (err) {
      got = err instanceof TempoError ? `${err.code}: ${err.message}` : String(err);
    }
    t.equal(got, want, name);
    t.equal(tenantOfHeader(header, false), SINGLE_TENANT, `${name}: without multitenancy`);
  }
  t.end();
});

t.test('a trace cut to a size: whole spans, nothing around none', (t) => {
  const all = aTrace(1, 40, (i) => ({
    resource: aResource(`service-${i % 4}`),
    attributes: i === 7 ? [['large', 'x'.repeat(5000)]] : [],
  }));
  const whole = encodeTraces(all);
  t.same(cutTrace(whole, whole.length), whole);
  for (const bytesMax of [0, 1, 50, 500, 2000, 4000]) {
    const cut = cutTrace(whole, bytesMax);
    t.ok(cut.length <= bytesMax + 20, `${cut.length} of ${bytesMax} bytes`);
    const kept = decodeTraces(cut);
    const ids = kept.map(({ spanId }) => spanId);
    t.same(
      kept,
      decodeTraces(whole).filter(({ spanId }) => ids.includes(spanId)),
      'with their resources and scopes',
    );
    t.equal(kept.length === 0, bytesMax < 100);
    t.notOk(ids.includes(hexId(7, 8)), 'one that is too large is passed over');
    if (kept.length === 0) t.equal(cut.length, 0);
  }
  t.end();
});

/** The PushBytesRequest of all traces of a request, and the bytes of each entry. */
const apart = (layout: TraceLayout, body: Uint8Array): { message: Uint8Array; entries: number[] } => {
  scanRequest(body, layout);
  const entryBytes = new Int32Array(layout.count);
  const sum = measureEntries(layout, entryBytes);
  const buffer = new Uint8Array(bufferBytes(sum));
  writeEntries(layout, body, buffer);
  return { message: buffer.subarray(0, sum), entries: [...entryBytes] };
};

t.test('a request is taken apart by trace, and put together again', (t) => {
  const layout = new TraceLayout();
  const secondsOf = (nanos: bigint): number => Number(nanos / 1_000_000_000n);
  const check = (spans: TestSpan[], body: Uint8Array): void => {
    const { message, entries } = apart(layout, body);
    const ids = [...new Set(spans.map(({ traceId }) => traceId))];
    assert.equal(layout.count, ids.length);
    const fields = readFields(message);
    assert.deepEqual(
      fields.map(({ number }) => number),
      ids.flatMap(() => [2, 3]),
    );
    let at = 0;
    ids.forEach((id, trace) => {
      const own = spans.filter(({ traceId }) => traceId === id);
      const segment = Buffer.from(fields[trace * 2]!.payload);
      assert.equal(hexOfBytes(fields[trace * 2 + 1]!.payload), id);
      assert.deepEqual(decodeTraces(segment.subarray(8)), own);
      assert.equal(segment.readUInt32LE(0), Math.min(...own.map((span) => secondsOf(span.startUnixNano))));
      assert.equal(segment.readUInt32LE(4), Math.max(...own.map((span) => secondsOf(span.endUnixNano))));
      assert.equal(layout.spansOf(trace), own.length);
      const entry = message.subarray(at, (at += entries[trace]!));
      assert.equal(readFields(entry).length, 2);
    });
    assert.equal(at, message.length);
    const pushed = readPushRequest(message.slice());
    const joined = decodeTraces(pushed.body);
    assert.deepEqual(
      ids.flatMap((id) => spans.filter(({ traceId }) => traceId === id)),
      joined,
    );
    assert.equal(pushed.ends.length, ids.length);
    assert.equal(pushed.ends.at(-1) ?? 0, pushed.body.length);
  };
  const choice = fc.tuple(fc.nat(7), fc.nat(5), fc.nat(3), fc.nat(300));
  fc.assert(
    fc.property(fc.array(choice, { maxLength: 300 }), (choices) => {
      const spans = choices.map(([trace, scope, seconds, size], i) =>
        aSpan({
          traceId: hexId(trace + 1, 16),
          spanId: hexId(i + 1, 8),
          name: 'n'.repeat(size),
          startUnixNano: START_NANO + BigInt(seconds) * 999_999_999n,
          endUnixNano: START_NANO + BigInt(seconds) * 1_999_999_999n,
          scope: aScope(`scope-${scope}`),
          resource: aResource(`service-${scope & 1}`),
        }),
      );
      check(spans, encodeTraces(spans));
    }),
    { numRuns: 200 },
  );
  const many = Array.from({ length: 1000 }, (_, i) =>
    aSpan({ traceId: hexId(i + 1, 16), spanId: hexId(i + 1, 8) }),
  );
  check(many, encodeTraces(many));

  t.comment('fields in any order, also between spans; schema urls stay');
  const span = (trace: number, id: number): Uint8Array =>
    field(2, encodeSpan(aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8) })));
  const schema = field(3, Buffer.from('https://schema'));
  const resource = field(1, field(1, bytes(field(1, Buffer.from('k')), field(2, field(1, [])))));
  const body = field(
    1,
    bytes(field(2, bytes(span(1, 1), schema, span(1, 2), span(2, 3), field(1, []))), resource, schema),
  );
  const { message } = apart(layout, body);
  const [first, second] = [0, 2].map((at) => Buffer.from(readFields(message)[at]!.payload).subarray(8));
  const wanted = (...spans: Uint8Array[]): Uint8Array =>
    bytes(field(1, bytes(resource, schema, field(2, bytes(schema, field(1, []), ...spans)))));
  t.same(first, wanted(span(1, 1), span(1, 2)));
  t.same(second, wanted(span(2, 3)));

  t.comment('a span without times');
  const timeless = field(1, field(2, field(2, encodeSpan(aSpan()).subarray(0, 28))));
  t.same(readFields(apart(layout, timeless).message)[0]!.payload.subarray(0, 8), new Uint8Array(8));
  t.end();
});

t.test('messages between distributors and ingesters', (t) => {
  const trace = encodeTraces([aSpan()]);
  const id = field(3, bytesOfHex(hexId(1, 16))!);
  const segment = field(2, bytes([1, 0, 0, 0, 2, 0, 0, 0], trace));
  t.comment('ids may come last, unknown fields and the flag for generators are passed over');
  const message = bytes(segment, field(9, [1]), segment, [0x28, 1], id, id);
  const { body, ends } = readPushRequest(message);
  t.same(body, bytes(trace, trace));
  t.same(ends, [trace.length, trace.length * 2]);
  t.same(readPushRequest(bytes(field(2, trace), id), 0).body, bytes(trace));
  t.throws(() => readPushRequest(bytes(segment, id, id)), { message: /mismatched traces\/ids length: 1, 2/ });
  t.throws(() => readPushRequest(bytes(field(2, [1, 2]), id)), { message: /a trace has no times/ });
  t.throws(() => readPushRequest(segment.subarray(0, 20)), { message: /beyond the end/ });

  t.same(pushResponse(undefined), new Uint8Array(0));
  t.equal(pushReasons(new Uint8Array(0)), undefined);
  t.same(pushReasons(pushResponse(Uint8Array.of(0, 2, 1))), Uint8Array.of(0, 2, 1));
  t.comment('not packed, as old encoders write it; a reason that is not known is the unknown one');
  t.same(pushReasons(Uint8Array.of(0x08, 0, 0x08, 9)), Uint8Array.of(0, 3));
  t.end();
});
