// Real Tempo finds what the scripts of test/traceql expect, but where docs/decisions/deviations.md says
// otherwise. Each set of spans is a tenant.
import { randomUUID } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { TraceqlError } from '../../src/traceql/error.ts';
import { parse } from '../../src/traceql/parser.ts';
import { encodeTraces, START_NANO } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type AskMetrics, type JsonSeries, readAsked } from '../support/metrics-script.ts';
import {
  type Load,
  readScript,
  readSpans,
  runStep,
  type ScriptStep,
  type Search,
} from '../support/traceql-script.ts';
import { deviationsOf } from './deviation-rules.ts';
import { startReal, until } from './programs.ts';
import { testFolder } from '../support/test-folder.ts';

const FOLDER = new URL('../traceql/', import.meta.url);
const START_SEC = Number(START_NANO / 1_000_000_000n);
const TIMEOUT_MS = 300_000;
/** Steps of an entry that the rules do not see, by its heading: Tempo answers them otherwise. */
const OTHERWISE: Readonly<Record<string, readonly string[]>> = {
  Powers: ['{ 2 ^ 3 = 8 }', '{ 2 ^ 3 ^ 2 = 512 }'],
  'Arithmetic with arrays': [
    '{ span.n * 2 > 1 }',
    '{ span.is != span.is }',
    '{ span.is * 2 = 8 }',
    '{ 10 - span.is = 8 }',
    '{ span.p + span.q = 6 }',
    '{ span.p + span.q = 14 }',
  ],
  'Groups by zero': ['{ } | count_over_time() by (span.f)'],
  'Averages of negative integers': ['{ span.least != nil } | avg(span.least) < -9e18'],
  'Aggregates of several types': [
    '{ } | avg(span.p) = 3.0',
    '{ } | max(span.p) = 4',
    '{ } | sum(span.q) = 8.5',
    '{ } | avg(span.q) < 3',
  ],
  'The least integer': [
    '{ span.small = -9223372036854775808 }',
    '{ span.small + -9223372036854775808 = 0 }',
    '{ span.small != nil } | min(span.small) = -9223372036854775808',
  ],
  'Relations in traces without a root': [
    '{ name = "a" } !>> { }',
    '{ name = "c" } !<< { }',
    '{ name = "c" } !< { }',
    '{ name = "a" } !~ { }',
  ],
};
const OTHERWISE_OF = new Map(
  Object.entries(OTHERWISE).flatMap(([heading, all]) => all.map((query) => [query, heading] as const)),
);
/** Those that would end Tempo's ingester, and what only 3.x allows behind a function. */
const NOT_ASKED: ReadonlySet<string> = new Set(['{ span.i / 2 = 1 / 0 }', '{ } | rate() > "x"']);
const ENTRIES = readFileSync(new URL('../../docs/decisions/deviations.md', import.meta.url), 'utf8');

const files = readdirSync(FOLDER).toSorted();
const scripts = files.map((file) => ({
  file,
  steps: readScript(readFileSync(new URL(file, FOLDER), 'utf8')),
}));
const tenants = new Map<Load, string>();
for (const { load } of scripts.flatMap(({ steps }) => steps)) {
  if (!tenants.has(load)) tenants.set(load, `load-${tenants.size}`);
}

/** Samples are compared with numbers from 3.x on. */
function isOf3({ kind, query }: ScriptStep): boolean {
  return kind !== 'eval_fail' && parse(query).second.some((stage) => stage.kind === 'samples');
}

/** Tempo asks blocks with one replica for metrics, and others for searches. */
function copyForMetrics(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name, 'meta.json');
    if (!existsSync(path)) continue;
    const meta = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    const blockID = randomUUID();
    cpSync(join(folder, name), join(folder, blockID), {
      recursive: true,
      filter: (from) => !from.endsWith('meta.json'),
    });
    const copy = JSON.stringify({ ...meta, blockID, replicationFactor: 1 });
    writeFileSync(join(folder, blockID, 'meta.json'), copy);
  }
}

/** Not compare(), whose counts differ in many ways: `random-metrics.test.ts` compares what is alike. */
function applies(query: string): boolean {
  try {
    const parsed = parse(query);
    return parsed.metrics?.kind !== 'compare' && deviationsOf(parsed).headings.size === 0;
  } catch (error) {
    if (error instanceof TraceqlError) return true;
    throw error;
  }
}

