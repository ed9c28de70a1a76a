// Search of one source: order, limit, time range, exclusion, what is loaded, and the JSON of a trace.
import t from 'tap';
import { Bitset } from '../../src/lib/bitset.ts';
import { type SearchOptions, type SearchOutcome, searchSource } from '../../src/traceql/engine/search.ts';
import { positionOf } from '../../src/traceql/engine/order.ts';
import { parse } from '../../src/traceql/parser.ts';
import { fieldKey } from '../../src/traceql/source.ts';
import { validate } from '../../src/traceql/validate.ts';
import { ArraySource } from '../support/array-source.ts';
import { Chance } from '../support/fuzz.ts';
import { START_NANO, type TestSpan, aResource, aSpan, aTrace, hexId } from '../support/otlp.ts';

const SECOND = 1_000_000_000n;

function search(
  source: ArraySource,
  text: string,
  options: Partial<SearchOptions> = {},
): Promise<SearchOutcome> {
  const query = parse(text);
  validate(query);
  return searchSource(query, source, { limit: 20, spansPerSpanSet: 3, ...options });
}

/** Traces 1..n, one second apart, one span each. */
function oneSpanTraces(count: number): TestSpan[] {
  return Array.from({ length: count }, (_, i) => {
    const startUnixNano = START_NANO + BigInt(i) * SECOND;
    return aSpan({ traceId: hexId(i + 1, 16), startUnixNano, endUnixNano: startUnixNano + 1000n });
  });
}

const idsOf = (outcome: SearchOutcome): string[] => outcome.found.map(({ traceId }) => traceId);

await t.test('the newest traces are found, newest first', async (t) => {
  const source = new ArraySource(oneSpanTraces(30).reverse());
  const outcome = await search(source, '{ }', { limit: 3 });
  t.same(idsOf(outcome), ['1e', '1d', '1c']);
  t.match(outcome, { matchedTraces: 30, inspectedTraces: 30, inspectedSpans: 30 });
});

await t.test('traces of one microsecond are ordered by nanosecond, then by id', async (t) => {
  const at = (id: number, nanos: bigint): TestSpan =>
    aSpan({ traceId: hexId(id, 16), startUnixNano: START_NANO + nanos, endUnixNano: START_NANO + 5000n });
  const source = new ArraySource([at(4, 1n), at(3, 2n), at(2, 1n), at(1, 0n)]);
  t.same(idsOf(await search(source, '{ }')), ['3', '2', '4', '1']);
  t.same(idsOf(await search(source, '{ }', { limit: 2 })), ['3', '2']);
});

await t.test('the earliest spans of a trace are shown, wherever they are stored', async (t) => {
  const count = 300;
  // two spans a nanosecond; 7 and 300 have no common factor, so every span comes once, in disorder
  const spans = Array.from({ length: count }, (_, i) => {
    const n = (i * 7) % count;
    return aSpan({ spanId: hexId(n + 1, 8), startUnixNano: START_NANO + BigInt(n >> 1) });
  });
  const source = new ArraySource(spans);
  for (const [spansPerSpanSet, want] of [
    [3, 3],
    [200, 200],
    [0, count],
  ]) {
    const outcome = await search(source, '{ }', { spansPerSpanSet: spansPerSpanSet! });
    const trace = JSON.parse(new TextDecoder().decode(outcome.found[0]!.json)) as {
      spanSet: { spans: { spanID: string }[]; matched: number };
    };
    const shown = trace.spanSet.spans.map(({ spanID }) => spanID);
    t.same(
      shown,
      Array.from({ length: want! }, (_, i) => hexId(i + 1, 8)),
    );
    t.equal(trace.spanSet.matched, count);
  }
});

await t.test('a trace counts when it overlaps the range', async (t) => {
  const source = new ArraySource(oneSpanTraces(10));
  const range = { startUnixNano: START_NANO + 3n * SECOND, endUnixNano: START_NANO + 5n * SECOND };
  t.same(idsOf(await search(source, '{ }', range)), ['6', '5', '4']);
  t.same(idsOf(await search(source, '{ }', { startUnixNano: START_NANO + 100n * SECOND })), []);
});

