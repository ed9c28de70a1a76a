// Request parameters with Tempo's texts, and a trace's JSON.
import t from 'tap';
import {
  parseSearchParams,
  parseTraceId,
  parseTraceParams,
  type SearchLimits,
} from '../../src/api/params.ts';
import { cursorBehind, parsePage } from '../../src/api/search-order.ts';
import { foundTraceProto, headOfFoundTrace } from '../../src/api/search-proto.ts';
import { resourceSpansJson } from '../../src/api/trace-json.ts';
import { traceLlmJson } from '../../src/api/trace-llm.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { parse as parseTraceql } from '../../src/traceql/parser.ts';
import { validate } from '../../src/traceql/validate.ts';
import { aResource, aScope, aSpan, encodeTraces, hexId, START_NANO } from '../support/otlp.ts';
import { decodeMessage, SearchResponse } from '../support/tempopb.ts';

const LIMITS: SearchLimits = {
  defaultLimit: 20,
  limitMax: 262144,
  defaultSpansPerSpanSet: 3,
  spansPerSpanSetMax: 100,
  durationMaxMs: 168 * 3_600_000,
  queryBytesMax: 131072,
  latestMs: 1_000_000_000_500,
};

function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (err) {
    if (err instanceof TempoError && err.code === 'invalid_argument') return err.message;
    throw err;
  }
  return 'no error';
}

t.test('search parameters', (t) => {
  const parse = (query: string) => parseSearchParams(new URLSearchParams(query), LIMITS);
  t.same(parse('q={}'), {
    query: '{}',
    isTagSearch: false,
    limit: 20,
    spansPerSpanSet: 3,
    range: { startSec: undefined, endSec: undefined },
    order: undefined,
    after: undefined,
  });
  t.same(parse('').query, '{ }');
  t.equal(parse('q={}&spss=0').spansPerSpanSet, 3, 'as if none was given');
  const unlimited = { ...LIMITS, spansPerSpanSetMax: 0 };
  t.equal(parseSearchParams(new URLSearchParams('q={}&spss=0'), unlimited).spansPerSpanSet, 0, 'all');
  t.same(parse('q={}&minDuration=5s&x=1').query, '{}');
  t.same(parse('x=1&start=10&end=20').query, '{ }');
  t.same(parse('limit=5&spss=7&start=10&end=20'), {
    query: '{ }',
    isTagSearch: true,
    limit: 5,
    spansPerSpanSet: 7,
    range: { startSec: 10, endSec: 20 },
    order: undefined,
    after: undefined,
  });
  t.end();
});

t.test('a search of the time since', (t) => {
  const range = (query: string) => parseSearchParams(new URLSearchParams(query), LIMITS).range;
  const hour = { startSec: 999_996_401, endSec: 1_000_000_001 };
  t.same(range('q={}&since=1h'), hour);
  t.same(range('tags=a%3Db&since=60m'), hour);
  t.same(range('q={}&since=1h&start=1&end=2'), hour, 'it wins');
  t.same(range('q={}&since=1w'), { startSec: 999_395_201, endSec: 1_000_000_001 }, 'as long as is allowed');
  t.same(range('q={}&since='), { startSec: undefined, endSec: undefined });
  for (const [since, why] of [
    [
      'soon',
      `error parsing date range: could not parse 'since' parameter: not a valid duration string: "soon"`,
    ],
    [
      '1.5h',
      `error parsing date range: could not parse 'since' parameter: not a valid duration string: "1.5h"`,
    ],
    ['8d', 'range specified by start and end exceeds 168h0m0s. received start=999308801 end=1000000001'],
    ['0', 'http parameter start must be before end. received start=1000000001 end=1000000001'],
  ] as const) {
    t.equal(
      messageOf(() => range(`q={}&since=${since}`)),
      why,
    );
  }
  t.end();
});

t.test('a search that ends in the future is as long as it is until now', (t) => {
  const range = (query: string) => parseSearchParams(new URLSearchParams(query), LIMITS).range;
  const now = 1_000_000_001;
  t.same(range(`start=${now - 10}&end=2000000000`), { startSec: now - 10, endSec: 2_000_000_000 });
  t.match(
    messageOf(() => range(`start=${now - 604_801}&end=2000000000`)),
    /^range specified by start and end exceeds 168h0m0s/,
  );
  t.end();
});

