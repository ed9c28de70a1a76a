// Azure Blob Storage by azurite: the contract of object stores, and what is said when something is wrong.
import { randomBytes, randomUUID } from 'node:crypto';
import * as path from 'node:path';
import t from 'tap';
import { azureBackend, openTestStore } from '../support/backends.ts';
import { freePort } from '../support/free-port.ts';
import { holdContract } from '../support/object-store-suite.ts';
import { startAzurite } from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

const scratch = testFolder(t);
const server = await startAzurite(path.join(scratch, 'azurite'));
t.teardown(() => server.stop());
const { account, accountKey } = server;
const usual = { account, accountKey, endpointSuffix: server.address };

const store = await openTestStore(azureBackend({ ...usual, prefix: randomUUID(), pageLength: 7 }));
await store.prepare();
holdContract(t, { name: 'azurite', store, scratch });

t.test('azurite: what is wrong is said with what to do about it', async (t) => {
  const cases = [
    { changes: { container: 'no-such' }, want: /cannot list in azure container no-such at .*create it/ },
    { changes: { accountKey: randomBytes(64).toString('base64') }, want: /check the credentials/ },
    {
      changes: { endpointSuffix: `127.0.0.1:${await freePort()}` },
      want: /ECONNREFUSED.*check the endpoint/,
    },
  ];
  for (const { changes, want } of cases) {
    const wrong = await openTestStore(azureBackend({ ...usual, ...changes }));
    await t.rejects(wrong.prepare(), { message: want });
  }
});
