// Faults of clusters that are started otherwise than the usual one: with more processes or zones, a foreign
// program, a disk of their own, wrong clocks or another build. `npm run faults` gives each one for itself.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Bucket, ROLES } from '../../cmd/cluster/layout.ts';
import { MORE_INGESTERS, type RoleName, SECOND_ROLES } from './cluster.ts';
import { createBucket, minioBucket, minioProgram } from '../components/clouds.ts';
import { freePort } from '../support/free-port.ts';
import { metric, until } from '../support/hostile.ts';
import type { Counts } from './load.ts';
import { restartAmidQueries } from './usual-faults.ts';
import {
  atFull,
  type Fault,
  type Pace,
  runFault,
  startWorld,
  type World,
  type WorldOptions,
} from './world.ts';
import { inZones, zoneKilled } from './zones.ts';

const INGESTERS = ['ingester-0', 'ingester-1', 'ingester-2'] as const;
const DISK = 'size=48m';
const LEFT_BYTES = 1 << 20;
/** The older build of mixed versions, any commit with roles apart. This has neither Snappy nor hedging. */
const OLD_COMMIT = process.env['OLD_COMMIT'] ?? 'e8844c2';
const LIMIT_MS = 60_000;

interface Setting {
  readonly options: WorldOptions;
  readonly run: (world: World) => Promise<void>;
  readonly close: () => Promise<void>;
}

export interface SpecialFault extends Omit<Fault, 'run'> {
  /** @throws Error when what it needs is not there. */
  readonly prepare: (folder: string) => Promise<Setting>;
}

/** A program that can be killed and started again at its address. */
class Restartable {
  private child: ChildProcess | undefined;
  private readonly command: string;
  private readonly args: readonly string[];
  private readonly env: Readonly<Record<string, string>>;
  private readonly readyUrl: string;

  constructor(
    name: string,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    readyUrl: string,
  ) {
    const command = process.env[name] ?? '';
    if (command === '') throw new Error(`${name} does not name a program; .ci/run installs it`);
    this.command = command;
    this.args = args;
    this.env = env;
    this.readyUrl = readyUrl;
  }

