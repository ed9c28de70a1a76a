// Every metric of Tempo is here with its type, labels and buckets, or there is a reason why not; and the
// page of metrics is what the server registers.
import { globSync, readFileSync } from 'node:fs';
import t from 'tap';
import {
  absentRules,
  factsOf,
  fits,
  liveMetrics,
  type MetricFacts,
  PAGE,
  pageText,
  type TempoMetric,
  tempoMetrics,
} from '../support/metrics-reference.ts';

const servers = await liveMetrics();
const { text } = servers[0]!;
const ours = new Map(factsOf(servers).map((metric) => [metric.name, metric]));
const rules = absentRules();

function differences(tempo: TempoMetric, own: MetricFacts): string[] {
  const found: string[] = [];
  if (own.type !== tempo.type) found.push(`type ${own.type}, Tempo ${tempo.type}`);
  const labels = tempo.labels.join(',');
  if (own.labels.join(',') !== labels) found.push(`labels ${own.labels.join(',')}, Tempo ${labels}`);
  const isSame =
    own.bounds.length === tempo.bounds.length &&
    own.bounds.every((bound, i) => Math.abs(bound - tempo.bounds[i]!) <= 1e-9 * bound);
  if (tempo.bounds.length > 0 && !isSame)
    found.push(`buckets ${own.bounds.join()}, Tempo ${tempo.bounds.join()}`);
  return found;
}

t.test('each of Tempo’s metrics is here as it is there, or has a reason', (t) => {
  for (const tempo of tempoMetrics()) {
    const own = ours.get(tempo.name);
    const rule = rules.find((one) => fits(one, tempo.name));
    if (own === undefined) t.ok(rule, `${tempo.name}: absent without a reason`);
    else {
      t.notOk(rule, `${tempo.name}: is here, and has a reason why not`);
      t.same(differences(tempo, own), [], tempo.name);
    }
  }
  t.end();
});

t.test('each reason is of a metric of Tempo', (t) => {
  const names = tempoMetrics().map(({ name }) => name);
  for (const rule of rules)
    t.ok(
      names.some((name) => fits(rule, name)),
      rule.pattern,
    );
  t.end();
});

t.test('no metric of the sources is left out', (t) => {
  const files = globSync('src/**/*.ts').map((path) => readFileSync(path, 'utf8'));
  const named = files.flatMap((source) => [...source.matchAll(/'(tempo(?:db)?_[a-z_]+[a-z])'/g)]);
  const names = [...new Set(named.map(([, name]) => name!))];
  t.ok(names.length > 150, `${names.length}`);
  t.same(
    names.filter((name) => !ours.has(name) && !rules.some((rule) => fits(rule, name))),
    [],
  );
  t.end();
});

t.test('metrics without labels, and names that alerts of guides use, are there from the start', (t) => {
  const samplesOf = (page: string): ReadonlySet<string> =>
    new Set(page.split('\n').map((line) => line.replace(/[ {].*/, '')));
  for (const { target, facts: registered, text: page } of servers) {
    const samples = samplesOf(page);
    const unlabelled = registered
      .filter(({ labels }) => labels.length === 0)
      .map(({ name, type }) => (type === 'histogram' || type === 'summary' ? `${name}_count` : name));
    t.ok(unlabelled.length > 20, target);
    t.same(
      unlabelled.filter((name) => !samples.has(name)),
      [],
      target,
    );
  }
  const samples = samplesOf(text);
  const named = [
    'tempo_querier_inflight_search_requests',
    'tempo_distributor_push_total',
    'tempo_distributor_push_errors_total',
    'tempo_ingester_flush_failed_total',
    'tempo_compactor_compaction_errors_total',
    'tempo_query_frontend_queries_bucket',
    'tempo_ring_members',
    'tempo_limits_defaults',
    'tempo_build_info',
    'tempo_runtime_config_last_reload_successful',
    'tempo_runtime_config_hash',
    'tempo_distributor_ingester_append_failures_total',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_start_time_seconds',
    'process_open_fds',
    'process_max_fds',
  ];
  t.same(
    named.filter((name) => !samples.has(name)),
    [],
  );
  t.match(text, /^tempo_ring_members\{name="ingester",state="ACTIVE"\} 1$/m);
  t.match(text, /^tempo_ring_members\{name="ingester",state="Unhealthy"\} 0$/m);
  t.end();
});

t.test('alerts and the dashboard ask for metrics that are here', (t) => {
  for (const path of ['config/alerts.yaml', 'config/dashboards/tempo.json']) {
    const asked = readFileSync(path, 'utf8').match(/\b(tempo|tempodb|process)_[a-z_]+/g) ?? [];
    t.ok(asked.length > 20, path);
    t.same(
      asked.filter((name) => !ours.has(name.replace(/_(bucket|count|sum)$/, '')) && !ours.has(name)),
      [],
      path,
    );
  }
  t.end();
});

t.test(`${PAGE} is what the server registers`, (t) => {
  t.equal(readFileSync(PAGE, 'utf8'), pageText(servers), 'run `npm run reference`');
  t.end();
});
