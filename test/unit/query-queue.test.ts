// The queue of a query-frontend without queriers of its own, and what query-frontends and queriers say to
// each other, byte by byte where Tempo speaks it too.
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import {
  FEATURES,
  frontendMessage,
  type HttpGrpcRequest,
  querierMessage,
  readFrontendMessage,
  readQuerierMessage,
} from '../../src/contracts/httpgrpc.ts';
import { errorOf, failureOf, FrameReader, frameResponses } from '../../src/contracts/remote-query.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { RetryLaterError, TempoError, TimeIsUpError } from '../../src/lib/errors.ts';
import { QueryQueue, type QueryQueueOptions } from '../../src/modules/query-frontend/query-queue.ts';
import type { PendingRequest, QuerierSlot } from '../../src/modules/query-frontend/queued-query.ts';
import { QuerierStreams } from '../../src/modules/query-frontend/querier-streams.ts';
import { answerWholeQuery } from '../../src/modules/querier/whole-queries.ts';
import type { AnswerFrame } from '../../src/contracts/remote-query.ts';
import type { Querier, SearchAnswer } from '../../src/contracts/query.ts';
import type { DuplexHandler, DuplexPeer, GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { decodeStructured, encodeStructured } from '../../src/rpc/structured.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

const request: HttpGrpcRequest = { method: 'GET', url: '/querier/x', headers: [], body: new Uint8Array(0) };

function aQueue(over: Partial<QueryQueueOptions> = {}) {
  const metrics = new Metrics();
  const queue = new QueryQueue({
    tenantLengthMax: 3,
    triesMax: 2,
    queriersWaitMs: 60_000,
    clock: systemClock,
    metrics,
    ...over,
  });
  const begun: string[] = [];
  const running = new Map<string, PendingRequest>();
  const slot = (clientId: string, knowsWhole = true): QuerierSlot => ({
    clientId,
    knowsWhole,
    start: (pending) => {
      begun.push(`${clientId} ${pending.asked.request.url}`);
      running.set(pending.asked.request.url, pending);
    },
  });
  const ask = (tenant: string, url: string, more: { signal?: AbortSignal; isWhole?: boolean } = {}) => {
    const ended = queue.run({
      tenant,
      request: { ...request, url },
      isWhole: true,
      signal: undefined,
      hedge: undefined,
      begun: () => ({
        received: ({ code }) => code === 200,
        answer: () => ({ answer: 'done', isComplete: true, inspectedBytes: 0 }),
        givenUp: () => undefined,
      }),
      ...more,
    });
    return ended.catch((err: Error) => err.message);
  };
  return { queue, slot, ask, begun, running, metrics };
}

async function metricOf(t: Test, metrics: Metrics, name: string): Promise<number | undefined> {
  const found = await metrics.registry.getSingleMetric(name)?.get();
  t.ok(found, name);
  return found?.values[0]?.value;
}

t.test('tenants whose names are long together are counted as one', async (t) => {
  const { queue, slot, ask, running, metrics } = aQueue({ tenantLengthMax: 1 });
  const length = async (user: string): Promise<number | undefined> => {
    const found = await metrics.registry.getSingleMetric('tempo_query_frontend_queue_length')?.get();
    return found?.values.find(({ labels }) => labels['user'] === user)?.value;
  };
  const many = (n: number): string => `${'x'.repeat(600)}|${n}`;
  const asked = [ask(many(1), '1'), ask(many(2), '2'), ask('a|b', '3')];
  t.equal(await ask(many(1), '4'), 'too many outstanding requests');
  t.equal(await length('several tenants'), 2);
  t.equal(await length('a|b'), 1);
  const one = slot('one');
  queue.join(one);
  t.equal(await length('several tenants'), 1);
  for (const url of ['1', '2', '3']) {
    running.get(url)!.finished();
    queue.free(one);
  }
  await Promise.all(asked);
  t.equal(await length('several tenants'), 0);
  const text = await metrics.text();
  t.match(text, 'tempo_query_frontend_discarded_requests_total{user="several tenants"} 1');
  t.notMatch(text, 'xxx');
});

t.test('tenants take turns, and a full queue refuses', async (t) => {
  const { queue, slot, ask, begun, running, metrics } = aQueue();
  const asked = ['a1', 'a2', 'a3', 'b1', 'c1', 'c2'].map((url) => ask(url[0]!, url));
  t.equal(await ask('a', 'a4'), 'too many outstanding requests');
  t.equal(await metricOf(t, metrics, 'tempo_query_frontend_queue_length'), 3);
  t.equal(await metricOf(t, metrics, 'tempo_query_frontend_discarded_requests_total'), 1);
  const one = slot('one');
  queue.join(one);
  for (let i = 0; i < asked.length; i++) {
    running.get(begun.at(-1)!.slice(4))!.finished();
    queue.free(one);
  }
  t.same(
    await Promise.all(asked),
    asked.map(() => 'done'),
  );
  t.same(
    begun.map((line) => line.slice(4)),
    ['a1', 'b1', 'c1', 'a2', 'c2', 'a3'],
  );
});

t.test('the querier with the least to do gets the next one', (t) => {
  const { queue, slot, ask, begun } = aQueue();
  for (let i = 0; i < 3; i++) queue.join(slot('one'));
  for (let i = 0; i < 3; i++) queue.join(slot('two'));
  for (const url of ['1', '2', '3', '4']) void ask('a', url);
  t.equal(begun.filter((line) => line.startsWith('one')).length, 2);
  t.equal(begun.filter((line) => line.startsWith('two')).length, 2);
  t.end();
});

t.test('what a querier lost is done by another, or in the end refused', async (t) => {
  const { queue, slot, ask, begun, running } = aQueue();
  const [one, again, two] = [slot('one'), slot('one'), slot('two')];
  queue.join(one);
  queue.join(again);
  const ended = ask('a', 'x');
  t.same(begun, ['one x']);
  queue.join(two);
  queue.leave(one);
  running.get('x')!.lost('it has left');
  t.same(begun, ['one x', 'two x'], 'not by the one that lost it');
  queue.leave(two);
  running.get('x')!.lost('it has left');
  t.equal(await ended, 'no querier finished the query: it has left');
  const alone = ask('a', 'y');
  t.same(begun.slice(2), ['one y']);
  running.get('y')!.lost('it has left');
  t.equal(begun.length, 3, 'a stream that is busy gets nothing');
  queue.free(again);
  t.same(begun.slice(3), ['one y'], 'the same again where there is no other');
  running.get('y')!.finished();
  t.equal(await alone, 'done');
});

t.test('what was lost is begun again before what came later', async (t) => {
  const { queue, slot, ask, begun, running } = aQueue();
  const one = slot('one');
  queue.join(one);
  const asked = ['x', 'y', 'z'].map((url) => ask('a', url));
  running.get('x')!.lost('it has left');
  queue.free(one);
  for (const url of ['x', 'y']) {
    running.get(url)!.finished();
    queue.free(one);
  }
  running.get('z')!.finished();
  t.same(await Promise.all(asked), ['done', 'done', 'done']);
  t.same(begun, ['one x', 'one x', 'one y', 'one z']);
});

t.test('whole queries are for queriers that know them', async (t) => {
  const { queue, slot, ask, begun, running } = aQueue();
  queue.join(slot('tempo', false));
  const whole = ask('a', 'whole');
  const part = ask('a', 'part', { isWhole: false });
  t.same(begun, ['tempo part']);
  queue.join(slot('ours'));
  t.same(begun, ['tempo part', 'ours whole']);
  running.get('part')!.finished();
  running.get('whole')!.finished();
  t.same(await Promise.all([whole, part]), ['done', 'done']);
});

t.test('who leaves takes its query along, and without queriers none waits for ever', async (t) => {
  const { queue, slot, ask, begun } = aQueue({ queriersWaitMs: 20 });
  const leaving = new AbortController();
  const left = ask('a', 'left', { signal: leaving.signal });
  const stays = ask('a', 'stays');
  leaving.abort(new TempoError('cancelled', 'gone'));
  t.equal(await left, 'gone');
  t.equal(await stays, 'no querier is connected to this query-frontend');
  t.equal(await ask('a', 'late', { signal: leaving.signal }), 'gone');
  const one = slot('one');
  queue.join(one);
  const running = ask('a', 'running');
  const waiting = ask('a', 'waiting');
  t.same(begun, ['one running']);
  await queue.close(10);
  t.equal(await waiting, 'the query-frontend is stopping');
  t.equal(await ask('a', 'new'), 'the query-frontend is stopping');
  t.equal(await Promise.race([running, Promise.resolve('runs on')]), 'runs on');
});

t.test('messages', (t) => {
  const getId = Buffer.from(frontendMessage({ kind: 'getId' })).toString('latin1');
  t.equal(getId, '\n(\n\x03GET\x12!/invalid_request_sent_by_frontend\x10\x01');
  t.same(readFrontendMessage(Buffer.from(getId, 'latin1')), { kind: 'getId' });
  const full: HttpGrpcRequest = {
    method: 'GET',
    url: '/querier/api/search?q=%7B%7D',
    headers: [
      ['X-Scope-OrgID', 'a'],
      ['Accept', 'application/protobuf'],
      ['Empty', ''],
    ],
    body: Buffer.from('body'),
  };
  const requests = [full, request];
  t.same(readFrontendMessage(frontendMessage({ kind: 'request', request: full })), {
    kind: 'request',
    request: full,
  });
  t.same(readFrontendMessage(frontendMessage({ kind: 'batch', requests })), { kind: 'batch', requests });
  const response = { code: 413, headers: full.headers, body: Buffer.from('too large') };
  t.same(readQuerierMessage(querierMessage({ response })), {
    clientId: '',
    features: 0,
    response,
    responses: [],
  });
  const features = FEATURES.batches | FEATURES.wholeQueries;
  const said = { clientId: 'me', features, response: undefined, responses: [response, response] };
  t.same(readQuerierMessage(querierMessage(said)), said);
  t.throws(() => readQuerierMessage(Buffer.from('\n\xff\xff', 'latin1')), { code: 'invalid_argument' });
  t.end();
});

t.test('frames are cut and put together', (t) => {
  const held: number[] = [];
  const reader = new FrameReader((bytes) => void held.push(bytes));
  const trace = new Uint8Array(2_500_000).fill(7);
  const answer = { trace, isCut: false, inspectedBytes: 5, partial: ['why'] };
  const frames = [...frameResponses({ kind: 'answer', answer })].map((response) => reader.take(response));
  t.equal(frames.length, 3);
  t.same(frames.slice(0, 2), [undefined, undefined]);
  t.match(frames[2], { kind: 'answer', answer: { isCut: false, partial: ['why'] } });
  t.ok(held.reduce((a, b) => a + b) > 2_500_000);
  t.throws(() => reader.take({ code: 404, headers: [], body: Buffer.from('404 page') }), {
    message: 'a querier answered 404: 404 page',
  });
  t.throws(() => reader.take({ code: 200, headers: [], body: Buffer.from('{}') }), {
    code: 'invalid_argument',
  });
  t.throws(() => reader.take({ code: 206, headers: [], body: new Uint8Array(0) }), {
    message: 'a querier answered with an empty piece',
  });
  const refusal = errorOf(failureOf(new RetryLaterError('resource_exhausted', 'later', 5)));
  t.match(refusal, { code: 'resource_exhausted', message: 'later', retryAfterMs: 5 });
  t.match(errorOf(failureOf(new Error('odd'))), { code: 'internal', message: 'odd' });
  t.end();
});

async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}

