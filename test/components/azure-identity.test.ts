// Azure without a key: identities that a machine has (managed), and tokens of a cluster that are exchanged
// (federated). Azure's addresses are reached by a proxy, behind which azurite takes the tokens. What gives
// them are doubles, as Azure has none to run here; they tell who asked for what.
import { writeFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import * as path from 'node:path';
import t, { type Test } from 'tap';
import { azureBackend, openTestStore } from '../support/backends.ts';
import { certFile, identity } from '../support/certs.ts';
import { testFolder } from '../support/test-folder.ts';
import { startAzurite } from './clouds.ts';

// Nothing has a certificate for Azure's names.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
process.env['NO_PROXY'] = '127.0.0.1';

const TENANT = '11111111-2222-4333-8444-555555555555';
const CLIENT = '66666666-7777-4888-9999-aaaaaaaaaaaa';
const RESOURCE = 'https://storage.azure.com';
const LOGIN = 'login.microsoftonline.com';

const scratch = testFolder(t);
const server = await startAzurite(path.join(scratch, 'azurite'), {
  tls: { cert: certFile('server'), key: certFile('server', 'key') },
});
t.teardown(() => server.stop());
const { account } = server;
const usual = { account, endpointSuffix: 'blob.core.windows.net' };

/** What azurite looks at: for whom, by whom and how long. */
function token(changes: Readonly<Record<string, unknown>> = {}): string {
  const nowSec = Math.floor(Date.now() / 1000);
  const claims = {
    aud: RESOURCE,
    iss: `https://sts.windows.net/${TENANT}/`,
    iat: nowSec - 60,
    nbf: nowSec - 60,
    exp: nowSec + 3600,
  };
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none', typ: 'JWT' })}.${part({ ...claims, ...changes })}.nobody`;
}

/** As the service of a machine says it. */
function validity(): { readonly expires_in: string; readonly expires_on: string } {
  return { expires_in: '3600', expires_on: String(Math.floor(Date.now() / 1000) + 3600) };
}

async function listen(t: Test, listener: http.Server | https.Server): Promise<number> {
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  t.teardown(() => listener.close());
  t.teardown(() => listener.closeAllConnections());
  return (listener.address() as AddressInfo).port;
}

/** Passes connections on: those to log in, all others to azurite. @returns the hosts that were asked for. */
async function behindProxy(t: Test, loginPort: number): Promise<Set<string>> {
  const hosts = new Set<string>();
  const proxy = http.createServer().on('connect', (request, socket) => {
    const host = request.url!.split(':')[0]!;
    hosts.add(host);
    const to = connect(host === LOGIN ? loginPort : Number(server.address.split(':')[1]), '127.0.0.1');
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.pipe(to).pipe(socket);
    to.on('error', () => socket.destroy());
    socket.on('error', () => to.destroy());
  });
  process.env['HTTPS_PROXY'] = `http://127.0.0.1:${await listen(t, proxy)}`;
  return hosts;
}

/** Writes, reads, lists and deletes. */
async function uses(t: Test, changes: Parameters<typeof azureBackend>[0]): Promise<void> {
  const store = await openTestStore(azureBackend({ ...usual, ...changes }));
  await store.prepare();
  await store.write('team/block/meta.json', Buffer.from('{}'));
  t.equal(Buffer.from(await store.read('team/block/meta.json')).toString(), '{}');
  t.same(await store.listFolders('team'), ['block']);
  await store.delete('team/block/meta.json');
  t.same(await store.listFolders('team'), []);
}

async function body(request: http.IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

t.test('managed identities', async (t) => {
  const asked: URLSearchParams[] = [];
  let claims = {};
  const metadata = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://metadata');
    if (!/^.metadata.identity.oauth2.token.?$/.test(pathname) || request.headers['metadata'] !== 'true') {
      response.writeHead(400).end();
      return;
    }
    asked.push(searchParams);
    const access_token = token(claims);
    const answer = { access_token, token_type: 'Bearer', resource: RESOURCE, ...validity() };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  process.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] = `http://127.0.0.1:${await listen(t, metadata)}`;
  const hosts = await behindProxy(t, 0);
  await uses(t, { auth: 'managed_identity' });
  t.same([...hosts], [`${account}.blob.core.windows.net`]);
  t.equal(asked.length, 1, 'one token for all of it');
  t.equal(asked[0]!.get('resource')?.replace(/\/$/, ''), RESOURCE);
  t.equal(asked[0]!.get('client_id'), null, 'the identity of the machine');
  await uses(t, { auth: 'managed_identity', userAssignedId: CLIENT });
  t.equal(asked.at(-1)!.get('client_id'), CLIENT, 'one of several that it has');
  claims = { aud: 'https://graph.microsoft.com' };
  const other = { auth: 'managed_identity', userAssignedId: TENANT } as const;
  const refused = await openTestStore(azureBackend({ ...usual, ...other }));
  await t.rejects(refused.prepare(), { message: /check the credentials/ }, 'a token for something else');
});

t.test('federated tokens', async (t) => {
  const file = path.join(scratch, 'token');
  writeFileSync(file, 'of the cluster');
  Object.assign(process.env, {
    AZURE_TENANT_ID: TENANT,
    AZURE_CLIENT_ID: CLIENT,
    AZURE_FEDERATED_TOKEN_FILE: file,
  });
  const asked: URLSearchParams[] = [];
  let isRefused = false;
  const login = https.createServer(identity('server'), (request, response) => {
    const json = (status: number, value: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    if (request.url?.startsWith(`/${TENANT}/oauth2/v2.0/token`) !== true) return json(404, {});
    void body(request).then((form) => {
      asked.push(form);
      if (isRefused) json(400, { error: 'invalid_client', error_description: 'AADSTS700016: not found' });
      else json(200, { token_type: 'Bearer', expires_in: 3600, access_token: token() });
    });
  });
  const hosts = await behindProxy(t, await listen(t, login));
  await uses(t, { auth: 'federated_token' });
  t.same([...hosts].sort(), [`${account}.blob.core.windows.net`, LOGIN]);
  t.equal(asked.length, 1);
  t.equal(asked[0]!.get('client_assertion'), 'of the cluster');
  t.equal(asked[0]!.get('client_id'), CLIENT);
  t.match(asked[0]!.get('scope'), RESOURCE);
  isRefused = true;
  const refused = await openTestStore(azureBackend({ ...usual, auth: 'federated_token' }));
  await t.rejects(refused.prepare(), { message: /AADSTS700016.*check the credentials/s }, 'and says why');
});
