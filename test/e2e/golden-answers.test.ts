// Recorded answers of real Tempo, asked of the running server: over the blocks that Tempo wrote of the same
// spans in three formats, and over our own head and block of them.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { canonical, canonicalTrace } from '../support/canonical.ts';
import { goldenAnswers } from '../support/golden-blocks.ts';
import { GOLDEN_DEVIATIONS } from '../support/golden-deviations.ts';
import { decodeTraces, encodeTraces } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { startTempo, type RunningTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

interface Answer {
  readonly traces?: readonly { readonly traceID: string; readonly startTimeUnixNano: string }[];
}

/** By tenant, the folder of the block that it has. */
const BLOCKS: Readonly<Record<string, string>> = {
  v4: 'vparquet4',
  v5: 'vparquet5-2.10',
  'v5-of-3': 'vparquet5-3.0',
};
const OURS = 'ours';
const IN_PARTS = 'in-parts';
/** Its blocks. */
const PARTS = 8;

/** Their limit is below the number of matches: Tempo answers with any, we with the newest. */
const LIMITED = /^(?!fuzz-).*-20$/;

const GOLDENS = ['read', 'random-search', 'metrics', 'random-metrics'].flatMap(goldenAnswers);

function copyBlocks(data: string): void {
  for (const [tenant, name] of Object.entries(BLOCKS)) {
    const from = fileURLToPath(new URL(`../golden/${name}`, import.meta.url));
    const meta = JSON.parse(readFileSync(join(from, 'meta.json'), 'utf8')) as { readonly blockID: string };
    const to = join(data, 'blocks', tenant, meta.blockID);
    mkdirSync(to, { recursive: true });
    for (const object of ['data.parquet', 'bloom-0']) copyFileSync(join(from, object), join(to, object));
    writeFileSync(join(to, 'meta.json'), JSON.stringify({ ...meta, tenantID: tenant }));
  }
}

/** The answer in the form of the recorded ones. */
async function ask(tempo: RunningTempo, tenant: string, request: string): Promise<Answer> {
  const response = await fetch(tempo.url + request, { headers: { 'x-scope-orgid': tenant } });
  const text = await response.text();
  const partial = response.headers.get('x-tempo-partial');
  if (response.status !== 200 || partial !== null)
    throw new Error(`${request}: ${response.status} ${partial} ${text}`);
  const body = JSON.parse(text) as unknown;
  return (request.includes('/traces/') ? canonicalTrace(body) : canonical(body)) as Answer;
}

/** What an answer with a limit must be: the newest of all. */
async function newest(tempo: RunningTempo, tenant: string, request: string): Promise<Answer> {
  const limit = Number(/limit=(\d+)/.exec(request)?.[1]);
  const { traces = [] } = await ask(tempo, tenant, request.replace(/limit=\d+/, 'limit=100000'));
  const byStart = traces.toSorted((a, b) =>
    BigInt(a.startTimeUnixNano) < BigInt(b.startTimeUnixNano) ? 1 : -1,
  );
  return canonical({ traces: byStart.slice(0, limit) }) as Answer;
}

/** Numbers to 12 digits: sums are made in another order than Tempo's. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'number' ? Number(part.toPrecision(12)) : part,
  );
}

const digestOf = (text: string): string => createHash('sha1').update(text).digest('hex');

/** Of the texts of recorded answers, which are as large as all memory should be. */
const recordedDigests = new Map<unknown, string>();

function recordedDigest(want: unknown): string {
  let digest = recordedDigests.get(want);
  if (digest === undefined) recordedDigests.set(want, (digest = digestOf(textOf(canonical(want)))));
  return digest;
}

async function compare(t: Test, tempo: RunningTempo, tenant: string): Promise<void> {
  for (const { name, request, status, want } of GOLDENS) {
    // Tempo has no answer that is this large: once is enough.
    if (status !== 200 && tenant !== OURS) continue;
    const got = textOf(await ask(tempo, tenant, request));
    if (status !== 200) t.ok(got.length > 16e6, name);
    else if (LIMITED.test(name)) t.equal(got, textOf(await newest(tempo, tenant, request)), name);
    else {
      const isAsRecorded = digestOf(got) === recordedDigest(want);
      if (name in GOLDEN_DEVIATIONS) t.notOk(isAsRecorded, `${name}: no deviation any more`);
      else if (isAsRecorded) t.pass(name);
      else t.equal(got, textOf(canonical(want)), `${name}: ${request}`);
    }
  }
}

/** All traces of a tenant, each a TracesData. */
async function tracesOf(tempo: RunningTempo, tenant: string): Promise<Uint8Array[]> {
  const all = '/api/search?q=%7B%7D&limit=100000&start=1795212987&end=1795213468';
  const { traces = [] } = await ask(tempo, tenant, all);
  const headers = { accept: 'application/protobuf', 'x-scope-orgid': tenant };
  const found: Uint8Array[] = [];
  for (const { traceID } of traces) {
    const response = await fetch(`${tempo.url}/api/traces/${traceID}`, { headers });
    found.push(new Uint8Array(await response.arrayBuffer()));
  }
  return found;
}

async function push(tempo: RunningTempo, tenant: string, traces: Iterable<Uint8Array>): Promise<void> {
  for (const body of traces) {
    const pushed = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': tenant },
      body: Buffer.from(body),
    });
    if (!pushed.ok) throw new Error(`push: ${pushed.status} ${await pushed.text()}`);
    await pushed.body?.cancel();
  }
}

