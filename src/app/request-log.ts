// A log line for each HTTP request, as much of it as the server block asks for. Secrets in headers are never
// written.
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { shortened } from '../lib/shortened.ts';
import type { Logger } from '../telemetry/log.ts';
import type { ServerConfig } from './server-config.ts';

const SECRET_HEADERS: readonly string[] = ['authorization', 'proxy-authorization', 'cookie', 'x-csrf-token'];
/** Whose lines would hide the others. */
const QUIET_PATHS: readonly string[] = ['/ready', '/metrics'];
/** Of a URL and of each header. */
const TEXT_LENGTH_MAX = 4096;

export function logRequests(app: FastifyInstance, config: ServerConfig, logger: Logger): void {
  const isInfo = config.logRequestAtInfoLevelEnabled;
  if (!isInfo && config.logLevel !== 'debug') return;
  const excluded = config.logRequestExcludeHeadersList.toLowerCase().split(',');
  const hidden = new Set([...SECRET_HEADERS, ...excluded.map((name) => name.trim())]);
  const ip = sourceReader(config);
  app.addHook('onResponse', async (request, reply) => {
    const isQuiet = QUIET_PATHS.includes(request.routeOptions.url ?? '');
    logger[isInfo && !isQuiet ? 'info' : 'debug']('http request', {
      method: request.method,
      url: shortened(request.originalUrl, TEXT_LENGTH_MAX),
      status: reply.statusCode,
      duration_ms: Math.round(reply.elapsedTime),
      ...(config.logRequestHeaders ? { headers: withoutSecrets(request, hidden) } : {}),
      ...(config.logSourceIpsEnabled ? { source_ips: ip(request) } : {}),
    });
  });
}

function withoutSecrets({ headers }: FastifyRequest, hidden: ReadonlySet<string>): Record<string, unknown> {
  const shown = Object.entries(headers).filter(([name]) => !hidden.has(name));
  return Object.fromEntries(shown.map(([name, value]) => [name, shortened(String(value), TEXT_LENGTH_MAX)]));
}

/** As Tempo: a header and a pattern of one's own, or the usual headers, and the address of the peer. */
function sourceReader(config: ServerConfig): (request: FastifyRequest) => string {
  const { logSourceIpsHeader, logSourceIpsFull } = config;
  const pattern = config.logSourceIpsRegex === '' ? undefined : new RegExp(config.logSourceIpsRegex);
  const names =
    logSourceIpsHeader === '' ? ['x-forwarded-for', 'x-real-ip'] : [logSourceIpsHeader.toLowerCase()];
  return ({ headers, socket }) => {
    const peer = socket.remoteAddress ?? '';
    const value = names.map((name) => headers[name]).find((each) => each !== undefined);
    if (value === undefined) return peer;
    const all = String(value);
    const found = pattern === undefined ? all : (pattern.exec(all)?.[1] ?? '');
    const shown = logSourceIpsFull ? found : found.split(',', 1)[0].trim();
    return shown === '' ? peer : `${shortened(shown, TEXT_LENGTH_MAX)}, ${peer}`;
  };
}