t.test('order and pages of a search', (t) => {
  const parse = (query: string) => parsePage(new URLSearchParams(query));
  const longest = { by: 'duration', isDescending: true } as const;
  t.same(parse(''), { order: undefined, after: undefined });
  t.same(parse('sort=-start'), { order: { by: 'start', isDescending: true }, after: undefined });
  t.same(parse('sort=duration').order, { by: 'duration', isDescending: false });
  const last = { traceId: 'abc', startUnixNano: 1795213339819117228n, durationNanos: 5n };
  for (const order of [longest, { by: 'start', isDescending: false } as const]) {
    const cursor = cursorBehind(last, order);
    const value = order.by === 'start' ? last.startUnixNano : 5n;
    t.same(parse(`cursor=${cursor}`), { order, after: { value, traceId: 'abc' } });
  }
  t.equal(cursorBehind(last), '-start.1795213339819117228.abc');
  t.same(parse('cursor=-start.7.00ab&sort=-start').after, { value: 7n, traceId: 'ab' });
  const misread = 'invalid cursor: it must be what x-tempo-next-cursor of the page before says';
  const refused = [
    ['sort=newest', 'invalid sort: "newest" is none of -start, start, -duration, duration'],
    ['sort=constructor', 'invalid sort: "constructor" is none of -start, start, -duration, duration'],
    ['cursor=5', misread],
    ['cursor=-end.5.ab', misread],
    ['cursor=-start.5.xyz', misread],
    ['cursor=-start.-5.ab', misread],
    ['cursor=start.5.ab&sort=duration', 'invalid cursor: it belongs to sort=start, not to sort=duration'],
  ] as const;
  for (const [query, want] of refused) {
    t.equal(
      messageOf(() => parse(query)),
      want,
      query,
    );
  }
  t.end();
});

t.test('searches by tags and durations', (t) => {
  const name = 'span."a" = "x" || resource."a" = "x"';
  const cases = [
    ['', '{ }'],
    ['start=1&end=2&foo=bar', '{ }'],
    ['q=&tags=', '{ }'],
    ['foo=x&limit=3&spss=1', `{ ${name.replaceAll('"a"', '"foo"')} }`],
    ['a=x&a=y', `{ ${name} }`],
    ['tags=a%3Dx&b=y', `{ ${name} }`],
    [
      'tags=a%3D"x"%20service.name%3D"c.a%2B\\"t"',
      `{ ${name} } && { resource."service.name" =~ ".*c\\\\.a\\\\+"t.*" }`,
    ],
    ['tags=http.method', '{ span."http.method" =~ ".*.*" }'],
    ['tags=http.status_code%3D500', '{ span.http.status_code = 500 }'],
    [
      'tags=name%3DGET%09root.name%3Da%20root.service.name%3Db',
      '{ name =~ ".*GET.*" } && { rootName =~ ".*a.*" } && { rootServiceName =~ ".*b.*" }',
    ],
    ['tags=status.code%3Derror', '{ status = error }'],
    ['tags=status.code%3DERROR', '{ status = unset }'],
    ['tags=constructor%3D1', '{ span."constructor" = "1" || resource."constructor" = "1" }'],
    ['minDuration=1m1.5s', '{ trace:duration >= 61500000000ns }'],
    [
      'minDuration=5ms&maxDuration=5ms&start=1&end=2',
      '{ trace:duration >= 5000000ns && trace:duration <= 5000000ns }',
    ],
    ['maxDuration=0&tags=a%3Dx', `{ ${name} }`],
  ] as const;
  for (const [query, want] of cases) {
    const got = parseSearchParams(new URLSearchParams(query), LIMITS, true);
    t.equal(got.query.replaceAll('\\"', '"'), want.replaceAll('\\"', '"'), query);
    t.equal(got.isTagSearch, true);
    t.doesNotThrow(() => validate(parseTraceql(got.query)), query);
  }
  t.equal(parseSearchParams(new URLSearchParams('q={}&tags=&minDuration=5s'), LIMITS).query, '{}');
  t.end();
});

