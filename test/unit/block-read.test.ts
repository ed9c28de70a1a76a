// Reading blocks: those of real Tempo in two formats, ours against the head they were made of, searches
// against Tempo's answers, damage, and what the cache spares.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { serialize } from 'node:v8';
import fc from 'fast-check';
import t from 'tap';
import { resourceSpansJson } from '../../src/api/trace-json.ts';
import { blockDecompressors } from '../../src/block/compression.ts';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { metaFromJson } from '../../src/block/meta-json.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { DIGEST_WORDS } from '../../src/block/stored-spans.ts';
import { INTRINSICS } from '../../src/block/vparquet/block-columns.ts';
import { isChildCountMissing } from '../../src/block/vparquet/child-count.ts';
import { createBlock, DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
import { findRow } from '../../src/block/vparquet/find-row.ts';
import { type Block, openBlock } from '../../src/block/vparquet/open.ts';
import { rowVectors } from '../../src/block/vparquet/row-vectors.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { Bitset } from '../../src/lib/bitset.ts';
import { ByteLru } from '../../src/lib/lru.ts';
import { ScratchPool } from '../../src/lib/scratch.ts';
import { ColumnPages } from '../../src/parquet/column-pages.ts';
import { readDictionary } from '../../src/parquet/column-reader.ts';
import { chunkStart, parseFooter } from '../../src/parquet/footer.ts';
import { readPageHeader } from '../../src/parquet/page-header.ts';
import { searchSource } from '../../src/traceql/engine/search.ts';
import { parse } from '../../src/traceql/parser.ts';
import {
  type Field,
  type FieldRequest,
  type Intrinsic,
  type SpanSource,
  fieldKey,
  ValueType,
  type Vector,
} from '../../src/traceql/source.ts';
import { canonical } from '../support/canonical.ts';
import {
  aResource,
  aScope,
  aSpan,
  aTrace,
  decodeTraces,
  encodeTraces,
  hexId,
  START_NANO,
  type TestSpan,
} from '../support/otlp.ts';

const decompressors = blockDecompressors();
const utf8 = new TextEncoder();
const text = new TextDecoder();

interface Objects {
  readonly meta: BlockMeta;
  readonly read: (name: string) => Uint8Array;
}

const golden = (path: string): URL => new URL(`../golden/${path}`, import.meta.url);

function goldenBlock(name: string): Objects {
  const read = (object: string): Uint8Array => new Uint8Array(readFileSync(golden(`${name}/${object}`)));
  return { meta: metaFromJson(read('meta.json')), read };
}

interface Opened {
  readonly block: Block;
  readonly cache: ByteLru;
  /** Objects and ranges that were read. */
  readonly reads: string[];
}

async function opened(
  { meta, read }: Objects,
  cache = new ByteLru(64e6),
  data = read('data.parquet'),
): Promise<Opened> {
  const reads: string[] = [];
  const block = await openBlock({
    meta,
    cache,
    decompressors,
    readRange: async (offset, length) => {
      reads.push(`${offset}+${length}`);
      return data.subarray(offset, offset + length);
    },
    readObject: async (name) => {
      reads.push(name);
      return read(name);
    },
  });
  return { block, cache, reads };
}

/** Memory that was given back is overwritten at once: whoever still refers to it reads something else. */
function openedInPoisonedMemory(
  { meta, read }: Objects,
  cache: ByteLru,
  scratch = new ScratchPool(4 << 20, 0xa5),
): Promise<Block> {
  const data = read('data.parquet');
  return openBlock({
    meta,
    cache,
    decompressors,
    scratch,
    readRange: async (offset, length, _signal, _part, into = new Uint8Array(length)) => {
      into.set(data.subarray(offset, offset + length));
      return into;
    },
    readObject: async (name) => read(name),
  });
}

const attribute = (
  scope: 'span' | 'resource' | 'event' | 'link' | 'instrumentation',
  name: string,
): Field => ({ kind: 'attribute', scope, name });
const intrinsics = (Object.keys(INTRINSICS) as Intrinsic[]).map(
  (name): Field => ({ kind: 'intrinsic', name }),
);
const GOLDEN_FIELDS: readonly Field[] = [
  ...intrinsics,
  ...[
    'http.method',
    'http.url',
    'http.status_code',
    'user.id',
    'db.rows',
    'app.flags',
    'cache.hit',
    'app.score',
    'a.empty',
    'a.one',
    'a.mixed',
    'dup',
    'es',
    'big',
    'dbl',
    'server.port',
    'http.route',
    'nowhere',
  ].map((name) => attribute('span', name)),
  ...['service.name', 'cluster', 'k8s.pod.name', 'host.name', 'process.pid'].map((name) =>
    attribute('resource', name),
  ),
  attribute('event', 'exception.type'),
  attribute('link', 'link.type'),
  attribute('instrumentation', 'scope.lib'),
];

/** Entries as text, by owner. @param step every so many of them. */
function entriesOf(vector: Vector, step = 1): string[] {
  const { count, owners, type, str, table, num, base, exact, isElement } = vector;
  return Array.from({ length: Math.ceil(count / step) }, (_, k) => {
    const i = k * step;
    const kind = typeof type === 'number' ? type : type[i]!;
    const isText = kind === ValueType.string || kind === ValueType.bytes;
    const number =
      kind === ValueType.float
        ? String(num?.[i])
        : String(BigInt.asIntN(64, base + (exact?.[i] ?? BigInt(num?.[i] ?? 0))));
    const value = isText ? JSON.stringify(text.decode(table!.bytes(str![i]!))) : number;
    const owner = owners === undefined ? i : owners[i];
    return `${owner} ${kind} ${value}${isElement?.[i] === 1 ? ' element' : ''}`;
  });
}

function traceFiles(name: string): { id: Uint8Array; want: unknown }[] {
  return readdirSync(golden(`${name}/traces`)).map((file) => ({
    id: new Uint8Array(Buffer.from(file.replace('.json', '').padStart(32, '0'), 'hex')),
    want: JSON.parse(readFileSync(golden(`${name}/traces/${file}`), 'utf8')).trace.resourceSpans as unknown,
  }));
}

for (const name of ['vparquet4-odd', 'vparquet5']) {
  await t.test(`${name}: traces by id as Tempo answers them`, async (t) => {
    const { block } = await opened(goldenBlock(name));
    const traces = traceFiles(name);
    const digests: string[] = [];
    for (const { id, want } of traces) {
      t.ok(await block.mightContain(id));
      const before = block.bytesRead;
      const part = await (await block.locate(id))!.read();
      t.same(JSON.parse(resourceSpansJson(part)), want);
      t.ok(block.bytesRead > before);
      digests.push((await (await block.locate(id))!.digest()).words.join());
    }
    const [group] = block.rowGroups;
    const all = await group!.spanDigests(Int32Array.from({ length: group!.traceCount }, (_, row) => row));
    for (const [i, { id }] of traces.entries()) {
      const row = await findRow(group!.group, id);
      t.equal(digests[i], all.subarray(row * DIGEST_WORDS, (row + 1) * DIGEST_WORDS).join());
      t.equal((await (await block.locate(id))!.digest()).words.join(), digests[i]);
    }
    t.equal(await block.locate(new Uint8Array(16).fill(7)), undefined);
    t.notOk(await block.mightContain(new Uint8Array(16).fill(7)));
  });
}

t.setTimeout(120_000);

await t.test('every trace of a block is found', async (t) => {
  const { block } = await opened(goldenBlock('vparquet4'));
  const [group] = block.rowGroups;
  const { ids, sorted } = await group!.traceIds();
  t.ok(sorted);
  const spanTrace = await group!.relation('spanTrace');
  let spans = 0;
  for (let row = 0; row < group!.traceCount; row += 13) {
    const located = await group!.locate(ids.subarray(16 * row, 16 * row + 16));
    const decoded = decodeTraces(await located!.read());
    t.equal(decoded.length, spanTrace.filter((trace) => trace === row).length);
    spans += decoded.length;
  }
  t.ok(spans > 1000);
});

for (const memory of ['new', 'used again']) {
  await t.test(`searches answer as Tempo, in memory that is ${memory}`, async (t) => {
    const objects = goldenBlock('vparquet4');
    const block =
      memory === 'new'
        ? (await opened(objects)).block
        : await openedInPoisonedMemory(objects, new ByteLru(60_000));
    for (const line of readFileSync(golden('vparquet4/searches.golden.jsonl'), 'utf8').trim().split('\n')) {
      const { name, request, want } = JSON.parse(line) as { name: string; request: string; want: object };
      const params = new URL(request, 'http://x').searchParams;
      const nanos = (key: string): bigint => BigInt(params.get(key)!) * 1_000_000_000n;
      const outcome = await searchSource(parse(params.get('q')!), block.rowGroups[0]!, {
        limit: Number(params.get('limit')),
        spansPerSpanSet: Number(params.get('spss') ?? 3),
        startUnixNano: nanos('start'),
        endUnixNano: nanos('end'),
      });
      const traces = outcome.found.map((found) => JSON.parse(text.decode(found.json)) as unknown);
      t.same(canonical({ traces }), canonical(want), `${name}: ${params.get('q')}`);
      block.release();
    }
  });
}

/** Our own block of some traces of a golden one. */
async function ownOfGolden(name: string, traces: number): Promise<Objects> {
  const { block } = await opened(goldenBlock(name));
  const rows = Int32Array.from({ length: traces }, (_, row) => row);
  return ownBlockOf(await block.rowGroups[0]!.traces(rows), 1e6).objects;
}

/** All that a row group answers with, as digests: made when they are asked for. */
async function allAnswers(block: Block): Promise<() => readonly string[]> {
  const source = block.rowGroups[0]!;
  const every = Int32Array.from({ length: source.traceCount }, (_, row) => row);
  const some = every.filter((row) => row % 331 === 1);
  const vectors: (() => string)[] = [];
  const add = (what: string, vector: Vector, isShown?: (entry: string) => boolean): void => {
    const step = vector.count > 5000 && isShown === undefined ? 19 : 1;
    const shown = (): string[] => entriesOf(vector, step).filter(isShown ?? (() => true));
    vectors.push(() => `${what} ${digest(shown().join('\n'))}`);
  };
  for (const field of GOLDEN_FIELDS) {
    const name = fieldKey(field);
    const [whole] = await source.load([{ field }]);
    add(name, whole!);
    const [rows] = await rowVectors(source.group, [{ field }], some);
    add(`${name} of rows`, rows!);
    add(`${name} distinct`, await source.distinct(field));
    if (whole!.str === undefined) continue;
    const equals = [whole!.table!.bytes(whole!.str[whole!.str.length >> 1]!).slice(), utf8.encode('absent')];
    const [equal] = await source.load([{ field, equals }]);
    const value = JSON.stringify(text.decode(equals[0]));
    add(`${name} equals`, equal!, (entry) => entry.endsWith(` ${value}`));
  }
  const scopes = ['resource', 'instrumentation', 'span', 'event', 'link'] as const;
  const names: unknown[] = [];
  for (const scope of scopes) {
    const owners = new Bitset(source.spanCount);
    if (source.spanCount > 40) for (let i = 0; i < 40; i += 3) owners.add(i);
    names.push(await source.attributeNames(scope, undefined), await source.attributeNames(scope, owners));
    if (scope !== 'span') continue;
    for (const [name, vector] of await source.attributes(scope, owners)) add(`attribute ${name}`, vector);
  }
  const whole = await source.traces(every);
  const parts = [await source.rowTraces(some), await source.traces(some), await source.spanDigests(every)];
  const facts = [await source.facts(some), await source.facts(every), await source.facts(every)];
  const ids = [await source.traceIds(), await source.traceTimes()];
  const located = await source.locate((await source.traceIds()).ids.slice(0, 16));
  const found = await located!.read();
  const rest = { names, whole, parts, facts, ids, found };
  return () => [
    ...vectors.map((make) => make()),
    ...Object.entries(rest).map(([what, value]) => `${what} ${digest(serialize(value))}`),
  ];
}

function digest(value: string | Uint8Array): string {
  return createHash('sha1').update(value).digest('hex');
}

for (const name of ['vparquet4-odd', 'vparquet5', 'ours']) {
  await t.test(`${name}: answers refer to no memory that is used again`, async (t) => {
    const objects = name === 'ours' ? await ownOfGolden('vparquet4', 40) : goldenBlock(name);
    const want = (await allAnswers((await opened(objects)).block))();
    for (const cacheBytes of [30_000, 0]) {
      const block = await openedInPoisonedMemory(objects, new ByteLru(cacheBytes));
      const answers = await allAnswers(block);
      block.release();
      t.same(answers(), want, `a cache of ${cacheBytes} bytes`);
    }
  });
}

const URL_FIELD = attribute('span', 'http.url');

/** Entries of the spans that have the string. */
async function spansWith(block: Block, wanted: Uint8Array): Promise<string> {
  const [vector] = await block.rowGroups[0]!.load([{ field: URL_FIELD, equals: [wanted] }]);
  const end = ` ${JSON.stringify(text.decode(wanted))}`;
  return entriesOf(vector!, 1)
    .filter((entry) => entry.endsWith(end))
    .join();
}

await t.test('what the cache keeps refers to no memory that is used again', async (t) => {
  const objects = goldenBlock('vparquet4');
  const { block: first } = await opened(objects);
  const [{ str, table }] = (await first.rowGroups[0]!.load([{ field: URL_FIELD }])) as [Vector];
  const wanted = [1, 3].map((quarter) => table!.bytes(str![(str!.length * quarter) >> 2]!).slice());
  const want: string[] = [];
  for (const value of wanted) want.push(await spansWith((await opened(objects)).block, value));
  // at some size what is read fits the cache, but not with all that it may grow to
  for (let cacheBytes = 1 << 16; cacheBytes < 1 << 23; cacheBytes = Math.ceil(cacheBytes * 1.3)) {
    const cache = new ByteLru(cacheBytes);
    const scratch = new ScratchPool(16 << 20, 0xa5);
    const answers: unknown[] = [];
    for (const value of wanted) {
      const block = await openedInPoisonedMemory(objects, cache, scratch);
      answers.push(await spansWith(block, value).catch((err: unknown) => err));
      block.release();
    }
    t.same(answers, want, `a cache of ${cacheBytes} bytes`);
  }
});

for (const name of ['vparquet4', 'vparquet4-odd', 'vparquet5']) {
  await t.test(`${name}: parts of a load are parts of the whole`, async (t) => {
    const { block } = await opened(goldenBlock(name));
    const source = block.rowGroups[0]!;
    const fields = GOLDEN_FIELDS.filter((field) => !isChildCountMissing(source.group, field));
    const fresh = (await opened(goldenBlock(name))).block.rowGroups[0]!; // has no whole vector in its cache
    const whole = await source.load(fields.map((field) => ({ field })));
    const rows = Int32Array.from(name === 'vparquet4' ? [0, 3, 500, 1069] : [1, 3]);
    const requests = fields.map((field) => ({ field }));
    const some = await rowVectors(source.group, requests, rows);
    const traceOf = await ownersTrace(source);
    for (const [i, field] of fields.entries()) {
      const all = entriesOf(whole[i]!);
      const isWanted = (entry: string): boolean =>
        rows.includes(traceOf(whole[i]!.owner, Number.parseInt(entry)));
      t.same(entriesOf(some[i]!), all.filter(isWanted), `${fieldKey(field)}: rows`);
      const { str, table } = whole[i]!;
      if (str === undefined) continue;
      const wanted = [table!.bytes(str[str.length >> 1]!).slice(), utf8.encode('absent')];
      const [equal] = await fresh.load([{ field, equals: wanted }]);
      const texts = wanted.map((bytes) => JSON.stringify(text.decode(bytes)));
      const hit = (entry: string): boolean =>
        texts.some((value) => / [18] /.test(entry) && entry.includes(` ${value}`));
      t.same(entriesOf(equal!).filter(hit), all.filter(hit), `${fieldKey(field)}: equals`);
      t.ok(equal!.count < whole[i]!.count || all.every(hit), `${fieldKey(field)}: only what is wanted`);
      const [strings] = await fresh.load([{ field, types: [ValueType.string, ValueType.bytes] }]);
      t.same(entriesOf(strings!).filter(hit), all.filter(hit), `${fieldKey(field)}: types`);
    }
  });
}

/** The trace of any owner. */
async function ownersTrace(source: SpanSource): Promise<(owner: Vector['owner'], ordinal: number) => number> {
  const spanTrace = await source.relation('spanTrace');
  const byOwner = new Map<Vector['owner'], Int32Array>();
  for (const [owner, relation] of [
    ['resource', 'spanResource'],
    ['scope', 'spanScope'],
  ] as const) {
    const of = await source.relation(relation);
    const trace = new Int32Array(of.at(-1)! + 1);
    of.forEach((ordinal, span) => {
      trace[ordinal] = spanTrace[span]!;
    });
    byOwner.set(owner, trace);
  }
  byOwner.set(
    'event',
    (await source.relation('eventSpan')).map((span) => spanTrace[span]!),
  );
  byOwner.set(
    'link',
    (await source.relation('linkSpan')).map((span) => spanTrace[span]!),
  );
  byOwner.set('span', spanTrace);
  return (owner, ordinal) => (owner === 'trace' ? ordinal : byOwner.get(owner)![ordinal]!);
}

await t.test('odd attributes', async (t) => {
  const { block } = await opened(goldenBlock('vparquet4-odd'));
  const source = block.rowGroups[0]!;
  const cases: { field: Field; want: string[] }[] = [
    {
      field: attribute('resource', 'service.name'),
      want: ['0 1 ""', '1 1 ""', '1 3 7', '2 1 ""', '3 1 "svc"'],
    },
    { field: attribute('resource', 'cluster'), want: ['1 3 7'] },
    { field: attribute('span', 'http.method'), want: ['0 3 5'] },
    { field: attribute('span', 'http.status_code'), want: ['0 1 "x"'] },
    { field: attribute('span', 'http.url'), want: ['0 1 ""'] },
    { field: attribute('span', 'dup'), want: ['0 1 "1"', '0 1 "2"'] },
    { field: attribute('span', 'a.one'), want: ['0 3 1'] },
    { field: attribute('span', 'a.empty'), want: [] },
    { field: attribute('span', 'a.mixed'), want: [] },
    { field: attribute('span', 'big'), want: ['0 3 -9223372036854775808'] },
    { field: attribute('span', 'dbl'), want: ['0 4 1.5'] },
  ];
  for (const { field, want } of cases)
    t.same(entriesOf((await source.load([{ field }]))[0]!), want, fieldKey(field));
});

await t.test('facts', async (t) => {
  const { block } = await opened(goldenBlock('vparquet5'));
  const source = block.rowGroups[0]!;
  const { ids } = await source.traceIds();
  const { startMicros, endMicros } = await source.traceTimes();
  const order = Int32Array.from([...Array(source.traceCount).keys()].reverse());
  const facts = await source.facts(order);
  facts.forEach((fact, k) => {
    const row = order[k]!;
    t.same(fact.id, ids.slice(16 * row, 16 * row + 16));
    t.ok(Math.abs(startMicros[row]! - Number(fact.startUnixNano) / 1000) < 1);
    t.ok(Math.abs(endMicros[row]! - Number(fact.endUnixNano) / 1000) < 1);
  });
  const spans = facts.reduce(
    (sum, { services }) => sum + services.reduce((n, { spanCount }) => n + spanCount, 0),
    0,
  );
  t.equal(spans, source.spanCount);
  const named = facts.find(({ services }) => services[0]?.service === 'svc');
  t.match(named, {
    rootService: 'svc',
    rootName: 'n',
    hasRoot: true,
    services: [{ spanCount: 1, errorCount: 0 }],
  });
});

await t.test('the cache spares reads, and is no bigger than it may', async (t) => {
  const objects = goldenBlock('vparquet4');
  const { block, cache, reads } = await opened(objects);
  const source = block.rowGroups[0]!;
  const requests = GOLDEN_FIELDS.map((field) => ({ field }));
  const first = (await source.load(requests)).map((vector) => entriesOf(vector));
  const readOnce = reads.length;
  t.ok(readOnce > 10);
  t.same(
    (await source.load(requests)).map((vector) => entriesOf(vector)),
    first,
  );
  t.equal(reads.length, readOnce);
  const again = await opened(objects, cache);
  t.same(
    (await again.block.rowGroups[0]!.load(requests)).map((vector) => entriesOf(vector)),
    first,
    'another opening shares it',
  );
  t.equal(again.reads.length, 0);
  const small = await opened(objects, new ByteLru(100_000));
  t.same(
    (await small.block.rowGroups[0]!.load(requests)).map((vector) => entriesOf(vector)),
    first,
  );
  t.ok(small.cache.sizeBytes <= 100_000);
});

async function readAll(objects: Objects, data: Uint8Array): Promise<void> {
  const { block } = await opened(objects, new ByteLru(64e6), data);
  for (const source of block.rowGroups) {
    await source.traceTimes();
    const { ids } = await source.traceIds();
    const requests = GOLDEN_FIELDS.flatMap((field) => [{ field }, { field, equals: [utf8.encode('1')] }]);
    for (const vector of await source.load(requests)) entriesOf(vector);
    for (const relation of ['spanTrace', 'eventSpan', 'linkSpan'] as const) await source.relation(relation);
    await source.load(requests, { rows: Int32Array.of(0) });
    await source.facts(Int32Array.of(1, 0));
    for (let at = 0; at < ids.length; at += 64) {
      const located = await source.locate(ids.subarray(at, at + 16));
      await located?.digest();
      await located?.read();
    }
  }
}

await t.test('damaged blocks: an error or another value, never worse', async (t) => {
  for (const [name, numRuns] of [
    ['vparquet4-odd', 300],
    ['vparquet5', 100],
  ] as const) {
    const objects = goldenBlock(name);
    const data = objects.read('data.parquet');
    const footerAt = data.length - 8 - objects.meta.footerSizeBytes;
    const places = fc.oneof(fc.nat(data.length - 1), fc.integer({ min: footerAt, max: data.length - 1 }));
    let errors = 0;
    await fc.assert(
      fc.asyncProperty(
        places,
        fc.array(fc.nat(255), { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        async (at, bytes, cut) => {
          const damaged = cut && at % 4 === 0 ? data.slice(0, at) : data.slice();
          if (damaged.length === data.length) damaged.set(bytes.slice(0, data.length - at), at);
          const begin = performance.now();
          try {
            await readAll(objects, damaged);
          } catch (err) {
            if (!(err instanceof TempoError) || err.code !== 'block_corrupt') throw err;
            errors++;
          }
          if (performance.now() - begin > 5000) throw new Error('took too long');
        },
      ),
      { numRuns },
    );
    t.ok(errors > numRuns / 10, `${name}: ${errors} of ${numRuns} damages were seen`);
  }
});

// Our own blocks

function ownBlock(spans: readonly TestSpan[], rowGroupSpans: number): { objects: Objects; head: HeadSource } {
  return ownBlockOf(encodeTraces(spans), rowGroupSpans);
}

function ownBlockOf(request: Uint8Array, rowGroupSpans: number): { objects: Objects; head: HeadSource } {
  const builder = new HeadBuilder({ maxBytes: 64 * 1024 * 1024 });
  builder.append(request, 0, request.length);
  const reader = new HeadReader(builder.sab);
  const files = new Map<string, Uint8Array[]>();
  const meta = createBlock({
    head: reader,
    blockId: '0f0e0d0c-0000-4000-8000-000000000001',
    tenant: 't',
    dedicatedColumns: DEFAULT_DEDICATED_COLUMNS,
    options: { rowGroupSpans, pageRows: 3, pageSpans: 20 },
    sink: {
      create: (name) => {
        const parts: Uint8Array[] = [];
        files.set(name, parts);
        return { write: (bytes) => void parts.push(bytes.slice()), close: () => undefined };
      },
    },
  });
  const read = (name: string): Uint8Array => new Uint8Array(Buffer.concat(files.get(name)!));
  return { objects: { meta, read }, head: new HeadSource(reader, 'head') };
}

await t.test('a flipped bit of any page is seen', async (t) => {
  const spans = Array.from({ length: 40 }, (_, i) =>
    aSpan({
      traceId: hexId(1 + (i >> 3), 16),
      spanId: hexId(i + 1, 8),
      attributes: [
        ['k', `v${i % 3}`],
        ['n', BigInt(i)],
      ],
    }),
  );
  const { objects } = ownBlock(spans, 20);
  const tempos = goldenBlock('vparquet4-odd');
  for (const [name, block] of [
    ['ours', objects],
    ["Tempo's", tempos],
  ] as const) {
    const data = block.read('data.parquet');
    const footer = data.subarray(data.length - 8 - block.meta.footerSizeBytes, data.length - 8);
    const decompressors = blockDecompressors();
    let pages = 0;
    let unseen = 0;
    for (const chunk of parseFooter(footer, data.length).rowGroups.flatMap(({ columns }) => columns)) {
      const start = chunkStart(chunk);
      const bytes = data.slice(start, start + chunk.compressedBytes);
      for (let at = 0; at < bytes.length; ) {
        const { kind, headerBytes, compressedBytes } = readPageHeader(bytes, at);
        const end = at + headerBytes + compressedBytes;
        const damaged = bytes.slice(at, end);
        damaged[headerBytes + ((pages * 7) % compressedBytes)]! ^= 1 << (pages % 8);
        try {
          if (kind === 'dictionary') readDictionary(chunk, damaged, decompressors);
          else new ColumnPages(chunk, [{ bytes: damaged, firstRow: 0 }], decompressors, false);
          unseen++;
        } catch (err) {
          if (!(err instanceof TempoError) || err.code !== 'block_corrupt') throw err;
        }
        pages++;
        at = end;
      }
    }
    t.ok(pages > 100, `${name}: ${pages} pages`);
    t.equal(unseen, 0, name);
  }
});

const someValue = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.boolean(),
  fc.double({ noNaN: true }),
  fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 }),
  fc.array(fc.bigInt({ min: -5n, max: 2n ** 60n }), { minLength: 1, maxLength: 3 }),
);
const KEYS = [
  'http.method',
  'http.status_code',
  'http.url',
  'url.path',
  'k',
  'x',
  'service.name',
  'k8s.pod.name',
];
const someAttributes = fc.uniqueArray(fc.tuple(fc.constantFrom(...KEYS), someValue), {
  maxLength: 5,
  selector: ([key]) => key,
});
const someNanos = fc.oneof(
  fc.bigInt({ min: START_NANO, max: START_NANO + 10n ** 12n }),
  fc.constantFrom(0n, 1n, 2n ** 63n),
);
const someSpan = fc.record({
  trace: fc.nat(11),
  attributes: someAttributes,
  name: fc.constantFrom('', 'a', 'b'),
  kind: fc.nat(5),
  start: someNanos,
  duration: fc.bigInt({ min: 0n, max: 10n ** 10n }),
  status: fc.nat(2),
  resource: someAttributes,
  scope: fc.nat(2),
  events: fc.array(
    fc.record({
      attributes: someAttributes,
      name: fc.constantFrom('e', 'f'),
      after: fc.bigInt({ min: 0n, max: 10n ** 9n }),
    }),
    { maxLength: 3 },
  ),
  links: fc.array(someAttributes, { maxLength: 2 }),
});

