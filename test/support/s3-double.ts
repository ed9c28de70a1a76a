// A store that speaks S3 as the strictest of the compatible ones do: it refuses chunked bodies, checksums and
// deletes of many objects, and fails on demand. It checks no signature, only that there is one.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Refusal {
  readonly status: number;
  readonly code: string;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

export interface S3Double {
  readonly endpoint: string;
  readonly objects: ReadonlyMap<string, Uint8Array>;
  /** `METHOD /path` of each request that was not made to fail. */
  readonly seen: string[];
  /** The next requests with that method get this answer. */
  failNext(method: string, times: number, refusal: Refusal & { readonly retryAfter?: string }): void;
  /** One request of so many gets 503, whatever it asks for; 0 = none. */
  failEvery(requests: number): void;
  /** The next bodies end in the middle. */
  truncateNext(times: number): void;
  readonly stop: () => Promise<void>;
}

const FORBIDDEN =
  /^(x-amz-checksum-|x-amz-sdk-checksum|x-amz-trailer$|expect$|x-amz-decoded-content-length$)/;
const BUCKET = '/traces/';

const xml = (text: string): string =>
  text.replaceAll(/[&<>]/g, (c) => (c === '&' ? '&amp;' : c === '<' ? '&lt;' : '&gt;'));

const tagOf = (body: Uint8Array): string => `"${createHash('md5').update(body).digest('hex')}"`;
const tagElement = (body: Uint8Array): string => `<ETag>${xml(tagOf(body))}</ETag>`;

function failure({ status, code }: Refusal): Answer {
  return { status, body: `<Error><Code>${code}</Code><Message>${code} of the double</Message></Error>` };
}

/** What a strict store does not take. */
function refusalOf(request: IncomingMessage, url: URL): Refusal | undefined {
  const { headers } = request;
  if (headers.authorization?.startsWith('AWS4-HMAC-SHA256 Credential=user/') !== true) {
    return { status: 403, code: 'AccessDenied' };
  }
  const odd = Object.keys(headers).find((name) => FORBIDDEN.test(name));
  if (odd !== undefined) return { status: 501, code: `NotImplemented: ${odd}` };
  if (headers['content-encoding']?.includes('aws-chunked') === true) {
    return { status: 501, code: 'NotImplemented: aws-chunked' };
  }
  if (url.searchParams.has('delete')) return { status: 501, code: 'NotImplemented: DeleteObjects' };
  return url.pathname.startsWith('/traces') ? undefined : { status: 404, code: 'NoSuchBucket' };
}

class Objects {
  readonly objects = new Map<string, Uint8Array>();
  private readonly uploads = new Map<string, Map<number, Uint8Array>>();

  answer(request: IncomingMessage, url: URL, body: Uint8Array): Answer {
    const key = decodeURIComponent(url.pathname.slice(BUCKET.length));
    const query = url.searchParams;
    if (key === '') return this.list(query);
    if (request.method === 'PUT') return this.put(request, key, query, body);
    if (request.method === 'POST') return this.post(key, query);
    if (request.method === 'DELETE') {
      if (query.has('uploadId')) this.uploads.delete(query.get('uploadId') ?? '');
      else this.objects.delete(key);
      return { status: 204 };
    }
    return this.get(key, request.headers.range, request.method === 'HEAD');
  }

