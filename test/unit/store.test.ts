// What the backend holds: polling, the blocklist between polls, tenant indexes, retention; and what carries
// results.
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { mock } from 'node:test';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { metaToBytes } from '../../src/block/meta-json.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { BucketStore } from '../../src/objectstore/bucket-store.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { Blocklist } from '../../src/store/blocklist.ts';
import { firstFound, packedBytes, packFound, unpackFound } from '../../src/store/pack.ts';
import { Poller, type PollerOptions } from '../../src/store/poller.ts';
import { INDEX_JSON } from '../../src/store/tenant-index.ts';
import { applySizeCap, storedBytes } from '../../src/store/size-cap.ts';
import { applyRetention } from '../../src/store/retention.ts';
import { Store } from '../../src/store/store.ts';
import { indexOwner } from '../../src/store/tenant-index.ts';
import { deleteUnfinished, UNFINISHED_MS } from '../../src/store/unfinished.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { MemoryBucket } from '../support/memory-bucket.ts';
import { testFolder } from '../support/test-folder.ts';

const ID = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

function aMeta(n: number, over: Partial<BlockMeta> = {}): BlockMeta {
  return {
    format: 'vParquet4',
    blockId: ID(n),
    tenantId: 'team',
    startSec: 1000,
    endSec: 2000,
    totalObjects: 3,
    sizeBytes: 1234,
    compactionLevel: 0,
    totalRecords: 1,
    bloomShards: 1,
    footerSizeBytes: 99,
    dedicatedColumns: [],
    replicationFactor: 0,
    ...over,
  };
}

function setUp(nowMs = 10_000_000, over: Partial<PollerOptions> = {}) {
  const clock = { nowMs };
  const store = new MemoryStore(() => clock.nowMs);
  const blocklist = new Blocklist();
  const poller = new Poller({
    store,
    blocklist,
    logger: silentLogger,
    concurrency: 2,
    tenantConcurrency: 2,
    nowMs: () => clock.nowMs,
    ...over,
  });
  const put = (meta: BlockMeta, name = 'meta.json'): Promise<void> =>
    store.write(`${meta.tenantId}/${meta.blockId}/${name}`, metaToBytes(meta));
  return { clock, store, blocklist, poller, put };
}

t.test('a poll finds live and compacted blocks, and ignores what is none', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await put(aMeta(2), 'meta.compacted.json');
  await store.write(`team/${ID(3)}/data.parquet`, new Uint8Array(1));
  await store.write(`team/${ID(4)}/meta.json`, new TextEncoder().encode('{half a me'));
  await store.write('team/not-a-block/meta.json', metaToBytes(aMeta(5)));
  t.same(await poller.poll(), []);
  t.same(await poller.writeIndexes(() => true), []);
  t.same([...blocklist.tenant('team').live.keys()], [ID(1)]);
  t.same([...blocklist.tenant('team').compacted.keys()], [ID(2)]);
  t.same([...blocklist.tenant('team').unreadable.keys()], [ID(4)], 'and tells what it cannot read');
  const index = JSON.parse(gunzipSync(await store.read('team/index.json.gz')).toString());
  t.equal(index.meta[0].blockID, ID(1));
  t.equal(index.compacted[0].blockID, ID(2));
  await store.delete(`team/${ID(1)}/meta.json`);
  await poller.poll();
  t.equal(blocklist.tenant('team').live.size, 0, 'a block that went away is gone after the next poll');
  const written: string[] = [];
  store.write = (key) => Promise.resolve(void written.push(key));
  await poller.writeIndexes(() => false);
  t.same(written, [], 'none is begun once the process stops');
  await poller.writeIndexes(() => true);
  t.same(written, ['team/index.pb.zst', 'team/index.json.gz']);
  await poller.writeIndexes(() => true);
  t.equal(written.length, 2, 'the same blocks are not written again');
  await poller.writeIndexes(() => false);
  await poller.writeIndexes(() => true);
  t.equal(written.length, 4, 'but where another process may have written them meanwhile');
});

