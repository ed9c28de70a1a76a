// The distributor: order of checks, limits, bad spans beside good ones, what is told and what is counted.
import t, { type Test } from 'tap';
import type { Pusher, PushResult } from '../../src/contracts/push.ts';
import { RetryLaterError, TempoError } from '../../src/lib/errors.ts';
import { Distributor, type TenantLimits } from '../../src/modules/distributor/distributor.ts';
import { createDistributor, type DistributorSettings } from '../../src/modules/distributor/index.ts';
import type { TraceRuns } from '../../src/model/otlp/trace-runs.ts';
import { DistributorMetrics } from '../../src/modules/distributor/metrics.ts';
import { RateLimiter } from '../../src/modules/distributor/rate-limiter.ts';
import { SpanLog, type SpanLogOptions } from '../../src/modules/distributor/span-log.ts';
import { UsageTracker } from '../../src/modules/distributor/usage-tracker.ts';
import { createLogger, limitLines, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import {
  aResource,
  aScope,
  aSpan,
  aTrace,
  decodeTraces,
  encodeSpan,
  encodeTraces,
  field,
  hexId,
  START_NANO,
} from '../support/otlp.ts';

interface Pushed {
  tenant: string;
  body: Uint8Array;
  spanCount: number;
  traces?: TraceRuns | undefined;
  namesRejected?: boolean;
}

const NO_LIMITS = {
  isRateGlobal: false,
  retryInfoEnabled: true,
  limitsTraces: false,
  forwarders: [],
  artificialDelayMs: undefined,
  costAttribution: { dimensions: {}, maxCardinality: 0 },
};
const OFF = { enabled: false, includeAllAttributes: false, filterByStatusError: false };
const QUIET = {
  forwarders: [],
  logReceivedSpans: OFF,
  logDiscardedSpans: OFF,
  metricReceivedSpans: { enabled: false, rootOnly: false },
  artificialDelayMs: 0,
  usage: { costAttribution: { enabled: false, maxCardinality: 10, staleDurationMs: 1000 } },
};

class RecordingPusher implements Pusher {
  readonly pushed: Pushed[] = [];
  answer: PushResult | Error = { rejected: [] };
  onPush: (request: Pushed) => void = () => {};

  async push(request: Pushed): Promise<PushResult> {
    this.pushed.push({ ...request, body: request.body.slice() });
    this.onPush(request);
    if (this.answer instanceof Error) throw this.answer;
    return this.answer;
  }
}

function start(
  over: {
    multitenancyEnabled?: boolean;
    rate?: number;
    burst?: number;
    retryAfterMs?: number;
    limits?: Partial<TenantLimits>;
    artificialDelayMs?: number;
    distributorsCount?: () => number;
    log?: Partial<SpanLogOptions>;
    usage?: UsageTracker;
  } = {},
) {
  const metrics = new Metrics();
  const pusher = new RecordingPusher();
  const clock = { nowMs: 0 };
  const forwarded: unknown[] = [];
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line.replace(/^ts=\S+ /, '').trimEnd());
  const logger = createLogger({ level: 'info', format: 'logfmt', write });
  const distributorMetrics = new DistributorMetrics(metrics);
  const distributor = new Distributor({
    limits: () => ({
      ingestionRateLimitBytes: over.rate ?? 15_000_000,
      ingestionBurstSizeBytes: over.burst ?? 20_000_000,
      ...NO_LIMITS,
      ...over.limits,
    }),
    admit: () => {},
    multitenancyEnabled: over.multitenancyEnabled ?? false,
    pusher,
    forward: (...call) => void forwarded.push(call),
    metrics: distributorMetrics,
    spanLog: new SpanLog({
      received: OFF,
      discarded: OFF,
      counted: QUIET.metricReceivedSpans,
      logger,
      spans: distributorMetrics.debugSpans,
      ...over.log,
    }),
    usage: over.usage,
    refusals: logger,
    artificialDelayMs: over.artificialDelayMs ?? 0,
    distributorsCount: over.distributorsCount ?? (() => 1),
    retryAfterMs: over.retryAfterMs ?? 0,
    nowMs: () => clock.nowMs,
  });
  const consume = (body: Uint8Array, tenantHeader?: string) =>
    distributor.consume({ tenantHeader, body, transport: 'grpc' });
  return { metrics, pusher, clock, forwarded, lines, consume };
}

