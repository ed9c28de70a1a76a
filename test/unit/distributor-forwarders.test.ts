// Forwarding to real receivers: all endpoints get all spans of the tenants that want it, and an endpoint that
// is slow or gone holds up nobody.
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import { ForwarderMetrics } from '../../src/modules/distributor/forwarder-metrics.ts';
import { Forwarders, type ForwarderSettings } from '../../src/modules/distributor/forwarders.ts';
import { OtlpGrpcReceiver } from '../../src/receivers/otlp-grpc.ts';
import type { Consumed, IncomingTraces } from '../../src/receivers/receiver.ts';
import type { UnaryClient } from '../../src/rpc/grpc-client.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { certFile, identity } from '../support/certs.ts';
import { aTrace, decodeTraces, encodeTraces } from '../support/otlp.ts';

const body = encodeTraces(aTrace(1, 20));

function settings(
  name: string,
  endpoints: string[],
  over: Partial<ForwarderSettings> = {},
): ForwarderSettings {
  return {
    name,
    backend: 'otlpgrpc',
    otlpgrpc: { endpoints, tls: { insecure: true, certFile: '' } },
    filter: { traces: { span: [], spanevent: [] } },
    ...over,
  };
}

async function started(t: Test, list: readonly ForwarderSettings[], open?: () => Promise<UnaryClient>) {
  const lines: string[] = [];
  const metrics = new Metrics();
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => lines.push(line) });
  const forwarders = new Forwarders({
    settings: list,
    metrics: new ForwarderMetrics(metrics),
    logger,
    failures: logger,
    ...(open === undefined ? {} : { open }),
  });
  await forwarders.start();
  t.teardown(() => forwarders.stop(0));
  const sample = async (name: string): Promise<number> => {
    const line = (await metrics.text()).split('\n').find((candidate) => candidate.startsWith(`${name} `));
    return Number(line?.slice(name.length));
  };
  return { forwarders, lines, sample };
}

async function aReceiver(t: Test) {
  const seen: { tenant: unknown; body: Buffer }[] = [];
  let count = 0;
  let arrived = (): void => {};
  const consumer = {
    async consume(traces: IncomingTraces): Promise<Consumed> {
      seen.push({ tenant: traces.tenantHeader, body: Buffer.from(traces.body) });
      count++;
      arrived();
      return { rejectedSpans: 0, message: '' };
    },
  };
  const config = { endpoint: '127.0.0.1:0', maxRecvMsgSizeMib: 0, maxConcurrentStreams: 0 };
  const receiver = new OtlpGrpcReceiver(config, consumer, silentLogger);
  const { port } = await receiver.start();
  t.teardown(() => receiver.stop(0));
  const until = async (wanted: number): Promise<void> => {
    while (count < wanted) await new Promise<void>((resolve) => (arrived = resolve));
  };
  return { seen, until, receiver, address: `127.0.0.1:${port}` };
}

t.test('every endpoint of every forwarder gets the spans', async (t) => {
  const receivers = await Promise.all([aReceiver(t), aReceiver(t), aReceiver(t)]);
  const [a, b, c] = receivers.map(({ address }) => address) as [string, string, string];
  const { forwarders, lines, sample } = await started(t, [settings('two', [a, b]), settings('one', [c])]);
  const reused = new Uint8Array(body);
  forwarders.forward('team', ['two', 'one', 'none'], reused);
  forwarders.forward('team', ['none', 'two'], reused);
  reused.fill(0);
  await Promise.all([receivers[0]!.until(2), receivers[1]!.until(2), receivers[2]!.until(1)]);
  for (const { seen } of receivers)
    t.ok(seen.every(({ tenant, body: got }) => tenant === 'team' && got.equals(body)));
  await forwarders.stop(10_000);
  t.equal(receivers[2]!.seen.length, 1);
  t.same(
    lines.map((line) => /msg="([^"]+)" (.*)\n/.exec(line)?.slice(1)),
    [['a tenant names a forwarder that is not configured', 'tenant=team forwarder=none']],
    'told once',
  );
  t.equal(await sample('tempo_distributor_queue_pushes_total{name="two",tenant="team"}'), 2);
  t.equal(await sample('tempo_distributor_forwarder_pushes_total{tenant="team"}'), 3);
  t.equal(await sample('tempo_distributor_forwarder_exports_total{name="two",result="success"}'), 4);
  t.equal(await sample('tempo_distributor_queue_length{name="two",tenant="team"}'), 0);
  forwarders.forward('team', ['one'], body);
  t.equal(
    await sample('tempo_distributor_forwarder_pushes_total{tenant="team"}'),
    3,
    'no more after the stop',
  );
});

t.test('an endpoint that answers nothing', async (t) => {
  let calls = 0;
  let answer = (): void => {};
  const answered = new Promise<Uint8Array>((resolve) => (answer = () => resolve(new Uint8Array(0))));
  const open = async (): Promise<UnaryClient> => ({
    unary: () => {
      calls++;
      return answered;
    },
    close: () => {},
  });
  const { forwarders, sample } = await started(t, [settings('slow', ['x:1'])], open);
  for (let i = 0; i < 150; i++) forwarders.forward('a', ['slow'], body);
  forwarders.forward('b', ['slow'], body);
  t.equal(calls, 3, 'two at a time of a tenant');
  t.equal(await sample('tempo_distributor_queue_length{name="slow",tenant="a"}'), 100);
  t.equal(await sample('tempo_distributor_queue_pushes_failures_total{name="slow",tenant="a"}'), 48);
  t.equal(await sample('tempo_distributor_forwarder_pushes_failures_total{tenant="a"}'), 48);
  const large = new Uint8Array(100 << 20);
  forwarders.forward('c', ['slow'], large);
  forwarders.forward('d', ['slow'], large);
  t.equal(
    await sample('tempo_distributor_queue_pushes_failures_total{name="slow",tenant="d"}'),
    1,
    'bytes count',
  );
  const stopped = forwarders.stop(60_000);
  answer();
  await stopped;
  t.equal(calls, 104, 'what waited is sent before the stop');
  t.equal(await sample('tempo_distributor_queue_length{name="slow",tenant="a"}'), 0);
});