t.test('a meta that is that of another block is believed nowhere, and harms no block', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'error', format: 'logfmt', write: (line) => lines.push(line) });
  const { store, blocklist, poller, put } = setUp(10_000_000, { logger });
  const lie = (folder: string, meta: BlockMeta, name = 'meta.json'): Promise<void> =>
    store.write(`${folder}/${name}`, metaToBytes(meta));
  await put(aMeta(1, { endSec: 9_999 }));
  await lie(`other/${ID(1)}`, aMeta(1));
  await lie(`other/${ID(2)}`, aMeta(1, { tenantId: 'other' }));
  await lie(`other/${ID(3)}`, aMeta(1), 'meta.compacted.json');
  await lie(
    `other/${ID(4)}`,
    aMeta(4, { tenantId: 'other', blockId: 'ABCDEF00-0000-4000-8000-000000000004' }),
  );
  const upper = 'abcdef00-0000-4000-8000-000000000005';
  await lie(`other/${upper}`, aMeta(5, { tenantId: 'other', blockId: upper.toUpperCase(), endSec: 9_999 }));
  t.same(await poller.poll(), []);
  t.same([...blocklist.tenant('team').live.keys()], [ID(1)]);
  const { live, compacted, unreadable } = blocklist.tenant('other');
  t.same(
    [...live.values()].map(({ tenantId, blockId }) => `${tenantId}/${blockId}`),
    [`other/${upper}`],
  );
  t.equal(compacted.size, 0);
  t.same([...unreadable.keys()].toSorted(), [ID(1), ID(2), ID(4)]);
  const whose = (n: number, meta: string) => `what is stored as other/${ID(n)} is the meta of ${meta}`;
  t.equal(unreadable.get(ID(1)), `other/${ID(1)}/meta.json: ${whose(1, `team/${ID(1)}`)}`);
  t.match(unreadable.get(ID(2)), whose(2, `other/${ID(1)}`));
  t.match(lines.join(''), `msg="block meta cannot be read" key=other/${ID(3)}/meta.compacted.json`);
  t.match(
    blocklist.gaps('other').map(({ code }) => code),
    ['block_corrupt', 'block_corrupt', 'block_corrupt'],
  );

  await poller.writeIndexes(() => true);
  const index = JSON.parse(gunzipSync(await store.read('other/index.json.gz')).toString());
  t.match(index, { meta: [{ tenantID: 'other', blockID: upper }], compacted: [] });
  const blockMsOf = (tenant: string): number => (tenant === 'other' ? 1 : 0);
  const times = { isOff: () => false, blockMsOf, compactedMs: 1 };
  const nowMs = (): number => 20_000_000;
  const retention = { store, blocklist, logger, times, owns: () => true, nowMs };
  t.same(await applyRetention(retention), { marked: 1, deleted: 0, failed: 0 });
  t.same(await store.listObjects(`other/${upper}`), ['meta.compacted.json']);
  t.same(await store.listObjects(`team/${ID(1)}`), ['meta.json'], 'the block of the other tenant is there');
});

t.test('the index of a tenant whose blocks cannot be listed stays as it is', async (t) => {
  const first = setUp();
  await first.put(aMeta(1));
  await first.poller.poll();
  await first.poller.writeIndexes(() => true);
  const index = await first.store.read(`team/${INDEX_JSON}`);

  // Another process, whose first listing fails.
  const { store, blocklist } = first;
  const again = setUp(undefined, { store });
  const listFolders = store.listFolders.bind(store);
  store.listFolders = async (folder) => {
    if (folder === 'team') throw new Error('slow down');
    return listFolders(folder);
  };
  await again.poller.poll();
  t.same(await again.poller.writeIndexes(() => true), []);
  t.same(await store.read(`team/${INDEX_JSON}`), index);
  t.equal(blocklist.tenant('team').live.size, 1);
});

t.test('a store that lists trees is not asked for each block', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await put(aMeta(2));
  await put(aMeta(3), 'meta.compacted.json');
  await put(aMeta(4));
  await put(aMeta(4), 'meta.compacted.json');
  await store.write(`team/${ID(5)}/data.parquet`, new Uint8Array(1));
  const asked: string[] = [];
  const read = store.read.bind(store);
  const stat = store.stat.bind(store);
  const listing = Object.assign(store, {
    listTree: async (tenant: string): Promise<string[]> => {
      const found: string[] = [];
      for (const block of await store.listFolders(tenant)) {
        for (const name of await store.listObjects(`${tenant}/${block}`)) found.push(`${block}/${name}`);
      }
      return found;
    },
    read: (key: string) => {
      asked.push(key);
      return read(key);
    },
    stat: (key: string) => {
      asked.push(key);
      return stat(key);
    },
  });
  await poller.poll();
  t.same([...blocklist.tenant('team').live.keys()].sort(), [ID(1), ID(2), ID(4)]);
  t.same([...blocklist.tenant('team').compacted.keys()], [ID(3)]);
  t.equal(asked.length, 5, 'each meta once, and when the compacted one became so');
  await poller.poll();
  t.equal(asked.length, 5, 'and never again');
  await listing.copy(`team/${ID(1)}/meta.json`, `team/${ID(1)}/meta.compacted.json`);
  await listing.delete(`team/${ID(1)}/meta.json`);
  await listing.deleteFolder(`team/${ID(2)}`);
  await poller.poll();
  t.same([...blocklist.tenant('team').live.keys()], [ID(4)]);
  t.same([...blocklist.tenant('team').compacted.keys()].sort(), [ID(1), ID(3)]);
});

