// The query API over an invented querier: what it asks for, the bodies of its answers, and what it counts.
import { EventEmitter, once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Readable } from 'node:stream';
import { mock } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fastify from 'fastify';
import t from 'tap';
import { httpStatusOf } from '../../src/api/errors.ts';
import { foundTraceProto } from '../../src/api/search-proto.ts';
import type {
  Querier,
  SearchAnswer,
  SearchProgress,
  SearchQuery,
  TagNamesAnswer,
  TagValuesAnswer,
  TraceAnswer,
  TraceQuery,
} from '../../src/contracts/query.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { bodyOf } from '../../src/modules/query-frontend/body.ts';
import { QueryFrontend, type QueryFrontendOptions } from '../../src/modules/query-frontend/index.ts';
import { FrontendMetrics } from '../../src/modules/query-frontend/metrics.ts';
import { endWhenStalled } from '../../src/modules/query-frontend/stalled.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import {
  decodeMessage,
  encodeMessage,
  SearchRequest,
  SearchResponse,
  SearchTagsRequest,
  SearchTagsResponse,
  SearchTagsV2Response,
  SearchTagValuesRequest,
  SearchTagValuesResponse,
  SearchTagValuesV2Response,
} from '../support/tempopb.ts';

const LIMITS = {
  defaultLimit: 20,
  limitMax: 100,
  defaultSpansPerSpanSet: 3,
  spansPerSpanSetMax: 100,
  durationMaxMs: 0,
  queryBytesMax: 1000,
};
const NO_STATS = {
  inspectedTraces: 0,
  inspectedSpans: 0,
  inspectedBytes: 0,
  totalBlocks: 0,
  totalBlockBytes: 0,
  totalJobs: 0,
  completedJobs: 0,
};
const NEVER = new AbortController().signal;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

type Over = Omit<Partial<QueryFrontendOptions>, 'querier'> & {
  readonly querier?: Partial<Querier>;
  readonly search?: (
    signal: AbortSignal,
    onProgress: (progress: SearchProgress) => void,
  ) => Promise<SearchAnswer>;
};

function setUp(multitenancyEnabled = false, { search, querier, ...over }: Over = {}) {
  const asked: (SearchQuery | TraceQuery)[] = [];
  const answers: {
    search: SearchAnswer;
    trace: TraceAnswer;
    names?: TagNamesAnswer;
    values?: TagValuesAnswer;
  } = {
    search: { traces: [], hasMore: false, stats: NO_STATS, partial: [] },
    trace: { trace: undefined, inspectedBytes: 0, partial: [], isCut: false },
  };
  const metrics = new Metrics();
  const app = fastify();
  app.setErrorHandler((err, _request, reply) =>
    reply.code(httpStatusOf(err)).send(err instanceof Error ? err.message : ''),
  );
  const frontend = new QueryFrontend({
    querier: {
      search: (query, signal, onProgress) => {
        asked.push(query);
        return search === undefined ? Promise.resolve(answers.search) : search(signal!, onProgress!);
      },
      metrics: async () => Promise.reject(new Error('not asked')),
      findTrace: (query) => {
        asked.push(query);
        return Promise.resolve(answers.trace);
      },
      tagNames: () => Promise.resolve(answers.names!),
      tagValues: () => Promise.resolve(answers.values!),
      ...querier,
    },
    searchLimits: LIMITS,
    metricsLimits: { durationMaxMs: 0, intervalsMax: 0, exemplarsMax: 0, seriesMax: 0 },
    metricsDurationMaxMs: () => 0,
    tagValueBytesMax: () => 1_000_000,
    answerBytes: { allMax: 1 << 28, oneMax: 1 << 28 },
    endCutoff: { cutoffMs: 0, sinceMs: 0 },
    recentMs: 0,
    nowMs: () => 0,
    multitenancyEnabled,
    multiTenantQueriesEnabled: true,
    searchDurationMaxMs: () => 0,
    httpApiPrefix: '',
    traceBytesMax: () => 5000,
    apiTimeoutMs: 0,
    urlDenyList: [],
    logHeaders: '',
    packetBytesMax: 2_000_000,
    logger: silentLogger,
    metrics,
    ...over,
  });
  frontend.registerRoutes(app);
  const methods = new GrpcMethods();
  frontend.registerMethods(methods);
  frontend.registerQuerierMethods(methods);
  const get = (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers });
  return { app, asked, answers, metrics, methods, get };
}

t.test(
  'search: texts of traces are joined, zero statistics left out, reasons told in a header',
  async (t) => {
    const { asked, answers, get } = setUp();
    t.equal((await get('/api/search')).body, '{"traces":[],"metrics":{}}');
    const found = (traceId: string) => ({
      traceId,
      startUnixNano: 1n,
      durationNanos: 5n,
      body: utf8(`{"traceID":"${traceId}"}`),
    });
    const stats = { ...NO_STATS, inspectedBytes: 2 ** 40, completedJobs: 3, totalJobs: 3 };
    const traces = [found('a'), found('b')];
    answers.search = { traces, hasMore: true, stats, partial: ['one\nthing', 'another'] };
    const answer = await get(`/api/search?q=${encodeURIComponent('{ name = "x" }')}&limit=7&start=1&end=9`);
    t.equal(answer.statusCode, 200);
    t.same(answer.json(), {
      traces: [{ traceID: 'a' }, { traceID: 'b' }],
      metrics: { inspectedBytes: '1099511627776', completedJobs: 3, totalJobs: 3 },
    });
    t.equal(answer.headers['x-tempo-partial'], 'one?thing; another');
    t.equal(answer.headers['x-tempo-more'], 'true');
    t.equal(answer.headers['x-tempo-next-cursor'], '-start.1.b');
    t.same(asked[1], {
      tenant: 'single-tenant',
      query: '{ name = "x" }',
      limit: 7,
      spansPerSpanSet: 3,
      range: { startSec: 1, endSec: 9 },
      order: undefined,
      after: undefined,
      format: 'json',
    });
    await get('/api/search?sort=-duration&start=10&end=90&cursor=-duration.70.ab');
    const longest = { by: 'duration', isDescending: true };
    t.match(asked[2], { order: longest, after: { value: 70n, traceId: 'ab' }, range: { endSec: 90 } });
    t.equal((await get('/api/search?sort=-duration')).headers['x-tempo-next-cursor'], '-duration.5.b');
    await get('/api/search?start=10&end=90&cursor=-start.50000000001.ab');
    t.match(asked[4], { range: { startSec: 10, endSec: 51 } }, 'what is newer was shown');
    answers.search = { ...answers.search, hasMore: false, partial: [] };
    const { headers } = await get('/api/search');
    t.notOk(Object.keys(headers).some((name) => name.startsWith('x-tempo-')));
    const bad = await get('/api/search?cursor=x');
    t.same([bad.statusCode, bad.body.slice(0, 15)], [400, 'invalid cursor:']);
  },
);

