// S3 by two servers that nobody here wrote, MinIO and versitygw: the contract of object stores, what the keys
// of the configuration make of objects, and what is said when something is wrong.
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import t from 'tap';
import {
  CreateBucketCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { holdContract } from '../support/object-store-suite.ts';
import { openTestStore, s3Backend, type S3Overrides } from '../support/backends.ts';
import { freePort } from '../support/free-port.ts';
import { startComponent, type RunningComponent } from './component.ts';

const USER = 'minio-user';
const PASSWORD = 'minio-password';
const BUCKET = 'traces';

interface Server extends RunningComponent {
  readonly name: string;
  readonly endpoint: string;
}

async function startMinio(folder: string): Promise<Server> {
  const endpoint = `127.0.0.1:${await freePort()}`;
  const running = await startComponent('MINIO', ['server', '--address', endpoint, folder], {
    env: {
      MINIO_ROOT_USER: USER,
      MINIO_ROOT_PASSWORD: PASSWORD,
      MINIO_BROWSER: 'off',
      MINIO_KMS_SECRET_KEY: `key:${Buffer.alloc(32, 7).toString('base64')}`,
    },
    url: `http://${endpoint}/minio/health/live`,
  });
  return { ...running, name: 'minio', endpoint };
}

async function startVersitygw(folder: string): Promise<Server> {
  const endpoint = `127.0.0.1:${await freePort()}`;
  fs.mkdirSync(folder, { recursive: true });
  const args = ['--access', USER, '--secret', PASSWORD, '--port', endpoint, '--health', '/health'];
  const running = await startComponent('VERSITYGW', [...args, 'posix', folder], {
    env: {},
    url: `http://${endpoint}/health`,
  });
  return { ...running, name: 'versitygw', endpoint };
}

function plainClient(endpoint: string): S3Client {
  return new S3Client({
    endpoint: `http://${endpoint}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: USER, secretAccessKey: PASSWORD },
  });
}

const scratch = t.testdir();
const servers: Server[] = [];
t.teardown(() => Promise.all(servers.map((server) => server.stop())));

function backend(server: Server, changes: S3Overrides = {}): ReturnType<typeof s3Backend> {
  return s3Backend({
    endpoint: server.endpoint,
    bucket: BUCKET,
    accessKey: USER,
    secretKey: PASSWORD,
    prefix: randomUUID(),
    ...changes,
  });
}

for (const start of [startMinio, startVersitygw]) {
  const server = await start(path.join(scratch, start.name));
  servers.push(server);
  const admin = plainClient(server.endpoint);
  t.teardown(() => admin.destroy());
  await admin.send(new CreateBucketCommand({ Bucket: BUCKET }));
  const plain = await openTestStore(backend(server, { pageLength: 7 }));
  await plain.prepare();
  holdContract(t, { name: server.name, store: plain, scratch });
}

const [minio] = servers as [Server];

t.test('minio: SSE-S3, SSE-KMS, tags and metadata are kept with each object', async (t) => {
  const admin = plainClient(minio.endpoint);
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
