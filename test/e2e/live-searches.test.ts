// Searches while spans come in and heads are cut: every trace of every answer is whole.
import { get } from 'node:http';
import t from 'tap';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

interface Span {
  readonly spanID?: string;
  readonly startTimeUnixNano?: string;
  readonly durationNanos?: string;
}

interface Trace {
  readonly traceID?: string;
  readonly rootServiceName?: string;
  readonly startTimeUnixNano?: string;
  readonly durationMs?: number;
  readonly spanSets?: readonly { readonly matched: number; readonly spans: readonly Span[] }[];
  readonly serviceStats?: Readonly<Record<string, { readonly spanCount?: number }>>;
}

const REQUESTS = 150;
const TRACES_PER_REQUEST = 40;
const SEARCHERS = 3;
const FLUSH_EVERY = 50;
/** Trace ids begin with a digit that is not 0, so that all have the same length. */
const ID_BASE = 1n << 124n;
const SPAN_NANOS = 1_000n;
const QUERIES = [
  '{}',
  '{ span.n = 5 }',
  '{ name =~ "op-1.*" } >> { }',
  '{ status = error } && { span.n < 50 }',
  '{} !> {}',
  '{ nestedSetParent < 0 } | select(span.big, rootName)',
  '{ status = error } | by(name) | count() > 0',
];

/** Some traces are new, some get more spans; some lack their root. */
function aRequest(request: number, startUnixNano: bigint): Buffer {
  const spans = Array.from({ length: TRACES_PER_REQUEST * 2 }, (_, i) => {
    const isNew = i % 2 === 0;
    const trace = isNew ? request * TRACES_PER_REQUEST + i : (request * 31 + i * 17) % (request * 20 + 40);
    const id = request * 1000 + i + 1;
    return aSpan({
      traceId: hexId(ID_BASE + BigInt(trace), 16),
      spanId: hexId(id, 8),
      parentSpanId: isNew && i % 6 !== 0 ? '' : hexId(id + 7, 8),
      name: `op-${trace % 50}é`,
      startUnixNano: startUnixNano + BigInt(i),
      endUnixNano: startUnixNano + BigInt(i) + SPAN_NANOS,
      status: { code: trace % 3, message: '' },
      attributes: [
        ['n', BigInt(trace % 100)],
        ['big', 'x'.repeat(trace % 300)],
      ],
    });
  });
  return Buffer.from(encodeTraces(spans));
}

/** What is wrong with a trace of an answer; empty when it is as it should be. */
function fault(trace: Trace): string {
  if (!/^1[0-9a-f]{31}$/.test(trace.traceID ?? '')) return 'its id';
  if (typeof trace.rootServiceName !== 'string') return 'its root service';
  if (!/^\d{19}$/.test(trace.startTimeUnixNano ?? '')) return 'its start';
  if ((trace.durationMs ?? 0) < 0 || (trace.durationMs ?? 0) > 600_000) return 'its duration';
  const all = Object.values(trace.serviceStats ?? {}).reduce((sum, { spanCount = 0 }) => sum + spanCount, 0);
  const { spanSets = [] } = trace;
  if (spanSets.length === 0) return 'its spansets';
  for (const { matched, spans } of spanSets) {
    if (!(matched > 0 && matched <= all)) return `${matched} of ${all} spans matched`;
    if (spans.length !== Math.min(3, matched)) return `${spans.length} of ${matched} spans shown`;
    for (const { spanID = '', startTimeUnixNano = '', durationNanos } of spans) {
      if (!/^[0-9a-f]{16}$/.test(spanID) || !/[1-9a-f]/.test(spanID)) return 'the id of a span';
      if (!/^\d{19}$/.test(startTimeUnixNano)) return 'the start of a span';
      if (durationNanos !== String(SPAN_NANOS)) return 'the duration of a span';
    }
  }
  return '';
}

async function push(tempo: RunningTempo): Promise<void> {
  for (let i = 0; i < REQUESTS; i++) {
    const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: aRequest(i, BigInt(Date.now()) * 1_000_000n),
    });
    if (!response.ok) throw new Error(`push: ${response.status} ${await response.text()}`);
    await response.arrayBuffer();
    if (i % FLUSH_EVERY === FLUSH_EVERY - 1) await flush(tempo);
  }
}

