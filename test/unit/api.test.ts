// Request parameters with Tempo's texts, and a trace's JSON.
import t from 'tap';
import { parseSearchParams, parseTraceId, parseTraceRange, type SearchLimits } from '../../src/api/params.ts';
import { resourceSpansJson } from '../../src/api/trace-json.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { parse as parseTraceql } from '../../src/traceql/parser.ts';
import { validate } from '../../src/traceql/validate.ts';
import { aResource, aScope, aSpan, encodeTraces } from '../support/otlp.ts';

const LIMITS: SearchLimits = {
  defaultLimit: 20,
  limitMax: 262144,
  defaultSpansPerSpanSet: 3,
  spansPerSpanSetMax: 100,
  durationMaxMs: 168 * 3_600_000,
  queryBytesMax: 131072,
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
  });
  t.same(parse('').query, '{ }');
  t.same(parse('q={}&minDuration=5s&x=1').query, '{}');
  t.same(parse('x=1&start=10&end=20').query, '{ }');
  t.same(parse('limit=5&spss=7&start=10&end=20'), {
    query: '{ }',
    isTagSearch: true,
    limit: 5,
    spansPerSpanSet: 7,
    range: { startSec: 10, endSec: 20 },
  });
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
    const got = parseSearchParams(new URLSearchParams(query), LIMITS);
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
    ['spss=101', 'spans per span set exceeds 100. received 101'],
    ['start=10', 'http parameter start must be before end. received start=10 end=0'],
    ['end=10', ONLY_ONE],
    ['start=&end=10', ONLY_ONE],
    ['start=-5&end=10', 'http parameter start must be before end. received start=-5 end=10'],
    ['start=0&end=700000', 'range specified by start and end exceeds 168h0m0s. received start=0 end=700000'],
    ['start=5&end=5', 'http parameter start must be before end. received start=5 end=5'],
    ['start=1&end=700000', 'range specified by start and end exceeds 168h0m0s. received start=1 end=700000'],
    [`q=${'x'.repeat(131073)}`, 'TraceQL query is too large: the maximum size is 131072 bytes'],
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
    messageOf(() => parseTraceRange(new URLSearchParams('start=5&end=2'))),
    'http parameter start must be before end. received start=5 end=2',
  );
  t.same(parseTraceRange(new URLSearchParams('start=5')), { startSec: 5, endSec: undefined });
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