await t.test('orders, and pages behind a trace: every trace once', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const chance = new Chance(seed);
  // Few distinct nanoseconds around few distinct microseconds, so that there are many ties.
  const spans = Array.from({ length: 60 }, (_, i) => {
    const startUnixNano = START_NANO + BigInt(chance.below(4)) * 1000n + BigInt(chance.below(3)) * 499n;
    const endUnixNano = startUnixNano + BigInt(chance.below(3)) * 1000n + BigInt(chance.below(3));
    return aSpan({ traceId: hexId(i + 1, 16), startUnixNano, endUnixNano });
  });
  const source = new ArraySource(spans);
  for (const by of ['start', 'duration'] as const) {
    for (const isDescending of [true, false]) {
      const order = { by, isDescending };
      const valueOf = ({ startUnixNano, endUnixNano }: TestSpan): bigint =>
        by === 'start' ? startUnixNano : endUnixNano - startUnixNano;
      const sign = isDescending ? -1 : 1;
      const want = spans
        .map((span, i) => ({ id: (i + 1).toString(16), number: i, value: valueOf(span) }))
        .sort((a, b) => sign * Number(a.value - b.value) || a.number - b.number)
        .map(({ id }) => id);
      for (const limit of [1, 7, 59, 60]) {
        const got: string[] = [];
        let after: SearchOptions['after'];
        // every page but the last has `limit` traces
        for (let pages = Math.ceil(want.length / limit); pages > 0; pages--) {
          const page = await search(source, '{ }', { limit, order, after });
          got.push(...idsOf(page));
          t.equal(page.hasMore, got.length < want.length, `${by} ${isDescending} ${limit}`);
          if (!page.hasMore) break;
          after = positionOf(page.found.at(-1)!, order);
        }
        t.same(got, want, `${by} ${isDescending} ${limit}`);
      }
    }
  }
});

await t.test('excluded traces are neither found nor counted', async (t) => {
  const source = new ArraySource(oneSpanTraces(4));
  const excludeTraces = new Bitset(4);
  excludeTraces.add(3);
  excludeTraces.add(0);
  const outcome = await search(source, '{ name = "op" }', { excludeTraces });
  t.same(idsOf(outcome), ['3', '2']);
  t.equal(outcome.matchedTraces, 2);
});

await t.test('what a condition rules out is not loaded', async (t) => {
  const ids = Array.from({ length: 70 }, (_, i) => i + 1);
  const spans = ids.flatMap((id) =>
    aTrace(id, 4, (i) => ({ resource: aResource(id === 7 && i === 2 ? 'rare' : 'shop') })),
  );
  const source = new ArraySource(spans);
  const outcome = await search(source, '{ span.user.id = "user-2" && resource.service.name = "rare" }');
  t.same(idsOf(outcome), ['7']);
  const loads = source.loads.map(({ request, rows }) => ({
    field: fieldKey(request.field),
    equals: request.equals?.map((bytes) => new TextDecoder().decode(bytes)),
    rows: rows && [...rows],
  }));
  t.same(loads.slice(0, 2), [
    { field: 'resource.service.name', equals: ['rare'], rows: undefined },
    { field: 'span.user.id', equals: ['user-2'], rows: [6] },
  ]);
  t.ok(loads.slice(2).every(({ rows }) => rows?.join() === '6'));

  const nothing = new ArraySource(spans);
  await search(nothing, '{ resource.service.name = "none" && span.n > 1 && name = "x" }');
  t.equal(nothing.loads.length, 1, 'the first empty condition ends it');
});

await t.test('the JSON of a trace', async (t) => {
  const spans = aTrace(0xabc, 5, (i) => ({
    resource: aResource(i < 3 ? 'a"b' : 'c'),
    endUnixNano: START_NANO + BigInt(i) * 1000n + 5_000_000n,
    status: { code: i === 2 ? 2 : 0, message: '' },
  }));
  const outcome = await search(new ArraySource(spans), '{ .n > 1 && name != "x" } | count() > 1');
  const spanSet = {
    spans: [2, 3, 4].map((i) => ({
      spanID: hexId(i, 8),
      name: `op-${i}`,
      startTimeUnixNano: String(START_NANO + BigInt(i) * 1000n),
      durationNanos: '5000000',
      attributes: [{ key: 'n', value: { intValue: String(i) } }],
    })),
    matched: 4,
    attributes: [{ key: 'count()', value: { intValue: '4' } }],
  };
  t.same(JSON.parse(new TextDecoder().decode(outcome.found[0]!.json)), {
    traceID: 'abc',
    rootServiceName: 'a"b',
    rootTraceName: 'op-1',
    startTimeUnixNano: String(START_NANO + 1000n),
    durationMs: 5,
    spanSet,
    spanSets: [spanSet],
    serviceStats: { 'a"b': { spanCount: 2, errorCount: 1 }, c: { spanCount: 3 } },
  });
});

await t.test('a trace without root says so', async (t) => {
  const outcome = await search(new ArraySource([aSpan({ parentSpanId: hexId(9, 8) })]), '{ }');
  const trace = JSON.parse(new TextDecoder().decode(outcome.found[0]!.json)) as Record<string, unknown>;
  t.equal(trace['rootServiceName'], '<root span not yet received>');
  t.notOk('rootTraceName' in trace);
});

await t.test('an aborted search ends', async (t) => {
  const source = new ArraySource(oneSpanTraces(3));
  await t.rejects(search(source, '{ name = "op" }', { signal: AbortSignal.abort() }), { name: 'AbortError' });
});
