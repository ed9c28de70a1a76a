// The processes of a cluster on one machine, and what the environment tells each of them; the configurations
// that read it are below config. Starts nothing.
import path from 'node:path';

/** In the order of their ports, of which the gateway has the first where there is one. */
export const ROLES = [
  { name: 'query-frontend', target: 'query-frontend' },
  { name: 'ingester-0', target: 'ingester' },
  { name: 'ingester-1', target: 'ingester' },
  { name: 'ingester-2', target: 'ingester' },
  { name: 'distributor', target: 'distributor' },
  { name: 'querier', target: 'querier' },
  { name: 'backend-scheduler', target: 'backend-scheduler' },
  { name: 'backend-worker', target: 'backend-worker' },
] as const;

type Role = (typeof ROLES)[number];
export type RoleName = Role['name'];

export const REPLICAS = ['replica-0', 'replica-1', 'replica-2'] as const;

export interface MemberPorts {
  readonly http: number;
  readonly grpc: number;
  readonly gossip: number;
}

export interface ProcessPorts extends MemberPorts {
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
}

export type GatewayPorts = Omit<ProcessPorts, 'gossip'>;

const CONFIG = path.resolve(import.meta.dirname, '../../config');
/** Of every role. */
export const CONFIG_FILE = path.join(CONFIG, 'microservices/tempo.yaml');
/** Of every replica. */
export const REPLICA_CONFIG_FILE = path.join(CONFIG, 'replicas/tempo.yaml');
/** Of nginx in front of roles. */
export const GATEWAY_CONFIG_FILE = path.join(CONFIG, 'microservices/nginx.conf.template');
/** Of nginx in front of replicas. */
export const REPLICA_GATEWAY_CONFIG_FILE = path.join(CONFIG, 'replicas/nginx.conf.template');

/** A bucket, by the variables that name it; without one blocks are in a folder. */
export type Bucket = Readonly<
  Record<'S3_ENDPOINT' | 'S3_BUCKET' | 'S3_ACCESS_KEY' | 'S3_SECRET_KEY', string>
>;

type Environment = Record<string, string>;

function memberEnvironment(
  name: string,
  folder: string,
  { http, grpc, gossip }: MemberPorts,
  bucket: Bucket | undefined,
): Environment {
  return {
    S3_ENDPOINT: '',
    S3_BUCKET: '',
    S3_ACCESS_KEY: '',
    S3_SECRET_KEY: '',
    ...bucket,
    STORAGE_BACKEND: bucket === undefined ? 'local' : 's3',
    INSTANCE: name,
    HTTP_PORT: String(http),
    GRPC_PORT: String(grpc),
    GOSSIP_PORT: String(gossip),
    BLOCKS: path.join(folder, 'blocks'),
    DATA: path.join(folder, name),
  };
}

const gossipAddress = ({ gossip }: MemberPorts): string => `127.0.0.1:${gossip}`;

export function roleEnvironment<Name extends string>(
  /** May be one more of a role. */
  name: Name,
  folder: string,
  portsOf: (name: Name | RoleName) => MemberPorts,
  bucket: Bucket | undefined,
): Environment {
  const ingesters = ROLES.filter(({ target }) => target === 'ingester');
  return {
    ...memberEnvironment(name, folder, portsOf(name), bucket),
    // Any of them will do to join by, so that none has to be there.
    JOIN_MEMBERS: ingesters.map((ingester) => gossipAddress(portsOf(ingester.name))).join(', '),
    FRONTEND_GRPC_PORT: String(portsOf('query-frontend').grpc),
    SCHEDULER_GRPC_PORT: String(portsOf('backend-scheduler').grpc),
  };
}

export function replicaEnvironment(
  at: number,
  folder: string,
  ports: readonly ProcessPorts[],
  bucket: Bucket | undefined,
): Environment {
  const own = ports[at]!;
  return {
    ...memberEnvironment(REPLICAS[at]!, folder, own, bucket),
    OTLP_GRPC_PORT: String(own.otlpGrpc),
    OTLP_HTTP_PORT: String(own.otlpHttp),
    JOIN_MEMBERS: ports.map(gossipAddress).join(', '),
  };
}

const server = (port: number, host = '127.0.0.1'): string =>
  `server ${host}:${port} max_fails=1 fail_timeout=2s;`;

function ownEnvironment(folder: string, own: GatewayPorts): Environment {
  return {
    FOLDER: folder,
    HTTP_PORT: String(own.http),
    GRPC_PORT: String(own.grpc),
    OTLP_GRPC_PORT: String(own.otlpGrpc),
    OTLP_HTTP_PORT: String(own.otlpHttp),
  };
}

interface Behind extends Pick<Role, 'target'> {
  readonly ports: GatewayPorts;
  readonly grpcHost?: string;
}

/** What the gateway of roles listens on, and who stands behind it. */
export function gatewayEnvironment(
  folder: string,
  own: GatewayPorts,
  /** Of the roles that there are, with the host of gRPC where it is another than that of the rest. */
  behind: readonly Behind[],
): Environment {
  const of = (target: Role['target']): readonly Behind[] => behind.filter((role) => role.target === target);
  const servers = (target: Role['target'], port: keyof GatewayPorts): string =>
    of(target)
      .map(({ ports }) => server(ports[port]))
      .join(' ');
  const ingesters = of('ingester').map(({ ports }, at) => [`INGESTER_${at}`, `127.0.0.1:${ports.http}`]);
  return {
    ...ownEnvironment(folder, own),
    QUERY_SERVERS: servers('query-frontend', 'http'),
    GRPC_QUERY_SERVERS: of('query-frontend')
      .map(({ ports, grpcHost }) => server(ports.grpc, grpcHost))
      .join(' '),
    OTLP_GRPC_SERVERS: servers('distributor', 'otlpGrpc'),
    OTLP_HTTP_SERVERS: servers('distributor', 'otlpHttp'),
    DISTRIBUTOR_SERVERS: servers('distributor', 'http'),
    SCHEDULER_SERVERS: servers('backend-scheduler', 'http'),
    WORKER_SERVERS: servers('backend-worker', 'http'),
    ...(Object.fromEntries(ingesters) as Environment),
  };
}

/** What the gateway of replicas listens on, and who stands behind it. */
export function replicaGatewayEnvironment(
  folder: string,
  own: GatewayPorts,
  behind: readonly GatewayPorts[],
): Environment {
  const servers = (port: keyof GatewayPorts): string => behind.map((ports) => server(ports[port])).join(' ');
  return {
    ...ownEnvironment(folder, own),
    HTTP_SERVERS: servers('http'),
    GRPC_SERVERS: servers('grpc'),
    OTLP_GRPC_SERVERS: servers('otlpGrpc'),
    OTLP_HTTP_SERVERS: servers('otlpHttp'),
  };
}
