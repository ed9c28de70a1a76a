// Real memcached and redis: bytes come back from them, and whatever happens to them (killed, stopped, started
// again) costs no more than a timeout; a server on a bucket answers alike with them, without, and meanwhile.
import { randomBytes } from 'node:crypto';
import { globSync } from 'node:fs';
import * as path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import t, { type Test } from 'tap';
import { OuterCache } from '../../src/cache/outer-cache.ts';
import type { CacheSettings } from '../../src/cache/settings.ts';
import { freePort } from '../support/free-port.ts';
import { httpExport } from '../support/hostile.ts';
import { MEMCACHED, REDIS } from '../support/memcached-double.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { startMinio } from './clouds.ts';
import { type RunningComponent, startComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(400_000);
const scratch = testFolder(t);

const TIMEOUT_MS = 200;
/** On a machine that has other work. */
const SLACK_MS = 1500;
const WAIT_LIMIT_MS = 60_000;
const WAIT_PAUSE_MS = 20;

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endsAtMs = performance.now() + WAIT_LIMIT_MS;
  while (performance.now() < endsAtMs) {
    if (await isSo()) return;
    await pause(WAIT_PAUSE_MS);
  }
  throw new Error(`${what}: not within ${WAIT_LIMIT_MS} ms`);
}

interface CacheServer extends RunningComponent {
  readonly address: string;
  readonly again: () => Promise<CacheServer>;
}

async function startMemcached(t: Test, port: number): Promise<CacheServer> {
  const args = `-l 127.0.0.1 -p ${port} -U 0 -m 64 -u nobody`.split(' ');
  const server = await startComponent('MEMCACHED', args, { env: {}, port });
  t.teardown(() => server.stop());
  return { ...server, address: `127.0.0.1:${port}`, again: () => startMemcached(t, port) };
}

async function startRedis(t: Test, port: number, flags: readonly string[] = []): Promise<CacheServer> {
  const usual = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--dir', scratch];
  const server = await startComponent('REDIS', [...usual, ...flags], { env: {}, port });
  t.teardown(() => server.stop());
  return { ...server, address: `127.0.0.1:${port}`, again: () => startRedis(t, port, flags) };
}

async function opened(t: Test, client: CacheSettings['client']): Promise<OuterCache> {
  const settings = { name: 'all', roles: ['parquet-page'], writersMax: 10, queueLengthMax: 10_000 } as const;
  const cache = new OuterCache({ ...settings, client });
  await cache.open();
  t.teardown(() => cache.stop());
  return cache;
}

async function isThere(cache: OuterCache, key: string): Promise<boolean> {
  return (await cache.get('parquet-page', key)) !== undefined;
}

/** Values of many lengths go in and come back; one that is there is not another. */
async function holds(t: Test, cache: OuterCache): Promise<void> {
  const values = new Map(
    Array.from({ length: 200 }, (_, i) => [`t:b:data.parquet:${i}:1`, randomBytes(i * 491)] as const),
  );
  await until('it can be written to', async () => {
    cache.set('t:b:first', Buffer.from('x'));
    return isThere(cache, 't:b:first');
  });
  for (const [key, value] of values) cache.set(key, value);
  let wrong = 0;
  await until('all come back', async () => {
    const entries = [...values];
    const found = await Promise.all(entries.map(([key]) => cache.get('parquet-page', key)));
    const missing = entries.filter((_, i) => found[i] === undefined);
    wrong += entries.filter(([, value], i) => !value.equals(found[i] ?? value)).length;
    for (const [key, value] of missing) cache.set(key, value);
    return missing.length === 0;
  });
  t.equal(wrong, 0, 'byte for byte');
  const part = randomBytes(3_000_000);
  let whole: Uint8Array | undefined;
  await until('a large part', async () => {
    cache.setRange('t:b:data.parquet', 4, part);
    whole = await cache.getRange('parquet-page', 't:b:data.parquet', 4, part.length);
    return whole !== undefined;
  });
  t.ok(part.equals(whole ?? Buffer.alloc(0)), 'a large part, in pieces');
}

