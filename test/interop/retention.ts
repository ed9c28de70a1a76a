// Retention of blocks that a real Tempo wrote: ours marks and deletes what is too old, by the time of each
// tenant, and Tempo that begins on the folder afterwards has what ours has.
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { httpExport } from '../support/hostile.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { copyBlocks, until } from './programs.ts';

export const MULTITENANT = ['-multitenancy.enabled=true'];
const OLD_MS = 3 * 3_600_000;
const YOUNG_MS = 600_000;
const SPANS = 3;
/** The second one keeps its blocks for longer than all others. */
const TENANTS = ['usual', 'own'] as const;
type Tenant = (typeof TENANTS)[number];
const OLD = hexId(11, 16);
const YOUNG = hexId(12, 16);

export interface RetentionTest {
  /** Starts the Tempo in question on a folder, for several tenants. */
  readonly start: (data: string) => Promise<RunningTempo>;
  /** undefined = it cuts blocks by itself. */
  readonly flush?: (tempo: RunningTempo) => Promise<void>;
}

interface State {
  readonly live: readonly string[];
  readonly compacted: readonly string[];
}

/** Blocks of a tenant in the folder of the backend. */
function stateOf(data: string, tenant: Tenant): State {
  const folder = join(data, 'blocks', tenant);
  const blocks = existsSync(folder) ? readdirSync(folder).filter((name) => name.length === 36) : [];
  const having = (name: string): string[] =>
    blocks.filter((block) => existsSync(join(folder, block, name))).toSorted();
  return { live: having('meta.json'), compacted: having('meta.compacted.json') };
}

async function send(tempo: RunningTempo, tenant: Tenant, traceId: string, ageMs: number): Promise<void> {
  const startUnixNano = BigInt(Date.now() - ageMs) * 1_000_000n;
  const times = { startUnixNano, endUnixNano: startUnixNano + 1_000_000n };
  const spans = aTrace(1, SPANS, () => ({ traceId, ...times }));
  const { status } = await httpExport(tempo, encodeTraces(spans), { 'x-scope-orgid': tenant });
  if (status !== 200) throw new Error(`push: status ${status}`);
}

/** One block of old spans and one of young ones for each tenant. @returns the old one of each. */
async function writeBlocks(
  tempo: RunningTempo,
  { flush }: RetentionTest,
): Promise<ReadonlyMap<Tenant, string>> {
  const next = async (blocks: number, traceId: string, ageMs: number): Promise<void> => {
    for (const tenant of TENANTS) await send(tempo, tenant, traceId, ageMs);
    await flush?.(tempo);
    const isThere = (tenant: Tenant): boolean => stateOf(tempo.data, tenant).live.length === blocks;
    await until(`${blocks} blocks of each`, async () => TENANTS.every(isThere));
  };
  await next(1, OLD, OLD_MS);
  const old = new Map(TENANTS.map((tenant) => [tenant, stateOf(tempo.data, tenant).live[0]!]));
  await next(2, YOUNG, YOUNG_MS);
  return old;
}

/** Ours, with retention only. */
function startRetaining(data: string, compactedRetention: string): Promise<RunningTempo> {
  const limits = join(data, 'limits.yaml');
  writeFileSync(limits, 'overrides: { own: { compaction: { block_retention: 48h } } }\n');
  const times = `block_retention: 1h, compacted_block_retention: ${compactedRetention}`;
  return startTempo(data, {
    yaml: `multitenancy_enabled: true
compactor: { compaction: { compaction_cycle: 24h, ${times} } }
overrides: { per_tenant_override_config: '${limits}' }
`,
    args: ['-storage.trace.blocklist_poll=300ms'],
  });
}

/** Trace ids that search and trace by id find, which are the same. */
async function found(t: Test, tempo: RunningTempo, tenant: Tenant): Promise<readonly string[]> {
  const headers = { 'x-scope-orgid': tenant };
  const nowSec = Math.floor(Date.now() / 1000);
  const asked = `/api/search?q=%7B%7D&limit=100&start=${nowSec - 5 * 3600}&end=${nowSec}`;
  const body = await fetch(tempo.url + asked, { headers }).then((response) => response.json());
  const { traces = [] } = body as { readonly traces?: readonly { readonly traceID: string }[] };
  const searched = traces.map(({ traceID }) => traceID.padStart(32, '0')).toSorted();
  const byId: string[] = [];
  for (const id of [OLD, YOUNG]) {
    const answer = await fetch(`${tempo.url}/api/traces/${id}`, { headers });
    const text = await answer.text();
    if (answer.status === 404) continue;
    t.equal(text.match(/"spanId":/g)?.length, SPANS, `${tenant}: all spans of ${id}`);
    byId.push(id);
  }
  t.strictSame(byId, searched, `${tenant}: by id as searched`);
  return searched;
}

async function isListed(tempo: RunningTempo): Promise<boolean> {
  const text = await (await tempo.get('/metrics')).text();
  return TENANTS.every((tenant) => {
    const blocks = stateOf(tempo.data, tenant).live.length;
    return text.includes(`\ntempodb_blocklist_length{tenant="${tenant}"} ${blocks}\n`);
  });
}

export async function isRetained(t: Test, test: RetentionTest): Promise<void> {
  const data = testFolder(t, { real: {}, ours: {}, back: {} });
  const real = await test.start(join(data, 'real'));
  t.teardown(() => real.kill());
  const old = await writeBlocks(real, test);
  await real.kill();
  copyBlocks(real.data, join(data, 'ours'));
  const young = stateOf(real.data, 'usual').live.filter((block) => block !== old.get('usual'));
  const own: State = { live: stateOf(real.data, 'own').live, compacted: [] };

  const check = async (tempo: RunningTempo, usual: State, by: string): Promise<void> => {
    await until('all is listed', () => isListed(tempo));
    t.strictSame(await found(t, tempo, 'usual'), [YOUNG], `${by}: what is within the time answers`);
    t.strictSame(await found(t, tempo, 'own'), [OLD, YOUNG], `${by}: a time of its own`);
    t.strictSame(stateOf(tempo.data, 'usual'), usual, by);
    t.strictSame(stateOf(tempo.data, 'own'), own, `${by}: nothing is done to a tenant with a longer time`);
  };
  let ours = await startRetaining(join(data, 'ours'), '24h');
  t.teardown(() => ours.kill());
  const isMarked = (): boolean => stateOf(ours.data, 'usual').compacted.length === 1;
  await until('the old block is marked', async () => isMarked());
  await check(ours, { live: young, compacted: [old.get('usual')!] }, 'ours, marked');
  t.equal(await ours.stop(), 0);
  ours = await startRetaining(join(data, 'ours'), '1ms');
  const folder = join(ours.data, 'blocks', 'usual', old.get('usual')!);
  await until('the old block is deleted', async () => !existsSync(folder));
  await check(ours, { live: young, compacted: [] }, 'ours, deleted');
  t.equal(await ours.stop(), 0);
  t.notMatch(ours.output(), /level=error/);
  copyBlocks(ours.data, join(data, 'back'));
  const back = await test.start(join(data, 'back'));
  t.teardown(() => back.kill());
  await check(back, { live: young, compacted: [] }, 'Tempo afterwards');
}
