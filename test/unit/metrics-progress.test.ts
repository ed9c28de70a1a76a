// Metrics queries between a query-frontend and a querier: what is told while one runs, and the form that
// its answer has on the way.
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import type { MetricsAnswer, MetricsProgress, MetricsQuery, Querier } from '../../src/contracts/query.ts';
import { type AnswerFrame, frameResponses, type RemoteRequest } from '../../src/contracts/remote-query.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type FilledText, FilledTextWriter, piecesOf } from '../../src/lib/filled-text.ts';
import { QueryQueue } from '../../src/modules/query-frontend/query-queue.ts';
import type { PendingRequest } from '../../src/modules/query-frontend/queued-query.ts';
import { RemoteQuerier } from '../../src/modules/query-frontend/remote-querier.ts';
import { findMetrics, type MetricsScan } from '../../src/modules/querier/metrics.ts';
import { PartsBudget } from '../../src/modules/querier/parts-budget.ts';
import { answerWholeQuery } from '../../src/modules/querier/whole-queries.ts';
import { decodeStructured, encodeStructured } from '../../src/rpc/structured.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

const STATS = {
  inspectedTraces: 0,
  inspectedSpans: 0,
  inspectedBytes: 0,
  totalBlocks: 0,
  totalBlockBytes: 0,
  totalJobs: 100,
  completedJobs: 0,
};
const NONE: MetricsAnswer = { series: [], isCut: false, stats: STATS, partial: [] };
const GROWING = '{ } | rate() by (name)';

const queryOf = (query: string, over: Partial<MetricsQuery> = {}) =>
  ({ tenant: 'a', query, isInstant: false, format: 'proto', ...over }) as MetricsQuery;

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}

/** A query-frontend with one querier, which is the test. */
function aFrontend(bytesMax: number) {
  const metrics = new Metrics();
  const options = { tenantLengthMax: 9, triesMax: 1, queriersWaitMs: 60_000, clock: systemClock, metrics };
  const queue = new QueryQueue(options);
  let pending: PendingRequest | undefined;
  queue.join({ clientId: 'one', knowsWhole: true, start: (given) => (pending = given) });
  const answerBytes = { allMax: bytesMax, oneMax: bytesMax };
  const querier = new RemoteQuerier({ queue, answerBytes, hedges: {}, metrics });
  const say = (frame: AnswerFrame): void => {
    for (const response of frameResponses(frame)) {
      if (pending!.received(response)) pending!.finished();
    }
  };
  const held = async (): Promise<number> => {
    const line = /^tempo_query_frontend_answer_bytes (\d+)/m.exec(await metrics.text());
    return Number(line?.[1]);
  };
  return { querier, say, held, asked: () => pending!.asked.request.body };
}

t.test('series so far count until there are newer ones, however long a query runs', async (t) => {
  const { querier, say, held } = aFrontend(1 << 20);
  const sent = new AbortController();
  let told: MetricsProgress | undefined;
  const answered = querier.metrics(queryOf(GROWING), sent.signal, (progress) => (told = progress));
  const series = [new Uint8Array(200_000).fill(1), new Uint8Array(50_000).fill(2)];
  for (let completedJobs = 1; completedJobs <= 50; completedJobs++) {
    const stats = { ...STATS, completedJobs };
    say({ kind: 'progress', progress: { stats, series } });
    say({ kind: 'progress', progress: { stats, series: undefined } });
    t.ok((await held()) > 250_000, 'those on their way to the client count');
    t.ok((await held()) < 520_000, `${await held()} bytes after ${completedJobs}`);
    t.equal(told?.stats.completedJobs, completedJobs);
  }
  say({ kind: 'answer', answer: { ...NONE, series } });
  t.equal((await answered).series.length, 2);
  t.ok((await held()) > 500_000);
  sent.abort();
  t.equal(await held(), 0);
});

t.test('series so far are shown whatever a querier told since', async (t) => {
  const { querier, say } = aFrontend(1 << 20);
  let told: MetricsProgress | undefined;
  const sent = new AbortController();
  const answered = querier.metrics(queryOf(GROWING), sent.signal, (progress) => (told = progress));
  const tell = (completedJobs: number, series?: readonly Uint8Array[]): void =>
    say({ kind: 'progress', progress: { stats: { ...STATS, completedJobs }, series } });
  tell(1);
  t.equal(await told!.seriesSoFar(), undefined);
  tell(2, [new Uint8Array([2])]);
  tell(3, [new Uint8Array([3])]);
  tell(4);
  tell(5);
  t.equal(told!.stats.completedJobs, 5);
  t.same(await told!.seriesSoFar(), [new Uint8Array([3])]);
  t.equal(await told!.seriesSoFar(), undefined, 'once');
  say({ kind: 'answer', answer: NONE });
  await answered;
  sent.abort();
});

