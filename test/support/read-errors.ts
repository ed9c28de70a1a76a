// What the query API answers to questions that it does not like, over HTTP and gRPC: one table for our
// server and for real Tempo. `tempo` is where Tempo answers otherwise and we do so on purpose.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { Test } from 'tap';
import { aSpan, encodeTraces, hexId } from './otlp.ts';
import { type RunningTempo, startTempo, type StartOptions } from './server.ts';
import { StreamingClient } from './streaming-client.ts';
import { testFolder } from './test-folder.ts';

interface Answer {
  readonly status: number;
  /** Part of the body, in any case. */
  readonly text: string;
}

interface HttpCase extends Answer {
  readonly path: string;
  readonly method?: string;
  /** Empty = no header. */
  readonly tenant?: string;
  readonly tempo?: Answer;
}

/** Its status is one of gRPC. */
interface GrpcCase extends Answer {
  readonly method: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly tenant?: string;
  readonly tempo?: Answer;
}

const TENANT = 'team';
/** Its trace is larger than its limit says by now. */
const LIMITED = 'limited';
const TRACE_ID = hexId(0xabc, 16);
const LARGE = 'x'.repeat(1001);
const WAIT_LIMIT_MS = 30_000;
const WAIT_PAUSE_MS = 50;
const PARSE_ERROR = 'invalid traceql query: parse error at line 1, col 2: syntax error: unexpected $end';
const ONLY_ONE = 'only one of start and end provided';
const NO_PAGE = '404 page not found\n';

const TRACES: readonly HttpCase[] = ['/api/traces/', '/api/v2/traces/'].flatMap((path) => [
  {
    path: `${path}zz`,
    status: 400,
    text: "trace IDs can only contain hex characters: invalid character 'z'",
  },
  { path: path + '1'.repeat(33), status: 400, text: "trace IDs can't be larger than 128 bits" },
  { path: `${path}1?start=5&end=2`, status: 400, text: 'start must be before end. received start=5 end=2' },
  { path: `${path}1?start=5&end=5`, status: 400, text: 'start must be before end. received start=5 end=5' },
  { path: `${path}1?start=x`, status: 400, text: 'invalid start: strconv.ParseInt: parsing "x"' },
  { path: `${path}1?mode=foo`, status: 400, text: 'invalid value for mode foo' },
  {
    path: `${path}1?mode=external`,
    status: 400,
    text: 'external mode is not enabled',
    tempo: { status: 500, text: 'external mode is not enabled' },
  },
  {
    path: `${path}1?blockStart=foo`,
    status: 400,
    text: 'invalid value for blockstart: invalid UUID length: 3',
  },
  { path: `${path}1?blockEnd=foo`, status: 400, text: 'invalid value for blockEnd: invalid UUID length: 3' },
  { path: `${path}1?rf1After=foo`, status: 400, text: 'invalid rf1After' },
  { path: `${path}1?a=deny-me`, status: 400, text: 'invalid request /api/' },
  { path, status: 404, text: NO_PAGE },
  { path: `${path}a/b`, status: 404, text: NO_PAGE },
  { path: `${path}a%2Fb`, status: 404, text: NO_PAGE },
  { path: `${path}1`, tenant: '', status: 401, text: 'no org id\n' },
  {
    path: `${path}1`,
    tenant: 'a/b',
    status: 400,
    text: "tenant ID 'a/b' contains unsupported character '/'",
  },
  { path: `${path}1`, tenant: '..', status: 400, text: "tenant ID is '.' or '..'" },
]);

