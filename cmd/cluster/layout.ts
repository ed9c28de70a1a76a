// The processes of a cluster on one machine, and what the environment tells each of them; the configuration
// that reads it is config/microservices/tempo.yaml. Starts nothing.
import path from 'node:path';

/** The first one answers queries; ports of the others follow in this order. */
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

export type RoleName = (typeof ROLES)[number]['name'];

export interface RolePorts {
  readonly http: number;
  readonly grpc: number;
  readonly gossip: number;
}

export const CONFIG_FILE = path.resolve(import.meta.dirname, '../../config/microservices/tempo.yaml');

/** Where blocks are: a folder, or a bucket by what `S3_ENDPOINT` and its like name. */
export type Bucket = Readonly<
  Record<'S3_ENDPOINT' | 'S3_BUCKET' | 'S3_ACCESS_KEY' | 'S3_SECRET_KEY', string>
>;

/** What the configuration asks of the environment for one process. */
export function roleEnvironment(
  name: RoleName,
  folder: string,
  portsOf: (name: RoleName) => RolePorts,
  bucket: Bucket | undefined,
): Record<string, string> {
  const { http, grpc, gossip } = portsOf(name);
  const ingesters = ROLES.filter(({ target }) => target === 'ingester');
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
    // Any of them will do to join by, so that none has to be there.
    JOIN_MEMBERS: ingesters.map((ingester) => `127.0.0.1:${portsOf(ingester.name).gossip}`).join(', '),
    FRONTEND_GRPC_PORT: String(portsOf('query-frontend').grpc),
    SCHEDULER_GRPC_PORT: String(portsOf('backend-scheduler').grpc),
    BLOCKS: path.join(folder, 'blocks'),
    DATA: path.join(folder, name),
  };
}