t.test('what is not known is told until the backend was listed', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await put(aMeta(2, { tenantId: 'other' }));
  const listFolders = store.listFolders.bind(store);
  let failing = '';
  store.listFolders = (prefix) =>
    prefix === failing ? Promise.reject(new TempoError('unavailable', 'no list')) : listFolders(prefix);
  const reasons = () => ['team', 'other', 'third'].map((tenant) => blocklist.tenant(tenant).unlisted);
  t.same(reasons(), [undefined, undefined, undefined]);
  await t.rejects(poller.poll(), { code: 'unavailable' });
  t.same(reasons(), ['no list', 'no list', 'no list']);
  blocklist.added(aMeta(9));
  t.equal(reasons()[0], 'no list', 'also with blocks of its own');
  failing = 'team';
  await poller.poll();
  t.same(reasons(), ['no list', undefined, undefined]);
  await poller.poll();
  t.same(reasons(), ['no list', undefined, undefined], 'as long as it fails');
  failing = 'none';
  await poller.poll();
  t.same(reasons(), [undefined, undefined, undefined]);
  failing = '';
  await t.rejects(poller.poll(), { code: 'unavailable' });
  t.same(reasons(), [undefined, undefined, undefined], 'later what was known stands');
});

/** A started store in time that moves by hand; listing the folder `state.failing` fails. */
async function polling(failing: string, blocklistPollMs: number) {
  mock.timers.enable({ apis: ['setTimeout'] });
  const { store: objectStore, put } = setUp();
  await put(aMeta(1));
  await put(aMeta(2, { tenantId: 'other' }));
  const state = { failing, nowSec: 0, polledSec: [] as number[], lines: [] as string[] };
  const listFolders = objectStore.listFolders.bind(objectStore);
  objectStore.listFolders = (prefix) => {
    if (prefix === '') state.polledSec.push(state.nowSec);
    if (prefix === state.failing) return Promise.reject(new TempoError('unavailable', 'no list'));
    return listFolders(prefix);
  };
  const write = (line: string): void => void state.lines.push(line);
  const store = new Store({
    objectStore,
    logger: createLogger({ level: 'error', format: 'logfmt', write }),
    metrics: new Metrics(),
    polls: true,
    blocklistPollMs,
    blocklistPollConcurrency: 2,
    blocklistPollTenantConcurrency: 0,
    retention: undefined,
    retainsAtPolls: false,
    ownsBlock: () => false,
    ownsIndex: () => false,
    indexAgeMsMax: 0,
    leftoversMs: 0,
    sizeBytesMax: 0,
    scanThreads: 0,
    scanQueueLengthMax: 1,
    scanTenantQueueLengthMax: 1,
    scanHeapBytesMax: 0,
    scanBatchSizeMax: 1,
    scanWorkerData: { localBlocksPath: '', backendPath: '', cacheBytes: 0 },
    nowMs: () => 10_000_000,
  });
  await store.start();
  /** @returns when the backend was polled since the last call. */
  const wait = async (seconds: number): Promise<readonly number[]> => {
    for (let i = 0; i < seconds; i++) {
      state.nowSec++;
      mock.timers.tick(1000);
      for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
    }
    return state.polledSec.splice(0);
  };
  return { store, state, wait };
}

t.test('until blocks are known they are looked for soon again', async (t) => {
  t.teardown(() => mock.timers.reset());
  const { store, state, wait } = await polling('', 300_000);
  const unlisted = () => ['team', 'other'].map((tenant) => store.blocklist.tenant(tenant).unlisted);
  t.same(unlisted(), ['no list', 'no list'], 'the process is there all the same');
  t.same(await wait(100), [0, 1, 3, 7, 15, 31, 61, 91]);
  t.match(state.lines[2], /msg="polling the backend failed, it is tried again" delay_ms=4000 .*no list/);
  t.match(state.lines.at(-1), 'delay_ms=30000');
  state.failing = 'team';
  t.same(await wait(900), [121, 181, 301, 541, 841], 'a tenant that fails: at last as often as ever');
  t.same(unlisted(), ['no list', undefined]);
  state.failing = 'none';
  t.same(await wait(1000), [1141, 1441, 1741]);
  t.same(unlisted(), [undefined, undefined]);
  state.failing = '';
  state.lines.length = 0;
  t.same(await wait(600), [2041, 2341], 'what is known stands, there is no hurry');
  t.match(state.lines, [/delay_ms=300000/, /delay_ms=300000/]);
  await store.stop();
  t.same(await wait(600), []);
});

t.test('a poll that is due sooner is not put off', async (t) => {
  t.teardown(() => mock.timers.reset());
  const { store, state, wait } = await polling('', 3000);
  t.same(await wait(10), [0, 1, 3, 6, 9]);
  state.failing = 'none';
  t.same(await wait(10), [12, 15, 18]);
  await store.stop();
});

t.test('a backend that can be listed is not in a hurry', async (t) => {
  t.teardown(() => mock.timers.reset());
  const { store, state, wait } = await polling('none', 60_000);
  t.same(await wait(130), [0, 60, 120]);
  t.same(state.lines, []);
  await store.stop();
});

