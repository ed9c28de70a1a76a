// What every object store must do, whichever it is: the unit tests hold the local folder and the memory to
// it, the component tests the clouds' emulators.
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Test } from 'tap';
import { eachConcurrently } from '../../src/lib/concurrent.ts';
import { TempoError } from '../../src/lib/errors.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';

export interface HeldStore {
  readonly name: string;
  readonly store: ObjectStore;
  /** Where the tests may write files. */
  readonly scratch: string;
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (found: Uint8Array): string => new TextDecoder().decode(found);

/** Several parts, and a last one that is shorter. */
const LARGE_BYTES = 21 * 1024 * 1024 + 12_345;
const MANY = 40;
const ODD_NAMES = [
  'with space',
  'plus+',
  'percent%41',
  'umlaut-ä',
  'quote\'"',
  'a=b&c',
  'semi;colon,',
  '日本',
];

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (err) {
    if (err instanceof TempoError) return err.code;
    throw err;
  }
  return 'no error';
}

/** Each as a test of its own. */
export function holdContract(t: Test, held: HeldStore): void {
  holdObjects(t, held);
  holdNames(t, held);
  holdFiles(t, held);
}

function holdObjects(t: Test, { name, store }: HeldStore): void {
  void t.test(`${name}: write, read, range, stat, replace`, async (t) => {
    await store.write('a/b/data', bytes('0123456789'));
    t.equal(text(await store.read('a/b/data')), '0123456789');
    t.equal(text(await store.readRange('a/b/data', 3, 4)), '3456');
    t.equal(text(await store.readRange('a/b/data', 0, 10)), '0123456789');
    t.equal(text(await store.readRange('a/b/data', 9, 1)), '9');
    t.equal((await store.readRange('a/b/data', 4, 0)).length, 0);
    const info = await store.stat('a/b/data');
    t.equal(info.sizeBytes, 10);
    t.ok(Math.abs(info.modifiedMs - Date.now()) < 60_000, 'modified now');
    await store.write('a/b/data', bytes('new'));
    t.equal(text(await store.read('a/b/data')), 'new');
    await store.write('a/b/empty', new Uint8Array(0));
    t.equal((await store.read('a/b/empty')).length, 0);
    t.equal((await store.stat('a/b/empty')).sizeBytes, 0);
  });

  void t.test(`${name}: what is missing or too short`, async (t) => {
    await store.write('short', bytes('abc'));
    t.equal(await codeOf(store.read('none')), 'not_found');
    t.equal(await codeOf(store.stat('none')), 'not_found');
    t.equal(await codeOf(store.readRange('none', 0, 1)), 'not_found');
    t.equal(await codeOf(store.copy('none', 'x')), 'not_found');
    t.equal(await codeOf(store.readRange('short', 2, 2)), 'block_corrupt');
    t.equal(await codeOf(store.readRange('short', 3, 2)), 'block_corrupt');
    t.equal(await codeOf(store.readRange('short', 300, 2)), 'block_corrupt');
    await store.delete('none');
    await store.deleteFolder('none');
  });
}