t.test('search: names that are no parameters are tags for queriers only', async (t) => {
  const { asked, get } = setUp();
  const tag = '{ span."foo" = "x" || resource."foo" = "x" }';
  for (const [path, query] of [
    ['/api/search?foo=x', '{ }'],
    ['/api/search?foo=x&limit=3', '{ }'],
    ['/querier/api/search?foo=x', tag],
    ['/querier/api/search?foo=x&start=1&end=2', '{ }'],
    ['/api/search?tags=foo%3Dx', tag],
  ] as const) {
    t.equal((await get(path)).statusCode, 200, path);
    t.equal((asked.splice(0)[0] as SearchQuery).query, query, path);
  }
});

t.test('search: what the language does not allow is refused before anything is read', async (t) => {
  const { asked, get } = setUp();
  const cases = [
    { name: 'syntax', q: '{ name = }', want: /^invalid TraceQL query: parse error at line 1, col 10/ },
    { name: 'types', q: '{ name > 5ms }', want: /^invalid TraceQL query: / },
    { name: 'inherited by objects', q: '{ toString:name = 1 }', want: /^invalid TraceQL query: parse error/ },
  ];
  for (const { name, q, want } of cases) {
    const answer = await get(`/api/search?q=${encodeURIComponent(q)}`);
    t.equal(answer.statusCode, 400, name);
    t.match(answer.body, want, name);
  }
  t.same(asked, []);
});

t.test('trace by id: both versions, both forms, found, absent and partial', async (t) => {
  const { asked, answers, get } = setUp();
  const proto = { accept: 'application/protobuf' };
  t.equal((await get('/api/traces/abc')).statusCode, 404);
  t.same((await get('/api/v2/traces/abc')).json(), { trace: {}, metrics: {} });
  const empty = await get('/api/v2/traces/abc', proto);
  t.same([...empty.rawPayload], [0x0a, 0, 0x12, 0]);
  answers.trace = { trace: utf8('[1]'), inspectedBytes: 300, partial: [], isCut: false };
  t.equal((await get('/api/traces/abc')).body, '{"batches":[1]}');
  t.same((await get('/api/v2/traces/abc')).json(), {
    trace: { resourceSpans: [1] },
    metrics: { inspectedBytes: '300' },
  });
  answers.trace = { trace: Uint8Array.of(7), inspectedBytes: 300, partial: ['x'], isCut: false };
  t.same([...(await get('/api/traces/abc', proto)).rawPayload], [7]);
  const partial = await get('/api/v2/traces/abc', proto);
  t.equal(partial.headers['content-type'], 'application/protobuf');
  t.same([...partial.rawPayload], [0x0a, 1, 7, 0x12, 3, 0x08, 0xac, 2, 0x18, 1, 0x22, 1, 120]);
  // Query-frontends of Tempo read one message from either version.
  for (const version of ['', 'v2/']) {
    const path = `/querier/api/${version}traces/abc`;
    t.same([...(await get(path, proto)).rawPayload], [...partial.rawPayload]);
    answers.trace = { trace: utf8('[1]'), inspectedBytes: 300, partial: [], isCut: false };
    t.same((await get(path)).json(), { trace: { resourceSpans: [1] }, metrics: { inspectedBytes: '300' } });
    answers.trace = { trace: undefined, inspectedBytes: 300, partial: [], isCut: false };
    const absent = await get(path, proto);
    t.equal(absent.statusCode, version === '' ? 404 : 200);
    t.same([...absent.rawPayload], [0x0a, 0, 0x12, 3, 0x08, 0xac, 2]);
    answers.trace = { trace: Uint8Array.of(7), inspectedBytes: 300, partial: ['x'], isCut: false };
  }
  answers.trace = { trace: undefined, inspectedBytes: 0, partial: ['block gone'], isCut: false };
  for (const [path, headers] of [
    ['/api/v2/traces/abc', proto],
    ['/api/v2/traces/abc', {}],
    ['/api/traces/abc', {}],
  ] as const) {
    const missed = await get(path, headers);
    t.equal(missed.statusCode, 500, 'it may be there');
    t.equal(missed.body, 'trace not found, and not all was read: block gone');
  }
  const { id, format } = asked.at(-1) as TraceQuery;
  t.same([...id.subarray(13)], [0, 0x0a, 0xbc]);
  t.equal(format, 'json');
  t.equal((await get('/api/traces/xyz')).statusCode, 400);
});

