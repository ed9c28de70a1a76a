// What is alike for all clouds, over a bucket in memory that can be told to fail: retries, hedging, prefix,
// the check at start, texts of errors, the cache, and calls from another thread.
import { randomBytes } from 'node:crypto';
import { MessageChannel } from 'node:worker_threads';
import * as fs from 'node:fs';
import * as path from 'node:path';
import t from 'tap';
import { byRole, OuterCache } from '../../src/cache/outer-cache.ts';
import type { TempoError } from '../../src/lib/errors.ts';
import { BucketStore, type BucketStoreOptions } from '../../src/objectstore/bucket-store.ts';
import { CachedStore } from '../../src/objectstore/cached-store.ts';
import { kindOfStatus, networkFailure, retryAfterMs } from '../../src/objectstore/failures.ts';
import { hedged } from '../../src/objectstore/hedge.ts';
import { createBackendMetrics } from '../../src/objectstore/backend-metrics.ts';
import { PortStore } from '../../src/objectstore/port-store.ts';
import { RemoteStore } from '../../src/objectstore/remote-store.ts';
import { Retrier } from '../../src/objectstore/retry.ts';
import { openS3 } from '../../src/objectstore/s3.ts';
import { renewing, s3Credentials } from '../../src/objectstore/s3-credentials.ts';
import { endpointShape } from '../../src/objectstore/s3-endpoint.ts';
import { serveStore } from '../../src/objectstore/serve-store.ts';
import type { S3Settings } from '../../src/objectstore/settings.ts';
import { uuidBounds } from '../../src/objectstore/uuid-ranges.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { NO_TLS, s3Backend } from '../support/backends.ts';
import { FewThreads } from '../support/few-threads.ts';
import { MEMCACHED, MemcachedDouble } from '../support/memcached-double.ts';
import { BucketError, MemoryBucket } from '../support/memory-bucket.ts';
import { bytes, codeOf, holdContract } from '../support/object-store-suite.ts';
import { testFolder } from '../support/test-folder.ts';

const scratch = testFolder(t);

interface Opened {
  readonly bucket: MemoryBucket;
  readonly store: BucketStore;
  readonly counts: { retries: number; hedges: number };
}

function open(changes: Partial<BucketStoreOptions> = {}): Opened {
  const bucket = new MemoryBucket();
  const counts = { retries: 0, hedges: 0 };
  const store = new BucketStore({
    bucket,
    prefix: '/tempo/blocks/',
    retry: { attemptsMax: 4, firstDelayMs: 1, delayMsMax: 2 },
    hedge: { afterMs: 0, requestsMax: 2 },
    listConcurrency: 3,
    isWriter: true,
    pageLength: 5,
    onRetry: () => void counts.retries++,
    onHedge: () => void counts.hedges++,
    ...changes,
  });
  return { bucket, store, counts };
}

holdContract(t, { name: 'bucket', store: open().store, scratch });

{
  const { port1, port2 } = new MessageChannel();
  const far = new CachedStore(open().store, 1 << 20);
  serveStore(far, port2);
  const near = new PortStore();
  near.attach(port1);
  t.teardown(() => near.detach());
  holdContract(t, { name: 'port and cache', store: near, scratch });
}

t.test('keys are below the prefix, and nothing beside it is seen', async (t) => {
  const { bucket, store } = open();
  await bucket.write('tempo/blocksmith/x', bytes('other'));
  await store.write('a/b', bytes('x'));
  t.same([...bucket.objects.keys()].sort(), ['tempo/blocks/a/b', 'tempo/blocksmith/x']);
  t.same(await store.listFolders(''), ['a']);
  t.equal(await codeOf(store.read('../blocksmith/x')), 'invalid_argument');
});

t.test('what may pass is tried again, within limits; the rest is told at once', async (t) => {
  const cases = [
    { kind: 'throttled', fails: 3, want: 'no error', calls: 4 },
    { kind: 'busy', fails: 4, want: 'unavailable', calls: 4 },
    { kind: 'unreachable', fails: 1, want: 'no error', calls: 2 },
    { kind: 'clock', fails: 1, want: 'no error', calls: 2 },
    { kind: 'denied', fails: 1, want: 'internal', calls: 1 },
    { kind: 'no_bucket', fails: 1, want: 'internal', calls: 1 },
    { kind: 'credentials', fails: 1, want: 'internal', calls: 1 },
  ] as const;
  for (const { kind, fails, want, calls } of cases) {
    const { bucket, store, counts } = open();
    bucket.fail('write', fails, kind);
    t.equal(await codeOf(store.write('k', bytes('x'))), want, kind);
    t.equal(bucket.calls.write, calls, kind);
    t.equal(counts.retries, calls - 1, kind);
  }
});

