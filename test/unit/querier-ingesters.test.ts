// The ingesters that a querier asks: which, how long they are waited for, what happens when one leaves or
// stands still, and what goes over the call.
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import t from 'tap';
import type { RemoteSource, TraceTable } from '../../src/contracts/recent-traces.ts';
import type {
  AnsweredTrace,
  Querier,
  SearchAnswer,
  SearchQuery,
  TagNamesAnswer,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesQuery,
} from '../../src/contracts/query.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { ClosableQuerier, PatientQuerier, RemoteRecents } from '../../src/modules/querier/index.ts';
import { IngesterLostError } from '../../src/modules/querier/ingester-link.ts';
import { encodeStructured } from '../../src/rpc/structured.ts';
import {
  decodeToIngester,
  encodeToIngester,
  type ListedSource,
  type ToIngester,
} from '../../src/store/recent-sessions.ts';
import type { ScanJob, ScanResult, SearchJobResult } from '../../src/store/scan-job.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { countOf, listing, ScriptedIngester } from '../support/scripted-ingester.ts';

t.setTimeout(120_000);

const ANY = { startSec: undefined, endSec: undefined };

interface Ring {
  readonly awayCount?: number;
  /** Of all. */
  readonly missingMax?: number;
  readonly timeoutMs?: number;
  readonly metrics?: Metrics;
}

interface Asked {
  readonly id: string;
  readonly addr: string;
  readonly zone: string;
}

const named = (id: string, addr = id): Asked => ({ id, addr, zone: '' });

/** Of all, those who do not answer and those who are away. */
function readersOf(asked: readonly Asked[], { awayCount = 0, missingMax = 0 }: Ring = {}) {
  return { asked, awayCount, awaited: () => countOf(asked.length + awayCount, missingMax) };
}

/** Asks these by their names. */
function recentsOf(ingesters: Readonly<Record<string, ScriptedIngester>>, ring: Ring = {}): RemoteRecents {
  const asked = Object.keys(ingesters).map((id) => named(id));
  return new RemoteRecents({
    ingesters: () => readersOf(asked, ring),
    known: () => asked,
    open: async (addr) => ingesters[addr]!,
    timeoutMs: ring.timeoutMs ?? 10_000,
    tableBytesMax: 1 << 20,
    logger: silentLogger,
    metrics: ring.metrics ?? new Metrics(),
  });
}

/** One that has nothing. */
const empty = (): ScriptedIngester =>
  new ScriptedIngester((said) => (said.kind === 'open' ? [listing(said, [])] : []));

t.test('of an ingester that cannot be asked is told once a minute', async (t) => {
  const lines: string[] = [];
  let nowMs = 1000;
  let asked = [named('one', 'a:1')];
  const recents = new RemoteRecents({
    ingesters: () => readersOf(asked, { missingMax: 1 }),
    known: () => asked,
    open: async () => {
      throw new TempoError('unavailable', 'nobody is there');
    },
    timeoutMs: 10_000,
    tableBytesMax: 1 << 20,
    logger: createLogger({ level: 'warn', format: 'logfmt', write: (line) => void lines.push(line) }),
    metrics: new Metrics(),
    nowMs: () => nowMs,
  });
  const ask = async (): Promise<readonly string[]> => {
    lines.length = 0;
    await recents.recentSources('team', ANY);
    return lines.map((line) => /ingester=\w+ times=\d+/.exec(line)?.[0] ?? line);
  };
  t.same(await ask(), ['ingester=one times=1']);
  t.same(await ask(), []);
  asked = [...asked, named('two', 'b:1')];
  t.same(await ask(), ['ingester=two times=1'], 'of another one at once');
  nowMs += 59_999;
  t.same(await ask(), []);
  nowMs += 1;
  t.same((await ask()).toSorted(), ['ingester=one times=4', 'ingester=two times=2'], 'with how often it was');
  t.same(await ask(), []);
  nowMs += 60_000;
  t.same((await ask()).toSorted(), ['ingester=one times=2', 'ingester=two times=2']);
  await recents.close();
});