/** A trace lies in as many of the blocks and the head as it has spans, and some spans lie in two of them. */
async function pushInParts(
  tempo: RunningTempo,
  tenant: string,
  traces: readonly Uint8Array[],
): Promise<void> {
  const spans = traces.map((trace) => decodeTraces(trace));
  const places = PARTS + 1;
  for (let place = 0; place < places; place++) {
    const isHere = (trace: number, i: number): boolean =>
      (trace + i) % places === place || (i % 10 === 0 && (trace + i + 1) % places === place);
    const part = spans
      .map((all, trace) => all.filter((_, i) => isHere(trace, i)))
      .filter((some) => some.length > 0)
      .map(encodeTraces);
    await push(tempo, tenant, part);
    if (place < PARTS) await flush(tempo);
  }
}

/** Blocks of a tenant in the backend, and whether one was compacted. */
function storedBlocks(data: string, tenant: string): { live: number; compacted: number } {
  const folder = join(data, 'blocks', tenant);
  const having = (name: string): number =>
    readdirSync(folder).filter((block) => existsSync(join(folder, block, name))).length;
  return { live: having('meta.json'), compacted: having('meta.compacted.json') };
}

t.setTimeout(400_000);

await t.test('answers as recorded', { timeout: 400_000 }, async (t) => {
  const data = testFolder(t);
  copyBlocks(data);
  const tempo = await startTempo(data, {
    yaml: `
multitenancy_enabled: true
compactor: { compaction: { block_retention: 876000h } }
overrides: { defaults: { compaction: { compaction_disabled: true } } }
query_frontend: { search: { max_duration: 0s }, metrics: { max_duration: 0s } }
`,
  });
  t.teardown(() => tempo.stop());
  for (const [tenant, block] of Object.entries(BLOCKS)) {
    await t.test(`over the block ${block}`, (t) => compare(t, tempo, tenant));
  }
  const traces = await tracesOf(tempo, 'v4');
  await push(tempo, OURS, traces);
  await t.test('over our head', (t) => compare(t, tempo, OURS));
  await flush(tempo);
  await t.test('over our block', (t) => compare(t, tempo, OURS));
  await pushInParts(tempo, IN_PARTS, traces);
  await t.test('over many of our blocks and a head', (t) => compare(t, tempo, IN_PARTS));
  t.strictSame(storedBlocks(data, IN_PARTS), { live: PARTS, compacted: 0 });
  t.notMatch(tempo.output(), /level=error/);
});