const SEARCH: readonly HttpCase[] = [
  { path: '?q={}&limit=0', status: 400, text: 'invalid limit: must be a positive number' },
  { path: '?q={}&limit=-1', status: 400, text: 'invalid limit: must be a positive number' },
  { path: '?q={}&limit=x', status: 400, text: 'invalid limit: strconv.Atoi: parsing "x": invalid syntax' },
  { path: '?q={}&limit=262145', status: 400, text: 'limit 262145 exceeds max limit 262144' },
  { path: '?q={}&limit=99999999999999999999', status: 400, text: 'invalid limit: strconv.Atoi' },
  { path: '?q={}&spss=x', status: 400, text: 'invalid spss: strconv.Atoi: parsing "x"' },
  { path: '?q={}&spss=-1', status: 400, text: 'invalid spss: must be a non-negative number' },
  { path: '?q={}&spss=101', status: 400, text: 'spans per span set exceeds 100. received 101' },
  { path: '?q={}&start=10', status: 400, text: 'start must be before end. received start=10 end=0' },
  { path: '?q={}&end=10', status: 400, text: ONLY_ONE },
  { path: '?q={}&start=10&end=5', status: 400, text: 'start must be before end. received start=10 end=5' },
  { path: '?q={}&start=x&end=5', status: 400, text: 'invalid start: strconv.ParseInt: parsing "x"' },
  {
    path: '?q={}&start=1&end=700000',
    status: 400,
    text: 'range specified by start and end exceeds 168h0m0s',
  },
  { path: '?q={}&start=1795621147000&end=1795621148000', status: 400, text: 'value out of range' },
  { path: '?q={}&tags=a', status: 400, text: "invalid request: can't specify tags and q in the same query" },
  { path: '?tags=a%3Db%20a%3Dc', status: 400, text: 'invalid tags: tag a has been set twice' },
  { path: '?tags=%22', status: 400, text: "invalid tags: unexpected '\"' at pos 1" },
  { path: '?minDuration=x', status: 400, text: 'invalid minDuration: time: invalid duration "x"' },
  { path: '?q={}&minDuration=x', status: 400, text: 'invalid minDuration: time: invalid duration "x"' },
  { path: '?minDuration=5ms&maxDuration=1ms', status: 400, text: 'must be greater than minDuration' },
  { path: '?q={}&rf1After=foo', status: 400, text: 'invalid rf1After' },
  { path: '?q={', status: 400, text: PARSE_ERROR },
  { path: '?q=%20', status: 400, text: PARSE_ERROR },
  { path: '?q={name>5ms}', status: 400, text: 'binary operations must operate on the same type' },
  { path: '?q={parent.x=1}', status: 400, text: 'invalid traceql query: parent not yet supported' },
  { path: '?q={name=~"("}', status: 400, text: 'invalid traceql query:' },
  { path: `?q={.a="${LARGE}"}`, status: 400, text: '1000 bytes' },
  { path: '?q={}&a=deny-me', status: 400, text: 'invalid request /api/search' },
  { path: '?q={', method: 'POST', status: 400, text: PARSE_ERROR },
  { path: '?q={', method: 'DELETE', status: 400, text: PARSE_ERROR },
  { path: '', tenant: '', status: 401, text: 'no org id\n' },
  { path: '?q={', tenant: 'a|b', status: 400, text: PARSE_ERROR },
].map((one) => ({ ...one, path: `/api/search${one.path}` }));

const TAGS: readonly HttpCase[] = [
  { path: '/api/search/tags?scope=foo', status: 400, text: 'invalid scope: foo' },
  { path: '/api/v2/search/tags?scope=foo', status: 400, text: 'invalid scope: foo' },
  ...[
    '/api/search/tags',
    '/api/v2/search/tags',
    '/api/search/tag/a/values',
    '/api/v2/search/tag/.a/values',
  ].flatMap((path) => [
    { path: `${path}?start=10`, status: 400, text: ONLY_ONE },
    { path: `${path}?end=10`, status: 400, text: ONLY_ONE },
    { path: `${path}?start=x&end=5`, status: 400, text: "could not parse 'start' parameter" },
    {
      path: `${path}?start=10&end=5`,
      status: 400,
      text: 'range specified by start and end exceeds 168h0m0s',
    },
    { path: `${path}?start=1&end=1700000000`, status: 400, text: 'exceeds 168h0m0s' },
    { path: `${path}?rf1After=foo`, status: 400, text: 'invalid rf1After' },
    { path: `${path}?a=deny-me`, status: 400, text: 'invalid request /api/' },
    { path, tenant: '', status: 401, text: 'no org id\n' },
    {
      path: `${path}?q={.a="${LARGE}"}`,
      status: 400,
      text: '1000 bytes',
      tempo: { status: 200, text: '' },
    },
  ]),
  { path: '/api/v2/search/tag/foo/values', status: 400, text: 'failed to parse identifier foo: parse error' },
  { path: '/api/v2/search/tag/service.name/values', status: 400, text: 'unknown identifier: service' },
  { path: '/api/v2/search/tag/values', status: 404, text: NO_PAGE },
  { path: '/api/search/tag/a/values/', status: 404, text: NO_PAGE },
  { path: '/api/v2/search/tag//values', status: 301, text: '' },
];

