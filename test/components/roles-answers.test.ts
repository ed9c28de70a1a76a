// Every role as a process of its own on a bucket of MinIO, as `npm run cluster` starts them, beside one
// process on a local disk: both take the same spans and answer the recorded questions alike, over heads, over
// blocks that ingesters still have, and over what the backend-worker made of blocks in the bucket.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { eachConcurrently } from '../../src/lib/concurrent.ts';
import { Cluster } from '../faults/cluster.ts';
import { canonical, canonicalTrace } from '../support/canonical.ts';
import { type Golden, goldenAnswers } from '../support/golden-blocks.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';
import { minioBucket, startMinio } from './clouds.ts';

t.setTimeout(600_000);

const GOLDEN_BLOCK = path.resolve(import.meta.dirname, '../golden/vparquet4');
/** Of the tenant whose spans are pushed as another's. */
const ALL = '/api/search?q=%7B%7D&limit=100000&start=1795212987&end=1795213468';
const SOURCE = 'source';
const TENANT = 'team';
const IN_FLIGHT = 4;
/** Of each file of recorded answers. */
const QUESTIONS_EACH = 40;
const TRACES_A_PUSH = 50;
const INGESTERS = ['ingester-0', 'ingester-1', 'ingester-2'] as const;
const NO_RETENTION = { compaction: { block_retention: '876000h' } };
const KEYS = {
  multitenancy_enabled: true,
  query_frontend: { search: { max_duration: '0s' }, metrics: { max_duration: '0s' } },
  compactor: NO_RETENTION,
  backend_worker: NO_RETENTION,
};
const ROUNDS = ['over heads', 'over blocks of ingesters and of the bucket', 'over the bucket'] as const;

/** Random ones are shared among the rounds, all others are asked in the first and the last. */
function questionsOf(round: number): readonly Golden[] {
  const usual = round === 1 ? [] : ['read', 'metrics'].flatMap(someOf);
  const random = ['random-search', 'random-metrics'].flatMap(someOf);
  return [...usual, ...random.filter((_, i) => i % ROUNDS.length === round)];
}

function someOf(file: string): readonly Golden[] {
  // What Tempo had no room for would be large here too.
  const all = goldenAnswers(file).filter(({ status }) => status === 200);
  const step = Math.max(1, Math.floor(all.length / QUESTIONS_EACH));
  return all.filter((_, i) => i % step === 0);
}

const folder = testFolder(t);
const aloneFolder = path.join(folder, 'alone');
copyBlock(path.join(aloneFolder, 'blocks', SOURCE));
const minio = await startMinio(path.join(folder, 'minio'));
t.teardown(() => minio.stop());
const cluster = await Cluster.create(path.join(folder, 'cluster'), {
  bucket: minioBucket(minio),
  keysOf: () => ({
    ...KEYS,
    // Heads are cut when the test says so.
    ingester: { max_block_duration: '10m', complete_block_timeout: '20s' },
  }),
});
t.teardown(() => cluster.end());
const [alone] = await Promise.all([startTempo(aloneFolder, { yaml: stringify(KEYS) }), cluster.startAll()]);
t.teardown(() => alone.kill());

function copyBlock(tenantFolder: string): void {
  const text = readFileSync(path.join(GOLDEN_BLOCK, 'meta.json'), 'utf8');
  const meta = JSON.parse(text) as { readonly blockID: string };
  const to = path.join(tenantFolder, meta.blockID);
  mkdirSync(to, { recursive: true });
  for (const object of ['data.parquet', 'bloom-0']) {
    copyFileSync(path.join(GOLDEN_BLOCK, object), path.join(to, object));
  }
  writeFileSync(path.join(to, 'meta.json'), JSON.stringify({ ...meta, tenantID: SOURCE }));
}

