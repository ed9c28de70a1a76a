// Real Tempo on our data folder answers as we do, and finds our blocks by our tenant index.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { askSearches, askTraces, countFound, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { DEVIATIONS, SEARCHES } from './searches.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

const corpus = loadCorpus();
const data = testFolder(t, { ours: {}, whole: {}, json: {}, protobuf: {} });
const deviating = Object.values(DEVIATIONS).flat();
const ours = await startOurs(join(data, 'ours'));
t.teardown(() => ours.kill());
await push(ours, corpus);
await flush(ours);
await untilBlocksHold(ours.data, corpus.traceIds.length);
await untilPolled(ours);
const traces = await askTraces(ours, corpus);
const searches = await askSearches(ours, corpus, SEARCHES);
const otherwise = await askSearches(ours, corpus, deviating);
await ours.stop();

/** All at once: each takes a quarter of a minute. */
const [onWhole, onJson, onProtobuf] = await Promise.all([
  startOn('whole'),
  startOn('json', 'index.pb.zst'),
  startOn('protobuf', 'index.json.gz'),
]);

/** @param without a form of the tenant index that is deleted: then the other has to be read. */
async function startOn(name: string, without?: string): Promise<RunningTempo> {
  const folder = join(data, name);
  if (without === undefined) {
    cpSync(ours.data, folder, { recursive: true });
    return startKilled(folder, {});
  }
  copyBlocks(ours.data, folder);
  rmSync(join(folder, 'blocks', 'single-tenant', without));
  return startKilled(folder, { INDEX_BUILDERS: '0' });
}

async function startKilled(folder: string, env: Readonly<Record<string, string>>): Promise<RunningTempo> {
  const real = await startReal(folder, env);
  t.teardown(() => real.kill());
  await untilPolled(real);
  return real;
}

/** What Tempo complains of, but for queries that are refused. */
function errorLines(real: RunningTempo): string[] {
  const lines = real.output().split('\n');
  return lines.filter((line) => /level=(error|fatal)/.test(line) && !line.includes('invalid TraceQL query'));
}

await t.test('on a copy of our data folder', { timeout: TIMEOUT_MS }, async (t) => {
  const found = await askSearches(onWhole, corpus, SEARCHES);
  t.ok(countFound(found) > 0);
  t.strictSame(differences(traces, await askTraces(onWhole, corpus)), [], 'trace by id');
  t.strictSame(differences(searches, found), [], 'searches');
  const foundOtherwise = await askSearches(onWhole, corpus, deviating);
  const alike = deviating.filter((query) => otherwise.get(query) === foundOtherwise.get(query));
  // what vParquet5 has a column for is found by Tempo too
  const known = process.env['BLOCK_VERSION'] === 'vParquet5' ? DEVIATIONS['Child count']! : [];
  if (corpus.isMade) t.strictSame(alike, known, 'deviations that are none any more');
  t.strictSame(errorLines(onWhole), []);
});

for (const [form, real] of Object.entries({ json: onJson, protobuf: onProtobuf })) {
  await t.test(`by the tenant index as ${form}`, async (t) => {
    const found = await askSearches(real, corpus, ['{ }']);
    t.equal(found.get('{ }'), searches.get('{ }'));
    t.strictSame(errorLines(real), []);
  });
}
