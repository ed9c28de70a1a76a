// A scheduler and two workers as processes over one store of blocks, and a process that fills it: killed at
// random moments, and what must be so in the end.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { httpExport, metric, until } from './hostile.ts';
import { aSpan, encodeTraces, hexId } from './otlp.ts';
import { flush, spanIdsOfTrace } from './read-api.ts';
import { freePorts, type Ports, type RunningTempo, startTempo } from './server.ts';
import { testFolder } from './test-folder.ts';

const LIFE_MS_MAX = 900;
const TRACES_PER_FLUSH = 40;
export const LIMIT_MS = 90_000;
const TENANT = 'single-tenant';

export const JOBS = `
backend_scheduler:
  maintenance_interval: 200ms
  backend_flush_interval: 500ms
  job_timeout: 1s
  work: { silent_job_timeout: 3s }
  provider: { retention: { interval: 500ms }, compaction: { min_cycle_interval: 200ms } }
`;

export type Role = 'scheduler' | 'one' | 'two';
const ROLES: readonly Role[] = ['scheduler', 'one', 'two'];

interface StoredMeta {
  readonly blockID: string;
  readonly compactionLevel?: number;
  readonly endTime: string;
}

/** Where the blocks are. */
export interface JobStore {
  /** Lines of storage.trace, indented by four. */
  readonly yaml: string;
  /** Folders of blocks. */
  blockIds(): Promise<readonly string[]>;
  /** undefined = it has none. */
  meta(blockId: string, name?: 'meta.json' | 'meta.compacted.json'): Promise<string | undefined>;
}

export function localJobStore(folder: string): JobStore {
  return {
    yaml: `    backend: local\n    local: { path: '${folder}' }\n`,
    blockIds: async () => readdirSync(`${folder}/${TENANT}`).filter((name) => name.length === 36),
    meta: async (blockId, name = 'meta.json') => {
      try {
        return readFileSync(`${folder}/${TENANT}/${blockId}/${name}`, 'utf8');
      } catch {
        return undefined;
      }
    },
  };
}

export class JobCluster {
  readonly folder: string;
  readonly store: JobStore;
  readonly running = new Map<Role, RunningTempo>();
  private readonly ports: Readonly<Record<Role, Ports>>;
  private readonly random: () => number;
  /** How many spans each trace has that was sent. */
  private readonly sent = new Map<string, number>();

  private constructor(
    folder: string,
    store: JobStore,
    ports: Readonly<Record<Role, Ports>>,
    random: () => number,
  ) {
    this.folder = folder;
    this.store = store;
    this.ports = ports;
    this.random = random;
  }

  /** @param random in [0, 1) */
  static async create(
    t: Test,
    store: JobStore,
    random: () => number,
    folder = testFolder(t),
  ): Promise<JobCluster> {
    const ports = { scheduler: await freePorts(), one: await freePorts(), two: await freePorts() };
    const cluster = new JobCluster(folder, store, ports, random);
    t.teardown(() => cluster.end('kill'));
    return cluster;
  }

  get traceCount(): number {
    return this.sent.size;
  }

  async start(role: Role): Promise<RunningTempo> {
    const worker = `
backend_worker:
  backend_scheduler_addr: 127.0.0.1:${this.ports.scheduler.grpc}
  backoff: { max_period: 500ms }
  alive_interval: 200ms
  compaction: { compacted_block_retention: 1s }
  ring: { instance_id: ${role} }
backend_scheduler_client:
  grpc_client_config: { connect_backoff_base_delay: 100ms, connect_backoff_max_delay: 500ms }
`;
    const work = JOBS.replace(
      'backend_scheduler:',
      `backend_scheduler:\n  local_work_path: '${this.folder}/work'`,
    );
    const target = role === 'scheduler' ? 'backend-scheduler' : 'backend-worker';
    const tempo = await startTempo(`${this.folder}/${role}`, {
      ports: this.ports[role],
      backend: this.store.yaml,
      yaml: work + worker,
      args: [`-target=${target}`, '-storage.trace.blocklist_poll=300ms'],
    });
    this.running.set(role, tempo);
    return tempo;
  }

  async end(how: 'stop' | 'kill'): Promise<void> {
    await Promise.all([...this.running.values()].map((tempo) => tempo[how]()));
    this.running.clear();
  }

  /** Takes spans in and makes blocks of them; leaves the blocks of the backend alone. */
  async startIngest(t: Test): Promise<RunningTempo> {
    const tempo = await startTempo(`${this.folder}/ingest`, {
      backend: this.store.yaml,
      args: ['-storage.trace.blocklist_poll=500ms', '-compactor.disabled=true'],
      yaml: 'ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms }',
    });
    t.teardown(() => tempo.kill());
    return tempo;
  }