async function bytesOf(
  tempo: RunningTempo,
  tenant: string,
  request: string,
  accept: string,
): Promise<Buffer> {
  const response = await fetch(tempo.url + request, { headers: { accept, 'x-scope-orgid': tenant } });
  const body = Buffer.from(await response.arrayBuffer());
  const partial = response.headers.get('x-tempo-partial');
  if (response.status === 200 && partial === null) return body;
  throw new Error(`${tempo.url}${request}: ${response.status} ${partial ?? ''} ${body.toString()}`);
}

interface Answer {
  readonly text: string;
  readonly hasResults: boolean;
}

const hasResults = (form: unknown): boolean =>
  Object.values(form as object).some((part) => Array.isArray(part) && part.length > 0);

/** Order does not count, and sums are made in another order. */
async function answerOf(tempo: RunningTempo, request: string): Promise<Answer> {
  const text = (await bytesOf(tempo, TENANT, request, 'application/json')).toString();
  const formOf = request.includes('/traces/') ? canonicalTrace : canonical;
  const form = formOf(JSON.parse(text) as unknown);
  const rounded = (_: string, part: unknown): unknown =>
    typeof part === 'number' ? Number(part.toPrecision(12)) : part;
  return { text: JSON.stringify(form, rounded), hasResults: hasResults(form) };
}

async function pushAll(): Promise<number> {
  const found = await bytesOf(alone, SOURCE, ALL, 'application/json');
  const { traces } = JSON.parse(found.toString()) as { readonly traces: readonly { traceID: string }[] };
  const bodies = new Map<string, Buffer>();
  await eachConcurrently(traces, IN_FLIGHT, async ({ traceID }) => {
    bodies.set(traceID, await bytesOf(alone, SOURCE, `/api/traces/${traceID}`, 'application/protobuf'));
  });
  const all = [...bodies.values()];
  const headers = { 'x-scope-orgid': TENANT };
  for (let from = 0; from < all.length; from += TRACES_A_PUSH) {
    // Messages one after another are one with the spans of all.
    const body = Buffer.concat(all.slice(from, from + TRACES_A_PUSH));
    for (const tempo of [alone, cluster.at('distributor')]) {
      const { status, body: answer } = await httpExport(tempo, body, headers);
      if (status !== 200) throw new Error(`push: ${status} ${answer.toString()}`);
    }
  }
  return all.length;
}

async function compare(t: Test, round: number): Promise<void> {
  const questions = questionsOf(round);
  const wrong: string[] = [];
  let results = 0;
  await eachConcurrently(questions, IN_FLIGHT, async ({ name, request, want }) => {
    const here = await answerOf(alone, request);
    const there = await answerOf(cluster.at('query-frontend'), request);
    const both = `${name}: ${request}\n${here.text.slice(0, 300)}\n${there.text.slice(0, 300)}`;
    if (here.text !== there.text) wrong.push(both);
    // Some have more here: see the deviations.
    if (hasResults(want) && !there.hasResults) wrong.push(`no results: ${both}`);
    if (there.hasResults) results++;
  });
  t.same(wrong, [], `${questions.length} questions ${ROUNDS[round]}`);
  t.ok(results > questions.length / 2, `${results} of them have results`);
}

await t.test('answers are those of one process', async (t) => {
  t.equal(await pushAll(), 1070);
  await compare(t, 0);
  await Promise.all([alone, ...INGESTERS.map((name) => cluster.at(name))].map(flush));
  await compare(t, 1);
  const cleared = (): Promise<number[]> =>
    Promise.all(INGESTERS.map((name) => metric(cluster.at(name), 'tempo_ingester_blocks_cleared_total')));
  t.same(await cleared(), [0, 0, 0], 'ingesters had their blocks still');
  const isCleared = async (): Promise<boolean> => (await cleared()).every((count) => count > 0);
  t.ok(await until(isCleared, 60_000), 'ingesters have let go of their blocks');
  const joined = async (): Promise<boolean> =>
    (await metric(cluster.at('backend-worker'), 'tempodb_compaction_blocks_total')) > 0;
  t.ok(await until(joined, 60_000), 'blocks of several ingesters became one');
  await compare(t, 2);
});
