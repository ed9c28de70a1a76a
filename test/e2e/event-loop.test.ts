// No query keeps the main thread for 50 ms in one turn of the event loop, by the CPU that the thread takes:
// answers of thousands of traces, values and series, one at a time and four at once. Each is asked once
// before, as the first of a kind compiles what it runs.
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { httpExport } from '../support/hostile.ts';
import { aResource, aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { StreamingClient } from '../support/streaming-client.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const TURN_MAX_MS = 50;
const PROBE = new URL('../support/turn-cpu.ts', import.meta.url).href;

const REQUESTS = 45;
/** The last ones stay in the head. */
const IN_BLOCKS = 40;
const TRACES = 100;
const SPANS = 20;
const LARGE_TRACE = 6000;
const AT_ONCE = 4;

/** Of one round of all queries. */
const ANSWERS_BYTES_MIN = 100e6;

const RANGE_SEC = 100;
const endSec = Math.floor(Date.now() / 1000) + 1;
const startSec = endSec - RANGE_SEC;

/** Stands in a request for its number, with as many digits. */
const MARK = Buffer.from('@@@');

const resources = Array.from({ length: 8 }, (_, i) => aResource(`service-${i}`, [['pod', `pod-${i}`]]));

/** A trace in the first part of whose id, and in some values, the mark stands. */
function markedTrace(trace: number, spans: number) {
  const traceId = MARK.toString('hex') + hexId(trace, 16 - MARK.length);
  const trace0 = BigInt(startSec) * 1_000_000_000n + BigInt(trace % TRACES) * 980_000_000n;
  return aTrace(trace, spans, (i) => ({
    traceId,
    name: `op-${(trace * 7 + i) % 60}`,
    kind: (i % 5) + 1,
    startUnixNano: trace0 + BigInt(i) * 1_000_000n,
    endUnixNano: trace0 + BigInt(i * 1_000_000 + ((trace * 31 + i * 17) % 1000) * 100_000),
    status: { code: (trace + i) % 10 === 0 ? 2 : 0, message: '' },
    resource: resources[(i >> 2) % resources.length]!,
    attributes: [
      ['http.method', ['GET', 'PUT', 'POST', 'DELETE'][i % 4]],
      ['http.status_code', BigInt(200 + ((trace + i) % 7) * 50)],
      ['http.url', `https://shop.example/${MARK.toString()}/cart/${trace}/${i}`],
      ['short', MARK.toString() + (trace * SPANS + i).toString(36)],
      ['user.id', `user-${MARK.toString()}-${trace}`],
      ['rows', BigInt((trace * i) % 977)],
      ['score', (trace * 13 + i) / 1000],
    ],
  }));
}

/** One encoded request with other numbers in place of its marks. */
function numbered(request: Uint8Array): (number: number) => Buffer {
  const bytes = Buffer.from(request);
  const marks: number[] = [];
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + 1)) marks.push(at);
  return (number) => {
    const digits = String(number).padStart(MARK.length, '0');
    for (const at of marks) bytes.write(digits, at);
    return bytes;
  };
}

function idOf(request: number, trace: number): string {
  const digits = String(request).padStart(MARK.length, '0');
  return Buffer.from(digits).toString('hex') + hexId(trace, 16 - MARK.length);
}

async function push(tempo: RunningTempo): Promise<void> {
  const send = async (bytes: Uint8Array): Promise<void> => {
    const { status, body } = await httpExport(tempo, bytes);
    if (status !== 200) throw new Error(`status ${status}: ${body.toString()}`);
  };
  const traces = Array.from({ length: TRACES }, (_, i) => markedTrace(i, SPANS));
  const request = numbered(encodeTraces(traces.flat()));
  await send(numbered(encodeTraces(markedTrace(TRACES, LARGE_TRACE)))(0));
  for (let i = 0; i < REQUESTS; i++) {
    if (i === IN_BLOCKS) await flush(tempo);
    await send(request(i));
  }
}

/** @returns bytes of the answer. */
type Ask = (tempo: RunningTempo, endSec: number) => Promise<number>;
type Query = readonly [name: string, ask: Ask];

async function get(tempo: RunningTempo, path: string, accept = 'application/json'): Promise<number> {
  const response = await fetch(tempo.url + path, { headers: { accept } });
  const { byteLength } = await response.arrayBuffer();
  if (response.status !== 200) throw new Error(`${path}: status ${response.status}`);
  return byteLength;
}

function ask(path: string, parameters: Readonly<Record<string, string>>): Ask {
  return (tempo, endSec) => {
    const query = new URLSearchParams({ ...parameters, start: String(startSec), end: String(endSec) });
    return get(tempo, `${path}?${query.toString()}`);
  };
}

function search(q: string): Query {
  return [`search ${q}`, ask('/api/search', { q, limit: '10000', spss: '100' })];
}