t.test('a store that is down is not asked many times as much: the budget of retries', async (t) => {
  let calls = 0;
  const retrier = new Retrier(
    { attemptsMax: 10, firstDelayMs: 0, delayMsMax: 0 },
    () => ({ kind: 'busy', detail: '' }),
    () => {},
  );
  const fail = (): Promise<void> => {
    calls++;
    return Promise.reject(new Error('busy'));
  };
  for (let i = 0; i < 100; i++) await t.rejects(retrier.run(fail));
  t.equal(calls, 200, '100 requests and 100 retries, not 1,000');
});

t.test('a caller that gives up ends the pauses, too', async (t) => {
  const { bucket, store } = open({ retry: { attemptsMax: 5, firstDelayMs: 60_000, delayMsMax: 60_000 } });
  bucket.fail('read', 5, 'busy');
  const controller = new AbortController();
  const reading = codeOf(store.read('k', controller.signal));
  setImmediate(() => controller.abort());
  t.equal(await reading, 'cancelled');
});

t.test('errors say what to do', async (t) => {
  const cases = [
    { kind: 'denied', want: 'cannot write k in bucket test: no; allow the permission to write' },
    { kind: 'no_bucket', want: /create it, or correct its name/ },
    { kind: 'clock', want: /set the clock of this machine by NTP/ },
    { kind: 'credentials', want: /check the credentials/ },
  ] as const;
  for (const { kind, want } of cases) {
    const { bucket, store } = open();
    bucket.fail('write', 9, kind);
    const err = await store.write('k', bytes('x')).catch((caught: unknown) => caught as TempoError);
    t.match((err as TempoError).message, want);
  }
});

t.test('what is read back at start must be what was written', async (t) => {
  const { bucket, store } = open();
  bucket.read = () => Promise.resolve(bytes('<html>Welcome</html>'));
  await t.rejects(store.prepare(), {
    message: 'what was written to bucket test is not what is read from it',
  });
});

t.test('the check at start: writers write, readers do not', async (t) => {
  const writer = open();
  await writer.store.prepare();
  t.match(writer.bucket.calls, { list: 1, write: 1, read: 1, delete: 1 });
  t.same([...writer.bucket.objects.keys()], [], 'nothing is left');
  const reader = open({ isWriter: false });
  reader.bucket.fail('write', 9, 'denied');
  reader.bucket.fail('delete', 9, 'denied');
  await reader.store.prepare();
  t.match(reader.bucket.calls, { list: 1, write: 0, read: 1, delete: 0 });
  for (const action of ['list', 'write', 'read', 'delete'] as const) {
    const { bucket, store } = open();
    bucket.fail(action, 9, 'denied');
    await t.rejects(store.prepare(), { message: `allow the permission to ${action}` }, action);
  }
});

t.test('a part that fails is sent again, and what cannot be finished is given up', async (t) => {
  const file = path.join(scratch, 'parts');
  fs.writeFileSync(file, Buffer.alloc(3500, 'x'));
  const { bucket, store } = open();
  bucket.partBytes = 1000;
  bucket.fail('part', 2, 'unreachable');
  await store.writeFile('parts', file);
  t.equal(bucket.objects.get('tempo/blocks/parts')?.length, 3500);
  bucket.fail('part', 9, 'denied');
  t.equal(await codeOf(store.writeFile('never', file)), 'internal');
  t.equal(bucket.abandoned, 1);
  t.notOk(bucket.objects.has('tempo/blocks/never'));
  bucket.fail('part', 9, 'denied');
  bucket.fail('stat', 1, 'denied');
  const failed = store.writeFile('never', file);
  await t.rejects(failed, {
    code: 'internal',
    message: /^cannot write never .*its parts are left there: no$/,
  });
  t.equal(bucket.abandoned, 1, 'it may not be given up, which changes nothing');
});