t.test('blocks that are compacted while they are listed hide no spans', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await poller.poll();
  const mark = async (n: number): Promise<void> => {
    await store.copy(`team/${ID(n)}/meta.json`, `team/${ID(n)}/meta.compacted.json`);
    await store.delete(`team/${ID(n)}/meta.json`);
  };
  const listFolders = store.listFolders.bind(store);
  let lists = 0;
  let next = 2;
  let changesLeft = 1;
  store.listFolders = async (prefix) => {
    const found = await listFolders(prefix);
    if (prefix === '') return found;
    lists++;
    if (changesLeft-- <= 0) return found;
    // another process replaces the block behind the back of the one that lists
    await put(aMeta(next));
    await mark(next - 1);
    next++;
    return found;
  };
  t.same(await poller.poll(), []);
  t.same([...blocklist.tenant('team').live.keys()], [ID(2)]);
  t.equal(lists, 2);
  await poller.poll();
  t.equal(lists, 3, 'once where nothing changes');
  changesLeft = 100;
  t.same(await poller.poll(), [], 'also a list that never holds still is one');
  t.ok(blocklist.tenant('team').live.has(ID(next - 2)), 'what was replaced last is still read');
  t.notOk(blocklist.tenant('team').live.has(ID(2)), 'what was replaced before that is not');
  changesLeft = 0;
  await poller.poll();
  t.same([...blocklist.tenant('team').live.keys()], [ID(next - 1)]);
});

t.test('a block that is deleted while it is listed hides nothing of the one in its place', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1), 'meta.compacted.json');
  await store.write(`team/${ID(1)}/data.parquet`, new Uint8Array(10));
  const listFolders = store.listFolders.bind(store);
  store.listFolders = async (prefix) => {
    const names = await listFolders(prefix);
    if (prefix !== 'team') return names;
    store.listFolders = listFolders;
    // What took its place came after the list was made; the deletion of its objects has begun.
    await put(aMeta(2));
    await store.delete(`team/${ID(1)}/meta.compacted.json`);
    return names;
  };
  await poller.poll();
  t.same([...blocklist.tenant('team').live.keys()], [ID(2)]);
  t.same([...blocklist.tenant('team').unfinished.keys()], [ID(1)]);
});

t.test('a block that somebody gave its meta back is one again', async (t) => {
  const { blocklist, poller, put } = setUp();
  await put(aMeta(1), 'meta.compacted.json');
  await poller.poll();
  t.same([...blocklist.tenant('team').compacted.keys()], [ID(1)]);
  await put(aMeta(1));
  await poller.poll();
  t.same([...blocklist.tenant('team').live.keys()], [ID(1)]);
  t.equal(blocklist.tenant('team').compacted.size, 0, 'retention leaves it alone');
});

t.test('folders that may be those of others, or are written right now, stay', async (t) => {
  const folder = testFolder(t);
  const store = new LocalStore(folder);
  const blocklist = new Blocklist();
  const clock = { nowMs: Date.now() };
  const nowMs = (): number => clock.nowMs;
  const options = { store, blocklist, logger: silentLogger, concurrency: 1, tenantConcurrency: 1, nowMs };
  const poller = new Poller(options);
  const old = new Date(clock.nowMs - 3 * UNFINISHED_MS);
  const put = (path: string): void => {
    fs.mkdirSync(dirname(`${folder}/team/${path}`), { recursive: true });
    fs.writeFileSync(`${folder}/team/${path}`, 'x');
    fs.utimesSync(`${folder}/team/${path}`, old, old);
  };
  put(`${ID(1)}/.tmp-data.parquet`);
  put(`${ID(2)}/photos/a.jpg`);
  put(`${ID(3)}/data.parquet`);
  const upkeep = async (afterMs: number) => {
    clock.nowMs += afterMs;
    await poller.poll();
    return deleteUnfinished({ store, blocklist, logger: silentLogger, owns: () => true, nowMs });
  };
  t.same(await upkeep(0), { deleted: 0, failed: 0 });
  t.same(await upkeep(1000), { deleted: 0, failed: 0 }, 'an old file may just have been put back');
  t.same(await upkeep(UNFINISHED_MS), { deleted: 1, failed: 0 });
  t.same((await store.listFolders('team')).toSorted(), [ID(1), ID(2)]);
});