function metrics(q: string): Query {
  return [`metrics ${q}`, ask('/api/metrics/query_range', { q, step: '1s' })];
}

function values(tag: string, q = ''): Query {
  return [`values of ${tag} ${q}`, ask(`/api/v2/search/tag/${tag}/values`, { q })];
}

function traceById(version: string, id: string, accept?: string): Query {
  return [`${version} ${id} ${accept ?? ''}`, (tempo) => get(tempo, `/api/${version}/${id}`, accept)];
}

function stream(
  method: string,
  request: Readonly<Record<string, unknown>>,
  unit: (sec: number) => unknown,
): Query {
  const streamed: Ask = async ({ ports }, endSec) => {
    const client = new StreamingClient(`127.0.0.1:${ports.grpc}`);
    const range = { start: unit(startSec), end: unit(endSec) };
    const { code, details, sizes } = await client.ask(method, { ...request, ...range });
    client.close();
    if (code !== 0) throw new Error(`${method}: ${code} ${details}`);
    return sizes.reduce((sum, size) => sum + size, 0);
  };
  return [`stream of ${method}`, streamed];
}

const seconds = (sec: number): number => sec;
const nanos = (sec: number): bigint => BigInt(sec) * 1_000_000_000n;

const QUERIES: readonly Query[] = [
  search('{ }'),
  search('{ span.rows > 500 } | select(span.http.url, span.user.id, resource.pod)'),
  search('{ span.http.url =~ ".*/cart/.*7" }'),
  search('{ span.rows > 500 } | by(span.http.status_code) | count() > 1'),
  search('{ status = error } | avg(duration) > 1ms'),
  search('{ } >> { status = error }'),
  search('{ kind = client } !< { kind = server }'),
  search('{ resource.service.name = "service-1" } &~ { span.http.method = "PUT" }'),
  ['search by tags', ask('/api/search', { tags: 'http.method=GET', limit: '10000' })],
  stream('Search', { Query: '{ status = error }', Limit: 10_000, SpansPerSpanSet: 100 }, seconds),
  values('span.short'),
  values('span.short', '{ status != error }'),
  values('span.http.url'),
  values('name'),
  ['values without types', ask('/api/search/tag/short/values', {})],
  stream('SearchTagValuesV2', { tagName: 'span.short' }, seconds),
  ['tags', ask('/api/v2/search/tags', {})],
  metrics('{ } | rate() by (span.user.id)'),
  metrics('{ } | count_over_time() by (name, span.http.method, resource.service.name)'),
  metrics('{ } | quantile_over_time(duration, .5, .9, .99) by (name)'),
  metrics('{ } | histogram_over_time(duration) by (name)'),
  metrics('{ } | avg_over_time(span.score) by (span.http.status_code)'),
  metrics('{ } | rate() by (span.http.method, name) | topk(10)'),
  metrics('{ resource.service.name = "service-1" } | compare({ status = error }, 100)'),
  metrics('{ } >> { status = error } | rate() by (name)'),
  ['metrics of an instant', ask('/api/metrics/query', { q: '{ status = error } | rate() by (span.short)' })],
  stream('MetricsQueryInstant', { query: '{ } | rate() by (span.short)' }, nanos),
  traceById('v2/traces', idOf(0, TRACES)),
  traceById('v2/traces', idOf(0, TRACES), 'application/protobuf'),
  traceById('traces', idOf(7, 7)),
  traceById('v2/traces', idOf(REQUESTS - 1, 7)),
];

t.test('no query keeps the event loop', async (t) => {
  const folder = testFolder(t);
  const socket = join(folder, 'turns');
  const tempo = await startTempo(join(folder, 'data'), {
    env: { NODE_OPTIONS: `--import=${PROBE}`, TURN_CPU_SOCKET: socket },
  });
  t.teardown(() => tempo.kill());
  const longestMs = async (): Promise<number> => Number(await text(connect(socket))) / 1000;
  await push(tempo);
  for (const [, small] of QUERIES) await small(tempo, startSec + 2);
  t.comment(`${await longestMs()} ms in one turn of start, pushes and the first query of each kind`);

  const isShort = async (name: string): Promise<void> => {
    const ms = await longestMs();
    t.ok(ms > 0 && ms <= TURN_MAX_MS, `${ms} ms in one turn of ${name}`);
  };
  let bytes = 0;
  for (const [name, large] of QUERIES) {
    bytes += await large(tempo, endSec);
    await isShort(name);
  }
  t.ok(bytes > ANSWERS_BYTES_MIN, `${bytes} bytes of answers`);
  const apart = Math.ceil(QUERIES.length / AT_ONCE);
  for (let i = 0; i < apart; i++) {
    const some = QUERIES.filter((_, n) => n % apart === i);
    await Promise.all(some.map(([, large]) => large(tempo, endSec)));
    await isShort(some.map(([name]) => name).join(', '));
  }
});
