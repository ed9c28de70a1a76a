// The filter over the attribute values of a block: it knows every value there is, in blocks of heads and in
// compacted ones; what it rules out is not there; and what is wrong with it never changes an answer.
import t, { type Test } from 'tap';
import { type BlockMeta, VALUE_FILTER_NAME } from '../../src/block/meta.ts';
import { metaFromJson, metaToBytes } from '../../src/block/meta-json.ts';
import { bitsOf, elementOf, valueBloom } from '../../src/block/value-filter/bloom.ts';
import { LINE_BYTES } from '../../src/block/value-filter/filter-lines.ts';
import { firstWord, secondWord } from '../../src/block/value-filter/value-hash.ts';
import { ValueFilterBuilder } from '../../src/block/value-filter/builder.ts';
import {
  encodeFilter,
  filterBits,
  layoutOf,
  shardBits,
  shardRange,
} from '../../src/block/value-filter/format.ts';
import { joinedBits } from '../../src/block/value-filter/joined.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import { unpackFound } from '../../src/store/pack.ts';
import type { ScanSource, SearchJobResult, TagValuesJobResult } from '../../src/store/scan-job.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { type NeededValue, neededValues } from '../../src/traceql/engine/needed-values.ts';
import { parse } from '../../src/traceql/parser.ts';
import { writeBlock, type WriteOptions, type WrittenBlock } from '../support/block-rows.ts';
import { compactWritten } from '../support/compacting.ts';
import { EVERY_DEDICATED, everyTrace } from '../support/every-value.ts';
import { Chance } from '../support/fuzz.ts';
import { aSpan, aTrace, type Attribute, type TestSpan, type Value } from '../support/otlp.ts';
import { RandomQueries } from '../support/random-query.ts';
import { RANDOM_SPANS_VOCABULARY, randomSpans } from '../support/random-spans.ts';

t.setTimeout(120_000);

const { signal } = new AbortController();
const FILTER = { valueFilterBytesMax: 1 << 20 };
const LAYOUTS: readonly WriteOptions[] = [
  {},
  { format: 'vParquet4', dedicatedColumns: [{ scope: 'span', name: 's', type: 'string', options: [] }] },
  { format: 'vParquet5', dedicatedColumns: EVERY_DEDICATED },
];

/** Counts how often filters were read, and fails when it is told to. */
class FilterStore extends MemoryStore {
  reads = 0;
  isAway = false;

  override readRange(key: string, offset: number, lengthBytes: number): Promise<Uint8Array> {
    if (!key.endsWith(VALUE_FILTER_NAME)) return super.readRange(key, offset, lengthBytes);
    this.reads++;
    if (this.isAway) return Promise.reject(new TempoError('unavailable', 'the store is away'));
    return super.readRange(key, offset, lengthBytes);
  }
}

/** Blocks in a store, as sources with their filters and without. */
class Blocks {
  readonly store = new FilterStore(() => 0);
  readonly scanner = new Scanner({ local: this.store, backend: this.store, cacheBytes: 1 << 22 });

  async put({ meta, objects }: WrittenBlock): Promise<void> {
    const folder = `${meta.tenantId}/${meta.blockId}`;
    for (const [name, bytes] of objects) await this.store.write(`${folder}/${name}`, bytes);
  }

  /** How many blocks have been skipped since it was asked last. */
  takeCounts() {
    return this.scanner.blocks.filters.takeCounts();
  }
}

function source(meta: BlockMeta): ScanSource {
  return { kind: 'block', meta, location: 'backend' };
}

function without(meta: BlockMeta): BlockMeta {
  return { ...meta, valueFilterBytes: 0 };
}

async function searched(scanner: Scanner, query: string, sources: readonly ScanSource[]): Promise<unknown> {
  const range = { startSec: undefined, endSec: undefined };
  const asked = { kind: 'search', query, range, limit: 1000, spansPerSpanSet: 3, format: 'json' } as const;
  const result = (await scanner.run({ ...asked, sources }, signal)) as SearchJobResult;
  t.same(result.failures, []);
  return unpackFound(result.found).map(({ traceId, body }) => [traceId, Buffer.from(body).toString()]);
}