t.test('what is newer than query_end_cutoff is not asked for', async (t) => {
  const asked: unknown[] = [];
  const endCutoff = { cutoffMs: 60_000, sinceMs: 900_000 };
  const { get } = setUp(false, {
    endCutoff,
    nowMs: () => 10_000_000_500,
    querier: {
      search: async ({ range }) => {
        asked.push(range);
        return Promise.resolve({ traces: [], hasMore: false, stats: NO_STATS, partial: [] });
      },
      tagNames: async ({ range }) => {
        asked.push(range);
        return Promise.resolve({ names: [['a']], inspectedBytes: 0, partial: [] });
      },
      metrics: async ({ startUnixNano, endUnixNano, stepNanos }) => {
        asked.push([startUnixNano, endUnixNano, stepNanos].map((nanos) => Number(nanos) / 1e9));
        return Promise.resolve({ series: [], isCut: false, stats: NO_STATS, partial: [] });
      },
    },
  });
  const since = { startSec: 9_999_100, endSec: 9_999_940 };
  for (const [path, want] of [
    ['search?q={}', since],
    ['search?q={}&start=9999000&end=9999940', { startSec: 9_999_000, endSec: 9_999_940 }],
    ['search?q={}&start=9999000&end=10000000', { startSec: 9_999_000, endSec: 9_999_940 }],
    ['search?q={}&start=9999950&end=10000000', since],
    ['search?q={}&since=10m', { startSec: 9_999_341, endSec: 9_999_940 }],
    ['v2/search/tags?scope=span', since],
    ['v2/search/tags?scope=span&since=10m', { startSec: 9_999_341, endSec: 9_999_940 }],
    ['v2/search/tags?scope=span&start=9999000&end=10000000', { startSec: 9_999_000, endSec: 9_999_940 }],
    ['metrics/query_range?q={}|rate()&start=9999000&end=10000000&step=60', [9_998_940, 9_999_900, 60]],
    ['metrics/query_range?q={}|rate()&start=9999990&end=10000000&step=60', [9_999_840, 9_999_900, 60]],
    ['metrics/query_range?q={}|rate()&start=9999000&end=9999900&step=60', [9_998_940, 9_999_900, 60]],
    ['metrics/query?q={}|rate()&start=9999000&end=10000000', [9_999_000, 9_999_940.5, 940.5]],
    ['metrics/query?q={}|rate()&start=9999990&end=10000000', [9_999_930.5, 9_999_940.5, 10]],
  ] as const) {
    const { statusCode, body } = await get(`/api/${path}`);
    t.equal(statusCode, 200, body);
    t.same(asked.splice(0), [want], path);
  }
  // the frontend that asks for a part has cut it
  const part = 'start=9999000&end=10000000&mode=recent&blockID=00000000-0000-4000-8000-000000000000';
  await get(`/querier/api/search?q={}&${part}&startPage=0&pagesToSearch=1`);
  t.same(asked, [{ startSec: 9_999_000, endSec: 10_000_000 }]);
});

t.test('tenants: each query is of one, and metrics know no others', async (t) => {
  const { asked, metrics, get } = setUp(true);
  const cases = [
    { header: 'team', status: 200, tenant: 'team' },
    { header: undefined, status: 401, tenant: '' },
    { header: 'no such/tenant', status: 400, tenant: '' },
  ];
  for (const { header, status } of cases) {
    const answer = await get('/api/search', header === undefined ? {} : { 'x-scope-orgid': header });
    t.equal(answer.statusCode, status, `${header}`);
  }
  t.same(
    asked.map(({ tenant }) => tenant),
    ['team'],
  );
  const text = await metrics.text();
  t.match(text, /queries_total\{tenant="team",op="search",result="completed"\} 1/);
  t.notMatch(text, /tenant=""/);
  t.notMatch(text, /no such/);
});

t.test('what exceeds a size: v1 refuses, v2 answers a part and says so', async (t) => {
  const { answers, get, asked } = setUp();
  answers.trace = { trace: utf8('[1]'), isCut: true, inspectedBytes: 1, partial: ['block gone'] };
  const v1 = await get('/api/traces/abc');
  t.equal(v1.statusCode, 422);
  t.equal(v1.body, 'trace exceeds max size (max bytes: 5000)');
  const v2 = await get('/api/v2/traces/abc');
  t.equal(v2.statusCode, 200);
  t.match(v2.json(), {
    status: 'PARTIAL',
    message: /^trace exceeds max size \(max bytes: 5000\).*; block gone$/,
  });
  t.match(asked.at(-1), { bytesMax: 5000, from: 'all', blocks: undefined });
  await get('/api/v2/traces/abc?mode=ingesters');
  t.match(asked.at(-1), { from: 'ingesters' });
});

t.test('forms of answers by Accept', async (t) => {
  const { asked, answers, get } = setUp();
  const llm = { accept: 'application/vnd.grafana.llm' };
  const none = await get('/api/v2/traces/abc', llm);
  t.equal(none.headers['content-type'], 'application/vnd.grafana.llm+json');
  t.equal(none.body, '{}');
  answers.trace = { trace: utf8('{"traceId":"abc"}'), isCut: false, inspectedBytes: 7, partial: [] };
  const found = await get('/api/v2/traces/abc', llm);
  t.equal(found.body, '{"trace":{"traceId":"abc"},"metrics":{"inspectedBytes":7}}');
  t.equal((asked.at(-1) as TraceQuery).format, 'llm');
  t.equal((await get('/api/traces/abc', llm)).headers['content-type'], 'application/json');
  t.equal((asked.at(-1) as TraceQuery).format, 'json');

  const json = '{"traceID":"a","rootTraceName":"r","spanSet":{},"spanSets":[{"matched":1}]}';
  const body = foundTraceProto(utf8(json));
  const stats = { ...NO_STATS, inspectedBytes: 2 ** 40, totalBlocks: 2, completedJobs: 3, totalJobs: 3 };
  const trace = { traceId: 'a', startUnixNano: 1n, durationNanos: 1n, body };
  answers.search = { traces: [trace], hasMore: false, stats, partial: [] };
  const metrics = { inspectedBytes: String(2 ** 40), totalBlocks: 2, completedJobs: 3, totalJobs: 3 };
  const search = await get('/api/search?q={}', { accept: 'application/protobuf' });
  t.equal(search.headers['content-type'], 'application/protobuf');
  t.same(decodeMessage(SearchResponse, search.rawPayload), {
    traces: [{ traceID: 'a', rootTraceName: 'r', spanSet: { matched: 1 }, spanSets: [{ matched: 1 }] }],
    metrics,
  });
  const tags = await get('/api/search?x=y', { accept: 'application/protobuf' });
  t.same(decodeMessage(SearchResponse, tags.rawPayload), {
    traces: [{ traceID: 'a', rootTraceName: 'r' }],
    metrics,
  });
});

