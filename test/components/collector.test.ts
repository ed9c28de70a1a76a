// A real OpenTelemetry Collector in front of us, batching and sampling by whole traces as in production: all
// that it keeps arrives, by every exporter and compression; it tries again what we refuse for now and drops
// what we refuse for good.
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { aTrace, encodeTraces, hexId, type TestSpan } from '../support/otlp.ts';
import { type Ports, freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { componentPath } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

const GRPC_COMPRESSIONS = ['none', 'gzip', 'snappy', 'zstd'];
const HTTP_COMPRESSIONS = ['none', 'gzip', 'zlib', 'deflate', 'snappy', 'x-snappy-framed', 'zstd', 'lz4'];
/** One tenant an exporter. */
const TENANTS = [
  ...GRPC_COMPRESSIONS.map((compression) => `grpc-${compression}`),
  ...HTTP_COMPRESSIONS.map((compression) => `http-${compression}`),
  'json-none',
  'json-gzip',
];

const TRACES = 200;
const SPANS = 12;
const SECOND = 1_000_000_000n;
const WAIT_MS = 60_000;
const POLL_MS = 100;
const DROPPED = 'Exporting failed. Dropping data.';

const tempoYaml = (overrides: string): string => `
multitenancy_enabled: true
server:
  http_listen_address: 127.0.0.1
  http_listen_port: \${HTTP_PORT}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: \${GRPC_PORT}
distributor:
  retry_after_on_resource_exhausted: 200ms
  receivers:
    otlp:
      protocols:
        grpc: { endpoint: '127.0.0.1:\${OTLP_GRPC_PORT}' }
        http: { endpoint: '127.0.0.1:\${OTLP_HTTP_PORT}' }
storage: { trace: { backend: local, local: { path: '\${DATA}/blocks' }, wal: { path: '\${DATA}/wal' } } }
overrides: { per_tenant_override_config: '${overrides}' }
usage_report: { reporting_enabled: false }
`;

/** An exporter for a tenant, named by protocol and compression. */
function exporter(tenant: string, ports: Ports): string {
  const [protocol, ...rest] = tenant.split('-');
  const compression = rest.join('-');
  const headers = `headers: { X-Scope-OrgID: '${tenant}' }`;
  const common = `${headers}, compression: '${compression}', tls: { insecure: true }`;
  const retry = 'retry_on_failure: { initial_interval: 200ms, max_interval: 500ms, max_elapsed_time: 60s }';
  const queue = 'sending_queue: { num_consumers: 1 }';
  const target =
    protocol === 'grpc'
      ? `endpoint: '127.0.0.1:${ports.otlpGrpc}'`
      : `endpoint: 'http://127.0.0.1:${ports.otlpHttp}'`;
  const encoding = protocol === 'json' ? ', encoding: json' : '';
  return `  ${exporterName(tenant)}: { ${target}, ${common}${encoding}, ${retry}, ${queue} }`;
}

const exporterName = (tenant: string): string => `otlp${tenant.startsWith('grpc') ? '' : 'http'}/${tenant}`;

/** The pipeline of the guides, with a shorter wait and all of the slow and failed traces. */
const SAMPLING = `processors:
  batch: { timeout: 100ms }
  tail_sampling:
    decision_wait: 2s
    policies:
      - { name: keep-errors, type: status_code, status_code: { status_codes: [ERROR] } }
      - { name: keep-slow, type: latency, latency: { threshold_ms: 2000 } }
      - { name: sample-rest, type: probabilistic, probabilistic: { sampling_percentage: 10 } }
`;
const BATCHING = 'processors:\n  batch: { timeout: 50ms, send_batch_size: 100, send_batch_max_size: 100 }\n';

class Collector {
  readonly #child: ChildProcess;
  readonly #url: string;
  #output = '';

  constructor(t: Test, folder: string, port: number, processors: string, exporters: readonly string[]) {
    const names = exporters.map((line) => line.trim().split(': ')[0]);
    const steps = processors.includes('tail_sampling') ? 'tail_sampling, batch' : 'batch';
    const file = `${folder}/collector.yaml`;
    writeFileSync(
      file,
      `receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:${port}' } } } }
${processors}exporters:
${exporters.join('\n')}
service:
  telemetry: { metrics: { level: none }, logs: { sampling: { enabled: false } } }
  pipelines:
    traces: { receivers: [otlp], processors: [${steps}], exporters: [${names.join(', ')}] }
`,
    );
    this.#url = `http://127.0.0.1:${port}/v1/traces`;
    this.#child = spawn(componentPath('COLLECTOR'), [`--config=${file}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    }
    t.teardown(() => this.#child.kill('SIGKILL'));
  }

  get output(): string {
    return this.#output;
  }

  /** Sends once the Collector listens. */
  async send(spans: readonly TestSpan[]): Promise<void> {
    const body = encodeTraces([...spans]);
    const headers = { 'content-type': 'application/x-protobuf' };
    const response = await until('the Collector takes spans', this, async () => {
      if (this.#child.exitCode !== null) throw new Error(`the Collector has ended:\n${this.#output}`);
      return await fetch(this.#url, { method: 'POST', headers, body }).catch(() => undefined);
    });
    if (!response.ok) throw new Error(`the Collector answers ${response.status}: ${await response.text()}`);
    await response.body?.cancel();
  }
}

async function until<T>(what: string, { output }: Collector, look: () => Promise<T | undefined>): Promise<T> {
  for (const endMs = performance.now() + WAIT_MS; performance.now() < endMs; await pause(POLL_MS)) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`did not happen: ${what}\n${output}`);
}

function reader(tempo: RunningTempo) {
  const get = async (tenant: string, path: string): Promise<unknown> => {
    const response = await fetch(tempo.url + path, { headers: { 'x-scope-orgid': tenant } });
    if (response.status === 404) return { batches: [] };
    if (!response.ok) throw new Error(`${path}: status ${response.status}: ${await response.text()}`);
    return await response.json();
  };
  return {
    ids: async (tenant: string, q: string): Promise<string[]> => {
      const found = await get(
        tenant,
        `/api/search?${new URLSearchParams({ q, limit: '100000' }).toString()}`,
      );
      const { traces = [] } = found as { traces?: { traceID: string }[] };
      return traces.map(({ traceID }) => traceID.padStart(32, '0')).toSorted();
    },
    spans: async (tenant: string, id: string): Promise<number> => {
      const trace = (await get(tenant, `/api/traces/${id}`)) as {
        batches: { scopeSpans: { spans: unknown[] }[] }[];
      };
      return trace.batches.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)).length;
    },
    metric: async (name: string): Promise<number> => {
      const text = await (await fetch(`${tempo.url}/metrics`)).text();
      const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
      return Number(line?.slice(name.length) ?? 0);
    },
  };
}

async function startBoth(t: Test, limits: string) {
  const folder = testFolder(t, { 'overrides.yaml': limits });
  const configFile = `${folder}/tempo.yaml`;
  writeFileSync(configFile, tempoYaml(`${folder}/overrides.yaml`));
  const tempo = await startTempo(`${folder}/data`, { configFile, args: ['-config.expand-env=true'] });
  t.teardown(() => tempo.kill());
  const { otlpHttp: port } = await freePorts();
  return { folder, tempo, port, ...reader(tempo) };
}

/** Spread over all ids, as the probabilistic policy looks at their bits. */
const idOf = (n: number): string =>
  hexId(BigInt.asUintN(128, BigInt(n + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n), 16);

/** Every tenth fails, every tenth is slow. */
function traces(startNano: bigint): TestSpan[][] {
  return Array.from({ length: TRACES }, (_, n) =>
    aTrace(0, SPANS, (i) => ({
      traceId: idOf(n),
      startUnixNano: startNano + BigInt(i) * 1_000_000n,
      endUnixNano: startNano + BigInt(i) * 1_000_000n + (n % 10 === 1 && i === 1 ? 3n * SECOND : 1_000_000n),
      status: { code: n % 10 === 0 && i === 5 ? 2 : 1, message: '' },
    })),
  );
}

t.test('batching and tail sampling, every exporter and compression', async (t) => {
  const { folder, tempo, port, ids, spans } = await startBoth(t, 'overrides: {}\n');
  const exporters = TENANTS.map((tenant) => exporter(tenant, tempo.ports));
  const collector = new Collector(t, folder, port, SAMPLING, exporters);
  const sent = traces(BigInt(Date.now()) * 1_000_000n);
  for (const trace of sent) await collector.send(trace);
  const kept = sent.flatMap((_, n) => (n % 10 < 2 ? [idOf(n)] : []));
  const [first = ''] = TENANTS;
  const all = await until('all traces of note arrive', collector, async () => {
    const found = await ids(first, '{}');
    return kept.every((id) => found.includes(id)) ? found : undefined;
  });
  for (const tenant of TENANTS) {
    await until(`the same arrives by ${tenant}`, collector, async () =>
      (await ids(tenant, '{}')).join() === all.join() ? true : undefined,
    );
    const counts = await Promise.all(all.map((id) => spans(tenant, id)));
    t.same(new Set(counts), new Set([SPANS]), `${tenant}: every trace is whole by its id`);
    t.equal((await ids(tenant, '{ status = error }')).length, TRACES / 10, `${tenant}: by TraceQL`);
    t.equal((await ids(tenant, '{ trace:duration > 2s }')).length, TRACES / 10);
  }
  const others = all.length - kept.length;
  t.ok(others > 0 && others < TRACES / 2, `${others} traces are kept of those without errors and delays`);
  t.notOk(collector.output.includes(DROPPED), 'nothing is dropped');
  t.equal(await tempo.stop(), 0);
});

t.test('what is refused for now comes again, what is refused for good does not', async (t) => {
  const slow = '{ingestion: {rate_limit_bytes: 40000, burst_size_bytes: 40000, retry_info_enabled: true}}';
  const none = '{ingestion: {rate_limit_bytes: 50, burst_size_bytes: 50}}';
  const tenants = `grpc-gzip: ${slow}, http-gzip: ${slow}, grpc-zstd: ${none}, http-zstd: ${none}`;
  const { folder, tempo, port, ids, metric } = await startBoth(t, `overrides: {${tenants}}\n`);
  const names = ['grpc-gzip', 'http-gzip', 'grpc-zstd', 'http-zstd'];
  const invalid = names.slice(0, 2).map((name) => {
    const [line, bad] = [exporter(name, tempo.ports), `${name}/invalid`];
    return line.replace(exporterName(name), `${exporterName(name)}-bad`).replace(`'${name}'`, `'${bad}'`);
  });
  const exporters = [...names.map((name) => exporter(name, tempo.ports)), ...invalid];
  const collector = new Collector(t, folder, port, BATCHING, exporters);
  for (const trace of traces(BigInt(Date.now()) * 1_000_000n)) await collector.send(trace);

  for (const tenant of ['grpc-gzip', 'http-gzip']) {
    await until(`${tenant}: all arrives in the end`, collector, async () =>
      (await ids(tenant, '{}')).length === TRACES ? true : undefined,
    );
    const refused = await metric(`tempo_discarded_spans_total{reason="rate_limited",tenant="${tenant}"}`);
    t.ok(refused > 0, `${tenant}: ${refused} spans were refused at first`);
  }
  const lines = collector.output.split('\n').filter((line) => line.includes(DROPPED));
  const droppedBy = (name: string): number => lines.filter((line) => line.includes(`"${name}"`)).length;
  for (const name of ['otlp/grpc-gzip', 'otlphttp/http-gzip'])
    t.equal(droppedBy(name), 0, `${name} drops nothing`);
  for (const name of [
    'otlp/grpc-zstd',
    'otlphttp/http-zstd',
    'otlp/grpc-gzip-bad',
    'otlphttp/http-gzip-bad',
  ]) {
    t.ok(droppedBy(name) >= (TRACES * SPANS) / 100, `${name} drops every batch at once`);
  }
  t.same(await ids('grpc-zstd', '{}'), [], 'batches above the burst never pass');
  t.equal(await tempo.stop(), 0);
});