/** Stopped, it costs its timeout once; killed, nothing; and it is of use again when it is back. */
async function survives(t: Test, cache: OuterCache, server: CacheServer): Promise<void> {
  const [key, value] = ['t:b:bloom-7', randomBytes(100_000)];
  const comesBack = (): Promise<void> =>
    until('it is back', async () => {
      cache.set(key, value);
      return isThere(cache, key);
    });
  await comesBack();
  server.signal('SIGSTOP');
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: 100 }, () => cache.get('parquet-page', key)));
  for (let i = 0; i < 50; i++) t.notOk(await isThere(cache, key));
  const tookMs = performance.now() - beganMs;
  t.ok(tookMs < TIMEOUT_MS + SLACK_MS, `150 lookups of one that is stopped: ${Math.round(tookMs)} ms`);
  server.signal('SIGCONT');
  await comesBack();
  await server.stop();
  const goneMs = performance.now();
  for (let i = 0; i < 100; i++) t.notOk(await isThere(cache, key));
  t.ok(performance.now() - goneMs < SLACK_MS, 'one that is gone');
  await server.again();
  await comesBack();
}

t.test('memcached: three servers', async (t) => {
  const servers = await Promise.all([1, 2, 3].map(async () => startMemcached(t, await freePort())));
  const addresses = servers.map(({ address }) => address);
  const cache = await opened(t, { ...MEMCACHED, addresses, timeoutMs: TIMEOUT_MS });
  await holds(t, cache);
  const [server] = servers as [CacheServer];
  server.signal('SIGSTOP');
  const keys = Array.from({ length: 200 }, (_, i) => `t:b:data.parquet:${i}:1`);
  const beganMs = performance.now();
  const there: boolean[] = [];
  for (const key of keys) there.push(await isThere(cache, key));
  const tookMs = performance.now() - beganMs;
  const count = there.filter(Boolean).length;
  t.ok(count > 80 && count < 180, `${count} of 200 are on the two others`);
  t.ok(tookMs < 2 * TIMEOUT_MS + SLACK_MS, `${Math.round(tookMs)} ms`);
  server.signal('SIGCONT');
  const alone = await opened(t, { ...MEMCACHED, addresses: [server.address], timeoutMs: TIMEOUT_MS });
  await survives(t, alone, server);
});

t.test('memcached: a time to live, and a value that it does not take', async (t) => {
  const { address } = await startMemcached(t, await freePort());
  const cache = await opened(t, { ...MEMCACHED, addresses: [address], ttlMs: 1000 });
  cache.set('t:b:bloom-0', Buffer.from('x'));
  await until('it is there', () => isThere(cache, 't:b:bloom-0'));
  await until('it is gone', async () => !(await isThere(cache, 't:b:bloom-0')));
  cache.report();
  cache.set('t:b:large', randomBytes(3 << 20));
  await until('it is refused', async () => cache.report().lastFailure.includes('too large'));
  cache.set('t:b:small', Buffer.from('x'));
  await until('others are taken', () => isThere(cache, 't:b:small'));
});

t.test('redis: one server with a password', async (t) => {
  const server = await startRedis(t, await freePort(), ['--requirepass', 'secret']);
  const settings = { ...REDIS, endpoints: [server.address], timeoutMs: TIMEOUT_MS };
  const refused = await opened(t, settings);
  await until('a missing password is told', async () => /NOAUTH/.test(refused.report().lastFailure));
  const cache = await opened(t, { ...settings, password: 'secret', db: 3, ttlMs: 600_000 });
  await holds(t, cache);
  await survives(t, cache, server);
});

t.test('redis: the master that a sentinel names', async (t) => {
  const master = await startRedis(t, await freePort());
  const [host, port] = master.address.split(':');
  const file = path.join(
    testFolder(t, { 'sentinel.conf': `sentinel monitor traces ${host} ${port} 1\n` }),
    'sentinel.conf',
  );
  const sentinelPort = await freePort();
  const flags = [file, '--sentinel', '--bind', '127.0.0.1', '--port', String(sentinelPort)];
  const sentinel = await startComponent('REDIS', flags, { env: {}, port: sentinelPort });
  t.teardown(() => sentinel.stop());
  const endpoints = [`127.0.0.1:${sentinelPort}`];
  await holds(t, await opened(t, { ...REDIS, endpoints, masterName: 'traces', timeoutMs: TIMEOUT_MS }));
});

