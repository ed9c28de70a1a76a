// Random TraceQL: real Tempo on a copy of our data folder finds what we find, and our head, our blocks and a
// restart answer alike. What docs/decisions/deviations.md names is left out by rule. RANDOM_SEED=N and
// RANDOM_QUERIES=N for other queries, CORPUS_SEED=N for other spans.
import { join } from 'node:path';
import t from 'tap';
import { parse } from '../../src/traceql/parser.ts';
import { Chance } from '../support/fuzz.ts';
import { RandomQueries } from '../support/random-query.ts';
import { flush } from '../support/read-api.ts';
import { type Answers, askSearches, countFound, differences } from './answers.ts';
import { loadCorpus } from './corpus.ts';
import { deviationsOf } from './deviation-rules.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { VOCABULARY } from './vocabulary.ts';
import { testFolder } from '../support/test-folder.ts';

const SEED = Number(process.env['RANDOM_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const COUNT = Number(process.env['RANDOM_QUERIES'] ?? 1000);
const TIMEOUT_MS = 900_000;
/** Of all queries at least so many find something. */
const FOUND_SHARE_MIN = 0.3;
const DIGITS = 12;
const ROOTLESS = '<root span not yet received>';
/** How Tempo shows an event or link that is not there, and an attribute with a column of its own. */
const NOTHING = new Set([
  'event:name ',
  'event:timeSinceStart 0s',
  'link:spanID ',
  'link:spanID 0000000000000000',
  'link:traceID ',
]);

interface Shown {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

interface Body {
  readonly traces: readonly { readonly rootServiceName: string }[];
}

/** What is compared of an answer: without what Tempo shows of nothing. */
function compared(query: string, text: string): string {
  if (!text.startsWith('{')) return text;
  const { traces } = JSON.parse(text) as Body;
  const { ignoresRootless } = deviationsOf(parse(query));
  const kept = ignoresRootless ? traces.filter((trace) => trace.rootServiceName !== ROOTLESS) : traces;
  return JSON.stringify(kept, (key, value: unknown) => {
    // sums of floats depend on the order of spans in Tempo
    if (key === 'doubleValue') return Number(Number(value).toPrecision(DIGITS));
    if (key === 'spans') return (value as readonly object[]).map((span) => plainSpan(span)).toSorted();
    return value;
  });
}

function plainSpan(span: { readonly attributes?: readonly Shown[] }): string {
  const { attributes = [], ...others } = span;
  const isShown = ({ key, value }: Shown): boolean =>
    value.stringValue !== 'nil' && !NOTHING.has(`${key} ${value.stringValue}`);
  return JSON.stringify({ attributes: attributes.filter(isShown), ...others });
}

function comparedAll(answers: Answers): Answers {
  return new Map([...answers].map(([query, text]) => [query, compared(query, text)]));
}

const random = new RandomQueries(new Chance(SEED), VOCABULARY);
const queries = Array.from({ length: COUNT }, () => random.search());
const alike = queries.filter((query) => deviationsOf(parse(query)).headings.size === 0);

t.setTimeout(TIMEOUT_MS);
await t.test('random searches', { timeout: TIMEOUT_MS }, async (t) => {
  t.comment(`RANDOM_SEED=${SEED} RANDOM_QUERIES=${COUNT}: ${alike.length} are compared with Tempo`);
  const data = testFolder(t, { ours: {}, real: {} });
  const corpus = loadCorpus();
  let ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  const inHead = await askSearches(ours, corpus, queries);
  t.ok(countFound(inHead) > COUNT * FOUND_SHARE_MIN, `${countFound(inHead)} searches find something`);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  const inBlocks = await askSearches(ours, corpus, queries);
  t.strictSame(differences(inHead, inBlocks), [], 'head and blocks');
  await ours.kill();
  ours = await startOurs(ours.data, ours.ports);
  t.strictSame(differences(inBlocks, await askSearches(ours, corpus, queries)), [], 'after a restart');
  t.notMatch(ours.output(), /level=error/);

  copyBlocks(ours.data, join(data, 'real'));
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  const found = await askSearches(real, corpus, alike);
  const wanted = new Map(alike.map((query) => [query, inBlocks.get(query)!]));
  t.strictSame(differences(comparedAll(wanted), comparedAll(found)), [], 'ours and Tempo');
});