const RANGE = 'start=1795212987&end=1795213468';
const NO_POSITIVE_RANGE = { status: 400, text: 'end must be greater than start' };
/** Times that cannot be read are the year 1 for Tempo, which then is told of only by a status of its own. */
const NO_TIME = { status: 500, text: 'end must be greater than start' };
const TOO_LONG = 'metrics query time range exceeds the maximum allowed duration of 3h0m0s';
const METRICS: readonly HttpCase[] = [
  ...['query_range', 'query'].flatMap((path) =>
    [
      { path: `?${RANGE}`, text: 'syntax error: unexpected $end' },
      { path: `?${RANGE}&q={`, text: 'parse error at line 1, col 2: syntax error: unexpected $end' },
      { path: `?${RANGE}&q={}`, text: 'not a metrics query' },
      { path: `?${RANGE}&query={}`, text: 'not a metrics query' },
      { path: `?${RANGE}&query={}|rate()&q={}`, text: 'not a metrics query' },
      { path: `?${RANGE}&q={}|count()>1`, text: 'not a metrics query' },
      {
        path: `?${RANGE}&q={name>5ms}|rate()`,
        text: 'compiling query: binary operations must operate on the same type',
      },
      { path: `?${RANGE}&q={parent.x=1}|rate()`, text: 'compiling query: parent not yet supported' },
      {
        path: `?${RANGE}&q={}|rate()|topk(0)`,
        text: 'compiling query: limit must be greater than 0',
      },
      {
        path: `?${RANGE}&q={}|compare({})|topk(1)`,
        text: 'compiling query: `compare()` cannot be used with second stage functions',
      },
      {
        path: `?${RANGE}&q={}|quantile_over_time(duration,2)`,
        text: 'compiling query: quantile must be between 0 and 1: 2',
      },
      {
        path: `?${RANGE}&q={}|rate()by(.a,.b,.c,.d,.e,.f)`,
        text: 'compiling query: metrics group by 6 values not yet supported',
      },
      {
        path: `?${RANGE}&q=({}|rate())/({}|rate())`,
        text: 'parse error at line 1, col 5: syntax error: unexpected rate',
      },
      { path: `?${RANGE}&q={.a="${LARGE}"}|rate()`, text: '1000 bytes' },
      { path: '?q={}|rate()&start=1795213468&end=1795212987', text: NO_POSITIVE_RANGE.text },
      { path: '?q={}|rate()&end=5&start=10', text: NO_POSITIVE_RANGE.text },
      { path: '?q={}|rate()&start=1795212987&end=1795312987', text: TOO_LONG },
      { path: '?q={}|rate()&since=1d', text: TOO_LONG },
      { path: '?q={}|rate()&since=3h1m', text: TOO_LONG },
      {
        path: `?${RANGE}&q={}|rate()&a=deny-me`,
        text: 'invalid request /api/metrics/',
        tempo: { status: 200, text: '"metrics"' },
      },
      { path: `?${RANGE}&q={`, method: 'POST', text: 'parse error at line 1, col 2' },
    ].map((one) => ({ status: 400, ...one, path: `/api/metrics/${path}${one.path}` })),
  ),
  ...['query_range', 'query'].flatMap((path) =>
    [
      { path: '?q={}|rate()&start=x', text: `could not parse 'start' parameter: "x" is no time` },
      { path: '?q={}|rate()&end=2026-13-01T00:00:00Z', text: `could not parse 'end' parameter` },
      { path: '?q={}|rate()&since=x', text: `could not parse 'since' parameter: not a valid duration` },
      { path: '?q={}|rate()&since=1.5h', text: `could not parse 'since' parameter: not a valid duration` },
    ].map((one) => ({
      status: 400,
      ...one,
      path: `/api/metrics/${path}${one.path}`,
      tempo: path === 'query' ? NO_POSITIVE_RANGE : NO_TIME,
    })),
  ),
  ...[
    { path: `?${RANGE}&q={`, text: 'invalid traceql query: parse error at line 1, col 2' },
    { path: `?${RANGE}&q={name>5ms}`, text: 'invalid traceql query: binary operations' },
    { path: `?q={}&groupBy=name&start=10`, text: ONLY_ONE },
    { path: `?q={}&groupBy=name&end=10`, text: ONLY_ONE },
    { path: `?${RANGE}&q={}&groupBy=name`, tenant: 'a|b', text: 'multi-tenant query unsupported' },
  ].map((one) => ({ status: 400, ...one, path: `/api/metrics/summary${one.path}` })),
  ...['query_range', 'query', 'summary'].map((path) => ({
    path: `/api/metrics/${path}?${RANGE}&q={}|rate()`,
    tenant: '',
    status: 401,
    text: 'no org id\n',
  })),
  ...[
    { path: 'step=foo', text: 'rpc error: code = Code(400) desc = cannot parse "foo" to a valid duration' },
    { path: 'step=1d', text: 'cannot parse "1d" to a valid duration' },
    { path: 'step=0x10', text: 'cannot parse "0x10" to a valid duration' },
    { path: 'step=1e300', text: 'cannot parse "1e300" to a valid duration. It overflows int64' },
    { path: 'step=0', text: 'step of 0s is too small, minimum step for given range is 48.1ms' },
    { path: 'step=1ms', text: 'step of 1ms is too small, minimum step for given range is 48.1ms' },
    { path: 'step=0.001', text: 'step of 1ms is too small, minimum step for given range is 48.1ms' },
    { path: 'step=-1', text: 'step of -1s is too small', tempo: { status: 400, text: 'start required' } },
    { path: 'step=-5s', text: 'step of -5s is too small', tempo: { status: 400, text: 'start required' } },
    { path: 'step=NaN', text: 'cannot parse "NaN"', tempo: { status: 400, text: 'start required' } },
  ].map((one) => ({
    status: 400,
    ...one,
    path: `/api/metrics/query_range?${RANGE}&q={}|rate()&${one.path}`,
  })),
  {
    path: '/api/metrics/query_range?q={}|rate()&start=5',
    status: 400,
    text: TOO_LONG,
    tempo: { status: 400, text: 'start required' },
  },
  {
    path: '/api/metrics/query?q={}|rate()&start=1795213468&end=1795213468',
    status: 400,
    text: NO_POSITIVE_RANGE.text,
  },
  {
    path: '/api/metrics/query_range?q={}|rate()&start=-5&end=1795213468',
    status: 400,
    text: `could not parse 'start' parameter: "-5"`,
    tempo: NO_POSITIVE_RANGE,
  },
];