t.test('the bits are those that BloomFilter sets, whatever size they had before', async (t) => {
  const chance = new Chance(1);
  for (const [values, bytesMax] of [
    [5, 64],
    [300, 1 << 20],
    [5000, 1 << 22],
    [9000, 1 << 14],
  ] as const) {
    const builder = new ValueFilterBuilder({ bytesMax, valuesMax: values * 10 });
    const hashes = Array.from({ length: values }, () =>
      [1, 2, 3, 4].map(() => (chance.below(2 ** 32) * 7919) | 0),
    ) as [number, number, number, number][];
    for (const hash of hashes) builder.add(...hash);
    const bits = builder.finish()!;
    t.ok(bits.length <= bytesMax, `${values} values: ${bits.length} bytes`);
    const library = valueBloom(bits.length / LINE_BYTES);
    const elements = hashes.map(([fieldA, fieldB, valueA, valueB]) =>
      elementOf(firstWord(fieldA, valueA), secondWord(fieldB, valueB)),
    );
    for (const element of elements) library.add(element);
    t.strictSame(Buffer.from(bits).equals(bitsOf(library)), true);
    const read = valueBloom(bits.length / LINE_BYTES, bits);
    t.ok(elements.every((element) => read.has(element)));
    const others = Array.from({ length: 1000 }, () =>
      elementOf(chance.below(2 ** 32), chance.below(2 ** 32)),
    );
    const wrong = others.filter((element) => read.has(element)).length;
    t.ok(wrong < (values === 9000 ? 400 : 100), `${wrong} of 1000 others`);
  }
  const full = new ValueFilterBuilder({ bytesMax: 64, valuesMax: 1e6 });
  for (let i = 0; i < 1000; i++) full.add(i, i * 3, i * 5, i * 7);
  t.equal(full.finish(), undefined, 'what rules nothing out is no filter');
});

t.test('the object: shards that say whose they are', async (t) => {
  const id = '11111111-2222-4333-8444-555555555555';
  const bits = Uint8Array.from({ length: 1 << 16 }, (_, i) => i * 7);
  for (const size of [64, 1 << 14, 1 << 16]) {
    const bytes = encodeFilter(id, bits.subarray(0, size));
    const layout = layoutOf(bytes.length)!;
    t.equal(layout.shards * layout.bitsBytes, size);
    const back = Array.from({ length: layout.shards }, (_, i) => {
      const { offset, length } = shardRange(i, layout);
      return shardBits(bytes.subarray(offset, offset + length), id, i, layout);
    });
    t.ok(Buffer.concat(back).equals(bits.subarray(0, size)));
  }
  for (const size of [0, 36, 37, 99, 101, 36 + 96, 3 * (36 + (1 << 14))]) t.equal(layoutOf(size), undefined);
  t.match(metaFromJson(metaToBytes({ ...writeBlock([[aSpan()]]).meta, valueFilterBytes: 100 })), {
    valueFilterBytes: 100,
  });
  for (const odd of ['"x"', '-1', '1.5', 'null', '{}']) {
    const text = Buffer.from(metaToBytes(writeBlock([[aSpan()]]).meta)).toString();
    const meta = metaFromJson(Buffer.from(text.replace(/\}$/, `,"valueFilterBytes":${odd}}`)));
    t.equal(meta.valueFilterBytes, undefined, odd);
  }
});

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Strings and integers of an attribute, those of arrays too. */
function scalarsOf(value: Value): readonly (Uint8Array | bigint)[] {
  if (typeof value === 'string') return [text(value)];
  if (typeof value === 'bigint') return [value];
  if (!Array.isArray(value)) return [];
  const types = new Set(value.map((one) => typeof one));
  return types.size === 1 ? value.flatMap((one) => (Array.isArray(one) ? [] : scalarsOf(one))) : [];
}

