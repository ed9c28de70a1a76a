// How objects of S3 are read once the SDK has shown the way: what goes over the wire, seen by a server that
// answers as it is told. That signatures are right, real stores say (test/components/s3.test.ts).
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import t, { type Test } from 'tap';
import { openS3, s3Reader } from '../../src/objectstore/s3.ts';
import type { S3Reader } from '../../src/objectstore/s3-reader.ts';
import type { Bucket, Upload } from '../../src/objectstore/bucket.ts';
import { s3Backend, type S3Overrides } from '../support/backends.ts';

interface Told {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
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
    seen.push({ url, headers, isBySdk: isBySdk(headers) });
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

/** It came through all of the SDK. */
function isBySdk(headers: Readonly<Record<string, unknown>>): boolean {
  return headers['amz-sdk-request'] !== undefined;
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
    { status: 429, kind: 'throttled', asked: 1 },
    { status: 500, kind: 'busy', asked: 1 },
    { ...failure(400, 'RequestTimeout'), kind: 'busy', asked: 1 },
    { ...failure(503, 'NoSuchKey'), kind: 'busy', asked: 1 },
    { ...failure(500, 'NoSuchBucket'), kind: 'busy', asked: 1 },
    { ...failure(502, 'InvalidRange'), kind: 'busy', asked: 1 },
    { ...failure(403, 'NoSuchKey'), kind: 'denied', asked: 2 },
    { ...failure(404, 'InvalidRange'), kind: 'busy', asked: 2 },
    { ...failure(400, 'InvalidRange'), kind: 'refused', asked: 2 },
    { status: 404, body: '404 page not found', kind: 'busy', asked: 2 },
    { status: 404, body: '<html><body>404 Not Found</body></html>', kind: 'busy', asked: 2 },
    { status: 404, kind: 'busy', asked: 2 },
    { ...failure(503, 'x'.repeat(70_000)), kind: 'busy', asked: 2 },
    { ...failure(403, 'AccessDenied'), kind: 'denied', asked: 2 },
    { ...failure(403, 'RequestTimeTooSkewed'), kind: 'clock', asked: 2 },
    { ...failure(400, 'ExpiredToken'), kind: 'credentials', asked: 2 },
  ];
  for (const { kind, asked, after, ...told } of cases) {
    seen.length = 0;
    script.push(...Array.from({ length: asked }, () => told));
    const err = await bucket.read('k', undefined).catch((cause: unknown) => cause);
    const failed = bucket.failureOf(err);
    t.equal(failed.kind, kind, `${told.status} ${(told.body ?? '').slice(0, 40)}`);
    t.equal(failed.retryAfterMs, after);
    const wanted = /<Code>(.+)<\/Code>/.exec(told.body ?? '')?.[1] ?? String(told.status);
    if (asked === 1) t.match(failed.detail, wanted);
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

void t.test('an answer of the wrong kind is none', async (t) => {
  const { bucket, seen, script } = await store(t);
  await bucket.read('k', undefined);
  seen.length = 0;
  script.push({ status: 200, body: 'all of it' });
  await bucket.read('k', { offset: 0, lengthBytes: 5 });
  t.equal(seen.length, 2, 'a whole object in place of a range');
  seen.length = 0;
  script.push({ status: 206, body: 'by' });
  await bucket.read('k', undefined);
  t.equal(seen.length, 2, 'a part in place of an object');
  script.push({ status: 200, body: '<Code>NoSuchKey</Code>' }, { status: 206, body: 'bytes' });
  t.equal(
    await text(bucket.read('k', { offset: 0, lengthBytes: 5 })),
    'bytes',
    'data that looks like an error',
  );
});

void t.test('more than the range is refused before it comes into memory', async (t) => {
  const { bucket, seen, script } = await store(t);
  // Of a gibibyte so much is sent as shows what it is: a read that waits for it all does not end.
  const all = { status: 200, body: 'x'.repeat(100_000), headers: { 'content-length': String(1 << 30) } };
  const range = { offset: 0, lengthBytes: 5 };
  for (const asked of [1, 2]) {
    seen.length = 0;
    script.push(...Array.from({ length: asked }, () => all));
    const err = await bucket.read('k', range).catch((cause: unknown) => cause);
    t.match(bucket.failureOf(err), { kind: 'busy', detail: 'NotOfS3: the range was not heeded' });
    t.equal(seen.length, asked, asked === 1 ? 'by the SDK' : 'and in the direct way');
  }
  const cases = [
    { body: 'bytes', range, want: 'bytes' },
    { body: 'byte', range, want: 'busy' },
    { body: 'bytes and more', range, want: 'busy' },
    { body: 'bytes', range: { offset: 5, lengthBytes: 5 }, want: 'busy' },
  ];
  for (const { body, range, want } of cases) {
    script.push({ status: 200, body }, { status: 200, body });
    const found = await text(bucket.read('k', range)).catch((err: unknown) => bucket.failureOf(err).kind);
    t.equal(found, want, `${body} for ${range.lengthBytes} bytes from ${range.offset}`);
  }
  t.equal(await text(bucket.read('k', range)), 'bytes');
});

void t.test('each read asks for its own range, whoever makes it', async (t) => {
  const { bucket, seen, script } = await store(t);
  const ranges = [{ offset: 1, lengthBytes: 2 }, undefined, { offset: 3, lengthBytes: 4 }, undefined];
  for (const [i, range] of ranges.entries()) {
    if (i === 2) script.push(failure(400, 'Odd'));
    await bucket.read('k', range);
  }
  t.same(
    seen.map(({ isBySdk, headers }) => [isBySdk, headers.range]),
    [
      [true, 'bytes=1-2'],
      [false, undefined],
      [false, 'bytes=3-6'],
      [true, 'bytes=3-6'],
      [false, undefined],
    ],
  );
});

void t.test('a gateway that is busy is asked again, whatever it says', async (t) => {
  const { bucket, script } = await store(t);
  script.push({ status: 502, body: 'no XML' });
  const err = await bucket.read('k', undefined).catch((cause: unknown) => cause);
  t.match(bucket.failureOf(err), { kind: 'busy', detail: 'status 502' });
  script.push({ status: 404, body: 'no XML' });
  const other = await bucket
    .list({ prefix: '', isFlat: true, pageLength: 1 })
    .catch((cause: unknown) => cause);
  t.equal(bucket.failureOf(other).kind, 'refused');
  const list = (): Promise<unknown> => bucket.list({ prefix: '', isFlat: true, pageLength: 1 });
  for (const body of ['', '<html><body>Welcome</body></html>', '<ListBucketResult></ListBucketResult>']) {
    script.push({ status: 200, body });
    const failed = await list().catch((cause: unknown) => cause);
    t.match(bucket.failureOf(failed), { kind: 'busy', detail: /no listing of S3/ }, body);
  }
});

void t.test('a listing that goes on says where', async (t) => {
  const { bucket, script } = await store(t);
  const list = (): Promise<unknown> => bucket.list({ prefix: '', isFlat: true, pageLength: 1 });
  const page = (more: string): Told => ({
    status: 200,
    body: `<ListBucketResult><Contents><Key>a</Key></Contents>${more}</ListBucketResult>`,
  });
  const goesOn = '<IsTruncated>true</IsTruncated>';
  const token = '<NextContinuationToken>b</NextContinuationToken>';
  for (const more of ['', '<NextMarker>a</NextMarker>', '<NextContinuationToken></NextContinuationToken>']) {
    script.push(page(goesOn + more));
    const failed = await list().catch((cause: unknown) => cause);
    const want = { kind: 'busy', detail: 'NotOfS3: a listing that goes on says not where' };
    t.match(bucket.failureOf(failed), want, more);
  }
  script.push(page(goesOn + token), page('<IsTruncated>false</IsTruncated>'));
  t.match(await list(), { objects: ['a'], next: 'b' });
  t.match(await list(), { objects: ['a'], next: undefined });
});

/** Each change of objects, with what of an upload must be there before. */
function changes(
  bucket: Bucket,
  script: Told[],
): Readonly<Record<string, (answer: Told) => Promise<unknown>>> {
  const begun: Told = { status: 200, body: '<I><UploadId>u</UploadId></I>' };
  const asking =
    (ask: () => Promise<unknown>) =>
    (answer: Told): Promise<unknown> => {
      script.push(answer);
      return ask();
    };
  const uploading =
    (ask: (upload: Upload) => Promise<unknown>) =>
    async (answer: Told): Promise<unknown> => {
      script.push(begun);
      const upload = await bucket.startUpload('k');
      return asking(() => ask(upload))(answer);
    };
  return {
    write: asking(() => bucket.write('k', Buffer.from('x'))),
    copy: asking(() => bucket.copy('a', 'b')),
    start: asking(() => bucket.startUpload('k')),
    part: uploading((upload) => upload.part(0, Buffer.from('x'))),
    finish: uploading((upload) => upload.finish()),
    delete: asking(() => bucket.delete('k')),
    abandon: uploading((upload) => upload.abandon()),
  };
}

const PAGES = ['', '404 page not found', '<html><body>Welcome</body></html>'];

void t.test("a gateway's page has made no object", async (t) => {
  const { bucket, script } = await store(t);
  const { delete: _, abandon: __, ...makers } = changes(bucket, script);
  for (const [name, ask] of Object.entries(makers)) {
    for (const body of PAGES) {
      const err = await ask({ status: 200, body }).catch((cause: unknown) => cause);
      t.match(bucket.failureOf(err), { kind: 'busy' }, `${name} ${body}`);
    }
  }
  const etag = '&quot;1&quot;';
  const answers: Readonly<Record<string, Told>> = {
    write: { status: 200, headers: { etag: '"1"' } },
    copy: { status: 200, body: `<CopyObjectResult><ETag>${etag}</ETag></CopyObjectResult>` },
    start: {
      status: 200,
      body: '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>',
    },
    part: { status: 200, headers: { etag: '"1"' } },
    finish: {
      status: 200,
      body: `<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`,
    },
  };
  for (const [name, ask] of Object.entries(makers)) await t.resolves(ask(answers[name]!), name);
});

void t.test('what is missing a store of S3 says in its words, and with its status', async (t) => {
  const { bucket, script } = await store(t);
  const answers: readonly (Told & { readonly kind: string })[] = [
    ...PAGES.map((body) => ({ status: 404, body, kind: 'busy' })),
    { ...failure(404, 'NoSuchKey'), kind: 'not_found' },
    { ...failure(404, 'NoSuchBucket'), kind: 'no_bucket' },
    { ...failure(404, 'NoSuchUpload'), kind: 'refused' },
    { ...failure(503, 'NoSuchKey'), kind: 'busy' },
    { ...failure(200, 'NoSuchKey'), kind: 'busy' },
  ];
  for (const [name, ask] of Object.entries(changes(bucket, script))) {
    for (const { kind, ...answer } of answers) {
      const err = await ask(answer).catch((cause: unknown) => cause);
      t.equal(bucket.failureOf(err).kind, kind, `${name}: ${answer.status} ${answer.body}`);
    }
  }
  script.push({ status: 404 });
  const err = await bucket.stat('k').catch((cause: unknown) => cause);
  t.equal(bucket.failureOf(err).kind, 'not_found', 'an answer without a body cannot');
});

void t.test('errors are told in plain text', async (t) => {
  const { bucket, script } = await store(t);
  await bucket.read('k', undefined);
  script.push({
    status: 404,
    body: `<Code>NoSuchKey</Code><Message>&#39;k&#39; &amp;lt; &lt;is&gt; &quot;away&quot;</Message>`,
  });
  const err = await bucket.read('k', undefined).catch((cause: unknown) => cause);
  t.equal(bucket.failureOf(err).detail, `NoSuchKey: 'k' &lt; <is> "away"`);
});

/** A client whose requests get the next of the answers, and five bytes after these. */
function scripted(
  config: S3ClientConfig,
  nowMs: () => number = Date.now,
): {
  readonly reader: S3Reader;
  readonly client: S3Client;
  readonly asked: Asked[];
  readonly script: Told[];
  readonly detours: string[];
} {
  const asked: Asked[] = [];
  const detours: string[] = [];
  const script: Told[] = [];
  const handle = (request: Asked): Promise<object> => {
    asked.push(request);
    const { status, body = '', headers = {} } = script.shift() ?? { status: 200, body: 'bytes' };
    const length = { 'content-length': String(body.length) };
    const response = {
      statusCode: status,
      headers: { ...length, ...headers },
      body: Readable.from([Buffer.from(body)]),
    };
    return Promise.resolve({ response });
  };
  const client = new S3Client({
    region: 'us-east-1',
    credentials: { accessKeyId: 'user', secretAccessKey: 'secret' },
    maxAttempts: 1,
    requestHandler: { handle } as never,
    ...config,
  });
  const onDetour = (reason: string): void => void detours.push(reason);
  const reader = s3Reader(client, { Bucket: 'traces' }, { nowMs, onDetour });
  return { reader, client, asked, script, detours };
}

interface Asked {
  readonly hostname: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

void t.test(
  'on AWS the bucket is in the host, and a redirect to another region is followed once',
  async (t) => {
    const { reader, asked, script } = scripted({ followRegionRedirects: true });
    const redirect = { 'x-amz-bucket-region': 'eu-west-1' };
    script.push({ ...failure(301, 'PermanentRedirect'), headers: redirect });
    for (let i = 0; i < 2; i++) await reader.read('a/b', undefined);
    const last = asked.at(-1)!;
    t.same(
      asked.map(({ headers }) => isBySdk(headers)),
      [true, true, false],
    );
    t.match(last, { hostname: 'traces.s3.eu-west-1.amazonaws.com', path: '/a/b' });
    t.match(last.headers['authorization'], /Credential=user\/\d{8}\/eu-west-1\/s3\/aws4_request/);
  },
);

void t.test('requests have the time of the store', async (t) => {
  const now = Date.UTC(2026, 0, 1);
  const { reader, client, asked } = scripted({}, () => now);
  await reader.read('k', undefined);
  client.config.systemClockOffset = 3_600_000;
  await reader.read('k', undefined);
  t.equal(asked.at(-1)!.headers['x-amz-date'], '20260101T010000Z');
});

void t.test('a store that answers only the SDK gets no other requests for a while', async (t) => {
  let now = 0;
  const { reader, asked, script, detours } = scripted({}, () => now);
  const fail = async (): Promise<void> => {
    script.push(failure(400, 'Odd'));
    t.equal(await text(reader.read('k', undefined)), 'bytes', 'the SDK reads it');
  };
  const next = async (): Promise<boolean[]> => {
    asked.length = 0;
    for (let i = 0; i < 3; i++) await reader.read('k', undefined);
    return asked.map(({ headers }) => isBySdk(headers));
  };
  t.same(await next(), [true, false, false]);
  for (let i = 0; i < 3; i++) {
    await fail();
    await reader.read('k', undefined);
  }
  t.same(await next(), [false, false, false], 'not three in turn');
  script.push(...Array.from({ length: 8 }, () => failure(400, 'Odd')));
  await Promise.all(Array.from({ length: 8 }, () => reader.read('k', undefined)));
  t.same(await next(), [false, false, false], 'eight at the same time are one');
  t.same(detours, []);
  for (let i = 0; i < 3; i++) await fail();
  t.same(await next(), [true, true, true], 'three in turn');
  t.same(detours, ['only the SDK could read 3 objects in turn, so it reads all for ten minutes']);
  now += 600_000;
  t.same(await next(), [true, false, false], 'and it is tried again');
});

void t.test('what is asked in another way is left to the SDK', async (t) => {
  const { reader, client, asked, detours } = scripted({});
  client.middlewareStack.add(
    (next) => (args) => {
      (args.request as { path: string }).path += '.part';
      return next(args);
    },
    { step: 'build', name: 'elsewhere' },
  );
  for (let i = 0; i < 2; i++) await reader.read('k', undefined);
  t.same(
    asked.map(({ headers }) => isBySdk(headers)),
    [true, true],
  );
  t.same(detours, ['keys are not at the end of addresses'], 'told once');
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