function spansFrom(
  described: readonly (typeof someSpan extends fc.Arbitrary<infer T> ? T : never)[],
): TestSpan[] {
  return described.map((d, i) =>
    aSpan({
      traceId: hexId(d.trace + 1, 16),
      spanId: hexId(i + 1, 8),
      parentSpanId: i % 3 === 0 ? '' : hexId(i, 8),
      name: d.name,
      kind: d.kind,
      startUnixNano: d.start,
      endUnixNano: d.start + d.duration,
      attributes: d.attributes,
      status: { code: d.status, message: d.status === 2 ? 'bad' : '' },
      resource: { attributes: d.resource, droppedAttributes: i % 2 },
      scope: { ...aScope(`s${d.scope}`), attributes: [['lib', `l${d.scope}`]] },
      events: d.events.map((e) => ({
        timeUnixNano: d.start + e.after,
        name: e.name,
        attributes: e.attributes,
        droppedAttributes: 0,
      })),
      links: d.links.map((attributes, n) => ({
        traceId: hexId(n + 1, 16),
        spanId: hexId(9, 8),
        traceState: '',
        attributes,
        droppedAttributes: n,
      })),
    }),
  );
}

/** Attributes in one order; what a block cannot keep apart is made equal. */
function normal(span: TestSpan): unknown {
  const sorted = (attributes: TestSpan['attributes']): unknown[] =>
    [...attributes].sort(([a], [b]) => (a < b ? -1 : 1));
  const named = span.resource.attributes.filter(([key, value]) => key !== 'service.name' || value !== '');
  return {
    ...span,
    attributes: sorted(span.attributes),
    resource: { ...span.resource, attributes: sorted(named) },
    scope: { ...span.scope, attributes: sorted(span.scope.attributes) },
    events: span.events.map((event) => ({ ...event, attributes: sorted(event.attributes) })),
    links: span.links.map((link) => ({ ...link, attributes: sorted(link.attributes) })),
  };
}

