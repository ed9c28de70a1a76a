// The contract of object stores, held by each of them.
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import t from 'tap';
import { LocalStore } from '../../src/objectstore/local.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import { SyncedFolder } from '../../src/objectstore/synced-folder.ts';
import { bytes, codeOf, holdContract } from '../support/object-store-suite.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'objectstore-'));
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }));

const stores: readonly { name: string; store: ObjectStore }[] = [
  { name: 'local', store: new LocalStore(path.join(scratch, 'root')) },
  { name: 'memory', store: new MemoryStore(Date.now, async (file) => fs.readFileSync(file)) },
];

for (const { name, store } of stores) holdContract(t, { name, store, scratch });

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
