// The compactor: which blocks it chooses, what it does with them, and what is left when something fails.
import { EventEmitter, once } from 'node:events';
import { readdirSync } from 'node:fs';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import type { BlockMeta } from '../../src/block/meta.ts';
import { metaToBytes } from '../../src/block/meta-json.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { startThread, type StartThread } from '../../src/lib/start-thread.ts';
import { Compactor, type CompactorOptions } from '../../src/modules/compactor/index.ts';
import type { ObjectInfo } from '../../src/objectstore/objectstore.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { BlockJoiner, type BlockJoinerOptions } from '../../src/store/block-joiner.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import { type CompactionLimits, compactionJobs, jobKey } from '../../src/store/compaction-select.ts';
import { showOutstanding } from '../../src/store/compaction-metrics.ts';
import type { CompactionJob } from '../../src/store/compaction-messages.ts';
import { CompactionThread } from '../../src/store/compaction-thread.ts';
import { Poller } from '../../src/store/poller.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { expectedRows, readRows, writeBlock } from '../support/block-rows.ts';
import { FewThreads } from '../support/few-threads.ts';
import { aTrace, type TestSpan } from '../support/otlp.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(240_000);

const HOUR = 3600;
const NOW_SEC = 1_000_000 * HOUR + 1800;
const NOW_MS = NOW_SEC * 1000;
const TENANT = 'team';
const LIMITS: CompactionLimits = {
  windowMs: HOUR * 1000,
  objectsMax: 1000,
  blockBytesMax: 1e9,
  formats: new Set(['vParquet4']),
};

function aMeta(name: string, over: Partial<BlockMeta> = {}): BlockMeta {
  return {
    format: 'vParquet4',
    blockId: name,
    tenantId: TENANT,
    startSec: NOW_SEC - 100,
    endSec: NOW_SEC,
    totalObjects: 10,
    sizeBytes: 1000,
    compactionLevel: 0,
    totalRecords: 1,
    bloomShards: 1,
    footerSizeBytes: 100,
    dedicatedColumns: [],
    replicationFactor: 0,
    ...over,
  };
}

t.test('which blocks', (t) => {
  const old = NOW_SEC - 30 * HOUR;
  const cases: readonly {
    readonly name: string;
    readonly blocks: readonly BlockMeta[];
    readonly limits?: Partial<CompactionLimits>;
    readonly want: readonly string[];
  }[] = [
    { name: 'none', blocks: [], want: [] },
    { name: 'one', blocks: [aMeta('a')], want: [] },
    { name: 'two', blocks: [aMeta('a'), aMeta('b')], want: ['a b'] },
    {
      name: 'at most four, small ones first',
      blocks: [5, 3, 1, 2, 4, 6].map((n) => aMeta(String(n), { totalObjects: n })),
      want: ['1 2 3 4', '5 6'],
    },
    {
      name: 'of one level while their time is recent',
      blocks: [aMeta('a'), aMeta('b', { compactionLevel: 1 }), aMeta('c', { compactionLevel: 1 })],
      want: ['b c'],
    },
    {
      name: 'of all levels once it is not',
      blocks: [aMeta('a', { endSec: old }), aMeta('b', { endSec: old, compactionLevel: 1 })],
      want: ['a b'],
    },
    {
      name: 'not in the window between',
      blocks: [1, 2].map((n) => aMeta(String(n), { endSec: NOW_SEC - 24 * HOUR })),
      want: [],
    },
    { name: 'of one window', blocks: [aMeta('a'), aMeta('b', { endSec: NOW_SEC - HOUR })], want: [] },
    {
      name: 'of one replication factor',
      blocks: [aMeta('a'), aMeta('b', { replicationFactor: 1 })],
      want: [],
    },
    {
      name: 'of one format, which can be written',
      blocks: ['vParquet3', 'vParquet3', 'vParquet4'].map((format, i) => aMeta(String(i), { format })),
      want: [],
    },
    {
      name: 'of one list of dedicated columns',
      blocks: [
        aMeta('a', { dedicatedColumns: [{ scope: 'span', name: 'x', type: 'string', options: [] }] }),
        aMeta('b'),
        aMeta('c'),
      ],
      want: ['b c'],
    },
    {
      name: 'not too many traces',
      blocks: [1, 2, 3].map((n) => aMeta(String(n), { totalObjects: 400 })),
      want: ['1 2'],
    },
    {
      name: 'not too large',
      blocks: [1, 2, 3].map((n) => aMeta(String(n), { sizeBytes: 400 })),
      limits: { blockBytesMax: 799 },
      want: [],
    },
  ];
  for (const { name, blocks, limits, want } of cases) {
    const jobs = [...compactionJobs(blocks, { ...LIMITS, ...limits }, NOW_MS)];
    t.strictSame(
      jobs.map((inputs) => inputs.map(({ blockId }) => blockId).join(' ')),
      want,
      name,
    );
  }
  t.end();
});

