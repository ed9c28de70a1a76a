// Random work on a store: two servers on one bucket push, flush, poll, compact and retain, queries run
// meanwhile, the bucket errs in every way, and servers end at any of their calls. A seed tells everything.
import { type Faults, NO_FAULTS } from './faulty-bucket.ts';
import { COMPACTED_RETENTION_MS, TENANTS, World } from './store-world.ts';

const STEPS = 60;
const PROCESSES = 2;
const MINUTE_MS = 60_000;

function someFaults(world: World): Faults {
  const { chance } = world;
  const rate = (max: number): number => (chance.once(2) ? 0 : chance.below(max));
  return {
    errors: rate(80),
    lostAnswers: rate(60),
    halves: rate(100),
    truncated: rate(60),
    turnsMax: chance.below(4),
  };
}

/** Upkeep waits for itself, queries and pushes for nobody. */
type Lane = 'upkeep' | 'blocks' | 'compaction' | 'query';

const WORK: readonly (readonly [
  lane: Lane,
  often: number,
  work: (world: World, i: number) => Promise<void>,
])[] = [
  [
    'blocks',
    4,
    ({ seats, chance }, i) => seats[i]!.process.flush(chance.once(3) ? undefined : chance.of(TENANTS)),
  ],
  ['blocks', 2, ({ seats }, i) => seats[i]!.process.upload()],
  ['upkeep', 5, (world, i) => world.poll(i)],
  ['upkeep', 1, ({ seats }, i) => seats[i]!.process.writeIndexes()],
  ['upkeep', 3, ({ seats }, i) => seats[i]!.process.retain()],
  ['compaction', 6, ({ seats }, i) => seats[i]!.process.compact()],
  ['query', 3, (world, i) => world.search(i, world.chance.of(TENANTS), false)],
  ['query', 2, (world, i) => world.byId(i, world.chance.of(TENANTS), 1 + world.chance.below(12), false)],
];
const CHOICES = WORK.flatMap((work) => Array.from({ length: work[1] }, () => work));

/** Some things at once, each of another lane of its process. */
async function step(world: World): Promise<void> {
  const { chance, seats } = world;
  world.nowMs += chance.once(12) ? chance.below(300 * MINUTE_MS) : chance.below(8 * MINUTE_MS);
  for (let n = chance.below(4); n > 0; n--) world.push(chance.below(PROCESSES));
  world.faults = someFaults(world);
  if (chance.once(5)) seats[chance.below(PROCESSES)]!.process.life.callsLeft = chance.below(30);
  const busy = new Set<string>();
  const running: Promise<void>[] = [];
  for (let n = 1 + chance.below(4); n > 0; n--) {
    const i = chance.below(PROCESSES);
    const [lane, , work] = chance.of(CHOICES);
    if (busy.has(`${lane} ${i}`)) continue;
    busy.add(`${lane} ${i}`);
    running.push(work(world, i).catch(() => world.count('failed work')));
  }
  await Promise.all(running);
  world.checkLists();
  for (const [i, { process }] of seats.entries()) {
    if (!process.life.isOver) {
      process.life.callsLeft = Infinity;
      continue;
    }
    world.count('crashes');
    await world.restart(i);
  }
}

async function checkAnswers(world: World): Promise<void> {
  world.faults = { ...NO_FAULTS, turnsMax: world.faults.turnsMax };
  for (const i of world.seats.keys()) {
    for (const tenant of TENANTS) {
      await world.search(i, tenant, true);
      await world.byId(i, tenant, 1 + world.chance.below(12), true);
    }
  }
}

/** Nothing fails any more: after a while all see the same few blocks, and nothing else is left. */
async function converge(world: World): Promise<void> {
  world.faults = NO_FAULTS;
  const { seats } = world;
  for (const { process } of seats) await process.flush(undefined);
  for (let round = 0; round < 8; round++) {
    world.nowMs += COMPACTED_RETENTION_MS / 2;
    for (const [i, { process }] of seats.entries()) {
      await world.poll(i);
      await process.retain();
      await process.compact();
    }
  }
  for (let round = 0; round < 2; round++) {
    world.nowMs += COMPACTED_RETENTION_MS + MINUTE_MS;
    for (const [i, { process }] of seats.entries()) {
      await world.poll(i);
      await process.retain();
    }
  }
  for (const i of seats.keys()) await world.poll(i);
  await checkAnswers(world);
  for (const tenant of TENANTS) {
    const live = world
      .liveFolders(tenant)
      .map((folder) => folder.slice(tenant.length + 1))
      .sort();
    for (const [i, { process }] of seats.entries()) {
      const { blocklist } = process;
      const seen = [...blocklist.tenant(tenant).live.keys()].sort();
      if (seen.join() !== live.join()) world.wrong.push(`${i} sees ${seen.join()} of ${live.join()}`);
      // a block that has just reached its own retention is marked, and goes later
      const staleMs = world.nowMs - COMPACTED_RETENTION_MS - MINUTE_MS;
      const stale = [...blocklist.tenant(tenant).compacted.values()].filter(
        (block) => block.compactedMs < staleMs,
      );
      if (stale.length > 0) world.wrong.push(`${stale.length} compacted blocks of ${tenant} stay`);
    }
    world.counts[`blocks of ${tenant}`] = live.length;
  }
}

export type StoreOutcome = Pick<World, 'wrong' | 'counts' | 'story'>;

export async function runProgram(seed: number): Promise<StoreOutcome> {
  const world = new World(seed, PROCESSES);
  const isExpiring = world.chance.once(3);
  for (const i of world.seats.keys()) await world.restart(i);
  for (let n = 0; n < STEPS && world.wrong.length === 0; n++) {
    await step(world);
    if (isExpiring && world.chance.once(12)) world.expire();
    if (world.chance.once(4)) await checkAnswers(world);
  }
  if (world.wrong.length === 0) await converge(world);
  return { wrong: world.wrong, counts: world.counts, story: world.story };
}
