// Long work in slices: others get turns of the event loop meanwhile, and its result is the same.
import t from 'tap';
import { atOnce, inSlices, Slice, type Sliced } from '../../src/lib/slices.ts';

const SLICES_MIN = 3;
const STEP_MS = 1;
const STEPS = 40;

function* work(): Sliced<number> {
  let sum = 0;
  for (let i = 0; i < STEPS; i++) {
    const endMs = performance.now() + STEP_MS;
    while (performance.now() < endMs);
    sum += i;
    yield;
  }
  return sum;
}

/** Turns of the event loop until something is done. */
async function turnsOf(done: Promise<unknown>): Promise<number> {
  let turns = 0;
  let next: NodeJS.Immediate;
  const count = (): void => {
    turns++;
    next = setImmediate(count);
  };
  next = setImmediate(count);
  await done;
  clearImmediate(next);
  return turns;
}

t.test('others get turns while long work is done', async (t) => {
  const sum = inSlices(work());
  const turns = await turnsOf(sum);
  t.ok(turns >= SLICES_MIN, `${turns} turns`);
  t.equal(await sum, atOnce(work()));
});

t.test('a slice is over after some milliseconds', async (t) => {
  const slice = new Slice();
  const beganMs = performance.now();
  while (!slice.isOver);
  t.ok(performance.now() - beganMs >= STEP_MS);
  let hadTurn = false;
  setImmediate(() => (hadTurn = true));
  await slice.next();
  t.ok(hadTurn, 'others come first');
});