/** Samples of the exposition text by their full name. */
async function samples(metrics: Metrics): Promise<Map<string, number>> {
  const lines = (await metrics.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

async function sameSamples(
  t: Test,
  metrics: Metrics,
  want: Record<string, number | undefined>,
): Promise<void> {
  const got = await samples(metrics);
  for (const [name, value] of Object.entries(want)) t.equal(got.get(name), value, name);
}

t.test('a request goes through', async (t) => {
  const { metrics, pusher, consume } = start();
  const body = encodeTraces(aTrace(1, 10));
  t.same(await consume(body), { rejectedSpans: 0, message: '' });
  t.same(pusher.pushed, [
    { tenant: 'single-tenant', body, spanCount: 10, traces: undefined, namesRejected: false },
  ]);
  t.same(await consume(new Uint8Array(0)), { rejectedSpans: 0, message: '' }, 'no spans, no push');
  t.equal(pusher.pushed.length, 1);
  await sameSamples(t, metrics, {
    'tempo_distributor_spans_received_total{tenant="single-tenant"}': 10,
    'tempo_distributor_bytes_received_total{tenant="single-tenant"}': body.length,
    'tempo_distributor_ingress_bytes_total{tenant="single-tenant"}': body.length,
    'tempo_receiver_accepted_spans{receiver="otlp/otlp_receiver",transport="grpc"}': 10,
    tempo_distributor_push_duration_seconds_count: 1,
    tempo_distributor_push_total: 2,
    tempo_distributor_push_errors_total: 0,
  });
});

t.test('bad spans beside good ones', async (t) => {
  const { metrics, pusher, consume } = start();
  const good = [aSpan(), aSpan({ spanId: hexId(2, 8), resource: aResource('other') })];
  const bad = [aSpan({ traceId: 'ab' }), aSpan({ traceId: '' }), aSpan({ spanId: hexId(0, 8) })];
  t.same(await consume(encodeTraces([bad[0]!, good[0]!, bad[1]!, bad[2]!, good[1]!])), {
    rejectedSpans: 3,
    message: 'trace ids must be 128 bit, received 8 bits',
  });
  t.same(decodeTraces(pusher.pushed[0]!.body), good);
  t.equal(pusher.pushed[0]!.spanCount, 2);
  await t.rejects(consume(encodeTraces(bad)), {
    code: 'invalid_argument',
    message: 'trace ids must be 128 bit, received 8 bits',
  });
  await t.rejects(consume(encodeTraces([bad[2]!])), {
    code: 'invalid_argument',
    message: 'span ids must be 64 bit and not all zero, received 0 bits',
  });
  await t.rejects(consume(field(1, [0x13])), { code: 'invalid_argument', message: /^malformed protobuf: / });
  t.equal(pusher.pushed.length, 1);
  await sameSamples(t, metrics, {
    'tempo_discarded_spans_total{reason="invalid_trace_id",tenant="single-tenant"}': 4,
    'tempo_discarded_spans_total{reason="invalid_span_id",tenant="single-tenant"}': 3,
    'tempo_distributor_spans_received_total{tenant="single-tenant"}': 2,
    'tempo_receiver_accepted_spans{receiver="otlp/otlp_receiver",transport="grpc"}': 2,
    'tempo_receiver_refused_spans{receiver="otlp/otlp_receiver",transport="grpc"}': 4,
    tempo_distributor_push_errors_total: 3,
  });
});

t.test('tenants', async (t) => {
  const { pusher, consume } = start({ multitenancyEnabled: true });
  const body = encodeTraces([aSpan()]);
  await consume(body, 'team-a');
  t.equal(pusher.pushed[0]!.tenant, 'team-a');
  await t.rejects(consume(body), { code: 'unauthenticated', message: 'no org id' });
  await t.rejects(consume(body, 'a, b'), { code: 'invalid_argument', message: 'multiple org IDs present' });
  await t.rejects(consume(Uint8Array.of(0xff), '..'), { code: 'invalid_argument', message: /tenant ID/ });
  t.equal(pusher.pushed.length, 1);
});

t.test('rate limit', async (t) => {
  const body = encodeTraces(aTrace(1, 10));
  const size = body.length;
  const { metrics, pusher, clock, consume } = start({
    rate: size,
    burst: size * 2,
    multitenancyEnabled: true,
  });
  await consume(body, 'a');
  await consume(body, 'a');
  const texts = `(local: ${size} bytes/s, global: 0 bytes/s, burst: ${size * 2} bytes)`;
  const adding = (bytes: number): string => `while adding ${bytes} bytes for user a.`;
  const refused = await t.rejects(consume(body, 'a'), {
    code: 'resource_exhausted',
    message:
      `RATE_LIMITED: ingestion rate limit ${texts} exceeded ${adding(size)} ` +
      'consider increasing the limit or reducing ingestion rate.',
  });
  t.notOk(refused instanceof RetryLaterError, 'no RetryInfo by default');
  await consume(body, 'b');
  clock.nowMs += 999;
  await t.rejects(consume(body, 'a'), { code: 'resource_exhausted' }, 'just before');
  clock.nowMs += 1;
  await consume(body, 'a');
  const big = encodeTraces(aTrace(1, 25));
  await t.rejects(consume(big, 'a'), {
    code: 'too_large',
    message:
      `RATE_LIMITED: batch size (${big.length} bytes) exceeds ingestion limit ${texts} ` +
      `${adding(big.length)} consider reducing batch size or increasing rate limit.`,
  });
  t.equal(pusher.pushed.length, 4);
  await sameSamples(t, metrics, {
    'tempo_discarded_spans_total{reason="rate_limited",tenant="a"}': 45,
    'tempo_distributor_spans_received_total{tenant="a"}': 30,
    'tempo_receiver_refused_spans{receiver="otlp/otlp_receiver",transport="grpc"}': 45,
  });
  const retry = start({ rate: size, burst: size, retryAfterMs: 5000 });
  await retry.consume(body);
  t.match(await t.rejects(retry.consume(body)), { retryAfterMs: 5000 });
  const tooBig = await t.rejects(retry.consume(big), { code: 'too_large' });
  t.notOk(tooBig instanceof RetryLaterError, 'what can never succeed must not be tried again');
  const none = start({ rate: 0, burst: 0 });
  await t.rejects(none.consume(body), { code: 'resource_exhausted' }, 'until somebody sets limits');
});

t.test('a global rate is shared by the distributors that there are', async (t) => {
  const body = encodeTraces(aTrace(1, 10));
  const size = body.length;
  let distributorsCount = 3;
  const limits = { isRateGlobal: true };
  const options = { rate: size * 3 + 1, burst: size, limits, distributorsCount: () => distributorsCount };
  const { clock, consume } = start(options);
  await consume(body);
  const told = (local: number): RegExp =>
    new RegExp(`\\(local: ${local} bytes/s, global: ${size * 3 + 1} bytes/s, burst: ${size} bytes\\)`);
  clock.nowMs += 990;
  await t.rejects(consume(body), { message: told(size) }, 'a third of it is left in a second');
  clock.nowMs += 10;
  await consume(body);
  distributorsCount = 1;
  clock.nowMs += 334;
  await consume(body);
  distributorsCount = 0;
  await t.rejects(consume(body), { message: told(size * 3 + 1) }, 'nobody is known yet');
});

t.test('what else a tenant sets', async (t) => {
  const body = encodeTraces(aTrace(1, 10));
  const size = body.length;
  const limits = { isRateGlobal: true, retryInfoEnabled: false };
  const { consume } = start({ rate: size, burst: size, retryAfterMs: 5000, limits });
  await consume(body);
  const refused = await t.rejects(consume(body), {
    message: new RegExp(`\\(local: ${size} bytes/s, global: ${size} bytes/s, burst`),
  });
  t.notOk(refused instanceof RetryLaterError);
});

t.test('spans in the log', async (t) => {
  const spans = [
    aSpan({
      name: 'GET /',
      kind: 2,
      status: { code: 2, message: 'no' },
      endUnixNano: START_NANO + 1_500_000_000n,
      resource: aResource('shop', [['k8s.pod', 'p 1']]),
      attributes: [
        ['http.status', 500n],
        ['negative', -(2n ** 40n)],
        ['ratio', 0.25],
        ['ok', true],
        ['list', ['a', 1n]],
        ['map', { kv: [['x', 'y']] }],
        ['bytes', new Uint8Array(2)],
        ['none', undefined],
      ],
    }),
    aSpan({ spanId: hexId(2, 8), parentSpanId: hexId(1, 8), kind: 9, status: { code: 1, message: '' } }),
  ];
  const ids = (n: number): string => `spanid=${hexId(n, 8)} traceid=${hexId(1, 16)}`;
  const received = { ...OFF, enabled: true };

  t.test('received', async (t) => {
    const plain = start({ log: { received } });
    await plain.consume(encodeTraces(spans));
    t.same(plain.lines, [`level=info msg=received ${ids(1)}`, `level=info msg=received ${ids(2)}`]);
    const full = start({
      log: { received: { ...received, includeAllAttributes: true, filterByStatusError: true } },
    });
    await full.consume(encodeTraces(spans));
    t.same(full.lines, [
      'level=info msg=received span_service_name=shop span_k8s_pod="p 1" span_http_status=500 ' +
        'span_negative=-1099511627776 span_ratio=0.25 span_ok=true span_list=[a1] span_map={x:y} ' +
        'span_bytes="" span_none="" span_name="GET /" span_duration_seconds=1.5 span_kind=SPAN_KIND_SERVER ' +
        `span_status=STATUS_CODE_ERROR ${ids(1)}`,
    ]);
  });

  t.test('discarded', async (t) => {
    const { pusher, lines, consume } = start({ log: { discarded: received } });
    await consume(encodeTraces([...spans, aSpan({ spanId: 'abcd' })]));
    t.same(lines, [`level=info msg=discarded tenant=single-tenant spanid=abcd traceid=${hexId(1, 16)}`]);
    lines.length = 0;
    const traceIds = new Set([hexId(1, 16)]);
    pusher.answer = { rejected: [{ reason: 'trace_too_large', spanCount: 2, message: 'x', traceIds }] };
    await consume(encodeTraces([...spans, aSpan({ traceId: hexId(2, 16) })]));
    const reason = 'push_error_reason=TRACE_TOO_LARGE tenant=single-tenant';
    t.same(
      lines,
      [1, 2].map((n) => `level=info msg=discarded ${reason} ${ids(n)}`),
    );
    t.ok(pusher.pushed.every(({ namesRejected }) => namesRejected === true));
  });

  t.test('counted', async (t) => {
    const counted = { enabled: true, rootOnly: true };
    const { metrics, consume } = start({ log: { counted } });
    await consume(encodeTraces(spans));
    const name = 'tempo_distributor_debug_spans_received_total';
    await sameSamples(t, metrics, {
      [`${name}{tenant="single-tenant",name="GET /",service="shop"}`]: 1,
      [`${name}{tenant="single-tenant",name="op",service="shop"}`]: undefined,
    });
  });

  t.test('time series have a bound, and forgotten tenants make room', async (t) => {
    const metrics = new Metrics();
    const log = new SpanLog({
      received: OFF,
      discarded: OFF,
      counted: { enabled: true, rootOnly: false },
      logger: silentLogger,
      spans: new DistributorMetrics(metrics).debugSpans,
    });
    const named = (prefix: string, count: number): Uint8Array =>
      encodeTraces(
        Array.from({ length: count }, (_, i) => aSpan({ name: `${prefix}${i}`, spanId: hexId(i + 1, 8) })),
      );
    log.received('a', named('a', 6000));
    log.received('b', named('b', 6000));
    const name = 'tempo_distributor_debug_spans_received_total';
    const of = (tenant: string, span: string): string =>
      `${name}{tenant="${tenant}",name="${span}",service="shop"}`;
    await sameSamples(t, metrics, {
      [of('a', 'a5999')]: 1,
      [of('b', 'b3999')]: 1,
      [of('b', 'b4000')]: undefined,
    });
    log.forget(new Set(['a', 'stranger']));
    log.received('b', named('b', 6000));
    await sameSamples(t, metrics, { [of('b', 'b3999')]: 2, [of('b', 'b4000')]: 1, [of('b', 'b5999')]: 1 });
  });

  t.test('garbage in an attribute', async (t) => {
    const { lines, consume } = start({ log: { received: { ...received, includeAllAttributes: true } } });
    const bytes = field(
      1,
      field(2, field(2, Buffer.concat([encodeSpan(spans[1]!), field(9, [0x0a, 0x7f])]))),
    );
    await consume(bytes);
    t.match(lines, [/span_="" span_name=op .*span_kind=9 span_status=STATUS_CODE_OK/]);
  });

  t.test('what is refused, but not too many lines', async (t) => {
    const { pusher, lines, consume } = start();
    pusher.answer = new TempoError('unavailable', 'disk is full');
    await t.rejects(consume(encodeTraces(spans)));
    t.same(lines, ['level=error msg="pusher failed to consume trace data" err="disk is full"']);
    let nowMs = 0;
    let dropped = 0;
    const few: string[] = [];
    const logger = limitLines(
      createLogger({ level: 'info', format: 'logfmt', write: (line) => few.push(line) }),
      { linesPerSec: 10, dropped: () => dropped++, nowMs: () => nowMs },
    );
    for (let i = 0; i < 15; i++) logger.child({ i }).info('x');
    nowMs = 150;
    for (let i = 0; i < 3; i++) logger.error('y');
    t.same([few.length, dropped], [11, 7]);
  });
});

t.test('a delay on purpose', async (t) => {
  const { metrics, pusher, consume } = start({
    limits: { artificialDelayMs: 40 },
    artificialDelayMs: 60_000,
  });
  const beganMs = performance.now();
  await consume(encodeTraces(aTrace(1, 3)));
  t.ok(performance.now() - beganMs > 35, 'that of the tenant');
  pusher.answer = new TempoError('unavailable', 'x');
  await t.rejects(consume(encodeTraces(aTrace(1, 3))), { code: 'unavailable' });
  await sameSamples(t, metrics, {
    'tempo_distributor_added_latency_seconds_count{tenant="single-tenant"}': 2,
    'tempo_distributor_added_latency_seconds_sum{tenant="single-tenant"}': 0.08,
  });
  const off = start({ limits: { artificialDelayMs: 0 }, artificialDelayMs: 60_000 });
  await off.consume(encodeTraces(aTrace(1, 3)));
});

t.test('what is kept goes to forwarders, and nothing else', async (t) => {
  const body = encodeTraces(aTrace(1, 3));
  const { pusher, forwarded, consume } = start({ limits: { forwarders: ['a', 'b'] } });
  await consume(encodeTraces([...aTrace(1, 3), aSpan({ traceId: hexId(1, 16), spanId: '' })]));
  t.same(forwarded, [['single-tenant', ['a', 'b'], body]]);
  pusher.answer = new TempoError('unavailable', 'disk is full');
  await t.rejects(consume(body));
  t.equal(forwarded.length, 1, 'what was refused comes again');
  const none = start();
  await none.consume(body);
  t.same(none.forwarded, []);
});

t.test('whoever limits traces is told of them', async (t) => {
  const { pusher, consume } = start({ limits: { limitsTraces: true } });
  const runs: number[] = [];
  pusher.onPush = ({ traces }) => void runs.push(traces?.count ?? -1);
  await consume(encodeTraces([...aTrace(1, 3), ...aTrace(2, 3)]));
  const spans = [...aTrace(1, 3), aSpan({ traceId: 'ab' }), ...aTrace(2, 3), ...aTrace(3, 1)];
  await consume(encodeTraces(spans));
  t.same(runs, [2, 3], 'bad spans have no trace');
});

t.test('token buckets', (t) => {
  const clock = { nowMs: 0 };
  const limiter = new RateLimiter(() => clock.nowMs);
  const limit = { rateBytes: 100, burstBytes: 50 };
  t.equal(limiter.take('a', limit, 50), true, 'full at first');
  t.equal(limiter.take('a', limit, 1), false);
  clock.nowMs = 100;
  t.equal(limiter.take('a', limit, 10), true);
  clock.nowMs = 1_000_000;
  t.equal(limiter.take('a', limit, 51), false, 'never above the burst');
  t.equal(limiter.take('a', { rateBytes: 0, burstBytes: 0 }, 1), false, 'a limit of 0 lets nothing in');
  for (let i = 0; i < 30_000; i++) limiter.take(`t${i}`, limit, 0);
  t.ok(limiter.size <= 10_000, 'buckets of idle tenants are dropped');
  t.end();
});

t.test('what the pusher refuses', async (t) => {
  const { metrics, pusher, consume } = start();
  const body = encodeTraces(aTrace(1, 10));
  pusher.answer = {
    rejected: [
      { reason: 'live_traces_exceeded', spanCount: 3, message: 'LIVE_TRACES_EXCEEDED: max live' },
      { reason: 'trace_too_large', spanCount: 2, message: 'TRACE_TOO_LARGE: max size' },
    ],
  };
  t.same(await consume(body), {
    rejectedSpans: 5,
    message: 'LIVE_TRACES_EXCEEDED: max live; TRACE_TOO_LARGE: max size',
  });
  pusher.answer = new TempoError('unavailable', 'disk full');
  await t.rejects(consume(body), { code: 'unavailable', message: 'disk full' });
  pusher.answer = new TempoError('resource_exhausted', 'memory budget');
  await t.rejects(consume(body), {
    code: 'resource_exhausted',
    message: 'memory budget',
    retryAfterMs: 1000,
  });
  await sameSamples(t, metrics, {
    'tempo_discarded_spans_total{reason="live_traces_exceeded",tenant="single-tenant"}': 3,
    'tempo_discarded_spans_total{reason="trace_too_large",tenant="single-tenant"}': 2,
    'tempo_receiver_refused_spans{receiver="otlp/otlp_receiver",transport="grpc"}': 20,
    tempo_distributor_push_errors_total: 2,
  });
});

t.test('100,000 spans in one request', async (t) => {
  const { pusher, consume } = start();
  const span = field(2, field(1, Buffer.alloc(16, 1)));
  const goodSpan = field(2, Buffer.concat([field(1, Buffer.alloc(16, 1)), field(2, Buffer.alloc(8, 2))]));
  const spans = Buffer.concat([...Array<Uint8Array>(99_999).fill(goodSpan), span]);
  t.match(await consume(field(1, field(2, spans))), { rejectedSpans: 1 });
  t.equal(pusher.pushed[0]!.spanCount, 99_999);
});

t.test('the module', async (t) => {
  const http = {
    endpoint: '127.0.0.1:0',
    tracesUrlPath: '/v1/traces',
    maxRequestBodySize: 0,
    compressionAlgorithms: [],
    readTimeoutMs: 0,
    readHeaderTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
  };
  const grpc = { endpoint: '127.0.0.1:0', maxRecvMsgSizeMib: 0, maxConcurrentStreams: 0 };
  const create = (receivers: DistributorSettings['receivers']) => {
    const pusher = new RecordingPusher();
    const service = createDistributor({
      config: { ...QUIET, receivers, retryAfterOnResourceExhaustedMs: 0 },
      limits: () => ({ ...NO_LIMITS, ingestionRateLimitBytes: 1e9, ingestionBurstSizeBytes: 1e9 }),
      admit: () => {},
      multitenancyEnabled: true,
      ingesters: { kind: 'here', pusher },
      logger: silentLogger,
      metrics: new Metrics(),
    });
    return { pusher, service };
  };

  t.test('starts and stops what is configured', async (t) => {
    const { pusher, service } = create({ otlp: { protocols: { grpc, http } } });
    await service.start();
    t.same([...service.addresses().keys()], ['otlp/grpc', 'otlp/http']);
    const url = `http://127.0.0.1:${service.addresses().get('otlp/http')?.port}/v1/traces`;
    const headers = { 'content-type': 'application/x-protobuf', 'x-scope-orgid': 'a' };
    const body = Buffer.from(encodeTraces([aSpan()]));
    t.equal((await fetch(url, { method: 'POST', headers, body })).status, 200);
    t.match(pusher.pushed, [{ tenant: 'a', spanCount: 1 }]);
    await service.stop();
    await t.rejects(fetch(url, { method: 'POST', headers, body }), 'stopped');
  });

  t.test('a taken port stops the others again', async (t) => {
    const first = create({ otlp: { protocols: { grpc } } });
    await first.service.start();
    t.teardown(() => first.service.stop());
    const port = first.service.addresses().get('otlp/grpc')?.port;
    const second = create({
      otlp: { protocols: { grpc, http: { ...http, endpoint: `127.0.0.1:${port}` } } },
    });
    await t.rejects(second.service.start(), {
      message: `cannot listen on 127.0.0.1:${port}: address already in use`,
    });
    t.equal(second.service.addresses().size, 0);
  });

  t.test('no protocol', (t) => {
    t.throws(() => create({ otlp: { protocols: {} } }), {
      code: 'invalid_argument',
      message: /neither grpc nor http/,
    });
    t.end();
  });
});

t.test('cost attribution', async (t) => {
  const shop = {
    attributes: [
      ['service.name', 'shop'],
      ['host.name', 'h1'],
    ],
    droppedAttributes: 0,
  } as never;
  const bare = {
    attributes: [
      ['service.name', 7n],
      ['host.name', ''],
    ],
    droppedAttributes: 0,
  } as never;
  let id = 0;
  const span = (resource: never, attributes: [string, string][] = []) =>
    aSpan({ traceId: hexId(++id, 16), spanId: hexId(id, 8), resource, scope, attributes });
  const scope = aScope();
  const clock = { nowMs: 0 };
  const trackerOf = (maxCardinality = 10) => {
    const metrics = new Metrics();
    const { usageErrors: errors } = new DistributorMetrics(metrics);
    const tracker = new UsageTracker({
      maxCardinality,
      staleDurationMs: 1000,
      errors,
      nowMs: () => clock.nowMs,
    });
    return { tracker, metrics };
  };
  const shown = async (tracker: UsageTracker): Promise<Record<string, number>> => {
    const lines = (await tracker.bytes('text')).toString().split('\n');
    const found = lines.map((line) => /^tempo_usage_tracker_bytes_received_total\{(.*)\} (\d+)$/.exec(line));
    return Object.fromEntries(
      found.flatMap((match) =>
        match === null
          ? []
          : [[match[1]!.replace(/,?(tenant="one",)?tracker="cost-attribution"/, ''), Number(match[2])]],
      ),
    );
  };
  const observe = (
    tracker: UsageTracker,
    dimensions: Record<string, string>,
    body: Uint8Array,
    max = 0,
  ): void => tracker.observe('one', { dimensions, maxCardinality: max }, body);
  const sum = (values: Record<string, number>): number => Object.values(values).reduce((a, b) => a + b, 0);

  t.test('by attributes of resources and of spans', async (t) => {
    const body = encodeTraces([
      span(shop, [['http.route', '/a']]),
      span(shop, [
        ['http.route', '/a'],
        ['http.route', '/b'],
      ]),
      span(shop, [['service.name', 'own']]),
      span(bare),
    ]);
    const cases: { dimensions: Record<string, string>; want: string[] }[] = [
      { dimensions: {}, want: [] },
      {
        dimensions: { 'service.name': '' },
        want: ['service_name="__missing__"', 'service_name="own"', 'service_name="shop"'],
      },
      {
        dimensions: { 'resource.service.name': 'svc' },
        want: ['svc="__missing__"', 'svc="shop"'],
      },
      {
        dimensions: { 'span.service.name': '1svc' },
        want: ['_svc="__missing__"', '_svc="own"'],
      },
      {
        dimensions: { 'http.route': 'route', 'resource.host.name': '' },
        want: [
          'host_name="__missing__",route="__missing__"',
          'host_name="h1",route="/a"',
          'host_name="h1",route="__missing__"',
        ],
      },
    ];
    for (const { dimensions, want } of cases) {
      const { tracker } = trackerOf();
      observe(tracker, dimensions, body);
      t.same(Object.keys(await shown(tracker)).toSorted(), want, JSON.stringify(dimensions));
    }
  });

  t.test("every byte is some span's", async (t) => {
    const { tracker } = trackerOf();
    const spans = [3, 1, 40, 7].map((n) =>
      span(shop, [
        ['x', 'x'.repeat(n)],
        ['k', `k${n % 2}`],
      ]),
    );
    const body = encodeTraces(spans);
    observe(tracker, { k: '' }, body);
    // But for the tags and lengths of resource and scope, of which the scope counts as two bytes.
    const [outer, inner] = [3, 3];
    t.equal(sum(await shown(tracker)), body.length - outer - inner + 2);
    const before = await shown(tracker);
    observe(tracker, { k: '' }, body);
    t.same(await shown(tracker), Object.fromEntries(Object.entries(before).map(([k, v]) => [k, 2 * v])));
  });

  t.test('too many series are one, stale ones go', async (t) => {
    const { tracker } = trackerOf(3);
    const dimensions = { k: '' };
    for (const k of ['a', 'b', 'c', 'd', 'e'])
      observe(tracker, dimensions, encodeTraces([span(shop, [['k', k]])]));
    t.same(Object.keys(await shown(tracker)), ['k="a"', 'k="b"', 'k="c"', 'k="__overflow__"']);
    const tight = trackerOf().tracker;
    for (const k of ['a', 'b', 'c']) observe(tight, dimensions, encodeTraces([span(shop, [['k', k]])]), 1);
    t.same(Object.keys(await shown(tight)), ['k="a"', 'k="__overflow__"'], 'the limit of the tenant');
    clock.nowMs += 900;
    observe(tracker, dimensions, encodeTraces([span(shop, [['k', 'b']])]));
    clock.nowMs += 100;
    tracker.purge();
    t.same(Object.keys(await shown(tracker)), ['k="b"']);
    clock.nowMs += 1000;
    tracker.purge();
    t.equal((await tracker.bytes('text')).toString(), '');
  });

  t.test('labels that cannot be shown are counted', async (t) => {
    const { tracker, metrics } = trackerOf();
    observe(tracker, { k: 'tenant' }, encodeTraces([span(shop, [['k', 'a']])]));
    t.same(await shown(tracker), {});
    t.match(
      await metrics.text(),
      'tempo_distributor_usage_tracker_errors_total{tenant="one",reason="invalid_labels_in_collect"} 1',
    );
  });

  t.test('what was kept counts, whatever is in its attributes', async (t) => {
    const { tracker } = trackerOf();
    const costAttribution = { dimensions: { k: '' }, maxCardinality: 0 };
    const { consume, pusher } = start({ usage: tracker, limits: { costAttribution } });
    const broken = encodeTraces([span(shop, [['k', 'a']])]);
    // The length of the key reaches beyond its attribute.
    broken[broken.lastIndexOf(0x0a, broken.lastIndexOf('k'.charCodeAt(0))) + 1] = 100;
    await consume(broken);
    const one = Object.keys(await shown(tracker));
    t.same(one, ['k="__missing__",tenant="single-tenant"']);
    pusher.answer = new TempoError('unavailable', 'no');
    const before = await shown(tracker);
    await t.rejects(consume(encodeTraces([span(shop)])));
    t.same(await shown(tracker), before, 'what is refused is not counted');
  });
});
