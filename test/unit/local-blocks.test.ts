// The ingester's own folder of blocks: what is in the backend long enough goes, also while there is always
// somebody who asks.
import t from 'tap';
import { META_NAME, type BlockMeta } from '../../src/block/meta.ts';
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