t.test('the size of an answer is logged as it was before compression', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const { answers, get } = setUp(false, { logger });
  answers.names = {
    names: [Array.from({ length: 400 }, (_, i) => `name-${i}`), [], [], [], []],
    inspectedBytes: 9,
    partial: [],
  };
  const plain = await get('/api/search/tags');
  const packed = await get('/api/search/tags', { 'accept-encoding': 'gzip' });
  t.ok(packed.rawPayload.length < plain.rawPayload.length / 2);
  for (const line of lines)
    t.match(line, new RegExp(` response_size=${plain.rawPayload.length} status=200\\n$`));
  t.equal(lines.length, 2);
});

t.test('a large answer is the same, sent as a stream while others get their turn', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const { app, answers, get } = setUp(false, { logger });
  const text = (i: number) => `{"traceID":"${i}","rootTraceName":"${String(i).repeat(100)}","spanSets":[]}`;
  const found = (body: Uint8Array, i: number) => ({
    traceId: `${i}`,
    startUnixNano: 1n,
    durationNanos: 1n,
    body,
  });
  const texts = Array.from({ length: 8000 }, (_, i) => utf8(text(i)));
  // Larger than what is sent at once.
  texts.push(utf8(text(8000).replace('[]', `["${'x'.repeat(700_000)}"]`)));
  const answer = { hasMore: false, stats: NO_STATS, partial: [] };
  answers.search = { ...answer, traces: texts.map(found) };
  const want = Buffer.from(`{"traces":[${texts.map((one) => Buffer.from(one)).join()}],"metrics":{}}`);
  const plain = await get('/api/search');
  t.ok(plain.rawPayload.equals(want), `${plain.rawPayload.length} bytes of ${want.length}`);
  t.equal(plain.headers['content-length'], undefined);
  const packed = await get('/api/search', { 'accept-encoding': 'gzip' });
  t.ok(gunzipSync(packed.rawPayload).equals(want));
  t.ok(packed.rawPayload.length < want.length / 4);
  const messages = texts.slice(0, -1).map(foundTraceProto);
  const repeated = Array.from({ length: 10 }, () => messages).flat();
  answers.search = { ...answer, traces: repeated.map(found) };
  const proto = await get('/api/search?q={}', { accept: 'application/protobuf' });
  const { traces } = decodeMessage(SearchResponse, proto.rawPayload) as { traces: unknown[] };
  t.equal(traces.length, 80_000);
  t.same(traces[7999], { traceID: '7999', rootTraceName: '7999'.repeat(100) });
  for (const [i, { rawPayload }] of [plain, { rawPayload: want }, proto].entries()) {
    t.match(lines[i], new RegExp(` response_size=${rawPayload.length} status=200\\n$`));
  }

  answers.trace = {
    trace: utf8(`[${text(1).repeat(20_000)}]`),
    inspectedBytes: 1,
    partial: [],
    isCut: false,
  };
  const trace = await get('/api/v2/traces/abc');
  t.equal(
    trace.body.length,
    answers.trace.trace!.length + '{"trace":{"resourceSpans":},"metrics":{"inspectedBytes":"1"}}'.length,
  );

  let turns = 0;
  let isRead = false;
  const turn = (): void => {
    turns++;
    if (!isRead) setImmediate(turn);
  };
  setImmediate(turn);
  const many = Array.from({ length: 400 }, () => texts.at(-1)!);
  let largest = 0;
  for await (const chunk of bodyOf(many) as Readable) largest = Math.max(largest, (chunk as Buffer).length);
  isRead = true;
  t.equal(largest, 256 << 10);
  t.ok(turns > 1, `${turns} turns of others`);

  // What was sent does not change with its parts, which are free once they are copied.
  const parts = texts.map((one) => Uint8Array.from(one));
  const joined = Buffer.concat(parts);
  let freed = 0;
  const free = (): void => {
    freed++;
    for (const part of parts) part.buffer.transfer(0);
  };
  const pieces: Buffer[] = [];
  for await (const piece of bodyOf(parts, free) as Readable) pieces.push(piece as Buffer);
  t.ok(Buffer.concat(pieces).equals(joined));
  t.equal(freed, 1);
  const small = Uint8Array.of(1, 2);
  t.same(
    bodyOf([small], () => small.buffer.transfer(0)),
    Buffer.of(1, 2),
  );
  t.equal(small.length, 0, 'free');
  const left = bodyOf(many, () => freed++) as Readable;
  await once(left, 'readable');
  left.destroy();
  await once(left, 'close');
  t.equal(freed, 2, 'nobody wants the rest');

  // Both forms of a search free what its traces lie in.
  let letGo = 0;
  answers.search = { ...answer, traces: repeated.slice(0, 1).map(found), letGo: () => letGo++ };
  await get('/api/search?q={}', { accept: 'application/protobuf' });
  t.equal(letGo, 1);
  answers.search = { ...answers.search, traces: texts.map(found) };
  await get('/api/search');
  t.equal(letGo, 2);

  // A client that leaves amid the body.
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  answers.search = { ...answer, traces: many.map(found) };
  const logged = lines.length;
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  socket.write('GET /api/search HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  while (lines.length === logged) await new Promise((resolve) => setImmediate(resolve));
  const sent = Number(/ response_size=(\d+) /.exec(lines.at(-1)!)?.[1]);
  t.ok(sent > 0 && sent < many.length * texts.at(-1)!.length, `${sent} bytes were made`);
});

t.test('a large answer that nobody reads is given up', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const { app, answers } = setUp(false, { logger, answerStallMs: 100 });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const body = utf8(`{"traceID":"1","rootTraceName":"${'x'.repeat(700_000)}"}`);
  const traces = Array.from({ length: 400 }, () => ({
    traceId: '1',
    startUnixNano: 1n,
    durationNanos: 1n,
    body,
  }));
  answers.search = { hasMore: false, stats: NO_STATS, partial: [], traces };
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.pause();
  socket.write('GET /api/search HTTP/1.1\r\nHost: localhost\r\n\r\n');
  while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const made = Number(/ response_size=(\d+) /.exec(lines[0]!)?.[1]);
  t.ok(made > 0 && made < traces.length * body.length, `${made} bytes were made`);
});