  private list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? '';
    const names = new Set<string>();
    for (const key of this.objects.keys()) {
      if (!key.startsWith(prefix)) continue;
      const slash = query.get('delimiter') === '/' ? key.indexOf('/', prefix.length) : -1;
      names.add(slash === -1 ? key : key.slice(0, slash + 1));
    }
    const begin = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const all = [...names].sort().filter((name) => name > begin);
    const page = all.slice(0, Number(query.get('max-keys')));
    const isCut = all.length > page.length;
    const items = page.map((name) =>
      name.endsWith('/')
        ? `<CommonPrefixes><Prefix>${xml(name)}</Prefix></CommonPrefixes>`
        : `<Contents><Key>${xml(name)}</Key></Contents>`,
    );
    const next = isCut ? `<NextContinuationToken>${xml(page.at(-1) ?? '')}</NextContinuationToken>` : '';
    const inner = `<IsTruncated>${isCut}</IsTruncated>${next}${items.join('')}`;
    return { status: 200, body: `<ListBucketResult>${inner}</ListBucketResult>` };
  }

  private put(request: IncomingMessage, key: string, query: URLSearchParams, body: Uint8Array): Answer {
    const source = request.headers['x-amz-copy-source'];
    if (typeof source === 'string') {
      const found = this.objects.get(decodeURIComponent(source).slice(BUCKET.length - 1));
      if (found === undefined) return failure({ status: 404, code: 'NoSuchKey' });
      this.objects.set(key, found);
      return { status: 200, body: `<CopyObjectResult>${tagElement(found)}</CopyObjectResult>` };
    }
    const etag = tagOf(body);
    const upload = this.uploads.get(query.get('uploadId') ?? '');
    if (upload === undefined) this.objects.set(key, body);
    else upload.set(Number(query.get('partNumber')), body);
    return { status: 200, headers: { etag } };
  }

  private post(key: string, query: URLSearchParams): Answer {
    const id = query.get('uploadId');
    if (id === null) {
      this.uploads.set(key, new Map());
      const inner = `<UploadId>${xml(key)}</UploadId>`;
      return { status: 200, body: `<InitiateMultipartUploadResult>${inner}</InitiateMultipartUploadResult>` };
    }
    const parts = [...(this.uploads.get(id) ?? [])].sort(([a], [b]) => a - b).map(([, part]) => part);
    const isUneven = parts.slice(1, -1).some((part) => part.length !== parts[0]?.length);
    if (isUneven) return failure({ status: 400, code: 'InvalidPart' });
    const whole = new Uint8Array(Buffer.concat(parts));
    this.objects.set(key, whole);
    this.uploads.delete(id);
    const inner = tagElement(whole);
    return { status: 200, body: `<CompleteMultipartUploadResult>${inner}</CompleteMultipartUploadResult>` };
  }

  private get(key: string, range: string | undefined, isHead: boolean): Answer {
    const found = this.objects.get(key);
    if (found === undefined) return failure({ status: 404, code: 'NoSuchKey' });
    const headers = { 'last-modified': new Date().toUTCString() };
    if (isHead) return { status: 200, headers: { ...headers, 'content-length': String(found.length) } };
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (from === undefined) return { status: 200, headers, body: found };
    if (Number(from) >= found.length) return failure({ status: 416, code: 'InvalidRange' });
    return { status: 206, headers, body: found.subarray(Number(from), Number(to) + 1) };
  }
}

export async function startS3Double(): Promise<S3Double> {
  const objects = new Objects();
  const seen: string[] = [];
  const failing = new Map<string, { left: number; answer: Answer }>();
  let truncated = 0;
  let busyEvery = 0;
  let count = 0;
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url ?? '', 'http://double');
      const planned = failing.get(request.method ?? '');
      if (planned !== undefined && planned.left > 0) {
        planned.left--;
        send(response, planned.answer, false);
        return;
      }
      if (busyEvery > 0 && ++count % busyEvery === 0) {
        send(response, failure({ status: 503, code: 'SlowDown' }), false);
        return;
      }
      seen.push(`${request.method} ${url.pathname}`);
      const refused = refusalOf(request, url);
      const body = new Uint8Array(Buffer.concat(chunks));
      const answer = refused === undefined ? objects.answer(request, url, body) : failure(refused);
      const isCut = answer.status < 300 && request.method === 'GET' && truncated > 0 && truncated-- > 0;
      send(response, answer, isCut);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects: objects.objects,
    seen,
    failNext: (method, times, { retryAfter, ...refusal }) => {
      const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
      failing.set(method, { left: times, answer: { ...failure(refusal), headers } });
    },
    failEvery: (requests) => void (busyEvery = requests),
    truncateNext: (times) => void (truncated = times),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(response: ServerResponse, { status, headers = {}, body = '' }: Answer, isCut: boolean): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    ...(headers['content-length'] === undefined ? { 'content-length': bytes.length } : {}),
    ...headers,
  });
  if (!isCut) response.end(bytes);
  else response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
}