t.test('of a block the meta is deleted first, and the mark that it is compacted last', async (t) => {
  const { bucket, store } = open();
  const deleted: string[] = [];
  const { objects } = bucket;
  bucket.delete = (key) => {
    deleted.push(key.slice('tempo/blocks/team/a/'.length));
    objects.delete(key);
    return Promise.resolve();
  };
  const names = ['bloom-0', 'data.parquet', 'meta.compacted.json', 'meta.json', 'value-filter'];
  for (const name of names) await store.write(`team/a/${name}`, bytes('x'));
  await store.deleteFolder('team/a');
  t.equal(deleted[0], 'meta.json');
  t.equal(deleted[4], 'meta.compacted.json');
  t.same(deleted.toSorted(), names);
});

t.test('a large file is read into memory of few parts', async (t) => {
  const file = path.join(scratch, 'many-parts');
  const content = randomBytes(20_500);
  fs.writeFileSync(file, content);
  const { bucket, store } = open();
  bucket.partBytes = 1000;
  await store.writeFile('many', file);
  t.equal(bucket.calls.part, 21);
  t.equal(bucket.partMemory.size, 2, 'as many as are sent at the same time');
  t.ok(content.equals(bucket.objects.get('tempo/blocks/many')!));
});

t.test('S3: how many parts are sent at the same time, by their size', async (t) => {
  const MIB = 1 << 20;
  const cases = [
    { partBytes: 0, sizeBytes: 100 * MIB, want: { partBytes: 8 * MIB, partsAtOnce: 4 } },
    { partBytes: 16 * MIB, sizeBytes: 100 * MIB, want: { partBytes: 16 * MIB, partsAtOnce: 2 } },
    { partBytes: 100 * MIB, sizeBytes: 900 * MIB, want: { partBytes: 100 * MIB, partsAtOnce: 1 } },
    { partBytes: 5 * MIB, sizeBytes: 120_000 * MIB, want: { partBytes: 12 * MIB, partsAtOnce: 2 } },
  ];
  for (const { partBytes, sizeBytes, want } of cases) {
    const { bucket: settings } = s3Backend({ accessKey: 'a', secretKey: 'b', partBytes });
    const bucket = await openS3(settings as S3Settings);
    t.same(bucket.uploadShape(sizeBytes), want);
    bucket.close();
  }
});

t.test('a slow answer is asked for twice, and the first one counts', async (t) => {
  const hedges: number[] = [];
  const aborted: number[] = [];
  let asked = 0;
  const result = await hedged(
    (signal) => {
      const mine = ++asked;
      return new Promise<number>((resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(mine);
          reject(new Error('aborted'));
        });
        if (mine === 2) setImmediate(() => resolve(mine));
      });
    },
    { afterMs: 1, requestsMax: 2 },
    () => hedges.push(1),
  );
  t.equal(result, 2);
  t.same(hedges, [1]);
  t.same(aborted, [1, 2], 'the slow one is given up');
  await t.rejects(
    hedged(
      () => Promise.reject(new Error('both')),
      { afterMs: 60_000, requestsMax: 2 },
      () => t.fail('none is needed'),
    ),
    { message: 'both' },
  );
});

t.test('a tree is listed by pages, long ones by ranges of ids at the same time', async (t) => {
  const { bucket, store } = open({ pageLength: 10 });
  const ids = Array.from({ length: 40 }, () => crypto.randomUUID());
  const keys = ids.flatMap((id) => [`${id}/meta.json`, `${id}/bloom-0`]);
  for (const key of [...keys, 'index.json.gz']) await store.write(`team/${key}`, bytes('x'));
  t.same((await store.listTree('team')).sort(), [...keys, 'index.json.gz'].sort());
  t.ok(bucket.calls.list <= 14, `${bucket.calls.list} requests for 81 keys in pages of 10`);
});

t.test('reads of blocks are kept, and equal ones at the same time are one', async (t) => {
  const { bucket, store } = open();
  const cached = new CachedStore(store, 10_000);
  await store.write('t/b/data.parquet', new Uint8Array(5000).fill(7));
  await store.write('t/b/meta.json', bytes('{}'));
  const reads = await Promise.all([1, 2, 3].map(() => cached.readRange('t/b/data.parquet', 10, 100)));
  t.equal(bucket.calls.read, 1);
  reads[0]!.fill(0);
  t.equal((await cached.readRange('t/b/data.parquet', 10, 100))[0], 7, 'callers have bytes of their own');
  t.equal(bucket.calls.read, 1);
  await cached.readRange('t/b/data.parquet', 0, 5000);
  await cached.readRange('t/b/data.parquet', 0, 5000);
  t.equal(bucket.calls.read, 3, 'what is large is not kept');
  await cached.read('t/b/meta.json');
  await cached.read('t/b/meta.json');
  t.equal(bucket.calls.read, 5, 'what may change is not kept');
  await cached.readRange('t/b/data.parquet', 10, 100, undefined, 'uncached');
  const { sizeBytes } = cached.cache;
  await cached.readRange('t/b/data.parquet', 0, 7, undefined, 'uncached');
  await cached.read('t/b/data.parquet', undefined, 'uncached');
  t.equal(bucket.calls.read, 8, 'who reads past the cache does so');
  t.equal(cached.cache.sizeBytes, sizeBytes, 'and drives out nothing');
  cached.limitCache(0);
  t.equal(cached.cache.sizeBytes, 0);
});

