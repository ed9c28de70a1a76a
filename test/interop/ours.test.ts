// Our answers are the same from the head, after /flush, and after a restart.
import t from 'tap';
import { flush } from '../support/read-api.ts';
import { askSearches, askTraces, countFound, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { push, startOurs } from './programs.ts';
import { DEVIATIONS, SEARCHES } from './searches.ts';
import { testFolder } from '../support/test-folder.ts';

const queries = [...SEARCHES, ...Object.values(DEVIATIONS).flat()];
/** Most searches must find something, or nothing is compared. */
const FOUND_MIN = 150;
const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

await t.test('head, blocks and a restart answer alike', { timeout: TIMEOUT_MS }, async (t) => {
  const corpus = loadCorpus();
  let ours = await startOurs(testFolder(t));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  const traces = await askTraces(ours, corpus);
  const searches = await askSearches(ours, corpus, queries);
  if (corpus.isMade)
    t.ok(countFound(searches) > FOUND_MIN, `${countFound(searches)} searches find something`);
  const compare = async (when: string): Promise<void> => {
    t.strictSame(differences(traces, await askTraces(ours, corpus)), [], `trace by id ${when}`);
    t.strictSame(differences(searches, await askSearches(ours, corpus, queries)), [], `searches ${when}`);
  };
  await flush(ours);
  await compare('after a flush');
  await ours.kill();
  ours = await startOurs(ours.data, ours.ports);
  await compare('after a restart');
  t.notMatch(ours.output(), /level=error/);
});
