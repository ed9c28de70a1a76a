// Ingesters in three zones with replication factor 3: each trace lies in all of them, so that a zone may go
// as a whole.
import type { Cluster, ClusterOptions, Role, RoleName } from './cluster.ts';
import { atFull, type Fault, type World } from './world.ts';

const ZONES = ['a', 'b', 'c'] as const;
export type Zone = (typeof ZONES)[number];

/** ingester-3 is in the zone of ingester-0, and so on. */
function zoneOf(name: RoleName): Zone {
  return ZONES[Number(name.at(-1)) % ZONES.length]!;
}

export function ingestersOf(cluster: Cluster, zone: Zone): readonly RoleName[] {
  return cluster.namesOf('ingester').filter((name) => zoneOf(name) === zone);
}

/** What a cluster of these roles is started with. */
export function inZones(roles: readonly Role[]): Pick<ClusterOptions, 'roles' | 'keysOf'> {
  return {
    roles,
    keysOf: (name) => {
      const zone = name.startsWith('ingester') ? { availability_zone: zoneOf(name) } : {};
      return { ingester: { lifecycler: { ring: { zone_awareness_enabled: true }, ...zone } } };
    },
  };
}

export async function killZone(cluster: Cluster, zone: Zone): Promise<void> {
  await Promise.all(ingestersOf(cluster, zone).map((name) => cluster.kill(name)));
}

export async function startZone(cluster: Cluster, zone: Zone): Promise<void> {
  await Promise.all(ingestersOf(cluster, zone).map((name) => cluster.start(name)));
}

/** Why the answer to a search for all may lack something. */
export async function partialNow(cluster: Cluster): Promise<string | null> {
  const { headers, body, ok, status } = await cluster.at('query-frontend').get('/api/search?q=%7B%7D');
  await body?.cancel();
  if (!ok) throw new Error(`a search is answered with ${status}`);
  return headers.get('x-tempo-partial');
}

/** Pushes and reads go on, and answers are whole, while one of three zones is away. */
export async function loseZone(world: World, zone: Zone): Promise<void> {
  const { cluster, load, pace } = world;
  await killZone(cluster, zone);
  await load.goesOn(pace.steps);
  const partial = await partialNow(cluster);
  if (partial !== null) throw new Error(`without zone ${zone} an answer is partial: ${partial}`);
  await atFull(world, 30);
  await load.goesOn(pace.steps);
}

export const zoneKilled: Fault = {
  name: 'kill -9 of all ingesters of one of three zones at once',
  costs: [],
  run: async (world) => {
    await loseZone(world, 'a');
    await startZone(world.cluster, 'a');
  },
};