/** A querier that works for so many seconds, and is asked by a query-frontend that wants to know. */
async function told(
  t: Test,
  query: string,
  seriesSoFar: (passMs: (ms: number) => void) => readonly Uint8Array[] | undefined,
) {
  let nowMs = 1000;
  const clock = mock.method(performance, 'now', () => nowMs);
  const count = { made: 0 };
  const metrics: Querier['metrics'] = async (_query, _signal, onProgress) => {
    for (let completedJobs = 1; completedJobs <= 20; completedJobs++) {
      nowMs += 1000;
      onProgress!({
        stats: { ...STATS, completedJobs },
        seriesSoFar: async () => {
          count.made++;
          return seriesSoFar((ms) => (nowMs += ms));
        },
      });
      await settled();
    }
    return NONE;
  };
  const frames: AnswerFrame<'metrics'>[] = [];
  const request = { asked: { kind: 'metrics', query: queryOf(query) }, wantsProgress: true };
  const { signal } = new AbortController();
  try {
    await answerWholeQuery({ metrics } as Querier, encodeStructured(request), signal, async (frame) => {
      frames.push(frame as AnswerFrame<'metrics'>);
    });
  } finally {
    clock.mock.restore();
  }
  const progress = frames.flatMap((frame) => (frame.kind === 'progress' ? [frame.progress] : []));
  t.ok(progress.length >= 20);
  return { made: count.made, withSeries: progress.filter(({ series }) => series !== undefined).length };
}

t.test('series so far are made where somebody has use for them, and not too often', async (t) => {
  const small = [new Uint8Array(1000)];
  t.same(await told(t, GROWING, () => small), { made: 20, withSeries: 20 });
  for (const query of ['{ } | compare({ status = error })', `${GROWING} | topk(2)`, `${GROWING} > 1`]) {
    t.same(await told(t, query, () => small), { made: 0, withSeries: 0 }, `${query}: may drop out again`);
  }
  const large = [new Uint8Array(7 << 20), new Uint8Array(6 << 20)];
  t.same(await told(t, GROWING, () => large), { made: 20, withSeries: 0 }, 'more than a few messages');
  const slow = (passMs: (ms: number) => void): readonly Uint8Array[] => {
    passMs(2000);
    return small;
  };
  const { made, withSeries } = await told(t, GROWING, slow);
  t.ok(made >= 2 && made <= 4, `${made} times`);
  t.equal(withSeries, made);
});

/** With runs left out that are `fillBytes` together. */
function aText(fillBytes: number): FilledText {
  const fill = new Uint8Array(10_000).fill(46);
  const text = new FilledTextWriter(fill);
  text.add(Buffer.from('{'));
  for (let left = fillBytes; left > 0; left -= fill.length) text.leaveOut(0, 0, Math.min(left, fill.length));
  text.add(Buffer.from('}'));
  return text.text();
}

/** What a querier says to a query-frontend, which is an older one unless it says what it takes. */
async function answerTo(
  answer: MetricsAnswer,
  request: Omit<RemoteRequest, 'asked' | 'wantsProgress'>,
  query = queryOf(GROWING, { format: 'json' }),
): Promise<{ readonly answer: MetricsAnswer; readonly asked: MetricsQuery }> {
  let asked: MetricsQuery | undefined;
  const metrics: Querier['metrics'] = async (given) => {
    asked = given;
    return answer;
  };
  const frames: AnswerFrame[] = [];
  const body = encodeStructured({ asked: { kind: 'metrics', query }, wantsProgress: false, ...request });
  const { signal } = new AbortController();
  await answerWholeQuery({ metrics } as Querier, body, signal, async (frame) => {
    const bodies = [...frameResponses(frame)].map((one) => one.body);
    frames.push(decodeStructured(Buffer.concat(bodies)) as AnswerFrame);
  });
  const [frame] = frames as [AnswerFrame<'metrics'>];
  if (frame.kind !== 'answer') throw new Error(frame.kind);
  return { answer: frame.answer, asked: asked! };
}

t.test('an answer comes as it is held, without the runs that are put back when it is sent on', async (t) => {
  const { querier, say, asked, held } = aFrontend(1 << 20);
  const sent = new AbortController();
  const answered = querier.metrics(queryOf(GROWING, { format: 'json' }), sent.signal);
  const request = decodeStructured(asked()) as RemoteRequest;
  const text = aText(20_000_000);
  const { answer } = await answerTo({ ...NONE, text }, request);
  say({ kind: 'answer', answer });
  const got = await answered;
  t.same(got.series, []);
  t.ok((await held()) < 100_000, `${await held()} bytes`);
  t.ok(Buffer.concat([...piecesOf(got.text!)]).equals(Buffer.from(`{${'.'.repeat(20_000_000)}}`)));
  sent.abort();
});