async function valuesBySpan(source: SpanSource, field: Field): Promise<string[]> {
  const [[vector], [ids]] = await Promise.all([
    source.load([{ field }]),
    source.load([{ field: { kind: 'intrinsic', name: 'span:id' } }]),
  ]);
  const spanIds = ids!.str!;
  const idOf = (span: number): string => Buffer.from(ids!.table!.bytes(spanIds[span]!)).toString('hex');
  const entries = entriesOf(vector!);
  if (vector!.owner === 'span')
    return entries.map((entry) => entry.replace(/^\d+/, (n) => idOf(Number(n)))).sort();
  const relation = {
    resource: 'spanResource',
    scope: 'spanScope',
    event: 'eventSpan',
    link: 'linkSpan',
    trace: 'spanTrace',
  } as const;
  const of = await source.relation(relation[vector!.owner as keyof typeof relation]);
  const out: string[] = [];
  for (const entry of entries) {
    const owner = Number.parseInt(entry);
    const value = entry.slice(String(owner).length);
    if (vector!.owner === 'event' || vector!.owner === 'link') out.push(idOf(of[owner]!) + value);
    else of.forEach((at, span) => at === owner && out.push(idOf(span) + value));
  }
  return out.sort();
}

const OWN_FIELDS: readonly Field[] = [
  ...intrinsics,
  ...KEYS.flatMap((name) => [
    attribute('span', name),
    attribute('resource', name),
    attribute('event', name),
    attribute('link', name),
  ]),
  attribute('instrumentation', 'lib'),
];

