// Memory and disk are watched: what is told to the parts, what is refused, and that refusing ends.
import { constants, type PerformanceNodeEntry, PerformanceObserver } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { Admission } from '../../src/app/admission.ts';
import { DiskGuard } from '../../src/app/disk-guard.ts';
import { IdleMemory } from '../../src/app/idle-memory.ts';
import { MemoryGuard } from '../../src/app/memory-guard.ts';
import { ByteLedger } from '../../src/lib/byte-ledger.ts';
import { collectGarbage, collectReleased, markGarbage, noteReleasedBytes } from '../../src/lib/garbage.ts';
import { nextPressure, type Pressure } from '../../src/lib/pressure.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { until } from '../support/hostile.ts';

t.test('pressure has levels, each left a little below where it begins', (t) => {
  const cases: [now: Pressure, share: number, want: Pressure][] = [
    ['calm', 0.74, 'calm'],
    ['calm', 0.75, 'tight'],
    ['calm', 0.95, 'full'],
    ['tight', 0.71, 'tight'],
    ['tight', 0.69, 'calm'],
    ['tight', 0.92, 'full'],
    ['full', 0.88, 'full'],
    ['full', 0.86, 'tight'],
    ['full', 0.5, 'calm'],
  ];
  for (const [now, share, want] of cases) t.equal(nextPressure(now, share), want, `${now} at ${share}`);
  t.end();
});

t.test('a ledger counts up to its limit', (t) => {
  const ledger = new ByteLedger('requests', 100);
  ledger.hold(60);
  t.throws(() => ledger.hold(41), {
    code: 'unavailable',
    message: 'requests hold 60 bytes of at most 100, try again later',
  });
  ledger.hold(40);
  ledger.drop(100);
  t.equal(ledger.bytesHeld, 0);
  t.end();
});

t.test('memory: parts are told, then pushes and queries are refused', async (t) => {
  const metrics = new Metrics();
  const told: Pressure[] = [];
  let processBytes = 500;
  let heads = 300;
  let isAsked = false;
  const memory = new MemoryGuard({
    budgetBytes: 1000,
    parts: { heads: () => heads, scan_caches: () => 100 },
    filling: ['heads'],
    areQueriesRunning: () => isAsked,
    tell: (pressure) => void told.push(pressure),
    logger: silentLogger,
    metrics,
    processBytes: () => processBytes,
  });
  const disk = new DiskGuard({ paths: [], minFreeBytes: 0, metrics });
  const admission = new Admission(memory, disk, metrics);
  t.teardown(() => admission.stop());
  const at = (bytes: number): void => {
    processBytes = bytes;
    memory.sample();
  };
  const push = (): void => admission.admitPush(10);
  const query = (signal?: AbortSignal): Promise<void> => admission.admitQuery('a', signal);
  const refusal = {
    code: 'resource_exhausted',
    message: 'memory budget exceeded: 950 of 1000 bytes are in use, try again later',
    retryAfterMs: 2000,
  };
  at(500);
  t.strictSame(told, [], 'nothing to tell');
  at(800);
  push();
  await query();
  at(950);
  t.throws(push, refusal);
  await t.rejects(query(), refusal);
  t.match(await metrics.text(), /tempo_memory_pressure 2\n/);
  heads = 50;
  push();
  await query();
  isAsked = true;
  const client = new AbortController();
  const begun: string[] = [];
  const left = query(client.signal);
  const waiting = ['first', 'second'].map((name) => query().then(() => begun.push(name)));
  t.match(await metrics.text(), /tempo_memory_waiting_queries 3\n/, 'until queries that run are done');
  client.abort();
  await t.rejects(left, { code: 'cancelled' });
  t.strictSame(begun, []);
  isAsked = false;
  await Promise.all(waiting);
  t.strictSame(begun, ['first', 'second']);
  isAsked = true;
  const many = Array.from({ length: 100 }, () => query());
  isAsked = false;
  await t.rejects(query(), { message: /^100 queries wait for memory/ }, 'it would overtake the others');
  await Promise.all(many);
  isAsked = true;
  const refused = query();
  heads = 300;
  await t.rejects(refused, refusal, 'what is pushed fills memory meanwhile');
  isAsked = false;
  at(600);
  push();
  await query();
  t.match(await metrics.text(), /tempo_memory_waiting_queries 0\n/);
  t.strictSame(told, ['tight', 'full', 'calm']);
  const text = await metrics.text();
  t.match(text, /tempo_memory_budget_bytes 1000\n/);
  t.match(text, /tempo_memory_used_bytes\{part="process"\} 600\n/);
  t.match(text, /tempo_memory_used_bytes\{part="heads"\} 300\n/);
  t.match(text, /tempo_refused_requests_total\{kind="push",reason="memory"\} 1\n/);
  t.match(text, /tempo_refused_requests_total\{kind="push",reason="disk"\} 0\n/);
  t.match(text, /tempo_refused_requests_total\{kind="query",reason="memory"\} 3\n/);
});

