// What an ingester does and does not do for whoever opens a session: a call as a stranger would make it.
import { serialize } from 'node:v8';
import t, { type Test } from 'tap';
import { addRecentMethods } from '../../src/modules/querier/index.ts';
import { tenantsOfHeader, type TenantHeader } from '../../src/model/tenant.ts';
import { openGrpcClient } from '../../src/rpc/grpc-client.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { PieceReader, PieceSender } from '../../src/rpc/structured-pieces.ts';
import { decodeStructured } from '../../src/rpc/structured.ts';
import {
  decodeToIngester,
  encodeToIngester,
  type FromIngester,
  type NamedJob,
  RECENT_PATH,
  type ToIngester,
} from '../../src/store/recent-sessions.ts';
import type { ScanJob, ScanSource } from '../../src/store/scan-job.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { aSpan } from '../support/otlp.ts';
import { asHead } from '../support/scan-sources.ts';

t.setTimeout(60_000);

const HEAD = asHead('one', [aSpan({})]);
const SECOND = 1_000_000_000n;

const severalOf = (header: TenantHeader): readonly string[] => tenantsOfHeader(header, true, true).split('|');

/** An ingester that has one head of each tenant, and notes jobs in place of doing them. */
async function ingester(t: Test, tenantsOf: (header: TenantHeader) => readonly string[] | undefined) {
  const asked: string[] = [];
  const jobs: ScanJob[] = [];
  const methods = new GrpcMethods();
  addRecentMethods(methods, {
    recent: {
      recentSources: async (tenant) => {
        asked.push(tenant);
        return { sources: [HEAD], complete: true, release: () => undefined };
      },
    },
    pool: {
      run: async (job) => {
        jobs.push(job);
        return { kind: 'trace', trace: undefined, isCut: false, inspectedBytes: 0, failures: [] };
      },
    },
    jobLimitMs: () => 0,
    tenantsOf,
    admit: async () => undefined,
  });
  const address = { host: '127.0.0.1', port: 0 };
  const server = new GrpcServer({ address, methods, recvMessageBytesMax: 4 << 20, logger: silentLogger });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  const client = await openGrpcClient({ address: `127.0.0.1:${port}` });
  t.teardown(() => client.close());
  /** A call whose messages are answered one by one. */
  const call = (headers: Readonly<Record<string, string>>) => {
    const made = client.duplex(RECENT_PATH, headers);
    const sender = new PieceSender((piece) => made.send(piece));
    const reader = new PieceReader(1 << 20);
    const pieces = made.messages[Symbol.asyncIterator]();
    t.teardown(() => made.cancel());
    return async (message: Uint8Array | ToIngester): Promise<FromIngester> => {
      await sender.say(message instanceof Uint8Array ? message : encodeToIngester(message));
      const { value } = await pieces.next();
      return decodeStructured(reader.take(value as Uint8Array)!) as FromIngester;
    };
  };
  return { call, asked, jobs };
}

const open = (session: number, tenant: string): ToIngester => ({
  kind: 'open',
  session,
  tenant,
  range: { startSec: undefined, endSec: undefined },
  known: new Map(),
  needsTables: false,
  wantsSigns: false,
});