await t.test('our blocks hold what was put in, as the head has it', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(someSpan, { minLength: 1, maxLength: 60 }),
      fc.constantFrom(8, 1000),
      async (described, rowGroupSpans) => {
        const spans = spansFrom(described);
        const { objects, head } = ownBlock(spans, rowGroupSpans);
        const { block } = await opened(objects);
        const digests = new Map<string, string>();
        for (const traceId of new Set(spans.map((span) => span.traceId))) {
          const located = await block.locate(new Uint8Array(Buffer.from(traceId, 'hex')));
          const part = await located?.read();
          digests.set(traceId, (await located!.digest()).words.join());
          const byId = (a: TestSpan, b: TestSpan): number => (a.spanId < b.spanId ? -1 : 1);
          const want = spans.filter((span) => span.traceId === traceId).sort(byId);
          t.same(decodeTraces(part!).sort(byId).map(normal), want.map(normal));
        }
        for (const source of block.rowGroups) {
          const rows = Int32Array.of(source.traceCount - 1);
          const { ids } = await source.traceIds();
          const last = Buffer.from(ids.subarray(16 * rows[0]!)).toString('hex');
          t.equal((await source.spanDigests(rows)).join(), digests.get(last), 'of one row as of all');
          const traceOf = await ownersTrace(source);
          const fields = OWN_FIELDS.filter((field) => !isChildCountMissing(source.group, field));
          const whole = await source.load(fields.map((field) => ({ field })));
          const requests = fields.map((field) => ({ field }));
          const some = await rowVectors(source.group, requests, rows);
          const ofRow = ({ owner }: Vector, entry: string): boolean =>
            traceOf(owner, Number.parseInt(entry)) === rows[0];
          some.forEach((vector, i) =>
            t.same(
              entriesOf(vector),
              entriesOf(whole[i]!).filter((entry) => ofRow(whole[i]!, entry)),
              fieldKey(fields[i]!),
            ),
          );
        }
        for (const field of OWN_FIELDS) {
          const got: string[] = [];
          for (const source of block.rowGroups) got.push(...(await valuesBySpan(source, field)));
          // "" is what a block has for none
          const missing = fieldKey(field) === 'resource.service.name' ? / 1 ""$/ : /^$/;
          const clean = (values: string[]): string[] => values.filter((value) => !missing.test(value)).sort();
          t.same(clean(got), clean(await valuesBySpan(head, field)), fieldKey(field));
        }
      },
    ),
    { numRuns: 25 },
  );
});

