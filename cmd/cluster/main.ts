// `npm run cluster`: starts every role as a process of its own on this machine, from config/microservices,
// behind nginx where there is one; with the argument `replicas` three processes that each do all, behind
// nginx, from config/replicas. Blocks go into the bucket that S3_ENDPOINT and S3_BUCKET name, into a MinIO
// that is started too where MINIO is the path of its program, else below the data folder. Ends with all of
// them on Ctrl-C, when one ends before all are ready, and when nobody reads what it writes.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { expandEnv } from '../../src/config/expand-env.ts';
import {
  type Bucket,
  CONFIG_FILE,
  GATEWAY_CONFIG_FILE,
  gatewayEnvironment,
  type GatewayPorts,
  type ProcessPorts,
  REPLICA_CONFIG_FILE,
  REPLICA_GATEWAY_CONFIG_FILE,
  replicaEnvironment,
  replicaGatewayEnvironment,
  REPLICAS,
  type RoleName,
  ROLES,
  roleEnvironment,
} from './layout.ts';
import { ProcessGroup, type Program } from './process-group.ts';

const FIRST_HTTP_PORT = 3200;
const FIRST_GRPC_PORT = 9095;
const FIRST_GOSSIP_PORT = 7946;
/** Of the gateway, or of the only distributor. */
const OTLP_GRPC_PORT = 4317;
const OTLP_HTTP_PORT = 4318;
/** Of those behind a gateway: 13317 and 13318, 13327 and 13328, ... */
const FIRST_INNER_OTLP_PORT = 13_317;
const MINIO_PORT = 9000;

const root = path.resolve(import.meta.dirname, '../..');
const isReplicas = process.argv[2] === 'replicas';
if (process.argv.length > (isReplicas ? 3 : 2)) {
  throw new Error(`unknown argument '${process.argv.at(-1)}': nothing or 'replicas' is expected`);
}
const folder = path.resolve(process.env['CLUSTER_DATA'] ?? (isReplicas ? 'data/replicas' : 'data/cluster'));
const group = new ProcessGroup();
const url = (port: number): string => `http://127.0.0.1:${port}`;

const nginx = findNginx();
const hasGateway = isReplicas || nginx !== undefined;
/** Where clients call. */
const OUTER: GatewayPorts = {
  http: FIRST_HTTP_PORT,
  grpc: FIRST_GRPC_PORT,
  otlpGrpc: OTLP_GRPC_PORT,
  otlpHttp: OTLP_HTTP_PORT,
};

/** undefined = none is installed. Its folder is often not in the path. */
function findNginx(): string | undefined {
  const { NGINX_PROGRAM, PATH = '' } = process.env;
  if (NGINX_PROGRAM !== undefined) return NGINX_PROGRAM === '' ? undefined : NGINX_PROGRAM;
  const folders = [...PATH.split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => path.join(folder, 'nginx')).find((file) => existsSync(file));
}

/** The first port of each kind is the gateway's, if there is one. */
function portsOf(name: RoleName): ProcessPorts {
  const at = ROLES.findIndex((role) => role.name === name);
  const shift = hasGateway ? 1 : 0;
  return {
    http: FIRST_HTTP_PORT + shift + at,
    grpc: FIRST_GRPC_PORT + shift + at,
    gossip: FIRST_GOSSIP_PORT + at,
    otlpGrpc: hasGateway ? FIRST_INNER_OTLP_PORT : OTLP_GRPC_PORT,
    otlpHttp: hasGateway ? FIRST_INNER_OTLP_PORT + 1 : OTLP_HTTP_PORT,
  };
}

function givenBucket(env: NodeJS.ProcessEnv): Bucket | undefined {
  const endpoint = env['S3_ENDPOINT'] ?? '';
  if (endpoint === '') return undefined;
  return {
    S3_ENDPOINT: endpoint,
    S3_BUCKET: env['S3_BUCKET'] ?? 'tempo',
    S3_ACCESS_KEY: env['S3_ACCESS_KEY'] ?? 'minioadmin',
    S3_SECRET_KEY: env['S3_SECRET_KEY'] ?? 'minioadmin',
  };
}

