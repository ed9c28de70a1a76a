// How much of what queriers answer a query-frontend holds: one large answer alone, several at once, and
// nothing once they were sent.
import v8 from 'node:v8';
import vm from 'node:vm';
import t from 'tap';
import { FEATURES, querierMessage } from '../../src/contracts/httpgrpc.ts';
import type { MetricsQuery, TraceQuery } from '../../src/contracts/query.ts';
import { type AnswerFrame, frameResponses } from '../../src/contracts/remote-query.ts';
import { QueryQueue } from '../../src/modules/query-frontend/query-queue.ts';
import type { HedgeOptions, PendingRequest } from '../../src/modules/query-frontend/queued-query.ts';
import { QuerierStreams } from '../../src/modules/query-frontend/querier-streams.ts';
import { RemoteQuerier } from '../../src/modules/query-frontend/remote-querier.ts';
import type { DuplexHandler, DuplexPeer, GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const MIB = 1 << 20;
const HEDGE: HedgeOptions = { afterMs: 100, copiesMax: 2 };

/** Answers hold 16 MiB together, one of them 64; queriers are the test. */
function aFrontend(queriers: number, triesMax = 1) {
  const metrics = new Metrics();
  const clock = new ManualClock();
  const queue = new QueryQueue({ tenantLengthMax: 9, triesMax, queriersWaitMs: 60_000, clock, metrics });
  const given: PendingRequest[] = [];
  for (let i = 0; i < queriers; i++) {
    queue.join({ clientId: `querier ${i}`, knowsWhole: true, start: (pending) => void given.push(pending) });
  }
  const answerBytes = { allMax: 16 * MIB, oneMax: 64 * MIB };
  const querier = new RemoteQuerier({ queue, answerBytes, hedges: { trace: HEDGE }, metrics });
  /** Its answer comes piece by piece. */
  const ask = () => {
    const sent = new AbortController();
    const answered = querier
      .findTrace({ tenant: 'a', traceId: 'x' } as unknown as TraceQuery, sent.signal)
      .then(
        () => 'answered',
        (err: Error & { code: string }) => `${err.code}: ${err.message}`,
      );
    return { answered, read: () => sent.abort(), ...answering(given.at(-1)!) };
  };
  return { clock, given, querier, ask };
}

function answering(pending: PendingRequest) {
  let left: ReturnType<typeof frameResponses>;
  const begin = (mib: number): void => {
    // The frame has a little more than that.
    const body = new Uint8Array(mib * MIB - 2000);
    left = frameResponses({ kind: 'answer', answer: { body, partial: [] } } as unknown as AnswerFrame);
  };
  /** So many pieces of 1 MiB, or all that are left. */
  const say = (pieces = Infinity): void => {
    for (let i = 0; i < pieces; i++) {
      const next = left.next();
      if (next.done === true) return;
      try {
        if (pending.received(next.value)) return pending.finished();
      } catch (err) {
        return pending.failed(err);
      }
    }
  };
  const answer = (mib: number): void => {
    begin(mib);
    say();
  };
  return { begin, say, answer };
}

t.test(
  'a single answer may be larger than all may be together, beside little that others hold',
  async (t) => {
    const { ask } = aFrontend(3);
    const unread = ask();
    unread.answer(3);
    t.equal(await unread.answered, 'answered', 'and nobody reads it');
    const large = ask();
    large.answer(40);
    t.equal(await large.answered, 'answered');
    const small = ask();
    small.answer(1);
    t.equal(await small.answered, 'answered', 'whatever others hold');
  },
);

t.test('of several large answers the one goes on that holds most', async (t) => {
  const { ask } = aFrontend(4);
  const [first, second] = [ask(), ask()];
  first.begin(40);
  second.begin(40);
  first.say(12);
  second.say();
  const refusal = /^unavailable: answers of queriers hold \d+ bytes of at most 16777216, try again later$/;
  t.match(await second.answered, refusal);
  const moderate = ask();
  moderate.answer(4);
  t.equal(await moderate.answered, 'answered', 'a quarter is for the others');
  first.say();
  t.equal(await first.answered, 'answered');
  first.read();
  moderate.read();
  const next = ask();
  next.answer(40);
  t.equal(await next.answered, 'answered');
});

t.test('an answer that the process has no memory for is refused, and says which key sets it', async (t) => {
  const { ask } = aFrontend(2);
  const huge = ask();
  huge.answer(65);
  const text =
    'an answer of a querier has more than 67108864 bytes, the most that memory.limit leaves for one';
  t.equal(await huge.answered, `too_large: ${text}: ask for less, or raise it`);
  const next = ask();
  next.answer(40);
  t.equal(await next.answered, 'answered', 'nothing of it is held');
});

t.test('small answers that nobody reads have an end', async (t) => {
  const { ask } = aFrontend(40);
  const outcomes: string[] = [];
  for (let i = 0; i < 40; i++) {
    const one = ask();
    one.answer(1);
    outcomes.push(await one.answered);
  }
  t.strictSame(new Set(outcomes.slice(0, 32)), new Set(['answered']));
  for (const outcome of outcomes.slice(33)) t.match(outcome, /^unavailable: /);
});

t.test('two queriers that answer one query do not refuse it for each other', async (t) => {
  const { clock, given, ask } = aFrontend(2);
  const asked = ask();
  await clock.pass(100);
  const other = answering(given[1]!);
  asked.begin(40);
  asked.say(10);
  other.answer(40);
  asked.say();
  t.equal(await asked.answered, 'answered');
});

t.test('what a querier said of an answer that it did not finish is held no longer', async (t) => {
  const { querier, given } = aFrontend(2, 2);
  const query = { tenant: 'a', query: '{ } | rate()' } as unknown as MetricsQuery;
  const { signal } = new AbortController();
  let told = 0;
  const answered = querier.metrics(query, signal, () => told++);
  const stats = { inspectedBytes: 1 };
  const progress = { kind: 'progress', progress: { stats, series: undefined } } as unknown as AnswerFrame;
  for (const response of frameResponses(progress)) given[0]!.received(response);
  t.equal(told, 1);
  const lost = answering(given[0]!);
  lost.begin(40);
  lost.say(12);
  given[0]!.lost('it has left');
  answering(given[1]!).answer(40);
  t.equal(((await answered) as unknown as { body: Uint8Array }).body.length, 40 * MIB - 2000);
});

/** The stream of a querier. @returns what says the next message. */
function join(serve: DuplexHandler): (code: number) => void {
  const messages = [querierMessage({ clientId: 'one', features: FEATURES.wholeQueries })];
  let wake = (): void => undefined;
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
    send: async () => undefined,
  };
  void serve(peer);
  return (code) => {
    messages.push(querierMessage({ response: { code, headers: [], body: new Uint8Array(0) } }));
    wake();
  };
}