t.test('uploads that were never finished count, and go after a day', async (t) => {
  const { clock, store, blocklist, poller, put } = setUp();
  const write = (key: string): Promise<void> => store.write(`team/${key}`, new Uint8Array(100));
  await put(aMeta(1), 'meta.compacted.json');
  await write(`${ID(1)}/data.parquet`);
  await write(`${ID(2)}/data.parquet`);
  await write(`${ID(2)}/bloom-0`);
  await write(`${ID(2)}/value-filter`);
  await write(`${ID(3)}/data.parquet`);
  await write(`${ID(3)}/precious`);
  await write('not-a-block/data.parquet');
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  let isOwn = true;
  const owns = (block: string): boolean => isOwn || block !== ID(2);
  const upkeep = async (afterMs: number) => {
    clock.nowMs += afterMs;
    await poller.poll();
    return deleteUnfinished({ store, blocklist, logger, owns, nowMs: () => clock.nowMs });
  };
  t.same(await upkeep(1000), { deleted: 0, failed: 0 });
  t.same([...blocklist.tenant('team').unfinished.keys()], [ID(2), ID(3)]);
  t.equal(storedBytes(blocklist), 1234, 'an upload under way is not measured');
  t.same(await upkeep(1000), { deleted: 0, failed: 0 });
  t.equal(storedBytes(blocklist), 1534);
  await write(`${ID(2)}/index`);
  t.same(await upkeep(UNFINISHED_MS - 1000), { deleted: 0, failed: 0 }, 'something was added meanwhile');
  isOwn = false;
  t.same(await upkeep(2000), { deleted: 0, failed: 0 }, 'it is for another to look after');
  isOwn = true;
  const deleteFolder = store.deleteFolder.bind(store);
  store.deleteFolder = () => Promise.reject(new TempoError('unavailable', 'no'));
  t.same(await upkeep(2000), { deleted: 0, failed: 1 });
  store.deleteFolder = deleteFolder;
  t.same(await upkeep(2000), { deleted: 1, failed: 0 });
  t.match(lines.join(''), /block that was never finished is deleted.*size_bytes=400/);
  t.equal(storedBytes(blocklist), 1234);
  t.same((await store.listFolders('team')).toSorted(), [ID(1), ID(3), 'not-a-block']);
  await put(aMeta(3));
  await poller.poll();
  t.same([...blocklist.tenant('team').unfinished.keys()], [], 'a meta makes it a block');
});

t.test('a day of idle polling on 10,000 blocks costs cents', async (t) => {
  const bucket = new MemoryBucket();
  const store = new BucketStore({
    bucket,
    prefix: 'some/where',
    retry: { attemptsMax: 1, firstDelayMs: 0, delayMsMax: 0 },
    hedge: { afterMs: 0, requestsMax: 1 },
    listConcurrency: 3,
    isWriter: true,
    onRetry: () => {},
    onHedge: () => {},
  });
  const blocks = 10_000;
  for (let n = 0; n < blocks; n++) {
    const blockId = `${hash('md5', String(n)).slice(0, 8)}-0000-4000-8000-${String(n).padStart(12, '0')}`;
    const folder = `some/where/team/${blockId}`;
    for (const name of ['data.parquet', 'bloom-0', 'index'])
      bucket.objects.set(`${folder}/${name}`, new Uint8Array(1));
    bucket.objects.set(`${folder}/meta.json`, metaToBytes(aMeta(n, { blockId })));
  }
  const { blocklist, clock } = setUp();
  const nowMs = () => clock.nowMs;
  const poller = new Poller({
    store,
    blocklist,
    logger: silentLogger,
    concurrency: 50,
    tenantConcurrency: 2,
    nowMs,
  });
  const counted = async (work: () => Promise<unknown>) => {
    const before = { ...bucket.calls };
    await work();
    const { list, read, stat, write } = bucket.calls;
    return {
      list: list - before.list,
      get: read + stat - before.read - before.stat,
      put: write - before.write,
    };
  };
  const poll = () => poller.poll();
  const first = await counted(poll);
  t.equal(blocklist.tenant('team').live.size, blocks);
  t.ok(first.list <= 45, `${first.list} lists`);
  t.equal(first.get, blocks, 'each meta once');
  const idle = await counted(async () => {
    await poll();
    await deleteUnfinished({ store, blocklist, logger: silentLogger, owns: () => true, nowMs });
  });
  t.comment(`idle poll: ${idle.list} lists, ${idle.get} reads`);
  t.ok(idle.list <= 45, `${idle.list} lists`);
  t.equal(idle.get, 0);
  t.strictSame(await counted(() => poller.writeIndexes(() => true)), { list: 0, get: 0, put: 2 });
  t.strictSame(await counted(() => poller.writeIndexes(() => true)), { list: 0, get: 0, put: 0 });
  const POLLS_A_DAY = 288;
  const DOLLARS_PER_LIST = 0.005 / 1000;
  const cents = idle.list * POLLS_A_DAY * DOLLARS_PER_LIST * 100;
  t.ok(cents < 7, `${cents} cents`);
});

t.test('an index that cannot be written hides no blocks', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  await put(aMeta(1));
  store.write = () => Promise.reject(new TempoError('unavailable', 'no space left on device'));
  t.same(await poller.poll(), []);
  t.same(await poller.writeIndexes(() => true), ['team']);
  t.same([...blocklist.tenant('team').live.keys()], [ID(1)]);
});