t.test('sessions are of tenants that the header of their call names, if it has one', async (t) => {
  const { call, asked } = await ingester(t, severalOf);
  const cases: readonly [string | undefined, string, boolean][] = [
    [undefined, 'a', true],
    ['a', 'a', true],
    ['a|b', 'b', true],
    ['a, a', 'a', true],
    ['a', 'b', false],
    ['a|b', 'c', false],
    ['a|b', 'a|b', false],
    ['a, b', 'a', false],
    ['', 'a', false],
    ['../a', '../a', false],
  ];
  for (const [header, tenant, isOpened] of cases) {
    asked.length = 0;
    const say = call(header === undefined ? {} : { 'x-scope-orgid': header });
    const said = await say(open(1, tenant));
    t.equal(said.kind, isOpened ? 'sources' : 'failure', `${header} asks for ${tenant}`);
    t.same(asked, isOpened ? [tenant] : []);
  }
  const say = call({ 'x-scope-orgid': 'a' });
  t.match(await say(open(1, 'b')), {
    kind: 'failure',
    failure: {
      code: 'invalid_argument',
      message: 'a session is of a tenant that the header of its call does not name',
    },
  });
  t.match(
    await say(open(2, 'a')),
    { kind: 'sources', session: 2 },
    'other sessions of the call are as before',
  );
  const job = {
    kind: 'trace',
    id: new Uint8Array(16),
    sources: [{ blockId: 'one' }],
    format: 'part',
  } as const;
  const lost = await say({ kind: 'job', session: 1, id: 1, job: { ...job, bytesMax: 0 } as NamedJob });
  t.match(lost, { kind: 'failure', id: 1, failure: { code: 'not_found' } }, 'such a session has no sources');

  const single = await ingester(t, () => undefined);
  const heard = await single.call({ 'x-scope-orgid': 'b' })(open(1, 'single-tenant'));
  t.equal(heard.kind, 'sources', 'where tenants are not told apart a header says nothing');
});

const ANY = { startSec: undefined, endSec: undefined };
const RANGE = { startUnixNano: 0n, endUnixNano: 60n * SECOND, stepNanos: SECOND };
const GOOD = {
  search: { query: '{ }', range: ANY, limit: 20, spansPerSpanSet: 3, format: 'json' },
  trace: { id: new Uint8Array(16), format: 'part', bytesMax: 0 },
  tagNames: { scopes: ['span', 'resource'], query: undefined },
  tagValues: {
    fields: [
      { kind: 'attribute', scope: 'span', name: 'n' },
      { kind: 'intrinsic', name: 'span:name' },
    ],
    query: '{ }',
    bytesMax: Infinity,
  },
  metrics: { query: '{ } | rate()', range: RANGE, samplesMax: 1000, exemplarsMax: 0 },
  traceParts: { rows: Int32Array.of(0) },
} as const;

const WRONG: readonly [keyof typeof GOOD, Readonly<Record<string, unknown>>, string][] = [
  ['search', { query: 5 }, 'query'],
  ['search', { range: undefined }, 'range'],
  ['search', { range: { startSec: 1.5 } }, 'range'],
  ['search', { limit: -1 }, 'limit'],
  ['search', { limit: NaN }, 'limit'],
  ['search', { limit: '20' }, 'limit'],
  ['search', { spansPerSpanSet: undefined }, 'spansPerSpanSet'],
  ['search', { format: 'xml' }, 'format'],
  ['search', { order: { by: 'size', isDescending: true } }, 'order'],
  ['search', { after: { value: 1, traceId: 'a' } }, 'after'],
  ['search', { notBeforeUnixNano: 5 }, 'notBeforeUnixNano'],
  ['search', { sources: [{ blockId: 'one', traceCount: -1e308 }] }, 'traceCount'],
  ['search', { sources: [{ blockId: 'one', rowGroups: [0] }] }, 'rowGroups'],
  ['search', { sources: [{ blockId: 'one', rowGroups: [0, NaN] }] }, 'rowGroups'],
  ['trace', { id: new Uint8Array(8) }, 'id'],
  ['trace', { parts: ['a'] }, 'parts'],
  ['trace', { bytesMax: -1 }, 'bytesMax'],
  ['tagNames', { scopes: 'span' }, 'scopes'],
  ['tagNames', { scopes: ['trace'] }, 'scopes'],
  ['tagValues', { fields: [{ kind: 'attribute' }] }, 'fields'],
  ['tagValues', { bytesMax: NaN }, 'bytesMax'],
  ['metrics', { range: { ...RANGE, stepNanos: 0n } }, 'range'],
  ['metrics', { range: { ...RANGE, stepNanos: 5 } }, 'range'],
  ['metrics', { range: { ...RANGE, startUnixNano: 61n * SECOND } }, 'range'],
  ['metrics', { range: { ...RANGE, stepNanos: 1n } }, 'range'],
  ['metrics', { range: { ...RANGE, endUnixNano: 2n ** 80n } }, 'range'],
  ['metrics', { samplesMax: Infinity }, 'samplesMax'],
  ['metrics', { exemplarsMax: -1 }, 'exemplarsMax'],
  ['traceParts', { rows: undefined }, 'rows'],
  ['traceParts', { sources: [] }, 'sources'],
];

