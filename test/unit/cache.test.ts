// Caches outside the process: servers are found and chosen as by Tempo, whatever goes wrong is a miss in
// time, values come back byte for byte, and all of it is counted.
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { createCacheReports } from '../../src/cache/cache-metrics.ts';
import { findServers, type Resolver } from '../../src/cache/find-servers.ts';
import { expiration, hostAndPort } from '../../src/cache/memcached-connection.ts';
import { openMemcached } from '../../src/cache/memcached.ts';
import { OuterCache } from '../../src/cache/outer-cache.ts';
import { jumpHash, serverOrder, serverSelection } from '../../src/cache/select-server.ts';
import { ServerPause } from '../../src/cache/server-pause.ts';
import type { CacheSettings } from '../../src/cache/settings.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { freePort } from '../support/free-port.ts';
import { MEMCACHED, MemcachedDouble, REDIS } from '../support/memcached-double.ts';

function settingsOf(client: CacheSettings['client'], changes: Partial<CacheSettings> = {}): CacheSettings {
  return {
    name: 'bloom|parquet-page',
    roles: ['bloom', 'parquet-page'],
    client,
    writersMax: 2,
    queueLengthMax: 100,
    ...changes,
  };
}

async function started(count: number): Promise<{ doubles: MemcachedDouble[]; addresses: string[] }> {
  const doubles = Array.from({ length: count }, () => new MemcachedDouble());
  const addresses = await Promise.all(doubles.map((double) => double.start()));
  t.teardown(() => Promise.all(doubles.map((double) => double.stop())));
  return { doubles, addresses };
}

async function opened(
  client: CacheSettings['client'],
  changes: Partial<CacheSettings> = {},
): Promise<OuterCache> {
  const cache = new OuterCache(settingsOf(client, changes));
  await cache.open();
  t.teardown(() => cache.stop());
  return cache;
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(1);
}

t.test('servers: addresses as they stand, and names with several behind them', async (t) => {
  const asked: string[] = [];
  const resolver: Resolver = {
    lookup: async (host) => {
      asked.push(host);
      return host === 'six' ? ['::1'] : ['10.0.0.2', '10.0.0.1'];
    },
    srv: async (name) => {
      asked.push(name);
      return [
        { name: 'pod-1.', port: 7 },
        { name: 'six', port: 8 },
      ];
    },
  };
  const cases = [
    { addresses: ['a:1', 'b:2', 'a:1'], want: ['a:1', 'b:2'], asks: [] },
    { addresses: ['dns+m:11211'], want: ['10.0.0.2:11211', '10.0.0.1:11211'], asks: ['m'] },
    { addresses: ['dns+six:1', '/run/m.sock'], want: ['[::1]:1', '/run/m.sock'], asks: ['six'] },
    { addresses: ['dnssrvnoa+_m._tcp.x'], want: ['pod-1:7', 'six:8'], asks: ['_m._tcp.x'] },
    {
      addresses: ['dnssrv+_m._tcp.x'],
      want: ['10.0.0.2:7', '10.0.0.1:7', '[::1]:8'],
      asks: ['_m._tcp.x', 'pod-1', 'six'],
    },
    { addresses: [], want: ['pod-1:7', 'six:8'], asks: ['_client._tcp.cache'] },
  ];
  for (const { addresses, want, asks } of cases) {
    asked.length = 0;
    t.same(await findServers({ host: 'cache', service: 'client', addresses }, resolver), want);
    t.same(asked, asks);
  }
  await t.rejects(findServers({ host: '', service: '', addresses: ['dns+m'] }, resolver), /no port/);
  t.same(hostAndPort('[::1]:5'), { host: '::1', port: 5 });
  t.same(hostAndPort('m'), { host: 'm', port: 11_211 });
});

t.test('choice of a server', async (t) => {
  const vectors = [
    [1n, 1, 0],
    [42n, 57, 43],
    [0xdead10ccn, 1, 0],
    [0xdead10ccn, 666, 361],
    [256n, 1024, 520],
  ] as const;
  for (const [hash, count, want] of vectors) t.equal(jumpHash(hash, count), want, `${hash} of ${count}`);
  const keys = Array.from({ length: 1000 }, (_, i) => `tenant:block-${i}:bloom-0`);
  for (const isConsistent of [true, false]) {
    const select = await serverSelection(isConsistent);
    const counts = [0, 0, 0, 0];
    for (const key of keys) counts[select(key, 4)]! += 1;
    t.ok(Math.min(...counts) > 150, `spread: ${counts.join(' ')}`);
    const moved = keys.filter((key) => select(key, 4) !== select(key, 5)).length;
    t.equal(moved < 300, isConsistent, `${moved} of 1000 move for one server more`);
  }
  const names = ['m-10:1', 'm-9:1', 'm-1:1', 'a:2', 'a'];
  t.same(names.toSorted(serverOrder(true)), ['a', 'a:2', 'm-1:1', 'm-9:1', 'm-10:1']);
  t.same(names.toSorted(serverOrder(false)), ['a', 'a:2', 'm-10:1', 'm-1:1', 'm-9:1']);
});

