// Prometheus itself: our metrics as it checks them, our alerts and a guide's as it evaluates them, and a
// server that it scrapes while spans come in and queries are answered.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { parse } from 'yaml';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, searchIds } from '../support/read-api.ts';
import { freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { type AlertCase, ALERT_CASES, GUIDE_CASES, HEALTHY } from './alert-cases.ts';
import { componentPath, runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function rulesOf(file: string): readonly Rule[] {
  const { groups } = parse(readFileSync(file, 'utf8')) as { readonly groups: readonly { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

const inputSeries = (series: Readonly<Record<string, string>>) =>
  Object.entries(series).map(([name, values]) => ({ series: name, values }));

/** What promtool is to find: each alert is raised by its series, and none while all is well. */
function ruleTests(file: string, cases: readonly AlertCase[]) {
  const rules = rulesOf(file);
  const raised = cases.map(({ alert, series, minutes = 60, labels = {} }) => {
    const rule = rules.find((one) => one.alert === alert)!;
    const expanded = Object.entries(rule.annotations).map(([key, text]) => [
      key,
      text.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => labels[label] ?? ''),
    ]);
    const exp = { exp_labels: { ...rule.labels, ...labels }, exp_annotations: Object.fromEntries(expanded) };
    const look = { eval_time: `${minutes}m`, alertname: alert, exp_alerts: [exp] };
    return { interval: '1m', input_series: inputSeries(series), alert_rule_test: [look] };
  });
  const quiet = rules.map(({ alert }) => ({ eval_time: '60m', alertname: alert, exp_alerts: [] }));
  const healthy = { interval: '1m', input_series: inputSeries(HEALTHY), alert_rule_test: quiet };
  return { rule_files: [resolve(file)], evaluation_interval: '1m', tests: [...raised, healthy] };
}

for (const [file, cases] of [
  ['config/alerts.yaml', ALERT_CASES],
  ['test/components/guide-alerts.yaml', GUIDE_CASES],
] as const) {
  t.test(`${file}: promtool finds the rules right, and each raised when it should be`, async (t) => {
    t.same(
      cases.map(({ alert }) => alert),
      rulesOf(file).map(({ alert }) => alert),
      'each has a case',
    );
    t.match(await runComponent('PROMTOOL', ['check', 'rules', file]), /SUCCESS/);
    const tests = join(testFolder(t), 'tests.yaml');
    // JSON is YAML.
    writeFileSync(tests, JSON.stringify(ruleTests(file, cases)));
    t.match(await runComponent('PROMTOOL', ['test', 'rules', tests]), /SUCCESS/);
  });
}

/** Names of Tempo and of prom-client that are not as they should be called. */
const ODD_NAMES = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
  'tempo_query_frontend_bytes_processed_per_second',
  'tempo_receiver_accepted_spans',
  'tempo_receiver_refused_spans',
  'tempodb_backend_bytes_total',
  'tempodb_backend_objects_total',
];

async function push(tempo: RunningTempo, from: number, count: number): Promise<void> {
  const now = BigInt(Date.now()) * 1_000_000n;
  const spans = Array.from({ length: count }, (_, i) =>
    aSpan({ traceId: hexId(from + i + 1, 16), startUnixNano: now, endUnixNano: now + 1000n }),
  );
  const headers = { 'content-type': 'application/x-protobuf' };
  const url = `http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`;
  const answer = await fetch(url, { method: 'POST', headers, body: encodeTraces(spans) });
  if (!answer.ok) throw new Error(`push answered ${answer.status}: ${await answer.text()}`);
}

t.test('promtool finds nothing wrong with our metrics but names that are not ours', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  await push(tempo, 0, 10);
  await searchIds(tempo, '{ }');
  const metrics = await (await tempo.get('/metrics')).text();
  const { code, output } = await checkMetrics(metrics);
  t.equal(code, 3, 'that is how promtool tells of names');
  const named = output.split('\n').filter((line) => line !== '');
  t.same(
    named.filter((line) => !ODD_NAMES.some((name) => line.startsWith(`${name} `))),
    [],
  );
});

function checkMetrics(text: string): Promise<{ code: number | null; output: string }> {
  return new Promise((done, reject) => {
    const child = spawn(componentPath('PROMTOOL'), ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.on('error', reject).on('close', (code) => done({ code, output }));
    child.stdin.end(text);
  });
}

/** Expressions of guides on Tempo that ask for roles we have, and some of our own alerts. */
const EXPRESSIONS = [
  'rate(tempo_distributor_spans_received_total[5m])',
  'tempo_ingester_live_traces',
  'tempo_querier_inflight_search_requests',
  'tempo_ring_members',
  'tempo_ring_members{state="ACTIVE"} == 1',
  'sum(rate(tempo_distributor_push_errors_total[5m])) / sum(rate(tempo_distributor_push_total[5m]))',
  'sum(rate(tempo_ingester_flush_failed_total[5m]))',
  'sum(rate(tempo_compactor_compaction_errors_total[5m])) >= 0',
  'histogram_quantile(0.99, sum(rate(tempo_query_frontend_queries_bucket[5m])) by (le)) >= 0',
  'sum by (route) (rate(tempo_request_duration_seconds_count[5m]))',
  'sum by (le, route) (rate(tempo_request_duration_seconds_bucket{route=~"api_.*"}[5m]))',
  'rate(tempo_receiver_accepted_spans[5m]) > 0',
  'increase(tempo_ingester_blocks_flushed_total[5m]) > 0',
  'tempodb_blocklist_length{tenant="single-tenant"} > 0',
  'tempodb_work_queue_length / tempodb_work_queue_max',
  'process_open_fds / process_max_fds',
  'rate(process_cpu_seconds_total[5m])',
  'tempo_build_info',
];

t.test('a Prometheus that scrapes us has an answer to what guides ask', async (t) => {
  const folder = testFolder(t);
  const tempo = await startTempo(join(folder, 'tempo'));
  t.teardown(() => tempo.kill());
  const prometheus = await startPrometheus(join(folder, 'prometheus'), tempo);
  t.teardown(() => prometheus.stop());
  let asked: readonly string[] = EXPRESSIONS;
  const deadlineMs = performance.now() + 60_000;
  for (let i = 0; asked.length > 0 && performance.now() < deadlineMs; i++) {
    await push(tempo, i * 10, 10);
    await searchIds(tempo, '{ }');
    if (i % 5 === 0) await flush(tempo);
    await pause(300);
    const answers = await Promise.all(asked.map((expr) => prometheus.query(expr)));
    asked = asked.filter((_, k) => answers[k]!.length === 0);
  }
  t.same(asked, [], 'each has data');
  t.equal(await prometheus.lastError(), '', 'and no scrape failed');
});

interface Prometheus {
  readonly query: (expr: string) => Promise<readonly unknown[]>;
  readonly lastError: () => Promise<string>;
  readonly stop: () => void;
}

async function startPrometheus(folder: string, tempo: RunningTempo): Promise<Prometheus> {
  const { http: port } = await freePorts();
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'prometheus.yaml');
  const target = { targets: [`127.0.0.1:${tempo.ports.http}`] };
  const job = {
    job_name: 'tempo',
    scrape_interval: '500ms',
    scrape_timeout: '500ms',
    static_configs: [target],
  };
  writeFileSync(
    config,
    JSON.stringify({ scrape_configs: [job], rule_files: [resolve('config/alerts.yaml')] }),
  );
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const child = spawn(componentPath('PROMETHEUS'), args, { stdio: 'ignore' });
  const ask = async (path: string): Promise<{ readonly data: Record<string, unknown> }> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return (await answer.json()) as { readonly data: Record<string, unknown> };
  };
  const isReady = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isReady())) {
    if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
    await pause(50);
  }
  return {
    query: async (expr) => {
      const { data } = await ask(`/api/v1/query?query=${encodeURIComponent(expr)}`);
      return data['result'] as readonly unknown[];
    },
    lastError: async () => {
      const { data } = await ask('/api/v1/targets');
      const [target] = data['activeTargets'] as readonly { readonly lastError: string }[];
      return target!.lastError;
    },
    stop: () => void child.kill('SIGKILL'),
  };
}
