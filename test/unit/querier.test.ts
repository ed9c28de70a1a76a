// How a query is cut into jobs and how answers come together.
import t from 'tap';
import type { BlockMeta } from '../../src/block/meta.ts';
import type { SourceRef } from '../../src/contracts/recent-traces.ts';
import { mergeNewest, withCombined } from '../../src/modules/querier/merge.ts';
import { distinctSources, planSearch, planTrace } from '../../src/modules/querier/plan.ts';
import { newestFirst, packFound, unpackFound } from '../../src/store/pack.ts';
import type { SearchJobResult } from '../../src/store/scan-job.ts';

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

const found = (entries: readonly (readonly [string, bigint])[]) =>
  unpackFound(
    packFound(
      entries.map(([traceId, startUnixNano]) => ({
        traceId,
        startUnixNano,
        json: new TextEncoder().encode(traceId),
      })),
    ),
  );

t.test('merging: newest first, each trace once, at most the limit', (t) => {
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
  t.end();
});

t.test('wholes take the place of their parts, and one that matches no more is gone', (t) => {
  const traces = found([
    ['a', 9n],
    ['b', 8n],
    ['c', 7n],
  ]);
  const whole = found([['c', 10n]]);
  const combined = Uint8Array.from([...traces[1]!.id, ...traces[2]!.id]);
  const result: SearchJobResult = {
    kind: 'search',
    found: packFound(whole),
    combined,
    inspectedTraces: 0,
    inspectedSpans: 0,
    inspectedBytes: 0,
    failures: [],
  };
  const order = (limit: number) => withCombined(traces, result, limit).map((trace) => trace.traceId);
  t.same(order(3), ['c', 'a']);
  t.same(order(1), ['c']);
  t.equal(withCombined(traces, { ...result, combined: new Uint8Array(0) }, 3).length, 3);
  t.end();
});