t.test('tenants take turns to wait for memory', async (t) => {
  const metrics = new Metrics();
  let isAsked = true;
  const memory = new MemoryGuard({
    budgetBytes: 1000,
    parts: {},
    filling: [],
    areQueriesRunning: () => isAsked,
    tell: () => {},
    logger: silentLogger,
    metrics,
    processBytes: () => 950,
  });
  memory.sample();
  const disk = new DiskGuard({ paths: [], minFreeBytes: 0, metrics });
  const admission = new Admission(memory, disk, metrics);
  t.teardown(() => admission.stop());
  const order: string[] = [];
  const ask = async (tenant: string, name: string): Promise<void> => {
    const message = /^100 queries wait for memory/;
    await admission.admitQuery(tenant).catch((err: unknown) => t.match(err, { message }, name));
    order.push(name);
  };
  const line = Array.from({ length: 100 }, (_, i) => ask('many', `many-${i}`));
  line.push(ask('few', 'few-0'), ask('few', 'few-1'));
  await nextTurn();
  t.strictSame(order, ['many-99', 'many-98'], 'a tenant with few has room');
  t.match(await metrics.text(), /tempo_memory_waiting_queries 100\n/);
  t.match(await metrics.text(), /tempo_refused_requests_total\{kind="query",reason="memory"\} 2\n/);
  isAsked = false;
  await Promise.all(line);
  t.strictSame(order.slice(2, 7), ['many-0', 'few-0', 'many-1', 'few-1', 'many-2'], 'and its turns');
  t.equal(order.length, 102);
});

t.test('disk: pushes are refused below the margin, and at once let in again', async (t) => {
  const metrics = new Metrics();
  const free = new Map([
    ['/log', 100],
    ['/blocks', 100],
  ]);
  const look = (path: string) => {
    const bavail = free.get(path);
    if (bavail === undefined) throw new Error('it is gone');
    return { bavail, bsize: 10, blocks: 1000 };
  };
  const disk = new DiskGuard({ paths: ['/log', '/blocks'], minFreeBytes: 300, metrics, look });
  t.teardown(() => disk.stop());
  const low = (path: string, bytes: number): object => ({
    code: 'unavailable',
    message: `disk of ${path} is almost full: ${bytes} bytes are free, 300 are kept free`,
    retryAfterMs: 5000,
  });
  t.equal(disk.refusal(10_000), undefined, 'a wrong guess is corrected by a look');
  free.set('/blocks', 20);
  t.equal(disk.refusal(300), undefined, 'what is written is counted until the next look');
  t.match(disk.refusal(500), low('/blocks', 200));
  free.set('/blocks', 40);
  t.equal(disk.refusal(10), undefined, 'there is space again');
  free.set('/log', 29);
  t.match(disk.refusal(800), low('/log', 290));
  t.match(await metrics.text(), /tempo_disk_free_bytes\{path="\/log"\} 290\n/);
  t.match(await metrics.text(), /tempo_disk_min_free_bytes\{path="\/log"\} 300\n/);
  free.delete('/log');
  t.equal(disk.refusal(10), undefined, 'what cannot be told refuses nothing');
  const small = new DiskGuard({
    paths: ['/log'],
    minFreeBytes: 300,
    metrics: new Metrics(),
    look: () => ({ bavail: 15, bsize: 10, blocks: 200 }),
  });
  t.teardown(() => small.stop());
  t.equal(small.refusal(10), undefined, 'of a small disk a twentieth is kept free');
});

