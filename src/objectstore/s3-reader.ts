// Reads of objects. Of the CPU of a small read about half is the SDK's middleware, and a trace by id over
// a thousand blocks is a thousand of them. So the SDK makes the first request; those after it have its
// address and its headers, and go to the SDK's signer and HTTP handler at once. Whatever is neither an object
// nor a plain failure is asked of the SDK again: it knows redirects, clocks and credentials.
import type { ByteRange } from './bucket.ts';
import { collectBody } from './collect-body.ts';

/** A request as the SDK passes it on. */
interface SdkRequest {
  path: string;
  headers: Record<string, string>;
  clone(): SdkRequest;
}

interface Signer {
  sign(
    request: SdkRequest,
    options: { signingDate: Date; signingRegion: string; signingService: string },
  ): Promise<SdkRequest>;
}

/** An answer as the SDK's handler gives it. */
interface SdkResponse {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

export interface ReadOptions {
  readonly abortSignal?: AbortSignal;
}

type Handler = (args: MiddlewareArgs) => Promise<object>;

interface MiddlewareArgs {
  readonly input: object;
  readonly request: unknown;
}

/** Of the SDK's client what is public of it and needed here. */
export interface SdkClient {
  readonly config: {
    signer(scheme: AuthScheme): Promise<Signer>;
    region(): Promise<string>;
    readonly requestHandler: {
      handle(request: SdkRequest, options: ReadOptions): Promise<{ readonly response: SdkResponse }>;
    };
    readonly systemClockOffset: number;
  };
  readonly middlewareStack: {
    add(
      middleware: (next: Handler, context: object) => Handler,
      options: { readonly step: 'finalizeRequest'; readonly priority: 'high'; readonly name: string },
    ): void;
  };
}

/** What only the SDK's own code can do. */
export interface SdkParts {
  readonly client: SdkClient;
  /** All of the SDK reads it. Rejects where more than the range would come. */
  readonly get: (
    key: string,
    range: ByteRange | undefined,
    options: ReadOptions,
  ) => Promise<{ readonly body: Body; readonly lengthBytes: number | undefined }>;
  /** The error that the SDK would throw. */
  readonly failure: (code: string, message: string, response: SdkResponse) => Error;
}

/** How the SDK reads an object. */
interface Way {
  readonly request: SdkRequest;
  /** In front of the key. */
  readonly folder: string;
  readonly signer: Signer;
  readonly signingRegion: string;
  readonly signingService: string;
  isMistaken: boolean;
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

type Body = AsyncIterable<Uint8Array>;

/** Headers that say who reads and with which key; others are of one request or of its signature. */
const KEPT = /^(host|user-agent|x-amz-server-side-encryption-.+)$/;
/** Of an answer that is no object. */
const ERROR_BYTES_MAX = 64 * 1024;
/** What the SDK could do no more about, and the status that it comes with. */
const FINAL: ReadonlyMap<string, number> = new Map([
  ['NoSuchKey', 404],
  ['NoSuchBucket', 404],
  ['InvalidRange', 416],
  ['RequestTimeout', 400],
]);
/** So many times in turn the SDK reads what could not be read without it: then all is left to it. */
const MISTAKES_MAX = 3;
const PAUSE_MS = 10 * 60_000;
const ENTITIES: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#34;': '"',
  '&apos;': "'",
  '&#39;': "'",
  '&#x27;': "'",
  '&amp;': '&',
};

export interface S3ReaderOptions {
  /** Told when reads are left to the SDK that were not before, and why. */
  readonly onDetour?: ((reason: string) => void) | undefined;
  readonly nowMs?: () => number;
}

export class S3Reader {
  private readonly sdk: SdkParts;
  private readonly nowMs: () => number;
  private readonly onDetour: (reason: string) => void;
  private way: Way | undefined;
  private mistakes = 0;
  private pausedUntilMs = -Infinity;
  /** Why the SDK's request could not be taken for an example; told once. */
  private notLearned: string | undefined;

  constructor(sdk: SdkParts, { nowMs = Date.now, onDetour = () => undefined }: S3ReaderOptions = {}) {
    this.sdk = sdk;
    this.nowMs = nowMs;
    this.onDetour = onDetour;
    sdk.client.middlewareStack.add(
      (next, context) => async (args) => {
        if ((context as Context).commandName !== 'GetObjectCommand') return next(args);
        const request = (args.request as SdkRequest).clone();
        const result = await next(args);
        const { Key } = args.input as { readonly Key: string };
        await this.learn(Key, request, context as Context).catch((err: unknown) =>
          this.couldNot(String(err)),
        );
        return result;
      },
      { step: 'finalizeRequest', priority: 'high', name: 'learnHowToRead' },
    );
  }

