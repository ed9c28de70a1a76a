// Google Cloud Storage by fake-gcs-server: the contract of object stores, and what the keys of the
// configuration make of objects.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import t from 'tap';
import { gcsBackend, openTestStore } from '../support/backends.ts';
import { freePort } from '../support/free-port.ts';
import { holdContract } from '../support/object-store-suite.ts';
import { gcsAdmin, startFakeGcs } from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

const scratch = testFolder(t);
const server = await startFakeGcs(path.join(scratch, 'gcs'));
t.teardown(() => server.stop());
const admin = gcsAdmin(server.address);
const endpoint = `http://${server.address}/storage/v1/`;

const store = await openTestStore(gcsBackend({ endpoint, prefix: randomUUID() }));
await store.prepare();
holdContract(t, { name: 'fake-gcs-server', store, scratch });

t.test('fake-gcs-server: cache control and metadata are kept with each object', async (t) => {
  const settings = gcsBackend({
    endpoint,
    prefix: randomUUID(),
    cacheControl: 'no-store',
    metadata: { by: 'tempo' },
    chunkBytes: 300_000,
  });
  const store = await openTestStore(settings);
  const file = path.join(scratch, 'chunks');
  fs.writeFileSync(file, Buffer.alloc(1_000_000, 'x'));
  await store.write('small', Buffer.from('x'));
  await store.writeFile('large', file);
  await store.copy('small', 'copied');
  for (const name of ['small', 'large', 'copied']) {
    const [info] = await admin.bucket('traces').file(`${settings.prefix}/${name}`).getMetadata();
    t.match(info, { cacheControl: 'no-store', metadata: { by: 'tempo' } }, name);
  }
  t.equal((await store.read('large')).length, 1_000_000);
});

t.test('fake-gcs-server: what is wrong is said with what to do about it', async (t) => {
  const cases = [
    { changes: { bucket: 'no-such' }, want: /cannot list in gcs bucket no-such at .*create it/ },
    {
      changes: { endpoint: `http://127.0.0.1:${await freePort()}` },
      want: /ECONNREFUSED.*check the endpoint/,
    },
  ];
  for (const { changes, want } of cases) {
    const wrong = await openTestStore(gcsBackend({ endpoint, ...changes }));
    await t.rejects(wrong.prepare(), { message: want });
  }
});
