// Three compactors as processes in a ring by gossip, over blocks that a fourth process writes: what they have
// done, and whether the blocks are right.
import { readdirSync, readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { metric } from './hostile.ts';
import { freePort } from './free-port.ts';
import { aSpan, encodeTraces, hexId } from './otlp.ts';
import { flush } from './read-api.ts';
import { type RunningTempo, startTempo } from './server.ts';

/** The blocks of a tenant in the backend and their levels; undefined = it is compacted. */
type StoredBlocks = (tenant: string) => Promise<ReadonlyMap<string, number | undefined>>;

/** Where the blocks are. */
export interface BlocksPlace {
  /** Lines of storage.trace. */
  readonly yaml: string;
  readonly stored: StoredBlocks;
}

export const LIMIT_MS = 90_000;
export const TENANTS = Array.from({ length: 16 }, (_, i) => `team-${i}`);
export const NAMES = ['one', 'two', 'three'] as const;
type Name = (typeof NAMES)[number];

export class CompactorRing {
  readonly running = new Map<Name, RunningTempo>();
  private readonly folder: string;
  private readonly place: BlocksPlace;
  private readonly gossipPorts: Readonly<Record<Name, number>>;
  /** Of all spans: blocks of different hours are not joined, and a test may run over the end of one. */
  private readonly startMs = Date.now();
  /** Blocks that were sent of each tenant. */
  private rounds = 0;

  private constructor(folder: string, place: BlocksPlace, gossipPorts: Readonly<Record<Name, number>>) {
    this.folder = folder;
    this.place = place;
    this.gossipPorts = gossipPorts;
  }

  /** All that is started is killed when the test is over. */
  static async over(t: Test, folder: string, place: BlocksPlace): Promise<CompactorRing> {
    const gossipPorts = { one: await freePort(), two: await freePort(), three: await freePort() };
    const ring = new CompactorRing(folder, place, gossipPorts);
    t.teardown(() => Promise.all([...ring.running.values()].map((tempo) => tempo.kill())));
    return ring;
  }

  private get backend(): string {
    return `${this.place.yaml}    blocklist_poll_tenant_index_builders: 1\n`;
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
    const startUnixNano = BigInt(this.startMs) * 1_000_000n;
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

  /** No two blocks of a level are left. */
  async isCompacted(): Promise<boolean> {
    for (const tenant of TENANTS) {
      const levels = [...(await this.place.stored(tenant)).values()].filter((level) => level !== undefined);
      if (new Set(levels).size < levels.length) return false;
    }
    return true;
  }

  /** No block is left that is compacted. */
  async isClean(): Promise<boolean> {
    for (const tenant of TENANTS) {
      if ([...(await this.place.stored(tenant)).values()].includes(undefined)) return false;
    }
    return true;
  }

  /** Blocks that each has compacted. */
  async work(): Promise<readonly number[]> {
    return this.each('tempodb_compaction_blocks_total');
  }

  /** A sample of each that runs. */
  each(sample: string): Promise<readonly number[]> {
    return Promise.all([...this.running.values()].map((tempo) => metric(tempo, sample)));
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

/** Blocks in a folder. */
export function blocksInFolder(folder: string): BlocksPlace {
  return {
    yaml: `    backend: local\n    local: { path: '${folder}' }\n`,
    stored: async (tenant) => {
      const blocks = readdirSync(`${folder}/${tenant}`).filter((name) => name.length === 36);
      return new Map(blocks.map((block) => [block, levelIn(`${folder}/${tenant}/${block}/meta.json`)]));
    },
  };
}

function levelIn(file: string): number | undefined {
  try {
    return levelOf(readFileSync(file, 'utf8'));
  } catch {
    return undefined; // it is compacted
  }
}

export function levelOf(meta: string): number {
  const { compactionLevel = 0 } = JSON.parse(meta) as { readonly compactionLevel?: number };
  return compactionLevel;
}
