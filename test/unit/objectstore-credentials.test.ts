// Credentials that the platform gives: web identities, containers and instances of AWS, instances of Google.
// One server plays their services, and the SDKs find it by the variables that those platforms set.
import * as fs from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import t from 'tap';
import { s3Credentials } from '../../src/objectstore/s3-credentials.ts';
import type { S3Settings } from '../../src/objectstore/settings.ts';
import { gcsBackend, openTestStore, s3Backend } from '../support/backends.ts';
import { testFolder } from '../support/test-folder.ts';

const scratch = testFolder(t);
const settings = s3Backend({}).bucket as S3Settings;
const END = new Date(Date.now() + 3_600_000);

interface Seen {
  readonly line: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const seen: Seen[] = [];
const answers = new Map<string, string>();
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => void chunks.push(chunk));
  request.on('end', () => {
    const line = `${request.method} ${request.url?.split('?', 1)[0]}`;
    seen.push({ line, headers: request.headers, body: Buffer.concat(chunks).toString() });
    const answer = answers.get(line);
    response.setHeader('metadata-flavor', 'Google');
    if (answer?.startsWith('{') === true) response.setHeader('content-type', 'application/json');
    response.writeHead(answer === undefined ? 404 : 200).end(answer);
  });
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
t.teardown(() => {
  server.closeAllConnections();
  server.close();
});
const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

/** What the machine of a test may have is not looked at. */
const NOWHERE = {
  AWS_ACCESS_KEY_ID: undefined,
  AWS_SECRET_ACCESS_KEY: undefined,
  AWS_SHARED_CREDENTIALS_FILE: path.join(scratch, 'none'),
  AWS_CONFIG_FILE: path.join(scratch, 'none'),
  AWS_REGION: 'eu-central-1',
};

async function withVariables<T>(
  variables: Readonly<Record<string, string | undefined>>,
  work: () => Promise<T>,
): Promise<T> {
  const before = { ...process.env };
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  seen.length = 0;
  try {
    return await work();
  } finally {
    process.env = before;
  }
}

async function credentials(): Promise<unknown> {
  const found = await s3Credentials(settings);
  return typeof found === 'function' ? found() : found;
}

const want = (name: string) => ({ accessKeyId: `key-of-${name}`, secretAccessKey: 's', sessionToken: 't' });
const json = (name: string): string =>
  JSON.stringify({
    Code: 'Success',
    AccessKeyId: `key-of-${name}`,
    SecretAccessKey: 's',
    Token: 't',
    Expiration: END.toISOString(),
  });

t.test('a web identity, as service accounts of Kubernetes have', async (t) => {
  answers.set(
    'POST /',
    `<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>
      <AccessKeyId>key-of-role</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
      <Expiration>${END.toISOString()}</Expiration>
    </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
  );
  const token = path.join(scratch, 'token');
  fs.writeFileSync(token, 'token-of-the-account');
  const variables = {
    ...NOWHERE,
    AWS_WEB_IDENTITY_TOKEN_FILE: token,
    AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/tempo',
    AWS_ENDPOINT_URL_STS: `http://${host}`,
  };
  t.match(await withVariables(variables, credentials), want('role'));
  const sent = new URLSearchParams(seen[0]?.body);
  t.equal(sent.get('Action'), 'AssumeRoleWithWebIdentity');
  t.equal(sent.get('RoleArn'), variables.AWS_ROLE_ARN);
  t.equal(sent.get('WebIdentityToken'), 'token-of-the-account');
});

t.test('a container, as tasks of ECS and pods of EKS have', async (t) => {
  answers.set('GET /container', json('container'));
  const token = path.join(scratch, 'pod-token');
  fs.writeFileSync(token, 'token-of-the-pod');
  const variables = {
    ...NOWHERE,
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://${host}/container`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
  };
  t.match(await withVariables(variables, credentials), want('container'));
  t.equal(seen[0]?.headers.authorization, 'token-of-the-pod');
});

t.test('the role of an instance', async (t) => {
  const folder = '/latest/meta-data/iam/security-credentials/';
  answers.set('PUT /latest/api/token', 'session');
  answers.set(`GET ${folder}`, 'instance-role');
  answers.set(`GET ${folder}instance-role`, json('instance'));
  const variables = { ...NOWHERE, AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${host}` };
  t.match(await withVariables(variables, credentials), want('instance'));
  t.equal(seen.at(-1)?.headers['x-aws-ec2-metadata-token'], 'session');
});

t.test('nothing anywhere is told with what to do about it', async (t) => {
  const variables = { ...NOWHERE, AWS_EC2_METADATA_DISABLED: 'true' };
  const store = await openTestStore(s3Backend({ endpoint: host }));
  await t.rejects(
    withVariables(variables, () => store.prepare()),
    { message: /cannot list in s3 bucket traces at .*[Cc]redentials/ },
  );
});

t.test('the service account of an instance of Google', async (t) => {
  answers.set('GET /computeMetadata/v1/instance', '{}');
  answers.set(
    'GET /computeMetadata/v1/instance/service-accounts/default/token',
    JSON.stringify({ access_token: 'token-of-google', expires_in: 3600, token_type: 'Bearer' }),
  );
  answers.set('GET /computeMetadata/v1/universe/universe-domain', 'googleapis.com');
  answers.set('GET /computeMetadata/v1/project/project-id', 'project');
  answers.set('GET /storage/v1/b/traces/o', '{"kind":"storage#objects"}');
  const variables = {
    GCE_METADATA_HOST: host,
    GCE_METADATA_IP: host,
    GOOGLE_APPLICATION_CREDENTIALS: undefined,
    CLOUDSDK_CONFIG: path.join(scratch, 'none'),
    HOME: path.join(scratch, 'none'),
  };
  const endpoint = `http://${host}/storage/v1/`;
  const store = await openTestStore(gcsBackend({ endpoint, insecure: false }));
  t.same(await withVariables(variables, () => store.listFolders('')), []);
  t.match(seen.at(-1), {
    line: 'GET /storage/v1/b/traces/o',
    headers: { authorization: 'Bearer token-of-google' },
  });
});
