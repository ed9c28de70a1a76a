// The OpenTelemetry SDK for JavaScript sends over each of its three OTLP exporters; every span comes back
// as it was.
import { context, SpanKind, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace';
import t, { type Test } from 'tap';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { type Ports, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

type JsonAttribute = { readonly key: string; readonly value: Readonly<Record<string, unknown>> };
type JsonSpan = {
  readonly name: string;
  readonly kind: string;
  readonly parentSpanId?: string;
  readonly status?: { readonly code?: string; readonly message?: string };
  readonly attributes?: readonly JsonAttribute[];
  readonly events?: readonly { readonly name: string; readonly attributes?: readonly JsonAttribute[] }[];
};
type JsonTrace = { readonly batches: { scopeSpans: { spans: JsonSpan[] }[] }[] };

const exporters: { name: string; open: (ports: Ports) => SpanExporter }[] = [
  { name: 'grpc', open: ({ otlpGrpc }) => new GrpcExporter({ url: `http://127.0.0.1:${otlpGrpc}` }) },
  {
    name: 'http-protobuf',
    open: ({ otlpHttp }) => new ProtoExporter({ url: `http://127.0.0.1:${otlpHttp}/v1/traces` }),
  },
  {
    name: 'http-json',
    open: ({ otlpHttp }) => new JsonExporter({ url: `http://127.0.0.1:${otlpHttp}/v1/traces` }),
  },
];

/** One trace of three spans. @returns its id. */
function recordTrace(tracer: Tracer): string {
  const root = tracer.startSpan('POST /checkout', {
    kind: SpanKind.SERVER,
    attributes: { 'http.status_code': 500, 'user.id': 'user-7', ratio: 0.5, cached: false, tags: ['a', 'b'] },
  });
  const inRoot = trace.setSpan(context.active(), root);
  const query = tracer.startSpan(
    'SELECT',
    { kind: SpanKind.CLIENT, attributes: { 'db.rows': 2 ** 40 } },
    inRoot,
  );
  query.addEvent('retry', { attempt: 2 });
  query.end();
  tracer.startSpan('render', {}, inRoot).end();
  root.setStatus({ code: SpanStatusCode.ERROR, message: 'out of stock' });
  root.end();
  return root.spanContext().traceId;
}

async function checkSearch(t: Test, tempo: RunningTempo, service: string, traceId: string): Promise<void> {
  const cases = [
    { q: `{ resource.service.name = "${service}" }`, want: [traceId] },
    { q: `{ resource.service.name = "${service}" && span.http.status_code = 500 }`, want: [traceId] },
    { q: `{ resource.service.name = "${service}" && span.db.rows > 1000000000000 }`, want: [traceId] },
    { q: `{ resource.service.name = "${service}" && status = error && kind = server }`, want: [traceId] },
    { q: `{ resource.service.name = "${service}" && span.user.id =~ "user-[0-9]" }`, want: [traceId] },
    { q: `{ resource.service.name = "${service}" && span.user.id = "user-8" }`, want: [] },
  ];
  for (const { q, want } of cases) t.same(await searchIds(tempo, q), want, q);
  t.equal(await spansOfTrace(tempo, traceId), 3);
}

async function checkContent(t: Test, tempo: RunningTempo, traceId: string): Promise<void> {
  const { batches } = (await (await tempo.get(`/api/traces/${traceId}`)).json()) as JsonTrace;
  const spans = batches.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
  const root = spans.find(({ name }) => name === 'POST /checkout');
  const attributes = Object.fromEntries((root?.attributes ?? []).map(({ key, value }) => [key, value]));
  t.match(root, {
    kind: 'SPAN_KIND_SERVER',
    status: { code: 'STATUS_CODE_ERROR', message: 'out of stock' },
  });
  t.same(attributes, {
    'http.status_code': { intValue: '500' },
    'user.id': { stringValue: 'user-7' },
    ratio: { doubleValue: 0.5 },
    cached: { boolValue: false },
    tags: { arrayValue: { values: [{ stringValue: 'a' }, { stringValue: 'b' }] } },
  });
  const query = spans.find(({ name }) => name === 'SELECT');
  t.match(query?.attributes, [{ key: 'db.rows', value: { intValue: String(2 ** 40) } }]);
  t.match(query?.events, [{ name: 'retry', attributes: [{ key: 'attempt', value: { intValue: '2' } }] }]);
}

t.test('the OpenTelemetry SDK', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const sent: { service: string; traceId: string }[] = [];
  for (const { name, open } of exporters) {
    const service = `sdk-${name}`;
    const provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': service }),
      spanProcessors: [new BatchSpanProcessor({ exporter: open(tempo.ports) })],
    });
    const traceId = recordTrace(provider.getTracer('test', '1.0'));
    await provider.forceFlush();
    await provider.shutdown();
    sent.push({ service, traceId });
    await t.test(`${name}: found at once`, (t) => checkSearch(t, tempo, service, traceId));
    await t.test(`${name}: comes back as it was`, (t) => checkContent(t, tempo, traceId));
  }
  await flush(tempo);
  for (const { service, traceId } of sent) {
    await t.test(`${service}: found in a block`, (t) => checkSearch(t, tempo, service, traceId));
    await t.test(`${service}: comes back from a block as it was`, (t) => checkContent(t, tempo, traceId));
  }
});