t.test('what has a role is looked for in the cache of that role, before the bucket', async (t) => {
  const { bucket, store } = open();
  const double = new MemcachedDouble();
  const cache = new OuterCache({
    name: 'bloom|parquet-page',
    roles: ['bloom', 'parquet-page'],
    client: { ...MEMCACHED, addresses: [await double.start()] },
    writersMax: 1,
    queueLengthMax: 10,
  });
  await cache.open();
  t.teardown(async () => {
    cache.stop();
    await double.stop();
  });
  await store.write('t/b/data.parquet', new Uint8Array(5000).fill(7));
  for (const name of ['bloom-0', 'index', 'meta.json']) await store.write(`t/b/${name}`, bytes(name));
  const data = 't/b/data.parquet';
  const readAll = async (): Promise<number> => {
    // Each has nothing in memory.
    const cached = new CachedStore(store, 10_000, byRole([cache]));
    const before = bucket.calls.read;
    t.same(await cached.readRange(data, 10, 100, undefined, 'parquet-page'), new Uint8Array(100).fill(7));
    t.same(await cached.read('t/b/bloom-0', undefined, 'bloom'), bytes('bloom-0'));
    await cached.readRange(data, 0, 9, undefined, 'parquet-footer');
    await cached.read('t/b/bloom-0');
    await cached.readRange(data, 10, 101);
    await cached.read('t/b/meta.json', undefined, 'bloom');
    return bucket.calls.read - before;
  };
  t.equal(await readAll(), 5);
  while (double.items.size < 3) await new Promise(setImmediate);
  const sum = 'tempo-ts:crc:t:b:bloom-0';
  const names = ['t:b:bloom-0', 't:b:data.parquet:10:100', sum];
  t.same([...double.items.keys()].toSorted(), names, 'as Tempo calls them, and a checksum');
  t.equal(await readAll(), 3, 'all but two');
  const kept = double.items.get('t:b:bloom-0')!;
  double.items.set('t:b:bloom-0', { ...kept, value: Buffer.from(bytes('bloom-1')) });
  cache.report();
  t.equal(await readAll(), 4, 'a bloom filter with wrong bits is read from the bucket');
  t.match(cache.report().lastFailure, /t:b:bloom-0 does not have the checksum/);
  while (!double.items.get('t:b:bloom-0')!.value.equals(kept.value)) await new Promise(setImmediate);
  t.equal(await readAll(), 3, 'and the cache has the right ones again');
  double.items.delete(sum);
  t.equal(await readAll(), 3, 'what Tempo has written has no checksum');
  await double.stop();
  t.equal(await readAll(), 5, 'without the cache as before');
  const { port1, port2 } = new MessageChannel();
  const far = new CachedStore(store, 10_000, byRole([cache]));
  serveStore(far, port2);
  const near = new PortStore();
  near.attach(port1);
  t.teardown(() => near.detach());
  cache.report();
  t.same(await near.read('t/b/bloom-0', undefined, 'bloom'), bytes('bloom-0'));
  t.equal((await near.readRange(data, 10, 100, undefined, 'parquet-page')).length, 100);
  t.equal(cache.report().lookups.length, 2, 'roles pass over ports');
});

t.test('calls over a port: cancelled, and over when the other side is gone', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const { bucket, store } = open();
  bucket.hang = true;
  serveStore(store, port2);
  const near = new PortStore();
  t.equal(await codeOf(near.read('k')), 'unavailable', 'before there is a port');
  near.attach(port1);
  const controller = new AbortController();
  const reading = codeOf(near.read('k', controller.signal));
  controller.abort();
  t.equal(await reading, 'cancelled');
  t.equal(await codeOf(near.read('k', controller.signal)), 'cancelled');
  const waiting = codeOf(near.read('k'));
  port2.close();
  t.equal(await waiting, 'unavailable');
});

