// S3 by two servers that nobody here wrote, MinIO and versitygw: the contract of object stores, what the keys
// of the configuration make of objects, and what is said when something is wrong.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import t from 'tap';
import { GetObjectTaggingCommand, HeadObjectCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3';
import { NO_TLS, openTestStore, s3Backend, type S3Overrides } from '../support/backends.ts';
import { freePort } from '../support/free-port.ts';
import { holdContract } from '../support/object-store-suite.ts';
import {
  BUCKET,
  type CloudServer,
  GUIDE_ACTIONS,
  keysAllowedTo,
  S3_PASSWORD,
  S3_USER,
  s3Client,
  startMinio,
  startVersitygw,
} from './clouds.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);

const MIB = 1024 * 1024;

const scratch = testFolder(t);
const servers: CloudServer[] = [];
t.teardown(() => Promise.all(servers.map((server) => server.stop())));

function backend(server: CloudServer, changes: S3Overrides = {}): ReturnType<typeof s3Backend> {
  return s3Backend({
    endpoint: server.address,
    bucket: BUCKET,
    accessKey: S3_USER,
    secretKey: S3_PASSWORD,
    prefix: randomUUID(),
    ...changes,
  });
}

for (const start of [startMinio, startVersitygw]) {
  const server = await start(path.join(scratch, start.name));
  servers.push(server);
  const plain = await openTestStore(backend(server, { pageLength: 7 }));
  await plain.prepare();
  holdContract(t, { name: server.name, store: plain, scratch });
}

const [minio] = servers as [CloudServer];

t.test('minio: SSE-S3, SSE-KMS, tags and metadata are kept with each object', async (t) => {
  const admin = s3Client(minio.address);
  t.teardown(() => admin.destroy());
  const encryptions = [
    { encryption: { type: 'SSE-S3' }, want: 'AES256' },
    { encryption: { type: 'SSE-KMS', keyId: 'key', context: { team: 'traces' } }, want: 'aws:kms' },
  ] as const;
  for (const { encryption, want } of encryptions) {
    const settings = backend(minio, { encryption, tags: { team: 'a b' }, metadata: { by: 'tempo' } });
    const store = await openTestStore(settings);
    await store.prepare();
    const file = path.join(scratch, 'large');
    fs.writeFileSync(file, Buffer.alloc(9 * 1024 * 1024));
    await store.write('small', Buffer.from('x'));
    await store.writeFile('large', file);
    await store.copy('small', 'copied');
    for (const name of ['small', 'large', 'copied']) {
      const Key = `${settings.prefix}/${name}`;
      const head = await admin.send(new HeadObjectCommand({ Bucket: BUCKET, Key }));
      t.equal(head.ServerSideEncryption, want, `${want} ${name}`);
      t.same(head.Metadata, { by: 'tempo' }, name);
      const { TagSet } = await admin.send(new GetObjectTaggingCommand({ Bucket: BUCKET, Key }));
      t.same(TagSet, [{ Key: 'team', Value: 'a b' }], name);
    }
  }
});

t.test('minio: over TLS, with an authority of its own, and a key of the customer', async (t) => {
  const certs = path.join(scratch, 'certs');
  fs.mkdirSync(certs);
  fs.copyFileSync('test/certs/server.pem', path.join(certs, 'public.crt'));
  fs.copyFileSync('test/certs/server.key', path.join(certs, 'private.key'));
  const secured = await startMinio(path.join(scratch, 'secured'), { certs });
  t.teardown(() => secured.stop());
  fs.mkdirSync(path.join(scratch, 'secured', BUCKET));
  const caPath = 'test/certs/authority.pem';
  const trusting = { insecure: false, tls: { ...NO_TLS, caPath } };
  const store = await openTestStore(backend(secured, trusting));
  await store.prepare();
  const blind = await openTestStore(backend(secured, { insecure: false }));
  await t.rejects(blind.prepare(), { message: /name its authority: tls_ca_path/ });
  const skipping = { insecure: false, tls: { ...NO_TLS, skipVerify: true } };
  await (await openTestStore(backend(secured, skipping))).prepare();
  const key = Buffer.alloc(32, 3);
  const sealed = await openTestStore(
    backend(secured, { ...trusting, encryption: { type: 'SSE-C', key }, prefix: 'sealed' }),
  );
  const file = path.join(scratch, 'sealed');
  fs.writeFileSync(file, Buffer.alloc(9 * 1024 * 1024, 'x'));
  await sealed.write('small', Buffer.from('x'));
  await sealed.writeFile('large', file);
  await sealed.copy('small', 'copied');
  t.equal((await sealed.read('copied')).length, 1);
  t.equal((await sealed.readRange('large', 9_000_000, 5)).length, 5);
  t.equal((await sealed.stat('large')).sizeBytes, 9 * 1024 * 1024);
  const keyless = await openTestStore(backend(secured, { ...trusting, prefix: 'sealed' }));
  await t.rejects(keyless.read('small'), { code: 'internal' }, 'nothing without the key');
});

t.test('minio: credentials of a shared file', async (t) => {
  const file = path.join(scratch, 'credentials');
  fs.writeFileSync(
    file,
    `[default]\naws_access_key_id = ${S3_USER}\naws_secret_access_key = ${S3_PASSWORD}\n`,
  );
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = file;
  t.teardown(() => delete process.env['AWS_SHARED_CREDENTIALS_FILE']);
  const store = await openTestStore(backend(minio, { accessKey: '', secretKey: '' }));
  await store.prepare();
});

t.test('minio: what is wrong is said with what to do about it', async (t) => {
  const cases: readonly { changes: S3Overrides; want: readonly RegExp[] }[] = [
    {
      changes: { bucket: 'no-such' },
      want: [/cannot list in s3 bucket no-such at/, /NoSuchBucket/, /create it/],
    },
    { changes: { secretKey: 'wrong-password' }, want: [/SignatureDoesNotMatch/, /check the credentials/] },
    { changes: { accessKey: 'nobody' }, want: [/InvalidAccessKeyId/, /check the credentials/] },
    { changes: { endpoint: `127.0.0.1:${await freePort()}` }, want: [/ECONNREFUSED/, /check the endpoint/] },
    { changes: { insecure: false }, want: [/TLS|SSL|EPROTO|packet length/, /insecure/] },
    { changes: { storageClass: 'STANDARD_IA' }, want: [/cannot write/, /InvalidStorageClass/] },
  ];
  for (const { changes, want } of cases) {
    const store = await openTestStore(backend(minio, changes));
    const message = await store.prepare().then(
      () => 'nothing was wrong',
      (err: Error) => err.message,
    );
    for (const pattern of want) t.match(message, pattern);
    t.notMatch(message, /wrong-password|minio-password/);
    t.notMatch(message, /\n/);
  }
});

t.test('minio: each action of the policy in guides is needed, and no other', async (t) => {
  const admin = s3Client(minio.address);
  t.teardown(() => admin.destroy());
  for (const missing of GUIDE_ACTIONS) {
    const allowed = GUIDE_ACTIONS.filter((action) => action !== missing);
    const store = await openTestStore(backend(minio, await keysAllowedTo(minio.address, allowed)));
    await t.rejects(store.prepare(), { message: `allow ${missing} on arn:aws:s3:::${BUCKET}/*` });
  }
  const file = path.join(scratch, 'in-parts');
  fs.writeFileSync(file, Buffer.alloc(10 * MIB, 'x'));
  const ending = 's3:AbortMultipartUpload';
  for (const actions of [GUIDE_ACTIONS, [...GUIDE_ACTIONS, ending]]) {
    const prefix = randomUUID();
    const keys = { ...(await keysAllowedTo(minio.address, actions)), prefix };
    const store = await openTestStore(backend(minio, keys));
    await store.prepare();
    // MinIO puts no object together of parts as small as these
    const failing = await openTestStore(backend(minio, { ...keys, partBytes: MIB }));
    const message = await failing.writeFile('large', file).then(
      () => 'nothing failed',
      (err: Error) => err.message,
    );
    t.match(message, /^cannot write large in .*EntityTooSmall/);
    const mayEnd = actions.includes(ending);
    t.equal(/its parts are left there: AccessDenied/.test(message), !mayEnd, message);
    await store.writeFile('large', file);
    t.equal((await store.stat('large')).sizeBytes, 10 * MIB, 'it is written when it is tried again');
    t.equal((await store.readRange('large', 9 * MIB, 5)).length, 5);
    await store.copy('large', 'copied');
    await store.delete('large');
    t.same(await store.listObjects(''), ['copied']);
    const uploads = new ListMultipartUploadsCommand({ Bucket: BUCKET, Prefix: `${prefix}/large` });
    const { Uploads = [] } = await admin.send(uploads);
    t.equal(Uploads.length, mayEnd ? 0 : 1, 'what is left of the one that failed');
  }
});

t.test('minio: memory does not grow with the size of an object', { timeout: 150_000 }, async (t) => {
  const store = await openTestStore(backend(minio));
  const file = path.join(scratch, 'several-hundred');
  const chunk = Buffer.alloc(MIB);
  const peakOf = async (mebibytes: number): Promise<number> => {
    const fd = fs.openSync(file, 'w');
    for (let i = 0; i < mebibytes; i++) fs.writeSync(fd, chunk.fill(i));
    fs.closeSync(fd);
    let peak = 0;
    const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
    await store.writeFile('large', file);
    for (let i = 0; i < mebibytes; i += 8) {
      const bytes = await store.readRange('large', i * MIB, 8 * MIB);
      if (bytes[0] !== i % 256) t.fail(`MiB ${i} has other bytes`);
    }
    clearInterval(timer);
    return peak / MIB;
  };
  const small = await peakOf(64);
  const large = await peakOf(512);
  t.comment(`peak RSS ${small.toFixed(0)} MiB with 64 MiB, ${large.toFixed(0)} MiB with 512 MiB`);
  t.ok(large - small < 128, `${small} MiB, ${large} MiB`);
});
