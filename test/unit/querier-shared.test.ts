// However spans are cut into heads and blocks, a query answers as over one head with all of them.
import { randomFillSync } from 'node:crypto';
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import type { MetricsAnswer } from '../../src/contracts/query.ts';
import { piecesOf } from '../../src/lib/filled-text.ts';
import { StoppingError, TempoError } from '../../src/lib/errors.ts';
import { IngesterLostError } from '../../src/modules/querier/ingester-link.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import {
  addRecentMethods,
  LocalQuerier,
  LocalResultCache,
  RemoteRecents,
} from '../../src/modules/querier/index.ts';
import { openGrpcClient } from '../../src/rpc/grpc-client.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import type { ScanJob, ScanSource } from '../../src/store/scan-job.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { findSharedIds } from '../../src/store/shared-ids.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import {
  aResource,
  aSpan,
  decodeTraces,
  encodeTraces,
  hexId,
  START_NANO,
  type TestSpan,
} from '../support/otlp.ts';
import { asBlock, asHead } from '../support/scan-sources.ts';
import { countOf } from '../support/scripted-ingester.ts';

const { signal } = new AbortController();
const SEED = Number(process.env['SHARED_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env['SHARED_ROUNDS'] ?? 8);
/** Over ingesters each job is a message: of so many rounds one. */
const REMOTE_EVERY = 4;
const SECOND = 1_000_000_000n;
t.setTimeout(120_000);

const MILLI = 1_000_000n;

/** Numbers from 0 to below 1 that depend on the seed only. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Next = ReturnType<typeof random>;
const below = (next: Next, n: number): number => Math.floor(next() * n);

/** Traces of a few spans each: trees, some without a root, starts and ends apart. */
function makeSpans(next: Next, traces: number): TestSpan[] {
  const spans: TestSpan[] = [];
  const services = ['shop', 'cart', 'mail'].map((name) => aResource(name));
  for (let trace = 1; trace <= traces; trace++) {
    const count = 1 + below(next, 9);
    // ids of 64 bits, and others
    const prefix = trace % 3 === 0 ? 0n : BigInt(below(next, 2 ** 32)) << 96n;
    const isRootless = below(next, 5) === 0;
    for (let i = 1; i <= count; i++) {
      const startUnixNano = START_NANO + BigInt(trace * 1000 - 200 + i * 57 + below(next, 5)) * MILLI;
      const parent = i === 1 ? (isRootless ? 99 : 0) : 1 + below(next, i - 1);
      spans.push(
        aSpan({
          traceId: hexId(prefix + BigInt(trace * 7919), 16),
          spanId: hexId(i, 8),
          parentSpanId: parent === 0 ? '' : hexId(parent, 8),
          name: `op-${below(next, 4)}`,
          kind: 1 + below(next, 5),
          startUnixNano,
          endUnixNano: startUnixNano + BigInt(1 + below(next, 400)) * MILLI,
          attributes: [['n', BigInt(below(next, 5))]],
          status: { code: below(next, 3), message: '' },
          resource: services[below(next, services.length)]!,
        }),
      );
    }
  }
  return spans;
}

/** The spans in 1 to 4 sources: each span in one at least, some traces whole in several. */
async function cut(next: Next, spans: readonly TestSpan[], backend: MemoryStore): Promise<ScanSource[]> {
  const count = 1 + below(next, 4);
  const parts: TestSpan[][] = Array.from({ length: count }, () => []);
  const wayOf = new Map<string, number>();
  for (const span of spans) {
    if (!wayOf.has(span.traceId)) wayOf.set(span.traceId, below(next, 4));
    const way = wayOf.get(span.traceId)!;
    const home = Number(BigInt(`0x${span.traceId}`) % BigInt(count));
    if (way === 0) parts[home]!.push(span);
    else if (way === 1) for (const part of parts) part.push(span);
    else {
      const first = below(next, count);
      parts.forEach((part, i) => {
        if (i === first || (way === 2 && below(next, 3) === 0)) part.push(span);
      });
    }
  }
  const sources: ScanSource[] = [];
  for (const [i, part] of parts.entries()) {
    const id = `source-${below(next, 90) + 10}${i}`;
    sources.push(below(next, 2) === 0 ? asHead(id, part) : await asBlock(backend, id, part));
  }
  return sources;
}

function querierOver(
  sources: readonly ScanSource[],
  backend: MemoryStore,
  resultCache?: LocalResultCache,
  samplesMax = 1_000_000,
  recents?: RemoteRecents,
) {
  const metrics = new Metrics();
  const scanner = new Scanner({ local: new MemoryStore(() => 0), backend, cacheBytes: 1 << 20 });
  const jobs: ScanJob[] = [];
  const querier = new LocalQuerier({
    admit: async () => {},
    blocklist: new Blocklist(),
    pool: {
      run: (job) => {
        jobs.push(job);
        return scanner.run(job, signal);
      },
    },
    recent: {
      recentSources: async (...asked) => {
        const there = await recents?.recentSources(...asked);
        if (there === undefined) return { sources, complete: true, release: () => {} };
        return { ...there, sources: [...sources, ...there.sources] };
      },
    },
    poolOver: (pool) => recents?.poolOver(pool) ?? pool,
    logger: silentLogger,
    metrics,
    targetBytesPerJob: 1000,
    scanThreads: 2,
    concurrentJobs: 1000,
    metricsJobs: { targetBytesPerJob: 1000, concurrentJobs: 1000 },
    samplesMax,
    resultBytesMax: 1 << 20,
    resultBytesTaken: () => {},
    metricsPartsBytesMax: 1 << 20,
    idsPerJob: 25,
    sharedCacheBytes: 1 << 20,
    resultCache,
    jobLimitMs: () => 0,
    nowMs: () => 0,
  });
  return { querier, jobs, metrics };
}

/** Each source is with one of three ingesters, or here. */
async function remoteQuerierOver(next: Next, sources: readonly ScanSource[], backend: MemoryStore) {
  const here: ScanSource[] = [];
  const there = Array.from({ length: 3 }, (): ScanSource[] => []);
  for (const source of sources) (there[below(next, 4)] ?? here).push(source);
  return querierOfIngesters(here, there, backend);
}

/**
 * @param there what each ingester has.
 * @param failure why an ingester can do no job of searches.
 */
async function querierOfIngesters(
  here: readonly ScanSource[],
  there: readonly (readonly ScanSource[])[],
  backend: MemoryStore,
  failure?: Error,
) {
  const held = there.map(() => 0);
  const servers = there.map((own, i) => {
    const scanner = new Scanner({ local: new MemoryStore(() => 0), backend, cacheBytes: 1 << 20 });
    const methods = new GrpcMethods();
    addRecentMethods(methods, {
      recent: {
        recentSources: () => {
          held[i]!++;
          return Promise.resolve({ sources: own, complete: true, release: () => held[i]!-- });
        },
      },
      pool: {
        run: (job) => {
          if (failure !== undefined && job.kind === 'search') return Promise.reject(failure);
          return scanner.run(job, signal);
        },
      },
      jobLimitMs: () => 0,
      tenantsOf: () => {
        throw new Error('a querier names no tenant in the header of its call');
      },
      admit: async () => {},
    });
    const address = { host: '127.0.0.1', port: 0 };
    return new GrpcServer({ address, methods, recvMessageBytesMax: 16 << 20, logger: silentLogger });
  });
  const asked = await Promise.all(
    servers.map(async (server, i) => ({
      id: `${i}`,
      zone: '',
      addr: `127.0.0.1:${(await server.start()).port}`,
    })),
  );
  const metrics = new Metrics();
  const recents = new RemoteRecents({
    ingesters: () => ({ asked, awayCount: 0, awaited: () => countOf(asked.length, 0) }),
    known: () => asked,
    open: (address) => openGrpcClient({ address }),
    timeoutMs: 10_000,
    tableBytesMax: 1 << 20,
    logger: silentLogger,
    metrics,
  });
  const stop = async (): Promise<void> => {
    await recents.close();
    await Promise.all(servers.map((server) => server.stop(1000)));
  };
  return { ...querierOver(here, backend, undefined, 1_000_000, recents), stop, held };
}

const QUERIES = [
  '{ }',
  '{ name = "op-1" }',
  '{ kind = server } >> { status = error }',
  '{ name = "op-0" } > { }',
  '{ name = "op-2" } ~ { name = "op-1" }',
  '{ kind = client } !>> { status = error }',
  '{ status = ok } &>> { kind = producer }',
  '{ span.n = 1 } && { span.n = 3 }',
  '{ } | count() > 4',
  '{ status = error } | count() = 2',
  '{ } | avg(duration) > 150ms',
  '{ trace:duration > 300ms }',
  '{ trace:rootName = "op-3" && kind = server }',
  '{ trace:rootService = "cart" }',
  '{ nestedSetParent < 0 }',
  '{ span:childCount > 1 }',
  '{ status = error } | select(span.n, resource.service.name, trace:duration)',
  '{ } | by(resource.service.name) | count() > 2',
];
const ANY = { startSec: undefined, endSec: undefined };

const FIRST_SEC = Number(START_NANO / 1_000_000_000n);
/** Ends cut through traces. */
const RANGE = { startSec: FIRST_SEC + 9, endSec: FIRST_SEC + 25 };
const ASKED = [
  { limit: 5, range: ANY },
  { limit: 1000, range: ANY },
  { limit: 3, range: RANGE },
  { limit: 1000, range: RANGE },
];

async function answers(querier: LocalQuerier): Promise<readonly string[]> {
  const texts: string[] = [];
  for (const query of QUERIES) {
    for (const { limit, range } of ASKED) {
      const search = {
        tenant: 'team',
        query,
        range,
        limit,
        spansPerSpanSet: 3,
        format: 'json',
      } as const;
      const { traces, partial } = await querier.search(search);
      if (partial.length > 0) throw new Error(partial.join());
      texts.push(traces.map(({ body }) => Buffer.from(body).toString()).join('\n'));
    }
  }
  return texts;
}

/** Its spans, in any order. */
async function traceOf(querier: LocalQuerier, traceId: string): Promise<readonly string[]> {
  const id = Buffer.from(traceId, 'hex');
  const query = { tenant: 'team', id, range: ANY, from: 'all', blocks: undefined, bytesMax: 0 } as const;
  const { trace, partial } = await querier.findTrace({ ...query, format: 'proto' });
  t.same(partial, []);
  return decodeTraces(trace!)
    .map(({ spanId, name }) => `${spanId} ${name}`)
    .sort();
}

async function tags(querier: LocalQuerier): Promise<unknown> {
  const query = '{ kind = server } >> { status = error }';
  const common = { tenant: 'team', query, range: ANY } as const;
  const { names } = await querier.tagNames({ ...common, scopes: ['span', 'resource'] });
  const fields = [{ kind: 'attribute', scope: 'span', name: 'n' }] as const;
  const { values } = await querier.tagValues({ ...common, fields, bytesMax: 1000 });
  return { names, values };
}

const METRICS = [
  '{ } | rate()',
  '{ kind = server } >> { status = error } | count_over_time() by (resource.service.name, span.n)',
  '{ } | count() > 3 | avg_over_time(duration) by (name)',
  '{ } | by(name) | count() > 1 | sum_over_time(duration) by (.n)',
  '{ } | min_over_time(span.n) by (trace:rootName, status)',
  '{ trace:duration > 300ms } | max_over_time(trace:duration)',
  '{ } | quantile_over_time(duration, .5, 0.99) by (kind)',
  '{ } | histogram_over_time(span.n)',
  '{ } | compare({ status = error }, 3)',
  '{ } | rate() by (span:id) | topk(7) > 0.01',
];

async function series(querier: LocalQuerier): Promise<readonly string[]> {
  const startUnixNano = START_NANO - (START_NANO % SECOND);
  const range = { startUnixNano, endUnixNano: startUnixNano + 40n * SECOND };
  const limits = { exemplarsMax: 7, seriesMax: 0 };
  const texts: string[] = [];
  for (const query of METRICS) {
    for (const isInstant of [false, true]) {
      const stepNanos = isInstant ? 40n * SECOND : 4n * SECOND;
      const asked = {
        tenant: 'team',
        query,
        ...range,
        stepNanos,
        isInstant,
        ...limits,
        format: 'json',
      } as const;
      const answer = await querier.metrics(asked);
      t.same(answer.partial, []);
      texts.push(textOf(answer));
    }
  }
  return texts;
}

function textOf({ series, text }: MetricsAnswer): string {
  return Buffer.concat(text === undefined ? [...series] : [...piecesOf(text)]).toString();
}

t.test('series of kept parts are those of parts that were read, also over other ranges', async (t) => {
  const backend = new MemoryStore(() => 0);
  const spans = makeSpans(random(SEED), 20);
  const block = await asBlock(backend, 'kept', spans, { rowGroupSpans: 20 });
  const plain = querierOver([block], backend);
  const keeping = querierOver([block], backend, new LocalResultCache(1 << 20, new Metrics()));
  const firstNano = START_NANO - (START_NANO % SECOND);
  const seriesOf = async (
    querier: LocalQuerier,
    asked: { query: string; from: bigint; to: bigint; max: number },
  ) => {
    const { query, from, to, max } = asked;
    const answer = await querier.metrics({
      tenant: 'team',
      query,
      startUnixNano: firstNano + from * SECOND,
      endUnixNano: firstNano + to * SECOND,
      stepNanos: 4n * SECOND,
      isInstant: false,
      exemplarsMax: max,
      seriesMax: 0,
      format: 'json',
    });
    t.same(answer.partial, []);
    return textOf(answer);
  };
  /** In seconds: around the block, around it and cut elsewhere, and within it. */
  const ranges = [
    [-20n, 60n],
    [-40n, 80n],
    [-19n, 61n],
    [8n, 20n],
  ] as const;
  const queries = [METRICS[1], METRICS[6], METRICS[8]].map((query) => query!);
  let hits = 0;
  for (const query of queries) {
    for (const max of [0, 7]) {
      for (const [from, to] of [...ranges, ...ranges]) {
        const asked = { query, from, to, max };
        keeping.jobs.length = 0;
        const got = await seriesOf(keeping.querier, asked);
        if (!keeping.jobs.some(({ kind }) => kind === 'metrics')) hits++;
        const want = await seriesOf(plain.querier, asked);
        if (got !== want) t.equal(got, want, JSON.stringify([query, String(from), String(to), max]));
      }
    }
  }
  // The ranges around the block the second time; without exemplars one that differs by steps the first time.
  t.equal(hits, 2 * (3 + 4) + (3 + 3));
});

t.test(`sources cut at random answer as one head (SHARED_SEED=${SEED})`, async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const next = random(SEED + round);
    const spans = makeSpans(next, 40);
    const backend = new MemoryStore(() => 0);
    const whole = querierOver([asHead('whole', spans)], backend);
    const want = await answers(whole.querier);
    const parts = querierOver(await cut(next, spans, backend), backend);
    const got = await answers(parts.querier);
    QUERIES.forEach((query, i) => {
      for (let k = ASKED.length * i; k < ASKED.length * (i + 1); k++) {
        if (got[k] !== want[k]) t.equal(got[k], want[k], `round ${round}: ${query}`);
      }
    });
    const wantSeries = await series(whole.querier);
    const gotSeries = await series(parts.querier);
    for (let k = 0; k < 2 * METRICS.length; k++) {
      if (gotSeries[k] !== wantSeries[k])
        t.equal(gotSeries[k], wantSeries[k], `round ${round}: ${METRICS[k >> 1]}`);
    }
    t.same(await tags(parts.querier), await tags(whole.querier), `round ${round}: tags`);
    const looks = parts.jobs.flatMap((job) => (job.kind === 'sharedTraces' ? [job.range.join()] : []));
    t.equal(new Set(looks).size, looks.length, 'what lies in several sources is found once');
    const handed = parts.jobs.flatMap((job) => (job.kind === 'finishMetrics' ? job.parts : []));
    const isShared = handed.every(({ cells }) => cells.buffer instanceof SharedArrayBuffer);
    t.ok(handed.length > 0 && isShared, 'parts of metrics queries are not copied from thread to thread');
    if (round % REMOTE_EVERY !== 0) continue;
    const remote = await remoteQuerierOver(next, await cut(next, spans, backend), backend);
    try {
      t.same(await answers(remote.querier), want, `round ${round}: searches over ingesters`);
      t.same(await series(remote.querier), wantSeries, `round ${round}: metrics over ingesters`);
      t.same(await tags(remote.querier), await tags(whole.querier), `round ${round}: tags over ingesters`);
      const ids = [...new Set(spans.map(({ traceId }) => traceId))].slice(0, 5);
      const found = (querier: LocalQuerier) => Promise.all(ids.map((id) => traceOf(querier, id)));
      t.same(
        await found(remote.querier),
        await found(whole.querier),
        `round ${round}: traces over ingesters`,
      );
    } finally {
      await remote.stop();
    }
    t.same(remote.held, [0, 0, 0], 'nothing is held when all is answered');
  }
});

