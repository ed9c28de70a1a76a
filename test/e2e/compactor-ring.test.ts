// Compactors as processes over one folder of blocks, in a ring by gossip: each job is done once, by one of
// them; what one has that is killed goes to the others, and what one has that stops goes at once.
import { readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';

t.setTimeout(400_000);

const LIMIT_MS = 90_000;
const TENANTS = Array.from({ length: 16 }, (_, i) => `team-${i}`);
const NAMES = ['one', 'two', 'three'] as const;
type Name = (typeof NAMES)[number];

class Compactors {
  readonly running = new Map<Name, RunningTempo>();
  readonly folder: string;
  private readonly gossipPorts: Readonly<Record<Name, number>>;
  /** Blocks that were sent of each tenant. */
  private rounds = 0;

  constructor(folder: string, gossipPorts: Readonly<Record<Name, number>>) {
    this.folder = folder;
    this.gossipPorts = gossipPorts;
  }

  get backend(): string {
    const local = `    backend: local\n    local: { path: '${this.folder}/blocks' }\n`;
    return `${local}    blocklist_poll_tenant_index_builders: 1\n`;
  }

  async start(name: Name): Promise<RunningTempo> {
    const others = NAMES.filter((other) => other !== name).map((other) => this.gossipPorts[other]);
    const tempo = await startTempo(`${this.folder}/${name}`, {
      backend: this.backend,
      yaml: `multitenancy_enabled: true
compactor:
  compaction: { compaction_cycle: 200ms, compacted_block_retention: 2s }
  ring:
    kvstore: { store: memberlist }
    instance_id: ${name}
    instance_addr: 127.0.0.1
    heartbeat_period: 500ms
    heartbeat_timeout: 4s
    wait_stability_min_duration: 2s
memberlist:
  node_name: ${name}
  randomize_node_name: false
  bind_addr: [127.0.0.1]
  bind_port: ${this.gossipPorts[name]}
  advertise_addr: 127.0.0.1
  advertise_port: ${this.gossipPorts[name]}
  gossip_interval: 100ms
  join_members: [${others.map((port) => `'127.0.0.1:${port}'`).join()}]
`,
      args: ['-target=compactor', '-storage.trace.blocklist_poll=500ms'],
    });
    this.running.set(name, tempo);
    return tempo;
  }

  async startIngest(t: Test): Promise<RunningTempo> {
    const tempo = await startTempo(`${this.folder}/ingest`, {
      backend: this.backend,
      args: ['-storage.trace.blocklist_poll=500ms', '-compactor.disabled=true'],
      yaml: `multitenancy_enabled: true
ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }
`,
    });
    t.teardown(() => tempo.kill());
    return tempo;
  }

  /** One more block of each tenant, with a span of the trace that all have and one of its own. */
  async sendBlocks(tempo: RunningTempo): Promise<void> {
    this.rounds++;
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    const spanOf = (traceId: string) =>
      aSpan({
        traceId,
        spanId: hexId(this.rounds, 8),
        startUnixNano,
        endUnixNano: startUnixNano + 1000n,
      });
    const spans = [spanOf(hexId(1, 16)), spanOf(hexId(1000 + this.rounds, 16))];
    for (const tenant of TENANTS) {
      const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`, { tenant });
      await client.send(encodeTraces(spans));
      client.close();
    }
    await flush(tempo);
  }

  /** Traces that are not what was sent. */
  async wrong(tempo: RunningTempo): Promise<string[]> {
    const wrong: string[] = [];
    for (const tenant of TENANTS) {
      const headers = { 'x-scope-orgid': tenant };
      const spans = async (id: number): Promise<string[]> => {
        const response = await fetch(`${tempo.url}/api/traces/${hexId(id, 16)}`, { headers });
        return (await response.text()).match(/"spanId":"[^"]+"/g) ?? [];
      };
      const shared = await spans(1);
      if (shared.length !== this.rounds || new Set(shared).size !== this.rounds) {
        wrong.push(`${tenant}: ${shared.length} of ${this.rounds}`);
      }
      for (let round = 1; round <= this.rounds; round++) {
        if ((await spans(1000 + round)).length !== 1) wrong.push(`${tenant}: round ${round}`);
      }
    }
    return wrong;
  }

  private blocks(tenant: string): string[] {
    return readdirSync(`${this.folder}/blocks/${tenant}`).filter((name) => name.length === 36);
  }

  private liveLevels(tenant: string): number[] {
    const folder = `${this.folder}/blocks/${tenant}`;
    return this.blocks(tenant).flatMap((block) => {
      try {
        const { compactionLevel = 0 } = JSON.parse(readFileSync(`${folder}/${block}/meta.json`, 'utf8')) as {
          readonly compactionLevel?: number;
        };
        return [compactionLevel];
      } catch {
        return []; // it is compacted
      }
    });
  }

  /** No two blocks of a level are left. */
  isCompacted(): boolean {
    return TENANTS.every((tenant) => {
      const levels = this.liveLevels(tenant);
      return new Set(levels).size === levels.length;
    });
  }

  /** No block is left that is compacted. */
  isClean(): boolean {
    return TENANTS.every((tenant) => this.blocks(tenant).length === this.liveLevels(tenant).length);
  }

  /** Blocks that each has compacted. */
  async work(): Promise<readonly number[]> {
    const running = [...this.running.values()];
    return Promise.all(running.map((tempo) => metric(tempo, 'tempodb_compaction_blocks_total')));
  }

  /** As the ring page of one has it. */
  async members(name: Name): Promise<string> {
    const page = (await (await this.running.get(name)!.get('/compactor/ring')).json()) as {
      readonly shards: readonly { readonly id: string; readonly state: string }[];
    };
    return page.shards.map(({ id, state }) => `${id} ${state}`).join(', ');
  }

  /** How many write the index of each tenant. */
  async builders(): Promise<readonly number[]> {
    const texts = await Promise.all(
      [...this.running.values()].map(async (tempo) => (await tempo.get('/metrics')).text()),
    );
    return TENANTS.map((tenant) => {
      const line = `tempodb_blocklist_tenant_index_builder{tenant="${tenant}"} 1\n`;
      return texts.filter((text) => text.includes(line)).length;
    });
  }
}

t.test('three compactors, one of them is killed, one stops', async (t) => {
  const gossipPorts = { one: await freePort(), two: await freePort(), three: await freePort() };
  const cluster = new Compactors(t.testdir(), gossipPorts);
  const { running } = cluster;
  t.teardown(() => Promise.all([...running.values()].map((tempo) => tempo.kill())));
  const ingest = await cluster.startIngest(t);
  for (let i = 0; i < 3; i++) await cluster.sendBlocks(ingest);
  await Promise.all(NAMES.map((name) => cluster.start(name)));
  const all = 'one ACTIVE, three ACTIVE, two ACTIVE';
  for (const name of NAMES) t.equal(await cluster.members(name), all);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'all is compacted');
  const work = await cluster.work();
  const sum = work.reduce((a, b) => a + b);
  t.equal(sum, 3 * TENANTS.length, `each block once: ${work.join()}`);
  t.ok(work.filter((blocks) => blocks > 0).length > 1, 'by several');
  const isOneBuilder = async (): Promise<boolean> => (await cluster.builders()).every((count) => count === 1);
  t.ok(await until(isOneBuilder, LIMIT_MS), 'each index is written by one');

  await running.get('two')!.kill();
  running.delete('two');
  for (let i = 0; i < 2; i++) await cluster.sendBlocks(ingest);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'what the killed one had goes to the others');
  const left = 'one ACTIVE, three ACTIVE';
  t.ok(await until(async () => (await cluster.members('one')) === left, LIMIT_MS), 'it is forgotten');

  t.equal(await running.get('three')!.stop(), 0);
  running.delete('three');
  t.ok(await until(async () => (await cluster.members('one')) === 'one ACTIVE', LIMIT_MS), 'one has left');
  for (let i = 0; i < 2; i++) await cluster.sendBlocks(ingest);
  t.ok(await until(() => cluster.isCompacted(), LIMIT_MS), 'the last one does all');
  const last = running.get('one')!;
  t.equal(await metric(last, 'tempodb_compaction_errors_total'), 0);
  t.match(await (await last.get('/metrics')).text(), 'tempo_ring_members{name="compactor",state="ACTIVE"} 1');
  t.ok(await until(() => cluster.isClean(), LIMIT_MS), 'inputs are deleted, whoever had them');
  t.strictSame(await cluster.wrong(ingest), [], 'each trace is whole and once');
  t.equal(await last.stop(), 0);
});

t.test('one process of all modules that shares with others', async (t) => {
  const [own, other] = [await freePort(), await freePort()];
  const tempo = await startTempo(t.testdir(), {
    yaml: `compactor: { ring: { kvstore: { store: memberlist }, instance_id: one, instance_addr: 127.0.0.1 } }
memberlist: { bind_addr: [127.0.0.1], bind_port: ${own}, join_members: ['127.0.0.1:${other}'] }
`,
  });
  t.teardown(() => tempo.kill());
  const shards = async (path: string): Promise<unknown> =>
    ((await (await tempo.get(path)).json()) as { readonly shards: unknown }).shards;
  t.match(await shards('/compactor/ring'), [{ id: 'one', state: 'ACTIVE' }]);
  t.match(await shards('/ingester/ring'), [{ state: 'ACTIVE' }]);
  const shown = await (await tempo.get('/metrics')).text();
  for (const name of ['compactor', 'ingester']) {
    t.match(shown, `tempo_ring_members{name="${name}",state="ACTIVE"} 1\n`);
  }
  t.equal(await tempo.stop(), 0);
});
