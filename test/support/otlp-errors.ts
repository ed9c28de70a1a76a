// The error table of ingestion: what is sent, and what status and word of the text come back over HTTP and
// gRPC. The same rows go to us and to real Tempo; where the two differ on purpose a row has both answers.
import { writeFileSync } from 'node:fs';
import zlib from 'node:zlib';
import type { Test } from 'tap';
import { framed, grpcExport, grpcSession, httpExport } from './hostile.ts';
import { aSpan, encodeSpan, encodeTraces, field, hexId, numberField, type TestSpan } from './otlp.ts';
import { type RunningTempo, startTempo } from './server.ts';
import { testFolder } from './test-folder.ts';

interface Answer {
  /** Of HTTP, or of gRPC. */
  readonly status: number;
  /** Found in the text of the answer. */
  readonly word?: string;
  /** The client is told when to try again. */
  readonly retry?: boolean;
}

interface Sent {
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a gRPC message: marked as compressed. */
  readonly isCompressed?: boolean;
}

interface ErrorRow {
  readonly name: string;
  readonly sent: Sent;
  /** Not there = not sent this way. */
  readonly http?: Answer;
  readonly grpc?: Answer;
  /** What Tempo answers where it answers something else. */
  readonly tempo?: { readonly http?: Answer; readonly grpc?: Answer };
}

const CONFIG = `
multitenancy_enabled: true
server:
  http_listen_address: 127.0.0.1
  http_listen_port: \${HTTP_PORT}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: \${GRPC_PORT}
  log_level: warn
usage_report: { reporting_enabled: false }
distributor:
  retry_after_on_resource_exhausted: 3s
  receivers:
    otlp:
      protocols:
        grpc: { endpoint: '127.0.0.1:\${OTLP_GRPC_PORT}' }
        http: { endpoint: '127.0.0.1:\${OTLP_HTTP_PORT}' }
storage:
  trace:
    backend: local
    local: { path: '\${DATA}/blocks' }
    wal: { path: '\${DATA}/wal' }
overrides:
  defaults: { ingestion: { rate_limit_bytes: 100000000, burst_size_bytes: 100000000 } }
  per_tenant_override_config: '\${DATA}-overrides.yaml'
`;

const OVERRIDES = `overrides:
  few: { ingestion: { rate_limit_bytes: 1, burst_size_bytes: 2000, retry_info_enabled: true } }
  silent: { ingestion: { rate_limit_bytes: 1, burst_size_bytes: 2000 } }
  nothing: { global: { max_bytes_per_trace: 1000 } }
`;

/** Starts a program on the configuration that the table is for. */
export async function startForErrors(t: Test, program?: string): Promise<RunningTempo> {
  const folder = testFolder(t, { 'tempo.yaml': CONFIG });
  writeFileSync(`${folder}/data-overrides.yaml`, OVERRIDES);
  const tempo = await startTempo(`${folder}/data`, {
    configFile: `${folder}/tempo.yaml`,
    args: ['-config.expand-env=true'],
    ...(program === undefined ? {} : { program }),
  });
  t.teardown(() => tempo.kill());
  return tempo;
}

let lastTrace = 0;

/** One span of a trace of its own, now. */
function freshSpan(over: Partial<TestSpan> = {}): TestSpan {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const traceId = hexId(++lastTrace + 1_000_000, 16);
  return aSpan({ traceId, startUnixNano, endUnixNano: startUnixNano + 1000n, ...over });
}

const good = (): Buffer => Buffer.from(encodeTraces([freshSpan()]));
const one = (over: Partial<TestSpan>): Uint8Array => encodeTraces([freshSpan(over)]);
const spanOf = (...parts: Uint8Array[]): Uint8Array => field(1, field(2, field(2, Buffer.concat(parts))));
const json = (text: string): Sent => ({
  body: Buffer.from(text),
  headers: { 'content-type': 'application/json' },
});
const jsonSpan = (span: object): Sent =>
  json(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }));
const of = (tenant: string): Sent => ({ body: good(), headers: { 'x-scope-orgid': tenant } });
const encoded = (encoding: string, body: Uint8Array): Sent => ({
  body,
  headers: { 'content-encoding': encoding, 'grpc-encoding': encoding },
  isCompressed: true,
});

const OK = 0;
const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;
const accepted = { http: { status: 200 }, grpc: { status: OK } };
const refused = (word: string) => ({
  http: { status: 400, word },
  grpc: { status: INVALID_ARGUMENT, word },
});

