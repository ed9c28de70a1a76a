// The page in the browser: `/` for those who take HTML, and its files below a name that changes with their
// content. The sources of src/ui are sent without a build step: types are stripped when the page is first
// asked for.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { PageFacts } from '../api/page-facts.ts';
import { otlpProtocols } from '../modules/distributor/index.ts';
import { apiPrefixOf, type TempoConfig } from './config.ts';
import { TEXT } from './http-listener.ts';
import { VERSION } from './version.ts';

interface Asset {
  readonly type: string;
  readonly plain: Buffer;
  readonly gzip: Buffer;
}

interface Page {
  readonly html: Asset;
  /** Changes with the content of any file. */
  readonly folder: string;
  readonly assets: ReadonlyMap<string, Asset>;
}

const SOURCES = new URL('../ui/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  ts: 'text/javascript; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
const HTML = 'text/html; charset=utf-8';
const HASH_LENGTH = 12;

/** Nothing but the page's own files runs or is loaded, and no text becomes markup. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** What the page is told. */
export function pageFacts(config: TempoConfig, multitenancy: boolean): PageFacts {
  const { grpc, http } = otlpProtocols(config.distributor.receivers);
  return {
    version: VERSION,
    apiPrefix: apiPrefixOf(config),
    multitenancy,
    sendTo: [
      ...(grpc === undefined
        ? []
        : [{ protocol: 'OTLP over gRPC', sdkProtocol: 'grpc', ...addressOf(grpc) } as const]),
      ...(http === undefined
        ? []
        : [{ protocol: 'OTLP over HTTP', sdkProtocol: 'http/protobuf', ...addressOf(http) } as const]),
    ],
  };
}

/** The host is told only where it is one that others can use as it stands. */
function addressOf({ endpoint, tls }: { readonly endpoint: string; readonly tls?: unknown }) {
  const match = /^(.*):(\d+)$/.exec(endpoint);
  const host = match?.[1] ?? '';
  const isEverywhere = /^(\[?::\]?|0\.0\.0\.0|\[?::1\]?|127\.[\d.]+|localhost|)$/.test(host);
  return {
    host: isEverywhere ? '' : host,
    port: Number(match?.[2] ?? 0),
    tls: tls !== undefined && tls !== null,
  };
}

export function registerPageRoutes(app: FastifyInstance, facts: PageFacts): void {
  let page: Page | undefined;
  const loaded = (): Page => (page ??= loadPage(facts));
  const safe = (reply: FastifyReply): FastifyReply =>
    reply
      .header('content-security-policy', POLICY)
      .header('x-content-type-options', 'nosniff')
      .header('referrer-policy', 'no-referrer')
      .header('vary', 'Accept, Accept-Encoding');
  app.get('/', (request, reply) => {
    if (request.headers.accept?.includes('text/html') !== true)
      return notFound(reply.header('vary', 'Accept'));
    return send(request, safe(reply).header('cache-control', 'no-cache'), loaded().html);
  });
  app.get('/ui/:folder/:name', (request, reply) => {
    const { folder, name } = request.params as { readonly folder: string; readonly name: string };
    const asset = folder === loaded().folder ? loaded().assets.get(name) : undefined;
    if (asset === undefined) return notFound(reply);
    return send(request, safe(reply).header('cache-control', 'public, max-age=31536000, immutable'), asset);
  });
}

function notFound(reply: FastifyReply): FastifyReply {
  return reply.code(404).type(TEXT).send('404 page not found\n');
}

function send(request: FastifyRequest, reply: FastifyReply, { type, plain, gzip }: Asset): FastifyReply {
  const takesGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  if (takesGzip) reply.header('content-encoding', 'gzip');
  return reply.type(type).send(takesGzip ? gzip : plain);
}

function loadPage(facts: PageFacts): Page {
  const assets = new Map<string, Asset>();
  const hash = createHash('sha256');
  for (const name of readdirSync(SOURCES).toSorted()) {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
    if (type === undefined) continue;
    const source = readFileSync(new URL(name, SOURCES), 'utf8');
    const text = name.endsWith('.ts') ? withoutTypes(source) : source;
    hash.update(name).update(text);
    assets.set(name, assetOf(type, text));
  }
  const folder = hash.digest('hex').slice(0, HASH_LENGTH);
  const values: Readonly<Record<string, string>> = {
    facts: escaped(JSON.stringify(facts)),
    assets: `ui/${folder}`,
    script: assets.has('app.ts') ? 'ts' : 'js',
  };
  const template = readFileSync(new URL('index.html', SOURCES), 'utf8');
  const html = template.replaceAll(/\{\{(\w+)\}\}/g, (_match, name: string) => values[name] ?? '');
  return { html: assetOf(HTML, html), folder, assets };
}

function assetOf(type: string, text: string): Asset {
  const plain = Buffer.from(text);
  return { type, plain, gzip: gzipSync(plain, { level: 9 }) };
}

/** Stripping leaves blanks where types were. */
function withoutTypes(source: string): string {
  const emitWarning = process.emitWarning.bind(process);
  // Node says at the first call that the function is experimental; whoever reads the log cannot act on it.
  process.emitWarning = () => undefined;
  try {
    return stripTypeScriptTypes(source)
      .replaceAll(/[ \t]+$/gm, '')
      .replaceAll(/^\n+/gm, '');
  } finally {
    process.emitWarning = emitWarning;
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}
