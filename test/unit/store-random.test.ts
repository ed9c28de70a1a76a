// Blocks under random work: two servers on one bucket push, flush, poll, compact and retain, queries run
// meanwhile, the bucket errs in every way, and servers end at any of their calls. STORE_SEED=N repeats a
// program, STORE_PROGRAMS=N runs more of them, STORE_SECONDS=N as many as there is time for.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import type { StoreOutcome } from '../support/store-program.ts';

t.setTimeout(7_200_000);

const SEED = Number(process.env['STORE_SEED'] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));
const SECONDS = Number(process.env['STORE_SECONDS'] ?? 0);
const PROGRAMS = SECONDS > 0 ? Infinity : Number(process.env['STORE_PROGRAMS'] ?? 10);
/** Of the first program. */
let story: readonly string[] = [];

/** Programs in a thread of their own: tap looks at each promise of its thread, which costs as much again. */
function programs(t: Test): (seed: number) => Promise<StoreOutcome> {
  const thread = new Worker(new URL('../support/store-program-worker.ts', import.meta.url));
  t.teardown(() => thread.terminate());
  return async (seed) => {
    const over = new AbortController();
    const { signal } = over;
    thread.postMessage(seed);
    try {
      const exit = once(thread, 'exit', { signal }).then(([code]) => {
        throw new Error(`the thread ended amid seed ${seed} with ${code}`);
      });
      const [outcome] = (await Promise.race([once(thread, 'message', { signal }), exit])) as [StoreOutcome];
      return outcome;
    } finally {
      over.abort();
    }
  };
}

t.test('whatever happens to a store, spans stay and count once', async (t) => {
  t.comment(`STORE_SEED=${SEED}`);
  const runProgram = programs(t);
  const endsAtMs = performance.now() + SECONDS * 1000;
  let ran = 0;
  const total: Record<string, number> = {};
  for (; ran < PROGRAMS && (SECONDS === 0 || performance.now() < endsAtMs); ran++) {
    const seed = (SEED + ran * 7919) % 0x7fffffff;
    const outcome = await runProgram(seed);
    const { wrong, counts } = outcome;
    if (ran === 0) ({ story } = outcome);
    for (const [what, count] of Object.entries(counts)) total[what] = (total[what] ?? 0) + count;
    if (wrong.length > 0) {
      t.comment(`STORE_SEED=${seed} STORE_PROGRAMS=1 has this story:`);
      for (const line of outcome.story) t.comment(line);
      t.strictSame(wrong, []);
      return;
    }
  }
  t.comment(`${ran} programs: ${JSON.stringify(total)}`);
  t.ok(total['whole answers']! > ran, 'most answers are whole');
});

t.test('a seed tells everything', async (t) => {
  const again = await programs(t)(SEED);
  t.ok(story.length > 100);
  t.strictSame(again.story, story);
});
