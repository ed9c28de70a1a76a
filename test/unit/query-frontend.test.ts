// The query API over an invented querier: what it asks for, the bodies of its answers, and what it counts.
import fastify from 'fastify';
import t from 'tap';
import { httpStatusOf } from '../../src/api/errors.ts';
import type { SearchAnswer, SearchQuery, TraceAnswer, TraceQuery } from '../../src/contracts/query.ts';
import { QueryFrontend } from '../../src/modules/query-frontend/index.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

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
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function setUp(multitenancyEnabled = false) {
  const asked: (SearchQuery | TraceQuery)[] = [];
  const answers: { search: SearchAnswer; trace: TraceAnswer } = {
    search: { traces: [], stats: NO_STATS, partial: [] },
    trace: { trace: undefined, inspectedBytes: 0, partial: [] },
  };
  const metrics = new Metrics();
  const app = fastify();
  app.setErrorHandler((err, _request, reply) =>
    reply.code(httpStatusOf(err)).send(err instanceof Error ? err.message : ''),
  );
  new QueryFrontend({
    querier: {
      search: (query) => {
        asked.push(query);
        return Promise.resolve(answers.search);
      },
      findTrace: (query) => {
        asked.push(query);
        return Promise.resolve(answers.trace);
      },
      tagNames: () => Promise.reject(new Error('not asked')),
      tagValues: () => Promise.reject(new Error('not asked')),
    },
    searchLimits: LIMITS,
    tagValueBytesMax: () => 1_000_000,
    recentMs: 0,
    nowMs: () => 0,
    multitenancyEnabled,
    multiTenantQueriesEnabled: true,
    searchDurationMaxMs: () => 0,
    httpApiPrefix: '',
    metrics,
  }).registerRoutes(app);
  const get = (url: string, headers: Record<string, string> = {}) => app.inject({ url, headers });
  return { asked, answers, metrics, get };
}

t.test(
  'search: texts of traces are joined, zero statistics left out, reasons told in a header',
  async (t) => {
    const { asked, answers, get } = setUp();
    t.equal((await get('/api/search')).body, '{"traces":[],"metrics":{}}');
    const found = (traceId: string) => ({
      traceId,
      startUnixNano: 1n,
      json: utf8(`{"traceID":"${traceId}"}`),
    });
    const stats = { ...NO_STATS, inspectedBytes: 2 ** 40, completedJobs: 3, totalJobs: 3 };
    answers.search = { traces: [found('a'), found('b')], stats, partial: ['one\nthing', 'another'] };
    const answer = await get(`/api/search?q=${encodeURIComponent('{ name = "x" }')}&limit=7&start=1&end=9`);
    t.equal(answer.statusCode, 200);
    t.same(answer.json(), {
      traces: [{ traceID: 'a' }, { traceID: 'b' }],
      metrics: { inspectedBytes: '1099511627776', completedJobs: 3, totalJobs: 3 },
    });
    t.equal(answer.headers['x-tempo-partial'], 'one?thing; another');
    t.same(asked[1], {
      tenant: 'single-tenant',
      query: '{ name = "x" }',
      limit: 7,
      spansPerSpanSet: 3,
      range: { startSec: 1, endSec: 9 },
    });
  },
);

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
  answers.trace = { trace: utf8('[1]'), inspectedBytes: 300, partial: [] };
  t.equal((await get('/api/traces/abc')).body, '{"batches":[1]}');
  t.same((await get('/api/v2/traces/abc')).json(), {
    trace: { resourceSpans: [1] },
    metrics: { inspectedBytes: '300' },
  });
  answers.trace = { trace: Uint8Array.of(7), inspectedBytes: 300, partial: ['x'] };
  t.same([...(await get('/api/traces/abc', proto)).rawPayload], [7]);
  const partial = await get('/api/v2/traces/abc', proto);
  t.equal(partial.headers['content-type'], 'application/protobuf');
  t.same([...partial.rawPayload], [0x0a, 1, 7, 0x12, 3, 0x08, 0xac, 2, 0x18, 1, 0x22, 1, 120]);
  answers.trace = { trace: undefined, inspectedBytes: 0, partial: ['block gone'] };
  const missing = (await get('/api/v2/traces/abc')).json();
  t.same(missing, { trace: {}, metrics: {}, status: 'PARTIAL', message: 'block gone' });
  const { id, format } = asked.at(-1) as TraceQuery;
  t.same([...id.subarray(13)], [0, 0x0a, 0xbc]);
  t.equal(format, 'json');
  t.equal((await get('/api/traces/xyz')).statusCode, 400);
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
  t.match(text, /queries_total\{tenant="",op="search",result="error"\} 2/);
  t.notMatch(text, /no such/);
});