t.test('connections to ingesters', async (t) => {
  const [one, two] = ['10.0.0.1:9095', '10.0.0.2:9095'];
  const opened: string[] = [];
  const clients: ScriptedIngester[] = [];
  let asked = [named('one', one)];
  const recents = new RemoteRecents({
    ingesters: () => readersOf(asked, { missingMax: 1 }),
    known: () => asked,
    open: async (addr) => {
      opened.push(addr);
      if (opened.length === 1) throw new TempoError('invalid_argument', 'certificate x cannot be read');
      const client = new ScriptedIngester(() => {
        if (client.calls > 3) throw new Error('it is asked without end');
        client.leave();
        return [];
      });
      clients.push(client);
      return client;
    },
    timeoutMs: 10_000,
    tableBytesMax: 1 << 20,
    logger: silentLogger,
    metrics: new Metrics(),
  });
  const ask = async () => (await recents.recentSources('team', ANY)).partial;
  const missing = ['1 of 1 ingesters could not be asked for recent spans'];
  t.same(await ask(), missing);
  t.same(await ask(), missing);
  t.same(await ask(), missing);
  t.same(opened, [one, one], 'what failed is opened again, what is open is kept');
  asked = [named('two', two)];
  t.same(await ask(), missing);
  t.same(
    clients.map(({ isClosed }) => isClosed),
    [true, false],
    'nobody asks there any more',
  );
  asked = [];
  await t.rejects(ask(), { code: 'unavailable', message: /the ring has no ingester/ });
  await recents.close();
  t.same(
    clients.map(({ isClosed }) => isClosed),
    [true, true],
  );
});

t.test('a tenant is asked of its ingesters, and connections to those of others stay', async (t) => {
  const clients = new Map<string, ScriptedIngester>();
  const known = ['one', 'two', 'three'].map((id) => named(id));
  const recents = new RemoteRecents({
    ingesters: (tenant) => readersOf(known.filter(({ id }) => tenant.includes(id))),
    known: () => known,
    open: async (addr) => {
      t.notOk(clients.has(addr), `${addr} is opened once`);
      const client = empty();
      clients.set(addr, client);
      return client;
    },
    timeoutMs: 10_000,
    tableBytesMax: 1 << 20,
    logger: silentLogger,
    metrics: new Metrics(),
  });
  for (const tenant of ['one-two', 'two', 'one-two']) {
    const recent = await recents.recentSources(tenant, ANY);
    t.same(recent.partial, []);
    recent.release();
  }
  t.same([...clients.keys()].toSorted(), ['one', 'two']);
  t.ok([...clients.values()].every(({ isClosed }) => !isClosed));
  await recents.close();
});

t.test('tables of traces are not sent twice, an ingester that says nothing is not waited for', async (t) => {
  const tableOf = (...traces: readonly number[]): TraceTable => ({
    traceCount: traces.length,
    ids: Uint8Array.from(traces.flatMap((id) => Array.from({ length: 16 }, () => id))),
    digests: Int32Array.from(traces.flatMap((id) => [1, id, id])),
    startMicros: Float64Array.from(traces),
    endMicros: Float64Array.from(traces, (id) => id + 1),
    newestStart: Math.max(...traces),
  });
  const answers: Pick<ListedSource, 'version' | 'table' | 'changes'>[] = [
    { version: '2/2', table: tableOf(1, 2) },
    { version: '2/2', table: undefined },
    { version: '4/3', table: undefined, changes: { rows: Int32Array.of(0, 2), table: tableOf(7, 9) } },
  ];
  const one = new ScriptedIngester((said) =>
    said.kind === 'open' ? [listing(said, [{ blockId: 'b', spanCount: 1, ...answers.shift()! }])] : [],
  );
  const recents = recentsOf({ one }, { timeoutMs: 100 });
  for (const want of [tableOf(1, 2), tableOf(1, 2), tableOf(7, 2, 9)]) {
    const recent = await recents.recentSources('team', ANY);
    const { sources, partial } = recent;
    t.match(sources, [{ kind: 'remote', blockId: 'b' }]);
    const [{ table } = assert.fail()] = sources as readonly RemoteSource[];
    t.same({ ...table, ids: [...table.ids] }, { ...want, ids: [...want.ids] });
    t.same(partial, []);
    recent.release();
  }
  const known = one.heard.flatMap((said) => (said.kind === 'open' ? [[...said.known].map(String)] : []));
  t.same(known, [[], ['b,2/2'], ['b,2/2']]);
  await new Promise(setImmediate);
  const ended = one.heard.filter(({ kind }) => kind === 'end').length;
  t.same([one.calls, ended], [1, 3], 'one call for all queries, and nothing is held when they are over');
  one.isStuck = true;
  const { sources, partial } = await recents.recentSources('team', ANY);
  t.same([sources, partial], [[], ['1 of 1 ingesters could not be asked for recent spans']]);
  await recents.close();
});