t.test('tags and durations that are refused', (t) => {
  const cases = [
    ['tags=a%3D1%20a%3D2', 'invalid tags: tag a has been set twice'],
    ['tags="', "invalid tags: unexpected '\"' at pos 1"],
    ['tags=a"b%3Dc', "invalid tags: unexpected '\"' at pos 2"],
    ['tags=a%3D"x', 'invalid tags: unterminated quoted value at pos 5'],
    ['tags=a%3D"b%5Cq"', 'invalid tags: invalid quoted value at pos 8'],
    ['tags=%3Db', "invalid tags: unexpected '=' at pos 1"],
    ['tags=a%3Db%3Dc', "invalid tags: unexpected '=' at pos 4"],
    ['tags=a%20%3D%20b', "invalid tags: unexpected '=' at pos 3"],
    ['minDuration=xx', 'invalid minDuration: time: invalid duration "xx"'],
    ['minDuration=5', 'invalid minDuration: time: missing unit in duration "5"'],
    ['maxDuration=1d', 'invalid maxDuration: time: unknown unit "d" in duration "1d"'],
    ['minDuration=5ms&maxDuration=1ms', 'invalid maxDuration: must be greater than minDuration'],
  ] as const;
  for (const [query, want] of cases) {
    t.equal(
      messageOf(() => parseSearchParams(new URLSearchParams(query), LIMITS)),
      want,
      query,
    );
  }
  t.end();
});

t.test('search parameters that are refused', (t) => {
  const ONLY_ONE =
    'error parsing date range: only one of start and end provided: must provide both or neither';
  const cases = [
    ['q={}&tags=a', "invalid request: can't specify tags and q in the same query"],
    ['limit=0', 'invalid limit: must be a positive number'],
    ['limit=-1', 'invalid limit: must be a positive number'],
    ['limit=262145', 'limit 262145 exceeds max limit 262144'],
    ['limit=x', 'invalid limit: strconv.Atoi: parsing "x": invalid syntax'],
    ['limit=3000000000', 'limit 3000000000 exceeds max limit 262144'],
    ['spss=x', 'invalid spss: strconv.Atoi: parsing "x": invalid syntax'],
    ['start=x', 'invalid start: strconv.ParseInt: parsing "x": invalid syntax'],
    ['end=1795212987000', 'invalid end: strconv.ParseInt: parsing "1795212987000": value out of range'],
    ['q={}&minDuration=x', 'invalid minDuration: time: invalid duration "x"'],
    ['rf1After=2020', 'invalid rf1After: cannot parse "2020" as a time, write 2006-01-02T15:04:05Z'],
    ['sort=up', 'invalid sort: "up" is none of -start, start, -duration, duration'],
    ['spss=101', 'spans per span set exceeds 100. received 101'],
    ['start=10', 'http parameter start must be before end. received start=10 end=0'],
    ['end=10', ONLY_ONE],
    ['start=&end=10', ONLY_ONE],
    ['start=-5&end=10', 'http parameter start must be before end. received start=-5 end=10'],
    ['start=0&end=700000', 'range specified by start and end exceeds 168h0m0s. received start=0 end=700000'],
    ['start=5&end=5', 'http parameter start must be before end. received start=5 end=5'],
    ['start=1&end=700000', 'range specified by start and end exceeds 168h0m0s. received start=1 end=700000'],
    [
      `q=${'x'.repeat(131073)}`,
      'TraceQL expression exceeds the configured maximum size of 131072 bytes, ' +
        'reduce the query expression size or contact your system administrator',
    ],
  ] as const;
  for (const [query, want] of cases) {
    t.equal(
      messageOf(() => parseSearchParams(new URLSearchParams(query), LIMITS)),
      want,
    );
  }
  t.end();
});

