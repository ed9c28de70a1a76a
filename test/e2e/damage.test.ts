// Damage on the disk: flipped bytes and missing objects of blocks, garbage in the data folder, a torn or
// damaged log, a full or read-only disk, two processes on one folder. What is sound is still answered, and
// the rest is told.
import fs from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const SPANS = 20;
/** Flips of data.parquet that are tried, spread evenly. */
const FLIPS = Number(process.env['DAMAGE_FLIPS'] ?? 20);
const TENANT = 'single-tenant';
const YAML = 'ingester: { complete_block_timeout: 100ms, flush_check_period: 100ms }';

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

async function pushTraces(tempo: RunningTempo, from: number, to: number): Promise<void> {
  const startUnixNano = now();
  for (let id = from; id < to; id++) {
    const spans = aTrace(id, SPANS, () => ({ startUnixNano, endUnixNano: startUnixNano + 1000n }));
    const { status } = await httpExport(tempo, encodeTraces(spans));
    if (status !== 200) throw new Error(`push: status ${status}`);
  }
}

type Answer = { readonly status: number; readonly text: string; readonly partial: string | null };

function flip(file: string, at: number): void {
  // Objects may be hard links of the ingester's copy, and both may be mapped elsewhere: write a new file.
  const bytes = fs.readFileSync(file);
  bytes[at] = bytes[at]! ^ 0xff;
  fs.rmSync(file);
  fs.writeFileSync(file, bytes);
}

/** A data folder with two blocks in the backend: traces 1 to 100 in the first, 101 to 200 in the second. */
async function twoBlocks(data: string): Promise<{ readonly first: string; readonly second: string }> {
  const tempo = await startTempo(data, { yaml: YAML });
  const folder = path.join(data, 'blocks', TENANT);
  const blocks = (): string[] => fs.readdirSync(folder).filter((name) => name.length === 36);
  await pushTraces(tempo, 1, 101);
  await flush(tempo);
  const [first] = blocks();
  await pushTraces(tempo, 101, 201);
  await flush(tempo);
  const second = blocks().find((name) => name !== first);
  await until(() => fs.readdirSync(path.join(data, 'wal/blocks', TENANT)).length === 0);
  await tempo.stop();
  return { first: path.join(folder, first!), second: path.join(folder, second!) };
}

type Damage = { readonly name: string; readonly object: string; readonly apply: (file: string) => void };

function damages(folder: string): Damage[] {
  const size = fs.statSync(path.join(folder, 'data.parquet')).size;
  const footer = fs.readFileSync(path.join(folder, 'data.parquet')).readUInt32LE(size - 8);
  const data = (name: string, at: number): Damage => ({
    name: `data.parquet: ${name} (byte ${at})`,
    object: 'data.parquet',
    apply: (file) => flip(file, at),
  });
  const whole = (object: string, name: string, apply: (file: string) => void): Damage => ({
    name: `${object}: ${name}`,
    object,
    apply,
  });
  return [
    ...Array.from({ length: FLIPS }, (_, i) =>
      data('somewhere', 4 + Math.floor((i * (size - footer - 12)) / FLIPS)),
    ),
    ...Array.from({ length: 10 }, (_, i) =>
      data('footer', size - 8 - footer + Math.floor((i * footer) / 10)),
    ),
    data('length of the footer', size - 8),
    data('magic at the end', size - 1),
    whole('data.parquet', 'cut in half', (file) => fs.truncateSync(file, size >> 1)),
    whole('data.parquet', 'empty', (file) => fs.truncateSync(file, 0)),
    whole('data.parquet', 'missing', (file) => fs.rmSync(file)),
    whole('bloom-0', 'missing', (file) => fs.rmSync(file)),
    whole('bloom-0', 'empty', (file) => fs.truncateSync(file, 0)),
    whole('bloom-0', 'cut', (file) => fs.truncateSync(file, 20)),
    whole('bloom-0', 'first byte', (file) => flip(file, 0)),
    whole('index', 'missing', (file) => fs.rmSync(file, { force: true })),
    whole('meta.json', 'a byte', (file) => flip(file, 3)),
    whole('meta.json', 'empty', (file) => fs.truncateSync(file, 0)),
    whole('meta.json', 'another shape', (file) => fs.writeFileSync(file, '{"blockID": 5}')),
  ];
}

/** Copies a block to a tenant of its own. */
function copyBlock(from: string, tenantFolder: string): string {
  const to = path.join(tenantFolder, path.basename(from));
  fs.cpSync(from, to, { recursive: true });
  const file = path.join(to, 'meta.json');
  const meta = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
  fs.writeFileSync(file, JSON.stringify({ ...meta, tenantID: path.basename(tenantFolder) }));
  return to;
}

const QUERIES = [
  '{}',
  '{ name = "op-3" }',
  '{ span.user.id = "user-3" && span.n > 5 }',
  '{ resource.service.name = "shop" } > { duration >= 0ns }',
  '{ .nothing = "there" || status = error || kind = client || rootName != "x" }',
];