/** A querier on a stream of its own, which says what the test wants. */
function aStream(serve: DuplexHandler) {
  const said: Uint8Array[] = [];
  const given: string[] = [];
  let wake = (): void => undefined;
  const peer: DuplexPeer = {
    metadata: {},
    signal: new AbortController().signal,
    stopping: new AbortController().signal,
    messages: async function* () {
      for (;;) {
        yield* said.splice(0);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    send: async (message) => {
      const asked = readFrontendMessage(message);
      if (asked.kind === 'request') given.push(asked.request.url);
    },
  };
  const ended = serve(peer).then(
    () => 'in order',
    (err: Error) => err.message,
  );
  const say = async (message: Parameters<typeof querierMessage>[0]): Promise<void> => {
    said.push(querierMessage(message));
    wake();
    await settled();
  };
  const hello = (clientId: string): Promise<void> => say({ clientId, features: FEATURES.wholeQueries });
  return { say, hello, given, ended };
}

t.test(
  'a querier that is silent while it works is given up, one that gives signs of life is not',
  async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.teardown(() => mock.timers.reset());
    const { queue, ask } = aQueue({ triesMax: 3 });
    let serve: DuplexHandler | undefined;
    const methods = {
      duplex: (_: string, handle: DuplexHandler) => (serve = handle),
      unary: () => undefined,
    };
    new QuerierStreams(queue, silentLogger).registerMethods(methods as unknown as GrpcMethods);
    const one = aStream(serve!);
    await one.hello('one');
    mock.timers.tick(60_000);
    const asked = ask('a', '/x');
    await settled();
    t.same(one.given, ['/x']);
    const [alive] = frameResponses({ kind: 'alive' });
    for (let i = 0; i < 5; i++) {
      mock.timers.tick(5900);
      await settled();
      // The test's request is done with the first answer: what is no answer of it is a sign only.
      if (i < 4) await one.say({ response: { ...alive!, code: 100 } });
    }
    const two = aStream(serve!);
    await two.hello('two');
    t.same(two.given, [], 'the first one has it still');
    mock.timers.tick(200);
    t.equal(await one.ended, 'the querier is given up: it is silent');
    await settled();
    t.same(two.given, ['/x'], 'another one has it then');
    await two.say({ response: alive });
    t.equal(await asked, 'done');
    void ask('a', '/y');
    await settled();
    t.same(two.given, ['/x', '/y']);
    mock.timers.tick(6100);
    t.equal(await two.ended, 'the querier is given up: it is silent', 'nor one that never says anything');
  },
);

t.test('a query whose time is over ends, though its querier says that it is at work', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const { queue, ask } = aQueue();
  let serve: DuplexHandler | undefined;
  const methods = { duplex: (_: string, handle: DuplexHandler) => (serve = handle), unary: () => undefined };
  new QuerierStreams(queue, silentLogger).registerMethods(methods as unknown as GrpcMethods);
  const [alive] = frameResponses({ kind: 'alive' });
  const sign = { response: { ...alive!, code: 100 } };
  const part = { response: { ...alive!, code: 206 } };
  for (const said of [sign, part]) {
    const stream = aStream(serve!);
    await stream.hello('one');
    const late = new AbortController();
    const ended = ask('a', '/x', { signal: late.signal });
    await settled();
    late.abort(new TimeIsUpError('query_frontend.api_timeout', 'the time is over'));
    await settled();
    t.equal(stream.given.length, 2, 'it is told');
    for (let i = 0; i < 3; i++) {
      mock.timers.tick(900);
      await settled();
      await stream.say(said);
    }
    if (said === part) {
      // What comes of the answer is waited for, as long as more of it comes.
      t.equal(await Promise.race([ended, settled().then(() => 'not yet')]), 'not yet');
      mock.timers.tick(2100);
    }
    t.match(await stream.ended, /the querier is given up: the time is over/);
    t.match(await ended, /the time is over/);
  }
});

