// Blocks of real Tempo that we compact: both answer over the result as Tempo did before. And Tempo compacts
// blocks of ours. What is too old of Tempo's blocks goes by our retention.
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { decodeTraces } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { type Answers, askSearches, askTraces, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { blockMetas, copyBlocks, pushInParts, startOurs, startReal, until, untilPolled } from './programs.ts';
import { isRetained, MULTITENANT } from './retention.ts';
import { SEARCHES } from './searches.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 900_000;
t.setTimeout(TIMEOUT_MS);

const COMPACTING = { COMPACTION_CYCLE: '200ms' };
const BLOCKS = 4;
const corpus = loadCorpus();

const untilOneIsLeft = async (tempo: RunningTempo): Promise<void> => {
  await until('one block', async () => blockMetas(tempo.data).length === 1);
  await untilPolled(tempo);
};

async function answersOf(tempo: RunningTempo): Promise<readonly [Answers, Answers]> {
  return [await askTraces(tempo, corpus), await askSearches(tempo, corpus, SEARCHES)];
}

function sameAnswers(t: Test, got: readonly Answers[], want: readonly Answers[], name: string): void {
  t.strictSame(differences(got[0]!, want[0]!), [], `${name}: trace by id`);
  t.strictSame(differences(got[1]!, want[1]!), [], `${name}: searches`);
}

interface Roots {
  readonly services: ReadonlySet<string>;
  readonly names: ReadonlySet<string>;
}

/** Of each trace with several spans without a parent: their services and names. */
function severalRoots(): ReadonlyMap<string, Roots> {
  const found = new Map<string, { services: Set<string>; names: Set<string>; spans: number }>();
  for (const request of corpus.requests) {
    for (const { traceId, parentSpanId, name, resource } of decodeTraces(request)) {
      if (parentSpanId !== '') continue;
      const id = traceId.replace(/^0+/, '');
      const roots = found.get(id) ?? { services: new Set(), names: new Set(), spans: 0 };
      const service = resource.attributes.find(([key]) => key === 'service.name')?.[1];
      roots.services.add(typeof service === 'string' ? service : '');
      roots.names.add(name);
      roots.spans++;
      found.set(id, roots);
    }
  }
  return new Map([...found].filter(([, { spans }]) => spans > 1));
}

/** Tempo numbers spans as they are stored, and we by their start. */
const NUMBERS = /nestedSet(Left|Right)/;

/**
 * Answers as they are but for the roots of such traces, which may be named after any of these spans, and
 * without those that show numbers of nested sets.
 */
function withAnyRoot(answers: Answers, several: ReadonlyMap<string, Roots>): Answers {
  const compared = [...answers].filter(([query]) => !NUMBERS.test(query));
  return new Map(compared.map(([query, text]) => [query, text.startsWith('{') ? form(query, text) : text]));

  function form(query: string, text: string): string {
    const body = JSON.parse(text) as { readonly traces?: readonly FoundTrace[] };
    const traces = (body.traces ?? []).flatMap((trace) => {
      const roots = several.get(trace.traceID);
      if (roots === undefined) return trace;
      const { rootServiceName = '', rootTraceName = '', ...rest } = trace;
      if (/rootName|rootServiceName/.test(query)) return [];
      const isOne = roots.services.has(rootServiceName) && roots.names.has(rootTraceName);
      return isOne ? rest : { ...rest, rootServiceName, rootTraceName };
    });
    return JSON.stringify({ ...body, traces });
  }
}

interface FoundTrace {
  readonly traceID: string;
  readonly rootServiceName?: string;
  readonly rootTraceName?: string;
}

await t.test('we compact blocks of Tempo', { timeout: TIMEOUT_MS }, async (t) => {
  const data = testFolder(t, { real: {}, ours: {}, back: {} });
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await pushInParts(real, corpus, BLOCKS);
  copyBlocks(real.data, join(data, 'ours'));
  const ours = await startOurs(join(data, 'ours'), undefined, COMPACTING);
  t.teardown(() => ours.kill());
  await untilOneIsLeft(ours);
  const compacted = await answersOf(ours);
  await ours.stop();
  t.notMatch(ours.output(), /level=error/);
  copyBlocks(ours.data, join(data, 'back'));
  const back = await startReal(join(data, 'back'));
  t.teardown(() => back.kill());
  await untilPolled(back);
  sameAnswers(t, await answersOf(back), compacted, 'Tempo on what we compacted');
  // One block of all spans is what Tempo's own answers are compared with: it does not bring parts together.
  t.equal(compacted[0].size, (await askTraces(real, corpus)).size);
  t.strictSame(differences(compacted[0], await askTraces(real, corpus)), [], 'trace by id as before');
});

await t.test('Tempo compacts blocks of ours', { timeout: TIMEOUT_MS }, async (t) => {
  const data = testFolder(t, { real: {}, ours: {} });
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await pushInParts(ours, corpus, BLOCKS);
  const before = await answersOf(ours);
  copyBlocks(ours.data, join(data, 'real'));
  const real = await startReal(join(data, 'real'), COMPACTING);
  t.teardown(() => real.kill());
  await untilOneIsLeft(real);
  const after = await answersOf(real);
  // Tempo puts the name of one root beside the service of another when it brings parts together.
  const several = severalRoots();
  const forms = (answers: readonly Answers[]) => [answers[0]!, withAnyRoot(answers[1]!, several)];
  sameAnswers(t, forms(after), forms(before), 'Tempo on what it compacted');
  t.not(several.size, 0);
});

for (const version of ['vParquet4', 'vParquet5']) {
  await t.test(`retention of ${version} of Tempo`, { timeout: TIMEOUT_MS }, (t) =>
    isRetained(t, {
      start: (data) => startReal(data, { BLOCK_VERSION: version }, MULTITENANT),
      flush,
    }),
  );
}
