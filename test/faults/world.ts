// What a fault has before it: a cluster behind doors with its load, and how long things take.
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Cluster, type ClusterOptions, type Role, type RoleName } from './cluster.ts';
import { Doors } from './doors.ts';
import { type Counts, inTurn, Load, type LoadOptions } from './load.ts';

export interface Pace {
  /** Pushes and reads that are waited for between two events. */
  readonly steps: number;
  /** Full length, or a short one that fits between other tests. */
  readonly isFull: boolean;
}

export const SHORT: Pace = { steps: 3, isFull: false };
export const FULL: Pace = { steps: 8, isFull: true };

export interface World {
  readonly cluster: Cluster;
  readonly doors: Doors;
  readonly load: Load;
  readonly pace: Pace;
  readonly end: () => Promise<void>;
}

export type WorldOptions = Omit<ClusterOptions, 'doorsOf'> & { readonly load?: LoadOptions };

/** How long the load of each fault lasts at full length, at least: before it, while it holds, and after. */
export const LEAST_SEC = 20;

/** Seconds that only the full length takes. */
export const atFull = ({ pace }: Pick<World, 'pace'>, seconds: number): Promise<void> =>
  pause(pace.isFull ? seconds * 1000 : 0);

/** Starts all, with the load on. */
export async function startWorld(folder: string, pace: Pace, options: WorldOptions = {}): Promise<World> {
  const pids = (): ReadonlyMap<RoleName, number> =>
    new Map([...cluster.running].map(([name, { pid }]) => [name, pid]));
  const doors = new Doors(pids);
  const cluster: Cluster = await Cluster.create(path.join(folder, 'cluster'), {
    ...options,
    doorsOf: async (name, { http, grpc, gossip }) => ({
      http,
      grpc: await doors.open(name, grpc),
      gossip: await doors.open(name, gossip),
    }),
  });
  const urls = (target: Role['target'], port: 'otlpHttp' | 'http'): string[] =>
    cluster.namesOf(target).map((name) => `http://127.0.0.1:${cluster.portsOf(name)[port]}`);
  const endpoints = {
    push: inTurn(urls('distributor', 'otlpHttp')),
    query: inTurn(urls('query-frontend', 'http')),
  };
  const load = new Load(endpoints, options.load);
  const end = async (): Promise<void> => {
    load.abandon();
    await cluster.end();
    await load.stop();
    await doors.close();
  };
  try {
    await cluster.startAll();
  } catch (err) {
    await end();
    throw err;
  }
  load.start();
  await load.goesOn(pace.steps);
  await load.lap();
  return { cluster, doors, load, pace, end };
}

/** What a fault may cost; all else must be zero, and wrong, lost and duplicated ones always are. */
export type Cost = 'pushErrors' | 'readErrors' | 'partial';

export interface Fault {
  readonly name: string;
  readonly costs: readonly Cost[];
  readonly run: (world: World) => Promise<void>;
}

/** Runs one fault, and what was counted from its beginning until all is well again. */
export async function runFault(world: World, fault: Pick<Fault, 'run'>): Promise<Counts> {
  const { load, pace, cluster } = world;
  const least = atFull(world, LEAST_SEC);
  await fault.run(world);
  await cluster.untilWhole();
  await least;
  await load.goesOn(pace.steps);
  return load.lap();
}

/** What should not have been. */
export function violations({ costs }: Pick<Fault, 'costs'>, counts: Counts): readonly string[] {
  const names = ['pushErrors', 'readErrors', 'partial', 'wrong', 'lost', 'duplicated'] as const;
  const isAllowed = (name: string): boolean => (costs as readonly string[]).includes(name);
  const found = names
    .filter((name) => !isAllowed(name) && counts[name] > 0)
    .map((name) => `${name}: ${counts[name]}`);
  const { spansFound, spansAcknowledged } = counts;
  if (spansFound !== spansAcknowledged) found.push(`found: ${spansFound} of ${spansAcknowledged}`);
  return found;
}