/** Words of a line in any order: Tempo shows attributes in another. */
function unordered(lines: readonly string[]): string[] {
  return lines
    .map((line) =>
      line
        .split(/ (?=\S+=)/)
        .toSorted()
        .join(' '),
    )
    .toSorted();
}

t.setTimeout(TIMEOUT_MS);
await t.test('scripts', { timeout: TIMEOUT_MS }, async (t) => {
  const real = await startReal(testFolder(t), {}, ['-multitenancy.enabled=true']);
  t.teardown(() => real.kill());
  for (const [load, tenant] of tenants) {
    const response = await fetch(`http://127.0.0.1:${real.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': tenant },
      body: Buffer.from(encodeTraces(readSpans(load))),
    });
    t.ok(response.ok);
    await response.body?.cancel();
  }
  const metrics =
    (tenant: string): AskMetrics =>
    async ({ text, startUnixNano, endUnixNano, stepNanos, isInstant, exemplarsMax }) => {
      const [startSec, endSec, stepSec] = [startUnixNano, endUnixNano, stepNanos].map((nanos) =>
        Number(nanos / 1_000_000_000n),
      ) as [number, number, number];
      const params = new URLSearchParams({ q: text, end: String(endSec) });
      // a range begins a step earlier than it is asked for
      params.set('start', String(isInstant ? startSec : startSec + stepSec));
      if (!isInstant) params.set('step', `${stepSec}s`);
      params.set('exemplars', String(exemplarsMax));
      const url = `${real.url}/api/metrics/${isInstant ? 'query' : 'query_range'}?${params.toString()}`;
      const response = await fetch(url, { headers: { 'x-scope-orgid': tenant } });
      const body = await response.text();
      if (response.status !== 200) throw new Error(body);
      return (JSON.parse(body) as { readonly series?: readonly JsonSeries[] }).series ?? [];
    };
  const search =
    (tenant: string): Search =>
    async (q) => {
      const params = new URLSearchParams({ q, limit: '1000', spss: '1000' });
      params.set('start', String(START_SEC - 60));
      params.set('end', String(START_SEC + 3600));
      const response = await fetch(`${real.url}/api/search?${params.toString()}`, {
        headers: { 'x-scope-orgid': tenant },
      });
      const text = await response.text();
      if (response.status !== 200) throw new Error(text);
      const { traces = [] } = JSON.parse(text) as { traces?: readonly unknown[] };
      return traces.map((trace) => new TextEncoder().encode(JSON.stringify(trace)));
    };
  await flush(real);
  for (const tenant of tenants.values()) {
    await until(`blocks of ${tenant}`, async () => (await search(tenant)('{ }')).length > 0);
  }
  for (const tenant of tenants.values()) copyForMetrics(join(real.data, 'blocks', tenant));
  const ofAll = readAsked('eval_instant', '1m { } | count_over_time()');
  const askedOfMetrics = new Set(
    scripts.flatMap(({ steps }) => steps.flatMap(({ asked, load }) => (asked ? [tenants.get(load)!] : []))),
  );
  for (const tenant of askedOfMetrics) {
    await until(`metrics of ${tenant}`, async () => (await metrics(tenant)(ofAll)).length > 0);
  }
  const build = await fetch(`${real.url}/api/status/buildinfo`);
  const isOf2 = ((await build.json()) as { readonly version: string }).version.startsWith('2');
  const shown = new Map(Object.keys(OTHERWISE).map((heading) => [heading, [] as boolean[]]));
  for (const { file, steps } of scripts) {
    await t.test(file, async (t) => {
      for (const step of steps.filter(({ query }) => applies(query) && !NOT_ASKED.has(query))) {
        if (isOf2 && isOf3(step)) continue;
        const tenant = tenants.get(step.load)!;
        const got = await runStep(step, { search: search(tenant), metrics: metrics(tenant) });
        const what = `line ${step.line}: ${step.query}`;
        const heading = OTHERWISE_OF.get(step.query);
        if (heading !== undefined) {
          t.ok(ENTRIES.includes(`\n### ${heading}\n`), heading);
          shown.get(heading)!.push(JSON.stringify(got) !== JSON.stringify(step.expected));
        } else if (step.kind === 'eval_fail') t.ok(got[0]?.includes(step.expected[0]!), what, { found: got });
        else t.same(unordered(got), unordered(step.expected), what);
      }
    });
  }
  for (const [heading, differ] of shown) {
    t.ok(differ.includes(true), `${heading}: Tempo answers otherwise in ${differ.length} steps`);
  }
});