t.test('whose a job is, by the text that Tempo hashes', (t) => {
  const hours = NOW_SEC / HOUR - 0.5;
  const cases: readonly { readonly over: Partial<BlockMeta>; readonly want: string }[] = [
    { over: {}, want: `team-0-${hours}-0` },
    { over: { compactionLevel: 3, replicationFactor: 1 }, want: `team-3-${hours}-1` },
    { over: { endSec: NOW_SEC - 23 * HOUR, compactionLevel: 2 }, want: `team-2-${hours - 23}-0` },
    { over: { endSec: NOW_SEC - 25 * HOUR, compactionLevel: 2 }, want: `team-${hours - 25}-0` },
  ];
  for (const { over, want } of cases) t.equal(jobKey(aMeta('a', over), LIMITS, NOW_MS), want);
  const levels = [0, 1, 2, 3].flatMap((compactionLevel) =>
    [1, 2].map((n) => aMeta(`${compactionLevel} ${n}`, { compactionLevel })),
  );
  const jobs = [...compactionJobs(levels, { ...LIMITS, levelMax: 2 }, NOW_MS)];
  t.strictSame(
    jobs.map(([first]) => first?.compactionLevel),
    [0, 1],
    'and none of the highest level',
  );
  t.end();
});

/** A local backend that fails when it is told to. */
class FaultyStore extends LocalStore {
  failing: string | undefined;
  onStat: (key: string) => void = () => undefined;
  onWriteFile: (key: string) => void = () => undefined;

  private check(call: string): void {
    if (this.failing === call) throw new TempoError('unavailable', `${call} fails`);
  }

  override async stat(key: string): Promise<ObjectInfo> {
    this.onStat(key);
    return super.stat(key);
  }

  override async writeFile(key: string, path: string): Promise<void> {
    this.check('writeFile');
    this.onWriteFile(key);
    await super.writeFile(key, path);
    if (this.failing !== 'half' || !key.endsWith('data.parquet')) return;
    const whole = new Uint8Array(await super.read(key));
    await super.write(key, whole.subarray(0, whole.length >> 1));
  }

  override async copy(from: string, to: string): Promise<void> {
    this.check('copy');
    await super.copy(from, to);
  }
}