t.test('heads of ingesters grow between queries', async (t) => {
  const next = random(SEED);
  const spans = makeSpans(next, 25);
  const backend = new MemoryStore(() => 0);
  const newHead = () => new HeadBuilder({ maxBytes: 1 << 24 });
  const append = (head: HeadBuilder, some: readonly TestSpan[]): void => {
    const bytes = encodeTraces(some);
    if (some.length > 0) head.append(bytes, 0, bytes.length);
  };
  const all = newHead();
  const own = [newHead(), newHead(), newHead()];
  const sourceOf = ({ sab }: HeadBuilder, i: number) =>
    ({ kind: 'head', blockId: `head-${i}`, sab }) as const;
  const there = own.map((head, i) => [sourceOf(head, i)]);
  const whole = querierOver([sourceOf(all, 9)], backend);
  const remote = await querierOfIngesters([], there, backend);
  const foundBy = async (querier: LocalQuerier) => ({
    searches: await answers(querier),
    series: await series(querier),
    tags: await tags(querier),
    allTags: await querier.tagNames({ tenant: 'team', query: undefined, range: ANY, scopes: ['span'] }),
  });
  try {
    for (let at = 0; at < spans.length; ) {
      // Spans of traces that are there already come later, too; one in four misses an ingester.
      const some = spans.slice(at, (at += 1 + below(next, 60)));
      append(all, some);
      const lacking = some.map(() => below(next, 12));
      own.forEach((head, i) =>
        append(
          head,
          some.filter((_, k) => lacking[k] !== i),
        ),
      );
      const { allTags: got, ...found } = await foundBy(remote.querier);
      const { allTags: want, ...wanted } = await foundBy(whole.querier);
      t.same(found, wanted, `after ${at} of ${spans.length} spans (SHARED_SEED=${SEED})`);
      t.same(got.names, want.names);
    }
  } finally {
    await remote.stop();
  }
  t.same(remote.held, [0, 0, 0], 'nothing is held when all is answered');
});

