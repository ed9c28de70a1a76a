// Faults of a cluster as it is: processes that die, stand still, are cut off or are restarted.
import { setTimeout as pause } from 'node:timers/promises';
import { ALL_ROLES, type RoleName } from './cluster.ts';
import { metric, until } from '../support/hostile.ts';
import { atFull, type Cost, type Fault, LEAST_SEC, type World } from './world.ts';

/** Queries at a time while an ingester is to be stopped amid their jobs. */
const ASKERS = 8;
/** Longer than an ingester may be silent. */
const STOPPED_SEC = 5;
const SILENT_LIMIT_MS = 60_000;
/** At full length, before a process dies and while it is away. */
const BEFORE_SEC = 5;
const AWAY_SEC = 10;

/** What clients feel when the only process of a role is away. */
function costsOf(name: RoleName): readonly Cost[] {
  if (name === 'distributor') return ['pushErrors'];
  return name === 'query-frontend' || name === 'querier' ? ['readErrors'] : [];
}

/** Whether pushes and reads go on without it. */
const isSpared = (name: RoleName): boolean => costsOf(name).length === 0;

function killed(name: RoleName): Fault {
  return {
    name: `kill -9 of ${name}`,
    costs: costsOf(name),
    run: async (world) => {
      const { cluster, load, pace } = world;
      await atFull(world, BEFORE_SEC);
      await cluster.kill(name);
      await atFull(world, AWAY_SEC);
      if (isSpared(name)) await load.goesOn(pace.steps);
      await cluster.start(name);
    },
  };
}

const oneAfterTheOther: Fault = {
  name: 'kill -9 of two ingesters, one after the other',
  costs: [],
  run: async (world) => {
    const { cluster, load, pace } = world;
    for (const name of ['ingester-0', 'ingester-2'] as const) {
      await atFull(world, BEFORE_SEC);
      await cluster.kill(name);
      await atFull(world, AWAY_SEC);
      await load.goesOn(pace.steps);
      await cluster.start(name);
      await cluster.untilWhole();
    }
  },
};

const twoAtOnce: Fault = {
  name: 'kill -9 of two ingesters at once: no quorum until one is back',
  costs: ['pushErrors', 'partial'],
  run: async ({ cluster, load, pace }) => {
    await Promise.all([cluster.kill('ingester-0'), cluster.kill('ingester-1')]);
    await seconds(pace.isFull ? 20 : 2);
    await cluster.start('ingester-1');
    await load.goesOn(pace.steps);
    await cluster.start('ingester-0');
  },
};

const rollingRestart: Fault = {
  name: 'rolling restart of all (SIGTERM)',
  costs: ['pushErrors', 'readErrors'],
  run: async (world) => {
    for (const name of world.cluster.names) await restart(world, name);
  },
};

/** Stops it while queries are asked, and does `whileAway` before it is started again. */
export async function restartAmidQueries(
  world: Pick<World, 'cluster' | 'load' | 'pace'>,
  name: RoleName,
  whileAway: () => Promise<void>,
): Promise<void> {
  const asked = Promise.all(Array.from({ length: ASKERS }, () => world.load.askNow()));
  await restart(world, name, async () => {
    await asked;
    await whileAway();
  });
}

async function restart(
  { cluster, load, pace }: Pick<World, 'cluster' | 'load' | 'pace'>,
  name: RoleName,
  whileAway: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const status = await cluster.stop(name);
  if (status !== 0) throw new Error(`${name} ended with ${status} at SIGTERM`);
  await whileAway();
  await cluster.start(name);
  await cluster.untilWhole();
  await load.goesOn(pace.steps);
}

const frozen: Fault = {
  name: 'SIGSTOP of an ingester',
  costs: [],
  run: async (world) => {
    const { cluster, load, pace } = world;
    cluster.signal('ingester-1', 'SIGSTOP');
    try {
      await load.goesOn(pace.steps);
      await atFull(world, 60);
      await load.goesOn(pace.steps);
    } finally {
      cluster.signal('ingester-1', 'SIGCONT');
    }
  },
};