await t.test('starts that differ by less than a float can tell', async (t) => {
  const far = 2n ** 63n;
  const starts: [string, bigint][] = [
    ['0000000000000001', 0n],
    ['0000000000000002', far + 3n],
    ['0000000000000003', far + 1n],
  ];
  const spans = starts.map(([spanId, startUnixNano]) =>
    aSpan({ spanId, parentSpanId: '', startUnixNano, endUnixNano: startUnixNano }),
  );
  const { objects, head } = ownBlock(spans, 1000);
  const { block } = await opened(objects);
  const field: Field = { kind: 'intrinsic', name: 'span:nestedSetLeft' };
  const want = ['0000000000000001 3 1', '0000000000000002 3 5', '0000000000000003 3 3'];
  t.same(await valuesBySpan(block.rowGroups[0]!, field), want);
  t.same(await valuesBySpan(head, field), want);
});

await t.test('durations that no float is equal to are rounded once', async (t) => {
  const spans = [
    aSpan({ traceId: hexId(1, 16), startUnixNano: 100n, endUnixNano: START_NANO }),
    aSpan({ traceId: hexId(2, 16), startUnixNano: 0n, endUnixNano: START_NANO + 17_794_679n }),
  ];
  const { objects, head } = ownBlock(spans, 1000);
  const { block } = await opened(objects);
  const ask = async (source: SpanSource): Promise<string[]> => {
    const query = parse('{ } | avg(traceDuration) > 0s | by(2 * duration)');
    const { found } = await searchSource(query, source, { limit: 9, spansPerSpanSet: 9 });
    return found.map(({ json }) => text.decode(json)).toSorted();
  };
  const [first, second] = await ask(block.rowGroups[0]!);
  t.match(second, '"490896h0m0.01779456s"');
  t.strictSame([first, second], await ask(head));
});