  /** Rejects with the errors of the SDK. */
  async read(key: string, range: ByteRange | undefined, abortSignal?: AbortSignal): Promise<Uint8Array> {
    const { way } = this;
    const options = { ...(abortSignal && { abortSignal }) };
    if (way !== undefined) {
      const bytes = await this.readBy(way, key, range, options);
      if (bytes !== undefined) {
        this.mistakes = 0;
        return bytes;
      }
    }
    const { body, lengthBytes } = await this.sdk.get(key, range, options);
    if (way !== undefined) this.mistook(way);
    return collectBody(body, lengthBytes);
  }

  /** The SDK read what could not be read that way. Of reads that failed at the same time one counts. */
  private mistook(way: Way): void {
    if (way.isMistaken) return;
    way.isMistaken = true;
    if (++this.mistakes < MISTAKES_MAX) return;
    this.mistakes = 0;
    this.way = undefined;
    this.pausedUntilMs = this.nowMs() + PAUSE_MS;
    this.onDetour(`only the SDK could read ${MISTAKES_MAX} objects in turn, so it reads all for ten minutes`);
  }

  private couldNot(reason: string): void {
    if (this.notLearned !== reason) this.onDetour(reason);
    this.notLearned = reason;
  }

  private async learn(key: string, request: SdkRequest, { endpointV2 }: Context): Promise<void> {
    const { config } = this.sdk.client;
    const scheme = endpointV2?.properties?.authSchemes?.[0];
    const path = pathOf(key);
    this.way = undefined;
    if (this.nowMs() < this.pausedUntilMs) return;
    if (scheme?.name !== 'sigv4') return this.couldNot(`requests are signed by ${scheme?.name ?? 'nothing'}`);
    if (!request.path.endsWith(path)) return this.couldNot('keys are not at the end of addresses');
    const headers = Object.entries(request.headers).filter(([name]) => KEPT.test(name.toLowerCase()));
    const signer = await config.signer(scheme);
    this.way = {
      request: Object.assign(request, { headers: Object.fromEntries(headers), query: {} }),
      folder: request.path.slice(0, -path.length),
      signer,
      signingRegion: scheme.signingRegion ?? (await config.region()),
      signingService: scheme.signingName ?? 's3',
      isMistaken: false,
    };
    this.notLearned = undefined;
  }

  /** @returns undefined if only the SDK can tell what the answer means. */
  private async readBy(
    { request, folder, signer, signingRegion, signingService }: Way,
    key: string,
    range: ByteRange | undefined,
    options: ReadOptions,
  ): Promise<Uint8Array | undefined> {
    const { config } = this.sdk.client;
    const own = request.clone();
    own.path = folder + pathOf(key);
    if (range !== undefined) own.headers['range'] = rangeHeader(range);
    const signingDate = new Date(this.nowMs() + config.systemClockOffset);
    const signed = await signer.sign(own, { signingDate, signingRegion, signingService });
    const { response } = await config.requestHandler.handle(signed, options);
    const { statusCode, headers, body } = response;
    const length = headers['content-length'];
    if (statusCode === (range === undefined ? 200 : 206)) {
      return collectBody(body, length === undefined ? undefined : Number(length));
    }
    const text = await shortText(body);
    if (text === undefined || statusCode < 400) return undefined;
    const code = /<Code>([^<]+)<\/Code>/.exec(text)?.[1] ?? 'Unknown';
    if (!isFinal(statusCode, code)) return undefined;
    const message = plainText(/<Message>([^<]+)<\/Message>/.exec(text)?.[1] ?? 'without a reason');
    throw this.sdk.failure(code, message, response);
  }
}

/** The SDK could do no more: the object or the range is not there, or the store cannot answer now. */
function isFinal(status: number, code: string): boolean {
  return status === 429 || status >= 500 || FINAL.get(code) === status;
}

/** @returns undefined if it is too long to tell of an error. */
async function shortText(body: Body): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    // Leaving the loop closes the connection.
    if (bytes > ERROR_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** As it is written in XML. */
function plainText(text: string): string {
  return text.replaceAll(/&(?:[a-z]+|#x?\d+);/g, (entity) => ENTITIES[entity] ?? entity);
}

/** As HTTP says it. */
export function rangeHeader({ offset, lengthBytes }: ByteRange): string {
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
