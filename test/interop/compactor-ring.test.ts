// A compactor of Grafana Tempo and one of ours in one ring, over one folder of blocks: no job is done twice,
// and what Tempo's has goes to ours when it is killed. Needs TEMPO_BIN.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { configText, freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(400_000);

const LIMIT_MS = 120_000;
const TENANTS = Array.from({ length: 16 }, (_, i) => `team-${i}`);
const folder = testFolder(t, { theirs: {} });
const backend = `    backend: local
    local: { path: '${folder}/blocks' }
    blocklist_poll: 1s
    blocklist_poll_tenant_index_builders: 1
`;

function ringOf(name: string, gossipPort: number, join: readonly number[]): string {
  return `multitenancy_enabled: true
compactor:
  compaction: { compaction_cycle: 200ms }
  ring:
    kvstore: { store: memberlist }
    instance_id: ${name}
    instance_addr: 127.0.0.1
    heartbeat_period: 500ms
    heartbeat_timeout: 5s
    wait_stability_min_duration: 3s
memberlist:
  node_name: ${name}
  randomize_node_name: false
  bind_addr: [127.0.0.1]
  bind_port: ${gossipPort}
  advertise_addr: 127.0.0.1
  advertise_port: ${gossipPort}
  gossip_interval: 100ms
  join_members: [${join.map((port) => `'127.0.0.1:${port}'`).join()}]
`;
}

async function startTheirs(
  t: Test,
  yaml: string,
): Promise<{ readonly get: RunningTempo['get']; kill(): void }> {
  const program = process.env['TEMPO_BIN'];
  if (program === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');
  const ports = await freePorts();
  const file = `${folder}/theirs/tempo.yaml`;
  writeFileSync(file, configText(`${folder}/theirs`, ports, { backend }) + yaml);
  const child = spawn(program, [`-config.file=${file}`, '-target=compactor'], { stdio: 'ignore' });
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${ports.http}${path}`);
  return { get, kill: () => child.kill('SIGKILL') };
}

async function members(of: { readonly get: RunningTempo['get'] }): Promise<string> {
  const response = await of.get('/compactor/ring').catch(() => undefined);
  if (response?.ok !== true) return '';
  return (await response.text()).match(/\b(ours|theirs)\b(?=<)|"id":"(ours|theirs)"/g)?.join() ?? '';
}

function liveLevels(tenant: string): number[] {
  return readdirSync(`${folder}/blocks/${tenant}`).flatMap((block) => {
    try {
      const meta = readFileSync(`${folder}/blocks/${tenant}/${block}/meta.json`, 'utf8');
      return [(JSON.parse(meta) as { readonly compactionLevel?: number }).compactionLevel ?? 0];
    } catch {
      return []; // no block, or one that is compacted
    }
  });
}

function isCompacted(): boolean {
  return TENANTS.map(liveLevels).every((levels) => new Set(levels).size === levels.length);
}

let rounds = 0;
/** Of all spans: blocks of different hours are not joined, and a test may run over the end of one. */
const START_MS = Date.now();

async function sendBlocks(tempo: RunningTempo): Promise<void> {
  rounds++;
  const startUnixNano = BigInt(START_MS) * 1_000_000n;
  const spanId = hexId(rounds, 8);
  const times = { startUnixNano, endUnixNano: startUnixNano + 1000n };
  const spans = [1, 1000 + rounds].map((id) => aSpan({ traceId: hexId(id, 16), spanId, ...times }));
  for (const tenant of TENANTS) {
    const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`, { tenant });
    await client.send(encodeTraces(spans));
    client.close();
  }
  await flush(tempo);
}

async function wrong(tempo: RunningTempo): Promise<string[]> {
  const found: string[] = [];
  for (const tenant of TENANTS) {
    const headers = { 'x-scope-orgid': tenant };
    const response = await fetch(`${tempo.url}/api/traces/${hexId(1, 16)}`, { headers });
    const spans = (await response.text()).match(/"spanId":"[^"]+"/g) ?? [];
    if (spans.length !== rounds || new Set(spans).size !== rounds) found.push(`${tenant}: ${spans.length}`);
  }
  return found;
}

t.test('a ring of both', async (t) => {
  const ingest = await startTempo(`${folder}/ingest`, {
    backend,
    args: ['-compactor.disabled=true'],
    yaml: `multitenancy_enabled: true
ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }
`,
  });
  t.teardown(() => ingest.kill());
  for (let i = 0; i < 3; i++) await sendBlocks(ingest);
  const [ourPort, theirPort] = [await freePort(), await freePort()];
  const theirs = await startTheirs(t, ringOf('theirs', theirPort, [ourPort]));
  const ours = await startTempo(`${folder}/ours`, {
    backend,
    yaml: ringOf('ours', ourPort, [theirPort]),
    args: ['-target=compactor'],
  });
  t.teardown(() => ours.kill());
  const listBoth = async (): Promise<boolean> =>
    (await members(ours)).includes('theirs') && (await members(theirs)).includes('ours');
  t.ok(await until(listBoth, LIMIT_MS), 'each lists the other');
  t.ok(await until(isCompacted, LIMIT_MS), 'all is compacted');
  const blocksOf = (of: { readonly get: RunningTempo['get'] }): Promise<number> =>
    metric(of as RunningTempo, 'tempodb_compaction_blocks_total');
  const [byOurs, byTheirs] = [await blocksOf(ours), await blocksOf(theirs)];
  t.equal(byOurs + byTheirs, 3 * TENANTS.length, `each block once: ${byOurs} by ours, ${byTheirs} by theirs`);
  t.ok(byOurs > 0 && byTheirs > 0, 'by both');
  const builders = async (of: { readonly get: RunningTempo['get'] }): Promise<number> =>
    metric(of as RunningTempo, 'tempodb_blocklist_tenant_index_builder');
  const isOne = async (): Promise<boolean> =>
    (await builders(ours)) + (await builders(theirs)) === TENANTS.length;
  t.ok(await until(isOne, LIMIT_MS), 'each index is written by one of them');

  theirs.kill();
  for (let i = 0; i < 2; i++) await sendBlocks(ingest);
  t.ok(await until(isCompacted, LIMIT_MS), 'what the killed one had goes to ours');
  t.equal(await metric(ours, 'tempodb_compaction_errors_total'), 0);
  t.strictSame(await wrong(ingest), [], 'each trace is whole and once');
  t.equal(await ours.stop(), 0);
});