t.test('an ingester that stops is lost to the query, one that fails is not', async (t) => {
  const backend = new MemoryStore(() => 0);
  const head = asHead('one', makeSpans(random(5), 4));
  const search = {
    tenant: 'team',
    query: '{ }',
    range: ANY,
    limit: 5,
    spansPerSpanSet: 3,
    format: 'json',
  } as const;
  const outcome = async (failure: Error): Promise<unknown> => {
    const remote = await querierOfIngesters([], [[head]], backend, failure);
    try {
      return await remote.querier.search(search);
    } catch (err) {
      return err;
    } finally {
      await remote.stop();
    }
  };
  const lost = await outcome(new StoppingError('the server is stopping'));
  t.ok(lost instanceof IngesterLostError, 'so that it is begun again');
  t.match(lost, { cause: { message: 'the server is stopping' } });
  const failed = await outcome(new TempoError('unavailable', 'too many open files'));
  t.notOk(failed instanceof IngesterLostError);
  t.match(failed, { code: 'unavailable', message: 'too many open files' });
});

t.test('equal copies are read once where whole traces do not matter', async (t) => {
  const spans = makeSpans(random(5), 40);
  const backend = new MemoryStore(() => 0);
  const names = (querier: LocalQuerier) =>
    querier.tagNames({ tenant: 'team', query: undefined, range: ANY, scopes: ['span', 'resource'] });
  const one = await names(querierOver([asHead('one', spans)], backend).querier);
  const remote = await querierOfIngesters(
    [],
    ['a', 'b', 'c'].map((id) => [asHead(id, spans)]),
    backend,
  );
  try {
    const three = await names(remote.querier);
    t.same([three.names, three.inspectedBytes], [one.names, one.inspectedBytes]);
  } finally {
    await remote.stop();
  }
  const copies = await Promise.all(['d', 'e', 'f'].map((id) => asBlock(backend, id, spans)));
  const { querier, jobs } = querierOver(copies, backend);
  const looked = async (): Promise<number> => {
    const before = jobs.length;
    await names(querier);
    return jobs.slice(before).filter(({ kind }) => kind === 'tagNames').length;
  };
  const ofAll = await looked();
  await series(querier);
  t.equal(await looked(), ofAll / copies.length, 'of blocks once a query has found what they share');
});