t.test(
  'very many values for the querier of another process are written while others have turns',
  async (t) => {
    const { answers, methods } = setUp();
    const values = Array.from({ length: 400_000 }, (_, i) => `value ${i}`);
    const types = [{ type: 'string', values } as const];
    answers.values = { values: { types, isCut: false }, inspectedBytes: 0, partial: [] };
    const method = methods.find('/tempopb.Querier/SearchTagValuesV2');
    if (method?.kind !== 'unary') return t.fail('there is no such method');
    let turns = 0;
    const count = (): void => {
      turns++;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    const message = encodeMessage(SearchTagValuesRequest, { tagName: 'span.a' });
    const answer = await method.handle({ message, metadata: {}, signal: NEVER, trailers: {} });
    clearImmediate(next);
    t.ok(answer.length > 400_000 * 20, `${answer.length} bytes`);
    t.ok(turns > 4, `${turns} turns`);
  },
);

t.test('an answer that is there when its client has just left is not waited for', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length;
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const body = utf8(`{"traceID":"1","rootTraceName":"${'x'.repeat(700_000)}"}`);
  const trace = { traceId: '1', startUnixNano: 1n, durationNanos: 1n, body };
  const answer = { hasMore: false, stats: NO_STATS, partial: [], traces: [trace, trace, trace] };
  const asked = Promise.withResolvers<void>();
  const search = (signal: AbortSignal): Promise<SearchAnswer> => {
    asked.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(answer)));
  };
  const { app } = setUp(false, { logger, answerStallMs: 100, search });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const before = timers();
  const made = mock.method(globalThis, 'setInterval');
  t.teardown(() => {
    for (const { result } of made.mock.calls) clearInterval(result);
    made.mock.restore();
  });
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  socket.write('GET /api/search HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await asked.promise;
  socket.destroy();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  while (lines.length === 0) await turn();
  const endsAt = performance.now() + 2000;
  while (timers() > before && performance.now() < endsAt) await turn();
  t.equal(timers(), before, 'no timer is left');
});

t.test('of large traces that nobody reads those are refused that memory has no room for', async (t) => {
  const MIB = 1 << 20;
  const { app, answers, metrics, get } = setUp(false, {
    answerBytes: { allMax: 32 * MIB, oneMax: 64 * MIB },
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  answers.trace = { trace: new Uint8Array(24 * MIB), inspectedBytes: 1, partial: [], isCut: false };
  const path = '/api/traces/1';
  t.equal((await get(path)).statusCode, 200);
  t.equal((await get(path)).statusCode, 200, 'nothing is held of the one before');
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await once(socket, 'readable');
  t.match(await metrics.text(), /^tempo_query_frontend_trace_answer_bytes 25165824$/m);
  const refused = await get(path);
  t.equal(refused.statusCode, 503);
  t.match(
    refused.body,
    /^traces and metrics summaries hold 25165824 bytes of at most 33554432, try again later$/,
  );
  answers.trace = { ...answers.trace, trace: new Uint8Array(MIB / 2) };
  t.equal((await get(path)).statusCode, 200, 'a small one is answered');
  socket.destroy();
  answers.trace = { ...answers.trace, trace: new Uint8Array(24 * MIB) };
  while ((await get(path)).statusCode !== 200) await new Promise((resolve) => setImmediate(resolve));
  t.pass('its client has left');
});

t.test('whoever stops reading has the time once, and whoever reads slowly is answered', (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const anAnswer = () => {
    const socket = { bytesWritten: 0 };
    const destroy = (): void => void (answer.isGivenUp = answer.emit('close'));
    const answer = Object.assign(new EventEmitter(), { socket, isGivenUp: false, destroy });
    return answer;
  };
  const [unread, slow] = [anAnswer(), anAnswer()];
  for (const answer of [unread, slow]) endWhenStalled(answer as unknown as ServerResponse, 30_000);
  unread.socket.bytesWritten = 2 << 20; // what the buffers of the connection take
  let sec = 0;
  for (; sec < 300 && !unread.isGivenUp; sec++) {
    if (sec % 25 === 0) slow.socket.bytesWritten++;
    mock.timers.tick(1000);
  }
  t.ok(sec >= 30 && sec <= 35, `after ${sec} s`);
  for (; sec < 300; sec++) {
    if (sec % 25 === 0) slow.socket.bytesWritten++;
    mock.timers.tick(1000);
  }
  t.notOk(slow.isGivenUp);
  t.end();
});

t.test('paths without an id are none', async (t) => {
  const { get } = setUp();
  for (const path of ['/api/traces/', '/api/v2/traces/', '/api/traces/a%2Fb', '/api/traces']) {
    t.equal((await get(path)).statusCode, 404, path);
  }
});

t.test('when a part of a query fails the other parts end', async (t) => {
  const signals: AbortSignal[] = [];
  const { get } = setUp(false, {
    search: (signal) => {
      signals.push(signal);
      return Promise.reject(new TempoError('deadline_exceeded', 'context deadline exceeded'));
    },
  });
  t.equal((await get('/api/search')).statusCode, 504);
  t.equal(signals[0]!.aborted, true);
});

t.test('requests that are denied, that take too long, and that nobody waits for', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const signals: AbortSignal[] = [];
  /** Ends with the call's signal, as a querier does. */
  const never = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      signals.push(signal);
      signal.addEventListener('abort', () => reject(new TempoError('cancelled', 'cancelled')));
    });
  const { get } = setUp(false, {
    apiTimeoutMs: 30,
    urlDenyList: ['foo=\\d', '^/api/v2/.*secret'],
    logHeaders: 'X-Query-Tags, user-agent',
    logger,
    search: never,
  });
  const denied = await get('/api/search?a=1&foo=5', { 'x-query-tags': 'Source=a b', 'user-agent': 'test' });
  t.equal(denied.statusCode, 400);
  t.match(denied.body, /^invalid request \/api\/search\?a=1&foo=5: /);
  t.equal((await get('/api/v2/search/tags?q=secret')).statusCode, 400);
  t.match(
    lines[0],
    /msg="query stats" tenant=single-tenant method=GET url="\/api\/search\?a=1&foo=5" duration=/,
  );
  t.match(lines[0], / header_x_query_tags="Source=a b" header_user_agent=test inspected_bytes=0 /);
  t.match(lines[0], new RegExp(` response_size=${denied.body.length} `));
  t.match(lines[0], / status=400 error="invalid request \/api\/search\?a=1&foo=5: .*url_deny_list"\n$/);

  const late = await get('/api/search');
  t.equal(late.statusCode, 503);
  t.equal(late.body, 'unable to process request in the configured timeout');

  const { app, metrics } = setUp(false, { logger, search: never });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const socket = connect(port, '127.0.0.1');
  const logged = lines.length;
  socket.write('GET /api/search HTTP/1.1\r\nHost: localhost\r\n\r\n');
  while (signals.length < 2) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  while (lines.length === logged) await new Promise((resolve) => setImmediate(resolve));
  t.equal(signals[1]!.aborted, true, 'the work of a client that left ends');
  t.match(lines.at(-1), / status=499 error="the client closed the request"\n$/);
  t.match(await metrics.text(), /queries_total\{tenant="single-tenant",op="search",result="canceled"\} 1/);
});