t.test('jobs that are none are refused before a scan thread has them', async (t) => {
  const { call, jobs } = await ingester(t, severalOf);
  const say = call({});
  await say(open(1, 'a'));
  let id = 0;
  const run = (job: object): Promise<FromIngester> =>
    say({
      kind: 'job',
      session: 1,
      id: ++id,
      job: { sources: [{ blockId: 'one' }], ...job } as unknown as NamedJob,
    });
  for (const [kind, fields] of Object.entries(GOOD)) {
    t.equal((await run({ kind, ...fields })).kind, 'result', kind);
    t.match(jobs.at(-1), { kind, sources: [{ kind: 'head', blockId: 'one' }], ...fields });
  }
  jobs.length = 0;
  for (const [kind, fields, wrong] of WRONG) {
    const message = `a job ${kind} of another process has no valid ${wrong}`;
    const said = await run({ kind, ...GOOD[kind], ...fields });
    t.match(said, { kind: 'failure', id, failure: { code: 'invalid_argument', message } }, message);
  }
  const kinds = ['sharedTraces', 'traceTable', 'joinMetrics', 'finishMetrics', 'constructor', 5, undefined];
  for (const kind of kinds) {
    const said = await run({ ...GOOD.search, kind });
    t.match(said, { failure: { code: 'invalid_argument', message: /is not done for others/ } }, String(kind));
  }
  const whole = await run({ kind: 'search', ...GOOD.search, whole: {} });
  t.match(whole, { failure: { message: /is not done for others/ } });
  t.same(jobs, []);
  t.equal((await run({ kind: 'trace', ...GOOD.trace })).kind, 'result', 'the call lasts');
});

t.test('a job says of a source which part of it, not where it is', async (t) => {
  const { call, jobs } = await ingester(t, severalOf);
  const say = call({});
  await say(open(1, 'a'));
  const meta = { blockId: 'two', tenant: 'b' };
  const source = { blockId: 'one', traceCount: 1, kind: 'block', location: 'backend', meta, sab: undefined };
  const without = Int32Array.of(0);
  const job = { kind: 'search', ...GOOD.search, sources: [{ ...source, without }] } as unknown as NamedJob;
  t.equal((await say({ kind: 'job', session: 1, id: 1, job })).kind, 'result');
  t.strictSame(Object.keys(jobs[0]!.sources[0]!).sort(), ['blockId', 'kind', 'sab', 'traceCount', 'without']);
  const [had] = jobs[0]!.sources as readonly [Extract<ScanSource, { kind: 'head' }>];
  t.match(had, { kind: 'head', blockId: 'one', traceCount: 1 });
  t.equal(had.sab, 'sab' in HEAD ? HEAD.sab : undefined);
  t.same(had.without, without);
});

t.test('lists of nothing but holes are refused at once', (t) => {
  const holes: unknown[] = [];
  holes.length = 2 ** 32 - 1;
  const messageOf = (head: unknown): Buffer => {
    const bytes = serialize(head);
    const size = Buffer.alloc(4);
    size.writeUInt32LE(bytes.length);
    return Buffer.concat([size, bytes]);
  };
  const said = { kind: 'job', session: 1, id: 1, job: { kind: 'search', sources: [] } };
  const beginMs = performance.now();
  for (const head of [
    { said, lengths: holes },
    { said: { ...said, job: { ...said.job, sources: holes } }, lengths: [] },
    { said: { ...said, job: { ...said.job, scopes: holes } }, lengths: [] },
  ]) {
    const bytes = messageOf(head);
    t.ok(bytes.length < 200);
    t.throws(() => decodeToIngester(bytes), {
      code: 'invalid_argument',
      message: /lists that are not there/,
    });
  }
  t.ok(performance.now() - beginMs < 10_000);
  t.end();
});
