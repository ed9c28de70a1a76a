// Tag names and values: of every kind of source, with and without a filter, against a plain reading of the
// spans; what is kept of too many; and the endpoints with their texts.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fastify from 'fastify';
import t from 'tap';
import { blockDecompressors } from '../../src/block/compression.ts';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { metaFromJson } from '../../src/block/meta-json.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { createBlock, DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
import { openBlock } from '../../src/block/vparquet/open.ts';
import type { Querier, TagNamesQuery, TagValuesQuery } from '../../src/contracts/query.ts';
import { httpStatusOf } from '../../src/api/errors.ts';
import { Bitset } from '../../src/lib/bitset.ts';
import { ByteLru } from '../../src/lib/lru.ts';
import { QueryFrontend } from '../../src/modules/query-frontend/index.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { tagNames, tagValues } from '../../src/traceql/engine/tags.ts';
import { mergeValues, type OrderedValues, textsOf, ValueSet } from '../../src/traceql/engine/value-set.ts';
import { scanTagValues } from '../../src/store/tag-scan.ts';
import type { VisitSource } from '../../src/store/source-walk.ts';
import { parse } from '../../src/traceql/parser.ts';
import {
  type AttributeScope,
  type Field,
  type SpanSource,
  ValueType,
  type Vector,
} from '../../src/traceql/source.ts';
import { listedFields, parseTagIdentifier, tagFilter } from '../../src/traceql/tag-query.ts';
import { ArraySource } from '../support/array-source.ts';
import { aResource, aScope, aSpan, encodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';

const SCOPES: readonly AttributeScope[] = ['resource', 'span', 'event', 'link', 'instrumentation'];

/** Two traces of two services; attributes of every type, in every scope. */
function someSpans(): TestSpan[] {
  const cart = aResource('cart', [['host', 'h1']]);
  const shop = aResource('shop', [['pid', 7n]]);
  const scope = { ...aScope('lib', '2'), attributes: [['lang', 'go'] as [string, string]] };
  const event = { timeUnixNano: START_NANO, name: 'ev', attributes: [], droppedAttributes: 0 };
  return [
    aSpan({
      resource: cart,
      attributes: [
        ['a', 'x'],
        ['n', 5n],
        ['list', ['p', 'q']],
        ['http.method', 'GET'],
      ],
      events: [{ ...event, attributes: [['step', 1n]] }],
    }),
    aSpan({
      spanId: hexId(2, 8),
      parentSpanId: hexId(1, 8),
      name: 'child',
      resource: cart,
      status: { code: 2, message: 'bad' },
      attributes: [
        ['a', 'y'],
        ['n', 2n ** 62n + 1n],
        ['f', 0.5],
      ],
    }),
    aSpan({
      traceId: hexId(2, 16),
      spanId: hexId(3, 8),
      resource: shop,
      scope,
      attributes: [
        ['a', 3n],
        ['b', true],
        ['f', 2],
        ['http.method', 'PUT'],
      ],
      links: [
        {
          traceId: hexId(1, 16),
          spanId: hexId(1, 8),
          traceState: '',
          attributes: [['why', '']],
          droppedAttributes: 0,
        },
      ],
    }),
  ];
}

async function rowGroupOf(meta: BlockMeta, data: Uint8Array): Promise<SpanSource> {
  const block = await openBlock({
    meta,
    cache: new ByteLru(64e6),
    decompressors: blockDecompressors(),
    readRange: async (offset, length) => data.slice(offset, offset + length),
  });
  return block.rowGroups[0]!;
}

async function sourcesOf(spans: readonly TestSpan[]): Promise<Record<string, SpanSource>> {
  const builder = new HeadBuilder({ maxBytes: 64 * 1024 * 1024 });
  const request = encodeTraces(spans);
  builder.append(request, 0, request.length);
  const reader = new HeadReader(builder.sab);
  const files = new Map<string, Uint8Array[]>();
  const meta = createBlock({
    head: reader,
    blockId: '0f0e0d0c-0000-4000-8000-000000000001',
    tenant: 't',
    dedicatedColumns: DEFAULT_DEDICATED_COLUMNS,
    options: { rowGroupSpans: 1000, pageRows: 3, pageSpans: 20 },
    sink: {
      create: (name) => {
        const parts: Uint8Array[] = [];
        files.set(name, parts);
        return { write: (bytes) => void parts.push(bytes.slice()), close: () => undefined };
      },
    },
  });
  const data = new Uint8Array(Buffer.concat(files.get('data.parquet')!));
  return {
    array: new ArraySource(spans),
    head: new HeadSource(reader, 'head'),
    block: await rowGroupOf(meta, data),
  };
}

const goldenFile = (path: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../golden/${path}`, import.meta.url)));

async function valuesOf(source: SpanSource, fields: readonly Field[], q?: string): Promise<string[]> {
  const values = new ValueSet();
  await tagValues(source, fields, { query: q === undefined ? undefined : parse(q) }, values);
  const { types } = values.ordered(Infinity);
  return types.flatMap(({ type, values: texts }) => texts.map((text) => `${type} ${text}`));
}

async function namesOf(source: SpanSource, q?: string, name?: string): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  const query = q === undefined ? undefined : parse(q);
  await tagNames(source, SCOPES, { query, name }, (scope, names) => {
    found[scope] = [...names].sort();
  });
  return found;
}

const VALUE_CASES = [
  { tag: 'span.a', want: ['int 3', 'string x', 'string y'] },
  { tag: '.a', want: ['int 3', 'string x', 'string y'] },
  { tag: 'resource.a', want: [] },
  { tag: 'span.n', want: ['int 5', `int ${2n ** 62n + 1n}`] },
  { tag: 'span.f', want: ['float 0.5', 'float 2.0'] },
  { tag: 'span.b', want: ['bool true'] },
  { tag: 'span.list', want: ['string p', 'string q'] },
  { tag: 'span.http.method', want: ['string GET', 'string PUT'] },
  { tag: '.service.name', want: ['string cart', 'string shop'] },
  { tag: '.lang', want: ['string go'] },
  { tag: 'event.step', want: ['int 1'] },
  { tag: '.step', want: [] },
  { tag: 'link.why', want: ['string '] },
  { tag: 'name', want: ['string child', 'string op'] },
  { tag: 'statusMessage', want: ['string ', 'string bad'] },
  { tag: 'status', want: ['int 0', 'int 2'] },
  { tag: 'rootServiceName', want: ['string cart', 'string shop'] },
  { tag: 'instrumentation:version', want: ['string 1.0', 'string 2'] },
  { tag: 'event:name', want: ['string ev'] },
  { tag: 'duration', want: [] },
  { tag: 'parent.a', want: [] },
  { tag: 'span.a', q: '{ resource.service.name = "cart" }', want: ['string x', 'string y'] },
  { tag: 'span.a', q: '{ .a = "y" || .f > 1.0 }', want: ['int 3', 'string y'] },
  { tag: 'span.list', q: '{ span.list = "p" }', want: ['string p', 'string q'] },
  { tag: 'resource.host', q: '{ status = error }', want: ['string h1'] },
  { tag: 'event.step', q: '{ name = "op" }', want: ['int 1'] },
  { tag: 'event.step', q: '{ name = "child" }', want: [] },
  { tag: 'link.why', q: '{ .b }', want: ['string '] },
  { tag: 'instrumentation:name', q: '{ .nothing = 1 }', want: [] },
  { tag: 'rootName', q: '{ name = "child" }', want: ['string op'] },
  { tag: 'span.a', q: '{ .a = "x" } >> { }', want: ['string y'] },
];

await t.test('values of fields, of all spans and of those that match', async (t) => {
  for (const [kind, source] of Object.entries(await sourcesOf(someSpans()))) {
    for (const { tag, q, want } of VALUE_CASES) {
      const got = await valuesOf(source, listedFields(parseTagIdentifier(tag)), q);
      t.same(got, want, `${kind}: ${tag} ${q ?? ''}`);
    }
  }
});

await t.test('a block answers the same when it is asked again, out of what was kept', async (t) => {
  const sources = await sourcesOf(someSpans());
  const walkOver =
    (source: SpanSource, excluded?: Bitset) =>
    async (visit: VisitSource): Promise<[]> => {
      await visit(source, excluded, undefined);
      return [];
    };
  for (const { tag, q, want } of VALUE_CASES) {
    const fields = listedFields(parseTagIdentifier(tag));
    const job = { kind: 'tagValues', sources: [], fields, query: q, bytesMax: 1000 } as const;
    for (const [kind, source] of Object.entries(sources)) {
      const ask = async (from: SpanSource, excluded?: Bitset): Promise<string[]> => {
        const found = await scanTagValues(job, walkOver(from, excluded), new AbortController().signal);
        return found.values.types.flatMap(({ type, values }) => values.map((value) => `${type} ${value}`));
      };
      t.same(await ask(source), want, `${kind}: ${tag} ${q ?? ''}`);
      if (source.memo === undefined) continue;
      const { memo, traceCount } = source;
      t.same(await ask({ name: 'nothing but what was kept', memo, traceCount } as SpanSource), want);
      if (q !== undefined) t.same(await ask(source, Bitset.full(traceCount)), [], `${tag}: nothing is left`);
    }
  }
  t.match(sources, { array: { memo: undefined }, head: { memo: undefined }, block: { memo: {} } });
  const q = '{ span.a = "x" }';
  const before = await namesOf(sources['block']!, q, q);
  t.same(await namesOf(sources['block']!, q, q), before);
  t.ok(sources['block']!.memo!.get(`spans/${q}`), 'the spans of a filter are kept');
});

const NAME_CASES = [
  {
    q: undefined,
    want: {
      resource: ['host', 'pid', 'service.name'],
      span: ['a', 'b', 'f', 'http.method', 'list', 'n'],
      event: ['step'],
      link: ['why'],
      instrumentation: ['lang'],
    },
  },
  {
    q: '{ name = "child" }',
    want: {
      resource: ['host', 'service.name'],
      span: ['a', 'f', 'n'],
      event: [],
      link: [],
      instrumentation: [],
    },
  },
  {
    q: '{ .b }',
    want: {
      resource: ['pid', 'service.name'],
      span: ['a', 'b', 'f', 'http.method'],
      event: [],
      link: ['why'],
      instrumentation: ['lang'],
    },
  },
  { q: '{ .nothing = 1 }', want: {} },
];

await t.test('names of attributes, of all spans and of those that match', async (t) => {
  for (const [kind, source] of Object.entries(await sourcesOf(someSpans()))) {
    for (const { q, want } of NAME_CASES) t.same(await namesOf(source, q), want, `${kind}: ${q ?? ''}`);
  }
});

for (const name of ['vparquet4', 'vparquet4-odd', 'vparquet5']) {
  await t.test(`${name}: what dictionaries tell is what the columns hold`, async (t) => {
    const meta = metaFromJson(goldenFile(`${name}/meta.json`));
    const source = await rowGroupOf(meta, goldenFile(`${name}/data.parquet`));
    let fields = 0;
    for (const scope of SCOPES) {
      const names = [...(await source.attributeNames(scope, undefined))].sort();
      const all = await source.attributeNames(scope, Bitset.full(1_000_000));
      t.same(names, [...all].sort(), `${scope}: names of all owners`);
      for (const attribute of names) {
        const field: Field = { kind: 'attribute', scope, name: attribute };
        const [vector] = await source.load([{ field }]);
        const whole = new ValueSet();
        whole.addVector(vector!);
        const distinct = new ValueSet();
        distinct.addVector(await source.distinct(field));
        t.same(distinct.ordered(Infinity), whole.ordered(Infinity), `${scope}.${attribute}`);
        fields++;
      }
    }
    t.ok(fields > 4, `${fields} attributes`);
  });
}

await t.test('too many values: the first in order, whatever the parts', (t) => {
  const fill = (set: ValueSet, texts: readonly string[]): ValueSet => {
    for (const text of texts) set.add(/^-?\d+$/.test(text) ? 'int' : 'string', text);
    return set;
  };
  const setOf = (...texts: string[]): ValueSet => fill(new ValueSet(), texts);
  const all = ['9', '10', '-1', 'bb', 'aa', 'é', 'cc'];
  const whole = setOf(...all).ordered(Infinity);
  t.same(whole.types, [
    { type: 'int', values: ['-1', '9', '10'] },
    { type: 'string', values: ['aa', 'bb', 'cc', 'é'] },
  ]);
  t.equal(whole.isCut, false);
  for (const [bytesMax, want] of [
    [13, undefined],
    [12, ['aa', 'bb', 'cc']],
    [7, ['aa']],
    [5, []],
  ] as const) {
    const one = setOf(...all).ordered(bytesMax);
    const parts: OrderedValues[] = [all.slice(0, 4), all.slice(2)].map((some) =>
      setOf(...some).ordered(bytesMax),
    );
    t.same(mergeValues(parts, bytesMax), one, `${bytesMax} bytes in two parts`);
    t.equal(one.isCut, want !== undefined);
    if (want !== undefined) t.same(one.types[1]?.values ?? [], want, `${bytesMax} bytes`);
  }
  const incomplete = mergeValues([setOf('aa', 'bbbbbbbb').ordered(5), setOf('cc').ordered(5)], 5);
  t.same(incomplete, { types: [{ type: 'string', values: ['aa', 'cc'] }], isCut: true }, 'one part was cut');
  t.same(mergeValues([], 10), { types: [], isCut: false });
  const numbers = setOf();
  const floats = ['1.5', '-0.25', '+Inf', '-Inf', 'NaN', '100.0', '2.0', '1e+30'];
  for (const text of floats) numbers.add('float', text);
  const inOrder = ['-Inf', '-0.25', '1.5', '2.0', '100.0', '1e+30', '+Inf', 'NaN'];
  t.same(numbers.ordered(Infinity).types, [{ type: 'float', values: inOrder }]);
  const some = (from: number, step: number): OrderedValues => {
    const values = inOrder.filter((_, i) => i >= from && (i - from) % step === 0);
    return { types: [{ type: 'float', values }], isCut: false };
  };
  for (const parts of [
    [some(0, 2), some(1, 2)],
    [some(3, 1), some(0, 3), some(0, 2), some(1, 1)],
  ]) {
    const all = mergeValues([...parts, some(0, 1)], Infinity);
    t.same(all.types, [{ type: 'float', values: inOrder }]);
    t.same(mergeValues(parts, Infinity).types[0]!.values, inOrder);
  }
  const many = Array.from({ length: 3000 }, (_, i) => `${i % 50 === 0 ? '' : 'é'}${(i * 7919) % 1000}`);
  for (const bytesMax of [0, 5, 100, 300, 700, 1100, 5000, 1e6]) {
    const thinned = fill(new ValueSet(bytesMax), many).ordered(bytesMax);
    t.same(thinned, setOf(...many).ordered(bytesMax), `thinned out to ${bytesMax} bytes`);
  }
  t.end();
});

await t.test('lists in order are joined in short steps, also where one is behind the other', (t) => {
  const count = 40_000;
  const listOf = (letter: string): string[] => Array.from({ length: count }, (_, i) => `${letter}${1e5 + i}`);
  const [first, second] = [listOf('a'), listOf('b')];
  for (const [name, ...lists] of [
    ['the later one first', second, first],
    ['the earlier one first', first, second],
    ['the same', first, first],
  ] as const) {
    const joining = textsOf(lists.map((values) => ({ type: 'string' as const, values })));
    let steps = 1;
    let step = joining.next();
    for (; step.done !== true; step = joining.next()) steps++;
    t.same(step.value, [...new Set(lists.flat())].sort(), name);
    t.ok(steps >= step.value.length / 2100, `${name}: ${steps} steps`);
  }
  t.end();
});

await t.test('values of vectors are left out by their bytes as they would be by their texts', (t) => {
  const utf8 = new TextEncoder();
  const pieces = ['a', '€', '\ud7ff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}'].map((piece) =>
    utf8.encode(piece),
  );
  pieces.push(Uint8Array.of(0x80), Uint8Array.of(0xff)); // no UTF-8
  const texts: Uint8Array[] = [];
  for (const [i, a] of pieces.entries()) {
    for (const b of pieces) for (const c of pieces) texts.push(Uint8Array.of(...a, ...c, ...b, 0x30 + i));
  }
  const shuffled = texts.map((_, i) => texts[(i * 611) % texts.length]!);
  const vector: Vector = {
    owner: 'span',
    count: shuffled.length,
    owners: undefined,
    type: ValueType.string,
    str: Int32Array.from(shuffled, (_, i) => i),
    table: { size: shuffled.length, bytes: (id) => shuffled[id]! },
    num: undefined,
    base: 0n,
    exact: undefined,
    isElement: undefined,
  };
  const whole = new ValueSet();
  whole.addVector(vector);
  for (const bytesMax of [3, 50, 200, 400, 700, 1000, 1300, 1700, 2000, 1e6]) {
    const thinned = new ValueSet(bytesMax);
    thinned.addVector(vector);
    t.same(thinned.ordered(bytesMax), whole.ordered(bytesMax), `${bytesMax} bytes`);
  }
  t.end();
});

await t.test('filters, whole and unfinished', (t) => {
  const cases = [
    ['', 'all'],
    ['{}', 'all'],
    ['{ true }', 'all'],
    ['{ false }', 'none'],
    ['{ status = 3 }', 'none'],
    [' { .a = 1 } ', '{ .a = 1 }'],
    ['{ .a = 1 || .b = 2 }', '{ .a = 1 || .b = 2 }'],
    ['{ .a = 1 } | count() > 2', '{ .a = 1 } | count() > 2'],
    ['{ resource.service.name="cart" && name= }', '{resource.service.name="cart"}'],
    ['{ .a="x|}" && duration > 5ms && .b = }', '{.a="x|}" && duration > 5ms}'],
    ['{ .a = 1 || .b = }', 'all'],
    ['{ .a = ', 'all'],
    ['{foo', 'all'],
    ['{ name = }', 'all'],
  ] as const;
  for (const [text, want] of cases) {
    const filter = tagFilter(text);
    t.equal(filter.kind === 'some' ? filter.query : filter.kind, want, text);
  }
  t.end();
});

// Endpoints

interface Asked {
  names?: TagNamesQuery;
  values?: TagValuesQuery;
}

const NOW_MS = 1_800_000_000_000;

function frontendOf(asked: Asked, isCut = false, strings: readonly string[] = ['', 'a"\u{1f600}']) {
  const partial = isCut ? ['more than there is room for\n'] : [];
  const querier: Querier = {
    search: async () => Promise.reject(new Error('not asked')),
    metrics: async () => Promise.reject(new Error('not asked')),
    findTrace: async () => Promise.reject(new Error('not asked')),
    tagNames: async (query) => {
      asked.names = query;
      return { names: query.scopes.map((s) => [`${s}.a`, 'b']), inspectedBytes: 300, partial };
    },
    tagValues: async (query) => {
      asked.values = query;
      const types = [
        { type: 'int', values: ['9', '10'] },
        { type: 'string', values: strings },
      ] as const;
      return { values: { types, isCut }, inspectedBytes: 0, partial };
    },
  };
  const app = fastify();
  app.setErrorHandler((err, _request, reply) => reply.code(httpStatusOf(err)).send((err as Error).message));
  new QueryFrontend({
    querier,
    searchLimits: {
      defaultLimit: 20,
      limitMax: 100,
      defaultSpansPerSpanSet: 3,
      spansPerSpanSetMax: 100,
      durationMaxMs: 168 * 3_600_000,
      queryBytesMax: 1000,
    },
    metricsLimits: { durationMaxMs: 0, intervalsMax: 0, exemplarsMax: 0, seriesMax: 0 },
    metricsDurationMaxMs: () => 0,
    traceBytesMax: () => 0,
    apiTimeoutMs: 0,
    urlDenyList: [],
    logHeaders: '',
    packetBytesMax: 2_000_000,
    logger: silentLogger,
    tagValueBytesMax: () => 1_000_000,
    answerBytes: { allMax: 1 << 28, oneMax: 1 << 28 },
    endCutoff: { cutoffMs: 0, sinceMs: 0 },
    recentMs: 1_800_000,
    nowMs: () => NOW_MS,
    multitenancyEnabled: false,
    multiTenantQueriesEnabled: true,
    searchDurationMaxMs: () => 0,
    httpApiPrefix: '/p',
    metrics: new Metrics(),
  }).registerRoutes(app);
  return app;
}

const INTRINSIC_COUNT = 25;

await t.test('bodies', async (t) => {
  const app = frontendOf({});
  const cases = [
    ['/p/api/search/tags?scope=span', '{"tagNames":["b","span.a"],"metrics":{"inspectedBytes":"300"}}'],
    ['/p/api/search/tags?limit=1', '{"tagNames":["b"],"metrics":{"inspectedBytes":"300"}}'],
    [
      '/p/api/v2/search/tags?scope=link&limit=1',
      '{"scopes":[{"name":"link","tags":["link.a"]}],"metrics":{"inspectedBytes":"300"}}',
    ],
    ['/p/api/v2/search/tags?scope=link&q={status=3}', '{"scopes":[],"metrics":{}}'],
    ['/p/api/search/tag/a/values', '{"tagValues":["","10","9","a\\"\u{1f600}"],"metrics":{}}'],
    [
      '/p/api/v2/search/tag/.a/values',
      '{"tagValues":[{"type":"int","value":"9"},{"type":"int","value":"10"},{"type":"string"},' +
        '{"type":"string","value":"a\\"\u{1f600}"}],"metrics":{}}',
    ],
    [
      '/p/api/v2/search/tag/.a/values?limit=3',
      '{"tagValues":[{"type":"int","value":"9"},{"type":"int","value":"10"},{"type":"string"}],"metrics":{}}',
    ],
    ['/p/api/v2/search/tag/duration/values', '{"tagValues":[],"metrics":{}}'],
    ['/p/api/v2/search/tag/.a/values?q={status=3}', '{"tagValues":[],"metrics":{}}'],
    [
      '/p/api/v2/search/tag/span:status/values',
      '{"tagValues":[{"type":"keyword","value":"error"},{"type":"keyword","value":"ok"},' +
        '{"type":"keyword","value":"unset"}],"metrics":{}}',
    ],
    ['/p/api/search/tag/status.code/values', '{"tagValues":["error","ok","unset"],"metrics":{}}'],
  ] as const;
  for (const [url, want] of cases) {
    const response = await app.inject(encodeURI(url));
    t.equal(response.body, want, url);
    t.equal(response.headers['content-type'], 'application/json', url);
  }
  const all = (await app.inject('/p/api/v2/search/tags?scope=none')).json() as {
    scopes: { name: string; tags: [] }[];
  };
  t.same(
    all.scopes.map(({ name }) => name),
    ['resource', 'span', 'event', 'link', 'instrumentation', 'intrinsic'],
  );
  t.equal(all.scopes[5]!.tags.length, INTRINSIC_COUNT);
});

await t.test('other forms', async (t) => {
  const app = frontendOf({}, true);
  const get = async (url: string, accept: string) => {
    const { rawPayload, headers } = await app.inject({ url, headers: { accept } });
    t.equal(headers['x-tempo-partial'], 'more than there is room for?', url);
    return [headers['content-type'], rawPayload.toString('latin1')];
  };
  const proto = 'application/protobuf';
  t.same(await get('/p/api/search/tags?scope=span', proto), [
    proto,
    '\n\x01b\n\x06span.a\x12\x03\x08\xac\x02',
  ]);
  t.same(await get('/p/api/v2/search/tags?scope=link', `text/html, ${proto}`), [
    proto,
    '\n\x11\n\x04link\x12\x06link.a\x12\x01b\x12\x03\x08\xac\x02',
  ]);
  t.same(await get('/p/api/search/tag/a/values?limit=2', proto), [proto, '\n\x00\n\x0210\x12\x00']);
  t.same(await get('/p/api/v2/search/tag/.a/values?limit=3', proto), [
    proto,
    '\n\x08\n\x03int\x12\x019\n\x09\n\x03int\x12\x0210\n\x08\n\x06string\x12\x00',
  ]);
  t.same(await get('/p/api/v2/search/tag/.a/values?limit=3', 'application/vnd.grafana.llm'), [
    'application/vnd.grafana.llm+json',
    '{"tagValues":{"int":["9","10"],"string":[""]}}',
  ]);
});

await t.test('large bodies are compressed for who takes gzip', async (t) => {
  const app = frontendOf(
    {},
    false,
    Array.from({ length: 500 }, (_, i) => `value ${i}`),
  );
  const plain = await app.inject('/p/api/search/tag/a/values');
  for (const [accepted, isGzip] of [
    ['gzip', true],
    ['deflate, GZIP;q=0.5, br', true],
    ['gzip;q=0', false],
    ['gzip; q=0.00, br', false],
    ['br', false],
  ] as const) {
    const url = '/p/api/search/tag/a/values';
    const { headers, rawPayload } = await app.inject({ url, headers: { 'accept-encoding': accepted } });
    t.equal(headers['content-encoding'], isGzip ? 'gzip' : undefined, accepted);
    t.equal(headers['content-length'], String(rawPayload.length), accepted);
    t.equal(headers.vary, 'Accept-Encoding');
    t.equal((isGzip ? gunzipSync(rawPayload) : rawPayload).toString(), plain.body, accepted);
  }
  const url = '/p/api/search/tag/a/values?limit=3';
  const small = await app.inject({ url, headers: { 'accept-encoding': 'gzip' } });
  t.equal(small.headers['content-encoding'], undefined, 'a small body');
});

await t.test('what is asked of the querier', async (t) => {
  const asked: Asked = {};
  const app = frontendOf(asked);
  await app.inject(encodeURI('/p/api/v2/search/tag/resource.a/b/values?q={.a=1}&start=1&end=2&limit=x'));
  t.same(asked.values, {
    tenant: 'single-tenant',
    fields: [{ kind: 'attribute', scope: 'resource', name: 'a/b' }],
    query: '{.a=1}',
    range: { startSec: 1, endSec: 2 },
    bytesMax: 1_000_000,
  });
  await app.inject('/p/api/search/tag/rootName/values');
  t.same(asked.values?.fields, [{ kind: 'intrinsic', name: 'trace:rootName' }]);
  t.same(asked.values?.range, { startSec: undefined, endSec: undefined });
  for (const [start, end] of [
    ['1795213300', '1795213360.7'],
    ['1795213300000000000', '1795213360999999999'],
    ['2026-11-20T22:21:40Z', '2026-11-20T23:22:40.5%2B01:00'],
  ] as const) {
    await app.inject(`/p/api/search/tag/rootName/values?start=${start}&end=${end}`);
    t.same(asked.values?.range, { startSec: 1_795_213_300, endSec: 1_795_213_360 }, start);
  }
  await app.inject('/p/api/search/tag/rootName/values?start=1&end=2&since=1m');
  t.same(asked.values?.range, { startSec: NOW_MS / 1000 - 60, endSec: NOW_MS / 1000 });
  await app.inject('/p/api/v2/search/tag/kind/values?start=1&end=2');
  t.same(asked.values?.fields, [{ kind: 'intrinsic', name: 'span:kind' }], 'only blocks: what they store');
  await app.inject('/p/api/search/tags?scope=event');
  t.same(asked.names?.scopes, ['event']);
});

await t.test('what is refused', async (t) => {
  const app = frontendOf({});
  const identifier = 'please provide a valid tagName: failed to parse identifier ';
  const oneOnly =
    'error parsing date range: only one of start and end provided: must provide both or neither';
  const cases = [
    ['/p/api/search/tags?scope=foo', 400, 'invalid scope: foo'],
    ['/p/api/v2/search/tags?start=5', 400, oneOnly],
    ['/p/api/v2/search/tags?start=foo', 400, oneOnly],
    ['/p/api/search/tag/a/values?end=5', 400, oneOnly],
    [
      '/p/api/search/tags?start=5&end=2',
      400,
      'range specified by start and end exceeds 168h0m0s. received start=5 end=2',
    ],
    [
      '/p/api/v2/search/tag/foo/values',
      400,
      `${identifier}foo: parse error at line 1, col 2: unknown identifier: foo, did you mean .foo?`,
    ],
    [
      '/p/api/v2/search/tag/%22a%22/values',
      400,
      `${identifier}"a": expected Attribute but got traceql.Static`,
    ],
    [
      '/p/api/v2/search/tag/.a=1/values',
      400,
      `${identifier}.a=1: expected Attribute but got traceql.BinaryOperation`,
    ],
    [
      `/p/api/v2/search/tags?q=${'x'.repeat(1001)}`,
      400,
      'TraceQL expression exceeds the configured maximum size of 1000 bytes, ' +
        'reduce the query expression size or contact your system administrator',
    ],
  ] as const;
  for (const [url, status, text] of cases) {
    const response = await app.inject(url);
    t.equal(response.statusCode, status, url);
    t.equal(response.body, text, url);
  }
  for (const url of ['/p/api/search/tag//values', '/p/api/v2/search/tag/.a', '/p/api/search/tag/values']) {
    t.equal((await app.inject(url)).statusCode, 404, url);
  }
  const future = `start=${NOW_MS / 1000 - 100}&end=${NOW_MS / 1000 + 10_000_000}`;
  t.equal(
    (await app.inject(`/p/api/search/tags?${future}`)).statusCode,
    200,
    'what is to come does not count',
  );
});