async function setUp(
  t: Test,
  over: Partial<CompactorOptions> = {},
  ofJoiner: Partial<BlockJoinerOptions> = {},
  start?: StartThread,
  idleMs?: number,
) {
  const folder = testFolder(t);
  const backend = new FaultyStore(`${folder}/backend`);
  await backend.prepare();
  const scratchPath = `${folder}/scratch`;
  const bloom = { falsePositive: 0.01, shardSizeBytes: 102_400 };
  const thread = new CompactionThread(
    { scratchPath, backendPath: `${folder}/backend`, bloom, valueFilterBytesMax: 65_536 },
    () => undefined,
    start,
    idleMs,
  );
  const blocklist = new Blocklist();
  const metrics = new Metrics();
  const clock = { nowMs: NOW_MS };
  const discarded: unknown[] = [];
  const joiner = new BlockJoiner({
    blocklist,
    backend,
    scratch: new LocalStore(scratchPath),
    scratchPath,
    thread,
    traceBytesMaxOf: () => 0,
    onCompacted: (meta, inputs) => blocklist.replaced(meta, inputs, clock.nowMs),
    discarded: (...what) => discarded.push(what),
    logger: silentLogger,
    metrics,
    nowMs: () => clock.nowMs,
    ...ofJoiner,
  });
  const outstanding = new Map<string, number>();
  showOutstanding(metrics, () => outstanding);
  const compactor = new Compactor({
    blocklist,
    joiner,
    outstanding,
    cycleMs: 30_000,
    tenantTimeMsMax: 60_000,
    limitsOf: () => LIMITS,
    refusal: () => undefined,
    logger: silentLogger,
    nowMs: () => clock.nowMs,
    ...over,
  });
  t.teardown(() => compactor.stop());
  const put = async (blockId: string, spans: readonly TestSpan[]): Promise<void> => {
    const { meta, objects } = writeBlock([spans]);
    const own: BlockMeta = { ...meta, blockId, tenantId: TENANT, startSec: NOW_SEC, endSec: NOW_SEC };
    for (const [name, bytes] of objects) {
      const written = name === 'meta.json' ? metaToBytes(own) : bytes;
      await backend.write(`${TENANT}/${blockId}/${name}`, written);
    }
    blocklist.added(own);
  };
  const live = (): string[] => [...blocklist.tenant(TENANT).live.keys()];
  const polled = async () => {
    const list = new Blocklist();
    const options = { store: backend, concurrency: 4, tenantConcurrency: 1, nowMs: () => clock.nowMs };
    await new Poller({ ...options, blocklist: list, logger: silentLogger }).poll();
    return list.tenant(TENANT);
  };
  const rows = async (blockId: string) => {
    const data = new Uint8Array(await backend.read(`${TENANT}/${blockId}/data.parquet`));
    const meta = blocklist.tenant(TENANT).live.get(blockId)!;
    return readRows({ meta, objects: new Map([['data.parquet', data.slice()]]) });
  };
  const text = async (): Promise<string> => (await metrics.bytes()).toString();
  return { compactor, backend, blocklist, clock, discarded, folder, joiner, live, polled, put, rows, text };
}

t.test('a thread that ends takes no job of the next one with it', async (t) => {
  const workers: EventEmitter[] = [];
  const start = (() => {
    const worker = Object.assign(new EventEmitter(), { postMessage: () => {}, terminate: async () => 0 });
    workers.push(worker);
    return worker;
  }) as unknown as StartThread;
  const data = { scratchPath: '', backendPath: '/', bloom: { falsePositive: 0.01, shardSizeBytes: 1 } };
  const thread = new CompactionThread({ ...data, valueFilterBytesMax: 0 }, () => undefined, start);
  const job = {} as CompactionJob;
  const first = thread.run(job);
  workers[0]!.emit('message', { kind: 'compacted', id: 1, result: 'first' });
  t.equal(await first, 'first');
  await thread.finish();
  const second = thread.run(job);
  workers[0]!.emit('exit', 1);
  workers[1]!.emit('message', { kind: 'compacted', id: 2, result: 'second' });
  t.equal(await second, 'second');
  const third = thread.run(job);
  workers[1]!.emit('exit', 1);
  await t.rejects(third, { message: 'the thread that compacts ended' });
});

const ID = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

async function putThree(put: (blockId: string, spans: readonly TestSpan[]) => Promise<void>) {
  const spans = [1, 2, 3, 4].flatMap((id) => aTrace(id, 6));
  for (const n of [0, 1, 2]) {
    await put(
      ID(n),
      spans.filter((_, i) => i % 3 === n || i % 5 === n),
    );
  }
  return spans;
}

