// A cluster of real processes from the configuration that `npm run cluster` uses, on free ports, for tests of
// faults: each process can be killed, stopped, frozen and started again at its addresses.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import {
  type Bucket,
  CONFIG_FILE,
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

/** Where a role has two processes, so that one can go. */
export const SECOND_ROLES = [
  { name: 'query-frontend-1', target: 'query-frontend' },
  { name: 'distributor-1', target: 'distributor' },
  { name: 'querier-1', target: 'querier' },
] as const;

/** Where a zone has two ingesters: each is in that of the one three before it. */
export const MORE_INGESTERS = [
  { name: 'ingester-3', target: 'ingester' },
  { name: 'ingester-4', target: 'ingester' },
  { name: 'ingester-5', target: 'ingester' },
] as const;

export type Role = (typeof ROLES)[number] | (typeof SECOND_ROLES)[number] | (typeof MORE_INGESTERS)[number];
export type RoleName = Role['name'];

/** In the order in which processes are started: those that others look for come first. */
export const ALL_ROLES: readonly RoleName[] = ROLES.map(({ name }) => name);
/** What queriers call where there are two query-frontends: one port of several addresses. */
const FRONTENDS = 'query-frontends.test';
const HOSTS_DOUBLE = new URL('../support/hosts-double.ts', import.meta.url).href;

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
  /** Those of `npm run cluster`, if none are named. */
  readonly roles?: readonly Role[];
  readonly bucket?: Bucket;
  /** Periods as they are configured, in place of short ones. */
  readonly isUnhurried?: boolean;
  /** Two query-frontends come back at their addresses, as behind services; else at others, as pods do. */
  readonly keepsHosts?: boolean;
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
  private readonly roles: readonly Role[];
  /** Addresses of query-frontends that the name server knows. */
  private readonly hosts = new Map<RoleName, string>();
  private hostCount = 0;

  private constructor(folder: string, options: ClusterOptions, addresses: ReadonlyMap<RoleName, Address>) {
    this.folder = folder;
    this.options = options;
    this.addresses = addresses;
    this.roles = options.roles ?? ROLES;
  }

  /** Finds ports; starts nothing. */
  static async create(folder: string, options: ClusterOptions = {}): Promise<Cluster> {
    const addresses = new Map<RoleName, Address>();
    // Those that are not started are named to others.
    for (const { name, target } of new Set([...ROLES, ...(options.roles ?? [])])) {
      let ports = await freePorts();
      const first = target === 'query-frontend' ? addresses.get('query-frontend') : undefined;
      if (first !== undefined) ports = { ...ports, grpc: first.ports.grpc };
      const real = { http: ports.http, grpc: ports.grpc, gossip: await freePort() };
      const told = (await options.doorsOf?.(name, real)) ?? real;
      addresses.set(name, { ports, real, told });
    }
    return new Cluster(folder, options, addresses);
  }

  /** Starts all and waits until the ring is whole. */
  async startAll(): Promise<void> {
    await Promise.all(this.names.map((name) => this.start(name)));
    await this.untilWhole();
  }

  async start(name: RoleName): Promise<RunningTempo> {
    const data = this.options.dataOf?.(name) ?? path.join(this.folder, name);
    mkdirSync(data, { recursive: true });
    const configFile = path.join(data, 'tempo.yaml');
    const { target } = this.roles.find((role) => role.name === name)!;
    if (target === 'query-frontend' && this.hasTwoFrontends) {
      // It is ready once queriers have found it.
      const at = this.options.keepsHosts === true ? this.names.indexOf(name) + 1 : ++this.hostCount;
      this.hosts.set(name, `127.0.0.${at}`);
      this.tellHosts();
    }
    writeFileSync(configFile, this.configOf(name));
    const { env, ...more } = this.options.startOptionsOf?.(name) ?? {};
    const tempo = await startTempo(data, {
      configFile,
      ports: this.addresses.get(name)!.ports,
      args: [`-target=${target}`],
      ...more,
      env: { ...(target === 'querier' ? this.lookupEnvironment() : {}), ...env },
    });
    this.running.set(name, tempo);
    return tempo;
  }

  get names(): readonly RoleName[] {
    return this.roles.map(({ name }) => name);
  }

  namesOf(target: Role['target']): readonly RoleName[] {
    return this.roles.filter((role) => role.target === target).map(({ name }) => name);
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

  /** Where it is called by gRPC. */
  grpcHostOf(name: RoleName): string {
    return this.hosts.get(name) ?? '127.0.0.1';
  }

  async kill(name: RoleName): Promise<void> {
    await this.at(name).kill();
    this.forget(name);
  }

  /** @returns the exit status of SIGTERM. */
  async stop(name: RoleName): Promise<number> {
    const status = await this.at(name).stop();
    this.forget(name);
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
    const { length } = this.namesOf('ingester');
    for (const name of [...this.namesOf('distributor'), ...this.namesOf('querier')]) {
      const isWhole = async (): Promise<boolean> => (await metric(this.at(name), active)) === length;
      if (!(await until(isWhole, limitMs))) throw new Error(`${name} does not see ${length} ingesters`);
    }
  }

  private forget(name: RoleName): void {
    this.running.delete(name);
    if (this.hosts.delete(name)) this.tellHosts();
  }

  private tellHosts(): void {
    const lines = [...this.hosts.values()].map((host) => `${host} ${FRONTENDS}\n`);
    writeFileSync(`${this.hostsFile}.new`, lines.join(''));
    renameSync(`${this.hostsFile}.new`, this.hostsFile);
  }

  private get hostsFile(): string {
    return path.join(this.folder, 'hosts');
  }

  private get hasTwoFrontends(): boolean {
    return this.namesOf('query-frontend').length > 1;
  }

  private lookupEnvironment(): Record<string, string> {
    if (!this.hasTwoFrontends) return {};
    return { HOSTS_DOUBLE: this.hostsFile, NODE_OPTIONS: `--import=${HOSTS_DOUBLE}` };
  }

  /** How queriers find two query-frontends. */
  private frontendKeys(): Tree {
    if (!this.hasTwoFrontends) return {};
    const frontend_address = `${FRONTENDS}:${this.portsOf('query-frontend').grpc}`;
    return { querier: { frontend_worker: { frontend_address, dns_lookup_duration: '200ms' } } };
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
    const listen = { server: { grpc_listen_address: this.grpcHostOf(name) } };
    const periods = this.options.isUnhurried === true ? {} : QUICK;
    const all = [periods, doors, listen, this.frontendKeys(), this.options.keysOf?.(name) ?? {}].reduce(
      merged,
      usual,
    );
    return stringify(all);
  }
}