function valuesOf(spans: readonly TestSpan[]): NeededValue[] {
  const of = (scope: NeededValue['scope'], attributes: readonly Attribute[]): NeededValue[] =>
    attributes.flatMap(([key, value]) => scalarsOf(value).map((one) => ({ scope, key, value: one })));
  return spans.flatMap((span) => [
    ...of('span', span.attributes),
    ...of('resource', span.resource.attributes),
    ...of('instrumentation', span.scope.attributes),
    ...span.events.flatMap(({ attributes }) => of('event', attributes)),
    ...span.links.flatMap(({ attributes }) => of('link', attributes)),
  ]);
}

/** Whether the filter of a block lets each of the values pass. */
async function knowsAll(t: Test, block: WrittenBlock, values: readonly NeededValue[]): Promise<void> {
  const blocks = new Blocks();
  await blocks.put(block);
  t.ok((block.meta.valueFilterBytes ?? 0) > 0, 'there is a filter');
  for (const value of values) {
    const isPossible = await blocks.scanner.blocks.mayMatch(block.meta, 'backend', [[value]], signal);
    if (!isPossible) t.fail(`${value.scope}.${value.key} = ${String(value.value)} is ruled out`);
  }
  t.equal(blocks.takeCounts().unusable, 0);
  const absent = values.map((value) => ({ ...value, key: `${value.key}?` }));
  let ruledOut = 0;
  for (const value of absent) {
    if (!(await blocks.scanner.blocks.mayMatch(block.meta, 'backend', [[value]], signal))) ruledOut++;
  }
  t.ok(ruledOut > absent.length * 0.8, `${ruledOut} of ${absent.length} absent ones are ruled out`);
}

t.test('every value is in the filter, of heads and after compaction', async (t) => {
  const requests = everyTrace(20);
  const values = valuesOf(requests.flat());
  for (const layout of LAYOUTS) {
    const halves = [requests.map((spans) => spans.filter((_, i) => i % 3 !== 0)), requests.toReversed()];
    const blocks = halves.map((half) => writeBlock(half, { ...layout, ...FILTER }));
    await knowsAll(t, blocks[1]!, values);
    const compacted = await compactWritten(blocks, { ...FILTER, rowGroupSpans: 60 });
    await knowsAll(t, compacted, values);
    const again = await compactWritten([compacted], FILTER);
    await knowsAll(t, again, values);
  }
});

t.test('values of a head that look alike are each in the filter', async (t) => {
  const keys = 4096 + 64;
  const attributes: Attribute[] = Array.from({ length: keys }, (_, i) => [`k${i}`, 'same']);
  for (let i = 0; i < 64; i++) {
    // one after another: numbers and keys that differ in few bits, and texts of one key and of several
    attributes.push([`k${i}`, 65_536n + BigInt(i)], [`k${i + 4096}`, BigInt(i)], [`k${i}`, BigInt(-i)]);
    attributes.push([`k${i + 4096}`, BigInt(i) << 32n], [`k${i}`, BigInt(i) << 33n]);
    attributes.push([`k${i}`, 'x'.repeat(i)], [`k${i + 1}`, 'x'.repeat(i)], [`k${i + 1}`, '\0'.repeat(i)]);
  }
  const spans = aTrace(1, 50, (at) => ({ attributes: attributes.slice(100 * (at - 1), 100 * at) }));
  const twice = spans.map((span) => ({ ...span, attributes: span.attributes.toReversed() }));
  const block = writeBlock([spans, aTrace(2, 50, (at) => twice[at - 1]!)], FILTER);
  await knowsAll(t, block, valuesOf(spans));
});

/** Bits of a filter that knows so many values, each another one. */
function filled(values: number, seed: number, bytesMax = 1 << 16): Uint8Array {
  const chance = new Chance(seed);
  const builder = new ValueFilterBuilder({ bytesMax, valuesMax: bytesMax > 1 << 20 ? 1e6 : values });
  for (let i = 0; i < values; i++) {
    builder.add(
      ...([1, 2, 3, 4].map(() => (chance.below(2 ** 32) * 7919) | 0) as [number, number, number, number]),
    );
  }
  return builder.finish()!;
}

