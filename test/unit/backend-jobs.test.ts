// The scheduler and its workers: messages, what is remembered and where, what is handed out, and what a
// worker does with a job, also with one that another left half done.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { countDiscarded } from '../../src/app/block-upkeep.ts';
import { metaToBytes } from '../../src/block/meta-json.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import {
  jobReport,
  type JobReport,
  type JobSource,
  nextRequest,
  nextResponse,
  type OfferedJob,
  offeredJob,
  updateRequest,
  workerIdOf,
} from '../../src/contracts/jobs.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { BackendScheduler, type BackendSchedulerOptions } from '../../src/modules/backend-scheduler/index.ts';
import { type Job, jobFromJson, jobToJson } from '../../src/modules/backend-scheduler/job.ts';
import { Work } from '../../src/modules/backend-scheduler/work.ts';
import {
  BackendWorker,
  type BackendWorkerOptions,
  SchedulerClient,
} from '../../src/modules/backend-worker/index.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { ServerTls } from '../../src/rpc/tls.ts';
import { BlockJoiner } from '../../src/store/block-joiner.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import { CompactionThread } from '../../src/store/compaction-thread.ts';
import { Poller } from '../../src/store/poller.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { expectedRows, readRows, writeBlock } from '../support/block-rows.ts';
import { certFile } from '../support/certs.ts';
import { until } from '../support/hostile.ts';
import { aTrace, type TestSpan } from '../support/otlp.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(240_000);

const TENANT = 'team';
const HOUR_MS = 3_600_000;
const NOW_MS = 1_000_000 * HOUR_MS + 1_800_000;
const ID = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const never = new AbortController().signal;