/** Until it stands still with jobs of queries, which are done without it then. */
const frozenWithJobs: Fault = {
  name: 'SIGSTOP of an ingester that is working on queries',
  costs: [],
  run: async (world) => {
    const { cluster } = world;
    const silent = (): Promise<number> =>
      metric(cluster.at('querier'), 'tempo_querier_silent_ingesters_total');
    const before = await silent();
    const goesOn = atFull(world, LEAST_SEC);
    const happened = until(async () => (await silent()) > before, SILENT_LIMIT_MS);
    let isOver = false;
    const ask = async (): Promise<void> => {
      while (!isOver) await world.load.askNow();
    };
    const asked = Promise.all(Array.from({ length: ASKERS }, ask));
    const ended = Promise.all([happened, goesOn]).then(() => (isOver = true));
    while (!isOver) {
      await seconds(0.2);
      cluster.signal('ingester-1', 'SIGSTOP');
      await Promise.race([ended, seconds(STOPPED_SEC)]);
      cluster.signal('ingester-1', 'SIGCONT');
    }
    await asked;
    if (!(await happened)) throw new Error('the ingester never stood still with a job');
  },
};

const minorityCut: Fault = {
  name: 'partition: one ingester, scheduler and worker apart from the rest',
  costs: [],
  run: async (world) => {
    const { doors, load, pace } = world;
    doors.cut(['ingester-2', 'backend-scheduler', 'backend-worker']);
    await load.goesOn(pace.steps);
    await atFull(world, 60);
    await load.goesOn(pace.steps);
    doors.mend();
  },
};

const halvesCut: Fault = {
  name: 'partition between halves: two ingesters apart from the rest',
  costs: ['pushErrors', 'readErrors', 'partial'],
  run: async ({ doors, pace }) => {
    doors.cut(['ingester-1', 'ingester-2', 'backend-worker']);
    await seconds(pace.isFull ? 90 : 3);
    doors.mend();
  },
};

const seedGone: Fault = {
  name: 'gossip seed gone while others restart',
  costs: ['pushErrors', 'readErrors'],
  run: async (world) => {
    const { cluster, load, pace } = world;
    await cluster.kill('ingester-0');
    await atFull(world, BEFORE_SEC);
    const others = ['distributor', 'querier'] as const;
    await Promise.all(others.map((name) => cluster.kill(name)));
    await Promise.all(others.map((name) => cluster.start(name)));
    await atFull(world, AWAY_SEC);
    await load.goesOn(pace.steps);
    await cluster.start('ingester-0');
  },
};

/** A query hangs on a process that stands still, and then that or another one dies. */
function diesAmidQuery(stopped: RoleName, killed: RoleName, costs: readonly Cost[]): Fault {
  return {
    name: `${killed} dies in the middle of queries`,
    costs,
    run: async (world) => {
      const { cluster } = world;
      await atFull(world, BEFORE_SEC);
      cluster.signal(stopped, 'SIGSTOP');
      const asked = asksAtOnce(world);
      await seconds(0.5);
      await cluster.kill(killed);
      if (stopped !== killed) cluster.signal(stopped, 'SIGCONT');
      await atFull(world, AWAY_SEC);
      await Promise.all([asked, cluster.start(killed)]);
    },
  };
}

const schedulerDies: Fault = {
  name: 'backend-scheduler dies while jobs are done',
  costs: [],
  run: async (world) => {
    const { cluster, load, pace } = world;
    cluster.signal('backend-worker', 'SIGSTOP');
    await atFull(world, BEFORE_SEC);
    await load.goesOn(pace.steps);
    await cluster.kill('backend-scheduler');
    cluster.signal('backend-worker', 'SIGCONT');
    await atFull(world, AWAY_SEC);
    await load.goesOn(pace.steps);
    await cluster.start('backend-scheduler');
  },
};

async function asksAtOnce({ load }: World): Promise<void> {
  await Promise.all(Array.from({ length: 4 }, () => load.askNow()));
}

function seconds(count: number): Promise<void> {
  return pause(count * 1000);
}

const isIngester = (name: RoleName): boolean => name.startsWith('ingester-');

/** Those of `npm test`: ingesters are killed one after the other in it. */
export const FIRST_FAULTS: readonly Fault[] = [
  ...ALL_ROLES.filter((name) => !isIngester(name)).map(killed),
  frozen,
  frozenWithJobs,
  halvesCut,
  diesAmidQuery('ingester-0', 'ingester-0', []),
  oneAfterTheOther,
  seedGone,
  diesAmidQuery('querier', 'querier', ['readErrors']),
  diesAmidQuery('querier', 'query-frontend', ['readErrors']),
  schedulerDies,
];

/** Only `npm run faults` runs them; `test/e2e/two-of-a-role.test.ts` has a rolling restart of its own. */
const LATER_FAULTS: readonly Fault[] = [
  ...ALL_ROLES.filter(isIngester).map(killed),
  twoAtOnce,
  minorityCut,
  rollingRestart,
];

export const USUAL_FAULTS: readonly Fault[] = [...FIRST_FAULTS, ...LATER_FAULTS];
