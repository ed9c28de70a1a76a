// Random metrics queries: real Tempo on our blocks computes what we compute, from heads and blocks alike, but
// where docs/decisions/deviations.md says otherwise. RANDOM_SEED=N, RANDOM_QUERIES=N and CORPUS_SEED=N.
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import { testFolder } from '../support/test-folder.ts';
import { loadCorpus } from './corpus.ts';
import {
  alikeInTempo,
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
/** Asked each time, beside random ones; without a number any of equally frequent values are shown. */
const COMPARED: readonly string[] = [
  '{ } | compare({ status = error })',
  '{ } | compare({ status = error }, 5000)',
  '{ kind = client } | compare({ span.db.rows > 500 || resource.service.name = "cart" }, 5000)',
  '{ } >> { kind = client } | compare({ name =~ "SELECT .*" && traceDuration > 100ms }, 5000)',
  '{ } | compare({ .region = "us-east-1" || instrumentation:name = "otelsql" }, 5000)',
];
/** Of each of them so many are compared. */
const SERIES_MIN = 40;

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
  t.strictSame(inHead.differencesTo(theirs, alikeInTempo), [], 'ours and Tempo');
  const [from, to] = [corpus.startSec + 60, corpus.startSec + 240].map((sec) => `${sec}000000000`);
  const timed = `{ } | compare({ duration > 50ms }, 5000, ${from}, ${to})`;
  // over vParquet5 Tempo takes rounded times for the selection
  const compared = process.env['BLOCK_VERSION'] === 'vParquet5' ? COMPARED : [...COMPARED, timed];
  for (const query of compared) {
    const [mine, other] = [await askMetrics(ours, corpus, query), await askMetrics(real, corpus, query)];
    const alike = alikeInTempo(query, mine);
    t.equal(metricsDifference(alike, alikeInTempo(query, other)), undefined, query);
    t.ok(typeof alike !== 'string' && alike.size > SERIES_MIN, `${query}: ${JSON.stringify(alike)}`);
  }
  for (const query of Object.values(METRICS_DEVIATIONS).flat()) {
    const what = metricsDifference(
      await askMetrics(ours, corpus, query),
      await askMetrics(real, corpus, query),
    );
    t.ok(what, `${query} is a deviation`);
  }
});