t.test('filters of any sizes are joined: what one of them knows stays known', (t) => {
  for (const [few, many] of [
    [3, 4000],
    [700, 900],
    [900, 4000],
    [1, 2],
  ] as const) {
    const parts = [filled(few, 1), filled(many, 2)];
    const joined = joinedBits(parts, 1 << 20)!;
    const all = valueBloom(joined.length / LINE_BYTES, joined);
    const chance = [new Chance(1), new Chance(2)];
    for (const [at, count] of [few, many].entries()) {
      for (let i = 0; i < count; i++) {
        const [fieldA, fieldB, valueA, valueB] = [1, 2, 3, 4].map(
          () => (chance[at]!.below(2 ** 32) * 7919) | 0,
        ) as [number, number, number, number];
        const element = elementOf(firstWord(fieldA, valueA), secondWord(fieldB, valueB));
        if (!all.has(element)) t.fail(`value ${i} of ${few} and ${many} is ruled out`);
      }
    }
    const other = new Chance(3);
    const absent = Array.from({ length: 2000 }, () => elementOf(other.below(2 ** 32), other.below(2 ** 32)));
    const wrong = absent.filter((element) => all.has(element)).length;
    t.ok(wrong < 120, `${few} and ${many}: ${wrong} of 2000 others pass`);
    t.ok(joined.length <= Math.max(...parts.map(({ length }) => length)));
  }
  const crowded = [1, 2, 3, 4, 5, 6].map((seed) => filled(900, seed));
  t.equal(joinedBits(crowded, 1 << 20), undefined, 'too full');
  const two = crowded.slice(0, 3);
  t.equal(joinedBits(two, two[0]!.length * 2), undefined, 'twice as large it would rule out more');
  t.ok(joinedBits(two, two[0]!.length), 'where it cannot be larger it is as it would be made anew');
  t.equal(joinedBits(crowded, crowded[0]!.length), undefined, 'and rules out too little in the end');
  t.same(joinedBits([crowded[0]!], 1 << 20), crowded[0], 'one alone stays as it is');
  const few = new ValueFilterBuilder({ bytesMax: 1 << 12, valuesMax: 1e6 });
  for (let i = 0; i < 10; i++) few.add(i, i * 3, i * 5, i * 7);
  t.equal(few.finish()!.length, LINE_BYTES);
  t.end();
});

t.test('a filter of many parts and shards knows all that it was given', (t) => {
  const bits = [filled(60_000, 1, 1 << 22), filled(70_000, 2, 1 << 22)];
  const id = '11111111-2222-4333-8444-555555555555';
  const back = bits.map((each) => filterBits(encodeFilter(id, each), id));
  t.same(
    back.map((each, i) => Buffer.from(each).equals(bits[i]!)),
    [true, true],
    'each shard at its place',
  );
  t.ok(layoutOf(encodeFilter(id, bits[0]!).length)!.shards > 1);
  const joined = joinedBits(back, 1 << 22)!;
  const all = valueBloom(joined.length / LINE_BYTES, joined);
  for (const [seed, values] of [
    [1, 60_000],
    [2, 70_000],
  ] as const) {
    const chance = new Chance(seed);
    let missing = 0;
    for (let i = 0; i < values; i++) {
      const [fieldA, fieldB, valueA, valueB] = [1, 2, 3, 4].map(() => (chance.below(2 ** 32) * 7919) | 0) as [
        number,
        number,
        number,
        number,
      ];
      if (!all.has(elementOf(firstWord(fieldA, valueA), secondWord(fieldB, valueB)))) missing++;
    }
    t.equal(missing, 0, `of ${values}`);
  }
  t.end();
});