const BODIES: readonly ErrorRow[] = [
  { name: 'nothing', sent: { body: Buffer.alloc(0) }, ...accepted },
  { name: 'no span', sent: { body: field(1, field(1, Buffer.alloc(0))) }, ...accepted },
  {
    name: 'garbage',
    sent: { body: Buffer.alloc(100, 0x5a) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'ones',
    sent: { body: Buffer.alloc(100, 0xff) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'truncated',
    sent: { body: good().subarray(0, -5) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'span as a number',
    sent: { body: field(1, field(2, numberField(2, 1))) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'garbage in an attribute',
    sent: { body: spanOf(encodeSpan(freshSpan()), field(9, [0x0a, 0x7f])) },
    ...accepted,
    tempo: { http: { status: 400 }, grpc: { status: INTERNAL } },
  },
  {
    name: 'trace id of 15 bytes',
    sent: { body: one({ traceId: 'ab'.repeat(15) }) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  { name: 'no trace id', sent: { body: one({ traceId: '' }) }, ...refused('trace ids must be 128 bit') },
  {
    name: 'trace id of zeros',
    sent: { body: one({ traceId: '00'.repeat(16) }) },
    ...refused('trace ids must be 128 bit'),
  },
  {
    name: 'span id of 7 bytes',
    sent: { body: one({ spanId: 'ab'.repeat(7) }) },
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  { name: 'no span id', sent: { body: one({ spanId: '' }) }, ...refused('span ids must be 64 bit') },
  {
    name: 'span id of zeros',
    sent: { body: one({ spanId: '00'.repeat(8) }) },
    ...refused('span ids must be 64 bit'),
  },
  {
    name: 'one good and one bad',
    sent: { body: encodeTraces([freshSpan(), freshSpan({ spanId: '' })]) },
    http: { status: 200, word: 'span ids must be 64 bit' },
    grpc: { status: OK },
    tempo: refused('span ids'),
  },
  { name: 'times of zero', sent: { body: one({ startUnixNano: 0n, endUnixNano: 0n }) }, ...accepted },
  { name: 'inverted times', sent: { body: one({ endUnixNano: 5n }) }, ...accepted },
  { name: 'the year 2262', sent: { body: one({ endUnixNano: 2n ** 63n - 1n }) }, ...accepted },
  {
    name: 'the end of time',
    sent: { body: one({ startUnixNano: 2n ** 64n - 1n, endUnixNano: 2n ** 64n - 1n }) },
    ...accepted,
  },
  {
    name: 'text that is no UTF-8',
    sent: {
      body: spanOf(
        encodeSpan(freshSpan()),
        field(5, [0xff, 0xfe]),
        field(9, Buffer.concat([field(1, [0xc0]), field(2, field(1, [0xc3, 0x28]))])),
      ),
    },
    ...accepted,
  },
  {
    name: 'an attribute of 3 MB',
    sent: { body: one({ attributes: [['a', 'x'.repeat(3_000_000)]] }) },
    ...accepted,
  },
  {
    name: '100,000 attributes',
    sent: { body: one({ attributes: Array.from({ length: 100_000 }, (_, i) => [`k${i}`, BigInt(i)]) }) },
    ...accepted,
  },
  {
    name: 'above the limit of a message',
    sent: { body: Buffer.alloc((4 << 20) + 1) },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'larger than max (4194305 vs. 4194304)' },
  },
  {
    name: 'above the limit of a body',
    sent: { body: Buffer.alloc((20 << 20) + 1) },
    http: { status: 413, word: 'request body too large' },
    tempo: { http: { status: 400, word: 'request body too large' } },
  },
];

const JSON_BODIES: readonly ErrorRow[] = [
  { name: 'JSON: an empty object', sent: json('{}'), http: { status: 200, word: '{"partialSuccess":{}}' } },
  { name: 'JSON: nothing', sent: json(''), http: { status: 400, word: '"code":3' } },
  { name: 'JSON: no JSON', sent: json('{nope'), http: { status: 400, word: '"code":3' } },
  { name: 'JSON: an array', sent: json('[]'), http: { status: 400, word: '"code":3' } },
  {
    name: 'JSON: id that is no hex',
    sent: jsonSpan({ traceId: 'zz', spanId: 'b7ad6b7169203331' }),
    http: { status: 400, word: '"code":3' },
  },
  {
    name: 'JSON: short id',
    sent: jsonSpan({ traceId: 'abcd', spanId: 'b7ad6b7169203331' }),
    http: { status: 400, word: '"code":3' },
  },
  {
    name: 'JSON: no span id',
    sent: jsonSpan({ traceId: 'ab'.repeat(16) }),
    http: { status: 400, word: 'span ids must be 64 bit' },
  },
];

const FORMS: readonly ErrorRow[] = [
  {
    name: 'unknown content type',
    sent: { body: good(), headers: { 'content-type': 'text/plain' } },
    http: { status: 415, word: '415 unsupported media type' },
  },
  {
    name: 'content type with a charset',
    sent: { ...json('{}'), headers: { 'content-type': 'application/json; charset=utf-8' } },
    http: { status: 200 },
  },
  {
    name: 'unknown encoding',
    sent: encoded('br', good()),
    http: { status: 400, word: 'unsupported Content-Encoding: br' },
    grpc: { status: UNIMPLEMENTED, word: 'Decompressor is not installed for grpc-encoding "br"' },
  },
  {
    name: 'compressed without a name',
    sent: { body: zlib.gzipSync(good()), isCompressed: true },
    grpc: { status: INTERNAL, word: 'compress' },
  },
  { name: 'gzip', sent: encoded('gzip', zlib.gzipSync(good())), ...accepted },
  { name: 'zstd', sent: encoded('zstd', zlib.zstdCompressSync(good())), ...accepted },
  { name: 'zlib', sent: encoded('zlib', zlib.deflateSync(good())), http: { status: 200 } },
  {
    name: 'deflate',
    sent: encoded('deflate', zlib.deflateSync(good())),
    ...accepted,
    tempo: { grpc: { status: UNIMPLEMENTED } },
  },
  {
    name: 'identity',
    sent: { body: good(), headers: { 'content-encoding': 'identity', 'grpc-encoding': 'identity' } },
    ...accepted,
    tempo: { http: { status: 400, word: 'unsupported Content-Encoding: identity' } },
  },
  {
    name: 'garbage as gzip',
    sent: encoded('gzip', Buffer.alloc(100, 0x5a)),
    ...refused('gzip'),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'cut gzip',
    sent: encoded('gzip', zlib.gzipSync(good()).subarray(0, 50)),
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'garbage as zstd',
    sent: encoded('zstd', Buffer.alloc(100, 0x5a)),
    ...refused(''),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'garbage as snappy',
    sent: encoded('snappy', Buffer.alloc(100, 0x5a)),
    ...refused('snappy'),
    tempo: { grpc: { status: INTERNAL } },
  },
  {
    name: 'garbage as deflate',
    sent: encoded('deflate', Buffer.alloc(100, 0x5a)),
    http: { status: 400, word: '' },
  },
  {
    name: 'garbage as lz4',
    sent: encoded('lz4', Buffer.alloc(100, 0x5a)),
    http: { status: 400, word: 'bad magic number' },
  },
  {
    name: 'gzip bomb',
    sent: encoded('gzip', zlib.gzipSync(Buffer.alloc(64 << 20))),
    http: { status: 413 },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'after decompression larger than max' },
    tempo: { http: { status: 400, word: 'request body too large' } },
  },
  {
    name: 'zstd bomb',
    sent: encoded('zstd', zlib.zstdCompressSync(Buffer.alloc(64 << 20))),
    http: { status: 413 },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'after decompression larger than max' },
    tempo: { http: { status: 400, word: 'request body too large' } },
  },
  {
    name: 'deflate bomb',
    sent: encoded('deflate', zlib.deflateSync(Buffer.alloc(64 << 20))),
    http: { status: 413 },
    tempo: { http: { status: 400, word: 'request body too large' } },
  },
];

const TENANTS: readonly ErrorRow[] = [
  { name: 'tenant', sent: of('team-1_(x)'), ...accepted },
  { name: 'tenant of 150 characters', sent: of('x'.repeat(150)), ...accepted },
  {
    name: 'no tenant',
    sent: { body: good(), headers: { 'x-scope-orgid': '-' } },
    http: { status: 401, word: 'no org id' },
    grpc: { status: UNAUTHENTICATED, word: 'no org id' },
    tempo: { http: { status: 503, word: 'no org id' }, grpc: { status: UNAVAILABLE, word: 'no org id' } },
  },
  {
    name: 'empty tenant',
    sent: of(''),
    http: { status: 401, word: 'no org id' },
    grpc: { status: UNAUTHENTICATED, word: 'no org id' },
    tempo: {
      http: { status: 400, word: 'no org id' },
      grpc: { status: INVALID_ARGUMENT, word: 'no org id' },
    },
  },
  { name: 'several tenants', sent: of('a|b'), ...refused('multiple org IDs present') },
  { name: 'tenant with dots', sent: of('..'), ...refused("tenant ID is '.' or '..'") },
  {
    name: 'traversing tenant',
    sent: of('../x'),
    ...refused("tenant ID '../x' contains unsupported character '/'"),
  },
  {
    name: 'tenant with a slash',
    sent: of('a/b'),
    ...refused("tenant ID 'a/b' contains unsupported character '/'"),
  },
  { name: 'tenant with metadata', sent: of('a:product=k6'), ...accepted },
  {
    name: 'tenant of 151 characters',
    sent: of('x'.repeat(151)),
    ...refused('tenant ID is too long: max 150 characters'),
  },
];

const LIMITS: readonly ErrorRow[] = [
  {
    name: 'within the burst',
    sent: { body: one({ attributes: [['a', 'x'.repeat(1000)]] }), headers: { 'x-scope-orgid': 'few' } },
    http: { status: 200 },
  },
  {
    name: 'above the rate',
    sent: { body: one({ attributes: [['a', 'x'.repeat(1000)]] }), headers: { 'x-scope-orgid': 'few' } },
    http: { status: 429, word: 'RATE_LIMITED: ingestion rate limit', retry: true },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'RATE_LIMITED: ingestion rate limit', retry: true },
  },
  {
    name: 'within the burst, no RetryInfo',
    sent: { body: one({ attributes: [['a', 'x'.repeat(1000)]] }), headers: { 'x-scope-orgid': 'silent' } },
    http: { status: 200 },
  },
  {
    name: 'above the rate, no RetryInfo',
    sent: { body: one({ attributes: [['a', 'x'.repeat(1000)]] }), headers: { 'x-scope-orgid': 'silent' } },
    http: { status: 429, word: 'RATE_LIMITED' },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'RATE_LIMITED' },
  },
  {
    name: 'above the burst',
    sent: { body: one({ attributes: [['a', 'x'.repeat(3000)]] }), headers: { 'x-scope-orgid': 'few' } },
    http: { status: 413, word: 'RATE_LIMITED: batch size' },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'RATE_LIMITED: batch size' },
    tempo: { http: { status: 429, retry: true }, grpc: { status: RESOURCE_EXHAUSTED, retry: true } },
  },
  {
    name: 'a tenant without a rate',
    sent: of('nothing'),
    http: { status: 429, word: 'RATE_LIMITED: batch size' },
    grpc: { status: RESOURCE_EXHAUSTED, word: 'RATE_LIMITED: batch size' },
  },
];

const ERROR_TABLE: readonly ErrorRow[] = [...BODIES, ...JSON_BODIES, ...FORMS, ...TENANTS, ...LIMITS];

interface Got {
  readonly status: number;
  readonly text: string;
  readonly retry: boolean;
}

type Send = (tempo: RunningTempo, sent: Sent) => Promise<Got>;

const TENANT = { 'x-scope-orgid': 'team' };

function headersOf({ headers }: Sent): Record<string, string> {
  const all: Record<string, string> = { ...TENANT, ...headers };
  if (all['x-scope-orgid'] === '-') delete all['x-scope-orgid'];
  return all;
}

async function sendByHttp(tempo: RunningTempo, sent: Sent): Promise<Got> {
  const headers = headersOf(sent);
  delete headers['grpc-encoding'];
  const { status, body, headers: answered } = await httpExport(tempo, sent.body, headers);
  return { status, text: body.toString(), retry: answered['retry-after'] !== undefined };
}

async function sendByGrpc(tempo: RunningTempo, sent: Sent): Promise<Got> {
  const headers = headersOf(sent);
  delete headers['content-encoding'];
  delete headers['content-type'];
  const session = await grpcSession(tempo);
  try {
    const frame = framed(sent.body, sent.isCompressed === true ? 1 : 0);
    const { status, message, details } = await grpcExport(session, frame, headers);
    return { status, text: message, retry: details.includes('RetryInfo') };
  } finally {
    session.destroy();
  }
}

const SENDS: Readonly<Record<'http' | 'grpc', Send>> = { http: sendByHttp, grpc: sendByGrpc };

function isAnswer(got: Got, want: Answer): boolean {
  return (
    got.status === want.status && got.text.includes(want.word ?? '') && got.retry === (want.retry ?? false)
  );
}

const show = ({ status, text, retry }: Got): string => `${status}${retry ? ', retry' : ''}: ${text}`;

/** Sends every row every way and compares. @param isTempo whether the server is Grafana Tempo. */
export async function checkErrorTable(t: Test, tempo: RunningTempo, isTempo: boolean): Promise<void> {
  for (const row of ERROR_TABLE) {
    for (const transport of ['http', 'grpc'] as const) {
      const ours = row[transport];
      if (ours === undefined) continue;
      const theirs = row.tempo?.[transport];
      const want = (isTempo ? theirs : undefined) ?? ours;
      const got = await SENDS[transport](tempo, row.sent);
      t.ok(isAnswer(got, want), `${row.name} over ${transport}: ${show(got)}`);
      if (isTempo && theirs !== undefined) {
        t.notOk(isAnswer(got, ours), `${row.name} over ${transport} is a deviation`);
      }
    }
  }
}