t.test(
  'a kept answer is right for every range around its block, with traces of absurd times too',
  async (t) => {
    const backend = new MemoryStore(() => 0);
    const of = (traceId: number, startUnixNano: bigint) =>
      aSpan({
        traceId: hexId(traceId, 16),
        spanId: hexId(1, 8),
        startUnixNano,
        endUnixNano: startUnixNano + SECOND,
      });
    const in1998 = 883_612_800n * SECOND;
    const strays = await asBlock(backend, 'strays', [of(1, START_NANO), of(2, in1998)]);
    const usual = await asBlock(backend, 'usual', [of(3, START_NANO), of(4, START_NANO + SECOND)]);
    const found = async (querier: LocalQuerier, startSec: number) => {
      const range = { startSec, endSec: FIRST_SEC + 90 };
      const search = {
        tenant: 'team',
        query: '{ }',
        range,
        limit: 9,
        spansPerSpanSet: 3,
        format: 'json',
      } as const;
      const { traces, stats } = await querier.search(search);
      return [traces.map(({ traceId }) => traceId).sort(), stats.inspectedTraces > 0];
    };
    const ofStrays = querierOver([strays], backend, new LocalResultCache(1 << 20, new Metrics())).querier;
    t.same(await found(ofStrays, 1), [['1', '2'], true]);
    t.same(await found(ofStrays, FIRST_SEC - 90), [['1'], true], 'the other one is not in the range');
    t.same(await found(ofStrays, 1), [['1', '2'], true]);
    const ofUsual = querierOver([usual], backend, new LocalResultCache(1 << 20, new Metrics())).querier;
    t.same(await found(ofUsual, 1), [['3', '4'], true]);
    t.same(await found(ofUsual, FIRST_SEC - 90), [['3', '4'], false], 'nothing is read again');
  },
);

