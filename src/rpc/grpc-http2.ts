// Unary gRPC over node:http2 with raw bytes in and out: routing, framing, compression, deadlines and
// statuses. Knows no protobuf. Costs about half the CPU of grpc-js; wire format:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import type { Logger } from '../telemetry/log.ts';
import { BufferPool } from './buffer-pool.ts';
import { MessageAssembler, PREFIX_BYTES } from './grpc-message.ts';
import { encodeStatus, GRPC_INTERNAL, type GrpcStatus, percentEncode, statusOfError } from './grpc-status.ts';
import { inflate } from './inflate.ts';

interface UnaryCall {
  /** The request message, uncompressed. Must not be used after the answer. */
  readonly message: Uint8Array;
  /** Header names in lower case; a repeated one is joined by `, `. */
  readonly metadata: IncomingHttpHeaders;
}

/** Answers the serialised response message; what it throws becomes the call's status. */
export type UnaryHandler = (call: UnaryCall) => Promise<Uint8Array>;

export interface GrpcRouterOptions {
  /** By full path: `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, UnaryHandler>;
  /** Largest request message, compressed and uncompressed. */
  readonly recvMessageBytesMax: number;
  /** Request bytes that all calls together may hold. */
  readonly inFlightBytesMax: number;
  /** Time for a call that names none. */
  readonly callTimeoutMs: number;
  readonly logger: Logger;
}

/** As Tempo's receiver, and `deflate`, which grpc-js can send. */
const ENCODINGS: readonly string[] = ['gzip', 'snappy', 'zstd', 'deflate'];
const ACCEPTED = `identity,${ENCODINGS.join(',')}`;
const OK_HEADERS: readonly string[] = [
  ':status',
  '200',
  'content-type',
  'application/grpc',
  'grpc-accept-encoding',
  ACCEPTED,
];
const OK_TRAILERS = { 'grpc-status': '0' };
const TRAILERS_FOLLOW = { waitForTrailers: true };
const CONTENT_TYPE = /^application\/grpc(?:$|[+;])/;
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const TIMEOUT_UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000001,
};
/** Deadlines are rounded up to this, so that calls share timer lists. */
const TIMEOUT_STEP_MS = 50;
const TIMEOUT_MS_MAX = 0x7fffffff;
/** How long a peer may go on sending on a stream that was refused. */
const REFUSED_STREAM_MS = 1000;
/** Message buffers kept for the next calls. */
const IDLE_BYTES_MAX = 16 << 20;

/** Routes the streams of any HTTP/2 server to unary handlers. */
export class GrpcRouter {
  readonly options: GrpcRouterOptions;
  readonly pool: BufferPool;
  callsOpen = 0;

  constructor(options: GrpcRouterOptions) {
    this.options = options;
    this.pool = new BufferPool(options.inFlightBytesMax, IDLE_BYTES_MAX);
  }

  /** Takes a stream over; a listener for the `stream` event. */
  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', ignoreStreamError);
    if (headers[':method'] !== 'POST') return refuseHttp(stream, 405, { allow: 'POST' });
    if (!CONTENT_TYPE.test(headers['content-type'] ?? '')) {
      return refuseHttp(stream, 415, { 'accept-post': 'application/grpc' });
    }
    const path = headers[':path'] ?? '';
    const handler = this.options.methods.get(path);
    if (handler === undefined) return refuse(stream, statusOfError(this.#unknownMethod(path)));
    const encoding = headers['grpc-encoding'] ?? 'identity';
    if (encoding !== 'identity' && !ENCODINGS.includes(String(encoding))) {
      const message = `grpc: Decompressor is not installed for grpc-encoding "${String(encoding)}"`;
      return refuse(stream, statusOfError(new TempoError('unimplemented', message)));
    }
    new Call(this, stream, headers, handler).open();
  }

  #unknownMethod(path: string): TempoError {
    const [, service = '', method = ''] = path.split('/');
    const isKnown = [...this.options.methods.keys()].some((known) => known.startsWith(`/${service}/`));
    const message = isKnown
      ? `unknown method ${method} for service ${service}`
      : `unknown service ${service}`;
    return new TempoError('unimplemented', message);
  }
}

/** One unary call on one stream. */
class Call {
  readonly #router: GrpcRouter;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #handler: UnaryHandler;
  readonly #assembler: MessageAssembler;
  #timer: NodeJS.Timeout | undefined;
  /** The caller got its answer or has left. */
  #isAnswered = false;
  /** The handler works on the message, which thus cannot be given back yet. */
  #isHandling = false;

  constructor(
    router: GrpcRouter,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    handler: UnaryHandler,
  ) {
    this.#router = router;
    this.#stream = stream;
    this.#headers = headers;
    this.#handler = handler;
    this.#assembler = new MessageAssembler(router.options.recvMessageBytesMax, router.pool);
  }