t.test('an older query-frontend gets all series as one, made while others have turns', async (t) => {
  let ticks = 0;
  let isOver = false;
  const tick = (): void => {
    ticks++;
    if (!isOver) setImmediate(tick);
  };
  setImmediate(tick);
  const { answer } = await answerTo({ ...NONE, text: aText(20_000_000) }, {});
  isOver = true;
  t.ok(ticks > 10, `${ticks} turns`);
  t.notOk('text' in answer);
  t.equal(answer.series.length, 1);
  t.ok(Buffer.from(answer.series[0]!).equals(Buffer.from(`{${'.'.repeat(20_000_000)}}`)));
  const none = new FilledTextWriter(Buffer.from('a fill'));
  t.same((await answerTo({ ...NONE, text: none.text() }, {})).answer.series, [], 'of none it gets none');
});

t.test('an older query-frontend that explains a query counts each of its series', async (t) => {
  const series = [new Uint8Array([1]), new Uint8Array([2])];
  const explained = queryOf(GROWING, { format: 'json', isExplained: true });
  const old = await answerTo({ ...NONE, series }, {}, explained);
  t.equal(old.asked.format, 'proto', 'as JSON they come as one');
  t.equal(old.answer.series.length, 2);
  t.equal((await answerTo({ ...NONE, series }, {})).asked.format, 'json');
  t.equal((await answerTo({ ...NONE, series }, { takesText: true }, explained)).asked.format, 'json');
});

t.test('how far a query is, is counted as often as it is told', async (t) => {
  let read = 0;
  const metrics: Querier['metrics'] = async (_query, _signal, onProgress) => {
    const progress: MetricsProgress = {
      get stats() {
        read++;
        return STATS;
      },
      seriesSoFar: async () => undefined,
    };
    for (let job = 0; job < 1000; job++) onProgress!(progress);
    return NONE;
  };
  const told: string[] = [];
  const body = encodeStructured({
    asked: { kind: 'metrics', query: queryOf(GROWING) },
    wantsProgress: true,
  });
  const { signal } = new AbortController();
  await answerWholeQuery({ metrics } as Querier, body, signal, async ({ kind }) => void told.push(kind));
  t.same(told, ['progress', 'answer']);
  t.equal(read, 1);
});

t.test('blocks of a query are counted once, however often it is asked how far it is', async (t) => {
  const sizeReads = new Map<string, number>();
  const blocks = Array.from({ length: 30 }, (_, i) => ({
    kind: 'block',
    location: 'backend',
    meta: {
      blockId: `block ${i}`,
      get sizeBytes() {
        sizeReads.set(this.blockId, (sizeReads.get(this.blockId) ?? 0) + 1);
        return 1000;
      },
    },
  }));
  const jobs = blocks.map(() => ({ input: { sources: [] }, affinity: 0, newestStart: Infinity }));
  const totals = { inspectedTraces: 1, inspectedSpans: 2, inspectedBytes: 10, failures: [] };
  const finished = { kind: 'finishMetrics', bodies: new Uint8Array(0), ends: new Float64Array(0) };
  const run = async ({ kind }: { readonly kind: string }) =>
    kind === 'metrics'
      ? { kind, part: undefined, ...totals }
      : { ...finished, text: undefined, isCut: false, isPartial: false, failures: [] };
  const told: MetricsProgress['stats'][] = [];
  const lease = { found: () => undefined, holds: () => undefined, drop: () => undefined };
  const metrics = new Metrics();
  const query = queryOf(GROWING, { startUnixNano: 0n, endUnixNano: 60n, stepNanos: 10n, seriesMax: 0 });
  const { answer } = await findMetrics(query, {
    pool: { run },
    budget: new PartsBudget({ bytesMax: 1 << 20, metrics }),
    results: { take: async () => lease, mayWait: () => false },
    sources: blocks,
    plan: { jobs, inspectedBytes: 5 },
    samplesMax: 1000,
    concurrency: 4,
    signal: undefined,
    allRead: () => undefined,
    onProgress: ({ stats }: MetricsProgress) => void told.push(stats),
  } as unknown as MetricsScan);
  t.equal(told.length, 30);
  const all = { totalBlocks: 30, totalBlockBytes: 30_000, totalJobs: 30 };
  t.match(told[14], { ...all, completedJobs: 15, inspectedSpans: 30, inspectedBytes: 155 });
  t.match(answer.stats, { ...all, completedJobs: 30, inspectedTraces: 30, inspectedBytes: 305 });
  t.same([...new Set(sizeReads.values())], [1]);
});