t.test('a tenant whose last block is gone has no index', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  const cycle = async (isOurs = true): Promise<readonly string[]> => {
    await poller.poll();
    await poller.writeIndexes(() => isOurs);
    return store.listObjects('team');
  };
  const indexes = ['index.pb.zst', 'index.json.gz'];
  await put(aMeta(1));
  await store.write('team/note.txt', new Uint8Array(1));
  t.same((await cycle()).toSorted(), [...indexes, 'note.txt'].toSorted());
  await store.deleteFolder(`team/${ID(1)}`);
  t.equal((await cycle(false)).length, 3, 'it is not for others to delete');
  const deleted: string[] = [];
  const remove = store.delete.bind(store);
  store.delete = (key) => {
    deleted.push(key);
    return remove(key);
  };
  t.same(await cycle(), ['note.txt'], 'and nothing else goes');
  await cycle();
  t.same(
    deleted,
    indexes.map((name) => `team/${name}`),
    'once',
  );
  await put(aMeta(2));
  t.equal((await cycle()).length, 3, 'there is one again when there is a block');
  await store.deleteFolder(`team/${ID(2)}`);
  blocklist.deleted('team', ID(2));
  await poller.writeIndexes(() => true);
  t.same(await store.listObjects('team'), ['note.txt'], 'before the next poll, too');
  blocklist.added(aMeta(3));
  await poller.writeIndexes(() => true);
  blocklist.deleted('team', ID(3));
  await poller.writeIndexes(() => true);
  t.same(await store.listObjects('team'), ['note.txt'], 'of a block that came and went between polls');
});

t.test('the index of a first block that came since the poll stays', async (t) => {
  const { store, poller, put } = setUp();
  await store.write('team/index.json.gz', new Uint8Array(1));
  await poller.poll();
  await put(aMeta(1));
  await poller.writeIndexes(() => true);
  t.same(await store.listObjects('team'), ['index.json.gz'], 'another process may have written it');
});

t.test('what lies in the folder of a tenant without blocks', async (t) => {
  const { clock, store, poller } = setUp(10_000_000, { leftoversMs: 3000 });
  const cycle = async (): Promise<readonly string[]> => {
    await poller.poll();
    await poller.writeIndexes(() => true);
    return store.listFolders('');
  };
  await store.write('old/index.json.gz', new Uint8Array(1));
  await store.write('old/note.txt', new Uint8Array(1));
  await store.write('overrides/team/overrides.json', new Uint8Array(1));
  t.same(await cycle(), ['old', 'overrides'], 'stays while it is young');
  clock.nowMs += 2000;
  await store.write('old/other.txt', new Uint8Array(1));
  clock.nowMs += 2000;
  t.same(await store.listObjects('old'), ['note.txt', 'other.txt']);
  t.same(await cycle(), ['old', 'overrides'], 'and while any of it is');
  clock.nowMs += 2000;
  t.same(await cycle(), ['overrides'], 'folders stay');
});

t.test('an index that readers would take for old is written again', async (t) => {
  const { clock, store, poller, put } = setUp(10_000_000, { indexAgeMsMax: 600_000 });
  await put(aMeta(1));
  const createdAt = async (): Promise<number> => {
    await poller.poll();
    await poller.writeIndexes(() => true);
    const index = JSON.parse(gunzipSync(await store.read('team/index.json.gz')).toString());
    return Date.parse(index.created_at) - 10_000_000;
  };
  t.equal(await createdAt(), 0);
  clock.nowMs += 599_999;
  t.equal(await createdAt(), 0);
  clock.nowMs += 1;
  t.equal(await createdAt(), 600_000);
});

t.test('whose the index of a tenant is', (t) => {
  const asked: string[] = [];
  const shareOf = (own: string) => ({ owns: (key: string) => (asked.push(key), key === own) });
  const first = indexOwner(shareOf('build-tenant-index-0-team'), 2);
  const second = indexOwner(shareOf('build-tenant-index-1-team'), 2);
  const third = indexOwner(shareOf('build-tenant-index-2-team'), 2);
  t.same(
    [first, second, third].map((owns) => owns('team')),
    [true, true, false],
    'of two members',
  );
  t.same(new Set(asked), new Set(['build-tenant-index-0-team', 'build-tenant-index-1-team']));
  t.notOk(first('other'));
  t.ok(indexOwner(undefined, 2)('team'), 'of whoever has the upkeep to itself');
  t.notOk(indexOwner(undefined, 0)('team'), 'or nobody writes it');
  t.notOk(indexOwner(shareOf('build-tenant-index-0-team'), -1)('team'));
  t.end();
});

