// The pages of rings and of gossip, when all modules run in one process: a ring holds this instance, or
// nobody.
import type { FastifyInstance } from 'fastify';
import { escapeHtml } from '../lib/html.ts';
import type { TempoConfig } from './config.ts';
import { TEXT } from './http-listener.ts';

const HTML = 'text/html; charset=utf-8';
const POLICY = "default-src 'none'";
/** How Go prints a time that was never set. */
const NEVER = '0001-01-01T00:00:00Z';

interface Shard {
  readonly id: string;
  readonly state: string;
  readonly address: string;
  readonly timestamp: string;
  readonly registered_timestamp: string;
  readonly read_only: boolean;
  readonly read_only_updated_timestamp: string;
  readonly zone: string;
  readonly tokens: readonly number[];
}

/** @param hasRings false = no module of this process is in a ring. */
export function registerRingPages(
  app: FastifyInstance,
  config: TempoConfig,
  hasRings = true,
  now = () => new Date(),
): void {
  app.all('/memberlist', (_request, reply) => reply.type(TEXT).send("This instance doesn't use memberlist."));
  if (!hasRings) return;
  const registered = seconds(now());
  const { lifecycler } = config.ingester;
  const self = (): Shard => ({
    id: lifecycler.id,
    state: 'ACTIVE',
    address: `${lifecycler.address || '127.0.0.1'}:${lifecycler.port || config.server.grpcListenPort}`,
    timestamp: seconds(now()),
    registered_timestamp: registered,
    read_only: false,
    read_only_updated_timestamp: NEVER,
    zone: lifecycler.availabilityZone,
    tokens: [],
  });
  ringPage(app, '/ingester/ring', () => [self()], now);
  ringPage(app, '/metrics-generator/ring', () => [], now);
  ringPage(app, '/live-store/ring', () => [], now);
}

/** JSON, or HTML for who asks for it, which browsers do. */
function ringPage(app: FastifyInstance, url: string, shards: () => readonly Shard[], now: () => Date): void {
  app.all(url, (request, reply) => {
    // Forgetting an instance: this one would be back at its next heartbeat.
    if (request.method === 'POST') return reply.code(302).header('location', '#').send();
    const accept = request.headers.accept ?? '';
    if (!accept.includes('text/html') || accept.includes('application/json')) {
      return reply.type('application/json').send({ shards: shards(), now: now().toISOString() });
    }
    return reply.header('content-security-policy', POLICY).type(HTML).send(ringHtml(shards(), now()));
  });
}

function ringHtml(shards: readonly Shard[], now: Date): string {
  const heads = ['Instance ID', 'Availability Zone', 'State', 'Address', 'Registered At', 'Last Heartbeat'];
  const rows = shards.map(({ id, zone, state, address, registered_timestamp, timestamp }) =>
    row('td', [id, zone, state, address, registered_timestamp, timestamp]),
  );
  return `<!DOCTYPE html>
<html>
<head><meta charset="UTF-8"><title>Ring Status</title></head>
<body>
<h1>Ring Status</h1>
<p>Current time: ${now.toISOString()}</p>
<table border="1"><thead>${row('th', heads)}</thead>
<tbody>
${rows.join('')}</tbody></table>
</body>
</html>
`;
}

function row(tag: 'td' | 'th', cells: readonly string[]): string {
  return `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>\n`;
}

/** RFC 3339 in whole seconds. */
function seconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
