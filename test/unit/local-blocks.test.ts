// The ingester's own folder of blocks: what is in the backend long enough goes, also while there is always
// somebody who asks, and what got there whole is not written again.
import t from 'tap';
import { COMPACTED_META_NAME, META_NAME, type BlockMeta } from '../../src/block/meta.ts';
import { LocalBlocks } from '../../src/modules/ingester/local-blocks.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import { silentLogger } from '../../src/telemetry/log.ts';

const META: BlockMeta = {
  format: 'vParquet4',
  blockId: 'a',
  tenantId: 'team',
  startSec: 0,
  endSec: 1,
  totalObjects: 1,
  sizeBytes: 100,
  compactionLevel: 0,
  totalRecords: 4,
  bloomShards: 1,
  footerSizeBytes: 1,
  dedicatedColumns: [],
  replicationFactor: 0,
};
const ANY = { startSec: undefined, endSec: undefined };

t.test('a block whose time is up is listed no more, and deleted after its last reader', async (t) => {
  let nowMs = 1000;
  const store = new MemoryStore();
  await store.write(`team/a/${META_NAME}`, new Uint8Array(1));
  const blocks = new LocalBlocks({
    store,
    path: '/none',
    backend: new MemoryStore(),
    completeBlockTimeoutMs: 100,
    logger: silentLogger,
    nowMs: () => nowMs,
  });
  const block = blocks.add(META);
  nowMs = 5000;
  t.equal(await blocks.deleteExpired(), 0, 'the only copy stays');
  block.safeSinceMs = 4950;
  t.equal(await blocks.deleteExpired(), 0);
  t.same(blocks.overlapping('team', ANY), [block], 'its time is not up');
  block.readers++;
  nowMs = 5051;
  t.equal(await blocks.deleteExpired(), 0, 'it is read');
  t.same(blocks.overlapping('team', ANY), [], 'nobody else begins to');
  t.same(await store.listFolders('team'), ['a'], 'who has it open can read it');
  block.readers--;
  t.equal(await blocks.deleteExpired(), 1);
  t.same(await store.listFolders('team'), []);
  t.notOk(blocks.has('team'));
});

/** Takes files from another store, and counts them. */
class Backend extends MemoryStore {
  readonly written: string[] = [];
  /** Somebody deletes what he found before: they go as the block gets its meta. */
  losing: readonly string[] = [];
  private readonly files: MemoryStore;

  constructor(files: MemoryStore) {
    super();
    this.files = files;
  }

  override async writeFile(key: string, path: string): Promise<void> {
    this.written.push(key.slice('team/a/'.length));
    await this.write(key, await this.files.read(path.slice('/local/'.length)));
    if (!key.endsWith(META_NAME)) return;
    for (const name of this.losing) await this.delete(`team/a/${name}`);
    this.losing = [];
  }
}

/** Writes into it fail so often. */
class FullStore extends MemoryStore {
  failures = 0;

  override async write(...args: Parameters<MemoryStore['write']>): Promise<void> {
    if (this.failures-- > 0) throw new Error('no space left');
    await super.write(...args);
  }
}

/** A block that is to be uploaded. */
async function aWaitingBlock() {
  const store = new FullStore();
  const files = { 'data.parquet': META.sizeBytes, index: 3, [META_NAME]: 5 };
  for (const [name, size] of Object.entries(files)) await store.write(`team/a/${name}`, new Uint8Array(size));
  const backend = new Backend(store);
  const blocks = new LocalBlocks({
    store,
    path: '/local',
    backend,
    completeBlockTimeoutMs: 100,
    logger: silentLogger,
    nowMs: () => 1000,
  });
  return { store, backend, blocks, block: blocks.add(META) };
}

t.test('a block that got into the backend whole is not written there again', async (t) => {
  const { store, backend, blocks, block } = await aWaitingBlock();
  const notMarked = async (): Promise<void> => {
    store.failures = 1;
    await t.rejects(blocks.upload(block), { message: 'no space left' });
  };
  await notMarked();
  t.strictSame(backend.written.splice(0), ['data.parquet', 'index', META_NAME]);
  await notMarked();
  t.strictSame(backend.written, [], 'it is there');
  await backend.write(`team/a/${COMPACTED_META_NAME}`, new Uint8Array(5));
  for (const name of [META_NAME, 'data.parquet']) await backend.delete(`team/a/${name}`);
  await notMarked();
  t.equal(await blocks.upload(block), 'compacted');
  await store.delete('team/a/flushed');
  t.strictSame(backend.written, [], 'it was joined with others, and somebody is about to delete it');
  await backend.deleteFolder('team/a');
  await backend.write(`team/a/${META_NAME}`, new Uint8Array(5));
  t.equal(await blocks.upload(block), 'live');
  t.strictSame(backend.written, ['data.parquet', 'index', META_NAME], 'it was not whole');
  t.ok((await store.listObjects('team/a')).includes('flushed'));
});

for (const name of ['data.parquet', 'index']) {
  t.test(`a block whose ${name} is deleted while it is written again is written once more`, async (t) => {
    const { store, backend, blocks, block } = await aWaitingBlock();
    block.mayBeUploaded = true;
    backend.losing = [name];
    await t.rejects(blocks.upload(block), { code: 'unavailable' });
    t.notOk((await store.listObjects('team/a')).includes('flushed'));
    t.equal(await blocks.upload(block), 'live');
    t.strictSame((await backend.listObjects('team/a')).toSorted(), ['data.parquet', 'index', META_NAME]);
    t.ok((await store.listObjects('team/a')).includes('flushed'));
  });
}