t.test('what happens during a poll survives it', async (t) => {
  const { blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await poller.poll();
  blocklist.beginPoll();
  blocklist.added(aMeta(7));
  blocklist.compacted({ meta: aMeta(1), compactedMs: 5 });
  const live = new Map([[ID(1), aMeta(1)]]);
  blocklist.replace(
    new Map([['team', { live, compacted: new Map(), unreadable: new Map(), unfinished: new Map() }]]),
  );
  t.same([...blocklist.tenant('team').live.keys()], [ID(7)]);
  t.same([...blocklist.tenant('team').compacted.keys()], [ID(1)]);
  blocklist.beginPoll();
  blocklist.replace(
    new Map([['team', { live, compacted: new Map(), unreadable: new Map(), unfinished: new Map() }]]),
  );
  t.same([...blocklist.tenant('team').live.keys()], [ID(1)], 'what was before it does not count');
});

t.test('a block that a poll saw compacted before its uploader told of it is not live too', async (t) => {
  const { blocklist, poller, put } = setUp();
  await put(aMeta(1));
  await put(aMeta(2), 'meta.compacted.json');
  const ids = () => {
    const { live, compacted } = blocklist.tenant('team');
    return { live: [...live.keys()], compacted: [...compacted.keys()] };
  };
  const polled = poller.poll();
  blocklist.added(aMeta(2));
  t.same(ids(), { live: [ID(2)], compacted: [] });
  await polled;
  t.same(ids(), { live: [ID(1)], compacted: [ID(2)] });
  blocklist.added(aMeta(2));
  t.same(ids(), { live: [ID(1)], compacted: [ID(2)] });
});

t.test('tenants are polled side by side, and one that fails keeps its blocks', async (t) => {
  const { store, blocklist, poller, put } = setUp();
  const tenants = Array.from({ length: 40 }, (_, i) => `tenant-${i}`);
  for (const tenantId of tenants) await put(aMeta(1, { tenantId }));
  t.same(await poller.poll(), []);
  t.same(blocklist.tenants().toSorted(), tenants.toSorted());
  const list = store.listFolders.bind(store);
  let busy = 0;
  let busiest = 0;
  store.listFolders = async (prefix) => {
    busiest = Math.max(busiest, ++busy);
    await new Promise(setImmediate);
    busy--;
    if (prefix === 'tenant-7') throw new TempoError('unavailable', 'no answer');
    return list(prefix);
  };
  t.same(await poller.poll(), ['tenant-7']);
  t.equal(busiest, 2);
  t.equal(blocklist.tenant('tenant-7').live.size, 1);
});

t.test('overlap in time', (t) => {
  const blocklist = new Blocklist();
  blocklist.added(aMeta(1, { startSec: 100, endSec: 200 }));
  const cases = [
    { startSec: undefined, endSec: undefined, want: 1 },
    { startSec: 200, endSec: 300, want: 1 },
    { startSec: 201, endSec: 300, want: 0 },
    { startSec: 50, endSec: 100, want: 1 },
    { startSec: 50, endSec: 99, want: 0 },
    { startSec: 150, endSec: undefined, want: 1 },
  ];
  for (const { want, ...range } of cases) {
    t.equal(blocklist.overlapping('team', range).length, want, JSON.stringify(range));
  }
  t.same(blocklist.overlapping('other', { startSec: undefined, endSec: undefined }), []);
  t.end();
});

t.test('retention marks what is old and deletes what was marked long ago', async (t) => {
  const { clock, store, blocklist, poller, put } = setUp(10_000_000);
  await put(aMeta(1, { endSec: 5_000 }));
  await put(aMeta(2, { endSec: 9_500 }));
  await poller.poll();
  const lines: string[] = [];
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  const options = {
    store,
    blocklist,
    logger,
    times: { isOff: (): boolean => false, blockMsOf: () => 1_000_000, compactedMs: 60_000 },
    owns: (): boolean => true,
    nowMs: () => clock.nowMs,
  };
  const nothing = { marked: 0, deleted: 0, failed: 0 };
  t.same(await applyRetention({ ...options, owns: (id) => id === ID(2) }), nothing, 'it is of another');
  const meta = new Uint8Array(await store.read(`team/${ID(1)}/meta.json`));
  await store.delete(`team/${ID(1)}/meta.json`);
  t.same([await applyRetention(options), lines], [nothing, []], 'another process was first: no failure');
  await store.write(`team/${ID(1)}/meta.json`, meta);
  const frozen = { ...options.times, isOff: (tenant: string) => tenant === 'team' };
  t.same(await applyRetention({ ...options, times: frozen }), nothing, 'the tenant is frozen');
  t.same(await applyRetention(options), { marked: 1, deleted: 0, failed: 0 });
  t.match(lines.splice(0).join(''), /^.* level=info msg="block is older than block_retention" .*\n$/);
  t.same([...blocklist.tenant('team').live.keys()], [ID(2)]);
  t.same(await store.listObjects(`team/${ID(1)}`), ['meta.compacted.json']);
  clock.nowMs += 59_999;
  const forEver = { ...options.times, blockMsOf: (tenant: string) => (tenant === 'team' ? 0 : 1) };
  const later = { ...options, times: forEver };
  t.same(await applyRetention(later), { marked: 0, deleted: 0, failed: 0 }, 'queries may still read it');
  clock.nowMs += 2;
  t.same(await applyRetention({ ...later, owns: (id) => id === ID(2) }), nothing, 'it is of another');
  t.same(lines, []);
  t.same(await applyRetention(later), { marked: 0, deleted: 1, failed: 0 });
  t.match(lines.join(''), / level=info msg="block is deleted" tenant=team block=/);
  t.same(await store.listObjects(`team/${ID(1)}`), []);
  t.same(await store.listObjects(`team/${ID(2)}`), ['meta.json']);
});

t.test('found traces: newest first, packed and told apart', (t) => {
  const found = [
    { traceId: 'a', startUnixNano: 1n, durationNanos: 1n, json: new TextEncoder().encode('{"a"}') },
    { traceId: 'c', startUnixNano: 3n, durationNanos: 1n, json: new TextEncoder().encode('{"ccc"}') },
    { traceId: 'b', startUnixNano: 3n, durationNanos: 1n, json: new TextEncoder().encode('{}') },
  ];
  const newest = firstFound(found, 2);
  t.same(
    newest.map((trace) => trace.traceId),
    ['b', 'c'],
  );
  const packed = packFound(newest, 'json');
  t.same([...packed.bodyEnds], [2, 9]);
  t.equal(packed.ids[15], 0x0b);
  t.equal(packed.starts[1], 3n);
  t.end();
});

t.test('found traces in large buffers go as they are, little of one is copied', (t) => {
  const KIB = 1 << 10;
  const [full, sparse] = [new Uint8Array(100 * KIB), new Uint8Array(5000 * KIB)];
  const trace = (traceId: string, json: Uint8Array) => {
    json.fill(traceId.charCodeAt(0));
    return { traceId, startUnixNano: 1n, durationNanos: 1n, json };
  };
  const found = [
    trace('a', sparse.subarray(10, 10 + 900 * KIB)),
    trace('b', full.subarray(50 * KIB)),
    trace('c', sparse.subarray(1000 * KIB, 1900 * KIB)),
    trace('d', full.subarray(KIB, 50 * KIB)),
    trace('e', new Uint8Array(1)),
    trace('f', new Uint8Array(3000 * KIB)),
  ];
  const packed = packFound(found, 'json');
  t.same(
    packed.chunks.map(({ length }) => length / KIB),
    [100, 3000, 1024, 900 + 1 / KIB],
    'two as they are, and what is left of the others in pieces',
  );
  t.ok(packed.chunks[0]!.buffer === full.buffer);
  t.equal(
    packedBytes(packed),
    packed.chunks.reduce((sum, { length }) => sum + length, 0),
  );
  for (const [i, { traceId, body }] of unpackFound(packed).entries()) {
    t.equal(traceId, found[i]!.traceId);
    t.ok(Buffer.compare(body, found[i]!.json) === 0, traceId);
  }
  t.equal(packFound([], 'json').chunks.length, 0);
  t.end();
});

t.test('a bound on what is kept: compacted blocks go first, then the oldest', async (t) => {
  const { clock, store, blocklist, poller, put } = setUp();
  await put(aMeta(1, { endSec: 300, sizeBytes: 100 }));
  await put(aMeta(2, { endSec: 200, sizeBytes: 100, tenantId: 'other' }));
  await put(aMeta(3, { endSec: 400, sizeBytes: 100 }));
  await put(aMeta(4, { endSec: 900, sizeBytes: 50 }), 'meta.compacted.json');
  await poller.poll();
  t.equal(storedBytes(blocklist), 350);
  const cap = (sizeBytesMax: number, otherBytes = 0) =>
    applySizeCap({ store, blocklist, logger: silentLogger, sizeBytesMax, otherBytes });
  const live = (): string[] =>
    blocklist.tenants().flatMap((tenant) => [...blocklist.tenant(tenant).live.keys()]);
  t.same(await cap(0, 10_000), { deleted: 0, failed: 0 }, '0 = no bound');
  t.same(await cap(350), { deleted: 0, failed: 0 });
  t.same(await cap(349), { deleted: 1, failed: 0 });
  t.same(live().toSorted(), [ID(1), ID(2), ID(3)], 'the compacted one is gone');
  t.same(await cap(300, 50), { deleted: 1, failed: 0 }, 'the log counts');
  t.same(live().toSorted(), [ID(1), ID(3)], 'the oldest of all tenants is gone');
  t.same(await store.listObjects(`other/${ID(2)}`), []);
  clock.nowMs += 1;
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const logger = createLogger({ level: 'warn', format: 'logfmt', write });
  const all = await applySizeCap({ store, blocklist, logger, sizeBytesMax: 10, otherBytes: 100 });
  t.same(all, { deleted: 2, failed: 0 });
  t.match(lines.at(-1), 'no block is left to delete" excess_bytes=90');
  t.match(lines[0], 'oldest block is deleted to make room" tenant=team');
  const failing = setUp();
  await failing.put(aMeta(1, { sizeBytes: 100 }));
  await failing.poller.poll();
  failing.store.delete = () => Promise.reject(new TempoError('unavailable', 'no'));
  const { store: broken, blocklist: its } = failing;
  const result = await applySizeCap({
    store: broken,
    blocklist: its,
    logger: silentLogger,
    sizeBytesMax: 1,
    otherBytes: 0,
  });
  t.same(result, { deleted: 0, failed: 1 });
  t.equal(storedBytes(its), 100, 'it is still there, and counted');
});