t.test('a disk that does not answer is asked once', async (t) => {
  const asked = { '/hung': 0, '/good': 0 };
  await new Promise<void>((resolve) => {
    const disk = new DiskGuard({
      paths: Object.keys(asked),
      minFreeBytes: 1,
      metrics: new Metrics(),
      ask: (path, told) => {
        asked[path as keyof typeof asked]++;
        if (path === '/good') told(null, { bavail: 1, bsize: 1, blocks: 1 });
        if (asked['/good'] === 3) resolve();
      },
    });
    t.teardown(() => disk.stop());
    // The timers of the guard keep no process alive.
    const alive = setInterval(() => {}, 1000);
    t.teardown(() => clearInterval(alive));
  });
  t.strictSame(asked, { '/hung': 1, '/good': 3 });
});

t.test('an idle thread collects what was released, and nothing twice', async (t) => {
  const aBuffer = (): WeakRef<SharedArrayBuffer> => new WeakRef(new SharedArrayBuffer(1024));
  collectGarbage();
  const first = aBuffer();
  await nextTurn();
  collectReleased();
  t.ok(first.deref(), 'nothing was released');
  await nextTurn();
  noteReleasedBytes(1024);
  collectReleased();
  t.notOk(first.deref());
  const second = aBuffer();
  await nextTurn();
  collectReleased();
  t.ok(second.deref(), 'that was collected already');
});

t.test('garbage is collected in steps', async (t) => {
  let isGone = false;
  const registry = new FinalizationRegistry(() => (isGone = true));
  registry.register(new SharedArrayBuffer(1024), undefined);
  await nextTurn();
  const kinds = new Set<string>();
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as PerformanceNodeEntry[]) {
      const { kind, flags } = entry.detail as { readonly kind: number; readonly flags: number };
      if (kind === constants.NODE_PERFORMANCE_GC_MAJOR) {
        kinds.add((flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) === 0 ? 'in steps' : 'asked for');
      }
    }
  });
  observer.observe({ entryTypes: ['gc'] });
  markGarbage();
  t.ok(await until(() => isGone), 'without being asked again');
  t.ok(await until(() => kinds.size > 0));
  observer.disconnect();
  // One that is asked for drops compiled code.
  t.strictSame([...kinds], ['in steps']);
});

t.test('an idle process gives back what its allocator keeps', async (t) => {
  const metrics = new Metrics();
  let cpuMicros = 0;
  const idle = new IdleMemory({ logger: silentLogger, metrics, cpuMicros: () => cpuMicros });
  t.teardown(() => idle.stop());
  const given = async (): Promise<number> => {
    const text = String(await metrics.bytes('text'));
    return Number(/^tempo_memory_given_back_bytes_total (\d+)/m.exec(text)![1]);
  };
  // Below the threshold of mmap, and one in a hundred is held: holes all over the allocator's heap.
  const held: Buffer[] = [];
  for (let i = 0; i < 40_000; i++) {
    const buffer = Buffer.allocUnsafeSlow(3000).fill(1);
    if (i % 100 === 0) held.push(buffer);
  }
  for (let i = 0; i < 20; i++, cpuMicros += 51_000) await idle.sample();
  t.equal(await given(), 0, 'not while it has something to do');
  for (let i = 0; i < 6; i++, cpuMicros += 49_000) await idle.sample();
  const first = await given();
  t.ok(first > 8 << 20, `${first} bytes`);
  for (let i = 0; i < 10; i++) await idle.sample();
  t.equal(await given(), first, 'nothing has come on top');
  t.equal(held.length, 400);
});

t.test('an idle process that may start no thread goes on, and counts from the least it had', async (t) => {
  let processBytes = 500 << 20;
  let started = 0;
  const idle = new IdleMemory({
    logger: silentLogger,
    metrics: new Metrics(),
    cpuMicros: () => 0,
    processBytes: () => processBytes,
    startThread: () => {
      started++;
      throw new Error('EAGAIN');
    },
  });
  t.teardown(() => idle.stop());
  const rest = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await idle.sample();
  };
  await rest();
  t.equal(started, 1);
  processBytes = 200 << 20;
  await rest();
  t.equal(started, 1, 'nothing has come on top');
  processBytes = 480 << 20;
  await rest();
  t.equal(started, 2);
});
