// What Grafana asks for its search and its editor, over HTTP and as streams on both ports: the shapes it
// needs, answers that grow, pages, and clients that leave.
import { readdirSync } from 'node:fs';
import t from 'tap';
import { aSpan, encodeTraces, hexId, type TestSpan } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { StreamingClient } from '../support/streaming-client.ts';
import {
  decodeMessage,
  encodeMessage,
  SearchBlockRequest,
  SearchRequest,
  SearchResponse,
  SearchTagsRequest,
  SearchTagsResponse,
  SearchTagsV2Response,
  SearchTagValuesRequest,
  SearchTagValuesResponse,
  SearchTagValuesV2Response,
  TraceByIDResponse,
} from '../support/tempopb.ts';
import { testFolder } from '../support/test-folder.ts';

interface Trace {
  readonly traceID: string;
  readonly startTimeUnixNano: string;
  readonly durationMs?: number;
}

const TRACES_PER_BLOCK = 300;
const BLOCKS = 3;
const BIG = 'x'.repeat(4000);
const MESSAGE_BYTES_MAX = 4 << 20;
const GRPC_CANCELLED = 1;
const TRACES = TRACES_PER_BLOCK * (BLOCKS + 1);

const idOf = (n: number): string => hexId((1n << 124n) + BigInt(n), 16);

/** Begins a minute apart from its neighbours, so that blocks do not overlap. */
function windowSpans(window: number, nowNano: bigint): TestSpan[] {
  return Array.from({ length: TRACES_PER_BLOCK }, (_, i) => {
    const n = window * TRACES_PER_BLOCK + i;
    const startUnixNano = nowNano - BigInt(BLOCKS - window) * 60_000_000_000n + BigInt(i) * 1_000_000n;
    return aSpan({
      traceId: idOf(n),
      spanId: hexId(n + 1, 8),
      startUnixNano,
      endUnixNano: startUnixNano + BigInt(1 + ((n * 7919) % TRACES)) * 1000n,
      attributes: [
        ['n', BigInt(n)],
        ['big', BIG],
      ],
    });
  });
}