t.test('a server that fails is left alone, longer each time, and one call tries it again', (t) => {
  let nowMs = 0;
  const server = new ServerPause({ failuresMax: 2, longMs: 60_000, forgetMs: 100_000 }, () => nowMs);
  t.ok(server.mayAsk() && server.mayAsk(), 'all may');
  server.failed();
  server.failed();
  t.notOk(server.mayAsk(), 'calls that were under way count once');
  for (const lengthMs of [200, 400, 60_000]) {
    nowMs += lengthMs - 1;
    t.notOk(server.mayAsk(), `${lengthMs} ms are not over`);
    nowMs += 1;
    t.ok(server.mayAsk(), `${lengthMs} ms are over`);
    t.notOk(server.mayAsk(), 'one at a time');
    server.failed();
  }
  nowMs += 60_000;
  t.ok(server.mayAsk());
  server.succeeded();
  t.ok(server.mayAsk() && server.mayAsk());
  server.failed();
  nowMs += 200;
  t.ok(server.mayAsk(), 'short again');
  nowMs += 200_000;
  server.failed();
  nowMs += 200;
  t.ok(server.mayAsk(), 'long ago does not count');
  t.end();
});

t.test('expiry: seconds, at least one, and a date where memcached would take them for one', (t) => {
  const nowMs = 1_700_000_000_000;
  const cases = [
    [0, 0],
    [1, 1],
    [90_000, 90],
    [30 * 24 * 3_600_000, 2_592_000],
    [31 * 24 * 3_600_000, 1_700_000_000 + 31 * 24 * 3600],
  ] as const;
  for (const [ttlMs, want] of cases) t.equal(expiration(ttlMs, nowMs), want, `${ttlMs} ms`);
  t.end();
});

t.test('memcached: values come back, whatever bytes they are, from the server of their key', async (t) => {
  const { doubles, addresses } = await started(3);
  const client = await openMemcached({
    settings: { ...MEMCACHED, addresses, ttlMs: 60_000 },
    onFailure: (err) => t.fail(err.message),
  });
  t.teardown(() => client.stop());
  t.equal(client.serverCount, 3);
  const values = new Map<string, Buffer>(
    Array.from({ length: 60 }, (_, i) => [`t:b:data.parquet:${i}:9`, randomBytes(i * 997)]),
  );
  values.set('t:b:lines', Buffer.from('END\r\nVALUE x 0 1\r\n'));
  await Promise.all([...values].map(([key, value]) => client.set(key, value)));
  const found = await Promise.all([...values.keys()].map((key) => client.get(key)));
  t.ok(
    [...values.values()].every((value, i) => value.equals(found[i]!)),
    'at once, in order',
  );
  t.equal(await client.get('t:b:absent'), undefined);
  const counts = doubles.map(({ items }) => items.size);
  t.ok(Math.min(...counts) > 5, `all servers have some: ${counts.join(' ')}`);
  t.equal(doubles[0]?.items.values().next().value?.expires, 60);
  t.ok(
    doubles.every(({ connections }) => connections <= 4),
    'few connections',
  );
  await t.rejects(client.set('t:b:large', Buffer.alloc(2 << 20)), /too large/);
  t.equal((await client.get('t:b:lines'))?.length, 18, 'the server is asked on');
  await t.rejects(client.get('with blank'), /none of memcached/);
  await t.rejects(client.get('x'.repeat(251)), /none of memcached/);
});

t.test('whatever goes wrong is a miss, soon, and the server is asked again later', async (t) => {
  const { doubles, addresses } = await started(1);
  const [double] = doubles as [MemcachedDouble];
  const wrongs: readonly (readonly [string, (to: MemcachedDouble) => void])[] = [
    ['no answer', (to) => (to.isSilent = true)],
    ['not understood', (to) => (to.answer = 'ERROR\r\n')],
    ['no line', (to) => (to.answer = 'x'.repeat(5000))],
    ['another key', (to) => (to.answer = 'VALUE other 0 1\r\nx\r\nEND\r\n')],
    ['no number', (to) => (to.answer = 'VALUE key 0 x\r\n')],
    ['absurd length', (to) => (to.answer = 'VALUE key 0 99999999999\r\n')],
    ['wrong length', (to) => (to.answer = 'VALUE key 0 3\r\nabcde\r\nEND\r\n')],
    ['more than was asked for', (to) => (to.answer = 'END\r\nEND\r\n')],
  ];
  for (const [name, wrong] of wrongs) {
    const cache = await opened({ ...MEMCACHED, addresses, timeoutMs: 50 });
    double.items.set('key', { value: Buffer.from('value'), expires: 0 });
    while ((await cache.get('bloom', 'key')) === undefined) await pause(5);
    wrong(double);
    t.equal(await cache.get('bloom', 'key'), undefined, name);
    double.isSilent = false;
    double.answer = undefined;
    let tries = 0;
    while ((await cache.get('bloom', 'key')) === undefined) {
      tries++;
      await pause(5);
    }
    t.ok(tries > 0 || name.startsWith('more'), `${name}: left alone first`);
    t.ok(cache.report().failures > 0 || name.startsWith('more'), 'and counted');
    cache.stop();
  }
});

