// Tenants from outside: who may write and read, what limits answer, and an overrides file that changes while
// the server runs.
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { startTempo } from '../support/server.ts';

const START = BigInt(Date.now()) * 1_000_000n;
const span = (trace: number, id: number) =>
  aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), startUnixNano: START, endUnixNano: START + 5n });

t.test('tenants', async (t) => {
  const folder = t.testdir();
  const file = `${folder}/overrides.yaml`;
  const limits = (burst: number): string =>
    `overrides: {few: {ingestion: {rate_limit_bytes: 1_000_000, burst_size_bytes: ${burst}, ` +
    'max_traces_per_user: 1}}}';
  writeFileSync(file, limits(1_000_000));
  const tempo = await startTempo(folder, {
    yaml: `multitenancy_enabled: true
overrides: {per_tenant_override_config: '${file}', per_tenant_override_period: 20ms}
`,
  });
  t.teardown(() => tempo.stop());
  const send = async (tenant: string | undefined, ...spans: ReturnType<typeof span>[]): Promise<string> => {
    const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`, { tenant });
    try {
      const { rejectedSpans, message } = await client.send(encodeTraces(spans));
      return message === '' ? 'ok' : `${rejectedSpans} rejected: ${message}`;
    } catch (err) {
      return (err as Error).message;
    } finally {
      client.close();
    }
  };
  const read = async (path: string, tenant?: string): Promise<string> => {
    const headers: Record<string, string> = tenant === undefined ? {} : { 'x-scope-orgid': tenant };
    const response = await fetch(tempo.url + path, { headers });
    return `${response.status} ${await response.text()}`;
  };

  t.test('of one name each', async (t) => {
    t.equal(await send(undefined, span(1, 1)), 'gRPC status 16: no org id');
    t.equal(await send('a|b', span(1, 1)), 'gRPC status 3: multiple org IDs present');
    t.equal(await send('..', span(1, 1)), "gRPC status 3: tenant ID is '.' or '..'");
    t.equal(await read('/api/search'), '401 no org id\n');
    t.equal(await read('/api/traces/1', 'a/b'), "400 tenant ID 'a/b' contains unsupported character '/'");
    t.equal(await read('/api/echo'), '200 echo\n');
  });

  t.test('several at once', async (t) => {
    t.equal(await send('a', span(1, 1), span(1, 2)), 'ok');
    t.equal(await send('b', span(1, 2), span(1, 3), span(2, 4)), 'ok');
    t.match(await read('/api/traces/2', 'a'), /^404/);
    t.equal((await read('/api/traces/1', 'a')).split('"spanId"').length - 1, 2);
    t.equal((await read('/api/traces/1', 'b|a')).split('"spanId"').length - 1, 3, 'each span once');
    t.equal((await read('/api/search?q={}', 'b|a|b')).split('"traceID"').length - 1, 2);
    t.match(await read('/api/search?q={}', 'c|d'), /^200 \{"traces":\[\]/);
  });

  t.test('limits', async (t) => {
    t.match(
      await send('few', span(1, 1), span(2, 2), span(1, 3)),
      /^1 rejected: LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant few/,
    );
    const discarded = 'tempo_discarded_spans_total{reason="live_traces_exceeded",tenant="few"} 1';
    t.match(await read('/metrics'), discarded);
    t.equal((await read('/api/traces/1', 'few')).split('"spanId"').length - 1, 2);
    writeFileSync(file, limits(10));
    let page = '';
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await pause(20)) {
      page = await read('/status/overrides/few');
      if (page.includes('burst_size_bytes: 10\n')) break;
    }
    t.match(page, 'burst_size_bytes: 10\n', 'the file is read again');
    t.match(await send('few', span(1, 9)), /^gRPC status 8: RATE_LIMITED: batch size .* for user few/);
    t.equal(await send('other', span(1, 9)), 'ok');
    writeFileSync(file, 'overrides: [');
    const failed = 'tempo_runtime_config_last_reload_successful{config="overrides"} 0';
    let metrics = '';
    for (const endMs = performance.now() + 10_000; performance.now() < endMs; await pause(20)) {
      metrics = await read('/metrics');
      if (metrics.includes(failed)) break;
    }
    t.match(metrics, failed);
    t.match(await send('few', span(1, 9)), /RATE_LIMITED/, 'the last good one holds');
  });
});
