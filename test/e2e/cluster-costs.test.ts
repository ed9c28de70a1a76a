// What a cluster of three ingesters costs, in a form that a busy machine changes little: how often members
// that have nothing to do wake (and their CPU, within twice its bound), and that queries look at one of three
// copies. `npm run bench:idle` and `npm run bench:replicas` hold the CPU to its bounds.
import assert from 'node:assert/strict';
import t from 'tap';
import { type Layout, startReplicas } from '../bench/layouts.ts';
import { httpExport, until } from '../support/hostile.ts';
import { type Idle, idleFor } from '../support/idle.ts';
import { aTrace, encodeTraces, START_NANO } from '../support/otlp.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const TRACES = 1200;
const TRACES_A_PUSH = 200;
const SPANS = 6;
/** Of one copy; three times would be all of them. */
const SHARE_MAX = 1.5;
const START_SEC = Number(START_NANO / 1_000_000_000n);
const RANGE = `start=${START_SEC - 60}&end=${START_SEC + 60}`;
const SEARCHES = ['{ }', '{ name = "none" }', '{ span.n > 3 } | count() > 100', '{ } >> { name = "none" }'];
const METRICS = ['{ } | rate() by (name)', '{ } | quantile_over_time(duration, .9)'];

const WINDOWS = 3;
const WINDOW_MS = 3000;
/** 47 to 62 a second are usual. */
const WAKES_MAX = 90;
/** 0.4 to 0.85 are usual on a quiet machine, and twice as much beside other tests. */
const CPU_PERCENT_MAX = 2;

const requests = [
  ...SEARCHES.map((q) => `/api/search?q=${encodeURIComponent(q)}&${RANGE}`),
  ...METRICS.map((q) => `/api/metrics/query_range?step=60s&q=${encodeURIComponent(q)}&${RANGE}`),
];

interface Looked {
  readonly inspectedSpans: number;
  /** Of blocks that were looked at in the backend. */
  readonly blockBytes: number;
}

async function ask({ url }: Layout, request: string): Promise<Looked> {
  const response = await fetch(url + request);
  assert.equal(response.headers.get('x-tempo-partial'), null);
  const { metrics } = (await response.json()) as { readonly metrics: Record<string, string | undefined> };
  const { inspectedSpans = 0, totalBlockBytes = 0 } = metrics;
  return { inspectedSpans: Number(inspectedSpans), blockBytes: Number(totalBlockBytes) };
}

t.test('a cluster of three ingesters', async (t) => {
  let started: Layout | undefined;
  t.teardown(() => started?.stop());
  const layout = (started = await startReplicas(testFolder(t), { name: 'replicas', reads: true }));
  const { processes, pids, ingesters } = layout;

  for (let first = 0; first < TRACES; first += TRACES_A_PUSH) {
    const traces = Array.from({ length: TRACES_A_PUSH }, (_, i) => aTrace(first + i + 1, SPANS));
    const { status } = await httpExport(processes.get('distributor')!, encodeTraces(traces.flat()));
    t.equal(status, 200);
  }

  // The least of some: what follows the work before is over in the end.
  const windows: (readonly Idle[])[] = [];
  for (let i = 0; i < WINDOWS; i++) windows.push(await idleFor(WINDOW_MS, pids));
  for (const [i, name] of [...processes.keys()].entries()) {
    const wakes = Math.min(...windows.map((each) => each[i]!.wakes));
    const cpuPercent = Math.min(...windows.map((each) => each[i]!.cpuPercent));
    t.ok(wakes > 0 && wakes <= WAKES_MAX, `${name} wakes ${wakes.toFixed(0)} times a second`);
    t.ok(cpuPercent <= CPU_PERCENT_MAX, `${name} takes ${cpuPercent.toFixed(2)} % of a core`);
  }

  const asked = async (where: string): Promise<void> => {
    for (const request of requests) {
      const share = (await ask(layout, request)).inspectedSpans / (TRACES * SPANS);
      t.ok(share >= 1 && share <= SHARE_MAX, `${where}: ${request} looks at ${share} copies`);
    }
  };
  await asked('recent spans');
  for (const { url } of ingesters) t.ok((await fetch(`${url}/flush`, { method: 'POST' })).ok);
  const blocks = async (): Promise<number> => (await ask(layout, requests[0]!)).blockBytes;
  t.ok(await until(async () => (await blocks()) > 0, 60_000), 'blocks are searched');
  await asked('blocks of each ingester');
});
