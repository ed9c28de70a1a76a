// A query that takes long is given to a second querier as well: when, to whom, whose answer is taken, and
// what becomes of the others.
import t from 'tap';
import {
  FEATURES,
  type HttpGrpcResponse,
  querierMessage,
  readFrontendMessage,
} from '../../src/contracts/httpgrpc.ts';
import type { SearchAnswer, SearchProgress, SearchQuery } from '../../src/contracts/query.ts';
import { type AnswerFrame, frameResponses } from '../../src/contracts/remote-query.ts';
import { TempoError, TimeIsUpError } from '../../src/lib/errors.ts';
import { QueryQueue } from '../../src/modules/query-frontend/query-queue.ts';
import type {
  HedgeOptions,
  PendingRequest,
  QuerierSlot,
} from '../../src/modules/query-frontend/queued-query.ts';
import { QuerierStreams } from '../../src/modules/query-frontend/querier-streams.ts';
import { RemoteQuerier } from '../../src/modules/query-frontend/remote-querier.ts';
import type { DuplexHandler, DuplexPeer, GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const HEDGE: HedgeOptions = { afterMs: 100, copiesMax: 2 };
const FAILED: HttpGrpcResponse = { code: 500, headers: [], body: new Uint8Array(0) };
const PARTIAL: HttpGrpcResponse = { ...FAILED, code: 206 };

interface Had {
  readonly pending: PendingRequest;
  /** Says all. */
  answer(response?: HttpGrpcResponse): void;
}

function aWorld(hedge: HedgeOptions | 'none' = HEDGE) {
  const clock = new ManualClock();
  const metrics = new Metrics();
  const queue = new QueryQueue({ tenantLengthMax: 9, triesMax: 2, queriersWaitMs: 60_000, clock, metrics });
  const begun: string[] = [];
  const has = new Map<string, Had>();
  const join = (clientId: string): QuerierSlot => {
    const slot: QuerierSlot = {
      clientId,
      knowsWhole: true,
      start: (pending) => {
        const had = `${clientId} ${pending.asked.request.url}`;
        begun.push(had);
        pending.signal.addEventListener('abort', () => begun.push(`${had} stops`));
        const answer = (response = { ...FAILED, code: 200 }): void => {
          t.equal(pending.received(response), true);
          pending.finished();
          queue.free(slot);
        };
        has.set(had, { pending, answer });
      },
    };
    queue.join(slot);
    return slot;
  };
  const ask = (url: string, signal?: AbortSignal): Promise<string> =>
    queue
      .run({
        tenant: 'a',
        request: { method: 'GET', url, headers: [], body: new Uint8Array(0) },
        isWhole: true,
        signal,
        hedge: hedge === 'none' ? undefined : hedge,
        begun: () => {
          const which = begun.length + 1;
          let code = 0;
          return {
            received: (response) => {
              ({ code } = response);
              return true;
            },
            answer: () => {
              if (code === FAILED.code) throw new Error(`no answer ${which}`);
              return { answer: `answer ${which}`, isComplete: code !== PARTIAL.code, inspectedBytes: 0 };
            },
            givenUp: () => undefined,
          };
        },
      })
      .catch((err: Error) => err.message);
  return { clock, metrics, queue, begun, has, join, ask };
}

t.test('after a while another querier has the query too, and the first answer is taken', async (t) => {
  const { clock, metrics, begun, has, join, ask } = aWorld();
  const answer = ask('x');
  await clock.pass(1000);
  join('one');
  join('two');
  await clock.pass(99);
  t.same(begun, ['one x'], 'the time in the queue does not count');
  await clock.pass(1);
  t.same(begun, ['one x', 'two x']);
  has.get('two x')!.answer();
  t.same(begun.slice(2), ['one x stops']);
  t.equal(await answer, 'answer 2');
  await clock.pass(10_000);
  t.equal(begun.length, 3);
  const text = await metrics.text();
  t.match(text, 'tempo_query_frontend_hedged_roundtrips_total 1\n');
  t.match(text, 'tempo_query_frontend_hedged_roundtrips_won_total 1\n');
  t.match(text, 'tempo_query_frontend_retries_sum 0\n');
});

t.test('the first querier may be first nonetheless, and who answers in time is alone', async (t) => {
  const { clock, metrics, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const late = ask('x');
  await clock.pass(150);
  has.get('one x')!.answer();
  t.equal(await late, 'answer 1');
  t.same(begun, ['one x', 'two x', 'two x stops']);
  const soon = ask('y');
  has.get('one y')!.answer();
  t.equal(await soon, 'answer 4');
  await clock.pass(1000);
  t.equal(begun.length, 4);
  t.match(await metrics.text(), 'tempo_query_frontend_hedged_roundtrips_won_total 0\n');
});

for (const hedge of ['none', { afterMs: 0, copiesMax: 2 }, { afterMs: 100, copiesMax: 1 }] as const) {
  t.test(`one querier alone has it with ${JSON.stringify(hedge)}`, async (t) => {
    const { clock, begun, join, ask } = aWorld(hedge);
    for (const name of ['one', 'two']) join(name);
    void ask('x');
    await clock.pass(10_000);
    t.same(begun, ['one x']);
  });
}

t.test('the querier that has it does not get it again, another one that comes does', async (t) => {
  const { clock, begun, join, ask } = aWorld();
  for (const name of ['one', 'one', 'one']) join(name);
  void ask('x');
  await clock.pass(1000);
  t.same(begun, ['one x']);
  join('two');
  t.same(begun, ['one x', 'two x']);
  join('three');
  await clock.pass(1000);
  t.equal(begun.length, 2, 'two are as many as may');
});

t.test('what is over before another querier is free is not begun there', async (t) => {
  const { clock, begun, has, join, ask } = aWorld();
  join('one');
  const answer = ask('x');
  await clock.pass(1000);
  has.get('one x')!.answer();
  t.equal(await answer, 'answer 1');
  join('two');
  t.same(begun, ['one x']);
});

t.test('further queriers have it one after another, as many as may', async (t) => {
  const { clock, begun, has, join, ask } = aWorld({ afterMs: 100, copiesMax: 3 });
  for (const name of ['one', 'two', 'three', 'four']) join(name);
  const answer = ask('x');
  await clock.pass(100);
  t.equal(begun.length, 2);
  await clock.pass(100);
  t.equal(begun.length, 3);
  await clock.pass(1000);
  t.same(begun, ['one x', 'two x', 'three x']);
  has.get('three x')!.answer();
  t.same(begun.slice(3), ['one x stops', 'two x stops']);
  t.equal(await answer, 'answer 3');
});

t.test('whoever waits for its first querier comes before all second ones', async (t) => {
  const { clock, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  for (const url of ['x', 'y', 'z']) void ask(url);
  await clock.pass(1000);
  t.same(begun, ['one x', 'two y'], 'z waits');
  has.get('two y')!.answer();
  t.same(begun.slice(2), ['two z'], 'and is next');
  void ask('w');
  join('three');
  t.same(begun.slice(3), ['three w'], 'as is what came later');
  join('three');
  t.same(begun.slice(4), ['three x'], 'when none waits the copy is sent');
});

t.test('what one querier fails at is not the failure of the query while another has it', async (t) => {
  const { clock, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const answered = ask('x');
  await clock.pass(100);
  has.get('one x')!.answer(FAILED);
  has.get('two x')!.answer();
  t.equal(await answered, 'answer 2');
  const useless = ask('y');
  await clock.pass(100);
  has.get('two y')!.pending.failed(new Error('of no use'));
  has.get('one y')!.answer();
  t.equal(await useless, 'answer 3');
  t.equal(begun.length, 4);
});

t.test('when all fail the query fails, as it does where no other has it yet', async (t) => {
  const { clock, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const failed = ask('x');
  await clock.pass(100);
  has.get('one x')!.answer(FAILED);
  has.get('two x')!.answer(FAILED);
  t.equal(await failed, 'no answer 1', 'the first reason');
  const alone = ask('y');
  await clock.pass(50);
  has.get('one y')!.answer(FAILED);
  t.equal(await alone, 'no answer 3');
});

t.test('a querier that leaves is replaced when no other has the query', async (t) => {
  const { clock, metrics, queue, begun, has, join, ask } = aWorld();
  const [one] = ['one', 'two', 'two'].map(join);
  const answer = ask('x');
  await clock.pass(100);
  queue.leave(one!);
  has.get('one x')!.pending.lost('it has left');
  await clock.pass(1000);
  t.same(begun, ['one x', 'two x'], 'the other one goes on');
  join('three');
  has.get('two x')!.pending.lost('it is silent');
  t.same(begun.slice(2), ['three x']);
  join('four');
  await clock.pass(1000);
  t.equal(begun.length, 3, 'it has had its copy');
  has.get('three x')!.answer();
  t.equal(await answer, 'answer 3');
  t.match(await metrics.text(), 'tempo_query_frontend_retries_sum 1\n');
});

t.test('an answer that lacks something is taken when no other comes', async (t) => {
  const { clock, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const whole = ask('x');
  await clock.pass(100);
  has.get('two x')!.answer(PARTIAL);
  has.get('one x')!.answer();
  t.equal(await whole, 'answer 1');
  const lacking = ask('y');
  await clock.pass(100);
  has.get('two y')!.answer(PARTIAL);
  has.get('one y')!.pending.lost('it has left');
  t.match(await lacking, /^answer/);
  const alone = ask('z');
  has.get('two z')!.answer(PARTIAL);
  t.match(await alone, /^answer/);
  const late = new AbortController();
  const inTime = ask('w', late.signal);
  join('three');
  await clock.pass(100);
  late.abort(new TimeIsUpError('api_timeout', 'the time is over'));
  has.get('three w')!.answer(PARTIAL);
  t.match(await inTime, /^answer/, 'when the time is over it is good enough');
});

t.test('an answer that lacks something waits for others as long as it took itself', async (t) => {
  const { clock, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const answer = ask('x');
  await clock.pass(250);
  has.get('one x')!.answer(PARTIAL);
  await clock.pass(200);
  t.equal(await Promise.race([answer, Promise.resolve('not yet')]), 'not yet');
  await clock.pass(100);
  t.match(await answer, /^answer/);
  t.same(begun.slice(2), ['two x stops']);
});

t.test('what is wrong with the query ends it, all else may be better elsewhere', async (t) => {
  const { clock, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two', 'three', 'four']) join(name);
  const refused = ask('x');
  await clock.pass(100);
  has.get('one x')!.pending.failed(new TempoError('too_large', 'trace exceeds max size'));
  t.equal(await refused, 'trace exceeds max size');
  t.ok(begun.includes('two x stops'));
  const failed = ask('y');
  await clock.pass(100);
  const [first, second] = [...has].filter(([name]) => name.endsWith(' y')).map(([, had]) => had);
  first!.pending.failed(new TempoError('internal', 'no disk'));
  await clock.pass(1000);
  const before = begun.length;
  second!.pending.lost('it is silent');
  t.equal(await failed, 'no disk', 'what one of them told is the reason');
  t.equal(begun.length, before, 'nobody begins it again');
});

for (const code of ['too_large', 'invalid_argument', 'not_found'] as const) {
  t.test(`${code} of one querier is the reason, whatever another one failed at before`, async (t) => {
    const { clock, has, join, ask } = aWorld();
    for (const name of ['one', 'two']) join(name);
    const failed = ask('x');
    await clock.pass(100);
    has.get('one x')!.pending.failed(new TempoError('unavailable', 'no disk'));
    has.get('two x')!.pending.failed(new TempoError(code, 'what is wrong with it'));
    t.equal(await failed, 'what is wrong with it');
  });
}

t.test('who leaves has all of them stop, and no further one begin', async (t) => {
  const { clock, begun, has, join, ask } = aWorld({ afterMs: 100, copiesMax: 3 });
  for (const name of ['one', 'two', 'three']) join(name);
  const leaving = new AbortController();
  const left = ask('x', leaving.signal);
  await clock.pass(100);
  leaving.abort(new TempoError('cancelled', 'gone'));
  t.same(begun, ['one x', 'two x', 'one x stops', 'two x stops']);
  await clock.pass(1000);
  for (const had of has.values()) had.pending.failed(had.pending.signal.reason);
  t.equal(await left, 'gone');
  t.equal(begun.length, 4);
});

t.test('a query-frontend that stops sends no copies', async (t) => {
  const { clock, queue, begun, has, join, ask } = aWorld();
  for (const name of ['one', 'two']) join(name);
  const answer = ask('x');
  const closed = queue.close(10_000);
  await clock.pass(1000);
  t.same(begun, ['one x']);
  has.get('one x')!.answer();
  t.equal(await answer, 'answer 1');
  await closed;
});

const STATS = { inspectedTraces: 0, inspectedSpans: 0, totalBlocks: 0, totalBlockBytes: 0 };
const statsOf = (inspectedBytes: number) => ({ ...STATS, inspectedBytes, totalJobs: 0, completedJobs: 0 });
const traceOf = (traceId: string) => ({
  traceId,
  startUnixNano: 0n,
  durationNanos: 0n,
  body: new Uint8Array(1000),
});

/** A querier that is asked for searches of others. */
function aSearch() {
  const { clock, metrics, queue, join, has } = aWorld();
  const answerBytes = { allMax: 1 << 20, oneMax: 1 << 20 };
  const querier = new RemoteQuerier({ queue, answerBytes, hedges: { search: HEDGE }, metrics });
  const query = { tenant: 'a', query: '{}', limit: 5 } as unknown as SearchQuery;
  const told: string[] = [];
  const tell = (progress: SearchProgress): void => {
    const ids = progress.takeSettled().map(({ traceId }) => traceId);
    told.push(`${progress.stats.inspectedBytes}: ${ids.join(' ')}`);
  };
  const sent = new AbortController();
  const search = (onProgress?: typeof tell): Promise<SearchAnswer> =>
    querier.search(query, sent.signal, onProgress);
  const say = (clientId: string, frame: AnswerFrame): void => {
    const { pending } = [...has].find(([had]) => had.startsWith(clientId))![1];
    for (const response of frameResponses(frame)) if (pending.received(response)) pending.finished();
  };
  const found = (clientId: string, bytes: number, ...ids: string[]): void =>
    say(clientId, { kind: 'progress', progress: { stats: statsOf(bytes), settled: ids.map(traceOf) } });
  const answer = (clientId: string, ...ids: string[]): void => {
    const traces = ids.map(traceOf);
    const stats = statsOf(100);
    say(clientId, { kind: 'answer', answer: { traces, stats, hasMore: false, partial: [] } });
  };
  /** Answers without all. */
  const lack = (clientId: string, bytes: number, ...ids: string[]): void => {
    const traces = ids.map(traceOf);
    const stats = statsOf(bytes);
    const partial = ['an ingester could not be asked'];
    say(clientId, { kind: 'answer', answer: { traces, stats, hasMore: false, partial } });
  };
  const lose = (clientId: string): void =>
    [...has].find(([had]) => had.startsWith(clientId))![1].pending.lost('it has left');
  const held = async (): Promise<number> => {
    const line = /^tempo_query_frontend_answer_bytes (\d+)/m.exec(await metrics.text());
    return Number(line?.[1]);
  };
  return { clock, join, search, tell, told, found, answer, lack, lose, held, sent };
}

t.test('parts of an answer come from one querier until it is lost, and grow only', async (t) => {
  const { clock, join, search, tell, told, found, answer, lose, held, sent } = aSearch();
  for (const name of ['one', 'two', 'two']) join(name);
  const answered = search(tell);
  found('one', 10, 'a');
  await clock.pass(100);
  found('two', 5, 'a', 'b');
  found('one', 20, 'c');
  found('two', 30, 'd');
  t.same(told, ['10: a', '20: c']);
  lose('one');
  found('two', 15, 'e');
  t.same(told.length, 2, 'less than was told');
  found('two', 40, 'c', 'f');
  t.same(told.slice(2), ['40: f'], 'what was told is not told again');
  answer('two', 'a', 'b', 'c');
  const { traces } = await answered;
  t.same(
    traces.map(({ traceId }) => traceId),
    ['a', 'b', 'c'],
  );
  t.ok((await held()) > 8000, 'what may be on its way is held');
  sent.abort();
  t.equal(await held(), 0);
});

t.test('what a querier said whose answer is not taken is not held', async (t) => {
  const { clock, join, search, found, answer, held, sent } = aSearch();
  for (const name of ['one', 'two']) join(name);
  const answered = search();
  found('one', 10, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j');
  await clock.pass(100);
  t.ok((await held()) > 10_000);
  answer('two', 'a');
  await answered;
  const rest = await held();
  t.ok(rest > 0 && rest < 2000, `${rest}`);
  sent.abort();
  t.equal(await held(), 0);
});

const idsOf = ({ traces }: SearchAnswer): readonly string[] => traces.map(({ traceId }) => traceId);
const timeIsUp = (): TimeIsUpError => new TimeIsUpError('api_timeout', 'the time is over');

for (const [first, second, taken] of [
  [900, 100, 'a'],
  [100, 900, 'b'],
  [500, 500, 'a'],
] as const) {
  t.test(`when the time is over ${first} bytes of one querier, then ${second} of another`, async (t) => {
    const { clock, join, search, lack, sent } = aSearch();
    for (const name of ['one', 'two']) join(name);
    const answered = search();
    await clock.pass(100);
    lack('one', first, 'a');
    sent.abort(timeIsUp());
    lack('two', second, 'b');
    t.same(idsOf(await answered), [taken], 'who read more lacks less');
  });
}

t.test('of several answers that lack something only the best is held', async (t) => {
  const { clock, join, search, answer, lack, held, sent } = aSearch();
  for (const name of ['one', 'two']) join(name);
  const many = Array.from({ length: 20 }, (_, i) => `${i}`);
  const answered = search();
  await clock.pass(100);
  lack('one', 10, ...many);
  t.ok((await held()) > 20_000, 'the other one may be lost');
  answer('two', 'a');
  t.same(idsOf(await answered), ['a']);
  const rest = await held();
  t.ok(rest > 0 && rest < 2000, `${rest} bytes of the whole one`);
  sent.abort();
  t.equal(await held(), 0);
});

t.test('what lacks more than what was answered before is not held', async (t) => {
  const { clock, join, search, lack, held, sent } = aSearch();
  for (const name of ['one', 'two']) join(name);
  const answered = search();
  await clock.pass(100);
  lack('two', 90, 'a');
  lack('one', 10, 'b', 'c', 'd', 'e');
  t.same(idsOf(await answered), ['a']);
  const rest = await held();
  t.ok(rest > 0 && rest < 2000, `${rest}`);
  sent.abort();
  t.equal(await held(), 0);
});

t.test('parts go on from another querier when one has answered without all', async (t) => {
  const { clock, join, search, tell, told, found, answer, lack, held, sent } = aSearch();
  for (const name of ['one', 'two']) join(name);
  const answered = search(tell);
  await clock.pass(100);
  found('one', 20, 'a');
  lack('one', 30, 'a', 'b');
  found('two', 15, 'a');
  t.same(told, ['20: a'], 'less than was told');
  found('two', 40, 'a', 'c');
  found('two', 50, 'd');
  t.same(told.slice(1), ['40: c', '50: d']);
  answer('two', 'a', 'b', 'c', 'd');
  t.same(idsOf(await answered), ['a', 'b', 'c', 'd']);
  t.ok((await held()) > 8000, 'what may be on its way is held');
  sent.abort();
  t.equal(await held(), 0);
});

t.test('who answers after another one in the last moment is not read', async (t) => {
  const { clock, join, search, lack, held, sent } = aSearch();
  for (const name of ['one', 'two']) join(name);
  const answered = search();
  await clock.pass(100);
  sent.abort(timeIsUp());
  lack('one', 10, 'a');
  t.same(idsOf(await answered), ['a']);
  t.throws(() => lack('two', 90, 'b'), /another querier has answered/);
  t.equal(await held(), 0, 'nobody would let go of it');
});

t.test('the stream of a querier whose answer is not needed ends', async (t) => {
  const { clock, queue, ask } = aWorld();
  let serve: DuplexHandler | undefined;
  const methods = { duplex: (_: string, handle: DuplexHandler) => (serve = handle), unary: () => undefined };
  new QuerierStreams(queue, silentLogger).registerMethods(methods as unknown as GrpcMethods);
  const aStream = (clientId: string) => {
    const messages = [querierMessage({ clientId, features: FEATURES.wholeQueries })];
    let [requests, wake] = [0, (): void => undefined];
    const peer: DuplexPeer = {
      metadata: {},
      signal: new AbortController().signal,
      stopping: new AbortController().signal,
      messages: async function* () {
        for (;;) {
          yield* messages.splice(0);
          await new Promise<void>((resolve) => (wake = resolve));
        }
      },
      send: async (message) => {
        if (readFrontendMessage(message).kind === 'request') requests++;
      },
    };
    const ended = serve!(peer).catch((err: Error) => err.message);
    const say = (code: number): void => {
      messages.push(querierMessage({ response: { ...FAILED, code } }));
      wake();
    };
    return { ended, say, requests: () => requests };
  };
  const streams = ['one', 'two'].map(aStream);
  await clock.pass(1);
  const answer = ask('x');
  await clock.pass(100);
  t.same(
    streams.map(({ requests }) => requests()),
    [1, 1],
  );
  streams[1]!.say(200);
  t.equal(await answer, 'answer 1');
  t.equal(await streams[0]!.ended, 'nobody waits for the answer');
  await clock.pass(0);
  t.equal(queue.clientCount, 1);
  const next = ask('y');
  await clock.pass(1);
  streams[1]!.say(200);
  t.equal(await next, 'answer 1', 'the other one goes on');
});