t.test('a stream on which no query runs keeps nothing of the last answer', async (t) => {
  const metrics = new Metrics();
  const clock = new ManualClock();
  const queue = new QueryQueue({ tenantLengthMax: 9, triesMax: 1, queriersWaitMs: 60_000, clock, metrics });
  let serve: DuplexHandler | undefined;
  const methods = { duplex: (_: string, handle: DuplexHandler) => (serve = handle), unary: () => undefined };
  new QuerierStreams(queue, silentLogger).registerMethods(methods as unknown as GrpcMethods);
  const sayOne = join(serve!);
  const answerOf = async (): Promise<WeakRef<object>> => {
    const answered = queue.run({
      tenant: 'a',
      request: { method: 'GET', url: '/', headers: [], body: new Uint8Array(0) },
      isWhole: true,
      signal: undefined,
      hedge: undefined,
      begun: () => ({
        received: () => true,
        answer: () => ({ answer: { body: new Uint8Array(MIB) }, isComplete: true, inspectedBytes: 0 }),
        givenUp: () => undefined,
      }),
    });
    await clock.pass(1);
    sayOne(200);
    return new WeakRef(await answered);
  };
  const answer = await answerOf();
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  for (let i = 0; i < 20 && answer.deref() !== undefined; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5)); // a reference that was read lives for this turn
    collect();
  }
  t.ok(answer.deref() === undefined);
});
