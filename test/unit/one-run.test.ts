// Work that several want at the same time is done once, whoever of them leaves.
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { OneRun } from '../../src/lib/one-run.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test('what is under way is waited for', async (t) => {
  const once = new OneRun<number>();
  const runs: PromiseWithResolvers<number>[] = [];
  const work = (): Promise<number> => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return run.promise;
  };
  const leaver = new AbortController();
  const first = once.run('a', work);
  const second = once.run('a', work);
  const third = once.run('a', work, leaver.signal);
  const other = once.run('b', work);
  await turn();
  t.equal(runs.length, 2);
  leaver.abort(new Error('left'));
  await t.rejects(third, /left/, 'who leaves waits no more');
  await t.rejects(once.run('a', work, leaver.signal), /left/);
  runs[0]!.resolve(1);
  runs[1]!.resolve(2);
  t.same(await Promise.all([first, second, other]), [1, 1, 2]);

  const failing = once.run('a', work);
  const waiting = [once.run('a', work), once.run('a', work)];
  await turn();
  t.equal(runs.length, 3, 'it is not kept');
  runs[2]!.reject(new TempoError('cancelled', 'its client left'));
  await t.rejects(failing, /its client left/);
  await turn();
  t.equal(runs.length, 4, 'one of those that waited runs it');
  runs[3]!.resolve(4);
  t.same(await Promise.all(waiting), [4, 4]);

  const all = [once.run('a', work), once.run('a', work), once.run('a', work)];
  runs[4]!.reject(new TempoError('deadline_exceeded', 'too slow'));
  for (const each of await Promise.allSettled(all)) {
    t.match(each, { status: 'rejected', reason: { code: 'deadline_exceeded' } }, 'a failure is that of all');
  }
  t.equal(runs.length, 5);
});