t.test('three blocks become one', async (t) => {
  const { compactor, blocklist, folder, live, polled, put, rows, text } = await setUp(t);
  const spans = await putThree(put);
  await compactor.pass();
  const [made, ...others] = live();
  t.strictSame(others, []);
  t.strictSame(await rows(made!), expectedRows(spans));
  t.strictSame([...blocklist.tenant(TENANT).compacted.keys()], [ID(0), ID(1), ID(2)]);
  t.ok(blocklist.isReplaced(TENANT, ID(0)));
  const found = await polled();
  t.strictSame([...found.live.keys()], [made]);
  t.strictSame(found.live.get(made!), blocklist.tenant(TENANT).live.get(made!));
  t.strictSame([...found.compacted.keys()].toSorted(), [ID(0), ID(1), ID(2)]);
  t.strictSame(readdirSync(`${folder}/scratch`), []);
  const shown = await text();
  t.match(shown, 'tempodb_compaction_blocks_total{level="0"} 3');
  t.match(shown, 'tempodb_compaction_objects_written_total{level="0"} 4');
  t.match(shown, 'tempodb_compaction_objects_combined_total{level="0"} 4');
  t.match(shown, 'tempodb_compaction_outstanding_blocks{tenant="team"} 0');
  t.match(shown, 'tempodb_compaction_errors_total 0');
});

t.test('the thread stays for the next blocks, and ends when none come', async (t) => {
  const exits: Promise<unknown>[] = [];
  const start: StartThread = (url, options) => {
    const worker = startThread(url, options);
    exits.push(once(worker, 'exit'));
    return worker;
  };
  const patient = await setUp(t, {}, {}, start);
  await putThree(patient.put);
  await patient.compactor.pass();
  await patient.put(ID(3), aTrace(9, 3));
  await patient.put(ID(4), aTrace(10, 3));
  await patient.compactor.pass();
  t.equal(patient.live().length, 1);
  t.equal(exits.length, 1, 'one for both passes');
  await patient.compactor.stop();
  const { compactor, live, put } = await setUp(t, {}, {}, start, 1);
  await putThree(put);
  await compactor.pass();
  await exits[1];
  await put(ID(5), aTrace(11, 3));
  await put(ID(6), aTrace(12, 3));
  await compactor.pass();
  t.equal(live().length, 1);
  t.equal(exits.length, 3);
});

t.test('blocks for which no thread may start are joined the next time', async (t) => {
  const few = new FewThreads(1);
  const { compactor, clock, live, put, rows, text } = await setUp(t, {}, {}, few.start);
  const spans = await putThree(put);
  await compactor.pass();
  t.strictSame(live(), [ID(0), ID(1), ID(2)]);
  t.match(await text(), 'tempodb_compaction_errors_total 1');
  clock.nowMs += 120_000;
  await compactor.pass();
  t.strictSame(await rows(live()[0]!), expectedRows(spans));
  t.equal(live().length, 1);
  t.equal(few.refused, 1);
});

t.test('the thread ends before a large block is uploaded, or when it cannot be made', async (t) => {
  const seen: string[] = [];
  let isFailing = false;
  const thread: BlockJoinerOptions['thread'] = {
    run: async ({ inputs, blockId }) => {
      seen.push('run');
      if (isFailing) throw new TempoError('block_corrupt', 'no');
      const meta = aMeta(blockId, { sizeBytes: 4, compactionLevel: 1 });
      const scratch = new LocalStore(`${folder}/scratch`);
      for (const name of ['data.parquet', 'meta.json']) {
        const bytes = name === 'meta.json' ? metaToBytes(meta) : Buffer.from('data');
        await scratch.write(`${TENANT}/${blockId}/${name}`, bytes);
      }
      const checksums = { columns: [], values: new Int32Array(0) };
      const counts = { combined: 0, duplicateSpans: 0, cutTraces: 0, cutSpans: 0 };
      return { meta, spans: inputs.length, checksums, ...counts };
    },
    rest: () => undefined,
    finish: async () => void seen.push('end'),
    abandon: async () => undefined,
    stop: async () => undefined,
  };
  const { backend, blocklist, folder, joiner } = await setUp(t, {}, { thread });
  backend.onWriteFile = (key) => void seen.push(key.slice(key.lastIndexOf('/') + 1));
  const join = async (sizeBytes: number): Promise<readonly string[]> => {
    seen.length = 0;
    const inputs = [aMeta(ID(1), { sizeBytes }), aMeta(ID(2), { sizeBytes })];
    for (const meta of inputs) {
      await backend.write(`${TENANT}/${meta.blockId}/meta.json`, metaToBytes(meta));
      blocklist.added(meta);
    }
    await joiner.join(TENANT, inputs).catch(() => seen.push('failed'));
    return [...seen];
  };
  t.strictSame(await join(100e6), ['run', 'data.parquet', 'meta.json']);
  t.strictSame(await join(140e6), ['run', 'end', 'data.parquet', 'meta.json']);
  isFailing = true;
  t.strictSame(await join(140e6), ['run', 'end', 'failed']);
});

