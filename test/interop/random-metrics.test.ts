// Random metrics queries: real Tempo on our blocks computes what we compute, from heads and blocks alike, but
// where docs/decisions/deviations.md says otherwise. RANDOM_SEED=N, RANDOM_QUERIES=N and CORPUS_SEED=N.
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import { testFolder } from '../support/test-folder.ts';
import { loadCorpus } from './corpus.ts';
import {
  askMetrics,
  forMetrics,
  isAlike,
  MetricsAnswers,
  metricsDifference,
  randomMetrics,
} from './metrics-answers.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { METRICS_DEVIATIONS } from './searches.ts';

const SEED = Number(process.env['RANDOM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env['RANDOM_QUERIES'] ?? 1000);
const TIMEOUT_MS = 900_000;
const FOUND_SHARE_MIN = 0.3;

const queries = randomMetrics(SEED, COUNT);
const alike = queries.filter(isAlike);

t.setTimeout(TIMEOUT_MS);
await t.test('random metrics queries', { timeout: TIMEOUT_MS }, async (t) => {
  t.comment(`RANDOM_SEED=${SEED} RANDOM_QUERIES=${COUNT}: ${alike.length} are compared with Tempo`);
  const data = testFolder(t, { ours: {}, real: {} });
  const corpus = loadCorpus();
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  const inHead = await MetricsAnswers.of(ours, corpus, queries);
  t.ok(inHead.withSeries > COUNT * FOUND_SHARE_MIN, `${inHead.withSeries} have series`);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  const inBlocks = await MetricsAnswers.of(ours, corpus, queries);
  t.strictSame(inHead.differencesTo(inBlocks), [], 'head and blocks');

  copyBlocks(ours.data, join(data, 'real'));
  forMetrics(join(data, 'real'));
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  const theirs = await MetricsAnswers.of(real, corpus, alike);
  t.strictSame(inHead.differencesTo(theirs), [], 'ours and Tempo');
  for (const query of Object.values(METRICS_DEVIATIONS).flat()) {
    const what = metricsDifference(
      await askMetrics(ours, corpus, query),
      await askMetrics(real, corpus, query),
    );
    t.ok(what, `${query} is a deviation`);
  }
});