const OTHERS: readonly HttpCase[] = [
  { path: '/nothing', status: 404, text: NO_PAGE },
  { path: '/api/nothing', status: 404, text: NO_PAGE },
  { path: '/api/search/', status: 404, text: NO_PAGE },
  { path: '//api/echo', status: 301, text: '' },
  { path: '/api/echo', tenant: '', status: 200, text: 'echo\n' },
  { path: '/api/echo', method: 'DELETE', status: 200, text: 'echo\n' },
  {
    path: `/api/traces/${TRACE_ID}`,
    tenant: LIMITED,
    status: 422,
    text: 'trace exceeds max size (max bytes: 100)',
  },
  { path: `/api/v2/traces/${TRACE_ID}`, tenant: LIMITED, status: 200, text: '"status":"PARTIAL"' },
  { path: `/api/traces/${TRACE_ID}`, status: 404, text: '' },
  { path: `/api/v2/traces/${TRACE_ID}`, status: 200, text: '{"trace":{},"metrics":{}}' },
];

const HTTP_CASES: readonly HttpCase[] = [...TRACES, ...SEARCH, ...TAGS, ...METRICS, ...OTHERS];

const INVALID_ARGUMENT = 3;
const UNAUTHENTICATED = 16;
const UNKNOWN = 2;
/** Tempo's status is none that a client could act on. */
const NO_TENANT = {
  tenant: '',
  status: UNAUTHENTICATED,
  text: 'no org id',
  tempo: { status: UNKNOWN, text: 'no org id' },
} as const;
const search = (request: GrpcCase['request'], text: string): GrpcCase => ({
  method: 'Search',
  request,
  status: INVALID_ARGUMENT,
  text,
});