async function pushWindow(tempo: RunningTempo, window: number, nowNano: bigint): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: Buffer.from(encodeTraces(windowSpans(window, nowNano))),
  });
  if (!response.ok) throw new Error(`push: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}

function tracesOf(messages: readonly Record<string, unknown>[]): Trace[] {
  return messages.flatMap((message) => (message['traces'] ?? []) as Trace[]);
}

async function json(tempo: RunningTempo, path: string): Promise<Record<string, unknown>> {
  const response = await tempo.get(path);
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Record<string, unknown>;
}

const query = (params: Record<string, string | number>): string =>
  new URLSearchParams(Object.entries(params).map(([key, value]) => [key, String(value)])).toString();

t.test('searches of Grafana', { timeout: 120_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t), { yaml: 'stream_over_http_enabled: true\n' });
  t.teardown(() => tempo.stop());
  const nowNano = BigInt(Date.now()) * 1_000_000n;
  for (let window = 0; window <= BLOCKS; window++) {
    await pushWindow(tempo, window, nowNano);
    if (window < BLOCKS) await flush(tempo);
  }
  const start = Number(nowNano / 1_000_000_000n) - 600;
  const end = start + 700;
  const clients = new Map([
    ['9095', new StreamingClient(`127.0.0.1:${tempo.ports.grpc}`)],
    ['3200', new StreamingClient(`127.0.0.1:${tempo.ports.http}`)],
  ]);
  t.teardown(() => clients.forEach((client) => client.close()));
  const grpc = clients.get('9095')!;

  await t.test('a stream holds what HTTP answers, in messages of a size', async (t) => {
    const q = '{ span.n >= 0 } | select(span.big)';
    const body = await json(tempo, `/api/search?${query({ q, limit: TRACES + 1, start, end })}`);
    const want = (body['traces'] as Trace[]).map(({ traceID }) => traceID);
    t.equal(want.length, TRACES);
    for (const [port, client] of clients) {
      const answer = await client.ask('Search', { Query: q, Limit: TRACES + 1, start, end });
      t.equal(answer.code, 0, `${port} ${answer.details}`);
      const got = tracesOf(answer.messages);
      t.equal(new Set(got.map(({ traceID }) => traceID)).size, got.length, 'each once');
      const newest = got.toSorted((a, b) =>
        Number(BigInt(b.startTimeUnixNano) - BigInt(a.startTimeUnixNano)),
      );
      t.strictSame(
        newest.map(({ traceID }) => traceID),
        want,
      );
      t.ok(answer.messages.length > 2, `${answer.sizes.join()} bytes`);
      t.ok(Math.max(...answer.sizes) < MESSAGE_BYTES_MAX, answer.sizes.join());
      const metrics = answer.messages.map((message) => message['metrics'] as Record<string, number>);
      const { totalJobs } = metrics.at(-1)!;
      t.match(metrics.at(-1), { completedJobs: totalJobs, totalBlocks: BLOCKS + 1 });
      t.ok(metrics.slice(0, -1).every(({ completedJobs = 0 }) => completedJobs < totalJobs!));
      t.same(Object.keys(answer.trailers), [], 'nothing to add');
    }
  });

  await t.test('what more there is: said, and found page by page, in every order', async (t) => {
    const answer = await grpc.ask('Search', { Query: '{}', Limit: 7, start, end });
    t.equal(tracesOf(answer.messages).length, 7);
    t.match(answer.trailers, { 'x-tempo-more': 'true', 'x-tempo-next-cursor': /^-start\.\d+\.1/ });
    const value = {
      start: ({ startTimeUnixNano }: Trace) => BigInt(startTimeUnixNano),
      duration: ({ traceID }: Trace) =>
        BigInt((Number(BigInt(`0x${traceID}`) & 0xffffffffn) * 7919) % TRACES),
    };
    for (const sort of ['-start', 'start', '-duration', 'duration']) {
      const got: Trace[] = [];
      let cursor = '';
      do {
        const params = query({ q: '{}', limit: 250, start, end, ...(cursor === '' ? { sort } : { cursor }) });
        const response = await tempo.get(`/api/search?${params}`);
        const { traces } = (await response.json()) as { readonly traces: readonly Trace[] };
        got.push(...traces);
        cursor = response.headers.get('x-tempo-next-cursor') ?? '';
        t.equal(response.headers.get('x-tempo-more'), cursor === '' ? null : 'true');
        if (traces.length === 0) break;
      } while (cursor !== '');
      t.equal(new Set(got.map(({ traceID }) => traceID)).size, TRACES, sort);
      const by = value[sort.replace('-', '') as 'start' | 'duration'];
      const sign = sort.startsWith('-') ? -1n : 1n;
      const sorted = got.toSorted((a, b) => Number(sign * (by(a) - by(b))));
      t.ok(
        got.every((trace, i) => by(trace) === by(sorted[i]!)),
        `${sort} is in order`,
      );
    }
    const refused = await tempo.get('/api/search?q={}&sort=size');
    t.match([refused.status, await refused.text()], [400, /^invalid sort: "size" is none of /]);
  });

  await t.test('what a search reads', async (t) => {
    // Not by one value: that only one block may have.
    const params = query({ q: '{ span.n > 4 && span.n < 6 } | select(span.big)', limit: 20, start, end });
    const { headers, ...rest } = await fetch(`${tempo.url}/api/search/explain?${params}`).then(
      async (response) => ({ headers: response.headers, text: await response.text() }),
    );
    t.match(headers.get('content-type'), /^text\/plain/);
    t.ok(rest.text.startsWith('{ (span.n > 4) && (span.n < 6) }\n| select(span.big)\n\n1 traces in '));
    t.match(rest.text, /^1 traces in [\d.]+ ms\n4 of 4 jobs done, /m);
    t.match(rest.text, /\nspan\.n +int +4 +\d+ +[\d.]+ k?B +[\d.]+\n/);
    const response = await fetch(`${tempo.url}/api/search/explain?${params}`, {
      headers: { accept: 'application/json' },
    });
    const told = (await response.json()) as {
      readonly stats: { readonly inspectedBytes: number };
      readonly jobs: readonly {
        readonly sources: readonly { readonly bytes: number; readonly steps: [] }[];
      }[];
    };
    t.match(told, {
      stages: ['{ (span.n > 4) && (span.n < 6) }', 'select(span.big)'],
      answer: { traces: 1, hasMore: false, partial: [] },
      stats: { completedJobs: 4, totalJobs: 4 },
    });
    const sources = told.jobs.flatMap((job) => job.sources);
    const sum = (of: readonly { readonly bytes: number }[]): number =>
      of.reduce((n, { bytes }) => n + bytes, 0);
    t.ok(sources.length >= BLOCKS + 1);
    for (const source of sources) t.equal(sum(source.steps), source.bytes, 'every byte is told');
    const byValue = query({ q: '{ span.n = 5 }', limit: 20, start, end });
    const spared = await (await tempo.get(`/api/search/explain?${byValue}`)).text();
    t.match(spared, /\n {2}[\da-f-]{36}: not read, its value filter rules it out\n/);
    t.equal((await tempo.get('/api/search/explain?q={')).status, 400);
    const metrics = query({ q: '{ span.n > 5 } | rate() by (name)', start, end, step: 60 });
    const text = await (await tempo.get(`/api/metrics/explain?${metrics}`)).text();
    t.match(text, /^\{ span\.n > 5 \} \| rate\(\) by ?\(name\)\n\n1 series in [\d.]+ ms\n4 of 4 jobs done, /);
    t.match(text, /\nspan:name +/);
    t.equal((await tempo.get(`/api/metrics/explain?${query({ q: '{}' })}`)).status, 400);
  });

  await t.test('a client that leaves: its query is given up', async (t) => {
    const request = { Query: '{ span.n >= 0 } | select(span.big)', Limit: TRACES, start, end };
    const left = await grpc.ask('Search', request, {}, 1);
    t.equal(left.code, GRPC_CANCELLED);
    const line = /queries_total\{tenant="single-tenant",op="search",result="canceled"\} 1\n/;
    const isIdle = /^tempo_scan_queue_length 0$/m;
    for (;;) {
      const metrics = await (await tempo.get('/metrics')).text();
      if (line.test(metrics) && isIdle.test(metrics)) break;
    }
    t.notMatch(tempo.output(), /level=error/);
  });

  await t.test('parts of queries, as other processes ask for them', async (t) => {
    const counted = async (): Promise<number> => {
      const text = await (await tempo.get('/metrics')).text();
      const lines = text.match(/^tempo_query_frontend_queries_total\{.*/gm) ?? [];
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    };
    const before = await counted();
    const search = { Query: '{ span.n >= 0 }', Limit: TRACES, start, end };
    const ask = async (method: string, request: Uint8Array, response: typeof SearchResponse) =>
      decodeMessage(response, await grpc.unary(`/tempopb.Querier/${method}`, request));
    const idsOf = (body: Record<string, unknown>): string[] =>
      ((body['traces'] ?? []) as Trace[]).map(({ traceID }) => traceID);
    const blockIds = readdirSync(`${tempo.data}/blocks/single-tenant`).filter((name) =>
      /^[0-9a-f-]{36}$/.test(name),
    );
    t.equal(blockIds.length, BLOCKS);
    const found = new Set<string>();
    for (const blockID of blockIds) {
      const request = { searchReq: search, blockID, startPage: 0, pagesToSearch: 1, version: 'vParquet4' };
      const ids = idsOf(await ask('SearchBlock', encodeMessage(SearchBlockRequest, request), SearchResponse));
      t.equal(ids.length, TRACES_PER_BLOCK);
      for (const id of ids) found.add(id);
      const params = query({
        q: search.Query,
        limit: TRACES,
        start,
        end,
        blockID,
        startPage: 0,
        pagesToSearch: 1,
      });
      t.strictSame(idsOf(await json(tempo, `/querier/api/search?${params}`)), ids);
    }
    t.equal(found.size, TRACES_PER_BLOCK * BLOCKS);
    const recent = idsOf(await ask('SearchRecent', encodeMessage(SearchRequest, search), SearchResponse));
    t.equal(recent[0], idOf(TRACES - 1));
    const span = encodeMessage(SearchTagsRequest, { scope: 'span' });
    t.match(await ask('SearchTags', span, SearchTagsResponse), { tagNames: ['big', 'n'] });
    t.match(await ask('SearchTagsV2', span, SearchTagsV2Response), {
      scopes: [{ name: 'span', tags: ['big', 'n'] }],
    });
    const values = { tagName: 'n', maxTagValues: 1 };
    t.match(
      await ask('SearchTagValues', encodeMessage(SearchTagValuesRequest, values), SearchTagValuesResponse),
      {
        tagValues: [/^\d+$/],
      },
    );
    const typed = { tagName: 'span.n', maxTagValues: 1 };
    t.match(
      await ask('SearchTagValuesV2', encodeMessage(SearchTagValuesRequest, typed), SearchTagValuesV2Response),
      { tagValues: [{ type: 'int' }] },
    );
    // TraceByIDRequest {1 traceID}
    const byId = Buffer.concat([Buffer.from([0x0a, 16]), Buffer.from(idOf(TRACES - 1), 'hex')]);
    const trace = await ask('FindTraceByID', byId, TraceByIDResponse);
    t.ok(String(trace['trace']).length > 50);
    t.equal((await tempo.get(`/querier/api/traces/${idOf(TRACES - 1)}`)).status, 200);
    t.match(await json(tempo, '/querier/api/v2/search/tags?scope=span'), {
      scopes: [{ tags: ['big', 'n'] }],
    });
    t.equal(await counted(), before, 'the frontend that asks counts the query');
    const refused = [
      ['blockID=x', /^invalid blockID: "x" is no UUID/],
      [`blockID=${blockIds[0]}&startPage=0`, /^invalid pagesToSearch: /],
      [`blockID=${blockIds[0]}&startPage=-1&pagesToSearch=1`, /^invalid startPage: "-1" /],
    ] as const;
    for (const [params, want] of refused) {
      const response = await tempo.get(`/querier/api/search?${params}`);
      t.match([response.status, await response.text()], [400, want]);
    }
    const unknown = `blockID=00000000-0000-4000-8000-000000000000&pagesToSearch=1&start=${start}&end=${end}`;
    const none = await tempo.get(`/querier/api/search?${unknown}`);
    t.match(none.headers.get('x-tempo-partial'), /^block 0{8}-.* is not known$/);
    await none.body?.cancel();
  });

  await t.test("requests of Grafana's data source and editor", async (t) => {
    t.equal(await (await tempo.get('/api/echo')).text(), 'echo\n');
    t.match(await json(tempo, '/api/status/buildinfo'), { version: /^2\.\d+/ });
    const found = await json(tempo, `/api/v2/traces/${idOf(5)}`);
    t.match(found, {
      trace: { resourceSpans: [{ scopeSpans: [{ spans: [{ name: 'op' }] }] }] },
      metrics: {},
    });
    t.match(await json(tempo, '/api/v2/traces/123'), { trace: {}, metrics: {} });
    t.equal((await tempo.get('/api/traces/123')).status, 404);
    const body = await json(
      tempo,
      `/api/search?${query({ q: '{ span.n = 5 }', limit: 20, spss: 3, start, end })}`,
    );
    t.match(body, {
      traces: [
        {
          traceID: idOf(5),
          startTimeUnixNano: /^\d{19}$/,
          spanSet: { matched: 1, spans: [{ durationNanos: /^\d+$/, spanID: hexId(6, 8) }] },
          spanSets: [{ matched: 1 }],
        },
      ],
      metrics: { inspectedBytes: /^\d+$/, totalJobs: Number },
    });
    const proto = await fetch(`${tempo.url}/api/search?${query({ q: '{ span.n = 5 }', start, end })}`, {
      headers: { accept: 'application/protobuf' },
    });
    t.match(decodeMessage(SearchResponse, new Uint8Array(await proto.arrayBuffer())), {
      traces: [{ traceID: idOf(5), spanSets: [{ matched: 1 }] }],
    });
    const names = { scopes: [{ name: 'span', tags: ['big', 'n'] }] };
    t.match(await json(tempo, `/api/v2/search/tags?${query({ scope: 'span', start, end })}`), names);
    const values = await json(
      tempo,
      `/api/v2/search/tag/span.n/values?${query({ q: '{ span.n < 2 }', start, end })}`,
    );
    t.match(values, {
      tagValues: [
        { type: 'int', value: '0' },
        { type: 'int', value: '1' },
      ],
    });
    for (const client of clients.values()) {
      const ask = async (method: string, request: Record<string, unknown>) => {
        const { code, details, messages } = await client.ask(method, { start, end, ...request });
        t.equal(code, 0, `${method} ${details}`);
        return messages;
      };
      t.match(await ask('SearchTagsV2', { scope: 'span' }), [names]);
      t.match(await ask('SearchTags', { scope: 'span' }), [{ tagNames: ['big', 'n'] }]);
      const asked = { tagName: 'span.n', query: '{ span.n < 2 }' };
      t.match(await ask('SearchTagValuesV2', asked), [{ tagValues: values['tagValues'] }]);
      t.match(await ask('SearchTagValues', { tagName: 'n', maxTagValues: 2 }), [{ tagValues: ['0', '1'] }]);
    }
  });
});