t.test('many calls to a server that hangs take its timeout once', async (t) => {
  const { doubles, addresses } = await started(1);
  const [double] = doubles as [MemcachedDouble];
  const cache = await opened({ ...MEMCACHED, addresses, timeoutMs: 100 });
  double.isSilent = true;
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: 300 }, (_, i) => cache.get('bloom', `k${i}`)));
  for (let i = 0; i < 100; i++) t.equal(await cache.get('bloom', `k${i}`), undefined);
  const tookMs = performance.now() - beganMs;
  t.ok(tookMs < 5000, `${tookMs} ms, and not 10 s`);
  const { lookups } = cache.report();
  const skipped = lookups.find(([, result]) => result === 'skipped')?.[2] ?? 0;
  t.ok(skipped >= 90, `${skipped} were not even tried`);
});

t.test('a server that is not there, and one that goes and comes back', async (t) => {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const cache = await opened({ ...MEMCACHED, addresses: [address] });
  t.equal(await cache.get('bloom', 'key'), undefined);
  t.match(cache.report().lastFailure, new RegExp(`server ${address}: .*ECONNREFUSED`));
  let double = new MemcachedDouble();
  await double.start(port);
  double.items.set('key', { value: Buffer.from('value'), expires: 0 });
  while ((await cache.get('bloom', 'key')) === undefined) await pause(5);
  await double.stop();
  t.equal(await cache.get('bloom', 'key'), undefined, 'gone');
  double = new MemcachedDouble();
  await double.start(port);
  t.teardown(() => double.stop());
  double.items.set('key', { value: Buffer.from('anew'), expires: 0 });
  while ((await cache.get('bloom', 'key')) === undefined) await pause(5);
});

t.test('servers that come and go: the others keep their keys', async (t) => {
  const { doubles, addresses } = await started(3);
  let known = addresses.slice(0, 2);
  const failures: string[] = [];
  const direct = await openMemcached({
    settings: { ...MEMCACHED, addresses: ['dnssrvnoa+m'], updateIntervalMs: 5 },
    onFailure: (err) => failures.push(String((err.cause as Error).message)),
    resolver: {
      lookup: async () => [],
      srv: async () => known.map((each) => ({ name: '127.0.0.1', port: Number(each.split(':')[1]) })),
    },
  });
  t.teardown(() => direct.stop());
  t.equal(direct.serverCount, 2);
  await direct.set('key', Buffer.from('x'));
  known = addresses;
  await until(() => direct.serverCount === 3);
  known = [];
  await until(() => failures.length > 0);
  t.match(failures[0], /no servers/);
  t.equal(direct.serverCount, 3, 'where none are found all stay');
  t.equal(
    doubles.reduce((sum, { items }) => sum + items.size, 0),
    1,
  );
});

t.test('parts of objects: in pieces under names of their own, whole or not at all', async (t) => {
  const { doubles, addresses } = await started(1);
  const [double] = doubles as [MemcachedDouble];
  const cache = await opened({ ...MEMCACHED, addresses });
  const bytes = randomBytes(1_200_000);
  cache.setRange('t:b:data.parquet', 1000, bytes);
  await until(() => double.items.size === 3);
  t.same(
    [...double.items.keys()].toSorted(),
    ['1000:524288', '1049576:151424', '525288:524288'].map((range) => `t:b:data.parquet:${range}`),
  );
  const found = await cache.getRange('parquet-page', 't:b:data.parquet', 1000, bytes.length);
  t.ok(bytes.equals(found!));
  t.equal(
    await cache.getRange('parquet-page', 't:b:data.parquet', 1000, 524_289),
    undefined,
    'its rest is not there',
  );
  double.items.set('t:b:data.parquet:525288:524288', { value: Buffer.from('short'), expires: 0 });
  t.equal(
    await cache.getRange('parquet-page', 't:b:data.parquet', 1000, bytes.length),
    undefined,
    'of another length',
  );
  cache.setRange('t:b:data.parquet', 0, Buffer.alloc(33 << 20));
  t.equal(await cache.getRange('parquet-page', 't:b:data.parquet', 0, 33 << 20), undefined, 'too much');
  t.same(cache.report().lookups, [
    ['parquet-page', 'hit', 1],
    ['parquet-page', 'miss', 2],
  ]);
});