const SECOND = 1_000_000_000n;
const RANGE_START = 1_795_212_987n * SECOND;
const metrics = (
  method: string,
  query: string,
  text: string,
  ofTempo = INVALID_ARGUMENT,
  over: GrpcCase['request'] = {},
): GrpcCase => ({
  method,
  request: { query, start: RANGE_START, end: RANGE_START + 481n * SECOND, ...over },
  status: INVALID_ARGUMENT,
  text,
  tempo: { status: ofTempo, text },
});

const GRPC_CASES: readonly GrpcCase[] = [
  search({ Query: '{' }, PARSE_ERROR),
  search({ Query: '{name>5ms}' }, 'binary operations must operate on the same type'),
  search({ Query: `{.a="${LARGE}"}` }, '1000 bytes'),
  search({ Query: '{}', start: 10 }, 'start'),
  search({ Query: '{}', start: 1, end: 700000 }, 'range specified by start and end exceeds 168h0m0s'),
  search({ Query: '{}', Limit: 262145 }, 'limit 262145 exceeds max limit 262144'),
  search({ Query: '{}', SpansPerSpanSet: 101 }, 'spans per span set exceeds 100. received 101'),
  search({ Query: '{}', Tags: { a: 'b' } }, "can't specify tags and q in the same query"),
  search({ MinDurationMs: 5, MaxDurationMs: 1 }, 'invalid maxDuration: must be greater than minDuration'),
  { method: 'Search', request: { Query: '{}' }, ...NO_TENANT },
  ...['SearchTags', 'SearchTagsV2'].flatMap((method) => [
    { method, request: { scope: 'foo' }, status: INVALID_ARGUMENT, text: 'invalid scope: foo' },
    { method, request: { start: 10 }, status: INVALID_ARGUMENT, text: ONLY_ONE },
    { method, request: {}, ...NO_TENANT },
  ]),
  ...['SearchTagValues', 'SearchTagValuesV2'].flatMap((method) => [
    { method, request: {}, status: INVALID_ARGUMENT, text: 'please provide a non-empty tagName' },
    { method, request: { tagName: '.a', start: 10 }, status: INVALID_ARGUMENT, text: ONLY_ONE },
    { method, request: { tagName: '.a' }, ...NO_TENANT },
  ]),
  ...['MetricsQueryRange', 'MetricsQueryInstant'].flatMap((method) => [
    metrics(method, '{', 'parse error at line 1, col 2', UNKNOWN),
    metrics(method, '{}', 'not a metrics query', UNKNOWN),
    metrics(method, '{name>5ms}|rate()', 'compiling query: binary operations', UNKNOWN),
    metrics(method, `{.a="${LARGE}"}|rate()`, '1000 bytes'),
    metrics(method, '{}|rate()', 'end must be greater than start', UNKNOWN, { end: SECOND }),
    metrics(method, '{}|rate()', TOO_LONG, INVALID_ARGUMENT, { end: RANGE_START + 20_000n * SECOND }),
  ]),
  metrics(
    'MetricsQueryRange',
    '{}|rate()',
    'step of 1ms is too small, minimum step for given range is 48.1ms',
    UNKNOWN,
    { step: 1_000_000n },
  ),
  { method: 'MetricsQueryRange', request: { query: '{}|rate()' }, ...NO_TENANT },
  { method: 'MetricsQueryInstant', request: { query: '{}|rate()' }, ...NO_TENANT },
  {
    method: 'SearchTagValuesV2',
    request: { tagName: 'foo' },
    status: INVALID_ARGUMENT,
    text: 'failed to parse identifier foo: parse error',
  },
];

