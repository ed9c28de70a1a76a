// Gateways in front of Google's and Azure's stores that answer for them with pages of their own: from none of
// these follows that objects are gone. Of S3 it is in objectstore-s3-reader.test.ts.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { openAzure } from '../../src/objectstore/azure.ts';
import type { Bucket } from '../../src/objectstore/bucket.ts';
import { openGcs } from '../../src/objectstore/gcs.ts';

t.setTimeout(60_000);

const PAGE = '<html><head><title>404 Not Found</title></head></html>';
const NO_LISTING = { kind: 'busy', detail: 'what answers is no listing' };

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

let hasTag = false;
let answer: Answer = { status: 200, body: '' };
const gateway = createServer(({ method }, response) => {
  const { status, body, type = 'text/html' } = answer;
  const headers = { 'content-type': type, 'content-length': body.length };
  // As of a file: with one the SDK of Azure takes a page for a blob.
  response.writeHead(status, hasTag ? { ...headers, etag: '"1"' } : headers);
  response.end(method === 'HEAD' ? undefined : body);
});
await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', resolve));
const { port } = gateway.address() as AddressInfo;
t.teardown(() => gateway.close());
const gcs = await openGcs({
  kind: 'gcs',
  bucket: 'traces',
  endpoint: `http://127.0.0.1:${port}/storage/v1/`,
  insecure: true,
  chunkBytes: 1 << 20,
  cacheControl: '',
  metadata: {},
});
const azure = await openAzure({
  kind: 'azure',
  account: 'account',
  accountKey: Buffer.from('key').toString('base64'),
  container: 'traces',
  endpointSuffix: `127.0.0.1:${port}`,
  auth: 'key',
  userAssignedId: '',
  blockBytes: 1 << 20,
  blocksAtOnce: 1,
});

/** What goes wrong, as the store above is told. */
async function failures(bucket: Bucket): Promise<Record<string, unknown>> {
  const asked = {
    folders: () => bucket.list({ prefix: '', isFlat: true, pageLength: 10 }),
    objects: () => bucket.list({ prefix: 'a/', isFlat: false, pageLength: 10 }),
    stat: () => bucket.stat('a/k'),
    read: () => bucket.read('a/k', undefined),
  };
  const seen: Record<string, unknown> = {};
  for (const [name, ask] of Object.entries(asked)) {
    seen[name] = await (ask as () => Promise<unknown>)().catch((err: unknown) => bucket.failureOf(err));
  }
  return seen;
}

for (const body of [PAGE, '']) {
  const name = body === '' ? 'nothing' : 'a page';
  t.test(`${name} with status 200`, async (t) => {
    answer = { status: 200, body };
    t.match(await failures(gcs), { folders: NO_LISTING, objects: NO_LISTING, stat: { kind: 'busy' } });
    const noBlob = { kind: 'busy', detail: 'what answers is no blob' };
    const nothing = { kind: 'busy', detail: 'what answers tells of no blob' };
    const want = { folders: NO_LISTING, objects: NO_LISTING, stat: nothing, read: noBlob };
    t.match(await failures(azure), want);
    hasTag = true;
    t.match(await failures(azure), want, 'with a tag');
    hasTag = false;
  });
}

t.test('a page with status 404', async (t) => {
  answer = { status: 404, body: PAGE };
  const busy = { kind: 'busy' };
  for (const bucket of [gcs, azure]) {
    t.match(await failures(bucket), { folders: busy, objects: busy, stat: busy, read: busy }, bucket.name);
  }
});

t.test('what Google says of an object that is not there', async (t) => {
  answer = { status: 404, body: 'No such object: traces/a/k' };
  t.match(await failures(gcs), { stat: { kind: 'not_found' }, read: { kind: 'not_found' } });
  const error = { code: 404, message: 'No such object: traces/a/k', errors: [{ reason: 'notFound' }] };
  answer = { status: 404, body: JSON.stringify({ error }), type: 'application/json' };
  t.match(await failures(gcs), { stat: { kind: 'not_found' }, read: { kind: 'not_found' } });
});

t.test('a listing of Google with nothing in it', async (t) => {
  answer = { status: 200, body: '{"kind":"storage#objects"}', type: 'application/json' };
  const empty = { folders: [], objects: [], next: undefined };
  t.match(await failures(gcs), { folders: empty, objects: empty });
});
