// Requests that are answered otherwise than by real Tempo on purpose, and are no query that random ones could
// contain: each stands in docs/decisions/deviations.md.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { loadCorpus } from './corpus.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';

const TIMEOUT_MS = 300_000;
const ENTRIES = readFileSync(new URL('../../docs/decisions/deviations.md', import.meta.url), 'utf8');
/** As the entries have them; `<id>` is that of a trace, and what lies in the range is asked for. */
const REQUESTS: readonly string[] = [
  '/api/traces/<id>?mode=external',
  '/api/v2/search/tag/name/values?q={kind=producer||kind=consumer}',
  '/api/v2/search/tags?scope=span&q={kind=server}',
  '/api/v2/search/tag/span:id/values',
  '/api/v2/search/tags?limit=1',
  '/api/metrics/query_range?q={}|rate()&start=soon',
  '/api/search?tags=app.flags=beta',
];

/** The status and, of a list, its members in one order. */
async function answer(tempo: RunningTempo, path: string): Promise<string> {
  const response = await tempo.get(path);
  const text = await response.text();
  if (response.status !== 200) return `status ${response.status}`;
  const body = JSON.parse(text, (_, value: unknown) =>
    Array.isArray(value) ? value.map((one) => JSON.stringify(one)).toSorted() : value,
  ) as Record<string, unknown>;
  const { metrics: _, ...rest } = body;
  return JSON.stringify(rest);
}

t.setTimeout(TIMEOUT_MS);
await t.test('requests of the deviations', { timeout: TIMEOUT_MS }, async (t) => {
  const data = testFolder(t, { ours: {}, real: {} });
  const corpus = loadCorpus();
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  copyBlocks(ours.data, join(data, 'real'));
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  for (const request of REQUESTS) {
    t.ok(ENTRIES.includes(`\`${request}\``), `${request} stands in an entry`);
    const [path, params = ''] = request.replace('<id>', corpus.traceIds[0]!).split('?') as [string, string?];
    const asked = new URLSearchParams(params);
    if (!asked.has('start')) asked.set('start', String(corpus.startSec));
    asked.set('end', String(corpus.endSec));
    if (path === '/api/search') asked.set('limit', '1000');
    const url = `${path}?${asked.toString()}`;
    const [mine, theirs] = [await answer(ours, url), await answer(real, url)];
    t.not(mine, theirs, `${request}: ${mine.slice(0, 300)}`);
  }
});
