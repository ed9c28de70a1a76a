// The emulators of clouds as servers of their own, each with an empty bucket `traces`.
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { Storage } from '@google-cloud/storage';
import type { Bucket } from '../../cmd/cluster/layout.ts';
import { freePort } from '../support/free-port.ts';
import { startComponent } from './component.ts';

export const S3_USER = 'minio-user';
export const S3_PASSWORD = 'minio-password';
export const BUCKET = 'traces';

export interface CloudServer {
  readonly name: string;
  /** host:port */
  readonly address: string;
  readonly stop: () => Promise<void>;
  /** Lines of storage.trace for the whole server. */
  readonly yaml: string;
}

export interface AzureServer extends CloudServer {
  readonly account: string;
  readonly accountKey: string;
}

export function s3Client(address: string): S3Client {
  return new S3Client({
    endpoint: `http://${address}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: S3_USER, secretAccessKey: S3_PASSWORD },
  });
}

export async function createBucket(address: string): Promise<void> {
  const client = s3Client(address);
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
  client.destroy();
}

async function s3Server(
  name: string,
  address: string,
  stop: () => Promise<void>,
  isNew = true,
): Promise<CloudServer> {
  if (isNew) await createBucket(address);
  return { name, address, stop, yaml: s3Yaml(address, `access_key: ${S3_USER}, secret_key: ${S3_PASSWORD}`) };
}

function s3Yaml(address: string, keys: string): string {
  return `    backend: s3
    s3: { bucket: ${BUCKET}, endpoint: '${address}', insecure: true, ${keys}, prefix: some/where }
`;
}

/** As the configurations of clusters name it in the environment. */
export function minioBucket({ address }: Pick<CloudServer, 'address'>): Bucket {
  return { S3_ENDPOINT: address, S3_BUCKET: BUCKET, S3_ACCESS_KEY: S3_USER, S3_SECRET_KEY: S3_PASSWORD };
}

export interface MinioOptions {
  /** A folder with the certificate and key of a server on HTTPS. */
  readonly certs?: string;
  /** The folder has no bucket yet. */
  readonly isNew?: boolean;
}

export interface ServerProgram {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Answers once it is up. */
  readonly url: string;
}

/** How MinIO is started on a folder. @param certs '' = over HTTP. */
export function minioProgram(folder: string, address: string, certs = ''): ServerProgram {
  return {
    args: ['server', '--address', address, ...(certs === '' ? [] : ['--certs-dir', certs]), folder],
    env: {
      MINIO_ROOT_USER: S3_USER,
      MINIO_ROOT_PASSWORD: S3_PASSWORD,
      MINIO_BROWSER: 'off',
      MINIO_KMS_SECRET_KEY: `key:${Buffer.alloc(32, 7).toString('base64')}`,
    },
    url: `http://${address}/minio/health/live`,
  };
}

export async function startMinio(
  folder: string,
  { certs = '', isNew = true }: MinioOptions = {},
): Promise<CloudServer> {
  const address = `127.0.0.1:${await freePort()}`;
  const { args, env, url } = minioProgram(folder, address, certs);
  const { stop } = await startComponent('MINIO', args, { env, url });
  if (certs !== '') return { name: 'minio', address, stop, yaml: '' };
  return s3Server('minio', address, stop, isNew);
}

/** What guides of Tempo allow on the objects of its bucket. */
export const GUIDE_ACTIONS: readonly string[] = ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'];

export interface TemporaryKeys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly sessionToken: string;
}