function holdNames(t: Test, { name, store }: HeldStore): void {
  void t.test(`${name}: listing`, async (t) => {
    for (const key of ['list/one/meta', 'list/two/x/deep', 'list/file']) await store.write(key, bytes(key));
    t.same((await store.listFolders('list')).sort(), ['one', 'two']);
    t.same(await store.listObjects('list'), ['file']);
    t.same(await store.listFolders('list/nowhere'), []);
    t.same(await store.listObjects('list/nowhere'), []);
    t.same(await store.listFolders('lis'), [], 'half a name is no folder');
    t.ok((await store.listFolders('')).includes('list'));
  });

  void t.test(`${name}: long listings, of blocks and of other names`, async (t) => {
    const blocks = Array.from({ length: MANY }, () => crypto.randomUUID());
    const names = Array.from({ length: MANY }, (_, i) => `tenant ${i}`);
    const keys = [...blocks.map((id) => `many/${id}/meta.json`), ...names.map((id) => `few/${id}/x`)];
    await eachConcurrently(keys, 8, (key) => store.write(key, bytes(key)));
    t.same((await store.listFolders('many')).sort(), blocks.sort());
    t.same((await store.listFolders('few')).sort(), names.sort());
    const tree = await store.listTree?.('many');
    if (tree !== undefined) t.same(tree.sort(), blocks.map((id) => `${id}/meta.json`).sort());
    await store.deleteFolder('many');
    await store.deleteFolder('few');
    t.same(await store.listFolders('many'), []);
  });

  void t.test(`${name}: odd names`, async (t) => {
    for (const odd of ODD_NAMES) {
      const key = `odd/${odd}/${odd}`;
      await store.write(key, bytes(odd));
      await store.copy(key, `${key}.copy`);
      t.equal(text(await store.read(`${key}.copy`)), odd);
      t.same((await store.listObjects(`odd/${odd}`)).sort(), [odd, `${odd}.copy`].sort());
    }
    t.same((await store.listFolders('odd')).sort(), [...ODD_NAMES].sort());
    await store.deleteFolder('odd');
  });

  void t.test(`${name}: delete`, async (t) => {
    for (const key of ['gone/a/meta.json', 'gone/a/data', 'gone/a/deep/er', 'gone/ab/data']) {
      await store.write(key, bytes(key));
    }
    await store.delete('gone/a/data');
    t.equal(await codeOf(store.read('gone/a/data')), 'not_found');
    await store.deleteFolder('gone/a');
    t.same(await store.listFolders('gone'), ['ab'], 'what begins alike stays');
  });
}

function holdFiles(t: Test, { name, store, scratch }: HeldStore): void {
  void t.test(`${name}: copy, files, delete`, async (t) => {
    const file = path.join(scratch, `${name}.bin`);
    fs.writeFileSync(file, 'from a file');
    await store.writeFile('files/a', file);
    await store.copy('files/a', 'files/b');
    fs.rmSync(file);
    t.equal(text(await store.read('files/a')), 'from a file');
    t.equal(text(await store.read('files/b')), 'from a file');
    await store.delete('files/a');
    t.equal(await codeOf(store.read('files/a')), 'not_found');
    await store.deleteFolder('files');
    t.same(await store.listObjects('files'), []);
  });

  void t.test(`${name}: a large file, and ranges of it`, async (t) => {
    const file = path.join(scratch, `${name}-large.bin`);
    const content = randomBytes(LARGE_BYTES);
    fs.writeFileSync(file, content);
    await store.writeFile('large/data.parquet', file);
    t.equal((await store.stat('large/data.parquet')).sizeBytes, LARGE_BYTES);
    const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
    t.equal(digest(await store.read('large/data.parquet')), digest(content));
    const ranges = [0, 1, 8_388_607, 8_388_608, 16_777_215, LARGE_BYTES - 70_000].map((offset) =>
      store.readRange('large/data.parquet', offset, 70_000).then((found) => ({ offset, found })),
    );
    for (const { offset, found } of await Promise.all(ranges)) {
      t.equal(digest(found), digest(content.subarray(offset, offset + 70_000)), `from ${offset}`);
    }
    t.equal(await codeOf(store.readRange('large/data.parquet', LARGE_BYTES - 10, 11)), 'block_corrupt');
    await store.deleteFolder('large');
  });

  void t.test(`${name}: many at once`, async (t) => {
    const keys = Array.from({ length: MANY }, (_, i) => `at-once/${i}`);
    await Promise.all(keys.map((key) => store.write(key, bytes(key))));
    const found = await Promise.all(keys.map((key) => store.read(key)));
    t.same(found.map(text), keys);
    await store.deleteFolder('at-once');
  });
}
