// What filters found is kept: answers are those of sources that nothing is kept of.
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { Bitset } from '../../src/lib/bitset.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { BlockOpener } from '../../src/store/block-opener.ts';
import { searchSource } from '../../src/traceql/engine/search.ts';
import { parse } from '../../src/traceql/parser.ts';
import type { SourceMemo, SpanSource } from '../../src/traceql/source.ts';
import { aSpan, encodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';
import { asBlock } from '../support/scan-sources.ts';

const SECOND = 1_000_000_000n;

async function answer(source: SpanSource, text: string, excludeTraces: Bitset | undefined): Promise<string> {
  const options = { limit: 1000, spansPerSpanSet: 0, excludeTraces };
  const { found, matchedTraces } = await searchSource(parse(text), source, options);
  return [...found.map(({ json }) => Buffer.from(json).toString()), matchedTraces].join('\n');
}

function setOf(size: number, isIn: (i: number) => boolean): Bitset {
  const set = new Bitset(size);
  for (let i = 0; i < size; i++) if (isIn(i)) set.add(i);
  return set;
}

/** Of 40 traces with a parent and two children each. */
const OF_BLOCK = [
  '{ .b = 1 }',
  '{ .a = 1 } | { .b = 1 }',
  '{ .b = 1 } || { .a = 1 }',
  '{ .b = 1 } && { .a = 1 }',
  '{ .a = 1 } > { .b = 1 }',
  '{ .a = 1 } !> { .b = 1 }',
  '{ !(.b = 1) }',
  '{ .c = nil }',
  '{ span:childCount > 0 }',
  '{ traceDuration > 1s && .a = 1 }',
  '{ .a = 1 } | by(.b) | { .b = 1 }',
  '{ nestedSetParent < 0 }',
];

await t.test('a block that is asked again answers alike, whole and in part', async (t) => {
  const spans: TestSpan[] = [];
  for (let trace = 0; trace < 40; trace++) {
    for (let i = 0; i < 3; i++) {
      spans.push(
        aSpan({
          traceId: hexId(trace + 1, 16),
          spanId: hexId(trace * 3 + i + 1, 8),
          parentSpanId: i === 0 ? '' : hexId(trace * 3 + 1, 8),
          startUnixNano: START_NANO + BigInt(trace) * SECOND,
          endUnixNano: START_NANO + BigInt(trace + 1) * SECOND,
          attributes: [
            ['a', BigInt(trace % 2)],
            ['b', BigInt(i % 2)],
          ],
        }),
      );
    }
  }
  const store = new MemoryStore(() => 0);
  const { meta } = await asBlock(store, 'block', spans);
  const { signal } = new AbortController();
  const opener = (): BlockOpener => new BlockOpener({ local: store, backend: store, cacheBytes: 1 << 24 });
  const ask = async (blocks: BlockOpener, query: string, without: Bitset | undefined): Promise<string> => {
    blocks.nextTurn();
    const block = await blocks.open(meta, 'backend', signal);
    return answer(block.rowGroups[0]!, query, without).finally(() => block.release());
  };
  const keeping = opener();
  const parts = [undefined, setOf(40, (i) => i % 3 === 0), setOf(40, (i) => i < 37)];
  for (let round = 0; round < 4; round++) {
    for (const query of OF_BLOCK) {
      for (const [i, without] of parts.entries()) {
        const wanted = await ask(opener(), query, without);
        t.equal(await ask(keeping, query, without), wanted, `${query}, round ${round}, part ${i}`);
      }
    }
  }
  t.ok(keeping.memos.hits > 100, `${keeping.memos.hits} filters were found`);
  keeping.limitCache(1 / 4);
  const { sizeBytes } = keeping.memos;
  const withMemos = keeping.cachedBytes;
  keeping.memos.clear();
  t.ok(sizeBytes > 0 && withMemos - keeping.cachedBytes === sizeBytes, 'they are counted');
  await ask(keeping, '{ .b = 1 }', undefined);
  keeping.limitCache(0);
  t.equal(keeping.memos.sizeBytes, 0, 'and give way');
});

/** What a span's trace, or spans that come later, have a say in, beside what is its own. */
const OF_HEAD = [
  '{ span:childCount = 0 }',
  '{ span:childCount > 0 }',
  '{ span:childCount + 1 > 1 }',
  '{ rootName = "root" }',
  '{ traceDuration > 2s }',
  '{ nestedSetParent < 0 }',
  '{ nestedSetLeft > 1 }',
  '{ nestedSetRight > 2 }',
  '{ .a = nil }',
  '{ .a != nil }',
  '{ !(.a = "x") }',
  '{ name = "child" || .a = "x" }',
  '{ trace:id != "" }',
  '{ span:parentID != "" }',
  '{ resource.service.name = "shop" && span.a = "x" }',
];

await t.test('a head that grows answers alike, in older snapshots too', async (t) => {
  const head = new HeadBuilder({ maxBytes: 1 << 24 });
  const values = new Map<string, object>();
  const memo: SourceMemo = {
    get: <T extends object>(what: string) => values.get(what) as T | undefined,
    set: (what, value) => void values.set(what, value),
  };
  const snapshots: HeadReader[] = [];
  for (let batch = 0; batch < 6; batch++) {
    const spans = Array.from({ length: 8 }, (_, trace) =>
      aSpan({
        traceId: hexId(trace + 1, 16),
        spanId: hexId(100 * trace + batch + 1, 8),
        // the root comes late, and makes a child of the first
        parentSpanId: batch === 3 ? '' : hexId(100 * trace + (batch === 0 ? 4 : batch), 8),
        name: batch === 3 ? 'root' : 'child',
        startUnixNano: START_NANO + BigInt(batch) * SECOND,
        endUnixNano: START_NANO + BigInt(batch + 1) * SECOND,
        attributes: batch % 2 === 0 ? [] : [['a', trace % 2 === 0 ? ['x', 'y'] : 'x']],
      }),
    );
    const bytes = encodeTraces(spans);
    head.append(bytes, 0, bytes.length);
    snapshots.push(new HeadReader(head.sab));
    const latest = snapshots.at(-1)!;
    for (const query of OF_HEAD) {
      for (const reader of [latest, snapshots[0]!, latest]) {
        for (const without of [undefined, setOf(8, (i) => i === 2 || i === 5)]) {
          const wanted = await answer(new HeadSource(reader, 'anew'), query, without);
          const got = await answer(new HeadSource(reader, 'kept', memo), query, without);
          t.equal(got, wanted, `${query}, batch ${batch}`);
        }
      }
    }
  }
  const kept = [...values.keys()].filter((key) => key.startsWith('filter/'));
  t.equal(kept.length, OF_HEAD.length - 8, 'of those that no other span has a say in');
});