t.test('an ingester that stands still delays no query once enough others have answered', async (t) => {
  const ingesters = { one: empty(), two: empty(), three: empty() };
  const ask = async (missingMax: number): Promise<readonly [string, readonly string[]]> => {
    const recents = recentsOf(ingesters, { missingMax, timeoutMs: 2000 });
    const fromMs = performance.now();
    const recent = await recents.recentSources('team', ANY);
    recent.release();
    await recents.close();
    return [performance.now() - fromMs < 1500 ? 'soon' : 'late', recent.partial ?? []];
  };
  ingesters.three.isStuck = true;
  t.same(await ask(1), ['soon', []], 'two of three are enough');
  ingesters.two.isStuck = true;
  t.same(await ask(1), ['late', ['2 of 3 ingesters could not be asked for recent spans']]);
  t.same(await ask(0), ['late', ['2 of 3 ingesters could not be asked for recent spans']]);
});

t.test('those that the ring has and that are not asked count as missing', async (t) => {
  const ask = async (ring: Ring, ...stuck: readonly ('one' | 'two')[]): Promise<readonly string[]> => {
    const ingesters = { one: empty(), two: empty() };
    for (const id of stuck) ingesters[id].isStuck = true;
    const recents = recentsOf(ingesters, { timeoutMs: 300, ...ring });
    const recent = await recents.recentSources('team', ANY);
    recent.release();
    await recents.close();
    return recent.partial ?? [];
  };
  t.same(await ask({ awayCount: 1, missingMax: 1 }), [], 'one of three is away');
  const two = ['2 of 3 ingesters could not be asked for recent spans'];
  t.same(await ask({ awayCount: 1, missingMax: 1 }, 'two'), two, 'and another one stands still');
  t.same(await ask({ awayCount: 2, missingMax: 1 }), [
    '2 of 4 ingesters could not be asked for recent spans',
  ]);
  t.same(await ask({ awayCount: 1, missingMax: 2 }, 'two'), []);
  const late: ScriptedIngester = new ScriptedIngester((said) => {
    if (said.kind === 'open') setTimeout(() => late.say(listing(said, [])), 600);
    return [];
  });
  const recents = recentsOf({ one: empty(), late }, { awayCount: 1, missingMax: 1 });
  const recent = await recents.recentSources('team', ANY);
  t.same(recent.partial, [], 'where one is away already, the slow one is waited for');
  recent.release();
  await recents.close();
});

t.test('a call that had ended unnoticed is opened again, once', async (t) => {
  let isGone = false;
  const one: ScriptedIngester = new ScriptedIngester((said) => {
    if (said.kind !== 'open') return [];
    if (one.calls > 3) throw new Error('it is asked without end');
    if (isGone) one.leave();
    return isGone ? [] : [listing(said, [])];
  });
  const recents = recentsOf({ one });
  const ask = async (): Promise<readonly string[]> => {
    const recent = await recents.recentSources('team', ANY);
    recent.release();
    return recent.partial ?? [];
  };
  t.same(await ask(), []);
  isGone = true;
  const asked = ask();
  t.same(await asked, ['1 of 1 ingesters could not be asked for recent spans']);
  t.equal(one.calls, 2, 'the call that was there, and a fresh one');
  isGone = false;
  t.same(await ask(), []);
  let isOld = true;
  const two: ScriptedIngester = new ScriptedIngester((said) => {
    if (said.kind !== 'open') return [];
    if (two.calls === 1 && !isOld) two.leave();
    return two.calls === 1 && !isOld ? [] : [listing(said, [])];
  });
  const others = recentsOf({ two });
  (await others.recentSources('team', ANY)).release();
  isOld = false;
  const again = await others.recentSources('team', ANY);
  t.same(again.partial, [], 'the query is asked again on a new call');
  t.equal(two.calls, 2);
  again.release();
  await Promise.all([recents.close(), others.close()]);
});

