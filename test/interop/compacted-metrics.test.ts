// Metrics over blocks without replicas that Tempo wrote and we compacted: Tempo computes of them what we do
// before and after, and what it computes of one block of its own. RANDOM_SEED=N and RANDOM_QUERIES=N.
import { join } from 'node:path';
import t from 'tap';
import type { RunningTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { loadCorpus } from './corpus.ts';
import { alikeInTempo, forMetrics, isAlike, MetricsAnswers, randomMetrics } from './metrics-answers.ts';
import { blockMetas, copyBlocks, pushInParts, startOurs, startReal, until, untilPolled } from './programs.ts';

const SEED = Number(process.env['RANDOM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env['RANDOM_QUERIES'] ?? 300);
const TIMEOUT_MS = 900_000;
const BLOCKS = 4;
/** Tempo numbers spans as stored, and we by their start; several roots compete for a trace's names. */
const OTHERWISE = /nestedSet|root/i;

t.setTimeout(TIMEOUT_MS);
await t.test('metrics after compaction', { timeout: TIMEOUT_MS }, async (t) => {
  const queries = randomMetrics(SEED, COUNT).filter(isAlike);
  t.comment(`RANDOM_SEED=${SEED} RANDOM_QUERIES=${COUNT}: ${queries.length} are compared`);
  const data = testFolder(t, { whole: {}, whole1: {}, parts: {}, ours: {}, back: {} });
  const corpus = loadCorpus();
  const start = async (name: string): Promise<RunningTempo> => {
    const real = await startReal(join(data, name));
    t.teardown(() => real.kill());
    return real;
  };
  const ask = (tempo: RunningTempo): Promise<MetricsAnswers> => MetricsAnswers.of(tempo, corpus, queries);
  const parts = await start('parts');
  await pushInParts(parts, corpus, BLOCKS);
  copyBlocks(parts.data, join(data, 'ours'));
  forMetrics(join(data, 'ours'));

  const uncompacted = await startOurs(join(data, 'ours'));
  t.teardown(() => uncompacted.kill());
  await untilPolled(uncompacted);
  const before = await ask(uncompacted);
  t.ok(before.withSeries > queries.length * 0.3, `${before.withSeries} have series`);
  await uncompacted.stop();
  const ours = await startOurs(join(data, 'ours'), undefined, { COMPACTION_CYCLE: '200ms' });
  t.teardown(() => ours.kill());
  await until('one block', async () => blockMetas(ours.data).length === 1);
  await untilPolled(ours);
  t.strictSame(before.differencesTo(await ask(ours)), [], 'ours as before');
  await ours.stop();

  copyBlocks(ours.data, join(data, 'back'));
  const back = await start('back');
  await untilPolled(back);
  const after = await ask(back);
  t.strictSame(before.differencesTo(after, alikeInTempo), [], 'Tempo on what we compacted');

  // Of parts of a trace in several blocks Tempo knows nothing of each other: it is compared where it has one.
  const whole = await start('whole');
  await pushInParts(whole, corpus, 1);
  copyBlocks(whole.data, join(data, 'whole1'));
  forMetrics(join(data, 'whole1'));
  const single = await start('whole1');
  await untilPolled(single);
  const lines = after.differencesTo(await ask(single), alikeInTempo).filter((line) => !OTHERWISE.test(line));
  t.strictSame(lines, [], 'Tempo on one block of its own');
});