await t.test('many row groups and pages', async (t) => {
  const resources = [aResource('a', [['k', 1n]]), aResource('b')];
  const spans = Array.from({ length: 48 }, (_, n) =>
    aTrace(n + 1, 5, (i) => ({ resource: resources[i % 2]! })),
  ).flat();
  const { objects } = ownBlock(spans, 80);
  const { block } = await opened(objects);
  t.ok(block.rowGroups.length > 1);
  let count = 0;
  for (const source of block.rowGroups) {
    const [vector] = await source.load([
      { field: attribute('span', 'user.id'), equals: [utf8.encode('user-3')] },
    ]);
    t.equal(vector!.count, source.traceCount);
    count += vector!.count;
    const rows = Int32Array.of(source.traceCount - 1);
    const [last] = await source.load([{ field: attribute('span', 'n') }], { rows });
    t.same(
      entriesOf(last!)
        .map((entry) => entry.split(' ')[2])
        .sort(),
      ['1', '2', '3', '4', '5'],
    );
  }
  t.equal(count, 48);
  const { block: again } = await opened(objects);
  const before = again.bytesRead;
  const located = await again.locate(new Uint8Array(Buffer.from(hexId(20, 16), 'hex')));
  t.equal(decodeTraces(await located!.read()).length, 5);
  const bytes = again.bytesRead - before - objects.read('bloom-0').length;
  t.ok(bytes < objects.meta.sizeBytes / 4, `${bytes} bytes of ${objects.meta.sizeBytes}`);
});