t.test('what an answer lies in is free once it is sent, and not before', async (t) => {
  const order: string[] = [];
  const body = Buffer.from('found');
  const letGo = (): void => {
    order.push('free');
    body.fill(0);
  };
  const answer = { traces: [{ traceId: 'a', body }], partial: [], letGo } as unknown as SearchAnswer;
  const querier = { search: async () => answer } as unknown as Querier;
  const said: AnswerFrame[] = [];
  const request = { asked: { kind: 'search', query: { tenant: 'a' } }, wantsProgress: false };
  const signal = new AbortController().signal;
  await answerWholeQuery(querier, encodeStructured(request), signal, async (frame) => {
    await settled();
    for (const response of frameResponses(frame)) order.push(`${response.code}`);
    said.push(decodeStructured(encodeStructured(frame)) as AnswerFrame);
  });
  t.same(order, ['200', 'free']);
  t.match(said, [{ kind: 'answer', answer: { traces: [{ traceId: 'a' }] } }]);
  t.notOk('letGo' in (said[0] as Extract<AnswerFrame, { kind: 'answer' }>).answer);
});

t.test('a querier says every second that it is at work', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const answer = { traces: [] } as unknown as SearchAnswer;
  const found = Promise.withResolvers<SearchAnswer>();
  const querier = { search: () => found.promise } as unknown as Querier;
  const said: AnswerFrame['kind'][] = [];
  const request = { asked: { kind: 'search', query: { tenant: 'a' } }, wantsProgress: false };
  const say = async ({ kind }: AnswerFrame): Promise<void> => void said.push(kind);
  const done = answerWholeQuery(querier, encodeStructured(request), new AbortController().signal, say);
  await settled();
  t.same(said, []);
  for (let i = 0; i < 8; i++) {
    mock.timers.tick(1000);
    await settled();
  }
  t.same(said, Array<string>(8).fill('alive'));
  found.resolve(answer);
  await done;
  mock.timers.tick(5000);
  await settled();
  t.same(said.slice(8), ['answer'], 'and nothing after its answer');
});
