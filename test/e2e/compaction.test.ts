// Compaction end to end: answers are the same before and after it, over a restart, and once the blocks that
// were joined are deleted.
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { metaFromJson } from '../../src/block/meta-json.ts';
import { openWritten } from '../support/compacting.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aResource, aTrace, encodeTraces, hexId, type TestSpan } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const TRACES = 30;
const SPANS = 9;
const FLUSHES = 4;
const QUERIES = [
  '{ }',
  '{ span.half = 1 }',
  '{ resource.service.name = "cart" } >> { }',
  '{ } | count() > 8',
  '{ rootName = "span 0" }',
  '{ } | by(span.half)',
];

const yaml = (compaction: string): string => `
compactor: { compaction: { ${compaction} } }
ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }
`;

/** Spans of all traces, in several requests: some traces whole, others spread over them, and some twice. */
function requests(): TestSpan[][] {
  const start = BigInt(Date.now()) * 1_000_000n - 60_000_000_000n;
  const parts: TestSpan[][] = Array.from({ length: FLUSHES }, () => []);
  for (let id = 1; id <= TRACES; id++) {
    const spans = aTrace(id, SPANS, (i) => ({
      name: `span ${i}`,
      startUnixNano: start + BigInt(id * 1_000_000 + i * 1000),
      endUnixNano: start + BigInt(id * 1_000_000 + i * 1000 + 500_000),
      attributes: [
        ['half', BigInt(i % 2)],
        ['id', `${id}-${i}`],
      ],
      resource: aResource(['shop', 'cart'][i % 2]!),
    }));
    spans.forEach((span, i) => parts[id % 3 === 0 ? i % FLUSHES : id % FLUSHES]!.push(span));
    if (id % 5 === 0) parts[(id + 1) % FLUSHES]!.push(...spans.slice(0, 4));
  }
  return parts;
}

async function answers(tempo: RunningTempo): Promise<unknown[]> {
  const out: unknown[] = [];
  for (let id = 1; id <= TRACES; id++) {
    const response = await tempo.get(`/api/v2/traces/${hexId(id, 16)}`);
    const { trace } = (await response.json()) as { trace: { resourceSpans: Batch[] } };
    out.push(sorted(trace.resourceSpans));
  }
  for (const q of QUERIES) {
    const query = new URLSearchParams({ q, limit: '1000', spss: '100' });
    const response = await tempo.get(`/api/search?${query.toString()}`);
    out.push(((await response.json()) as { traces: unknown }).traces);
  }
  return out;
}

interface Batch {
  readonly resource: unknown;
  readonly scopeSpans: readonly { readonly scope: unknown; readonly spans: readonly unknown[] }[];
}

/** Spans with their resource and scope, in one order. */
function sorted(batches: readonly Batch[]): string[] {
  return batches
    .flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ scope, spans }) => spans.map((span) => JSON.stringify([resource, scope, span]))),
    )
    .toSorted();
}

const args = ['-storage.trace.blocklist_poll=500ms'];
const LIMIT_MS = 60_000;
const LENGTH = 'tempodb_blocklist_length{tenant="single-tenant"}';

const snappy = (data: string): string => `    backend: local
    local: { path: '${data}/blocks' }
    block: { parquet_compression: snappy }
`;

/** What the columns of each block are compressed with. */
async function codecs(data: string): Promise<readonly string[]> {
  const tenant = `${data}/blocks/single-tenant`;
  const blocks = readdirSync(tenant).filter((name) => !name.startsWith('index'));
  const found = blocks.map(async (name) => {
    const meta = metaFromJson(readFileSync(`${tenant}/${name}/meta.json`));
    const objects = new Map([
      ['data.parquet', new Uint8Array(readFileSync(`${tenant}/${name}/data.parquet`))],
    ]);
    const { rowGroups } = await openWritten({ meta, objects });
    const used = new Set(rowGroups.flatMap(({ group }) => group.group.columns.map(({ codec }) => codec)));
    return [...used].toSorted().join(' ');
  });
  return Promise.all(found);
}

t.test('answers before and after', { timeout: 180_000 }, async (t) => {
  const data = testFolder(t);
  const backend = snappy(data);
  const before = await startTempo(data, { args, backend, yaml: yaml('compaction_cycle: 1h') });
  t.teardown(() => before.kill());
  for (const spans of requests()) {
    t.equal((await httpExport(before, encodeTraces(spans))).status, 200);
    await flush(before);
  }
  t.ok(
    await until(async () => (await metric(before, LENGTH)) === FLUSHES, LIMIT_MS),
    'blocks are in the backend',
  );
  const want = await answers(before);
  t.equal(await before.stop(), 0);
  t.strictSame(await codecs(data), Array(FLUSHES).fill('SNAPPY UNCOMPRESSED'));

  const after = await startTempo(data, {
    args,
    backend,
    yaml: yaml('compaction_cycle: 100ms, compacted_block_retention: 2s'),
  });
  t.teardown(() => after.kill());
  t.ok(await until(async () => (await metric(after, LENGTH)) === 1, LIMIT_MS), 'one block is left');
  t.strictSame(await answers(after), want, 'after compaction');
  t.equal(await metric(after, 'tempodb_compaction_blocks_total{level="0"}'), FLUSHES);
  t.equal(await metric(after, 'tempodb_compaction_objects_written_total{level="0"}'), TRACES);
  t.equal(await metric(after, 'tempodb_compaction_outstanding_blocks{tenant="single-tenant"}'), 0);
  t.equal(await metric(after, 'tempodb_compaction_errors_total'), 0);
  const folders = (): string[] =>
    readdirSync(`${data}/blocks/single-tenant`).filter((name) => !name.startsWith('index'));
  t.ok(await until(async () => folders().length === 1, LIMIT_MS), 'the others are deleted');
  t.strictSame(await answers(after), want, 'after deletion');
  t.strictSame(readdirSync(`${data}/wal/compaction`), []);
  t.strictSame(await codecs(data), ['SNAPPY UNCOMPRESSED']);
  await after.kill();

  const again = await startTempo(data, { args, yaml: yaml('compaction_cycle: 100ms') });
  t.teardown(() => again.kill());
  t.strictSame(await answers(again), want, 'after a restart');
});