  open(): void {
    this.#router.callsOpen++;
    const timeoutMs = timeoutOf(this.#headers['grpc-timeout']) ?? this.#router.options.callTimeoutMs;
    this.#timer = setTimeout(() => {
      this.#fail(new TempoError('deadline_exceeded', 'context deadline exceeded'));
    }, timeoutMs);
    this.#stream.on('data', (chunk: Buffer) => {
      if (this.#isAnswered) return;
      try {
        this.#assembler.push(chunk);
      } catch (err) {
        // No message of gRPC: the client's fault, and thus no line in the log.
        this.#refuse(statusOfError(err));
      }
    });
    this.#stream.on('end', () => {
      if (this.#isAnswered) return;
      const fault = this.#faultOfMessage();
      if (fault === undefined) void this.#run();
      else this.#refuse(statusOfError(new TempoError('internal', fault)));
    });
    this.#stream.on('close', () => {
      this.#router.callsOpen--;
      this.#settle();
    });
  }

  #faultOfMessage(): string | undefined {
    if (!this.#assembler.isComplete()) return 'the request ended before its message was complete';
    const isNamed = this.#encoding !== 'identity';
    return this.#assembler.isCompressed && !isNamed ? 'compressed message without grpc-encoding' : undefined;
  }

  async #run(): Promise<void> {
    this.#isHandling = true;
    try {
      const message = await this.#message();
      this.#succeed(await this.#handler({ message, metadata: this.#headers }));
    } catch (err) {
      this.#fail(err);
    } finally {
      this.#isHandling = false;
      this.#settle();
    }
  }

  get #encoding(): string {
    return String(this.#headers['grpc-encoding'] ?? 'identity');
  }

  async #message(): Promise<Uint8Array> {
    if (!this.#assembler.isCompressed) return this.#assembler.bytes;
    return await inflate(this.#encoding, this.#assembler.bytes, this.#router.options.recvMessageBytesMax);
  }

  #succeed(response: Uint8Array): void {
    if (this.#isAnswered) return;
    this.#settle();
    const stream = this.#stream;
    if (!canRespond(stream)) return;
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + response.length);
    frame[0] = 0;
    frame.writeUInt32BE(response.length, 1);
    frame.set(response, PREFIX_BYTES);
    stream.on('wantTrailers', sendOkTrailers);
    stream.respond(OK_HEADERS, TRAILERS_FOLLOW);
    stream.end(frame);
  }

  #fail(err: unknown): void {
    if (this.#isAnswered) return;
    const status = statusOfError(err);
    if (status.code === GRPC_INTERNAL) {
      this.#router.options.logger.error('grpc call failed', { path: this.#headers[':path'], err });
    }
    this.#refuse(status);
  }

  #refuse(status: GrpcStatus): void {
    this.#settle();
    refuse(this.#stream, status);
  }

  /** After the answer, and again when the handler is done: frees what the call held. */
  #settle(): void {
    this.#isAnswered = true;
    clearTimeout(this.#timer);
    if (!this.#isHandling) this.#assembler.release();
  }
}

function sendOkTrailers(this: ServerHttp2Stream): void {
  if (!this.destroyed && !this.closed) this.sendTrailers(OK_TRAILERS);
}

/**
 * False once the peer has reset the stream or left: a closed stream throws although it is not destroyed yet.
 */
function canRespond(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && !stream.closed && !stream.headersSent;
}

/** Answers with a status and no message, and has the peer stop sending. */
function refuse(stream: ServerHttp2Stream, status: GrpcStatus): void {
  const headers: Record<string, string> = {
    ':status': '200',
    'content-type': 'application/grpc',
    'grpc-accept-encoding': ACCEPTED,
    'grpc-status': String(status.code),
    'grpc-message': percentEncode(status.message),
  };
  if (status.retryAfterMs !== undefined) {
    headers['grpc-status-details-bin'] = Buffer.from(encodeStatus(status))
      .toString('base64')
      .replace(/=+$/, '');
  }
  end(stream, headers);
}

function refuseHttp(stream: ServerHttp2Stream, status: number, headers: Record<string, string>): void {
  end(stream, { ':status': String(status), ...headers });
}

function end(stream: ServerHttp2Stream, headers: Record<string, string>): void {
  if (!canRespond(stream)) return;
  stream.respond(headers, { endStream: true });
  // What still comes is dropped. RST_STREAM(NO_ERROR) tells the peer that it need not send it (RFC 9113
  // section 8.1), but only later: at once it would overtake the headers.
  stream.resume();
  if (stream.readableEnded) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), REFUSED_STREAM_MS);
  stream.once('close', () => clearTimeout(timer));
}

function ignoreStreamError(): void {
  // The stream's own `close` event tells all: a peer that resets a stream is no failure of ours.
}

function timeoutOf(text: string | string[] | undefined): number | undefined {
  const match = typeof text === 'string' ? TIMEOUT.exec(text) : null;
  if (match === null) return undefined;
  const ms = Number(match[1]) * (TIMEOUT_UNIT_MS[match[2]] ?? 1);
  return Math.min(Math.ceil(ms / TIMEOUT_STEP_MS) * TIMEOUT_STEP_MS, TIMEOUT_MS_MAX);
}