t.test('a backend that fails', async (t) => {
  const { compactor, backend, blocklist, clock, live, polled, put, rows, text } = await setUp(t);
  const spans = await putThree(put);
  const three = [ID(0), ID(1), ID(2)];
  backend.failing = 'writeFile';
  await compactor.pass();
  t.strictSame(live(), three);
  t.strictSame((await backend.listFolders(TENANT)).toSorted(), three, 'nothing is left of the new block');
  t.match(await text(), 'tempodb_compaction_errors_total 1');
  t.match(await text(), 'tempodb_compaction_outstanding_blocks{tenant="team"} 3');
  clock.nowMs += 120_000;
  backend.failing = 'half';
  await compactor.pass();
  t.strictSame(live(), three);
  t.equal((await polled()).live.size, 3, 'half of a block counts for nothing');
  t.match(await text(), 'tempodb_compaction_errors_total 2');
  backend.failing = undefined;
  await compactor.pass();
  t.strictSame(live(), three, 'they are left alone for a while');
  clock.nowMs += 120_000;
  backend.failing = 'copy';
  await compactor.pass();
  const [made, ...others] = live();
  t.strictSame(others, []);
  t.strictSame(await rows(made!), expectedRows(spans));
  t.equal((await polled()).live.size, 4, 'the inputs are not marked yet');
  backend.failing = undefined;
  await compactor.pass();
  t.strictSame([...(await polled()).live.keys()], [made]);
  t.equal(blocklist.tenant(TENANT).compacted.size, 3);
});

t.test('what happens to inputs before they are marked', async (t) => {
  const { compactor, backend, blocklist, live, polled, put } = await setUp(t);
  const spans = await putThree(put);
  backend.failing = 'copy';
  await compactor.pass();
  const [made] = live();
  for (const n of [0, 1]) {
    await backend.deleteFolder(`${TENANT}/${ID(n)}`);
    blocklist.deleted(TENANT, ID(n));
  }
  await put(ID(1), spans);
  backend.failing = undefined;
  await compactor.pass();
  const left = (await backend.listFolders(TENANT)).toSorted();
  t.strictSame(left, [ID(1), ID(2), made!].toSorted(), 'one that retention has deleted does not come back');
  const { live: found, compacted } = await polled();
  t.strictSame(
    [...found.keys()].toSorted(),
    [ID(1), made!].toSorted(),
    'one that was put back by hand counts',
  );
  t.strictSame([...compacted.keys()], [ID(2)]);
});

t.test('a block that is damaged', async (t) => {
  const { compactor, backend, live, put } = await setUp(t);
  await putThree(put);
  const data = new Uint8Array(await backend.read(`${TENANT}/${ID(1)}/data.parquet`));
  data.fill(0, 500, 600);
  await backend.write(`${TENANT}/${ID(1)}/data.parquet`, data);
  await compactor.pass();
  t.strictSame(live().slice(0, -1), [ID(1)], 'the others became one');
  t.equal((await backend.listFolders(TENANT)).length, 4);
});

t.test('the others are compacted without a block that is damaged', async (t) => {
  const { compactor, backend, clock, live, put, rows } = await setUp(t);
  const spans = await putThree(put);
  await put(ID(3), aTrace(9, 6));
  const key = `${TENANT}/${ID(3)}/data.parquet`;
  const data = new Uint8Array(await backend.read(key));
  data.fill(0, 4, 400);
  await backend.write(key, data);
  await compactor.pass();
  clock.nowMs += 1000;
  await compactor.pass();
  const [kept, made, ...others] = live();
  t.strictSame([kept, ...others], [ID(3)]);
  t.strictSame(await rows(made!), expectedRows(spans));
});

