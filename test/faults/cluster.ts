// A cluster of real processes from the configuration that `npm run cluster` uses, on free ports, for tests of
// faults: each process can be killed, stopped, frozen and started again at its addresses.
import { readFileSync } from 'node:fs';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import {
  type Bucket,
  CONFIG_FILE,
  type RoleName,
  type MemberPorts,
  ROLES,
  roleEnvironment,
} from '../../cmd/cluster/layout.ts';
import { expandEnv } from '../../src/config/expand-env.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import {
  freePorts,
  type Ports,
  type RunningTempo,
  type StartOptions,
  startTempo,
} from '../support/server.ts';

const INGESTERS = ['ingester-0', 'ingester-1', 'ingester-2'] as const;
/** In the order in which processes are started: those that others look for come first. */
export const ALL_ROLES: readonly RoleName[] = ROLES.map(({ name }) => name);

type Tree = { [key: string]: unknown };

/** Short periods, so that heads, blocks and jobs come and go within a test. */
const QUICK: Tree = {
  memberlist: { gossip_interval: '100ms', rejoin_interval: '2s' },
  ingester_client: {
    grpc_client_config: { connect_backoff_base_delay: '50ms', connect_backoff_max_delay: '500ms' },
  },
  ingester: {
    lifecycler: { heartbeat_period: '1s', min_ready_duration: '0s' },
    flush_check_period: '500ms',
    max_block_duration: '6s',
    complete_block_timeout: '10s',
  },
  backend_scheduler: {
    maintenance_interval: '1s',
    provider: { compaction: { min_cycle_interval: '1s' } },
  },
  backend_worker: { backoff: { max_period: '1s' } },
  storage: { trace: { blocklist_poll: '2s' } },
};

export interface ClusterOptions {
  readonly bucket?: Bucket;
  /** Keys of the configuration that a role gets beside the usual ones. */
  readonly keysOf?: (name: RoleName) => Tree;
  /** How processes are started, beside their configuration. */
  readonly startOptionsOf?: (name: RoleName) => Pick<StartOptions, 'env' | 'entry'>;
  /** Where a process keeps its data, when it is not the usual folder. */
  readonly dataOf?: (name: RoleName) => string | undefined;
  /** Ports that others are told in place of the real ones. */
  readonly doorsOf?: (name: RoleName, real: MemberPorts) => Promise<MemberPorts>;
}

interface Address {
  readonly ports: Ports;
  readonly real: MemberPorts;
  /** What others call. */
  readonly told: MemberPorts;
}

function merged(into: Tree, from: Tree): Tree {
  const out = { ...into };
  for (const [key, value] of Object.entries(from)) {
    const before = out[key];
    const isTree = (x: unknown): x is Tree => typeof x === 'object' && x !== null && !Array.isArray(x);
    out[key] = isTree(before) && isTree(value) ? merged(before, value) : value;
  }
  return out;
}

export class Cluster {
  readonly folder: string;
  readonly running = new Map<RoleName, RunningTempo>();
  private readonly options: ClusterOptions;
  private readonly addresses: ReadonlyMap<RoleName, Address>;

  private constructor(folder: string, options: ClusterOptions, addresses: ReadonlyMap<RoleName, Address>) {
    this.folder = folder;
    this.options = options;
    this.addresses = addresses;
  }

  /** Finds ports; starts nothing. */
  static async create(folder: string, options: ClusterOptions = {}): Promise<Cluster> {
    const addresses = new Map<RoleName, Address>();
    for (const name of ALL_ROLES) {
      const ports = await freePorts();
      const real = { http: ports.http, grpc: ports.grpc, gossip: await freePort() };
      addresses.set(name, { ports, real, told: (await options.doorsOf?.(name, real)) ?? real });
    }
    return new Cluster(folder, options, addresses);
  }

  /** Starts all and waits until the ring is whole. */
  async startAll(): Promise<void> {
    await Promise.all(ALL_ROLES.map((name) => this.start(name)));
    await this.untilWhole();
  }

  async start(name: RoleName): Promise<RunningTempo> {
    const data = this.options.dataOf?.(name) ?? path.join(this.folder, name);
    mkdirSync(data, { recursive: true });
    const configFile = path.join(data, 'tempo.yaml');
    writeFileSync(configFile, this.configOf(name));
    const { target } = ROLES.find((role) => role.name === name)!;
    const tempo = await startTempo(data, {
      configFile,
      ports: this.addresses.get(name)!.ports,
      args: [`-target=${target}`],
      ...this.options.startOptionsOf?.(name),
    });
    this.running.set(name, tempo);
    return tempo;
  }

  at(name: RoleName): RunningTempo {
    const tempo = this.running.get(name);
    if (tempo === undefined) throw new Error(`${name} does not run`);
    return tempo;
  }

  portsOf(name: RoleName): Ports {
    return this.addresses.get(name)!.ports;
  }

  gossipPortOf(name: RoleName): number {
    return this.addresses.get(name)!.real.gossip;
  }

  async kill(name: RoleName): Promise<void> {
    await this.at(name).kill();
    this.running.delete(name);
  }

  /** @returns the exit status of SIGTERM. */
  async stop(name: RoleName): Promise<number> {
    const status = await this.at(name).stop();
    this.running.delete(name);
    return status;
  }

  signal(name: RoleName, signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.at(name).pid, signal);
  }

  async end(): Promise<void> {
    await Promise.all([...this.running.values()].map((tempo) => tempo.kill()));
    this.running.clear();
  }

  /** Resolves when those that push and those that ask see all ingesters that should be there. */
  async untilWhole(limitMs = 60_000): Promise<void> {
    const active = 'tempo_ring_members{name="ingester",state="ACTIVE"}';
    for (const name of ['distributor', 'querier'] as const) {
      const isWhole = async (): Promise<boolean> =>
        (await metric(this.at(name), active)) === INGESTERS.length;
      if (!(await until(isWhole, limitMs)))
        throw new Error(`${name} does not see ${INGESTERS.length} ingesters`);
    }
  }

  private configOf(name: RoleName): string {
    const { ports, real, told } = this.addresses.get(name)!;
    const environment = {
      ...roleEnvironment(name, this.folder, (other) => this.addresses.get(other)!.told, this.options.bucket),
      HTTP_PORT: String(real.http),
      GRPC_PORT: String(real.grpc),
      GOSSIP_PORT: String(real.gossip),
      OTLP_GRPC_PORT: String(ports.otlpGrpc),
      OTLP_HTTP_PORT: String(ports.otlpHttp),
      DATA: this.options.dataOf?.(name) ?? path.join(this.folder, name),
    };
    const usual = parse(expandEnv(readFileSync(CONFIG_FILE, 'utf8'), environment, CONFIG_FILE)) as Tree;
    const doors = {
      memberlist: { advertise_port: told.gossip },
      ingester: { lifecycler: { port: told.grpc } },
    };
    const all = [QUICK, doors, this.options.keysOf?.(name) ?? {}].reduce(merged, usual);
    return stringify(all);
  }
}