t.test('streams: what HTTP answers, in messages of a size', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  const { asked, answers, methods, metrics } = setUp(true, { packetBytesMax: 300, logger });
  let trailers: Record<string, string> = {};
  const ask = async (name: string, request: Uint8Array, tenant = 'team', signal = NEVER) => {
    const method = methods.find(`/tempopb.StreamingQuerier/${name}`);
    if (method?.kind !== 'stream') throw new Error(`${name} is no stream`);
    const messages: Uint8Array[] = [];
    const metadata = tenant === '' ? {} : { 'x-scope-orgid': tenant };
    trailers = {};
    const call = { message: request, metadata, signal, trailers };
    for await (const one of method.handle(call)) messages.push(one);
    return messages;
  };
  const traces = Array.from({ length: 20 }, (_, i) => ({
    traceId: `${i}`,
    startUnixNano: 1n,
    durationNanos: 1n,
    body: foundTraceProto(utf8(`{"traceID":"${i}","rootTraceName":"${'x'.repeat(50)}","spanSets":[{}]}`)),
  }));
  const doneStats = { ...NO_STATS, completedJobs: 3, totalJobs: 3 };
  answers.search = { traces, hasMore: true, stats: doneStats, partial: ['block gone'] };
  const request = { Tags: { a: 'x y', b: '' }, MinDurationMs: 5, Limit: 7, start: 10, end: 20 };
  const found = await ask('Search', encodeMessage(SearchRequest, request));
  t.match(asked.at(-1), {
    tenant: 'team',
    query: /span\."a" = "x y".*&& \{ trace:duration >= 5000000ns \}/,
    limit: 7,
    range: { startSec: 10, endSec: 20 },
    format: 'proto',
  });
  const decoded = found.map((message) => decodeMessage(SearchResponse, message));
  t.ok(found.length > 3 && found.every((message) => message.length <= 300));
  t.same(
    decoded.flatMap((one) => (one['traces'] as { traceID: string }[]).map(({ traceID }) => traceID)),
    traces.map(({ traceId }) => traceId),
  );
  const cursor = { 'x-tempo-more': 'true', 'x-tempo-next-cursor': '-start.1.19' };
  t.same(trailers, { 'x-tempo-partial': 'block gone', ...cursor });
  t.same(decoded.at(-1)?.['metrics'], { completedJobs: 3, totalJobs: 3 });
  t.same(decoded[0]?.['metrics'], { completedJobs: 2, totalJobs: 3 });
  t.match(
    lines.at(-1),
    /msg="query stats" tenant=team method=POST url="\/tempopb.StreamingQuerier\/Search\?/,
  );
  answers.search = { traces: [], hasMore: false, stats: NO_STATS, partial: [] };
  const none = await ask('Search', encodeMessage(SearchRequest, { Query: '{}' }));
  t.same(
    none.map((message) => decodeMessage(SearchResponse, message)),
    [{ traces: [], metrics: {} }],
  );

  const names = Array.from({ length: 40 }, (_, i) => `name-${i}-${'y'.repeat(10)}`);
  answers.names = { names: [names, ['only'], [], [], []], inspectedBytes: 9, partial: [] };
  const lists = (await ask('SearchTags', new Uint8Array(0))).map((one) =>
    decodeMessage(SearchTagsResponse, one),
  );
  t.ok(lists.length > 2);
  t.same(
    lists.flatMap((one) => one['tagNames']),
    [...names, 'only'].sort(),
  );
  const scopes = (
    await ask('SearchTagsV2', encodeMessage(SearchTagsRequest, { maxTagsPerScope: 30 }))
  ).flatMap(
    (one) => decodeMessage(SearchTagsV2Response, one)['scopes'] as { name: string; tags: string[] }[],
  );
  t.same(
    scopes.filter(({ name }) => name === 'resource').flatMap(({ tags }) => tags),
    names.slice(0, 30),
  );
  t.same(
    scopes.find(({ name }) => name === 'span'),
    { name: 'span', tags: ['only'] },
  );

  const types = [
    { type: 'int', values: ['1', '2'] },
    { type: 'string', values: names },
  ] as const;
  answers.values = { values: { types, isCut: false }, inspectedBytes: 9, partial: [] };
  const values = (
    await ask('SearchTagValuesV2', encodeMessage(SearchTagValuesRequest, { tagName: '.a' }))
  ).flatMap((one) => decodeMessage(SearchTagValuesV2Response, one)['tagValues']);
  t.same(values[0], { type: 'int', value: '1' });
  t.equal(values.length, 42);
  const plain = await ask(
    'SearchTagValues',
    encodeMessage(SearchTagValuesRequest, { tagName: 'a', maxTagValues: 1 }),
  );
  t.same(
    plain.map((one) => decodeMessage(SearchTagValuesResponse, one)['tagValues']),
    [['1']],
  );

  const refused = [
    ['Search', encodeMessage(SearchRequest, { Query: '{' }), 'team', 'invalid_argument'],
    ['Search', Uint8Array.of(0x0a, 0x7f), 'team', 'invalid_argument'],
    ['Search', encodeMessage(SearchRequest, { Query: '{}' }), '', 'unauthenticated'],
    ['SearchTagValues', new Uint8Array(0), 'team', 'invalid_argument'],
    ['MetricsQueryRange', new Uint8Array(0), 'team', 'invalid_argument'],
    ['MetricsQueryInstant', new Uint8Array(0), 'team', 'invalid_argument'],
  ] as const;
  for (const [name, message, tenant, code] of refused)
    await t.rejects(ask(name, message, tenant), { code }, name);
  t.match(await metrics.text(), /queries_total\{tenant="team",op="search",result="completed"\} 4/);
});