await t.test('a large dictionary is read once for a value', async (t) => {
  const aValue = (n: number, name: string): string => `value-${n}-${'long'.repeat(10)}-${name}`;
  const names = ['x', 'y'];
  const spans = Array.from({ length: 60 }, (_, n) =>
    aTrace(n + 1, 20, (i) => ({
      attributes: names.map((name): [string, string] => [name, aValue((n * 20 + i) % 100, name)]),
    })),
  ).flat();
  const { objects } = ownBlock(spans, 600);
  const [all] = await (await opened(objects)).block.rowGroups[0]!.load([{ field: attribute('span', 'y') }]);
  const wanted = (name: string, ...values: string[]): FieldRequest => ({
    field: attribute('span', name),
    equals: values.map((value) => utf8.encode(value)),
  });
  const [x, y] = [aValue(7, 'x'), aValue(8, 'y')];
  const lists = [[x], [x, y, 'none'], [y, x]];
  const data = objects.read('data.parquet');
  const footer = data.subarray(data.length - 8 - objects.meta.footerSizeBytes, data.length - 8);
  const columns = parseFooter(footer, data.length).rowGroups[0]!.columns;
  const { dictionaryPageOffset = 0, dataPageOffset } = columns.find(({ leaf }) =>
    /Spans\..*\.Attrs\..*\.Value\./.test(leaf.path.join('.')),
  )!;
  const dictionary = `${dictionaryPageOffset}+${dataPageOffset - dictionaryPageOffset}`;
  for (const values of lists) {
    const { block, reads } = await opened(objects, new ByteLru(100_000));
    const [first, second] = block.rowGroups;
    await first!.load([wanted('x', ...values)]);
    t.ok(reads.includes(dictionary), 'the first time');
    await second!.load([wanted('x', ...values)]);
    reads.length = 0;
    const [vector] = await first!.load([wanted('y', ...values)]);
    t.notOk(reads.includes(dictionary), 'another attribute, the same values');
    t.ok(reads.length > 0, 'its pages are');
    const texts = new Set(values);
    const isWanted = (entry: string): boolean => texts.has(JSON.parse(entry.split(' ')[2]!) as string);
    t.same(entriesOf(vector!).filter(isWanted), entriesOf(all!).filter(isWanted));
    t.equal(entriesOf(vector!).filter(isWanted).length, texts.has(y) ? 6 : 0);
  }
  const { block } = await opened(objects, new ByteLru(100_000));
  const first = block.rowGroups[0]!;
  const ofX = async (...values: string[]): Promise<readonly string[]> => {
    const [vector] = await first.load([wanted('x', ...values)]);
    return entriesOf(vector!).filter((entry) => entry.includes(JSON.stringify(x)));
  };
  t.same(await ofX(`${x}!`, 'none'), []);
  t.equal((await ofX(x, '!none')).length, 6, 'another list of the same letters');
});

