// The groups `write`, `read` and `backend` as processes with one configuration over one folder of blocks:
// spans go to the first and are found by the second, recent and from blocks, the third joins blocks and
// deletes old ones; each answers for what it has and for nothing else.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { channelTo } from '../support/channel.ts';
import { blocksInFolder } from '../support/compactor-ring.ts';
import { freePort } from '../support/free-port.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, tracesFound } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const LIMIT_MS = 60_000;
const UNIMPLEMENTED = 'unimplemented';
const GROUPS = ['write', 'read', 'backend'] as const;
type Group = (typeof GROUPS)[number];
/** Blocks of the second one are kept for a second. */
const TENANTS = ['team', 'brief'] as const;

const folder = testFolder(t);
const { stored } = blocksInFolder(`${folder}/blocks`);
const gossip: Readonly<Record<Group, number>> = {
  write: await freePort(),
  read: await freePort(),
  backend: await freePort(),
};
const running: RunningTempo[] = [];
t.teardown(() => Promise.all(running.map((tempo) => tempo.kill())));
let pushed = 0;

async function start(group: Group): Promise<RunningTempo> {
  const members = GROUPS.map((each) => `127.0.0.1:${gossip[each]}`).join(', ');
  const tempo = await startTempo(`${folder}/${group}`, {
    args: [`-target=${group}`],
    backend: `    backend: local
    local: { path: '${folder}/blocks' }
    blocklist_poll: 500ms
    blocklist_poll_tenant_index_builders: 1
`,
    yaml: `multitenancy_enabled: true
memberlist:
  bind_addr: [127.0.0.1]
  bind_port: ${gossip[group]}
  advertise_addr: 127.0.0.1
  advertise_port: ${gossip[group]}
  gossip_interval: 100ms
  join_members: [${members}]
ingester:
  complete_block_timeout: 50ms
  flush_check_period: 50ms
  lifecycler: { address: 127.0.0.1, min_ready_duration: 0s, ring: { kvstore: { store: memberlist } } }
compactor: { compaction: { compaction_cycle: 200ms, compacted_block_retention: 1s } }
overrides: { per_tenant_override_config: '${folder}/overrides.yaml' }
`,
  });
  running.push(tempo);
  return tempo;
}

async function push(write: RunningTempo): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const traceId = hexId(++pushed, 16);
  const body = encodeTraces([aSpan({ traceId, startUnixNano, endUnixNano: startUnixNano + 1000n })]);
  for (const tenant of TENANTS) {
    const answer = await httpExport(write, body, { 'x-scope-orgid': tenant });
    assert.equal(answer.status, 200, `${tenant}: ${answer.body.toString()}`);
  }
}

const statusOf = async (tempo: RunningTempo, path: string): Promise<number> => {
  const response = await fetch(tempo.url + path, { headers: { 'x-scope-orgid': 'team' } });
  await response.body?.cancel();
  return response.status;
};

/** Why a method of gRPC is refused. */
async function refusal(tempo: RunningTempo, method: string): Promise<string | undefined> {
  const channel = channelTo(tempo.ports.grpc);
  const answer = channel.unary(method, new Uint8Array(), { 'x-scope-orgid': 'team' });
  const code = await answer.then(
    () => undefined,
    (err: unknown) => (err as { readonly code: string }).code,
  );
  channel.close();
  return code;
}

const listens = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/v1/traces`, { method: 'POST', signal: AbortSignal.timeout(5000) }).then(
    async (response) => response.text().then(() => true),
    () => false,
  );

t.test('write, read and backend', async (t) => {
  const limits = 'ingestion: { rate_limit_bytes: 1000000, burst_size_bytes: 1000000 }';
  const brief = `{ ${limits}, compaction: { block_retention: 1s } }`;
  writeFileSync(
    `${folder}/overrides.yaml`,
    `overrides: { brief: ${brief} }
`,
  );
  const [write, read] = await Promise.all([start('write'), start('read')]);
  const active = 'tempo_ring_members{name="ingester",state="ACTIVE"}';
  for (const each of [write, read])
    t.ok(await until(async () => (await metric(each, active)) === 1, LIMIT_MS));

  await push(write);
  for (const tenant of TENANTS) t.equal(await tracesFound(read, tenant), 1, 'what is recent is read');
  await flush(write);
  await push(write);
  await flush(write);
  t.ok(await until(async () => (await stored('team')).size === 2, LIMIT_MS), 'two blocks');
  for (const tenant of TENANTS) {
    t.ok(await until(async () => (await tracesFound(read, tenant)) === 2, LIMIT_MS), 'and what is in blocks');
  }

  const backend = await start('backend');
  const isJoined = async (): Promise<boolean> => [...(await stored('team')).values()].join() === '1';
  t.ok(await until(isJoined, LIMIT_MS), 'one block is made of two, which are deleted');
  t.ok(await until(async () => (await stored('brief')).size === 0, LIMIT_MS), 'old blocks are deleted');
  t.equal(await tracesFound(read, 'team'), 2, 'all is found in the new block');
  t.ok(await until(async () => (await tracesFound(read, 'brief')) === 0, LIMIT_MS));
  t.equal(await metric(write, 'tempodb_compaction_blocks_total'), 0);
  t.equal(await metric(read, 'tempodb_compaction_blocks_total'), 0);
  // those of `brief` are joined too, unless they are old before
  const joined = await metric(backend, 'tempodb_compaction_blocks_total');
  t.ok(joined === 2 || joined === 4, `${joined} blocks joined`);

  const of = async (path: string): Promise<readonly number[]> =>
    Promise.all([write, read, backend].map((tempo) => statusOf(tempo, path)));
  t.same(await of('/ready'), [200, 200, 200]);
  t.same(await of('/api/search?q=%7B%7D'), [404, 200, 404]);
  t.same(await of('/api/metrics/query?q=%7B%7D%7Crate()'), [404, 200, 404]);
  t.same(await of('/api/v2/search/tags'), [404, 200, 404]);
  t.same(await of('/ingester/ring'), [200, 200, 404]);
  t.same(await of('/flush'), [204, 404, 404]);
  const methods = async (method: string): Promise<readonly unknown[]> =>
    Promise.all([write, read, backend].map((tempo) => refusal(tempo, method)));
  t.same(await methods('/tempopb.Pusher/PushBytesV2'), [undefined, UNIMPLEMENTED, UNIMPLEMENTED]);
  t.same(await methods('/tempopb.StreamingQuerier/Search'), [UNIMPLEMENTED, undefined, UNIMPLEMENTED]);
  const takers = await Promise.all([write, read, backend].map(({ ports }) => listens(ports.otlpHttp)));
  t.same(takers, [true, false, false]);
  for (const tempo of [read, backend, write]) t.equal(await tempo.stop(), 0);
});