t.test('writes wait in a queue that has an end; what is too large or too much is counted', async (t) => {
  const { doubles, addresses } = await started(1);
  const [double] = doubles as [MemcachedDouble];
  const cache = await opened({ ...MEMCACHED, addresses, itemBytesMax: 1000 }, { queueLengthMax: 5 });
  for (let i = 0; i < 20; i++) cache.set(`k${i}`, Buffer.alloc(10));
  cache.set('large', Buffer.alloc(1001));
  const report = cache.report();
  t.equal(report.tooLarge, 1);
  t.ok(
    report.queueLength <= 5 && report.dropped >= 10,
    `${report.queueLength} wait, ${report.dropped} dropped`,
  );
  await until(() => double.items.size === 20 - report.dropped);
  t.equal(cache.report().queueBytes, 0);
  double.isSilent = true;
  cache.set('late', Buffer.alloc(10));
  cache.stop();
  t.equal(await cache.get('bloom', 'k0'), undefined, 'stopped');
});

t.test('redis that is not there is a miss', async (t) => {
  const cache = await opened({ ...REDIS, endpoints: [`127.0.0.1:${await freePort()}`] });
  t.equal(await cache.get('bloom', 'key'), undefined);
  cache.set('key', Buffer.from('x'));
  await until(() => cache.report().failures > 0);
});

t.test('redis that takes connections and never answers is told, and tried again', async (t) => {
  let connections = 0;
  const silent = createServer((socket) => {
    connections++;
    socket.on('error', () => undefined).resume();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const cache = await opened({ ...REDIS, endpoints: [`127.0.0.1:${port}`] });
  const told = new Set<string>();
  await until(() => {
    const { failures, lastFailure } = cache.report();
    if (failures > 0) told.add(lastFailure);
    return connections > 1 && told.size > 0;
  });
  t.match([...told].join(), /redis: connected, and no answer within 1000 ms/);
  t.equal(await cache.get('bloom', 'key'), undefined);
});

t.test('memcached that takes connections and never answers is told', async (t) => {
  const { doubles, addresses } = await started(1);
  doubles[0]!.isSilent = true;
  const cache = await opened({ ...MEMCACHED, addresses, timeoutMs: 20 });
  t.equal(await cache.get('bloom', 'key'), undefined);
  t.match(cache.report(), { failures: 1, lastFailure: /no answer within 20 ms/ });
});

t.test('what is counted: under the names of Tempo, and a line of log for many failures', async (t) => {
  const { doubles, addresses } = await started(1);
  const [double] = doubles as [MemcachedDouble];
  const cache = await opened({ ...MEMCACHED, addresses, timeoutMs: 500 });
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) });
  let nowMs = 0;
  const metrics = new Metrics();
  const reports = createCacheReports(metrics, logger, () => nowMs);
  cache.set('key', Buffer.from('value'));
  await until(() => double.items.size === 1);
  await cache.get('bloom', 'key');
  await cache.get('bloom', 'other');
  double.isSilent = true;
  await cache.get('parquet-page', 'key');
  await cache.get('parquet-page', 'key');
  reports.add(cache.report());
  const text = await metrics.text();
  const name = 'name="bloom|parquet-page"';
  for (const line of [
    `tempo_memcache_request_duration_seconds_count{${name},method="Memcache.Get",status_code="200"} 1`,
    `tempo_memcache_request_duration_seconds_count{${name},method="Memcache.Get",status_code="404"} 1`,
    `tempo_memcache_request_duration_seconds_count{${name},method="Memcache.Get",status_code="500"} 1`,
    `tempo_memcache_request_duration_seconds_count{${name},method="Memcache.Put",status_code="200"} 1`,
    `tempo_memcache_client_servers{${name}} 1`,
    `tempo_cache_background_queue_length{${name}} 0`,
    `tempo_cache_dropped_background_writes_total{${name}} 0`,
    `tempo_cache_lookups_total{${name},role="bloom",result="hit"} 1`,
    `tempo_cache_lookups_total{${name},role="bloom",result="miss"} 1`,
    `tempo_cache_lookups_total{${name},role="parquet-page",result="error"} 1`,
    `tempo_cache_lookups_total{${name},role="parquet-page",result="skipped"} 1`,
  ]) {
    t.ok(text.includes(`${line}\n`), line);
  }
  const failed = { ...cache.report(), failures: 7, lastFailure: 'server gone' };
  reports.add(failed);
  t.equal(lines.length, 1, 'one line in half a minute');
  nowMs = 31_000;
  reports.add(failed);
  t.match(lines[1], /level=warn .*cache=bloom\|parquet-page failures=14 err="server gone"/);
});