t.test('what is not compacted', async (t) => {
  const cases: readonly { readonly name: string; readonly over: Partial<CompactorOptions> }[] = [
    { name: 'blocks of a tenant that has it switched off', over: { limitsOf: () => undefined } },
    { name: 'anything while memory is short', over: { refusal: () => 'memory is short' } },
    { name: 'anything when the tenant has no time', over: { tenantTimeMsMax: 0 } },
  ];
  for (const { name, over } of cases) {
    const { compactor, live, put } = await setUp(t, over);
    await putThree(put);
    await compactor.pass();
    t.equal(live().length, 3, name);
  }
});

t.test('traces that would be too large', async (t) => {
  const { compactor, discarded, put, text } = await setUp(t, {}, { traceBytesMaxOf: () => 100 });
  await put(ID(0), aTrace(1, 6).slice(0, 4));
  await put(ID(1), aTrace(1, 6).slice(4));
  await compactor.pass();
  t.strictSame(discarded, [[TENANT, 'trace_too_large_to_compact', 2]]);
  t.match(await text(), 'tempodb_compaction_objects_combined_total{level="0"} 0');
});

t.test('compactors that share the jobs', async (t) => {
  const asked = new Set<string>();
  const lines: string[] = [];
  let isOwn = (): boolean => false;
  const owns = (key: string): boolean => {
    asked.add(key);
    return isOwn();
  };
  const logger = { ...silentLogger, warn: (...line: unknown[]) => void lines.push(inspect(line)) };
  const share = {
    owns,
    get backend() {
      return backend;
    },
  };
  const { compactor, backend, clock, live, polled, put, text } = await setUp(t, { logger, share });
  await putThree(put);
  await compactor.pass();
  t.equal(live().length, 3, 'the job of another');
  t.strictSame([...asked], [`team-0-${NOW_SEC / HOUR - 0.5}-0`]);
  t.match(await text(), 'tempodb_compaction_outstanding_blocks{tenant="team"} 0');

  let isLost = false;
  isOwn = () => !isLost;
  const meta = `${TENANT}/${ID(2)}/meta.json`;
  backend.onStat = (key) => {
    isLost ||= key === meta; // behind the first check
  };
  const folders = (await backend.listFolders(TENANT)).length;
  await compactor.pass();
  // By the check before the upload, or a slow machine's by the look at the ring each second.
  t.match(lines.pop(), /the job is another compactor|the new block is not wanted any more/);
  t.equal((await backend.listFolders(TENANT)).length, folders, 'lost while it was made: it is given up');
  backend.onStat = () => undefined;
  isLost = false;

  clock.nowMs += 120_000;
  const bytes = new Uint8Array(await backend.read(meta));
  await backend.delete(meta);
  await compactor.pass();
  t.match(lines.pop(), `compacted by another: ${ID(2)}`);
  t.strictSame(live().slice(0, -1), [ID(2)], 'without the block that another has joined meanwhile');
  await backend.write(meta, bytes);
  t.equal((await polled()).live.size, 2);
  t.match(await text(), 'tempodb_compaction_errors_total 0');
});

t.test('a job that becomes the job of another while it is done', async (t) => {
  let isOwn = true;
  const done = Promise.withResolvers<never>();
  const lines: string[] = [];
  const abandon = async (): Promise<void> => done.reject(new Error('the thread ended'));
  const run = (): Promise<never> => {
    isOwn = false;
    return done.promise;
  };
  const thread = { run, rest: () => {}, finish: async () => {}, abandon, stop: async () => {} };
  const logger = { ...silentLogger, warn: (...line: unknown[]) => void lines.push(inspect(line)) };
  const share = {
    owns: () => isOwn,
    get backend() {
      return backend;
    },
  };
  const { backend, compactor, live, put, text } = await setUp(t, { logger, share }, { thread });
  await putThree(put);
  await compactor.pass();
  t.match(lines[0], 'blocks are left to another compactor');
  t.match(lines[0], 'the new block is not wanted any more');
  t.equal(live().length, 3);
  t.match(await text(), 'tempodb_compaction_errors_total 0');
});
