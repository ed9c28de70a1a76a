// The contract of object stores, held by each of them.
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import { SyncedFolder } from '../../src/objectstore/synced-folder.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'objectstore-'));
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }));

const stores: readonly { name: string; store: ObjectStore }[] = [
  { name: 'local', store: new LocalStore(path.join(scratch, 'root')) },
  { name: 'memory', store: new MemoryStore(Date.now, async (file) => fs.readFileSync(file)) },
];

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (found: Uint8Array): string => new TextDecoder().decode(found);

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (err) {
    if (err instanceof TempoError) return err.code;
    throw err;
  }
  return 'no error';
}

for (const { name, store } of stores) {
  t.test(`${name}: write, read, range, stat, replace`, async (t) => {
    await store.write('a/b/data', bytes('0123456789'));
    t.equal(text(await store.read('a/b/data')), '0123456789');
    t.equal(text(await store.readRange('a/b/data', 3, 4)), '3456');
    const info = await store.stat('a/b/data');
    t.equal(info.sizeBytes, 10);
    t.ok(Math.abs(info.modifiedMs - Date.now()) < 60_000, 'modified now');
    await store.write('a/b/data', bytes('new'));
    t.equal(text(await store.read('a/b/data')), 'new');
  });

  t.test(`${name}: what is missing or too short`, async (t) => {
    await store.write('short', bytes('abc'));
    t.equal(await codeOf(store.read('none')), 'not_found');
    t.equal(await codeOf(store.stat('none')), 'not_found');
    t.equal(await codeOf(store.readRange('none', 0, 1)), 'not_found');
    t.equal(await codeOf(store.copy('none', 'x')), 'not_found');
    t.equal(await codeOf(store.readRange('short', 2, 2)), 'block_corrupt');
    await store.delete('none');
    await store.deleteFolder('none');
  });

  t.test(`${name}: listing`, async (t) => {
    for (const key of ['list/one/meta', 'list/two/x/deep', 'list/file']) await store.write(key, bytes(key));
    t.same((await store.listFolders('list')).sort(), ['one', 'two']);
    t.same(await store.listObjects('list'), ['file']);
    t.same(await store.listFolders('list/nowhere'), []);
    t.same(await store.listObjects('list/nowhere'), []);
    t.ok((await store.listFolders('')).includes('list'));
  });

  t.test(`${name}: copy, files, delete`, async (t) => {
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
}

t.test('local: a key cannot leave the store', async (t) => {
  const store = new LocalStore(path.join(scratch, 'root'));
  t.equal(await codeOf(store.read('../secret')), 'invalid_argument');
  t.equal(await codeOf(store.write('a/../../x', bytes('x'))), 'invalid_argument');
});

t.test('local: a folder that cannot be is told at once', async (t) => {
  const root = path.join(scratch, 'new', 'deeper');
  await new LocalStore(root).prepare();
  await new LocalStore(root).prepare();
  t.equal(fs.statSync(path.dirname(root)).mode & 0o777, 0o700);
  fs.writeFileSync(path.join(scratch, 'plain'), '');
  fs.symlinkSync(path.join(scratch, 'gone'), path.join(scratch, 'dangling'));
  // The last is one where Node's recursive mkdir never returns.
  const hopeless = ['plain', 'plain/below', 'dangling', 'dangling/below'].map((name) =>
    path.join(scratch, name),
  );
  if (process.platform === 'linux') hopeless.push('/proc/none/blocks');
  for (const folder of hopeless)
    t.equal(await codeOf(new LocalStore(folder).prepare()), 'unavailable', folder);
});

t.test('local: a failed write leaves nothing behind and tells the reason', async (t) => {
  const root = path.join(scratch, 'readonly');
  fs.mkdirSync(root);
  fs.writeFileSync(path.join(root, 'plain'), 'not a folder');
  const store = new LocalStore(root);
  t.not(await codeOf(store.write('plain/below', bytes('x'))), 'no error');
  t.same(fs.readdirSync(root), ['plain']);
});

t.test('a folder that is given up while it is written gives its files back', (t) => {
  const root = path.join(scratch, 'given-up');
  const folder = new SyncedFolder(root, 'tenant/block', 'meta.json');
  const names = ['data', 'bloom', 'index'];
  for (const name of names) folder.create(name).write(bytes(name));
  const whole = folder.create('whole');
  whole.write(bytes('whole'));
  whole.close();
  // The next files get the numbers of those that were given back.
  const before = fs.openSync(scratch, 'r');
  fs.closeSync(before);
  folder.abandon();
  const opened = names.map(() => fs.openSync(scratch, 'r'));
  t.ok(
    opened.every((fd) => fd < before),
    `${opened.join()} are below ${before}`,
  );
  for (const fd of opened) fs.closeSync(fd);
  t.same(fs.readdirSync(path.join(root, 'tenant/block')).toSorted(), ['bloom', 'data', 'index', 'whole']);
  const again = new SyncedFolder(root, 'tenant/block', 'meta.json');
  t.same(fs.readdirSync(path.join(root, 'tenant/block')), [], 'the next try begins with nothing');
  again.abandon();
  t.end();
});
