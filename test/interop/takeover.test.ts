// Grafana Tempo is killed under load and we are started on its data folder: what Tempo itself finds after a
// restart (on a copy of the folder), we find by id and by search. And back: Tempo on the folder that we
// flushed.
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 900_000;
const LOAD_MS = 14_000;
const LOAD_PAUSE_MS = 250;
const TRACES_AT_ONCE = 6;
const ASKED_AT_ONCE = 8;
const TENANTS = ['one', 'two', 'three'];
const QUERIES = ['{ }', '{ span.n = 3 }', '{ resource.service.name = "shop" && name = "op-2" }'];
t.setTimeout(2 * TIMEOUT_MS);

/** Span ids by tenant and trace id. */
type Found = Map<string, readonly string[]>;

let nextTrace = 1;

/** Pushes until the server is gone; answers `tenant/trace id` of what was acknowledged. */
async function load(tempo: RunningTempo, isOver: () => boolean): Promise<string[]> {
  const acknowledged: string[] = [];
  const ofTenant = async (tenant: string): Promise<void> => {
    while (!isOver()) {
      const now = BigInt(Date.now()) * 1_000_000n;
      const ids = Array.from({ length: TRACES_AT_ONCE }, () => nextTrace++);
      const spans = ids.flatMap((id) =>
        aTrace(id, 3 + (id % 4), (i) => ({ startUnixNano: now, endUnixNano: now + BigInt(i) * 1_000_000n })),
      );
      const isTaken = await send(tempo, tenant, encodeTraces(spans));
      if (isTaken) acknowledged.push(...ids.map((id) => `${tenant}/${hexId(id, 16)}`));
      await pause(LOAD_PAUSE_MS);
    }
  };
  await Promise.all(TENANTS.map(ofTenant));
  return acknowledged;
}

async function send(tempo: RunningTempo, tenant: string, body: Uint8Array): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf', 'x-scope-orgid': tenant },
      body: Buffer.from(body),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false; // killed meanwhile
  }
}

async function ask(tempo: RunningTempo, tenant: string, path: string): Promise<unknown> {
  const response = await fetch(tempo.url + path, { headers: { 'x-scope-orgid': tenant } });
  const text = await response.text();
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text);
}

async function askTrace(tempo: RunningTempo, key: string): Promise<readonly string[]> {
  const [tenant = '', id] = key.split('/');
  const body = (await ask(tempo, tenant, `/api/traces/${id}`)) as
    | { batches: { scopeSpans: { spans: { spanId: string }[] }[] }[] }
    | undefined;
  const scopes = (body?.batches ?? []).flatMap(({ scopeSpans }) => scopeSpans);
  return scopes.flatMap(({ spans }) => spans.map(({ spanId }) => spanId)).toSorted();
}

/** What of the traces is found, and for each query the traces that are. */
async function findAll(tempo: RunningTempo, keys: readonly string[]): Promise<Found> {
  const found: Found = new Map();
  const rest = [...keys];
  const asker = async (): Promise<void> => {
    for (let key = rest.pop(); key !== undefined; key = rest.pop()) {
      const spans = await askTrace(tempo, key);
      if (spans.length > 0) found.set(key, spans);
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, asker));
  for (const tenant of TENANTS) {
    for (const q of QUERIES) {
      const end = Math.ceil(Date.now() / 1000);
      const query = new URLSearchParams({ q, limit: '100000', start: `${end - 3000}`, end: `${end}` });
      const body = (await ask(tempo, tenant, `/api/search?${query.toString()}`)) as {
        traces: { traceID: string }[];
      };
      found.set(`${tenant} ${q}`, body.traces.map(({ traceID }) => traceID.padStart(32, '0')).toSorted());
    }
  }
  return found;
}

/** What `other` lacks of `all`. */
function missing(all: Found, other: Found): string[] {
  return [...all].flatMap(([key, values]) => {
    const there = new Set(other.get(key));
    return values.filter((value) => !there.has(value)).map((value) => `${key}: ${value}`);
  });
}

const start = (data: string, version: string, program?: string): Promise<RunningTempo> =>
  startTempo(data, {
    configFile: 'test/interop/takeover.yaml',
    args: ['-config.expand-env=true'],
    env: { BLOCK_VERSION: version },
    ...(program === undefined ? {} : { program }),
  });