t.test('a compaction joins the filters of its inputs, or makes one of the values', async (t) => {
  const halves = [0, 1].map((half) => everyTrace(20).map((spans) => spans.filter((_, i) => i % 2 === half)));
  const values = valuesOf(halves.flat(2));
  const blocks = halves.map((half, i) =>
    writeBlock(half, { ...FILTER, blockId: `${i}1111111-2222-4333-8444-555555555555` }),
  );
  const bitsIn = ({ meta, objects }: WrittenBlock): Uint8Array =>
    filterBits(objects.get(VALUE_FILTER_NAME)!, meta.blockId);
  const compacted = await compactWritten(blocks, FILTER);
  t.same(bitsIn(compacted), joinedBits(blocks.map(bitsIn), 1 << 20), 'they are joined');
  await knowsAll(t, compacted, values);
  const anew = bitsIn(await compactWritten(blocks.map(withoutFilter), FILTER));
  const bad: readonly (readonly [name: string, change: (block: WrittenBlock) => WrittenBlock])[] = [
    ['none', withoutFilter],
    ['one that is gone', (block) => withFilter(block, undefined)],
    ['one that is damaged', (block) => withFilter(block, (bytes) => (bytes[50]! ^= 4))],
    ['one of another version', (block) => withFilter(block, (bytes) => (bytes[3]! ^= 4))],
    [
      'one of another block',
      ({ meta, objects }) => ({
        meta,
        objects: new Map(objects).set(VALUE_FILTER_NAME, blocks[0]!.objects.get(VALUE_FILTER_NAME)!),
      }),
    ],
    ['one of another size', ({ meta, objects }) => ({ meta: { ...meta, valueFilterBytes: 77 }, objects })],
    [
      'one of no size',
      ({ meta, objects }) => ({
        meta: { ...meta, valueFilterBytes: 77 },
        objects: new Map(objects).set(VALUE_FILTER_NAME, new Uint8Array(77)),
      }),
    ],
    ['one that cannot be read', ({ meta, objects }) => ({ meta, objects: new Unreadable(objects) })],
  ];
  for (const [name, change] of bad) {
    const made = await compactWritten([blocks[0]!, change(blocks[1]!)], FILTER);
    t.same(bitsIn(made), anew, name);
  }
  const small = await compactWritten(blocks, { valueFilterBytesMax: bitsIn(compacted).length / 2 });
  t.ok((small.meta.valueFilterBytes ?? 0) < compacted.meta.valueFilterBytes!, 'no larger than it may be');
  t.equal((await compactWritten(blocks, { valueFilterBytesMax: 0 })).meta.valueFilterBytes, undefined);
});

/** Whose filter cannot be read. */
class Unreadable extends Map<string, Uint8Array> {
  override get(name: string): Uint8Array | undefined {
    if (name === VALUE_FILTER_NAME) throw new TempoError('internal', 'EIO');
    return super.get(name);
  }
}

function withoutFilter({ meta, objects }: WrittenBlock): WrittenBlock {
  return { meta: without(meta), objects };
}

/** @param change of the object; undefined = there is none. */
function withFilter(
  { meta, objects }: WrittenBlock,
  change: ((bytes: Uint8Array) => void) | undefined,
): WrittenBlock {
  const changed = new Map(objects);
  changed.delete(VALUE_FILTER_NAME);
  if (change !== undefined) {
    const bytes = objects.get(VALUE_FILTER_NAME)!.slice();
    change(bytes);
    changed.set(VALUE_FILTER_NAME, bytes);
  }
  return { meta, objects: changed };
}

