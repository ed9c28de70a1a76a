// Starts the layouts that are compared on local ports: one process, or a distributor, three ingesters with
// replication factor 3 (or one that holds one copy), a querier and a query-frontend.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../support/free-port.ts';
import { freePorts, type Ports, type RunningTempo, startTempo } from '../support/server.ts';

export interface Layout {
  readonly name: string;
  /** Takes spans. */
  readonly otlp: string;
  /** All that do. */
  readonly otlps: readonly string[];
  /** Answers queries; undefined where nobody does. */
  readonly url: string | undefined;
  readonly processes: ReadonlyMap<string, RunningTempo>;
  readonly ingesters: readonly RunningTempo[];
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

const RING_PAUSE_MS = 100;
const RING_LIMIT_MS = 60_000;

/** Limits that let a corpus pass, and blocks that are searched as soon as they are there. */
const COMMON = `
overrides:
  defaults:
    ingestion: { rate_limit_bytes: 2000000000, burst_size_bytes: 2000000000, max_traces_per_user: 0 }
    global: { max_bytes_per_trace: 0 }
query_frontend:
  search: { query_backend_after: 0s, query_ingesters_until: 24h, max_duration: 0s }
  metrics: { query_backend_after: 0s, max_duration: 0s }
compactor: { compaction: { compaction_cycle: 24h } }
`;

/** Local copies of blocks go soon, so that those of the backend are what is read. */
const INGESTER = 'complete_block_timeout: 1s, max_block_duration: 2h';

function backendOf(folder: string): string {
  return `    backend: local\n    local: { path: '${folder}/blocks' }\n    blocklist_poll: 2s\n`;
}

function layoutOf(
  name: string,
  processes: ReadonlyMap<string, RunningTempo>,
  roles: { readonly distributor: string; readonly frontend: string | undefined },
): Layout {
  const all = [...processes.values()];
  const frontend = roles.frontend === undefined ? undefined : processes.get(roles.frontend);
  const takers = [...processes].filter(([role]) => role.startsWith(roles.distributor));
  const otlps = takers.map(([, { ports }]) => `127.0.0.1:${ports.otlpGrpc}`);
  return {
    name,
    otlp: otlps[0]!,
    otlps,
    url: frontend?.url,
    processes,
    ingesters: [...processes].filter(([role]) => /^(all|ingester.*)$/.test(role)).map(([, each]) => each),
    pids: all.map(({ pid }) => pid),
    stop: async () => void (await Promise.all(all.map((each) => each.kill()))),
  };
}

export async function startOne(folder: string): Promise<Layout> {
  const yaml = `${COMMON}ingester: { ${INGESTER} }\n`;
  const only = await startTempo(join(folder, 'all'), { backend: backendOf(folder), yaml });
  return layoutOf('one process', new Map([['all', only]]), { distributor: 'all', frontend: 'all' });
}

export interface ReplicasOptions {
  readonly name: string;
  /** Another program with the same flags. */
  readonly program?: string | undefined;
  /** Without those there is nobody to ask. */
  readonly reads: boolean;
  /** One without it. */
  readonly distributors?: number;
  /** The replication factor, and as many ingesters: 3 without it. */
  readonly copies?: number;
  /** Of messages to ingesters; undefined = the program's default. */
  readonly compression?: string | undefined;
}

export async function startReplicas(folder: string, options: ReplicasOptions): Promise<Layout> {
  const processes = new Map<string, RunningTempo>();
  try {
    return await startRoles(folder, options, processes);
  } catch (err) {
    await Promise.all([...processes.values()].map((each) => each.kill()));
    throw err;
  }
}

async function startRoles(
  folder: string,
  { name, program, reads, distributors = 1, copies = 3, compression }: ReplicasOptions,
  processes: Map<string, RunningTempo>,
): Promise<Layout> {
  const seed = await freePort();
  const frontend = await freePorts();
  const start = async (role: string, gossip: number, ports?: Ports): Promise<void> => {
    const target = role.replace(/-\d$/, '');
    const running = await startTempo(join(folder, role), {
      backend: backendOf(folder),
      yaml:
        COMMON + ringText(role, { gossip, seed, copies }) + workerText(frontend) + clientText(compression),
      args: [`-target=${target}`],
      ...(ports === undefined ? {} : { ports }),
      ...(program === undefined ? {} : { program }),
    });
    processes.set(role, running);
  };
  await start('ingester-0', seed);
  const others = Array.from({ length: copies - 1 }, (_, i) => `ingester-${i + 1}`);
  await Promise.all(others.map(async (role) => start(role, await freePort())));
  const names = Array.from({ length: distributors }, (_, i) =>
    i === 0 ? 'distributor' : `distributor-${i}`,
  );
  await Promise.all(names.map(async (role) => start(role, await freePort())));
  if (reads) {
    const gossip = [await freePort(), await freePort()] as const;
    await Promise.all([start('query-frontend', gossip[0], frontend), start('querier', gossip[1])]);
  }
  const asking = reads ? [...names, 'querier'] : names;
  await Promise.all(asking.map((role) => untilActive(processes.get(role)!, copies)));
  return layoutOf(name, processes, {
    distributor: 'distributor',
    frontend: reads ? 'query-frontend' : undefined,
  });
}

interface RingPlace {
  readonly gossip: number;
  readonly seed: number;
  readonly copies: number;
}

function ringText(role: string, { gossip: port, seed, copies }: RingPlace): string {
  const gossip = `bind_addr: [127.0.0.1], advertise_addr: 127.0.0.1, bind_port: ${port}`;
  const ring = `{ replication_factor: ${copies}, kvstore: { store: memberlist } }`;
  const lifecycler = `{ id: ${role}, address: 127.0.0.1, min_ready_duration: 0s, ring: ${ring} }`;
  return `
memberlist: { node_name: ${role}, ${gossip}, advertise_port: ${port}, join_members: ['127.0.0.1:${seed}'] }
ingester: { ${INGESTER}, lifecycler: ${lifecycler} }
`;
}

function workerText({ grpc }: Ports): string {
  return `querier: { frontend_worker: { frontend_address: '127.0.0.1:${grpc}' } }\n`;
}

function clientText(compression: string | undefined): string {
  if (compression === undefined) return '';
  return `ingester_client: { grpc_client_config: { grpc_compression: '${compression}' } }\n`;
}

/** The process knows all ingesters of the ring. */
async function untilActive(tempo: RunningTempo, ingesters: number): Promise<void> {
  const endsAtMs = performance.now() + RING_LIMIT_MS;
  const line = new RegExp(`tempo_ring_members\\{name="ingester",state="ACTIVE"\\} ${ingesters}$`, 'm');
  while (!line.test(await (await tempo.get('/metrics')).text())) {
    if (performance.now() > endsAtMs) throw new Error(`the ring is not whole:\n${tempo.output()}`);
    await pause(RING_PAUSE_MS);
  }
}