/** Keys to a MinIO that may do with objects only what is named, and list the bucket. */
export async function keysAllowedTo(address: string, actions: readonly string[]): Promise<TemporaryKeys> {
  const bucket = `arn:aws:s3:::${BUCKET}`;
  const onBucket = ['s3:ListBucket', 's3:GetBucketLocation'];
  const policy = {
    Version: '2012-10-17',
    Statement: [
      { Sid: 'TempoBucketRW', Effect: 'Allow', Action: onBucket, Resource: bucket },
      { Sid: 'TempoObjectRW', Effect: 'Allow', Action: actions, Resource: `${bucket}/*` },
    ],
  };
  const { accessKeyId, secretAccessKey, sessionToken } = await fromTemporaryCredentials({
    masterCredentials: { accessKeyId: S3_USER, secretAccessKey: S3_PASSWORD },
    params: {
      RoleArn: 'arn:aws:iam::123456789012:role/tempo',
      RoleSessionName: 'tempo',
      Policy: JSON.stringify(policy),
    },
    clientConfig: { endpoint: `http://${address}`, region: 'us-east-1' },
  })();
  return { accessKey: accessKeyId, secretKey: secretAccessKey, sessionToken: sessionToken ?? '' };
}

/** MinIO, where the server may do no more than guides of Tempo allow it. */
export async function startMinioByPolicy(folder: string): Promise<CloudServer> {
  const minio = await startMinio(folder);
  const { accessKey, secretKey, sessionToken } = await keysAllowedTo(minio.address, GUIDE_ACTIONS);
  const keys = `access_key: ${accessKey}, secret_key: '${secretKey}', session_token: '${sessionToken}'`;
  return { ...minio, yaml: s3Yaml(minio.address, keys) };
}

export async function startVersitygw(folder: string): Promise<CloudServer> {
  const address = `127.0.0.1:${await freePort()}`;
  fs.mkdirSync(folder, { recursive: true });
  const args = ['--access', S3_USER, '--secret', S3_PASSWORD, '--port', address, '--health', '/health'];
  const { stop } = await startComponent('VERSITYGW', [...args, 'posix', folder], {
    env: {},
    url: `http://${address}/health`,
  });
  return s3Server('versitygw', address, stop);
}

export function gcsAdmin(address: string): Storage {
  return new Storage({
    apiEndpoint: `http://${address}`,
    projectId: 'test',
    useAuthWithCustomEndpoint: false,
  });
}

export async function startFakeGcs(folder: string): Promise<CloudServer> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const flags = `-scheme http -host 127.0.0.1 -port ${port} -public-host ${address} -filesystem-root`;
  const { stop } = await startComponent('FAKE_GCS', [...flags.split(' '), folder], {
    env: {},
    url: `http://${address}/storage/v1/b`,
  });
  await gcsAdmin(address).createBucket(BUCKET);
  const keys = `endpoint: 'http://${address}/storage/v1/', insecure: true, prefix: some/where`;
  const yaml = `    backend: gcs
    gcs: { bucket_name: ${BUCKET}, ${keys} }
`;
  return { name: 'fake-gcs-server', address, stop, yaml };
}

export interface AzuriteOptions {
  /** Files of what it shows: it speaks TLS then, and takes tokens beside keys. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export async function startAzurite(folder: string, { tls }: AzuriteOptions = {}): Promise<AzureServer> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const account = 'account';
  const accountKey = randomBytes(64).toString('base64');
  const secured = tls === undefined ? '' : ` --oauth basic --cert ${tls.cert} --key ${tls.key}`;
  const flags = `--blobHost 127.0.0.1 --blobPort ${port} --silent --skipApiVersionCheck${secured} -l`;
  const { stop } = await startComponent('AZURITE', ['--disableTelemetry', ...flags.split(' '), folder], {
    env: { AZURITE_ACCOUNTS: `${account}:${accountKey}` },
    port,
  });
  const credential = new StorageSharedKeyCredential(account, accountKey);
  const url = `${tls === undefined ? 'http' : 'https'}://${address}/${account}`;
  await new BlobServiceClient(url, credential).createContainer(BUCKET);
  const keys = `storage_account_name: ${account}, storage_account_key: '${accountKey}'`;
  const yaml = `    backend: azure
    azure: { container_name: ${BUCKET}, endpoint_suffix: '${address}', ${keys}, prefix: some/where }
`;
  return { name: 'azurite', address, stop, account, accountKey, yaml };
}