t.test('a search with filters answers as one without', async (t) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1e6);
  t.comment(`seed ${seed}`);
  const chance = new Chance(seed);
  const queries = new RandomQueries(chance, RANDOM_SPANS_VOCABULARY);
  const total = { skipped: 0, passed: 0, found: 0 };
  for (let round = 0; round < 4; round++) {
    const layout = chance.of(LAYOUTS);
    const blocks = new Blocks();
    const all: WrittenBlock[] = [];
    for (let n = 0; n < 6; n++) {
      const blockId = `${n}1111111-2222-4333-8444-555555555555`;
      const one = writeBlock([randomSpans(chance, 1 + chance.below(2))], { ...layout, ...FILTER, blockId });
      const inputs = [one, writeBlock([randomSpans(chance, 1)], layout)];
      all.push(chance.once(2) ? one : await compactWritten(inputs, FILTER, 0, blockId));
      await blocks.put(all[n]!);
    }
    for (let i = 0; i < 40; i++) {
      const query = chance.once(2) ? queries.search() : plainQuery(chance);
      if (neededOf(query) === undefined) continue;
      const filtered = await searched(
        blocks.scanner,
        query,
        all.map(({ meta }) => source(meta)),
      );
      const plain = await searched(
        blocks.scanner,
        query,
        all.map(({ meta }) => source(without(meta))),
      );
      t.strictSame(filtered, plain, query);
      total.found += (plain as unknown[]).length;
    }
    const { skipped, passed, unusable } = blocks.takeCounts();
    t.equal(unusable, 0);
    total.skipped += skipped;
    total.passed += passed;
  }
  t.ok(total.skipped > 5 && total.passed > 20 && total.found > 20, JSON.stringify(total));
});

function plainQuery(chance: Chance): string {
  const scope = chance.of(['span', 'resource', 'event', 'link', 'instrumentation', '']);
  const other = chance.of(['span.http.status_code = 7', 'span.li = 2', '.s = "b"', 'span.ls =~ "a|b"']);
  const fields = ['s = "a"', 'i = 9007199254740993', 'i = 0', 'any = "a.c"', 'http.method = "b"'];
  const one = `${scope}.${chance.of(fields)}`;
  return chance.once(2) ? `{ ${one} }` : `{ ${one} ${chance.of(['&&', '||'])} ${other} }`;
}

/** undefined = the query is refused. */
function neededOf(query: string): ReturnType<typeof neededValues> | undefined {
  try {
    return neededValues(parse(query));
  } catch {
    return undefined;
  }
}

t.test('what a query needs', async (t) => {
  const told = (query: string): string[] =>
    neededValues(parse(query)).map((list) =>
      list
        .map(({ scope, key, value }) => {
          const shown =
            typeof value === 'bigint' ? String(value) : JSON.stringify(Buffer.from(value).toString());
          return `${scope}.${key}=${shown}`;
        })
        .join(' or '),
    );
  const cases: readonly (readonly [query: string, want: readonly string[]])[] = [
    ['{ span.a = "x" }', ['span.a="x"']],
    ['{ "x" = span.a }', ['span.a="x"']],
    ['{ .a = 7 }', ['span.a=7 or resource.a=7']],
    ['{ span.a = "x" && resource.b = 1 && duration > 1s }', ['span.a="x"', 'resource.b=1']],
    ['{ span.a = "x" || event.b = "y" }', ['span.a="x" or event.b="y"']],
    ['{ span.a = "x" || duration > 1s }', []],
    ['{ span.a =~ "x|y" }', ['span.a="x" or span.a="y"']],
    ['{ span.a =~ "x.*" }', []],
    ['{ span.a != "x" }', []],
    ['{ !(span.a = "x") }', []],
    ['{ span.a = "" }', []],
    ['{ span.a = nil }', []],
    ['{ span.a = 1.5 }', []],
    ['{ span.a = true }', []],
    ['{ span.a >= 7 }', []],
    ['{ span.a = 1s }', []],
    ['{ span.a + 1 = 7 }', []],
    ['{ span.a = span.b }', []],
    ['{ parent.span.a = "x" }', []],
    ['{ name = "x" }', []],
    ['{ span.a = "x" } >> { span.b = "y" }', ['span.a="x"', 'span.b="y"']],
    ['{ span.a = "x" } !>> { span.b = "y" }', ['span.b="y"']],
    ['{ span.a = "x" } &>> { span.b = "y" }', ['span.a="x"', 'span.b="y"']],
    ['{ span.a = "x" } && { span.b = "y" }', ['span.a="x"', 'span.b="y"']],
    ['{ span.a = "x" } || { span.b = "y" }', ['span.a="x" or span.b="y"']],
    ['{ span.a = "x" } || { }', []],
    ['({ span.a = "x" } | count() > 1) && { span.b = "y" }', ['span.a="x"', 'span.b="y"']],
    ['{ span.a = "x" } | count() > 1', ['span.a="x"']],
    ['{ span.a = "x" } | rate() by (span.b)', ['span.a="x"']],
    ['{ } | compare({ span.a = "x" })', []],
  ];
  for (const [query, want] of cases) {
    if (neededOf(query) === undefined) t.comment(`refused: ${query}`);
    else t.same(told(query), want, query);
  }
});

