// Reads of objects. The SDK's middleware is most of the CPU of a small read (0.9 of 1.2 ms in a process that
// has just begun), and a trace by id over a thousand blocks is a thousand of them. So the SDK makes the first
// request; those after it have its address and its headers, and go to the SDK's signer and HTTP handler at
// once. Whatever is no usual answer is asked of the SDK again: it knows redirects, clocks and credentials.
import { GetObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3';
import type { ByteRange } from './bucket.ts';
import { collectBody } from './collect-body.ts';

/** A request as the SDK passes it on. */
interface SdkRequest {
  path: string;
  headers: Record<string, string>;
  clone(): SdkRequest;
}

type Signer = Awaited<ReturnType<S3Client['config']['signer']>>;

/** How the SDK reads an object. */
interface Way {
  readonly request: SdkRequest;
  /** In front of the key. */
  readonly folder: string;
  readonly signer: Signer;
  readonly signingRegion: string;
  readonly signingService: string;
}

interface AuthScheme {
  readonly name: string;
  readonly signingRegion?: string;
  readonly signingName?: string;
}

interface Context {
  readonly commandName?: string;
  readonly endpointV2?: { readonly properties?: { readonly authSchemes?: readonly AuthScheme[] } };
}

/** Headers that say who reads and with which key; others are of one request or of its signature. */
const KEPT = /^(host|user-agent|x-amz-server-side-encryption-.+)$/;
/** Of an answer that is no object. */
const ERROR_BYTES_MAX = 64 * 1024;
/** So many times in turn the SDK reads what could not be read without it: then all is left to it. */
const MISTAKES_MAX = 3;

export class S3Reader {
  private readonly client: S3Client;
  private readonly input: { readonly Bucket: string };
  private way: Way | undefined;
  private mistakes = 0;

  /** @param input of every read, beside the key. */
  constructor(client: S3Client, input: { readonly Bucket: string }) {
    this.client = client;
    this.input = input;
    client.middlewareStack.add(
      (next, context) => async (args) => {
        if ((context as Context).commandName === 'GetObjectCommand') {
          const { Key } = args.input as { readonly Key: string };
          await this.learn(Key, args.request as SdkRequest, context as Context);
        }
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'high', name: 'learnHowToRead' },
    );
  }

  /** Rejects with the errors of the SDK. */
  async read(key: string, range: ByteRange | undefined, abortSignal?: AbortSignal): Promise<Uint8Array> {
    const { way } = this;
    const bytes = way && (await this.readBy(way, key, range, abortSignal));
    if (bytes !== undefined) {
      this.mistakes = 0;
      return bytes;
    }
    const command = new GetObjectCommand({
      ...this.input,
      Key: key,
      ...(range === undefined ? {} : { Range: rangeHeader(range) }),
    });
    const { Body, ContentLength } = await this.client.send(command, { ...(abortSignal && { abortSignal }) });
    if (way !== undefined && ++this.mistakes >= MISTAKES_MAX) this.way = undefined;
    return collectBody(Body as AsyncIterable<Uint8Array>, ContentLength);
  }

  private async learn(key: string, request: SdkRequest, { endpointV2 }: Context): Promise<void> {
    const { config } = this.client;
    const scheme = endpointV2?.properties?.authSchemes?.[0];
    const isUsual = scheme === undefined || scheme.name === 'sigv4';
    const path = pathOf(key);
    if (!isUsual || !request.path.endsWith(path) || this.mistakes >= MISTAKES_MAX) {
      this.way = undefined;
      return;
    }
    const headers = Object.entries(request.headers).filter(([name]) => KEPT.test(name.toLowerCase()));
    this.way = {
      request: Object.assign(request.clone(), { headers: Object.fromEntries(headers), query: {} }),
      folder: request.path.slice(0, -path.length),
      signer: await config.signer(scheme as Parameters<typeof config.signer>[0]),
      signingRegion: scheme?.signingRegion ?? (await config.region()),
      signingService: scheme?.signingName ?? 's3',
    };
  }

  /** @returns undefined if only the SDK can tell what the answer means. */
  private async readBy(
    way: Way,
    key: string,
    range: ByteRange | undefined,
    abortSignal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    const { config } = this.client;
    const request = way.request.clone();
    request.path = way.folder + pathOf(key);
    if (range !== undefined) request.headers['range'] = rangeHeader(range);
    const { signingRegion, signingService } = way;
    const signingDate = new Date(Date.now() + config.systemClockOffset);
    const signed = await way.signer.sign(request as never, { signingDate, signingRegion, signingService });
    const { response } = await config.requestHandler.handle(signed, { ...(abortSignal && { abortSignal }) });
    const { statusCode, headers } = response;
    const body = response.body as AsyncIterable<Uint8Array> & { destroy(): void };
    const length = headers['content-length'];
    const lengthBytes = length === undefined ? undefined : Number(length);
    if (statusCode === (range === undefined ? 200 : 206)) return collectBody(body, lengthBytes);
    if (!isFinal(statusCode) || (lengthBytes ?? 0) > ERROR_BYTES_MAX) {
      body.destroy();
      return undefined;
    }
    const text = new TextDecoder().decode(await collectBody(body, lengthBytes));
    const failed = new S3ServiceException({
      name: /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? 'Unknown',
      message: /<Message>([^<]*)<\/Message>/.exec(text)?.[1] ?? '',
      $fault: statusCode < 500 ? 'client' : 'server',
      $metadata: { httpStatusCode: statusCode },
    });
    throw Object.assign(failed, { $response: response });
  }
}

/** The SDK could do no more: the object or the range is not there, or the store cannot answer now. */
function isFinal(status: number): boolean {
  return status === 404 || status === 416 || status === 429 || status >= 500;
}

function rangeHeader({ offset, lengthBytes }: ByteRange): string {
  return `bytes=${offset}-${offset + lengthBytes - 1}`;
}

/** As the SDK writes a key. */
function pathOf(key: string): string {
  return `/${key}`.split('/').map(encoded).join('/');
}

function encoded(part: string): string {
  return encodeURIComponent(part).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.codePointAt(0)!.toString(16).toUpperCase()}`,
  );
}
