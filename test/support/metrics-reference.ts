// docs/reference/metrics.md: what a running server registers, beside the list of Tempo's metrics. Run as a
// program it writes the page; a test compares the page with what it would write.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from '../../src/app/app.ts';
import { rootBlock } from '../../src/app/config.ts';
import { wire } from '../../src/app/wire.ts';
import { loadConfig } from '../../src/config/load.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

export interface MetricFacts {
  readonly name: string;
  readonly type: string;
  /** Sorted. */
  readonly labels: readonly string[];
  /** Of histograms. */
  readonly bounds: readonly number[];
  readonly help: string;
}

export interface TempoMetric extends Omit<MetricFacts, 'help'> {
  /** `2.10`, `3.0` or `both`. */
  readonly version: string;
}

export const PAGE = 'docs/reference/metrics.md';

/** Servers that together register all that there is: the first one is what most people run. */
const SERVERS: readonly { readonly target: string; readonly text: string }[] = [
  { target: 'all,backend-scheduler,backend-worker', text: '' },
  {
    // Rings of several processes, and caches outside of this one; nobody need answer.
    target: 'scalable-single-binary',
    text: `
memberlist: { bind_addr: [127.0.0.1], bind_port: 0 }
compactor: { ring: { kvstore: { store: memberlist } } }
querier: { trace_by_id: { external: { endpoint: 'http://127.0.0.1:1' } } }
query_frontend: { trace_by_id: { external_enabled: true }, search: { result_cache_bytes: 1000000 } }
cache:
  caches:
    - { roles: [frontend-search], memcached: { addresses: '127.0.0.1:1' } }
`,
  },
  { target: 'query-frontend', text: '' },
];

function configText(folder: string, { target, text }: (typeof SERVERS)[number]): string {
  const overrides = join(folder, 'overrides.yaml');
  writeFileSync(overrides, 'overrides: {}\n');
  const otlp =
    "otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } } }";
  return `
target: ${target}
backend_scheduler: { local_work_path: '${folder}/work' }
server:
  http_listen_address: 127.0.0.1
  http_listen_port: 0
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: 0
distributor: { receivers: { ${otlp} } }
storage:
  trace: { backend: local, local: { path: '${folder}/blocks' }, wal: { path: '${folder}/wal' } }
overrides: { per_tenant_override_config: '${overrides}' }
${text}`;
}

/** What one server registered, and what it shows at once. */
export interface ServerMetrics {
  readonly target: string;
  readonly facts: readonly MetricFacts[];
  readonly text: string;
}

/** Starts servers of all roles in this process, one after the other. */
export async function liveMetrics(): Promise<readonly ServerMetrics[]> {
  const found: ServerMetrics[] = [];
  for (const server of SERVERS) found.push(await metricsOf(server));
  return found;
}

async function metricsOf(server: (typeof SERVERS)[number]): Promise<ServerMetrics> {
  const folder = mkdtempSync(join(tmpdir(), 'tempo-metrics-'));
  const { config } = loadConfig(rootBlock, {
    file: { name: 'tempo.yaml', text: configText(folder, server) },
  });
  const metrics = new Metrics();
  const app = new App(silentLogger);
  await app.start(
    wire(config, {
      env: undefined,
      logger: silentLogger,
      metrics,
      readiness: () => app.readiness(),
      isServing: () => app.isServing,
      stateOf: (module) => app.stateOf(module),
      requestShutdown: () => {},
    }),
  );
  try {
    const facts = await Promise.all(
      metrics.registered().map(async (metric): Promise<MetricFacts> => {
        const { type } = await metric.get();
        const { name, help, labelNames, upperBounds = [] } = metric;
        const labels = labelNames.filter((label) => label !== 'le').sort();
        return { name, type, labels, bounds: upperBounds, help };
      }),
    );
    return { target: server.target, facts, text: await metrics.text() };
  } finally {
    await app.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of all servers, each name once. */
export function factsOf(servers: readonly ServerMetrics[]): readonly MetricFacts[] {
  const all = servers.flatMap(({ facts }) => facts).map((fact) => [fact.name, fact] as const);
  return [...new Map(all.toReversed()).values()];
}

function rowsOf(file: string): string[][] {
  return readFileSync(`test/metrics/${file}`, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split('\t'));
}

const listOf = (text: string): string[] => (text === '' ? [] : text.split(','));

/** Facts of Tempo, as its own programs tell them. */
export function tempoMetrics(): readonly TempoMetric[] {
  return rowsOf('tempo.tsv').map(([name = '', type = '', labels = '', version = '', , bounds = '']) => ({
    name,
    type,
    labels: listOf(labels),
    version,
    bounds: listOf(bounds).map(Number),
  }));
}

export interface AbsentRule {
  readonly pattern: string;
  readonly reason: string;
}

export function absentRules(): readonly AbsentRule[] {
  return rowsOf('absent.tsv').map(([pattern = '', reason = '']) => ({ pattern, reason }));
}

export function fits({ pattern }: AbsentRule, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

const isOfProcess = (name: string): boolean => name.startsWith('process_') || name.startsWith('nodejs_');

/** The page as it should be. */
export function pageText(servers: readonly ServerMetrics[]): string {
  const tempo = new Set(tempoMetrics().map(({ name }) => name));
  const sorted = [...factsOf(servers)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = sorted.filter(({ name }) => !tempo.has(name) && !isOfProcess(name));
  return `# Metrics

Written by \`npm run reference\` from what running servers register, of one process and of roles
apart; a test compares.

\`GET /metrics\` answers in Prometheus' text format, or in OpenMetrics when asked for it. What has no
labels is there from the start, series with labels from their first value on. \`tenant\` is the tenant,
\`user\` where Tempo calls it so. A process has the metrics of its roles: those of gossip and
of members of rings are there where rings have several processes.

## Tempo's

${table(sorted.filter(({ name }) => tempo.has(name)))}
## Beside them

Names that guides on Tempo use, and what Tempo has no name for.

${table(own)}
## Of the process

${table(sorted.filter(({ name }) => isOfProcess(name)))}
## What Tempo has and this build has not

| name | why |
| --- | --- |
${absentRules()
  .map(({ pattern, reason }) => `| ${code(pattern)} | ${reason} |\n`)
  .join('')}`;
}

function table(facts: readonly MetricFacts[]): string {
  const rows = facts.map(({ name, type, labels, help }) => {
    const shown = labels.map(code).join(' ');
    return `| ${code(name)} | ${type} | ${shown} | ${help.replaceAll('|', '\\|')} |\n`;
  });
  return `| name | type | labels | meaning |\n| --- | --- | --- | --- |\n${rows.join('')}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) {
  const servers = await liveMetrics();
  mkdirSync('docs/reference', { recursive: true });
  writeFileSync(PAGE, pageText(servers));
}