t.test('redis: a cluster', async (t) => {
  const nodes = await Promise.all(
    [1, 2, 3].map(async () => {
      const port = await freePort();
      const bus = await freePort();
      const flags = ['--cluster-enabled', 'yes', '--cluster-port', String(bus)];
      return {
        port,
        bus,
        server: await startRedis(t, port, [...flags, '--cluster-config-file', `nodes-${port}`]),
      };
    }),
  );
  const bounds = [0, 5461, 10_923, 16_384];
  for (const [i, { port }] of nodes.entries()) {
    const admin = new Redis({ port, host: '127.0.0.1' });
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', String(bounds[i]), String(bounds[i + 1]! - 1));
    for (const other of nodes) {
      await admin.call('CLUSTER', 'MEET', '127.0.0.1', String(other.port), String(other.bus));
    }
    await until('the nodes know each other', async () => {
      const info = String(await admin.call('CLUSTER', 'INFO'));
      return i < 2 || /cluster_state:ok[^]*cluster_known_nodes:3/.test(info);
    });
    admin.disconnect();
  }
  const endpoints = nodes.map(({ server }) => server.address);
  await holds(t, await opened(t, { ...REDIS, endpoints, timeoutMs: TIMEOUT_MS }));
});

const BLOCKS = 3;
const TRACES = 700;
/** Of all spans: blocks of different hours are not joined, and the test may run over the end of one. */
const START_MS = Date.now() - 60_000;
const QUERIES = [
  '{ }',
  '{ span.user.id = "user-3" }',
  '{ name = "op-2" } >> { name = "op-4" }',
  '{ span.n > 3 } | count() > 1',
  '{ span.text =~ "A.*" } | select(span.n)',
];

async function push(tempo: RunningTempo, from: number): Promise<void> {
  const startUnixNano = BigInt(START_MS) * 1_000_000n;
  for (let at = from; at < from + TRACES; at += 100) {
    const spans = Array.from({ length: 100 }, (_, i) =>
      aTrace(at + i, 5, (n) => ({
        startUnixNano: startUnixNano + BigInt(at * 1000 + n),
        endUnixNano: startUnixNano + BigInt(at * 1000 + 500_000),
        attributes: [
          ['n', BigInt(n)],
          ['user.id', `user-${(at + i + n) % 10}`],
          ['text', randomBytes(600).toString('base64')],
        ],
      })),
    ).flat();
    const answer = await httpExport(tempo, encodeTraces(spans));
    if (answer.status !== 200) throw new Error(`push: status ${answer.status}`);
  }
}

/** What is found, as text, without what counts the reading. */
async function answersOf(tempo: RunningTempo, range: { start: string; end: string }): Promise<string[]> {
  const searches = QUERIES.map(async (q) => {
    const params = new URLSearchParams({ q, limit: '50', spss: '5', ...range });
    const response = await tempo.get(`/api/search?${params.toString()}`);
    const { traces } = (await response.json()) as { traces: unknown };
    return `${response.status} ${JSON.stringify(traces)}`;
  });
  const traces = [1, 350, 1001, 2500, 9999].map(async (id) => {
    const response = await tempo.get(`/api/traces/${hexId(id, 16)}`);
    return `${response.status} ${await response.text()}`;
  });
  return Promise.all([...searches, ...traces]);
}