t.test('trace ids and ranges', (t) => {
  t.same(parseTraceId('abc'), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xbc));
  t.equal(
    messageOf(() => parseTraceId('0'.repeat(33))),
    "trace IDs can't be larger than 128 bits",
  );
  t.equal(
    messageOf(() => parseTraceId('zz')),
    "trace IDs can only contain hex characters: invalid character 'z' at position 1",
  );
  t.equal(
    messageOf(() => parseTraceParams(new URLSearchParams('start=5&end=2'))),
    'http parameter start must be before end. received start=5 end=2',
  );
  const parse = (query: string) => parseTraceParams(new URLSearchParams(query));
  t.same(parse('start=5'), {
    range: { startSec: 5, endSec: undefined },
    from: 'all',
    blocks: undefined,
  });
  t.same(parse('end=1795212987000&mode=ingesters').range.endSec, 1795212987000, 'as far as 64 bits go');
  t.same(parse('blockStart=8000000000000000000000000000000A&blockEnd=' + 'f'.repeat(32)).blocks, {
    first: '80000000-0000-0000-0000-00000000000a',
    last: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
  });
  t.same(parse('mode=blocks&blockStart=80000000-0000-0000-0000-00000000000A'), {
    range: { startSec: undefined, endSec: undefined },
    from: 'blocks',
    blocks: { first: '80000000-0000-0000-0000-00000000000a', last: 'ffffffff-ffff-ffff-ffff-ffffffffffff' },
  });
  t.same(parse('rf1After=2020-01-01T00:00:00.5%2B02:00&mode=all').from, 'all');
  t.same(parse('mode=external').from, 'external');
  const refused = [
    ['mode=foo', 'invalid value for mode foo'],
    ['blockStart=foo', 'invalid value for blockStart: invalid UUID length: 3'],
    ['blockEnd=g0000000-0000-0000-0000-000000000000', 'invalid value for blockEnd: invalid UUID format'],
    ['rf1After=foo', 'invalid rf1After: cannot parse "foo" as a time, write 2006-01-02T15:04:05Z'],
    ['start=99999999999999999999', 'value out of range'],
  ] as const;
  for (const [query, want] of refused) t.ok(messageOf(() => parse(query)).includes(want), query);
  t.end();
});

t.test('kinds and statuses without a name are numbers', (t) => {
  const textOf = (n: number): string =>
    resourceSpansJson(encodeTraces([aSpan({ kind: n, status: { code: n, message: '' } })]));
  for (const n of [6, 15, 16, 300, 2 ** 31 - 1, -1, -(2 ** 31)]) {
    t.match(textOf(n), `"kind":${n},`);
    t.match(textOf(n), `"status":{"code":${n}}`);
  }
  t.notMatch(textOf(0), /"kind"|"code"/);
  t.end();
});

t.test('a trace as JSON', (t) => {
  const span = aSpan({
    traceId: '000102030405060708090a0b0c0d0e0f',
    spanId: '0102030405060708',
    parentSpanId: '',
    name: 'GET "/"\u2028é',
    kind: 2,
    startUnixNano: 18446744073709551615n,
    endUnixNano: 1n,
    attributes: [
      ['int', -9223372036854775808n],
      ['double', 1.5],
      ['nan', Number.NaN],
      ['bool', false],
      ['bytes', Uint8Array.of(255, 0)],
      ['list', ['a', 2n]],
      ['map', { kv: [['k', 'v']] }],
      ['empty', []],
      ['none', undefined],
    ],
    status: { code: 2, message: 'bad' },
  });
  const bytes = encodeTraces([{ ...span, resource: aResource('shop'), scope: aScope('lib', '1.0') }]);
  const [parsed] = JSON.parse(resourceSpansJson(bytes));
  const found = parsed.scopeSpans[0].spans[0];
  t.same(parsed.resource.attributes[0], { key: 'service.name', value: { stringValue: 'shop' } });
  t.same(parsed.scopeSpans[0].scope, { name: 'lib', version: '1.0' });
  t.equal(found.traceId, 'AAECAwQFBgcICQoLDA0ODw==');
  t.equal(found.spanId, 'AQIDBAUGBwg=');
  t.notOk('parentSpanId' in found);
  t.equal(found.name, 'GET "/"\u2028é');
  t.equal(found.kind, 'SPAN_KIND_SERVER');
  t.equal(found.startTimeUnixNano, '18446744073709551615');
  t.equal(found.endTimeUnixNano, '1');
  t.same(found.status, { message: 'bad', code: 'STATUS_CODE_ERROR' });
  const values = Object.fromEntries(
    found.attributes.map((a: { key: string; value: unknown }) => [a.key, a.value]),
  );
  t.same(values, {
    int: { intValue: '-9223372036854775808' },
    double: { doubleValue: 1.5 },
    nan: { doubleValue: 'NaN' },
    bool: { boolValue: false },
    bytes: { bytesValue: '/wA=' },
    list: { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '2' }] } },
    map: { kvlistValue: { values: [{ key: 'k', value: { stringValue: 'v' } }] } },
    empty: { arrayValue: {} },
    none: {},
  });
  t.end();
});