t.test('the thread of the store: what it counts, and another one when it ends', async (t) => {
  const metrics = new Metrics();
  const lines: string[] = [];
  const remote = new RemoteStore({
    settings: s3Backend({}),
    logger: createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) }),
    metrics: createBackendMetrics(metrics),
    worker: new URL('../support/crashing-store-worker.ts', import.meta.url),
  });
  t.teardown(() => remote.stop());
  t.equal(remote.connect(), undefined, 'nobody is there yet');
  t.equal(await codeOf(remote.read('k')), 'unavailable');
  await remote.prepare();
  await remote.write('k', bytes('x'));
  const other = new PortStore();
  other.attach(remote.connect()!);
  t.teardown(() => other.detach());
  t.same(await other.read('k'), bytes('x'), 'a port for another thread');
  const text = await metrics.text();
  t.match(text, 'tempodb_backend_request_duration_seconds_count{operation="GET",status_code="206"} 1');
  t.match(text, 'tempodb_backend_hedged_roundtrips_total 1');
  t.match(text, 'tempodb_backend_retries_total 2');
  t.match(text, 'tempodb_backend_cache_bytes 5');
  t.match(text, 'tempodb_backend_cache_distrusted_total 1');
  t.match(text, 'tempodb_backend_read_detours_total 1');
  t.match(lines.join(''), /level=warn .*past the caches.* block=team\/block/);
  const restarted = new Promise<void>((resolve) => remote.onRestart(resolve));
  remote.limitCache(0);
  t.equal(await codeOf(remote.read('crash')), 'unavailable', 'what is under way fails');
  t.equal(await codeOf(other.read('k')), 'unavailable');
  await restarted;
  await remote.write('k', bytes('y'));
  other.attach(remote.connect()!);
  t.same(await other.read('k'), bytes('y'));
});

t.test('a thread that the system does not let start is started later', async (t) => {
  const few = new FewThreads(0);
  const remote = new RemoteStore({
    settings: s3Backend({}),
    logger: silentLogger,
    metrics: createBackendMetrics(new Metrics()),
    worker: new URL('../support/crashing-store-worker.ts', import.meta.url),
    startThread: few.start,
  });
  t.teardown(() => remote.stop());
  await remote.prepare();
  few.left = 2;
  remote.limitCache(0);
  t.equal(await codeOf(remote.read('crash')), 'unavailable', 'what is under way fails');
  const isBack = new Promise<void>((resolve) =>
    remote.onRestart(() => {
      if (remote.connect() !== undefined) resolve();
    }),
  );
  await isBack;
  t.equal(few.refused, 2);
  await remote.write('k', bytes('x'));
});

t.test('a thread that cannot start is told as any other failure', async (t) => {
  const remote = new RemoteStore({
    settings: s3Backend({ tls: { ...NO_TLS, caPath: '/no/such/authority.pem' } }),
    logger: silentLogger,
    metrics: createBackendMetrics(new Metrics()),
  });
  t.teardown(() => remote.stop());
  await t.rejects(remote.prepare(), { message: '/no/such/authority.pem' });
});

t.test('S3: what follows from the endpoint', (t) => {
  const usual = {
    region: '',
    bucket: 'traces',
    insecure: false,
    forcePathStyle: false,
    bucketLookup: 0,
  };
  const of = (endpoint: string, changes: object = {}) => endpointShape({ ...usual, endpoint, ...changes });
  const aws = { isAws: true, url: undefined, isPathStyle: false };
  t.same(of(''), { ...aws, region: 'us-east-1' });
  t.same(of('s3.amazonaws.com', { region: 'eu-west-1' }), { ...aws, region: 'eu-west-1' });
  t.same(of('s3.eu-central-1.amazonaws.com'), { ...aws, region: 'eu-central-1' });
  t.same(of('s3.dualstack.us-gov-west-1.amazonaws.com'), { ...aws, region: 'us-gov-west-1' });
  t.same(of('s3.cn-north-1.amazonaws.com.cn'), { ...aws, region: 'cn-north-1' });
  t.same(of('bucket.vpce-1-2.s3.us-east-2.vpce.amazonaws.com'), {
    ...aws,
    region: 'us-east-2',
    url: 'https://bucket.vpce-1-2.s3.us-east-2.vpce.amazonaws.com',
  });
  const other = { isAws: false, region: 'us-east-1', isPathStyle: true };
  t.same(of('minio:9000', { insecure: true }), { ...other, url: 'http://minio:9000' });
  t.same(of('https://minio:9000', { insecure: true }), { ...other, url: 'https://minio:9000' }, 'as it says');
  t.same(
    of('http://minio:9000'),
    { ...other, url: 'https://minio:9000' },
    'plain text only where `insecure` says so',
  );
  t.same(of('minio:9000', { bucketLookup: 1 }), { ...other, url: 'https://minio:9000', isPathStyle: false });
  t.same(of('storage.googleapis.com'), {
    ...other,
    url: 'https://storage.googleapis.com',
    isPathStyle: false,
  });
  t.ok(of('', { bucket: 'with.dots' }).isPathStyle);
  t.ok(of('', { forcePathStyle: true }).isPathStyle);
  t.end();
});