function aMeta(n: number, over: Partial<BlockMeta> = {}): BlockMeta {
  return {
    format: 'vParquet4',
    blockId: ID(n),
    tenantId: TENANT,
    startSec: NOW_MS / 1000 - 100,
    endSec: NOW_MS / 1000,
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

t.test('messages are read as they were written', (t) => {
  const ids = fc.array(fc.uuid(), { maxLength: 5 });
  const compaction = fc.record({
    kind: fc.constant('compaction' as const),
    tenant: fc.string({ unit: 'grapheme' }),
    inputs: ids,
    outputs: ids,
  });
  const retention = fc.constant({ kind: 'retention' as const });
  const offered = fc.record({ jobId: fc.uuid(), detail: fc.oneof(compaction, retention) });
  const statuses = fc.constantFrom('succeeded' as const, 'failed' as const, 'running' as const);
  const reports = fc.record({ jobId: fc.uuid(), status: statuses, error: fc.string(), outputs: ids });
  const same = <T>(read: T, written: T): boolean =>
    isDeepStrictEqual(structuredClone(read), structuredClone(written));
  t.doesNotThrow(() =>
    fc.assert(fc.property(offered, (job) => same<OfferedJob>(offeredJob(nextResponse(job)), job))),
  );
  t.doesNotThrow(() =>
    fc.assert(fc.property(reports, (report) => same(jobReport(updateRequest(report)), report))),
  );
  t.equal(workerIdOf(nextRequest('worker-0')), 'worker-0');
  const cut = nextResponse({
    jobId: 'x',
    detail: { kind: 'compaction', tenant: 'a', inputs: ['b'], outputs: [] },
  });
  t.throws(() => offeredJob(cut.subarray(0, -1)), { code: 'invalid_argument' });
  // A job of a later version: 1 job_id "j", 2 type 3.
  t.strictSame(offeredJob(Uint8Array.of(10, 1, 106, 16, 3)).detail, { kind: 'unknown', type: 3 });
  t.end();
});

/** As Grafana Tempo writes one. */
const TEMPO_JOB = {
  id: '142e98f9-a3c9-4e9a-ab5a-ff2e96b3dbc4',
  type: 1,
  job_detail: { tenant: 'tenA', compaction: { input: [ID(1), ID(2)], output: [ID(3)] } },
  status: 3,
  created_time: '2026-11-26T01:10:01.242463404Z',
  start_time: '2026-11-26T01:10:01.242464636Z',
  end_time: '0001-01-01T00:00:00Z',
  worker_id: 'vm',
  retries: 0,
};

t.test('a job as JSON', (t) => {
  const job = jobFromJson(TEMPO_JOB);
  t.match(job, {
    jobId: TEMPO_JOB.id,
    status: 'running',
    workerId: 'vm',
    endMs: 0,
    reportedMs: 0,
    retries: 0,
  });
  t.strictSame(job?.detail, { kind: 'compaction', tenant: 'tenA', inputs: [ID(1), ID(2)], outputs: [ID(3)] });
  const created = '2026-11-26T01:10:01.242Z';
  t.strictSame(jobToJson(job!), { ...TEMPO_JOB, created_time: created, start_time: created });
  const retention = { ...TEMPO_JOB, type: 2, job_detail: { retention: {} }, status: 1 };
  t.match(jobFromJson(retention), { detail: { kind: 'retention' }, status: 'succeeded' });
  for (const bad of [
    null,
    7,
    {},
    { ...TEMPO_JOB, type: 3 },
    { ...TEMPO_JOB, job_detail: 0 },
    { ...TEMPO_JOB, id: 1 },
  ]) {
    t.equal(jobFromJson(bad), undefined);
  }
  t.end();
});

const TIMES = { pruneMs: HOUR_MS, deadMs: 24 * HOUR_MS, silentMs: 60_000, restMs: 1000 };

function aJob(over: Partial<Job> = {}): Job {
  return {
    jobId: 'job',
    detail: { kind: 'compaction', tenant: TENANT, inputs: ['block-a', 'block-b'], outputs: [] },
    status: 'running',
    workerId: 'one',
    createdMs: 0,
    endMs: 0,
    reportedMs: 0,
    retries: 0,
    ...over,
  };
}

const told = (over: Partial<JobReport>): JobReport => ({
  jobId: 'job',
  status: 'running',
  error: '',
  outputs: [],
  ...over,
});

t.test('what is remembered of jobs', (t) => {
  const work = new Work(TIMES);
  work.put(aJob());
  t.equal(work.runningOf('one')?.jobId, 'job');
  t.equal(work.runningOf('two'), undefined);
  t.ok(work.isTaken('block-a', 0));

  const failed = work.report(aJob(), told({ status: 'failed', error: 'block-a is damaged' }), 10);
  t.equal(work.runningOf('one'), undefined);
  t.strictSame(
    ['block-a', 'block-b'].map((id) => work.isTaken(id, 10)),
    [true, false],
    'the one that is to blame rests',
  );
  t.notOk(work.isTaken('block-a', 1010));
  work.report(failed, told({ status: 'failed', error: 'block-a is damaged' }), 10);
  t.ok(work.isTaken('block-a', 2009), 'twice as long');

  const done = work.report(failed, told({ status: 'succeeded', outputs: ['c'] }), 20);
  t.match(
    done,
    { status: 'succeeded', endMs: 20, detail: { outputs: ['c'] } },
    'one that was given up went on',
  );
  t.ok(work.isTaken('block-b', 20), 'blocks of a job that succeeded stay taken');
  t.equal(work.report(done, told({ status: 'failed' }), 30), done, 'and nothing changes that');
  t.strictSame(work.prune(HOUR_MS).forgotten, []);
  t.strictSame(work.prune(HOUR_MS + 21).forgotten, [done]);
  t.notOk(work.isTaken('block-b', HOUR_MS + 21));
  t.equal(work.get('job'), undefined);
  t.end();
});

t.test('jobs of workers that are gone', (t) => {
  const cases: readonly {
    readonly name: string;
    readonly reportedMs: number;
    readonly atMs: number;
    readonly want: number;
  }[] = [
    { name: 'a worker that never tells has a day', reportedMs: 0, atMs: 24 * HOUR_MS, want: 0 },
    { name: 'and no longer', reportedMs: 0, atMs: 24 * HOUR_MS + 1, want: 1 },
    { name: 'one that does tell may be silent for a while', reportedMs: 5, atMs: 60_005, want: 0 },
    { name: 'and no longer either', reportedMs: 5, atMs: 60_006, want: 1 },
  ];
  for (const { name, reportedMs, atMs, want } of cases) {
    const work = new Work(TIMES);
    work.put(aJob({ reportedMs }));
    t.equal(work.prune(atMs).givenUp.length, want, name);
    t.equal(work.isTaken('block-a', atMs), want === 0, `${name}: its blocks`);
  }
  t.end();
});

t.test('a job that its worker never heard of', (t) => {
  const work = new Work(TIMES);
  work.put(aJob({ jobId: 'done', status: 'succeeded', reportedMs: 5, endMs: 5 }));
  work.put(aJob({ createdMs: 10 }));
  work.put(aJob({ jobId: 'other', createdMs: 10, workerId: 'tells-nothing' }));
  t.strictSame(work.prune(60_010).givenUp, []);
  t.match(work.prune(60_011).givenUp, [{ jobId: 'job' }], 'workers that tell usually would have told');
  t.end();
});

interface SchedulerSetUp {
  readonly scheduler: BackendScheduler;
  readonly blocklist: Blocklist;
  readonly clock: { nowMs: number };
  readonly folder: string;
  readonly backend: LocalStore;
  readonly metrics: Metrics;
}

/** Timers are of no use to a clock that stands: what they would do is done by `tempt`. */
async function aScheduler(
  t: Test,
  { folder = testFolder(t), blocklist = new Blocklist(), clock = { nowMs: NOW_MS } } = {},
  over: Partial<BackendSchedulerOptions> = {},
): Promise<SchedulerSetUp> {
  const backend = new LocalStore(`${folder}/backend`);
  await backend.prepare();
  const metrics = new Metrics();
  const scheduler = new BackendScheduler({
    blocklist,
    backend,
    local: new LocalStore(`${folder}/work`),
    limitsOf: () => ({
      windowMs: HOUR_MS,
      objectsMax: 1e6,
      blockBytesMax: 1e9,
      formats: new Set(['vParquet4']),
    }),
    times: TIMES,
    waitMs: 20,
    maintenanceMs: HOUR_MS,
    flushMs: HOUR_MS,
    retentionMs: HOUR_MS,
    lookMsMin: 0,
    lookMsMax: HOUR_MS,
    jobsPerTurn: 2,
    outstanding: new Map(),
    logger: silentLogger,
    metrics,
    nowMs: () => clock.nowMs,
    ...over,
  });
  await scheduler.start();
  t.teardown(() => scheduler.stop());
  return { scheduler, blocklist, clock, folder, backend, metrics };
}

/** undefined = there is none. */
async function next(scheduler: BackendScheduler, worker: string): Promise<OfferedJob | undefined> {
  try {
    return await scheduler.next(worker, never);
  } catch (err) {
    if (err instanceof TempoError && err.code === 'not_found') return undefined;
    throw err;
  }
}

const blocksOf = (job: OfferedJob | undefined): string =>
  job?.detail.kind === 'compaction'
    ? `${job.detail.tenant} ${job.detail.inputs.map((id) => Number(id.slice(-4))).join()}`
    : String(job?.detail.kind);

t.test('what is handed out', async (t) => {
  const blocklist = new Blocklist();
  for (const n of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) blocklist.added(aMeta(n, { totalObjects: n }));
  for (const n of [21, 22]) blocklist.added(aMeta(n, { tenantId: 'small' }));
  const { scheduler, clock, folder } = await aScheduler(t, { blocklist });
  const given: (OfferedJob | undefined)[] = [];
  for (const worker of 'abcdef') given.push(await next(scheduler, worker));
  t.strictSame(
    given.map(blocksOf),
    ['retention', 'team 1,2,3,4', 'team 5,6,7,8', 'small 21,22', 'team 9,10', 'undefined'],
    'retention, then those with most blocks, two at a time',
  );
  t.strictSame(
    await next(scheduler, 'b'),
    { ...given[1], retries: 1 },
    'a worker that lost its job gets it again',
  );
  t.equal(blocksOf(await next(scheduler, 'c')), 'team 5,6,7,8');
  t.strictSame(readdirSync(`${folder}/work`).length > 0, true);

  await t.rejects(scheduler.update(told({ jobId: 'nobody', status: 'succeeded' })), { code: 'not_found' });
  await t.rejects(scheduler.update(told({ jobId: given[1]!.jobId, status: 'unspecified' })), {
    code: 'invalid_argument',
  });
  await t.rejects(scheduler.next('x'.repeat(257), never), { code: 'invalid_argument' });
  await t.rejects(scheduler.next('', never), { code: 'invalid_argument' }, 'whose would the job be');
  await t.rejects(scheduler.update(told({ jobId: given[1]!.jobId, outputs: [`../other/${ID(1)}`] })), {
    code: 'invalid_argument',
  });
  await scheduler.update(
    told({ jobId: given[1]!.jobId, status: 'failed', error: `block ${ID(1)} is damaged` }),
  );
  scheduler.polled();
  t.ok(
    await until(async () => blocksOf(await next(scheduler, 'b')) === 'team 2,3,4', 5000),
    'the others at once',
  );

  for (const at of [2, 3, 4])
    await scheduler.update(told({ jobId: given[at]!.jobId, status: 'succeeded', outputs: [] }));
  t.notOk(blocklist.tenant('small').live.size, 'the blocklist is as after the job');
  clock.nowMs += HOUR_MS;
  t.equal(blocksOf(await next(scheduler, 'c')), 'undefined', 'one retention at a time');
  await scheduler.update(told({ jobId: given[0]!.jobId, status: 'succeeded' }));
  t.equal(blocksOf(await next(scheduler, 'c')), 'retention');
});

t.test('a worker waits until there is a job', async (t) => {
  const { scheduler, blocklist } = await aScheduler(t, {}, { waitMs: 60_000 });
  t.equal(blocksOf(await next(scheduler, 'a')), 'retention');
  const gone = new AbortController();
  for (const n of [3, 4]) blocklist.added(aMeta(n));
  scheduler.polled();
  t.ok(await until(async () => blocksOf(await next(scheduler, 'one')) === 'team 3,4', 5000));
  const left = scheduler.next('left', gone.signal);
  const waiting = scheduler.next('b', never);
  gone.abort();
  await t.rejects(left, { code: 'not_found' });
  for (const n of [1, 2]) blocklist.added(aMeta(n));
  scheduler.polled();
  t.equal(blocksOf(await waiting), 'team 1,2');
  const late = t.rejects(scheduler.next('c', never), { code: 'not_found' }, 'nobody waits at the end');
  await scheduler.stop();
  await late;
});

t.test('series of tenants without jobs are forgotten', async (t) => {
  const blocklist = new Blocklist();
  for (const n of [1, 2]) blocklist.added(aMeta(n));
  const { scheduler, metrics } = await aScheduler(t, { blocklist }, { retentionMs: 1e15 });
  t.ok(await until(async () => blocksOf(await next(scheduler, 'a')) === 'team 1,2', 5000));
  await scheduler.update(told({ jobId: scheduler.jobs()[0]!.jobId, status: 'succeeded' }));
  countDiscarded(metrics)('other', 'trace_too_large_to_compact', 3);
  const series = async (): Promise<string[]> =>
    (await metrics.text()).split('\n').filter((line) => /^[^#].*_total\{.*tenant="(team|other)"/.test(line));
  t.ok((await series()).length >= 4);
  metrics.tenants.sweep(-1);
  await metrics.forgotten;
  t.strictSame(await series(), []);
});

t.test('a restart goes on', async (t) => {
  const blocklist = new Blocklist();
  for (const n of [1, 2, 3, 4, 5, 6]) blocklist.added(aMeta(n, { totalObjects: n }));
  const first = await aScheduler(t, { blocklist });
  const [, mine, other] = [
    await next(first.scheduler, 'r'),
    await next(first.scheduler, 'a'),
    await next(first.scheduler, 'b'),
  ];
  await first.backend.write(`${TENANT}/${ID(9)}/meta.json`, metaToBytes(aMeta(9, { compactionLevel: 1 })));
  await first.scheduler.update(told({ jobId: other!.jobId, status: 'succeeded', outputs: [ID(9)] }));
  // No stop: as after a kill. What the backend has is old then; here there is nothing.
  t.throws(() => readFileSync(`${first.folder}/backend/work.json`), { code: 'ENOENT' });

  const seen = new Blocklist();
  for (const n of [1, 2, 3, 4, 5, 6]) seen.added(aMeta(n, { totalObjects: n }));
  const second = await aScheduler(t, { folder: first.folder, blocklist: seen });
  t.strictSame(
    [...seen.tenant(TENANT).live.keys()].map((id) => Number(id.slice(-4))),
    [1, 2, 3, 4, 9],
    'what was done counts',
  );
  t.equal(blocksOf(await next(second.scheduler, 'c')), 'undefined', 'nothing is handed out twice');
  t.equal((await next(second.scheduler, 'a'))?.jobId, mine!.jobId, 'a worker gets its job again');
  await second.scheduler.stop();
  const text = readFileSync(`${first.folder}/backend/work.json`, 'utf8');
  const { shards } = JSON.parse(text) as {
    shards: { jobs: object }[];
  };
  t.equal(shards.length, 256);
  t.equal(shards.flatMap(({ jobs }) => Object.keys(jobs)).length, 3);

  const third = await aScheduler(t, { blocklist: seen });
  writeFileSync(`${third.folder}/backend/work.json`, text);
  writeFileSync(`${third.folder}/work/shard_000.json`, '{"jobs":{"x":');
  const fourth = await aScheduler(t, { folder: third.folder, blocklist: seen });
  t.equal(
    (await next(fourth.scheduler, 'a'))?.jobId,
    mine!.jobId,
    'also where the local disk is another, or damaged',
  );
});

t.test('a job that cannot be written is not handed out', async (t) => {
  const blocklist = new Blocklist();
  for (const n of [1, 2]) blocklist.added(aMeta(n));
  const failing = { is: true };
  class FailingStore extends LocalStore {
    override async write(key: string, bytes: Uint8Array): Promise<void> {
      if (failing.is) throw new TempoError('unavailable', 'no disk');
      await super.write(key, bytes);
    }
  }
  const local = new FailingStore(`${testFolder(t)}/work`);
  const { scheduler } = await aScheduler(t, { blocklist }, { local, retentionMs: 1e15 });
  t.ok(
    await until(
      async () =>
        ((await scheduler.next('a', never).catch((err: unknown) => err)) as TempoError).code === 'internal',
      5000,
    ),
  );
  t.strictSame(scheduler.jobs(), []);
  failing.is = false;
  scheduler.polled();
  t.ok(await until(async () => blocksOf(await next(scheduler, 'b')) === 'team 1,2', 5000));
});

/** With a job over two blocks that is handed out as soon as somebody asks. */
async function withJob(t: Test, over: Partial<BackendSchedulerOptions> = {}): Promise<SchedulerSetUp> {
  const blocklist = new Blocklist();
  for (const n of [1, 2]) blocklist.added(aMeta(n));
  return aScheduler(t, { blocklist }, { retentionMs: 1e15, ...over });
}

t.test('a job whose worker has left before it got it is free at once', async (t) => {
  await t.test('while the job was written to the disk', async (t) => {
    const gone = new AbortController();
    class SlowStore extends LocalStore {
      override async write(key: string, bytes: Uint8Array): Promise<void> {
        await super.write(key, bytes);
        gone.abort();
      }
    }
    const { scheduler } = await withJob(t, { local: new SlowStore(`${testFolder(t)}/work`) });
    t.ok(
      await until(
        async () => (await scheduler.next('a', gone.signal).catch(() => undefined)) !== undefined,
        5000,
      ),
    );
    t.strictSame(scheduler.jobs(), []);
    scheduler.polled();
    t.ok(await until(async () => blocksOf(await next(scheduler, 'b')) === 'team 1,2', 5000));
  });
  for (const isReported of [false, true]) {
    await t.test(isReported ? 'after it told that it begins' : 'on its way', async (t) => {
      const { scheduler } = await withJob(t);
      t.ok(await until(async () => blocksOf(await next(scheduler, 'a')) === 'team 1,2', 5000));
      const [job] = scheduler.jobs();
      if (isReported) await scheduler.update(told({ jobId: job!.jobId }));
      await scheduler.leave('nobody');
      t.equal(scheduler.jobs()[0]?.status, 'running');
      await scheduler.leave('a');
      t.strictSame(
        scheduler.jobs().filter(({ status }) => status === 'running'),
        [],
      );
      scheduler.polled();
      t.ok(await until(async () => blocksOf(await next(scheduler, 'b')) === 'team 1,2', 5000));
    });
  }
  await t.test('nobody gets one who waits and leaves', async (t) => {
    const { scheduler, blocklist } = await aScheduler(t, {}, { waitMs: 60_000, retentionMs: 1e15 });
    const left = t.rejects(scheduler.next('a', never), { code: 'not_found' });
    await scheduler.leave('a');
    await left;
    for (const n of [1, 2]) blocklist.added(aMeta(n));
    scheduler.polled();
    t.equal(blocksOf(await next(scheduler, 'b')), 'team 1,2');
  });
});

t.test('of two states of a job the one that is further counts, whichever is read first', (t) => {
  const running = aJob({ reportedMs: 5 });
  const later = aJob({
    reportedMs: 6,
    detail: { kind: 'compaction', tenant: TENANT, inputs: ['block-a'], outputs: ['c'] },
  });
  const done = aJob({ status: 'succeeded', endMs: 7 });
  for (const [less, more] of [
    [aJob(), running],
    [aJob(), aJob({ retries: 1 })],
    [running, later],
    [later, done],
  ] as const) {
    for (const order of [
      [less, more],
      [more, less],
    ]) {
      const work = new Work(TIMES);
      for (const job of order) work.merge(job);
      t.equal(work.get('job'), more);
    }
  }
  t.end();
});

t.test('a worker is not silent while there is no scheduler', async (t) => {
  const first = await withJob(t);
  t.ok(await until(async () => blocksOf(await next(first.scheduler, 'foreign')) === 'team 1,2', 5000));
  first.clock.nowMs += 1000;
  for (const n of [3, 4]) first.blocklist.added(aMeta(n));
  first.scheduler.polled();
  t.ok(await until(async () => blocksOf(await next(first.scheduler, 'tells')) === 'team 3,4', 5000));
  await first.scheduler.update(told({ jobId: first.scheduler.jobs()[0]!.jobId }));
  await first.scheduler.stop();
  const clock = { nowMs: NOW_MS + TIMES.deadMs };
  // No block is left, so that nothing new is begun.
  const second = await aScheduler(
    t,
    { folder: first.folder, clock },
    { maintenanceMs: 5, retentionMs: 1e15 },
  );
  const workers = (status: string): string[] =>
    second.scheduler.jobs().flatMap((job) => (job.status === status ? [job.workerId] : []));
  clock.nowMs += 1;
  // One job is given up in the first look at all of them.
  t.ok(await until(() => workers('failed').length > 0, 5000));
  t.strictSame([workers('failed'), workers('running')], [['foreign'], ['tells']]);
});

t.test('no block is in two jobs, whatever workers do and however often the scheduler ends', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.comment(`seed ${seed}`);
  let state = seed || 1;
  const random = (below: number): number => (state = (state * 48271) % 0x7fffffff) % below;
  const folder = testFolder(t);
  const blocklist = new Blocklist();
  let blocks = 0;
  const clock = { nowMs: NOW_MS };
  const held = new Map<string, OfferedJob>();
  let { scheduler } = await aScheduler(t, { folder, blocklist, clock });
  for (let step = 0; step < 300; step++) {
    const worker = `w${random(5)}`;
    const job = held.get(worker);
    const what = random(10);
    if (what < 3)
      for (let i = 0; i <= random(4); i++) blocklist.added(aMeta(++blocks, { totalObjects: blocks }));
    else if (what < 5 || job === undefined) {
      scheduler.polled();
      const got = await next(scheduler, worker);
      if (job !== undefined) t.equal(got?.jobId, job.jobId, 'it is given again');
      if (got !== undefined) held.set(worker, got);
    } else if (what < 8) {
      held.delete(worker);
      const status = what === 7 ? 'failed' : 'succeeded';
      await scheduler.update(told({ jobId: job.jobId, status, error: 'no luck', outputs: [] }));
    } else if (what === 8) clock.nowMs += random(3) * 1000;
    else ({ scheduler } = await aScheduler(t, { folder, blocklist, clock }));
    const inputs = [...held.values()].flatMap(({ detail }) =>
      detail.kind === 'compaction' ? detail.inputs : [],
    );
    t.equal(new Set(inputs).size, inputs.length, `step ${step}`);
  }
});

/** Asks a scheduler of the same process. */
function sourceOf(
  scheduler: BackendScheduler,
): JobSource & { open(): Promise<void>; close(): Promise<void> } {
  return {
    open: async () => undefined,
    close: async () => undefined,
    next: (worker) => next(scheduler, worker),
    report: (report) => scheduler.update(report),
    leave: (worker) => scheduler.leave(worker),
  };
}

/** A local backend that fails, or waits, when it is told to. */
class TestStore extends LocalStore {
  beforeCopy: (from: string) => Promise<void> = async () => undefined;
  /** So many changes happen, and then no more: as if the process had ended. */
  changesLeft = Infinity;

  private change(): void {
    if (this.changesLeft-- <= 0) throw new TempoError('unavailable', 'the process has ended');
  }

  override async copy(from: string, to: string): Promise<void> {
    await this.beforeCopy(from);
    this.change();
    await super.copy(from, to);
  }

  override async write(key: string, bytes: Uint8Array): Promise<void> {
    this.change();
    await super.write(key, bytes);
  }

  override async writeFile(key: string, path: string): Promise<void> {
    this.change();
    await super.writeFile(key, path);
  }

  override async delete(key: string): Promise<void> {
    this.change();
    await super.delete(key);
  }

  override async deleteFolder(prefix: string): Promise<void> {
    this.change();
    await super.deleteFolder(prefix);
  }
}

async function withWorker(
  t: Test,
  over: Partial<BackendWorkerOptions> = {},
  schedulerOver: Partial<BackendSchedulerOptions> = {},
) {
  const set = await aScheduler(t, {}, { retentionMs: 1e15, ...schedulerOver });
  const backend = new TestStore(`${set.folder}/backend`);
  const own = new Blocklist();
  const newWorker = (workerId = 'w', scheduler = set.scheduler, store = backend): BackendWorker => {
    const scratchPath = `${set.folder}/scratch-${workerId}`;
    const thread = new CompactionThread(
      {
        scratchPath,
        backendPath: `${set.folder}/backend`,
        bloom: { falsePositive: 0.01, shardSizeBytes: 102_400 },
        valueFilterBytesMax: 65_536,
      },
      () => undefined,
    );
    const joiner = new BlockJoiner({
      blocklist: own,
      backend: store,
      scratch: new LocalStore(scratchPath),
      scratchPath,
      thread,
      traceBytesMaxOf: () => 0,
      onCompacted: (meta, inputs) => own.replaced(meta, inputs, set.clock.nowMs),
      discarded: () => undefined,
      logger: silentLogger,
      metrics: new Metrics(),
      nowMs: () => set.clock.nowMs,
    });
    const worker = new BackendWorker({
      workerId,
      source: sourceOf(scheduler),
      joiner,
      backend: store,
      retain: async () => 0,
      refusal: () => undefined,
      backoff: { minMs: 5, maxMs: 20, triesMax: 0 },
      finishMs: 10_000,
      aliveMs: 50,
      logger: silentLogger,
      metrics: new Metrics(),
      ...over,
    });
    t.teardown(() => worker.stop());
    return worker;
  };
  const put = async (n: number, spans: readonly TestSpan[]): Promise<void> => {
    const { meta, objects } = writeBlock([spans]);
    const sec = Math.floor(NOW_MS / 1000);
    const mine: BlockMeta = { ...meta, blockId: ID(n), tenantId: TENANT, startSec: sec, endSec: sec };
    for (const [name, bytes] of objects) {
      await backend.write(`${TENANT}/${ID(n)}/${name}`, name === 'meta.json' ? metaToBytes(mine) : bytes);
    }
    set.blocklist.added(mine);
  };
  const polled = async () => {
    const list = new Blocklist();
    const options = { store: backend, concurrency: 4, tenantConcurrency: 1, nowMs: () => set.clock.nowMs };
    await new Poller({ ...options, blocklist: list, logger: silentLogger }).poll();
    return list.tenant(TENANT);
  };
  const rows = async (meta: BlockMeta) => {
    const data = new Uint8Array(await backend.read(`${TENANT}/${meta.blockId}/data.parquet`));
    return readRows({ meta, objects: new Map([['data.parquet', data.slice()]]) });
  };
  const jobs = () => set.scheduler.jobs().map(({ status }) => status);
  return { ...set, backend, newWorker, put, polled, rows, jobs };
}

const spans = [1, 2, 3, 4].flatMap((id) => aTrace(id, 6));

t.test('a worker without room gives its job back, and the blocks do not rest', async (t) => {
  let hasRoom = false;
  const refusal = (sizeBytes: number): string | undefined =>
    sizeBytes === 0 || hasRoom ? undefined : 'the disk has no room for another block';
  const { newWorker, put, scheduler, jobs, polled } = await withWorker(t, { refusal }, {});
  for (const n of [0, 1]) await put(n, spans);
  scheduler.polled();
  await newWorker().start();
  t.ok(await until(async () => jobs().includes('failed'), 20_000));
  hasRoom = true;
  t.ok(await until(async () => jobs().includes('succeeded'), 20_000), 'without a pause of the blocks');
  t.equal((await polled()).compacted.size, 2);
});

t.test('a worker does what it is given', async (t) => {
  let retained = 0;
  const retain = async (): Promise<number> => (++retained === 1 ? 2 : 0);
  const { newWorker, put, polled, rows, scheduler, jobs, clock } = await withWorker(
    t,
    { retain },
    { retentionMs: HOUR_MS },
  );
  for (const n of [0, 1, 2])
    await put(
      n,
      spans.filter((_, i) => i % 3 === n || i % 5 === n),
    );
  scheduler.polled();
  await newWorker().start();
  t.ok(await until(async () => jobs().includes('succeeded'), 20_000));
  const { live, compacted } = await polled();
  t.equal(compacted.size, 3);
  const [made, ...others] = live.values();
  t.strictSame(others, []);
  t.strictSame(await rows(made!), expectedRows(spans));
  const done = scheduler.jobs().find(({ status }) => status === 'succeeded');
  t.match(done?.detail, { outputs: [made!.blockId] });
  t.ok(
    scheduler.jobs().some(({ detail, status }) => detail.kind === 'retention' && status === 'failed'),
    'two blocks failed',
  );
  clock.nowMs += HOUR_MS;
  t.ok(await until(async () => retained === 2, 20_000));
});

t.test('two schedulers at once have blocks joined twice, and nothing is lost', async (t) => {
  const { backend, blocklist, folder, jobs, newWorker, polled, put, rows, scheduler } = await withWorker(t);
  for (const n of [0, 1, 2])
    await put(
      n,
      spans.filter((_, i) => i % 3 === n || i % 5 === n),
    );
  const seen = new Blocklist();
  for (const meta of blocklist.tenant(TENANT).live.values()) seen.added(meta);
  const local = new LocalStore(`${folder}/work-of-the-other`);
  const other = await aScheduler(t, { folder, blocklist: seen }, { retentionMs: 1e15, local });
  const elsewhere = new TestStore(`${folder}/backend`);
  // both new blocks are there before the first input is marked
  const arrived = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  for (const [i, store] of [backend, elsewhere].entries()) {
    store.beforeCopy = async () => {
      arrived[i]!.resolve();
      await Promise.all(arrived.map(({ promise }) => promise));
    };
  }
  scheduler.polled();
  other.scheduler.polled();
  await newWorker().start();
  await newWorker('other', other.scheduler, elsewhere).start();
  const others = () => other.scheduler.jobs().map(({ status }) => status);
  const both = async (): Promise<boolean> => jobs().includes('succeeded') && others().includes('succeeded');
  t.ok(await until(both, 20_000));
  const { live, compacted } = await polled();
  t.strictSame([...compacted.keys()].toSorted(), [ID(0), ID(1), ID(2)]);
  t.equal(live.size, 2);
  for (const meta of live.values()) t.strictSame(await rows(meta), expectedRows(spans));
});

t.test('what a worker finds that another left', async (t) => {
  await t.test('inputs that are not marked', async (t) => {
    const { backend, newWorker, put, polled, rows, scheduler, jobs } = await withWorker(t, { finishMs: 0 });
    for (const n of [0, 1])
      await put(
        n,
        spans.filter((_, i) => i % 2 === n),
      );
    scheduler.polled();
    const reached = Promise.withResolvers<void>();
    backend.beforeCopy = async () => {
      reached.resolve();
      throw new TempoError('unavailable', 'it ends here');
    };
    const first = newWorker();
    await first.start();
    await reached.promise;
    t.match(scheduler.jobs()[0]?.detail, { outputs: [/./] }, 'the scheduler knows the new block');
    t.equal((await polled()).live.size, 3);
    // It does not get to tell that it gives up.
    const [job] = scheduler.jobs();
    await first.stop();
    (scheduler as unknown as { work: Work }).work.put(job!);
    backend.beforeCopy = async () => undefined;
    await newWorker().start();
    t.ok(await until(async () => jobs()[0] === 'succeeded', 20_000));
    const [made, ...others] = (await polled()).live.values();
    t.strictSame(others, [], 'no second block is made');
    t.strictSame(await rows(made!), expectedRows(spans));
    t.match(scheduler.jobs()[0]?.detail, { outputs: [made!.blockId] });
  });
  await t.test('a block that it is told to be the result, and is not', async (t) => {
    const others = [11, 12, 13, 14].flatMap((id) => aTrace(id, 6));
    for (const made of [undefined, [], [ID(0)], [ID(5), ID(6)]]) {
      const { backend, newWorker, put, polled, rows, scheduler, jobs } = await withWorker(t);
      for (const n of [0, 1])
        await put(
          n,
          spans.filter((_, i) => i % 2 === n),
        );
      scheduler.polled();
      t.ok(await until(async () => (await next(scheduler, 'w')) !== undefined, 20_000));
      // As many traces, of the same time, of a level above: but others.
      await put(9, others);
      const meta: BlockMeta = { ...(await polled()).live.get(ID(9))!, compactionLevel: 1 };
      await backend.write(`${TENANT}/${ID(9)}/meta.json`, metaToBytes(meta, made));
      await scheduler.update(told({ jobId: scheduler.jobs()[0]!.jobId, outputs: [ID(9)] }));
      await newWorker().start();
      t.ok(await until(async () => jobs()[0] === 'succeeded', 20_000));
      const after = [...(await polled()).live.values()].filter(({ blockId }) => blockId !== ID(9));
      t.equal(after.length, 1);
      t.strictSame(await rows(after[0]!), expectedRows(spans), `said to be made of ${String(made)}`);
    }
  });
  await t.test('a block that is that of another tenant', async (t) => {
    const { backend, newWorker, put, polled, scheduler, jobs } = await withWorker(t);
    for (const n of [0, 1]) await put(n, spans);
    scheduler.polled();
    t.ok(await until(async () => (await next(scheduler, 'w')) !== undefined, 20_000));
    const foreign = aMeta(9, { tenantId: 'other', compactionLevel: 1 });
    await backend.write(`${TENANT}/${ID(9)}/meta.json`, metaToBytes(foreign, [ID(0), ID(1)]));
    await scheduler.update(told({ jobId: scheduler.jobs()[0]!.jobId, outputs: [ID(9)] }));
    await newWorker().start();
    t.ok(await until(async () => jobs()[0] === 'failed', 20_000));
    t.equal((await polled()).compacted.size, 0);
  });
  await t.test('nothing to do', async (t) => {
    const { newWorker, blocklist, scheduler, jobs } = await withWorker(t);
    for (const n of [0, 1]) blocklist.added(aMeta(n));
    scheduler.polled();
    await newWorker().start();
    t.ok(await until(async () => jobs()[0] === 'succeeded', 20_000), 'blocks that are all gone');
    t.equal(blocklist.tenant(TENANT).live.size, 0);
  });
  await t.test('a block that is gone', async (t) => {
    const { newWorker, put, blocklist, polled, scheduler, jobs } = await withWorker(t);
    for (const n of [0, 1])
      await put(
        n,
        spans.filter((_, i) => i % 2 === n),
      );
    blocklist.added({ ...blocklist.tenant(TENANT).live.get(ID(0))!, blockId: ID(2) });
    scheduler.polled();
    await newWorker().start();
    t.ok(
      await until(async () => jobs().toSorted().join() === 'failed,succeeded', 20_000),
      'the others are joined without it',
    );
    t.equal((await polled()).live.size, 1);
  });
});

t.test('a worker that ends at any step', async (t) => {
  let changes = 0;
  for (; changes < 50; changes++) {
    const { backend, newWorker, put, polled, rows, scheduler, jobs } = await withWorker(t, { finishMs: 0 });
    for (const n of [0, 1]) {
      await put(
        n,
        spans.filter((_, i) => i % 2 === n),
      );
    }
    scheduler.polled();
    backend.changesLeft = changes;
    const first = newWorker();
    await first.start();
    await until(() => backend.changesLeft < 0 || jobs()[0] === 'succeeded', 20_000);
    const isDone = jobs()[0] === 'succeeded';
    const [job] = scheduler.jobs();
    await first.stop();
    const before = [...(await polled()).live.values()];
    const inputsLive = before.filter(({ compactionLevel }) => compactionLevel === 0).length;
    const made = before.find(({ compactionLevel }) => compactionLevel === 1);
    if (made === undefined) t.equal(inputsLive, 2, `after ${changes} changes nothing is missing`);
    else
      t.strictSame(await rows(made), expectedRows(spans), `after ${changes} changes the new block is whole`);
    if (isDone) break;
    // It did not get to tell that it failed: the next worker of its name has the same job.
    backend.changesLeft = Infinity;
    (scheduler as unknown as { work: Work }).work.put({ ...job!, status: 'running', endMs: 0 });
    await newWorker().start();
    t.ok(await until(() => jobs()[0] === 'succeeded', 20_000));
    const after = [...(await polled()).live.values()];
    t.equal(after.filter(({ compactionLevel }) => compactionLevel === 0).length, 0);
    t.strictSame(await rows(after[0]!), expectedRows(spans), `after ${changes} changes and another try`);
  }
  t.ok(changes > 5 && changes < 50, `${changes} changes in all`);
});

t.test('a worker that is to stop', async (t) => {
  for (const finishMs of [10_000, 0]) {
    const { backend, newWorker, put, polled, scheduler, jobs } = await withWorker(t, { finishMs });
    for (const n of [0, 1])
      await put(
        n,
        spans.filter((_, i) => i % 2 === n),
      );
    scheduler.polled();
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    backend.beforeCopy = async () => {
      reached.resolve();
      await goOn.promise;
    };
    const worker = newWorker();
    await worker.start();
    if (finishMs > 0) await reached.promise;
    else t.ok(await until(async () => jobs()[0] === 'running', 20_000));
    const stopped = worker.stop();
    goOn.resolve();
    await stopped;
    t.equal(
      jobs()[0],
      finishMs > 0 ? 'succeeded' : 'failed',
      finishMs > 0 ? 'ends its job' : 'gives it back',
    );
    t.equal((await polled()).live.size, finishMs > 0 ? 1 : 2);
  }
});

t.test('a job that is on its way to a worker that stops', async (t) => {
  const given = Promise.withResolvers<void>();
  const has: { scheduler?: BackendScheduler } = {};
  const source: ReturnType<typeof sourceOf> = {
    ...sourceOf({} as BackendScheduler),
    next: async (worker, signal) => {
      if ((await next(has.scheduler!, worker)) === undefined) return undefined;
      given.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw new TempoError('cancelled', 'the answer has come too late');
    },
    leave: (worker) => has.scheduler!.leave(worker),
  };
  const { scheduler, put, newWorker } = await withWorker(t, { source });
  has.scheduler = scheduler;
  for (const n of [0, 1]) await put(n, spans);
  scheduler.polled();
  const worker = newWorker();
  await worker.start();
  await given.promise;
  await worker.stop();
  t.strictSame(scheduler.jobs(), []);
});

t.test('over gRPC, with certificates of both sides', async (t) => {
  const { scheduler, blocklist } = await aScheduler(t, {}, { retentionMs: 1e15 });
  const methods = new GrpcMethods();
  scheduler.registerMethods(methods);
  const tls = new ServerTls(
    {
      name: 'server.grpc_tls_config',
      cert: { text: '', file: certFile('server') },
      key: { text: '', file: certFile('server', 'key') },
      clientCa: { text: '', file: certFile('authority') },
      clientAuth: 'RequireAndVerifyClientCert',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      cipherSuites: [],
      reloadMs: 0,
    },
    silentLogger,
  );
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods,
    recvMessageBytesMax: 1 << 20,
    logger: silentLogger,
    tls,
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  const files = { caFile: certFile('authority'), serverName: 'localhost' };
  const own = { certFile: certFile('client'), keyFile: certFile('client', 'key') };
  const client = new SchedulerClient({
    address: `127.0.0.1:${port}`,
    tls: { ...files, ...own },
    waitMs: 1000,
  });
  await client.open();
  t.teardown(() => client.close());
  t.equal(await client.next('w', never), undefined);
  for (const n of [1, 2]) blocklist.added(aMeta(n));
  scheduler.polled();
  t.ok(await until(async () => blocksOf(await client.next('w', never)) === 'team 1,2', 5000));
  const { jobId } = (await client.next('w', never))!;
  await client.report(told({ jobId, status: 'succeeded', outputs: [] }));
  t.equal(scheduler.jobs()[0]?.status, 'succeeded');
  await t.rejects(client.report(told({ jobId: 'nobody', status: 'failed' })), { code: 'not_found' });
  for (const n of [3, 4]) blocklist.added(aMeta(n));
  scheduler.polled();
  t.ok(await until(async () => blocksOf(await client.next('w', never)) === 'team 3,4', 5000));
  await client.leave('w');
  t.notOk(scheduler.jobs().some(({ status }) => status === 'running'));
  const leaving = new AbortController();
  const left = client.next('x', leaving.signal);
  leaving.abort();
  await t.rejects(left, { code: 'cancelled' });
  const stranger = new SchedulerClient({ address: `127.0.0.1:${port}`, tls: files, waitMs: 1000 });
  await stranger.open();
  t.teardown(() => stranger.close());
  await t.rejects(stranger.next('w', never), { code: 'unavailable' });
  const lost = new SchedulerClient({ address: 'x:1', tls: { caFile: '/nowhere.pem' }, waitMs: 1000 });
  await t.rejects(lost.open(), { code: 'invalid_argument' });
});
