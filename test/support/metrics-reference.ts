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

function configText(folder: string): string {
  const overrides = join(folder, 'overrides.yaml');
  writeFileSync(overrides, 'overrides: {}\n');
  return `
target: all,backend-scheduler,backend-worker
backend_scheduler: { local_work_path: '${folder}/work' }
server:
  http_listen_address: 127.0.0.1
  http_listen_port: 0
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: 0
distributor:
  receivers:
    otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } } }
storage:
  trace: { backend: local, local: { path: '${folder}/blocks' }, wal: { path: '${folder}/wal' } }
overrides: { per_tenant_override_config: '${overrides}' }
`;
}

/** Starts all of the server in this process and asks it what it registered, and what it shows at once. */
export async function liveMetrics(): Promise<{
  readonly facts: readonly MetricFacts[];
  readonly text: string;
}> {
  const folder = mkdtempSync(join(tmpdir(), 'tempo-metrics-'));
  const { config } = loadConfig(rootBlock, { file: { name: 'tempo.yaml', text: configText(folder) } });
  const metrics = new Metrics();
  const app = new App(silentLogger);
  await app.start(
    wire(config, {
      env: undefined,
      logger: silentLogger,
      metrics,
      readiness: () => app.readiness(),
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
    return { facts, text: await metrics.text() };
  } finally {
    await app.stop();
    rmSync(folder, { recursive: true, force: true });
  }
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
export function pageText(facts: readonly MetricFacts[]): string {
  const tempo = new Set(tempoMetrics().map(({ name }) => name));
  const sorted = [...facts].sort((a, b) => (a.name < b.name ? -1 : 1));
  const own = sorted.filter(({ name }) => !tempo.has(name) && !isOfProcess(name));
  return `# Metrics

Written by \`npm run reference\` from what a running server registers; a test compares.

\`GET /metrics\` answers in Prometheus' text format, or in OpenMetrics when asked for it. What has no
labels is there from the start, series with labels from their first value on. \`tenant\` is the tenant,
\`user\` where Tempo calls it so.

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
  const { facts } = await liveMetrics();
  mkdirSync('docs/reference', { recursive: true });
  writeFileSync(PAGE, pageText(facts));
}