const RESULT = { kind: 'search' } as unknown as SearchJobResult;

/** A job over the one source of a query. */
async function startJob(
  recents: RemoteRecents,
  signal: AbortSignal,
): Promise<{ readonly release: () => void; readonly result: Promise<ScanResult> }> {
  const recent = await recents.recentSources('team', ANY);
  const nobody = { run: () => Promise.reject(new Error('there is nothing to do here')) };
  const job = { kind: 'search', sources: recent.sources } as unknown as ScanJob;
  const result = recents.poolOver(nobody).run(job, { tenant: 'team', signal, limitMs: 0 });
  result.catch(() => undefined);
  return { release: () => recent.release(), result };
}

/** One that has a source, and answers jobs when the test says so. */
function working(givesSigns: boolean): ScriptedIngester {
  const source = { blockId: 'b', version: '1/1', spanCount: 1, table: undefined };
  return new ScriptedIngester((said) =>
    said.kind === 'open' ? [listing(said, [source], givesSigns && said.wantsSigns)] : [],
  );
}

const never = new AbortController().signal;

/** All that is under way without timers. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

t.test('a job that nobody waits for is cancelled at the ingester', async (t) => {
  const one = working(true);
  const recents = recentsOf({ one });
  const left = new AbortController();
  const { result, release } = await startJob(recents, left.signal);
  await settled();
  const [job] = one.heard.filter(({ kind }) => kind === 'job');
  t.match(job, { id: 1 });
  left.abort(new TempoError('cancelled', 'the client has left'));
  await t.rejects(result, { message: 'the client has left' });
  await settled();
  t.match(
    one.heard.filter(({ kind }) => kind === 'cancel'),
    [{ session: job!.session, id: 1 }],
  );
  await t.rejects(
    startJob(recents, left.signal).then((started) => started.result),
    {
      message: 'the client has left',
    },
  );
  t.equal(one.heard.filter(({ kind }) => kind === 'job').length, 1, 'none is begun for nobody');
  release();
  await recents.close();
});

t.test('an ingester without a sign of life while it has jobs is lost', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const pass = async (seconds: number): Promise<void> => {
    for (let ms = 0; ms < seconds * 1000; ms += 500) {
      mock.timers.tick(500);
      await settled();
    }
  };
  const one = working(true);
  const metrics = new Metrics();
  const recents = recentsOf({ one }, { metrics });
  const { result, release } = await startJob(recents, never);
  for (let i = 0; i < 10; i++) {
    await pass(2.5);
    one.say({ kind: 'alive', session: 0 });
    await settled();
  }
  const { session } = one.heard.find(({ kind }) => kind === 'job')!;
  one.say({ kind: 'result', session, id: 1, result: RESULT });
  t.match(await result, { kind: 'search' }, 'work may last');
  await pass(60);
  t.equal(one.calls, 1, 'nothing is expected of one that has nothing to do');
  const { result: lost } = await startJob(recents, never);
  await settled();
  await pass(2.5);
  const both = await startJob(recents, never);
  await pass(3);
  await t.rejects(lost, { message: 'ingester one left amid the query' });
  await t.rejects(both.result, { message: 'ingester one left amid the query' }, 'with all that it had');
  t.match(await metrics.text(), /tempo_querier_silent_ingesters_total 1\n/);
  const next = await startJob(recents, never);
  t.equal(one.calls, 2, 'the next query opens a call of its own');
  release();
  next.release();
  await recents.close();
});

t.test('an ingester that does no jobs any more is lost, though its call lasts', async (t) => {
  const one = working(true);
  const recents = recentsOf({ one });
  const fail = async (message: string, rest: { readonly isLeaving?: boolean }): Promise<unknown> => {
    const { result, release } = await startJob(recents, never);
    await settled();
    const job = one.heard.findLast(({ kind }) => kind === 'job');
    assert(job?.kind === 'job');
    const { session, id } = job;
    const failure = { code: 'unavailable', message, retryAfterMs: undefined } as const;
    one.say({ kind: 'failure', session, id, failure, ...rest });
    return result.catch((err: unknown) => err).finally(release);
  };
  const lost = await fail('the server is stopping', { isLeaving: true });
  t.ok(lost instanceof IngesterLostError, 'the query is begun again');
  t.match(lost, { cause: { message: 'the server is stopping' } });
  for (const rest of [{ isLeaving: false }, {}]) {
    const other = await fail('x cannot be opened now', rest);
    t.notOk(other instanceof IngesterLostError);
    t.match(other, { code: 'unavailable', message: 'x cannot be opened now' });
  }
  await recents.close();
});

t.test('signs of life are not expected of an ingester that does not know them', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] });
  t.teardown(() => mock.timers.reset());
  const one = working(false);
  const recents = recentsOf({ one });
  const { result, release } = await startJob(recents, never);
  await settled();
  mock.timers.tick(60_000);
  await settled();
  const { session } = one.heard.find(({ kind }) => kind === 'job')!;
  one.say({ kind: 'result', session, id: 1, result: RESULT });
  t.match(await result, { kind: 'search' });
  release();
  await recents.close();
});

t.test('what a querier says is read with care', (t) => {
  const open: ToIngester = {
    kind: 'open',
    session: 1,
    tenant: 'team',
    range: { startSec: 1, endSec: undefined },
    known: new Map([['a', 'block']]),
    needsTables: true,
    wantsSigns: true,
  };
  const job: ToIngester = {
    kind: 'job',
    session: 2,
    id: 3,
    job: {
      kind: 'search',
      sources: [
        { blockId: 'a', without: Int32Array.of(1, 2, 70_000), apart: Int32Array.of(), traceCount: 9 },
        { blockId: 'b', rowGroups: [0, 1] },
      ],
    },
  };
  const parts: ToIngester = {
    kind: 'job',
    session: 2,
    id: 4,
    job: { kind: 'traceParts', sources: [{ blockId: 'a' }], rows: Int32Array.of(5) },
  };
  for (const said of [open, job, parts, { kind: 'cancel', session: 1, id: 2 }, { kind: 'end', session: 1 }]) {
    t.same(decodeToIngester(encodeToIngester(said as ToIngester)), said);
  }
  const wrong: readonly [unknown, RegExp][] = [
    [{ ...open, tenant: 5 }, /no valid tenant/],
    [{ ...open, known: {} }, /no valid known/],
    [{ ...open, range: undefined }, /no valid range/],
    [{ ...open, range: { startSec: 'x' } }, /no valid range/],
    [{ ...open, session: -1 }, /no valid session/],
    [{ kind: 'cancel', session: 1 }, /no valid id/],
    [{ kind: 'what', session: 1, id: 1 }, /no valid kind/],
    [{ kind: 'job', session: 1, id: 1, job: { sources: [{}] } }, /no valid job/],
    [null, /no valid session/],
  ];
  const messageOf = (head: unknown, lengthOf = (length: number) => length): Buffer => {
    const bytes = encodeStructured(head);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(lengthOf(bytes.length));
    return Buffer.concat([size, bytes]);
  };
  for (const [said, message] of wrong) {
    t.throws(() => decodeToIngester(messageOf({ said, lengths: [] })), { code: 'invalid_argument', message });
  }
  const without = { ...job.job, sources: [{ blockId: 'a', without: 3 }] };
  for (const lengths of [[1e9], [-1], ['x'], [], 7]) {
    const message = /no valid rows/;
    t.throws(() => decodeToIngester(messageOf({ said: { ...job, job: without }, lengths })), { message });
  }
  const many = { said: { ...open, known: new Map(Array.from({ length: 90_000 }, (_, i) => [`${i}`, 'x'])) } };
  t.throws(() => decodeToIngester(messageOf(many)), { code: 'too_large' });
  for (const bytes of [
    new Uint8Array(0),
    Buffer.from([9, 0, 0, 0, 1]),
    messageOf({}, (length) => length - 3),
  ]) {
    t.throws(() => decodeToIngester(bytes), { code: 'invalid_argument' });
  }
  t.end();
});

t.test('a querier that has not begun or closes refuses what comes, and waits for what runs', async (t) => {
  const answer = { traces: [] } as unknown as SearchAnswer;
  const running = Promise.withResolvers<SearchAnswer>();
  const inner = { search: () => running.promise } as unknown as Querier;
  const querier = new ClosableQuerier(inner);
  await t.rejects(querier.search({} as SearchQuery), {
    code: 'unavailable',
    message: 'the process is starting',
  });
  querier.open();
  const asked = querier.search({} as SearchQuery);
  let isClosed = false;
  const closed = querier.close(60_000).then(() => (isClosed = true));
  await t.rejects(querier.search({} as SearchQuery), {
    code: 'unavailable',
    message: 'the process is stopping',
  });
  t.equal(isClosed, false);
  running.resolve(answer);
  t.equal(await asked, answer);
  t.equal(await closed, true);
  const slow = new ClosableQuerier({ search: () => new Promise(() => undefined) } as unknown as Querier);
  slow.open();
  void slow.search({} as SearchQuery);
  await slow.close(10);
});

t.test('names and values are told once, though the query is begun again', async (t) => {
  let asked = 0;
  const lose = (): void => {
    if (++asked % 3 !== 0) throw new IngesterLostError('one', undefined);
  };
  const inner = {
    tagNames: async (_query, _signal, onProgress) => {
      const names = [['a', `n${asked}`], ['a']];
      onProgress?.({ inspectedBytes: 1, takeNames: () => names });
      lose();
      return 'names' as unknown as TagNamesAnswer;
    },
    tagValues: async (_query, _signal, onProgress) => {
      const types = [
        { type: 'string', values: ['a', `v${asked}`] },
        { type: 'int', values: ['1'] },
      ] as const;
      onProgress?.({ inspectedBytes: 1, takeTypes: () => types });
      lose();
      return 'values' as unknown as TagValuesAnswer;
    },
  } as Pick<Querier, 'tagNames' | 'tagValues'> as Querier;
  const patient = new PatientQuerier(inner);
  const told: unknown[] = [];
  const names = patient.tagNames({} as TagNamesQuery, never, (some) => void told.push(some.takeNames()));
  t.equal(await names, 'names');
  t.same(told, [
    [['a', 'n0'], ['a']],
    [['n1'], []],
    [['n2'], []],
  ]);
  told.length = 0;
  const values = patient.tagValues({} as TagValuesQuery, never, (some) => void told.push(some.takeTypes()));
  t.equal(await values, 'values');
  t.same(told, [
    [
      { type: 'string', values: ['a', 'v3'] },
      { type: 'int', values: ['1'] },
    ],
    [{ type: 'string', values: ['v4'] }],
    [{ type: 'string', values: ['v5'] }],
  ]);
});

t.test('a query is begun again without an ingester that left', async (t) => {
  const trace = (traceId: string): AnsweredTrace => ({ traceId }) as AnsweredTrace;
  const failures: Error[] = [];
  let asked = 0;
  const answer = { traces: [] } as unknown as SearchAnswer;
  const search: Querier['search'] = async (_query, _signal, onProgress) => {
    asked++;
    const settled = ['a', `of-${asked}`].map(trace);
    onProgress?.({ stats: {} as SearchAnswer['stats'], takeSettled: () => settled });
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return answer;
  };
  const patient = new PatientQuerier({ search } as unknown as Querier);
  const query = {} as SearchQuery;
  const lost = (): Error => new IngesterLostError('one', undefined);
  const told: string[] = [];
  failures.push(lost(), lost());
  const got = await patient.search(query, undefined, (progress) => {
    told.push(...progress.takeSettled().map(({ traceId }) => traceId));
  });
  t.equal(got, answer);
  t.same(told, ['a', 'of-1', 'of-2', 'of-3'], 'nothing is told twice');
  failures.push(lost(), lost(), lost());
  await t.rejects(patient.search(query), { message: 'ingester one left amid the query' });
  t.equal(asked, 6, 'three times at most');
  failures.push(new TempoError('unavailable', 'other'));
  await t.rejects(patient.search(query), { message: 'other' });
  t.equal(asked, 7, 'for no other reason');
  failures.push(lost());
  await t.rejects(patient.search(query, AbortSignal.abort()), { code: 'unavailable' });
  t.equal(asked, 8, 'and for nobody who has left');
});