async function count(tempo: RunningTempo, name: string, labels: readonly string[]): Promise<number> {
  const text = await (await tempo.get('/metrics')).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

const BLOCK_ROLES = ['bloom', 'parquet-footer', 'parquet-offset-idx', 'parquet-page'];

t.test('a server on a bucket answers alike with caches and without', async (t) => {
  const minio = await startMinio(path.join(testFolder(t), 'minio'));
  t.teardown(() => minio.stop());
  const memcached = await Promise.all([1, 2].map(async () => startMemcached(t, await freePort())));
  const redis = await startRedis(t, await freePort());
  const addresses = memcached.map(({ address }) => address).join();
  const caches = `
cache:
  caches:
    - roles: [${BLOCK_ROLES.join(', ')}]
      memcached: { addresses: '${addresses}', consistent_hash: true, timeout: 200ms }
    - roles: [frontend-search]
      redis: { endpoint: '${redis.address}', timeout: 200ms }
`;
  const rest =
    'ingester: { complete_block_timeout: 100ms, flush_check_period: 100ms }\ncompactor: { disabled: true }\n';
  const backend = `${minio.yaml}    blocklist_poll: 1s\n`;
  const data = path.join(t.testdirName, 'data');
  const start = (yaml: string): Promise<RunningTempo> => startTempo(data, { backend, yaml });
  let tempo = await start(rest);
  t.teardown(() => tempo.kill());
  for (let i = 0; i < BLOCKS; i++) {
    await push(tempo, 1 + i * 1000);
    await flush(tempo);
  }
  const local = (): string[] => globSync(`${data}/wal/blocks/*/*/data.parquet`);
  await until('no local block', () => Promise.resolve(local().length === 0));
  const nowSec = Math.floor(Date.now() / 1000);
  const range = { start: String(nowSec - 3600), end: String(nowSec + 3600) };
  const want = await answersOf(tempo, range);
  t.ok(
    want.every((answer) => answer.length > 100 || answer.startsWith('404')),
    'there is something',
  );
  t.equal(want.filter((answer) => answer.startsWith('404')).length, 1);
  const again = async (yaml: string): Promise<void> => {
    await tempo.stop();
    tempo = await start(yaml);
  };
  const hits = (role: string): Promise<number> =>
    count(tempo, 'tempo_cache_lookups_total', [`role="${role}"`, 'result="hit"']);
  const reads = (): Promise<number> =>
    count(tempo, 'tempodb_backend_request_duration_seconds_count', ['operation="GET"']);
  await again(rest + caches);
  t.same(await answersOf(tempo, range), want, 'with empty caches');
  await until(
    'all is written',
    async () => (await count(tempo, 'tempo_cache_background_queue_length', [])) === 0,
  );
  await pause(600);
  const readCold = await reads();
  await again(rest + caches);
  t.same(await answersOf(tempo, range), want, 'with full ones, after a restart');
  await pause(600);
  for (const role of ['bloom', 'frontend-search', 'parquet-footer', 'parquet-page']) {
    t.ok((await hits(role)) > 0, `${role} was found`);
  }
  t.ok((await reads()) < readCold / 2, `${await reads()} reads of the bucket instead of ${readCold}`);
  t.equal(await count(tempo, 'tempo_memcache_client_servers', []), 2);

  await again(rest + caches);
  const asked = Array.from({ length: 6 }, async (_, i) => {
    await pause(i * 50);
    return answersOf(tempo, range);
  });
  await pause(60);
  await Promise.all([memcached[0]!.stop(), redis.stop()]);
  memcached[1]!.signal('SIGSTOP');
  for (const answers of await Promise.all(asked)) t.same(answers, want, 'while they are killed');
  await again(rest + caches);
  const beganMs = performance.now();
  t.same(await answersOf(tempo, range), want, 'with one that hangs and two that are gone');
  t.comment(`${Math.round(performance.now() - beganMs)} ms`);
  t.match(tempo.output(), /level=warn .*a cache failed, the data is read without it/);
  t.notMatch(tempo.output(), /level=error/);
  memcached[1]!.signal('SIGCONT');
  await redis.again();
  await memcached[0]!.again();
  await until('they are of use again', async () => {
    await answersOf(tempo, range);
    return (await hits('frontend-search')) > 0;
  });
  await again(`${rest.replace('disabled: true', 'compaction: { compaction_cycle: 1s }')}${caches}`);
  const listed = (): Promise<number> => count(tempo, 'tempodb_blocklist_length', []);
  await until('the blocks are one', async () => {
    t.same(await answersOf(tempo, range), want, 'while blocks are joined');
    return (await listed()) === 1;
  });
  t.same(await answersOf(tempo, range), want, 'when they are joined');
  // Before their folder is removed.
  await tempo.stop();
  await minio.stop();
});
