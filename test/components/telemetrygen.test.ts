// A foreign OTLP client, OpenTelemetry's own telemetrygen: what it sends is found at once, in blocks, and
// after a restart.
import t, { type Test } from 'tap';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

const TRACES = 40;
const CHILD_SPANS = 3;

async function checkAll(t: Test, tempo: RunningTempo, service: string): Promise<void> {
  const ids = await searchIds(tempo, `{ resource.service.name = "${service}" }`);
  t.equal(ids.length, TRACES, 'every trace is found by an attribute');
  const spans = await Promise.all(ids.map((id) => spansOfTrace(tempo, id)));
  t.same(new Set(spans), new Set([CHILD_SPANS + 1]), 'every trace is whole by its id');
}

for (const protocol of ['grpc', 'http'] as const) {
  t.test(`telemetrygen over ${protocol}`, async (t) => {
    const folder = testFolder(t);
    let tempo = await startTempo(folder);
    t.teardown(() => tempo.kill());
    const service = `telemetrygen-${protocol}`;
    const port = protocol === 'grpc' ? tempo.ports.otlpGrpc : tempo.ports.otlpHttp;
    const size = `--traces=${TRACES} --child-spans=${CHILD_SPANS} --rate=0`;
    const target = `--otlp-insecure --otlp-endpoint=127.0.0.1:${port} --service=${service}`;
    const args = `traces ${target} ${size}${protocol === 'http' ? ' --otlp-http' : ''}`;
    await runComponent('TELEMETRYGEN', args.split(' '));
    await checkAll(t, tempo, service);
    await tempo.kill();
    tempo = await startTempo(folder);
    await checkAll(t, tempo, service);
    await flush(tempo);
    await checkAll(t, tempo, service);
    t.equal(await tempo.stop(), 0);
    tempo = await startTempo(folder);
    await checkAll(t, tempo, service);
  });
}