const realProgram = process.env['TEMPO_BIN'];
if (realProgram === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');

const walFolders = (data: string): string[] =>
  readdirSync(join(data, 'wal')).filter((name) => name.includes('+'));

interface LocalBlock {
  readonly path: string;
  readonly key: string;
  readonly flushed: boolean;
}

/** Local blocks: with and without the marker that they are uploaded. */
function localBlocks(data: string): LocalBlock[] {
  const root = join(data, 'wal/blocks');
  return readdirSync(root).flatMap((tenant) =>
    readdirSync(join(root, tenant)).map((id) => {
      const path = join(root, tenant, id);
      return { path, key: `${tenant}/${id}`, flushed: existsSync(join(path, 'flushed')) };
    }),
  );
}

/** Takes one uploaded block back to just before its upload: that moment is too short to be hit. */
function undoUpload(data: string): void {
  const block = localBlocks(data).find(({ flushed }) => flushed);
  if (block === undefined) throw new Error('no local block is uploaded');
  rmSync(join(block.path, 'flushed'));
  rmSync(join(data, 'blocks', block.key), { recursive: true });
}

for (const version of ['vParquet4', 'vParquet5']) {
  await t.test(`taking over from ${version} and back`, { timeout: TIMEOUT_MS }, async (t) => {
    const data = testFolder(t, { left: {} });
    const folder = (name: string): string => join(data, name);
    const real = await start(folder('left'), version, realProgram);
    t.teardown(() => real.kill());
    let isOver = false;
    const pushing = load(real, () => isOver);
    await pause(LOAD_MS);
    await real.kill();
    isOver = true;
    const pushed = await pushing;
    undoUpload(folder('left'));
    const left = localBlocks(folder('left'));
    const uploaded = left.filter(({ flushed }) => flushed).length;
    t.ok(uploaded > 0);
    t.comment(
      `${pushed.length} traces pushed; left: ${walFolders(folder('left')).length} wal folders, ` +
        `${uploaded} uploaded and ${left.length - uploaded} other blocks`,
    );
    t.ok(walFolders(folder('left')).length >= TENANTS.length);
    cpSync(folder('left'), folder('theirs'), { recursive: true });
    cpSync(folder('left'), folder('ours'), { recursive: true });

    const again = await start(folder('theirs'), version, realProgram);
    t.teardown(() => again.kill());
    const theirs = await findAll(again, pushed);
    await again.kill();
    t.ok(theirs.size > pushed.length / 2, `Tempo finds ${theirs.size} of ${pushed.length}`);

    let ours = await start(folder('ours'), version);
    t.teardown(() => ours.kill());
    const mine = await findAll(ours, pushed);
    t.strictSame(missing(theirs, mine), [], 'what Tempo finds, we find');
    t.comment(`we find ${mine.size}, Tempo ${theirs.size}, more: ${missing(mine, theirs).length}`);
    t.strictSame(walFolders(folder('ours')), []);
    t.notMatch(ours.output(), /level=error/);

    const flushed = await fetch(`${ours.url}/flush`, { method: 'POST' });
    t.equal(flushed.status, 204);
    await ours.kill();
    cpSync(folder('ours'), folder('back'), { recursive: true });
    const back = await start(folder('back'), version, realProgram);
    t.teardown(() => back.kill());
    t.strictSame(missing(mine, await findAll(back, pushed)), [], 'what we found, Tempo finds');
    t.notMatch(back.output(), /level=error|removing|failed validation/);
    await back.kill();

    // Without /flush: what only our log has survives that Tempo runs on the folder.
    ours = await start(folder('ours'), version);
    let isEnough = false;
    const pushingMore = load(ours, () => isEnough);
    await pause(4 * LOAD_PAUSE_MS);
    await ours.kill();
    isEnough = true;
    const logged = await pushingMore;
    const between = await start(folder('ours'), version, realProgram);
    t.teardown(() => between.kill());
    await between.stop();
    ours = await start(folder('ours'), version);
    const all = await findAll(ours, [...pushed, ...logged]);
    t.strictSame(
      logged.filter((key) => !all.has(key)),
      [],
      'acknowledged before Tempo ran on the folder',
    );
    t.strictSame(missing(mine, all), []);
    await ours.kill();
  });
}