t.test('a filter that cannot be trusted rules out nothing', async (t) => {
  const spans = aTrace(1, 3, (i) => ({ attributes: [['user', `u${i}`]] }));
  const other = aTrace(2, 3, () => ({ attributes: [['user', 'other']] }));
  const block = writeBlock([spans], FILTER);
  const foreign = writeBlock([other], { ...FILTER, blockId: '99999999-2222-4333-8444-555555555555' });
  const good = block.objects.get(VALUE_FILTER_NAME)!;
  const changed = (change: (bytes: Uint8Array) => void): Uint8Array => {
    const bytes = good.slice();
    change(bytes);
    return bytes;
  };
  const cases: readonly (readonly [name: string, object: Uint8Array | undefined, stated?: number])[] = [
    ['absent', undefined],
    ['truncated', good.subarray(0, good.length - 1)],
    ['empty', new Uint8Array(0)],
    ['damaged', changed((bytes) => (bytes[40]! ^= 1))],
    ['of zeros', new Uint8Array(good.length)],
    ['of another version', changed((bytes) => (bytes[3] = 9))],
    ['of another block', foreign.objects.get(VALUE_FILTER_NAME)],
    ['of another size than stated', good, good.length * 2 - 36],
    ['of no possible size', good, 77],
  ];
  for (const [name, object, stated = good.length] of cases) {
    const blocks = new Blocks();
    const objects = new Map(block.objects);
    if (object === undefined) objects.delete(VALUE_FILTER_NAME);
    else objects.set(VALUE_FILTER_NAME, object);
    const meta = { ...block.meta, valueFilterBytes: stated };
    await blocks.put({ meta, objects });
    for (let again = 0; again < 2; again++) {
      const found = await searched(blocks.scanner, '{ span.user = "u2" }', [source(meta)]);
      t.equal((found as unknown[]).length, 1, name);
      t.same(await searched(blocks.scanner, '{ span.user = "nobody" }', [source(meta)]), []);
      const { skipped, passed, unusable } = blocks.takeCounts();
      t.same([skipped, passed, unusable], [0, 2, 2], `${name}: counted`);
      t.equal(blocks.store.reads, stated === 77 ? 0 : 1, `${name}: it is not asked for again`);
    }
  }
  const blocks = new Blocks();
  await blocks.put(block);
  blocks.store.isAway = true;
  await searched(blocks.scanner, '{ span.user = "nobody" }', [source(block.meta)]);
  t.match(blocks.takeCounts(), { skipped: 0, passed: 1, unusable: 1 }, 'a filter that cannot be read now');
  blocks.store.isAway = false;
  t.equal(
    ((await searched(blocks.scanner, '{ span.user = "u2" }', [source(block.meta)])) as unknown[]).length,
    1,
  );
  t.same(await searched(blocks.scanner, '{ span.user = "nobody" }', [source(block.meta)]), []);
  t.match(blocks.takeCounts(), { skipped: 1, passed: 1, unusable: 0 });
});

