// How objects of S3 are read once the SDK has shown the way: what goes over the wire, seen by a server that
// answers as it is told. That signatures are right, real stores say (test/components/s3.test.ts).
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { openS3 } from '../../src/objectstore/s3.ts';
import type { Bucket } from '../../src/objectstore/bucket.ts';
import { s3Backend, type S3Overrides } from '../support/backends.ts';

interface Told {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  /** It came through all of the SDK. */
  readonly isBySdk: boolean;
}

/** Answers with what is next in the script, and with five bytes when it is over. */
async function store(
  t: Test,
  changes: S3Overrides = {},
): Promise<{ readonly bucket: Bucket; readonly seen: Seen[]; readonly script: Told[] }> {
  const seen: Seen[] = [];
  const script: Told[] = [];
  const server = createServer((request, response) => {
    const { headers, url = '' } = request;
    seen.push({ url, headers, isBySdk: headers['amz-sdk-request'] !== undefined });
    const ordinary: Told = { status: headers.range === undefined ? 200 : 206, body: 'bytes' };
    const { status, body = '', headers: more = {} } = script.shift() ?? ordinary;
    response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...more }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const settings = s3Backend({
    endpoint: `127.0.0.1:${port}`,
    accessKey: 'user',
    secretKey: 'secret',
    ...changes,
  });
  const bucket = await openS3(settings.bucket as Parameters<typeof openS3>[0]);
  t.teardown(() => {
    bucket.close();
    server.closeAllConnections();
    server.close();
  });
  return { bucket, seen, script };
}

function failure(status: number, code: string): Told {
  return { status, body: `<Error><Code>${code}</Code><Message>so it is</Message></Error>` };
}

async function text(work: Promise<Uint8Array>): Promise<string> {
  return Buffer.from(await work).toString();
}

void t.test('the SDK makes the first read, those after it go the same way', async (t) => {
  const { bucket, seen } = await store(t);
  for (let i = 0; i < 3; i++) t.equal(await text(bucket.read('a/b', undefined)), 'bytes');
  t.equal(await text(bucket.read('a/b', { offset: 3, lengthBytes: 5 })), 'bytes');
  t.same(
    seen.map(({ isBySdk }) => isBySdk),
    [true, false, false, false],
  );
  const [first, , third, ranged] = seen;
  for (const name of ['host', 'user-agent', 'x-amz-content-sha256']) {
    t.equal(third!.headers[name], first!.headers[name], name);
  }
  t.equal(third!.headers.range, undefined);
  t.equal(ranged!.headers.range, 'bytes=3-7');
  t.match(ranged!.headers.authorization, /SignedHeaders=[a-z0-9;-]*\brange\b/);
});

void t.test('odd names are written as the SDK writes them', async (t) => {
  const odd = ["a b/c+d/'(e)*!", 'ünï/%41/~', 'x?y#z', '/leading//double/'];
  for (const key of odd) {
    const { bucket, seen } = await store(t);
    await bucket.read(key, undefined);
    await bucket.read(key, undefined);
    t.same(
      seen.map(({ isBySdk }) => isBySdk),
      [true, false],
      key,
    );
    t.equal(seen[1]!.url.split('?')[0], seen[0]!.url.split('?')[0], key);
  }
});

void t.test("the customer's key goes along", async (t) => {
  const key = new Uint8Array(32).fill(7);
  const { bucket, seen } = await store(t, { encryption: { type: 'SSE-C', key } });
  await bucket.read('k', undefined);
  await bucket.read('k', undefined);
  const sealed = ({ headers }: Seen): object =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => name.includes('customer')));
  t.equal(Object.keys(sealed(seen[1]!)).length, 3);
  t.same(sealed(seen[1]!), sealed(seen[0]!));
  t.notOk(seen[1]!.isBySdk);
});

void t.test('what the SDK could not mend is told at once, all else is asked of it', async (t) => {
  const { bucket, seen, script } = await store(t);
  await bucket.read('k', undefined);
  const cases: readonly (Told & {
    readonly kind: string;
    readonly after?: number;
    readonly asked: number;
  })[] = [
    { ...failure(404, 'NoSuchKey'), kind: 'not_found', asked: 1 },
    { ...failure(404, 'NoSuchBucket'), kind: 'no_bucket', asked: 1 },
    { ...failure(416, 'InvalidRange'), kind: 'range', asked: 1 },
    {
      ...failure(503, 'SlowDown'),
      headers: { 'retry-after': '2' },
      kind: 'throttled',
      after: 2000,
      asked: 1,
    },
    { status: 502, body: 'no XML', kind: 'busy', asked: 1 },
    { ...failure(403, 'AccessDenied'), kind: 'denied', asked: 2 },
    { ...failure(403, 'RequestTimeTooSkewed'), kind: 'clock', asked: 2 },
    { ...failure(400, 'ExpiredToken'), kind: 'credentials', asked: 2 },
  ];
  for (const { kind, asked, after, ...told } of cases) {
    seen.length = 0;
    script.push(...Array.from({ length: asked }, () => told));
    const err = await bucket.read('k', undefined).catch((cause: unknown) => cause);
    const failed = bucket.failureOf(err);
    t.equal(failed.kind, kind, `${told.status} ${told.body}`);
    t.equal(failed.retryAfterMs, after);
    t.equal(seen.length, asked, `${told.status} is asked ${asked} times`);
    t.equal(seen[0]!.isBySdk, false);
  }
  seen.length = 0;
  t.equal(await text(bucket.read('k', undefined)), 'bytes');
  t.same(
    seen.map(({ isBySdk }) => isBySdk),
    [false],
    'and the way is known still',
  );
});

void t.test('a store that answers only the SDK gets no other requests after a few', async (t) => {
  const { bucket, seen, script } = await store(t);
  await bucket.read('k', undefined);
  for (let i = 0; i < 3; i++) {
    script.push(failure(400, 'Odd'));
    t.equal(await text(bucket.read('k', undefined)), 'bytes', 'the SDK reads it');
  }
  seen.length = 0;
  for (let i = 0; i < 3; i++) await bucket.read('k', undefined);
  t.same(
    seen.map(({ isBySdk }) => isBySdk),
    [true, true, true],
  );
});

void t.test('a body that ends early is no object', async (t) => {
  const { bucket, script } = await store(t);
  await bucket.read('k', undefined);
  script.push({ status: 200, body: 'by', headers: { 'content-length': '5', connection: 'close' } });
  await t.rejects(bucket.read('k', undefined));
});

void t.test('a read that is cancelled ends', async (t) => {
  const { bucket } = await store(t);
  await bucket.read('k', undefined);
  await t.rejects(bucket.read('k', undefined, AbortSignal.abort()), { name: 'AbortError' });
});