t.test('tenants that are silent are forgotten, unless something of theirs is on its way', async (t) => {
  let calls = 0;
  const answer = Promise.withResolvers<Uint8Array>();
  const open = async (): Promise<UnaryClient> => ({
    unary: () => {
      calls++;
      return answer.promise;
    },
    close: () => {},
  });
  const { forwarders, lines } = await started(t, [settings('slow', ['x:1'])], open);
  forwarders.forward('idle', ['none'], body);
  forwarders.forget(new Set(['idle', 'stranger']));
  forwarders.forward('idle', ['none'], body);
  t.equal(lines.length, 2, 'nothing was known of it');
  for (let i = 0; i < 2; i++) forwarders.forward('busy', ['slow'], body);
  forwarders.forget(new Set(['busy']));
  forwarders.forward('busy', ['slow'], body);
  t.equal(calls, 2, 'its queue is still the same');
  const stopped = forwarders.stop(60_000);
  answer.resolve(new Uint8Array(0));
  await stopped;
  t.equal(calls, 3, 'and is sent before the stop');
});

t.test('an endpoint that is gone, and one that comes back', async (t) => {
  const first = await aReceiver(t);
  await first.receiver.stop(0);
  const { forwarders, lines, sample } = await started(t, [settings('gone', [first.address])]);
  forwarders.forward('a', ['gone'], body);
  await forwarders.stop(20_000);
  t.match(lines, [/failed to forward batches.*forwarder=gone tenant=a err=.*127\.0\.0\.1:\d+/]);
  t.equal(await sample('tempo_distributor_forwarder_exports_total{name="gone",result="failed"}'), 1);
});

t.test('an endpoint over TLS that is not what its file says is told by its key', async (t) => {
  const server = tls.createServer(identity('server'));
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const secure = { insecure: false, certFile: certFile('stranger') };
  const { forwarders, lines } = await started(t, [
    settings('a', [`127.0.0.1:${port}`], { otlpgrpc: { endpoints: [`127.0.0.1:${port}`], tls: secure } }),
  ]);
  forwarders.forward('a', ['a'], body);
  await forwarders.stop(20_000);
  t.match(lines, [/failed to forward.*distributor\.forwarders\[0\]\.otlpgrpc\.tls\.cert_file must hold/]);
});

t.test('configuration', async (t) => {
  const base = settings('a', ['x:1']);
  const secure = (certFile: string) => ({ endpoints: ['x:1'], tls: { insecure: false, certFile } });
  const cases: { name: string; list: ForwarderSettings[]; message: string }[] = [
    { name: 'no name', list: [settings('', ['x:1'])], message: 'forwarders[0]: name is empty' },
    { name: 'twice', list: [base, base], message: 'forwarders[1]: name a is there twice' },
    {
      name: 'backend',
      list: [settings('a', ['x:1'], { backend: 'kafka' })],
      message: 'forwarders[0]: kafka backend is not supported',
    },
    { name: 'no endpoint', list: [settings('a', [])], message: 'forwarders[0]: otlpgrpc.endpoints is empty' },
    {
      name: 'no certificate',
      list: [settings('a', ['x:1'], { otlpgrpc: secure('') })],
      message: 'forwarders[0]: otlpgrpc.tls.cert_file is empty, and insecure is not set',
    },
  ];
  for (const { name, list, message } of cases) {
    await t.rejects(started(t, list), { code: 'invalid_argument', message: `distributor.${message}` }, name);
  }
  await t.rejects(started(t, [settings('a', ['x:1'], { otlpgrpc: secure('/none.pem') })]), {
    message: 'distributor.forwarders[0].otlpgrpc.tls.cert_file: /none.pem cannot be read',
  });
  const filter = { traces: { span: ['true'], spanevent: ['name == "x"', 'nome == "x"'] } };
  await t.rejects(started(t, [base, settings('f', ['x:1'], { filter })]), {
    code: 'invalid_argument',
    message:
      'distributor.forwarders[1].filter.traces: unable to parse OTTL condition "nome == \\"x\\"": ' +
      '1:1: path "nome" is not known or not supported',
  });
});

t.test('filters: each forwarder gets what its own leaves', async (t) => {
  const [errors, none] = await Promise.all([aReceiver(t), aReceiver(t)]);
  const filter = (...span: string[]) => ({ filter: { traces: { span, spanevent: [] } } });
  const { forwarders, sample } = await started(t, [
    settings('errors', [errors.address], filter('status.code != STATUS_CODE_ERROR')),
    settings('none', [none.address], filter('IsRootSpan()', 'not IsRootSpan()')),
  ]);
  const spans = aTrace(1, 20, (i) => ({ status: { code: i % 5 === 0 ? 2 : 1, message: '' } }));
  forwarders.forward('team', ['errors', 'none'], encodeTraces(spans));
  await errors.until(1);
  const failed = spans.filter(({ status }) => status.code === 2);
  t.ok(failed.length > 0);
  t.same(decodeTraces(errors.seen[0]!.body), failed);
  await forwarders.stop(10_000);
  t.same(none.seen, [], 'nothing is sent where nothing is left');
  t.equal(await sample('tempo_distributor_forwarder_exports_total{name="errors",result="success"}'), 1);
});