t.test('a metrics query with too many samples is told', async (t) => {
  const spans = makeSpans(random(3), 60);
  const { querier, metrics } = querierOver(
    [asHead('whole', spans)],
    new MemoryStore(() => 0),
    undefined,
    100,
  );
  const startUnixNano = START_NANO - (START_NANO % SECOND);
  const { series: found, partial } = await querier.metrics({
    tenant: 'team',
    query: '{ } | rate() by (span:id, trace:id)',
    startUnixNano,
    endUnixNano: startUnixNano + 70n * SECOND,
    stepNanos: 70n * SECOND,
    isInstant: true,
    exemplarsMax: 0,
    seriesMax: 0,
    format: 'json',
  });
  t.ok(found.length > 0 && found.length <= 100);
  t.same(partial, ['more than 100 samples: a part of the series is here']);
  t.match(await metrics.text(), /tempo_querier_limited_metrics_queries_total 1/);
});

t.test('ids in several lists', (t) => {
  const next = random(7);
  const ids = Array.from({ length: 3000 }, (_, i) => {
    const id = Buffer.alloc(16);
    // 64-bit ids among whole ones: half of them begin with the same bytes
    for (let k = i % 2 === 0 ? 8 : 0; k < 16; k++) id[k] = below(next, 256);
    return id;
  });
  const lists = Array.from({ length: 5 }, () => [] as Buffer[]);
  for (const id of ids) for (const list of lists) if (below(next, 4) === 0) list.push(id);
  const { ends, list, index } = findSharedIds(lists.map((part) => new Uint8Array(Buffer.concat(part))));
  const want = new Map<string, number>();
  for (const part of lists)
    for (const id of part) want.set(id.toString('hex'), (want.get(id.toString('hex')) ?? 0) + 1);
  const expected = [...want].filter(([, count]) => count > 1).sort(([a], [b]) => (a < b ? -1 : 1));
  let begin = 0;
  const got = Array.from(ends, (end) => {
    const places = Array.from({ length: end - begin }, (_, k) => begin + k);
    begin = end;
    const names = places.map((place) => lists[list[place]!]![index[place]!]!.toString('hex'));
    const isAscending = places.every((place, k) => k === 0 || list[place]! > list[place - 1]!);
    if (new Set(names).size !== 1 || !isAscending) t.fail(`places of ${names.join()}`);
    return [names[0], places.length];
  });
  t.same(got, expected);
  t.same([...findSharedIds([]).ends], []);
  t.end();
});