t.test('damaged blocks', { timeout: 110_000 }, async (t) => {
  const data = testFolder(t);
  const { first, second } = await twoBlocks(data);
  const blocks = path.join(data, 'blocks');
  const cases = [{ name: 'no damage', object: 'index', apply: () => {} }, ...damages(first)];
  cases.forEach(({ object, apply }, i) => {
    const tenant = path.join(blocks, `t${i}`);
    // No cache of a thread knows the damaged copy: block ids are new.
    copyBlock(second, tenant);
    const damaged = copyBlock(first, tenant);
    const id = crypto.randomUUID();
    const moved = path.join(tenant, id);
    fs.renameSync(damaged, moved);
    const meta = path.join(moved, 'meta.json');
    fs.writeFileSync(meta, fs.readFileSync(meta, 'utf8').replace(path.basename(first), id));
    apply(path.join(moved, object));
  });
  fs.mkdirSync(path.join(blocks, 't0', 'no-block'));
  fs.mkdirSync(path.join(blocks, 't0', '00000000-0000-0000-0000-000000000000'));
  fs.mkdirSync(path.join(blocks, 'lost+found'));
  fs.writeFileSync(path.join(blocks, 'a-file'), 'garbage');
  fs.writeFileSync(path.join(blocks, 't0', 'index.json.gz'), 'garbage');
  fs.writeFileSync(path.join(blocks, 't0', 'index.pb.zst'), 'garbage');
  fs.writeFileSync(path.join(data, 'wal', 'garbage'), 'garbage');
  fs.mkdirSync(path.join(data, 'wal', 'blocks', 't0', 'garbage'), { recursive: true });
  const tempo = await startTempo(data, { yaml: 'multitenancy_enabled: true' });
  t.teardown(() => tempo.kill());
  const get = async (i: number, url: string): Promise<Answer> => {
    const response = await fetch(tempo.url + url, { headers: { 'x-scope-orgid': `t${i}` } });
    return {
      status: response.status,
      text: await response.text(),
      partial: response.headers.get('x-tempo-partial'),
    };
  };
  const find = (i: number, id: number): Promise<Answer> => get(i, `/api/v2/traces/${hexId(id, 16)}`);
  const searchFor = (i: number, q: string): Promise<Answer> =>
    get(i, `/api/search?limit=1000&q=${encodeURIComponent(q)}`);
  const ids = [1, 50, 100];
  const sound = new Map<string, string>();
  for (const id of [...ids, 150]) sound.set(`${id}`, traceOf(await find(0, id)));
  for (const q of QUERIES) sound.set(q, tracesOf(await searchFor(0, q)));
  const silent: string[] = [];
  for (const [i, { name }] of cases.entries()) {
    const wrong: string[] = [];
    const other = await find(i, 150);
    if (other.status !== 200 || traceOf(other) !== sound.get('150'))
      wrong.push(`the sound block: ${other.text.slice(0, 200)}`);
    for (const id of ids) {
      const answer = await find(i, id);
      if (answer.status === 500 && answer.text.startsWith('trace not found, and not all was read: block')) {
        if (i === 0) wrong.push(`trace ${id}: ${answer.text}`);
      } else if (answer.status !== 200) wrong.push(`by id: ${answer.status} ${answer.text.slice(0, 200)}`);
      else if (traceOf(answer) !== sound.get(`${id}`) && !answer.text.includes('"status":"PARTIAL"')) {
        if (i === 0 || answer.text.startsWith('{"trace":{}')) wrong.push(`trace ${id} is silently missing`);
        else silent.push(`${name}: trace ${id}`);
      }
    }
    for (const q of QUERIES) {
      const answer = await searchFor(i, q);
      if (answer.status !== 200) wrong.push(`${q}: ${answer.status} ${answer.text.slice(0, 200)}`);
      else if (tracesOf(answer) !== sound.get(q) && answer.partial === null) {
        silent.push(`${name}: ${q}`);
        if (i === 0) wrong.push(`${q} differs`);
      }
    }
    t.strictSame(wrong, [], name);
  }
  // Pages that are stored as they are have no checksum: a flipped bit there may be another value, as
  // in Tempo.
  const wrongly = silent.filter((text) => !text.includes('somewhere'));
  t.strictSame(wrongly, [], 'what is damaged is never answered as if it were sound');
  t.comment(`answers that differ and do not say so: ${silent.length}`);
  t.ok((await metric(tempo, 'tempo_querier_failed_sources_total')) > 0, 'a metric counts it');
  t.match(
    tempo.output(),
    /level=error msg="a source could not be read".*block_corrupt/,
    'and the log tells it',
  );
  t.match(tempo.output(), /level=error msg="block meta cannot be read"/);
  t.equal(await tempo.stop(), 0);
});

/** The trace of a v2 answer, without the metrics. */
function traceOf(answer: Answer): string {
  return answer.text.slice(0, answer.text.lastIndexOf(',"metrics"'));
}

function tracesOf(answer: Answer): string {
  return answer.text.slice(0, answer.text.lastIndexOf('],"metrics"'));
}
