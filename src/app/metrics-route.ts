// GET /metrics and the like: metrics as text, in the format and compression that the scraper prefers.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { EXPOSITION_TYPES, type ExpositionFormat } from '../telemetry/exposition.ts';

const gzipped = promisify(gzip);

/** Below it compression saves nothing. */
const GZIP_BYTES_MIN = 1024;

/** Metrics are compressed again and again, and they are very regular. */
const GZIP_LEVEL = 1;

export function registerMetricsRoute(
  app: FastifyInstance,
  path: string,
  metricsIn: (format: ExpositionFormat) => Promise<Buffer>,
): void {
  app.get(path, async (request, reply) => {
    const { accept, 'accept-encoding': encoding = '' } = request.headers;
    const format = expositionFormat(accept);
    const body = await metricsIn(format);
    reply.type(EXPOSITION_TYPES[format]).header('vary', 'accept, accept-encoding');
    if (body.length < GZIP_BYTES_MIN || !takesGzip(String(encoding))) return reply.send(body);
    return reply.header('content-encoding', 'gzip').send(await gzipped(body, { level: GZIP_LEVEL }));
  });
}

/** Whichever of the two the client likes best; the plain text when it does not say. */
function expositionFormat(accept: string | undefined): ExpositionFormat {
  let best: ExpositionFormat = 'text';
  let bestQuality = 0;
  for (const { name, parameters, quality } of weighted(accept ?? '')) {
    const version = parameters.get('version');
    const isOpen = name === 'application/openmetrics-text' && (version ?? '1.0.0') === '1.0.0';
    const isText = name === '*/*' || name === 'text/*' || name === 'text/plain';
    if (quality <= bestQuality || !(isOpen || (isText && (version ?? '0.0.4') === '0.0.4'))) continue;
    best = isOpen ? 'openmetrics' : 'text';
    bestQuality = quality;
  }
  return best;
}

function takesGzip(acceptEncoding: string): boolean {
  return weighted(acceptEncoding).some(({ name, quality }) => name === 'gzip' && quality > 0);
}

interface Weighted {
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** The entries of an Accept header. */
function weighted(header: string): Weighted[] {
  return header.split(',').flatMap((entry): Weighted[] => {
    const [name = '', ...rest] = entry.split(';').map((part) => part.trim());
    if (name === '') return [];
    const parameters = new Map(
      rest.map((part) => {
        const [key = '', value = ''] = part.split('=');
        return [key.toLowerCase(), value.replaceAll('"', '')];
      }),
    );
    const quality = Number(parameters.get('q') ?? 1);
    return [{ name: name.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 0 : quality }];
  });
}
