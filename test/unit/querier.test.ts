// How a query is cut into jobs and how answers come together.
import t from 'tap';
import type { BlockMeta } from '../../src/block/meta.ts';
import type { SourceRef } from '../../src/contracts/recent-traces.ts';
import { mergeNewest, newestFirst, shortHex, unpack } from '../../src/modules/querier/merge.ts';
import { distinctSources, planSearch, planTrace } from '../../src/modules/querier/plan.ts';
import { packFound } from '../../src/store/pack.ts';

const meta = (blockId: string, sizeBytes = 100, totalRecords = 4): BlockMeta => ({
  format: 'vParquet4',
  blockId,
  tenantId: 'team',
  startSec: 0,
  endSec: 1,
  totalObjects: 1,
  sizeBytes,
  compactionLevel: 0,
  totalRecords,
  bloomShards: 1,
  footerSizeBytes: 1,
  dedicatedColumns: [],
  replicationFactor: 0,
});
const head = (blockId: string): SourceRef => ({ kind: 'head', blockId, sab: new SharedArrayBuffer(8) });
const local = (blockId: string): SourceRef => ({ kind: 'block', meta: meta(blockId), location: 'local' });

t.test('a block id counts once', (t) => {
  const sources = distinctSources([head('a'), local('a'), head('b'), local('c')], [meta('c'), meta('d')]);
  t.same(
    sources.map((s) => (s.kind === 'head' ? `head ${s.blockId}` : `${s.location} ${s.meta.blockId}`)),
    ['local a', 'head b', 'local c', 'backend d'],
  );
  t.end();
});

t.test('blocks are cut by row groups of about the wanted size', (t) => {
  const rows = (sizeBytes: number, records: number, target: number) =>
    planSearch([{ kind: 'block', meta: meta('x', sizeBytes, records), location: 'backend' }], target).map(
      (job) => job.sources[0]!.rowGroups,
    );
  t.same(rows(400, 4, 200), [
    [0, 2],
    [2, 4],
  ]);
  t.same(rows(400, 5, 1), [
    [0, 1],
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 5],
  ]);
  t.same(rows(400, 3, 10_000), [[0, 3]]);
  t.equal(planSearch([head('h')], 1).length, 1);
  t.end();
});

t.test('trace jobs take every source once', (t) => {
  const sources = Array.from({ length: 40 }, (_, i) => local(`block-${i}`));
  const jobs = planTrace(sources, 3);
  t.ok(jobs.length <= 3 && jobs.length > 1);
  t.equal(new Set(jobs.flatMap((job) => job.sources)).size, 40);
  t.same(planTrace([], 3), []);
  t.end();
});

t.test('merging: newest first, each trace once, at most the limit', (t) => {
  const found = (entries: readonly [string, bigint][]) =>
    unpack(
      packFound(
        entries.map(([traceId, startUnixNano]) => ({
          traceId,
          startUnixNano,
          json: new TextEncoder().encode(traceId),
        })),
      ),
    );
  const merged = mergeNewest(
    [
      found([
        ['a', 9n],
        ['b', 5n],
      ]),
      found([
        ['c', 7n],
        ['a', 6n],
      ]),
    ],
    3,
  );
  t.same(
    merged.map((trace) => [trace.traceId, new TextDecoder().decode(trace.json)]),
    [
      ['a', 'a'],
      ['c', 'c'],
      ['b', 'b'],
    ],
  );
  t.equal(mergeNewest([found([['a', 9n]]), found([['b', 8n]])], 1).length, 1);
  t.ok(newestFirst(found([['a', 1n]])[0]!, found([['b', 1n]])[0]!) < 0, 'ties by id');
  t.equal(shortHex(Uint8Array.of(0, 0x0a, 0xbc)), 'abc');
  t.equal(shortHex(new Uint8Array(16)), '0');
  t.end();
});