t.test('S3: credentials of files are read again, and stay while new ones cannot be had', async (t) => {
  let nowMs = 1_000_000;
  let found: { accessKeyId: string; secretAccessKey: string; expiration?: Date } | undefined;
  const provide = renewing(
    () => (found === undefined ? Promise.reject(new Error('none')) : Promise.resolve(found)),
    () => nowMs,
  );
  await t.rejects(provide(), { message: 'none' });
  found = { accessKeyId: 'first', secretAccessKey: 's' };
  t.match(await provide(), { accessKeyId: 'first', expiration: new Date(nowMs + 600_000) });
  found = undefined;
  nowMs += 600_000;
  t.match(await provide(), { accessKeyId: 'first', expiration: new Date(nowMs + 600_000) });
  found = { accessKeyId: 'second', secretAccessKey: 's', expiration: new Date(nowMs + 1000) };
  t.match(await provide(), { accessKeyId: 'second', expiration: new Date(nowMs + 1000) });
  found = undefined;
  nowMs += 1000;
  await t.rejects(provide(), { message: 'none' }, 'an end that is stated is one');
});

t.test('S3: credentials of the configuration come first, then those of the environment', async (t) => {
  const { bucket } = s3Backend({ accessKey: 'a', secretKey: 'b', sessionToken: 'c' });
  t.same(await s3Credentials(bucket as S3Settings, { MINIO_ROOT_USER: 'm', MINIO_ROOT_PASSWORD: 'p' }), {
    accessKeyId: 'a',
    secretAccessKey: 'b',
    sessionToken: 'c',
  });
  const none = s3Backend({}).bucket as S3Settings;
  const minio = { MINIO_ACCESS_KEY: 'm', MINIO_SECRET_KEY: 'p' };
  t.same(await s3Credentials(none, minio), { accessKeyId: 'm', secretAccessKey: 'p' });
  t.type(await s3Credentials(none, { ...minio, AWS_ACCESS_KEY_ID: 'x' }), 'function');
});

t.test('long listings are cut by the ids of blocks', (t) => {
  t.same(uuidBounds('00000000-0000-4000-8000-000000000000', 2), ['80000000']);
  t.same(uuidBounds('ffffffff-0000-4000-8000-000000000000', 3), []);
  t.same(uuidBounds('tenant', 3), []);
  t.end();
});

t.test('what errors of the network and statuses mean', (t) => {
  const coded = (code: string): Error => Object.assign(new Error('x'), { code });
  t.equal(networkFailure(coded('ECONNREFUSED'))?.kind, 'unreachable');
  t.equal(networkFailure(new Error('wrapped', { cause: coded('ECONNRESET') }))?.kind, 'unreachable');
  t.equal(networkFailure(new AggregateError([coded('ETIMEDOUT')]))?.kind, 'unreachable');
  t.equal(networkFailure(coded('DEPTH_ZERO_SELF_SIGNED_CERT'))?.kind, 'untrusted');
  t.equal(networkFailure(new DOMException('x', 'AbortError'))?.kind, 'cancelled');
  t.equal(networkFailure(new Error('x')), undefined);
  t.same([401, 403, 404, 416, 429, 500, 503, 400].map(kindOfStatus), [
    'credentials',
    'denied',
    'not_found',
    'range',
    'throttled',
    'busy',
    'busy',
    'refused',
  ]);
  t.equal(retryAfterMs('2'), 2000);
  t.equal(retryAfterMs('Wed, 21 Oct 2026 07:28:00 GMT'), undefined);
  t.equal(new BucketError('busy').kind, 'busy');
  t.end();
});