await t.test('keys that the first pages do not have', async (t) => {
  const names = Array.from({ length: 40 }, (_, n) => `k${n}`);
  const spans = names.flatMap((_, n) =>
    aTrace(n + 1, 3, () => ({
      attributes: names.slice(0, n + 1).map((name): [string, bigint] => [name, BigInt(n)]),
    })),
  );
  const { objects, head } = ownBlock(spans, 1000);
  const { block } = await opened(objects);
  t.equal(block.rowGroups.length, 1);
  for (const name of names) {
    const field = attribute('span', name);
    t.same(await valuesBySpan(block.rowGroups[0]!, field), await valuesBySpan(head, field), name);
  }
});

await t.test('what cannot be opened', async (t) => {
  const objects = goldenBlock('vparquet4-odd');
  const data = objects.read('data.parquet');
  const cases: { name: string; meta: Partial<BlockMeta>; data: Uint8Array }[] = [
    { name: 'shorter than its footer', meta: { sizeBytes: 100 }, data },
    { name: 'truncated', meta: {}, data: data.subarray(0, data.length - 10) },
    { name: 'another footer length', meta: { footerSizeBytes: 77 }, data },
    { name: 'not parquet', meta: {}, data: new Uint8Array(data.length) },
  ];
  for (const { name, meta, data: bytes } of cases) {
    await t.rejects(
      opened({ ...objects, meta: { ...objects.meta, ...meta } }, new ByteLru(1e6), bytes),
      { code: 'block_corrupt', message: new RegExp(objects.meta.blockId) },
      name,
    );
  }
  const unknown = await opened({ ...objects, meta: { ...objects.meta, footerSizeBytes: 0 } });
  t.equal(unknown.block.rowGroups.length, 1, 'the tail tells the length when the meta does not');
});