t.test('a found trace as protobuf is its JSON', (t) => {
  const attribute = (key: string, value: object) => ({ key, value });
  const spans = [
    {
      spanID: '00000000000000ff',
      name: 'é',
      startTimeUnixNano: '18446744073709551615',
      durationNanos: '9007199254740993',
      attributes: [
        attribute('text', { stringValue: '' }),
        attribute('no', { boolValue: false }),
        attribute('int', { intValue: '-9223372036854775808' }),
        attribute('double', { doubleValue: -0.5 }),
        attribute('list', { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '0' }] } }),
      ],
    },
    { spanID: '0000000000000001', startTimeUnixNano: '1' },
  ];
  const spanSet = { spans, matched: 300, attributes: [attribute('count()', { intValue: '300' })] };
  const head = {
    traceID: 'abc',
    rootServiceName: 'x'.repeat(200),
    rootTraceName: 'GET /',
    startTimeUnixNano: '1795212987000000001',
    durationMs: 4294967295,
  };
  const trace = {
    ...head,
    spanSet,
    spanSets: [spanSet, { spans: [{ spanID: '2' }], matched: 1 }],
    serviceStats: { shop: { spanCount: 3, errorCount: 1 }, cart: { spanCount: 1 }, '': {} },
  };
  const proto = foundTraceProto(Buffer.from(JSON.stringify(trace)));
  const read = (bytes: Uint8Array) =>
    decodeMessage(SearchResponse, Buffer.concat([Buffer.from([0x0a, ...varintOf(bytes.length)]), bytes]));
  t.same(read(proto)['traces'], [trace]);
  t.same(read(headOfFoundTrace(proto))['traces'], [head]);
  const small = Buffer.from('{"traceID":"1","startTimeUnixNano":"5"}');
  t.same(read(headOfFoundTrace(foundTraceProto(small)))['traces'], [
    { traceID: '1', startTimeUnixNano: '5' },
  ]);
  t.end();
});

function varintOf(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varintOf(value >> 7)];
}

t.test('a trace for language models', (t) => {
  const bytes = encodeTraces([
    aSpan({
      traceId: hexId(0xabd, 16),
      name: 'root',
      kind: 2,
      endUnixNano: START_NANO + 1_500_000n,
      resource: aResource('shop', [
        ['z', 'last'],
        ['by', Uint8Array.of(1, 255)],
        ['none', undefined],
      ]),
      attributes: [
        ['b', 2n ** 62n],
        ['a', Infinity],
        ['f', 0.5],
        ['list', ['p', { kv: [['k', false]] }]],
      ],
      events: [{ timeUnixNano: 7n, name: 'ev', attributes: [['e', 1n]], droppedAttributes: 2 }],
      links: [
        { traceId: hexId(1, 16), spanId: hexId(2, 8), traceState: 's', attributes: [], droppedAttributes: 0 },
      ],
      status: { code: 2, message: 'bad' },
    }),
    aSpan({
      spanId: hexId(2, 8),
      parentSpanId: hexId(1, 8),
      name: '',
      kind: 0,
      endUnixNano: START_NANO - 1n,
      resource: { attributes: [], droppedAttributes: 0 },
      scope: aScope('', ''),
    }),
  ]);
  const start = String(START_NANO);
  t.equal(
    traceLlmJson(bytes),
    `{"traceId":"${hexId(0xabd, 16)}","services":[` +
      '{"serviceName":"shop","resource":{"by":"01ff","none":null,"z":"last"},"scopes":[' +
      '{"name":"lib","version":"1.0","spans":[{"spanId":"0000000000000001","name":"root",' +
      `"kind":"SPAN_KIND_SERVER","startTimeUnixNano":"${start}",` +
      `"endTimeUnixNano":"${START_NANO + 1_500_000n}",` +
      '"durationMs":1.5,"attributes":{"a":"Infinity","b":4611686018427387904,"f":0.5,' +
      '"list":["p",{"k":false}]},' +
      '"events":[{"name":"ev","timeUnixNano":"7","attributes":{"e":1}}],' +
      `"links":[{"traceId":"${hexId(1, 16)}","spanId":"0000000000000002"}],` +
      '"status":{"code":"STATUS_CODE_ERROR","message":"bad"}}]}]},' +
      '{"scopes":[{"spans":[{"spanId":"0000000000000002","name":"","parentSpanId":"0000000000000001",' +
      `"startTimeUnixNano":"${start}","endTimeUnixNano":"${START_NANO - 1n}",` +
      '"status":{"code":"STATUS_CODE_UNSET","message":""}}]}]}]}',
  );
  t.equal(traceLlmJson(new Uint8Array(0)), '{}');
  t.end();
});
