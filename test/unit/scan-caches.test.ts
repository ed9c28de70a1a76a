// The caches of a scan thread share their bytes: columns of blocks have what the others leave.
import t from 'tap';
import { BlockOpener } from '../../src/store/block-opener.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';

const MIB = 1 << 20;
const CACHE_BYTES = 64 * MIB;

function anOpener(): BlockOpener {
  const store = new MemoryStore();
  return new BlockOpener({ local: store, backend: store, cacheBytes: CACHE_BYTES });
}

function fill(opener: BlockOpener): void {
  for (let i = 0; i < 128; i++) opener.cache.set(`column ${i}`, {}, MIB);
}

t.test('columns of blocks have what nothing else needs, and give it back', async (t) => {
  const opener = anOpener();
  opener.nextTurn();
  fill(opener);
  t.equal(opener.cachedBytes, CACHE_BYTES, 'all of it');
  for (let i = 0; i < 16; i++) opener.heads.set(`head ${i}`, {}, MIB);
  t.equal(opener.heads.sizeBytes, 8 * MIB, 'heads have an eighth at most');
  opener.nextTurn();
  t.equal(opener.cachedBytes, CACHE_BYTES, 'and no more than all is held when the next job begins');
  opener.heads.clear();
  for (let i = 0; i < 16; i++) {
    opener.heads.set(`head ${i}`, {}, MIB);
    opener.memos.set(`memo ${i}`, {}, MIB);
    opener.filters.cache.set(`filter ${i}`, {}, MIB);
  }
  opener.nextTurn();
  fill(opener);
  t.equal(opener.cache.sizeBytes, 40 * MIB, 'what is left where all others are full');
  t.equal(opener.cachedBytes, CACHE_BYTES);
});

t.test('where memory is short all of them shrink', async (t) => {
  const opener = anOpener();
  opener.nextTurn();
  fill(opener);
  opener.limitCache(1 / 4);
  t.equal(opener.cachedBytes, CACHE_BYTES / 4);
  fill(opener);
  t.equal(opener.cachedBytes, CACHE_BYTES / 4);
  opener.limitCache(1);
  fill(opener);
  t.equal(opener.cachedBytes, CACHE_BYTES);
});
