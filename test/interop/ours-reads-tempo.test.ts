// We answer as real Tempo does on the blocks that it wrote.
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import { askSearches, askTraces, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { DEVIATIONS, SEARCHES } from './searches.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

await t.test('on blocks of real Tempo', { timeout: TIMEOUT_MS }, async (t) => {
  const corpus = loadCorpus();
  const data = testFolder(t, { real: {}, ours: {} });
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await push(real, corpus);
  await flush(real);
  await untilBlocksHold(real.data, corpus.traceIds.length);
  await untilPolled(real);
  copyBlocks(real.data, join(data, 'ours'));
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await untilPolled(ours);
  t.strictSame(differences(await askTraces(ours, corpus), await askTraces(real, corpus)), [], 'trace by id');
  const [mine, theirs] = [
    await askSearches(ours, corpus, SEARCHES),
    await askSearches(real, corpus, SEARCHES),
  ];
  t.strictSame(differences(mine, theirs), [], 'searches');
  const deviating = Object.values(DEVIATIONS).flat();
  const partial = [...(await askSearches(ours, corpus, deviating)).values()].filter((text) =>
    text.startsWith('partial'),
  );
  t.strictSame(partial, [], 'deviating searches read every block');
  t.notMatch(ours.output(), /level=error/);
});
