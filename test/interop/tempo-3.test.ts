// Blocks that Grafana Tempo 3.0 wrote: we answer on them as it does, compact them, and it answers on the
// result as before. What is too old of them goes by our retention.
import { join } from 'node:path';
import t from 'tap';
import { setTimeout as pause } from 'node:timers/promises';
import type { RunningTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { type Answers, askSearches, askTraces, countFound, differences } from './answers.ts';
import { type Corpus, loadCorpus } from './corpus.ts';
import {
  alikeInTempo,
  isAlike,
  type MetricsAnswer,
  MetricsAnswers,
  randomMetrics,
} from './metrics-answers.ts';
import {
  blockMetas,
  copyBlocks,
  push,
  startOurs,
  startReal3,
  until,
  untilBlocksHold,
  untilPolled,
} from './programs.ts';
import { isRetained, MULTITENANT } from './retention.ts';
import { SEARCHES } from './searches.ts';

/** Its blocks are vParquet5. */
const alike = (query: string, answer: MetricsAnswer): MetricsAnswer =>
  alikeInTempo(query, answer, 'vParquet5');
const SEED = Number(process.env['RANDOM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env['RANDOM_QUERIES'] ?? 300);
const TIMEOUT_MS = 900_000;
const BLOCKS = 3;
/** It numbers spans as they are stored, and we by their start; several roots compete for a trace's names. */
const OTHERWISE = /nestedSet|root/i;

/** It compares elements of arrays otherwise than 2.10, and answers 500 where something is divided by zero. */
const UNLIKE_2_10 = /app\.(flags|shards|weights|switches)|process\.args|odd\.list|\/ 0/;
const asked = SEARCHES.filter((query) => !UNLIKE_2_10.test(query));

/** It sorts the events of a span in protobuf only; canonical JSON has them sorted. */
async function tracesOf(tempo: RunningTempo, corpus: Corpus): Promise<Answers> {
  return new Map([...(await askTraces(tempo, corpus))].filter(([asked]) => !asked.endsWith('as protobuf')));
}

/** It has no /flush: blocks are cut by time. */
async function pushInTurns(tempo: RunningTempo, corpus: Corpus): Promise<void> {
  const size = Math.ceil(corpus.requests.length / BLOCKS);
  for (let from = 0; from < corpus.requests.length; from += size) {
    const before = blockMetas(tempo.data).length;
    await push(tempo, { ...corpus, requests: corpus.requests.slice(from, from + size) });
    await until('a block', async () => blockMetas(tempo.data).length > before);
    await pause(3000);
  }
  await untilBlocksHold(tempo.data, corpus.traceIds.length);
  await untilPolled(tempo);
}

t.setTimeout(TIMEOUT_MS);
await t.test('on blocks of Tempo 3.0', { timeout: TIMEOUT_MS }, async (t) => {
  const corpus = loadCorpus();
  const queries = randomMetrics(SEED, COUNT).filter((query) => isAlike(query) && !UNLIKE_2_10.test(query));
  t.comment(`RANDOM_SEED=${SEED} RANDOM_QUERIES=${COUNT}: ${queries.length} are compared`);
  const data = testFolder(t, { whole: {}, ours: {}, parts: {}, back: {} });
  const start = async (name: string): Promise<RunningTempo> => {
    const real = await startReal3(join(data, name));
    t.teardown(() => real.kill());
    return real;
  };
  const whole = await start('whole');
  await push(whole, corpus);
  await untilBlocksHold(whole.data, corpus.traceIds.length);
  await untilPolled(whole);
  copyBlocks(whole.data, join(data, 'ours'));
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await untilPolled(ours);
  const searches = await askSearches(ours, corpus, asked);
  t.ok(countFound(searches) > 0);
  t.strictSame(differences(await tracesOf(ours, corpus), await tracesOf(whole, corpus)), [], 'trace by id');
  t.strictSame(differences(searches, await askSearches(whole, corpus, asked)), [], 'searches');
  const metrics = await MetricsAnswers.of(ours, corpus, queries);
  t.ok(metrics.withSeries > queries.length * 0.3, `${metrics.withSeries} have series`);
  t.strictSame(metrics.differencesTo(await MetricsAnswers.of(whole, corpus, queries), alike), [], 'metrics');
  await ours.stop();

  const parts = await start('parts');
  await pushInTurns(parts, corpus);
  copyBlocks(parts.data, join(data, 'back'));
  const compacting = await startOurs(join(data, 'back'), undefined, { COMPACTION_CYCLE: '200ms' });
  t.teardown(() => compacting.kill());
  await until('one block', async () => blockMetas(compacting.data).length === 1);
  await untilPolled(compacting);
  const traces = await tracesOf(compacting, corpus);
  const compacted = await askSearches(compacting, corpus, asked);
  const computed = await MetricsAnswers.of(compacting, corpus, queries);
  await compacting.stop();
  t.notMatch(compacting.output(), /level=error/);
  const back = await start('back');
  await untilPolled(back);
  t.strictSame(differences(traces, await tracesOf(back, corpus)), [], 'trace by id after compaction');
  t.strictSame(differences(compacted, await askSearches(back, corpus, asked)), [], 'searches after it');
  const after = await MetricsAnswers.of(back, corpus, queries);
  t.strictSame(computed.differencesTo(after, alike), [], 'metrics after it');
  t.strictSame(differences(traces, await tracesOf(whole, corpus)), [], 'trace by id as before');
  t.strictSame(
    after
      .differencesTo(await MetricsAnswers.of(whole, corpus, queries), alike)
      .filter((line) => !OTHERWISE.test(line)),
    [],
    'metrics as before',
  );
});

await t.test('retention of blocks of Tempo 3.0', { timeout: TIMEOUT_MS }, (t) =>
  isRetained(t, { start: (data) => startReal3(data, MULTITENANT) }),
);
