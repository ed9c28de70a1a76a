// A data folder that Grafana Tempo left (WAL folders, local blocks) is served, uploaded and cleared.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const golden = join(import.meta.dirname, '../golden');
const WAL_FOLDERS = readdirSync(join(golden, 'wal')).filter((name) => name.includes('+'));
const TORN = WAL_FOLDERS.find((name) => name.includes('+one+'))!;
const ANSWERS = readdirSync(join(golden, 'wal/traces')).map((file) => {
  const [, tenant = '', id = ''] = /^(.*)-([0-9a-f]{32})\.json$/.exec(file) ?? [];
  return { tenant, id, want: JSON.parse(readFileSync(join(golden, 'wal/traces', file), 'utf8')) as Trace };
});

interface Trace {
  readonly trace?: { readonly resourceSpans?: readonly { readonly scopeSpans: readonly Scope[] }[] };
}
interface Scope {
  readonly spans: readonly { readonly spanId: string }[];
}

/** The spans in an order of their own, everything else as it is. */
function ordered({ trace }: Trace): unknown {
  return (trace?.resourceSpans ?? []).map((resource) => ({
    ...resource,
    scopeSpans: resource.scopeSpans.map((scope) => ({
      ...scope,
      spans: scope.spans.toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1)),
    })),
  }));
}

async function trace(tempo: RunningTempo, tenant: string, id: string): Promise<Trace> {
  const headers = { 'x-scope-orgid': tenant };
  return (await (await fetch(`${tempo.url}/api/v2/traces/${id}`, { headers })).json()) as Trace;
}

async function countTraces(tempo: RunningTempo, tenant: string, q: string): Promise<number> {
  const query = new URLSearchParams({ q, limit: '1000', start: '1', end: '2000000000' });
  const response = await fetch(`${tempo.url}/api/search?${query.toString()}`, {
    headers: { 'x-scope-orgid': tenant },
  });
  return ((await response.json()) as { traces: unknown[] }).traces.length;
}

/** Tempo's files and its blocks of the golden folder, as if its process had just been killed. */
function leftByTempo(data: string): void {
  const wal = join(data, 'wal');
  for (const folder of WAL_FOLDERS)
    cpSync(join(golden, 'wal', folder), join(wal, folder), { recursive: true });
  for (const [name, flushed] of [
    ['vparquet4-odd', undefined],
    ['vparquet5', '2026-11-20T22:22:20.123456789Z'],
  ] as const) {
    const meta = JSON.parse(readFileSync(join(golden, name, 'meta.json'), 'utf8')) as { blockID: string };
    const block = join(wal, 'blocks', 'single-tenant', meta.blockID);
    cpSync(join(golden, name), block, { recursive: true, filter: (path) => !path.includes('traces') });
    if (flushed !== undefined) writeFileSync(join(block, 'flushed'), flushed);
  }
  mkdirSync(join(wal, 'blocks', 'single-tenant', '11111111-2222-4333-8444-555555555555'));
}

const YAML = `multitenancy_enabled: true
ingester: {flush_check_period: 50ms}
query_frontend: {search: {max_duration: 0s}}
compactor: {compaction: {block_retention: 876000h}}
`;

await t.test('a folder of tempo 2.10', async (t) => {
  const data = testFolder(t);
  leftByTempo(data);
  let tempo = await startTempo(data, { yaml: YAML });
  t.teardown(() => tempo.kill());
  const isAllThere = async (): Promise<void> => {
    for (const { tenant, id, want } of ANSWERS) {
      t.strictSame(ordered(await trace(tempo, tenant, id)), ordered(want), `${tenant} ${id}`);
    }
    t.equal(await countTraces(tempo, 'one', '{ span.http.method = "GET" }'), 7);
    t.equal(await countTraces(tempo, 'two', '{ resource.service.name =~ "shop.*" && name = "op-2" }'), 2);
    t.equal(await countTraces(tempo, 'five', '{ }'), 2);
    t.ok((await countTraces(tempo, 'single-tenant', '{ }')) > 0);
  };
  await isAllThere();

  const left = (): string[] => readdirSync(join(data, 'wal')).filter((name) => name.includes('+'));
  t.strictSame(left(), [TORN], 'only what cannot be read is still there');
  t.ok(existsSync(join(data, 'wal', TORN, '0000000004')));
  const metrics = await (await tempo.get('/metrics')).text();
  t.match(metrics, /^tempo_ingester_replay_errors_total\{tenant="one"\} 1$/m);
  t.match(tempo.output(), /msg="wal of tempo is taken over" .*folders=4 spans=\d+ unreadable=1 duration_ms=/);

  t.equal((await fetch(`${tempo.url}/flush`, { method: 'POST' })).status, 204);
  const uploaded = (tenant: string): string[] =>
    readdirSync(join(data, 'blocks', tenant)).filter((name) => name.length === 36);
  for (const tenant of ['one', 'two', 'three', 'five', 'single-tenant']) {
    t.equal(uploaded(tenant).length, 1, tenant);
  }
  const local = join(data, 'wal/blocks/single-tenant');
  while (readdirSync(local).length > 1) await pause(20);
  t.pass('the flushed block is gone, its time was up');
  t.match(uploaded('single-tenant'), readdirSync(local), 'the other one is kept');

  await tempo.stop();
  tempo = await startTempo(data, { yaml: YAML });
  await isAllThere();
  t.equal(uploaded('one').length, 1, 'nothing is taken over twice');
});