/** Starts a server with a trace for it, and asks all. */
export async function checkReadErrors(t: Test, options: StartOptions, isTempo: boolean): Promise<void> {
  const data = testFolder(t);
  const limits = `${data}/overrides.yaml`;
  writeFileSync(limits, 'overrides: {}\n');
  const tempo = await startTempo(data, {
    ...options,
    args: ['-config.expand-env=true'],
    yaml: `multitenancy_enabled: true
stream_over_http_enabled: true
memberlist: { bind_addr: [127.0.0.1], bind_port: \${GOSSIP_PORT} }
query_frontend: { max_query_expression_size_bytes: 1000, url_deny_list: ['deny.me'] }
overrides: { per_tenant_override_config: '${limits}', per_tenant_override_period: 100ms }
`,
  });
  // Tempo can take minutes to stop after queries.
  t.teardown(() => (isTempo ? tempo.kill() : tempo.stop()));
  await pushTrace(tempo);
  writeFileSync(limits, `overrides: { ${LIMITED}: { global: { max_bytes_per_trace: 100 } } }\n`);
  await untilLimited(tempo);
  for (const one of HTTP_CASES) {
    const { status, text } = isTempo && one.tempo !== undefined ? one.tempo : one;
    const name = `${one.tenant ?? ''} ${one.method ?? 'GET'} ${one.path}`.slice(0, 120);
    const got = await get(tempo, one);
    t.equal(got.status, status, `${name}: ${got.text.slice(0, 200)}`);
    t.ok(got.text.toLowerCase().includes(text.toLowerCase()), `${name}: ${got.text.slice(0, 200)}`);
  }
  for (const port of [tempo.ports.grpc, tempo.ports.http]) {
    const client = new StreamingClient(`127.0.0.1:${port}`);
    for (const one of GRPC_CASES) {
      const { status, text } = isTempo && one.tempo !== undefined ? one.tempo : one;
      const { tenant = TENANT } = one;
      const headers: Record<string, string> = tenant === '' ? {} : { 'x-scope-orgid': tenant };
      const got = await client.ask(one.method, one.request, headers);
      const name = `${one.method} ${inspect(one.request)}`.slice(0, 120);
      t.equal(got.code, status, `${name}: ${got.details}`);
      t.ok(got.details.toLowerCase().includes(text.toLowerCase()), `${name}: ${got.details}`);
    }
    client.close();
  }
}

async function get(
  tempo: RunningTempo,
  { path, method = 'GET', tenant = TENANT }: HttpCase,
): Promise<Answer> {
  const headers: Record<string, string> = tenant === '' ? {} : { 'x-scope-orgid': tenant };
  const url = tempo.url + path.replaceAll(' ', '%20');
  const response = await fetch(url, { method, headers, redirect: 'manual' });
  return { status: response.status, text: await response.text() };
}

async function pushTrace(tempo: RunningTempo): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: 20 }, (_, i) =>
    aSpan({ traceId: TRACE_ID, spanId: hexId(i + 1, 8), startUnixNano, endUnixNano: startUnixNano }),
  );
  const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': LIMITED },
    body: Buffer.from(encodeTraces(spans)),
  });
  if (!response.ok) throw new Error(`push: ${response.status} ${await response.text()}`);
  await response.body?.cancel();
}

/** Until the limits of the file hold. */
async function untilLimited(tempo: RunningTempo): Promise<void> {
  const endsAtMs = performance.now() + WAIT_LIMIT_MS;
  while (
    (await get(tempo, { path: `/api/traces/${TRACE_ID}`, tenant: LIMITED, status: 0, text: '' })).status !==
    422
  ) {
    if (performance.now() > endsAtMs) throw new Error('the limit was not taken over');
    await pause(WAIT_PAUSE_MS);
  }
}