  async start(): Promise<void> {
    this.child = spawn(this.command, this.args, { stdio: 'ignore', env: { ...process.env, ...this.env } });
    const answers = (): Promise<boolean> =>
      fetch(this.readyUrl).then(
        ({ ok }) => ok,
        () => false,
      );
    if (!(await until(answers, LIMIT_MS))) throw new Error(`${this.command} does not answer`);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

async function startMinio(folder: string): Promise<{ readonly minio: Restartable; readonly bucket: Bucket }> {
  const address = `127.0.0.1:${await freePort()}`;
  const { args, env, url } = minioProgram(path.join(folder, 'minio'), address);
  const minio = new Restartable('MINIO', args, env, url);
  await minio.start();
  await createBucket(address);
  return { minio, bucket: minioBucket({ address }) };
}

type StartOptionsOf = ReturnType<NonNullable<WorldOptions['startOptionsOf']>>;

const seconds = (count: number): Promise<void> => pause(count * 1000);

const storeAway: SpecialFault = {
  name: 'object store away',
  costs: ['readErrors', 'partial'],
  prepare: async (folder) => {
    const { minio, bucket } = await startMinio(folder);
    return {
      options: { bucket },
      run: async ({ load, pace }) => {
        await minio.kill();
        await seconds(pace.isFull ? 600 : 8);
        await minio.start();
        await load.goesOn(pace.steps);
      },
      close: () => minio.kill(),
    };
  },
};

/** Small disks for ingesters, which a test can fill. */
class Disks {
  private readonly folders = new Map<RoleName, string>();

  constructor(folder: string, names: readonly RoleName[]) {
    for (const name of names) {
      const disk = path.join(folder, `disk-of-${name}`);
      mkdirSync(disk, { recursive: true });
      execFileSync('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', disk], { stdio: 'ignore' });
      this.folders.set(name, disk);
    }
  }

  of(name: RoleName): string | undefined {
    return this.folders.get(name);
  }

  /** Leaves less than is kept free, which is a twentieth of a small disk. */
  fill(): void {
    for (const disk of this.folders.values()) {
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(path.join(disk, 'filler'), Buffer.alloc(Math.max(0, bavail * bsize - LEFT_BYTES)));
    }
  }

  empty(): void {
    for (const disk of this.folders.values()) rmSync(path.join(disk, 'filler'), { force: true });
  }

  close(): void {
    for (const disk of this.folders.values()) execFileSync('umount', ['-l', disk]);
  }
}

async function refuses({ cluster }: World, name: RoleName): Promise<void> {
  const refused = async (): Promise<boolean> =>
    (await metric(cluster.at(name), 'tempo_refused_requests_total')) > 0;
  if (!(await until(refused, LIMIT_MS))) throw new Error(`${name} takes spans although its disk is full`);
}

const oneFullDisk: SpecialFault = {
  name: 'full disk of an ingester',
  costs: [],
  prepare: async (folder) => {
    const disks = new Disks(folder, ['ingester-0']);
    return {
      options: { dataOf: (name) => disks.of(name) },
      run: async (world) => {
        const { load, pace } = world;
        disks.fill();
        await refuses(world, 'ingester-0');
        await load.goesOn(pace.steps);
        await atFull(world, 60);
        await load.goesOn(pace.steps);
        disks.empty();
      },
      close: async () => disks.close(),
    };
  },
};

const storeAwayAndFull: SpecialFault = {
  name: 'object store away until all disks are full: pushes are refused',
  costs: ['pushErrors', 'readErrors', 'partial'],
  prepare: async (folder) => {
    const { minio, bucket } = await startMinio(folder);
    const disks = new Disks(folder, INGESTERS);
    return {
      options: { bucket, dataOf: (name) => disks.of(name) },
      run: async (world) => {
        await minio.kill();
        await seconds(world.pace.isFull ? 60 : 3);
        disks.fill();
        for (const name of INGESTERS) await refuses(world, name);
        await seconds(world.pace.isFull ? 60 : 1);
        disks.empty();
        await minio.start();
      },
      close: async () => {
        await minio.kill();
        disks.close();
      },
    };
  },
};

const slowDisk: SpecialFault = {
  name: 'slow disk of an ingester: every sync takes half a second',
  costs: [],
  prepare: async (folder) => {
    mkdirSync(folder, { recursive: true });
    const library = path.join(folder, 'slow-sync.so');
    const flags = ['-shared', '-fPIC', '-O2', '-o', library, 'test/bench/slow-sync.c', '-ldl'];
    execFileSync(process.env['CC'] ?? 'cc', flags);
    const env = { LD_PRELOAD: library, SLOW_SYNC_MS: '500' };
    return {
      options: { startOptionsOf: (name) => (name === 'ingester-0' ? { env } : {}) },
      run: async (world) => {
        const { cluster, load, pace } = world;
        const maps = readFileSync(`/proc/${cluster.at('ingester-0').pid}/maps`, 'utf8');
        if (!maps.includes(library)) throw new Error(`ingester-0 does not have ${library}`);
        await load.goesOn(pace.steps);
        await atFull(world, 30);
        await load.goesOn(pace.steps);
      },
      close: () => Promise.resolve(),
    };
  },
};

const etcdRestart: SpecialFault = {
  name: 'rings in etcd: it is killed and started again',
  costs: [],
  prepare: async (folder) => {
    const [port, peerPort] = [await freePort(), await freePort()];
    const url = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const clients = `--listen-client-urls ${url} --advertise-client-urls ${url}`;
    const peers = `--listen-peer-urls ${peer} --initial-advertise-peer-urls ${peer}`;
    const args = `--name one --data-dir ${folder}/etcd ${clients} ${peers} --initial-cluster one=${peer}`;
    const etcd = new Restartable(
      'ETCD',
      args.split(' '),
      { ETCD_UNSUPPORTED_ARCH: process.arch },
      `${url}/health`,
    );
    await etcd.start();
    const kvstore = { store: 'etcd', etcd: { endpoints: [`127.0.0.1:${port}`] } };
    return {
      options: { keysOf: () => ({ ingester: { lifecycler: { ring: { kvstore } } } }) },
      run: async (world) => {
        const { load, pace } = world;
        await etcd.kill();
        await load.goesOn(pace.steps);
        await atFull(world, 30);
        await load.goesOn(pace.steps);
        await etcd.start();
        await load.goesOn(pace.steps);
      },
      close: () => etcd.kill(),
    };
  },
};

/** Heads have become blocks and are in the object store. */
async function writesBlocks({ cluster }: World, name: RoleName): Promise<void> {
  const has = async (): Promise<boolean> =>
    (await metric(cluster.at(name), 'tempo_ingester_blocks_flushed_total')) > 0;
  if (!(await until(has, LIMIT_MS))) throw new Error(`${name} writes no blocks`);
}

/** How far clocks are ahead. */
const CLOCKS = [
  ['ingester-1', 45],
  ['ingester-2', -45],
] as const;

async function hasClock({ cluster }: World, name: RoleName, aheadSec: number): Promise<void> {
  const date = (await cluster.at(name).get('/ready')).headers.get('date') ?? '';
  const found = (Date.parse(date) - Date.now()) / 1000;
  if (!(Math.abs(found - aheadSec) < 10)) throw new Error(`the clock of ${name} is ${found} s ahead`);
}

const clockSkew: SpecialFault = {
  name: 'clocks of two ingesters 45 s ahead and behind',
  costs: [],
  prepare: async () => {
    const [library] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1');
    if (library === undefined) throw new Error('libfaketime is not installed; the package is faketime');
    const skewed = (skew: string): { readonly env: Record<string, string> } => ({
      env: { LD_PRELOAD: library, FAKETIME: skew, FAKETIME_DONT_FAKE_MONOTONIC: '1' },
    });
    return {
      options: {
        startOptionsOf: (name) => {
          const [, aheadSec = 0] = CLOCKS.find(([skewedName]) => skewedName === name) ?? [];
          return aheadSec === 0 ? {} : skewed(`${aheadSec > 0 ? '+' : ''}${aheadSec}s`);
        },
      },
      run: async (world) => {
        const { load, pace } = world;
        for (const [name, aheadSec] of CLOCKS) await hasClock(world, name, aheadSec);
        await load.goesOn(pace.steps);
        await atFull(world, 60);
        for (const [name] of CLOCKS) await writesBlocks(world, name);
        await load.goesOn(pace.steps);
      },
      close: () => Promise.resolve(),
    };
  },
};

/** Another commit of this repository, with the packages of this one. */
function checkout(folder: string, commit: string): string {
  const root = path.join(folder, 'old');
  mkdirSync(root, { recursive: true });
  const archive = execFileSync('git', ['archive', commit], { maxBuffer: 1 << 30 });
  execFileSync('tar', ['-x', '-C', root], { input: archive });
  symlinkSync(path.resolve('node_modules'), path.join(root, 'node_modules'));
  return path.join(root, 'cmd/tempo/main.ts');
}

const mixedVersions: SpecialFault = {
  name: `an ingester, the distributor and the worker of an older build (${OLD_COMMIT})`,
  costs: [],
  prepare: async (folder) => {
    const entry = checkout(folder, OLD_COMMIT);
    const old: readonly RoleName[] = ['ingester-1', 'distributor', 'backend-worker'];
    return {
      options: { startOptionsOf: (name) => (old.includes(name) ? { entry } : {}) },
      run: async (world) => {
        const { load, pace } = world;
        await load.goesOn(pace.steps);
        await seconds(pace.isFull ? 60 : 8);
        await load.goesOn(pace.steps);
      },
      close: () => Promise.resolve(),
    };
  },
};

const rollingRestartOfTwo: SpecialFault = {
  name: 'rolling restart of roles with two query-frontends, distributors and queriers (SIGTERM)',
  costs: [],
  prepare: async () => ({
    options: { roles: [...ROLES, ...SECOND_ROLES] },
    run: async (world) => {
      const { cluster, load, pace } = world;
      for (const name of cluster.names) await restartAmidQueries(world, name, () => load.goesOn(pace.steps));
    },
    close: () => Promise.resolve(),
  }),
};

const zoneGone: SpecialFault = {
  name: zoneKilled.name,
  costs: zoneKilled.costs,
  prepare: async () => ({
    options: inZones([...ROLES, ...MORE_INGESTERS]),
    run: zoneKilled.run,
    close: () => Promise.resolve(),
  }),
};

export const SPECIAL_FAULTS: readonly SpecialFault[] = [
  rollingRestartOfTwo,
  zoneGone,
  oneFullDisk,
  slowDisk,
  clockSkew,
  etcdRestart,
  storeAwayAndFull,
  mixedVersions,
  storeAway,
];

export interface Outcome {
  readonly fault: SpecialFault;
  readonly counts: Counts;
  readonly complaints: readonly string[];
}

/** Starts what the faults need, runs one after the other, and ends all. */
export async function runSpecial(
  /** Several have one cluster when they are about how different processes are started. */
  faults: readonly SpecialFault[],
  folder: string,
  pace: Pace,
): Promise<readonly Outcome[]> {
  const settings: Setting[] = [];
  try {
    for (const fault of faults) settings.push(await fault.prepare(folder));
    const all = settings.map(({ options }) => options);
    const startOptionsOf = (name: RoleName): StartOptionsOf =>
      Object.assign({}, ...all.map((options) => options.startOptionsOf?.(name) ?? {}));
    const world = await startWorld(folder, pace, Object.assign({}, ...all, { startOptionsOf }));
    try {
      const outcomes: Outcome[] = [];
      for (const [at, { run }] of settings.entries()) {
        const counts = await runFault(world, { run });
        outcomes.push({ fault: faults[at]!, counts, complaints: world.load.complaints });
      }
      return outcomes;
    } finally {
      await world.end();
    }
  } finally {
    for (const { close } of settings) await close();
  }
}