t.test('streams: a search grows, each trace is sent once, the last message has all jobs', async (t) => {
  const found = (traceId: string) => ({
    traceId,
    startUnixNano: 1n,
    durationNanos: 1n,
    body: foundTraceProto(utf8(`{"traceID":"${traceId}"}`)),
  });
  const jobs = (completedJobs: number) => ({ completedJobs, totalJobs: 9 });
  const stats = (completedJobs: number) => ({ ...NO_STATS, ...jobs(completedJobs) });
  const query = Promise.withResolvers<SearchAnswer>();
  let worked: ((progress: SearchProgress) => void) | undefined;
  const { methods } = setUp(false, {
    search: (_signal, onProgress) => {
      worked = onProgress;
      return query.promise;
    },
  });
  /** What was found and not taken yet. */
  const settled: ReturnType<typeof found>[] = [];
  let completed = 0;
  const work = (...ids: string[]): void => {
    settled.push(...ids.map(found));
    completed++;
    const takeSettled = () => settled.splice(0);
    worked!({ stats: stats(completed), takeSettled });
  };
  const method = methods.find('/tempopb.StreamingQuerier/Search');
  if (method?.kind !== 'stream') throw new Error('no stream');
  const call = { message: new Uint8Array(0), metadata: {}, signal: NEVER, trailers: {} };
  const messages = method.handle(call)[Symbol.asyncIterator]();
  const next = async () => {
    const { value } = (await messages.next()) as { value: Uint8Array };
    const { traces, metrics } = decodeMessage(SearchResponse, value) as {
      traces: { traceID: string }[];
      metrics: unknown;
    };
    return { ids: traces.map(({ traceID }) => traceID), metrics };
  };
  const first = next();
  while (worked === undefined) await new Promise((resolve) => setImmediate(resolve));
  work();
  t.same(await first, { ids: [], metrics: jobs(1) }, 'progress without a trace, after a while');
  const second = next();
  work();
  work('a');
  t.same(await second, { ids: ['a'], metrics: jobs(3) }, 'the first trace at once');
  work('b');
  work('c');
  t.same(await next(), { ids: ['b', 'c'], metrics: jobs(5) }, 'then what came meanwhile');
  query.resolve({
    traces: ['e', 'a', 'b', 'c', 'd'].map(found),
    hasMore: true,
    stats: stats(9),
    partial: [],
  });
  t.same(await next(), { ids: ['e', 'd'], metrics: jobs(9) }, 'what was not sent yet');
  t.equal((await messages.next()).done, true);
  t.match(call.trailers, { 'x-tempo-more': 'true', 'x-tempo-next-cursor': '-start.1.d' });
});

t.test('streams: names and values grow, each is sent once', async (t) => {
  const done = Promise.withResolvers<void>();
  let isBegun = false;
  const { methods } = setUp(false, {
    querier: {
      tagNames: async ({ scopes }, _signal, onProgress) => {
        const names = scopes.map((scope) =>
          scope === 'span' ? ['b', 'c'] : scope === 'resource' ? ['b'] : [],
        );
        onProgress?.({ inspectedBytes: 7, takeNames: () => names });
        isBegun = true;
        await done.promise;
        const all = names.map((some) => (some.length > 0 ? ['a', ...some] : []));
        return { names: all, inspectedBytes: 9, partial: ['late'] };
      },
      tagValues: async (_query, _signal, onProgress) => {
        onProgress?.({ inspectedBytes: 7, takeTypes: () => [{ type: 'int', values: ['5'] }] });
        isBegun = true;
        await done.promise;
        const types = [
          { type: 'int', values: ['4', '5'] },
          { type: 'string', values: ['5'] },
        ] as const;
        return { values: { types, isCut: false }, inspectedBytes: 9, partial: [] };
      },
    },
  });
  const asks = [
    ['SearchTags', SearchTagsResponse, {}],
    ['SearchTagsV2', SearchTagsV2Response, {}],
    ['SearchTagValues', SearchTagValuesResponse, { tagName: 'n' }],
    ['SearchTagValuesV2', SearchTagValuesV2Response, { tagName: 'span.n' }],
    ['SearchTags', SearchTagsResponse, { maxTagsPerScope: 2 }],
  ] as const;
  const streams = asks.map(([name, response, request]) => {
    const method = methods.find(`/tempopb.StreamingQuerier/${name}`);
    if (method?.kind !== 'stream') throw new Error('no stream');
    const kind = name.includes('Values') ? SearchTagValuesRequest : SearchTagsRequest;
    const message = encodeMessage(kind, request);
    const call = { message, metadata: {}, signal: NEVER, trailers: {} };
    const iterator = method.handle(call)[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done: isDone } = (await iterator.next()) as { value: Uint8Array; done: boolean };
      return isDone ? undefined : decodeMessage(response, value);
    };
    return { next, call };
  });
  const firsts = streams.map(({ next }) => next());
  while (!isBegun) await new Promise((resolve) => setImmediate(resolve));
  const first = { inspectedBytes: '7' };
  const [names, scopes, plain, typed] = await Promise.all(firsts.slice(0, 4));
  t.match(names, { tagNames: ['b', 'c'], metrics: first });
  t.match(scopes, {
    scopes: [
      { name: 'resource', tags: ['b'] },
      { name: 'span', tags: ['b', 'c'] },
      { name: 'intrinsic', tags: { length: 25 } },
    ],
    metrics: first,
  });
  t.match(plain, { tagValues: ['5'], metrics: first });
  t.match(typed, { tagValues: [{ type: 'int', value: '5' }], metrics: first });
  done.resolve();
  const last = { inspectedBytes: '9' };
  const lasts = await Promise.all(streams.slice(0, 4).map(({ next }) => next()));
  t.match(lasts[0], { tagNames: ['a'], metrics: last });
  t.strictSame(lasts[1]?.['scopes'], [
    { name: 'resource', tags: ['a'] },
    { name: 'span', tags: ['a'] },
  ]);
  t.match(lasts[2], { tagValues: ['4'], metrics: last });
  t.match(lasts[3], {
    tagValues: [
      { type: 'int', value: '4' },
      { type: 'string', value: '5' },
    ],
  });
  t.match(await firsts[4], { tagNames: ['a', 'b'] }, 'with a limit the first in order, in the end');
  for (const { next } of streams) t.equal(await next(), undefined);
  t.same(streams[0]!.call.trailers, { 'x-tempo-partial': 'late' });
});