t.test('searches while heads are written and cut', { timeout: 120_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.stop());
  let isPushing = true;
  let traces = 0;
  const faults: string[] = [];
  const search = async (searcher: number): Promise<void> => {
    for (let i = searcher; isPushing; i++) {
      const q = QUERIES[i % QUERIES.length]!;
      const response = await tempo.get(`/api/search?limit=500&q=${encodeURIComponent(q)}`);
      const text = await response.text();
      const partial = response.headers.get('x-tempo-partial');
      if (response.status !== 200 || partial !== null) faults.push(`${q}: ${response.status} ${partial}`);
      else {
        for (const trace of (JSON.parse(text) as { readonly traces: readonly Trace[] }).traces) {
          traces++;
          const what = fault(trace);
          if (what !== '') faults.push(`${q}: ${what}: ${JSON.stringify(trace)}`);
        }
      }
    }
  };
  const searchers = Array.from({ length: SEARCHERS }, (_, i) => search(i));
  await push(tempo).finally(() => (isPushing = false));
  await Promise.all(searchers);
  t.comment(`${traces} traces`);
  t.ok(traces > 1000, `${traces} traces were looked at`);
  t.strictSame(faults.slice(0, 5), []);
  t.notMatch(tempo.output(), /level=error/);
});

t.test(
  'clients that leave free their jobs and the memory of their answers',
  { timeout: 120_000 },
  async (t) => {
    const tempo = await startTempo(testFolder(t));
    t.teardown(() => tempo.stop());
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    for (let request = 0; request < 24; request++) {
      const spans = Array.from({ length: 1500 }, (_, i) =>
        aSpan({
          traceId: hexId(ID_BASE + BigInt(request * 100 + (i % 100)), 16),
          spanId: hexId(i + 1, 8),
          parentSpanId: i < 100 ? '' : hexId(i - 99, 8),
          startUnixNano,
          endUnixNano: startUnixNano + SPAN_NANOS,
        }),
      );
      await httpExport(tempo, encodeTraces(spans));
      if (request % 8 === 7) await flush(tempo);
    }
    const path = `/api/search?limit=100000&spss=100&q=${encodeURIComponent('{ } >> { } >> { } >> { }')}`;
    const clients = new AbortController();
    const left = Array.from({ length: 12 }, () =>
      fetch(tempo.url + path, { signal: clients.signal }).then(
        () => 'answered',
        () => 'left',
      ),
    );
    const load = (): Promise<number> => metric(tempo, 'tempo_scan_queue_length');
    t.ok(await until(async () => (await load()) > 4), 'the queries run');
    const beginMs = performance.now();
    clients.abort();
    t.ok(await until(async () => (await load()) === 0), 'their jobs are gone');
    t.comment(`${Math.round(performance.now() - beginMs)} ms`);
    t.ok((await Promise.all(left)).includes('left'));
    t.ok(
      await until(async () => (await metric(tempo, 'tempo_querier_result_bytes')) === 0),
      'no answer is held',
    );
    const whole = await tempo.get(path);
    t.equal(((await whole.json()) as { readonly traces: readonly Trace[] }).traces.length, 2400);
    t.ok(
      await until(async () => (await metric(tempo, 'tempo_querier_result_bytes')) === 0),
      'once it is sent',
    );
    // In the middle of the answer: it has begun, and nobody reads on.
    await new Promise((resolve, reject) => {
      const request = get(tempo.url + path, (response) => {
        t.equal(response.statusCode, 200);
        request.destroy();
      });
      request.on('close', resolve).on('error', reject);
    });
    t.ok(
      await until(async () => (await metric(tempo, 'tempo_querier_result_bytes')) === 0),
      'half an answer is not held',
    );
    const inWork = 'tempo_inflight_requests{method="GET",route="api_search"}';
    t.ok(await until(async () => (await metric(tempo, inWork)) === 0), 'and the request is over');
  },
);