t.test('more than two million shared ids', (t) => {
  const count = 1_100_000;
  const ids = randomFillSync(new Int32Array(4 * count));
  // Many that differ in the last bits of their first words only, where numbers are no longer exact.
  for (let i = 0; i < 50_000; i++) ids[4 * i] = 0x0700_0000 | ((i & 3) << 24);
  for (let i = 0; i < 1000; i++) ids.fill(i % 7, 4 * i, 4 * i + 2);
  const first = new Uint8Array(ids.buffer);
  const second = new Uint8Array(first.length);
  for (let i = 0; i < count; i++) second.set(first.subarray(16 * i, 16 * i + 16), 16 * (count - 1 - i));
  const { ends, list, index } = findSharedIds([first, second]);
  t.equal(ends.length, count, 'each is in both');
  let wrong = 0;
  const idAt = (place: number): Buffer =>
    Buffer.from((list[place] === 0 ? first : second).buffer, 16 * index[place]!, 16);
  for (let i = 0; i < count; i++) {
    const isPair = ends[i] === 2 * (i + 1) && index[2 * i] === count - 1 - index[2 * i + 1]!;
    const isAfter = i === 0 || Buffer.compare(idAt(2 * i - 1), idAt(2 * i)) < 0;
    if (!isPair || !isAfter) wrong++;
  }
  t.equal(wrong, 0, 'pairs, ascending');
  t.end();
});