async function startMinio(command: string): Promise<Bucket> {
  const S3_ENDPOINT = `127.0.0.1:${MINIO_PORT}`;
  const keys = { accessKeyId: 'minioadmin', secretAccessKey: 'minioadmin' };
  await group.start([
    {
      name: 'minio',
      command,
      args: ['server', '--quiet', '--address', S3_ENDPOINT, path.join(folder, 'minio')],
      env: {
        MINIO_ROOT_USER: keys.accessKeyId,
        MINIO_ROOT_PASSWORD: keys.secretAccessKey,
        MINIO_BROWSER: 'off',
      },
      readyUrl: `http://${S3_ENDPOINT}/minio/health/ready`,
    },
  ]);
  const client = new S3Client({
    endpoint: `http://${S3_ENDPOINT}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: keys,
  });
  try {
    await client.send(new CreateBucketCommand({ Bucket: 'tempo' }));
  } catch (err) {
    if (!(err instanceof Error) || err.name !== 'BucketAlreadyOwnedByYou') throw err;
  } finally {
    client.destroy();
  }
  return {
    S3_ENDPOINT,
    S3_BUCKET: 'tempo',
    S3_ACCESS_KEY: keys.accessKeyId,
    S3_SECRET_KEY: keys.secretAccessKey,
  };
}

function tempo(
  name: string,
  target: string,
  configFile: string,
  env: Record<string, string>,
  httpPort: number,
): Program {
  mkdirSync(path.join(folder, name), { recursive: true });
  const flags = [`-config.file=${configFile}`, '-config.expand-env=true', `-target=${target}`];
  return {
    name,
    command: process.execPath,
    args: [path.join(root, 'cmd/tempo/main.ts'), ...flags],
    env,
    readyUrl: `${url(httpPort)}/ready`,
  };
}

interface Layout {
  readonly members: readonly Program[];
  readonly gateway: Program | undefined;
}

function microservices(bucket: Bucket | undefined): Layout {
  const members = ROLES.map(({ name, target }) => {
    const { otlpGrpc, otlpHttp, http } = portsOf(name);
    const env = {
      ...roleEnvironment(name, folder, portsOf, bucket),
      OTLP_GRPC_PORT: String(otlpGrpc),
      OTLP_HTTP_PORT: String(otlpHttp),
    };
    return tempo(name, target, CONFIG_FILE, env, http);
  });
  if (!hasGateway) return { members, gateway: undefined };
  const behind = ROLES.map((role) => ({ ...role, ports: portsOf(role.name) }));
  return { members, gateway: gateway(GATEWAY_CONFIG_FILE, gatewayEnvironment(folder, OUTER, behind)) };
}

function replicas(bucket: Bucket | undefined): Layout {
  // The first port of each kind is the gateway's.
  const ports: readonly ProcessPorts[] = REPLICAS.map((_, at) => ({
    http: FIRST_HTTP_PORT + 1 + at,
    grpc: FIRST_GRPC_PORT + 1 + at,
    gossip: FIRST_GOSSIP_PORT + at,
    otlpGrpc: FIRST_INNER_OTLP_PORT + 10 * at,
    otlpHttp: FIRST_INNER_OTLP_PORT + 10 * at + 1,
  }));
  const members = REPLICAS.map((name, at) => {
    const env = replicaEnvironment(at, folder, ports, bucket);
    return tempo(name, 'scalable-single-binary', REPLICA_CONFIG_FILE, env, ports[at]!.http);
  });
  const env = replicaGatewayEnvironment(folder, OUTER, ports);
  return { members, gateway: gateway(REPLICA_GATEWAY_CONFIG_FILE, env) };
}

function gateway(templateFile: string, env: Record<string, string>): Program {
  const configFile = path.join(folder, 'nginx.conf');
  writeFileSync(configFile, expandEnv(readFileSync(templateFile, 'utf8'), env, templateFile));
  return {
    name: 'nginx',
    command: nginx ?? 'nginx',
    // Its workers would be nobody, who may not reach the folder for bodies.
    args: [
      ...(process.getuid?.() === 0 ? ['-g', 'user root;'] : []),
      '-e',
      'stderr',
      '-p',
      folder,
      '-c',
      configFile,
    ],
    readyUrl: `${url(FIRST_HTTP_PORT)}/ready`,
  };
}

/** Of each process: the gateway does not have /metrics. */
function innerPorts(): string {
  const first = FIRST_HTTP_PORT + 1;
  const names = isReplicas ? REPLICAS : ROLES.map(({ name }) => name);
  const ports = names.map((name, at) => `${first + at} ${name}`).join(', ');
  const without = isReplicas ? '' : ' (NGINX_PROGRAM= goes without)';
  return `behind   nginx${without}, HTTP of each, as /metrics: ${ports}`;
}

async function startAll(): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const minio = process.env['MINIO'] ?? '';
  const bucket = minio === '' ? givenBucket(process.env) : await startMinio(minio);
  const blocks =
    bucket === undefined ? '' : `\n  blocks   bucket ${bucket.S3_BUCKET} of ${bucket.S3_ENDPOINT}`;
  const { members, gateway } = isReplicas ? replicas(bucket) : microservices(bucket);
  await group.start(members);
  if (gateway !== undefined) await group.start([gateway]);
  const inner = gateway === undefined ? '' : `\n  ${innerPorts()}`;
  const ringPort = gateway === undefined ? portsOf('distributor').http : FIRST_HTTP_PORT;
  return `ring     ${url(ringPort)}/ingester/ring${inner}${blocks}`;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void group.stop());
// A pipe that is closed, as by `| head`: those that were started are not left behind.
for (const out of [process.stdout, process.stderr]) out.on('error', () => void group.stop());
const lines = await startAll();
if (!group.isStopping) {
  group.ready();
  process.stdout.write(`
The cluster is ready.
  queries  ${url(FIRST_HTTP_PORT)}
  spans    127.0.0.1:${OTLP_GRPC_PORT} (gRPC), ${url(OTLP_HTTP_PORT)} (HTTP)
  ${lines}
  data     ${folder}
Ctrl-C stops it.
`);
}