  /** New traces, and one more span of some that are in earlier blocks. */
  async sendBlock(tempo: RunningTempo): Promise<void> {
    const { sent, random } = this;
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    const more = [...sent.keys()].filter(() => random() < 0.1);
    const fresh = Array.from({ length: TRACES_PER_FLUSH }, (_, i) => hexId(sent.size + i + 1, 16));
    const spans = [...more, ...fresh].flatMap((traceId) => {
      const before = sent.get(traceId) ?? 0;
      const count = before === 0 ? 1 + Math.floor(random() * 8) : 1;
      sent.set(traceId, before + count);
      return Array.from({ length: count }, (_, i) =>
        aSpan({
          traceId,
          spanId: hexId(before + i + 1, 8),
          startUnixNano,
          endUnixNano: startUnixNano + 1000n,
        }),
      );
    });
    const { status } = await httpExport(tempo, encodeTraces(spans));
    if (status !== 200) throw new Error(`push answered ${status}`);
    await flush(tempo);
  }

  async wrongTraces(tempo: RunningTempo): Promise<string[]> {
    const wrong: string[] = [];
    for (const [traceId, count] of this.sent) {
      const found = await spanIdsOfTrace(tempo, traceId);
      if (found.length !== count || new Set(found).size !== count)
        wrong.push(`${traceId}: ${found.length} of ${count}`);
    }
    return wrong;
  }

  /** Live blocks as their metas say. */
  async liveBlocks(): Promise<readonly StoredMeta[]> {
    const metas = await Promise.all((await this.store.blockIds()).map((id) => this.store.meta(id)));
    return metas.flatMap((text) => (text === undefined ? [] : [JSON.parse(text) as StoredMeta]));
  }

  /** Blocks that were compacted and are not deleted yet. */
  async deadBlocks(): Promise<number> {
    const ids = await this.store.blockIds();
    const marks = await Promise.all(ids.map((id) => this.store.meta(id, 'meta.compacted.json')));
    return marks.filter((mark) => mark !== undefined).length;
  }

  /** No two blocks are left that could be joined. */
  async isCompacted(): Promise<boolean> {
    const groups = (await this.liveBlocks()).map(
      ({ compactionLevel = 0, endTime }) => `${compactionLevel} ${endTime.slice(0, 13)}`,
    );
    return new Set(groups).size === groups.length;
  }

  /** Blocks come in, processes are killed; in the end all spans are there once, and compacted. */
  async survivesKills(t: Test, rounds: number): Promise<void> {
    const ingest = await this.startIngest(t);
    for (let i = 0; i < 6; i++) await this.sendBlock(ingest);
    await Promise.all(ROLES.map((role) => this.start(role)));
    await this.killRounds(ingest, rounds);
    t.ok(
      await until(() => this.isCompacted(), LIMIT_MS),
      `all is compacted: ${(await this.liveBlocks()).length} blocks are left`,
    );
    const scheduler = this.running.get('scheduler')!;
    const one = this.running.get('one')!;
    t.ok(await until(async () => (await jobStates(scheduler)).includes('JOB_STATUS_SUCCEEDED'), LIMIT_MS));
    await ingest.stop();
    t.equal(await metric(one, 'tempodb_compaction_errors_total'), 0);
    t.equal((await one.get('/ingester/ring')).status, 404);
    t.ok(await until(async () => (await this.deadBlocks()) === 0, LIMIT_MS), 'the inputs are gone for good');
    // what a killed worker had written of a block without a meta stays for a day
    const folders = (await this.store.blockIds()).length;
    const left = folders - (await this.liveBlocks()).length;
    t.ok(left <= rounds, `${left} unfinished blocks of ${rounds} kills`);
    await this.end('stop');
    const reader = await startTempo(`${this.folder}/reader`, {
      backend: this.store.yaml,
      args: ['-compactor.disabled=true'],
    });
    t.teardown(() => reader.kill());
    t.strictSame(await this.wrongTraces(reader), [], `${this.traceCount} traces are whole and once`);
  }

  private async killRounds(ingest: RunningTempo, rounds: number): Promise<void> {
    const { random, running } = this;
    let away: Role | undefined;
    for (let round = 0; round < rounds; round++) {
      await this.sendBlock(ingest);
      await this.sendBlock(ingest);
      await pause(random() * LIFE_MS_MAX);
      const role = ROLES[Math.floor(random() * ROLES.length)]!;
      await running.get(role)?.kill();
      running.delete(role);
      if (away !== undefined) await this.start(away);
      // Now and then a worker stays away for a while: its job must not wait for it.
      away = role !== 'scheduler' && round % 2 === 1 ? role : undefined;
      if (away === undefined && !running.has(role)) await this.start(role);
    }
    for (const role of ROLES) if (!running.has(role)) await this.start(role);
  }
}

export async function jobStates(scheduler: RunningTempo): Promise<readonly string[]> {
  const page = await (await scheduler.get('/status/backendscheduler')).text();
  return page.match(/JOB_STATUS_\w+/g) ?? [];
}

/** Numbers in [0, 1) that follow from the seed. */
export function seededNumbers(seed: number): () => number {
  let state = seed || 1;
  return () => {
    state = (state * 48271) % 0x7fffffff;
    return state / 0x7fffffff;
  };
}