t.test('blocks that are skipped are not read', async (t) => {
  const blocks = new Blocks();
  const block = writeBlock([aTrace(1, 3, () => ({ attributes: [['user', 'x']] }))], FILTER);
  await blocks.put(block);
  const all = { sources: [source(block.meta)], query: '{ span.user = "y" }' };
  const bytesMax = 1000;
  const fields = [{ kind: 'attribute', scope: 'span', name: 'user' }] as const;
  const values = await blocks.scanner.run({ kind: 'tagValues', ...all, fields, bytesMax }, signal);
  t.same((values as TagValuesJobResult).values.types, []);
  t.equal(
    (values as TagValuesJobResult).inspectedBytes,
    block.meta.valueFilterBytes,
    'nothing but the filter',
  );
  t.equal(blocks.takeCounts().skipped, 1);
  const range = { startSec: undefined, endSec: undefined };
  const asked = { range, limit: 10, spansPerSpanSet: 3, format: 'json', isExplained: true } as const;
  for (const [query, spared] of [
    ['{ span.user = "y" }', [block.meta.blockId]],
    ['{ span.user = "x" }', []],
  ] as const) {
    const { report } = (await blocks.scanner.run(
      { ...asked, ...all, kind: 'search', query },
      signal,
    )) as SearchJobResult;
    t.same([report?.spared, report?.sources.length], [spared, 1 - spared.length], 'what is explained');
  }
  t.same([blocks.takeCounts().skipped], [1]);
  await blocks.store.delete(`acme/${block.meta.blockId}/data.parquet`);
  t.same(await searched(blocks.scanner, '{ span.user = "y" }', [source(block.meta)]), []);
});

/** Counts what is read, in bytes. */
class CountedStore extends MemoryStore {
  bytesRead = 0;

  override async read(...args: Parameters<ObjectStore['read']>): Promise<Uint8Array> {
    const bytes = await super.read(args[0]);
    this.bytesRead += bytes.length;
    return bytes;
  }

  override async readRange(...args: Parameters<ObjectStore['readRange']>): Promise<Uint8Array> {
    this.bytesRead += args[2];
    return super.readRange(args[0], args[1], args[2]);
  }
}

t.test('a search over 200 blocks reads what it needs of them, and says how much', async (t) => {
  const store = new CountedStore(() => 0);
  const texts = new Chance(5);
  const aText = (length: number): string =>
    Array.from({ length }, () => String.fromCharCode(97 + texts.below(26))).join('');
  const sources: ScanSource[] = [];
  let stored = 0;
  for (let n = 0; n < 8; n++) {
    const spans = Array.from({ length: 300 }, (_, i) =>
      aTrace(n * 1000 + i + 1, 5, () => ({
        attributes: [
          ['user.id', `user-${n}-${i}`],
          ['db.statement', aText(60)],
          ['url', aText(30)],
          ['rows', BigInt(texts.below(1e9))],
        ],
      })),
    ).flat();
    const { meta, objects } = writeBlock([spans], FILTER);
    // each block under 25 names: what a filter says of one is not believed of another
    for (let k = 0; k < 25; k++) {
      const blockId = `${n}${k + 10}11111-0000-4000-8000-555555555555`;
      for (const [name, bytes] of objects) await store.write(`acme/${blockId}/${name}`, bytes);
      sources.push(source({ ...meta, blockId }));
      stored += meta.sizeBytes;
    }
  }
  const range = { startSec: undefined, endSec: undefined };
  const job = { kind: 'search', range, limit: 20, spansPerSpanSet: 3, format: 'json', sources } as const;
  const read = async (query: string): Promise<number> => {
    const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 28 });
    store.bytesRead = 0;
    const result = (await scanner.run({ ...job, query }, signal)) as SearchJobResult;
    t.same(result.failures, []);
    t.equal(result.inspectedBytes, store.bytesRead, `${query}: all that was read is told`);
    return store.bytesRead / stored;
  };
  const shares = {
    status: await read('{ status = error }'),
    value: await read('{ span.rows = 77 }'),
    duration: await read('{ duration > 1h }'),
  };
  t.comment(JSON.stringify({ stored, ...shares }));
  // footers alone are 11 % of blocks as small as these
  t.ok(shares.status < 0.15, `a column: ${shares.status}`);
  t.ok(shares.value < 0.27, `a value: ${shares.value}`);
  t.ok(shares.duration < 0.15, `durations: ${shares.duration}`);
});
