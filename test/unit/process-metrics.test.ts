// Delays of the event loop: what a scrape is told of a main thread that was held up.
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { observeProcess } from '../../src/telemetry/process-metrics.ts';

const HELD_MS = 400;

async function delaysOf(metrics: Metrics): Promise<ReadonlyMap<string, number>> {
  const delays = new Map<string, number>();
  for (const line of (await metrics.registry.metrics()).split('\n')) {
    const [, kind, value] = /^nodejs_eventloop_lag_(\w*)seconds (.*)/.exec(line) ?? [];
    if (kind !== undefined) delays.set(kind.replace('_', ''), Number(value));
  }
  return delays;
}

function hold(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

t.test('a scrape tells how long the event loop was held up since the last one', async (t) => {
  const metrics = new Metrics();
  t.teardown(observeProcess(metrics, 'v', 'r'));
  t.ok(
    [...(await delaysOf(metrics)).values()].every((delay) => delay === 0),
    'nothing is known yet',
  );
  await sleep(1000);
  hold(HELD_MS);
  await sleep(120);
  const held = await delaysOf(metrics);
  t.same([...held.keys()].sort(), ['', 'max', 'mean', 'min', 'p50', 'p90', 'p99', 'stddev']);
  const max = held.get('max')!;
  t.ok(max > (HELD_MS - 60) / 1000 && max < 5, `held up for ${HELD_MS} ms, ${max} s are told`);
  const kinds = ['min', 'p50', 'p90', 'p99', 'max'];
  const ordered = kinds.map((kind) => held.get(kind)!);
  t.same(
    ordered,
    [...ordered].sort((a, b) => a - b),
    kinds.join(),
  );
  t.ok(held.get('p50')! < max / 2 && held.get('mean')! < max, 'not all of the time');
  await sleep(120);
  t.ok((await delaysOf(metrics)).get('max')! < max, 'told once');
});