t.test('streams: the work of a caller that leaves ends', async (t) => {
  const signals: AbortSignal[] = [];
  const { methods, metrics } = setUp(false, {
    search: (signal) =>
      new Promise((_, reject) => {
        signals.push(signal);
        signal.addEventListener('abort', () => reject(new TempoError('cancelled', 'cancelled')));
      }),
  });
  const method = methods.find('/tempopb.StreamingQuerier/Search');
  if (method?.kind !== 'stream') throw new Error('no stream');
  const caller = new AbortController();
  const iterator = method
    .handle({ message: new Uint8Array(0), metadata: {}, signal: caller.signal, trailers: {} })
    [Symbol.asyncIterator]();
  const next = iterator.next();
  while (signals.length === 0) await new Promise((resolve) => setImmediate(resolve));
  caller.abort();
  await t.rejects(next, { code: 'cancelled' });
  t.equal(signals[0]!.aborted, true);
  t.match(await metrics.text(), /queries_total\{tenant="single-tenant",op="search",result="canceled"\} 1/);
});

t.test('queries within their objective: fast enough or thorough enough', async (t) => {
  const metrics = new Metrics();
  const none = { durationSloMs: 0, throughputBytesSlo: 0 };
  const search = { durationSloMs: 1000, throughputBytesSlo: 500 };
  const frontend = new FrontendMetrics(metrics, { traces: none, search, metadata: none, metrics: none });
  const query = { op: 'search', tenant: 'a', inspectedBytes: 0, outcome: 'answered' } as const;
  frontend.answered({ ...query, durationMs: 900 });
  frontend.answered({ ...query, durationMs: 2000, inspectedBytes: 1000 });
  frontend.answered({ ...query, durationMs: 2000, inspectedBytes: 999 });
  frontend.answered({ ...query, durationMs: 2000, outcome: 'refused' });
  frontend.answered({ ...query, durationMs: 1, outcome: 'failed' });
  frontend.answered({ ...query, durationMs: 1, outcome: 'canceled' });
  frontend.answered({ ...query, op: 'traces', durationMs: 1e6, inspectedBytes: 7 });
  const text = await metrics.text();
  const value = (name: string, labels: string): number =>
    Number(new RegExp(`^${name}\\{tenant="a",${labels}\\} (.*)$`, 'm').exec(text)?.[1]);
  const completed = 'op="search",result="completed"';
  t.equal(value('tempo_query_frontend_queries_total', completed), 5);
  t.equal(value('tempo_query_frontend_queries_within_slo_total', completed), 3);
  t.equal(value('tempo_query_frontend_queries_total', 'op="search",result="canceled"'), 1);
  t.equal(value('tempo_query_frontend_queries_within_slo_total', 'op="search",result="canceled"'), 1);
  t.equal(value('tempo_query_frontend_queries_within_slo_total', 'op="traces",result="completed"'), 1);
  t.equal(value('tempo_query_frontend_bytes_inspected_total', 'op="search"'), 1999);
  t.equal(value('tempo_query_frontend_bytes_processed_per_second', 'op="search"'), 999.5);
  t.match(text, /^tempo_query_frontend_queries_count\{op="search"\} 6$/m);
  t.match(text, /^tempo_query_frontend_queries_count\{op="metadata"\} 0$/m, 'from the start');
});

t.test('what is counted by tenant stays small, whatever combinations of tenants are asked for', async (t) => {
  const metrics = new Metrics();
  const none = { durationSloMs: 0, throughputBytesSlo: 0 };
  const search = { durationSloMs: 1, throughputBytesSlo: 1 };
  const frontend = new FrontendMetrics(metrics, { traces: none, search, metadata: none, metrics: none });
  const longest = 'a'.repeat(509);
  for (const tenant of ['a|b', `${longest}|b`, `${longest}|b|c`, `${longest}|b|d`]) {
    frontend.asked(tenant);
    frontend.answered({ op: 'search', tenant, durationMs: 5, inspectedBytes: 7, outcome: 'answered' });
  }
  t.equal(metrics.tenants.size, 3);
  const counted = (text: string): unknown =>
    [
      ...text.matchAll(/^tempo_query_frontend_bytes_inspected_total\{tenant="(.*)",op="search"\} (\d+)$/gm),
    ].map(([, tenant, bytes]) => [tenant, bytes]);
  t.same(counted(await metrics.text()), [
    ['a|b', '7'],
    [`${longest}|b`, '7'],
    ['several tenants', '14'],
  ]);
  metrics.tenants.sweep(-1);
  await metrics.forgotten;
  t.notMatch(await metrics.text(), /tenant="/);
});
