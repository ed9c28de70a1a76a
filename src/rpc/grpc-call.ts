// One gRPC call on one HTTP/2 stream: takes the request message in, runs the handler, sends what it answers
// under the call's deadline, and notices when the caller has left.
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import type { Logger } from '../telemetry/log.ts';
import type { BufferPool } from './buffer-pool.ts';
import { canRespond, endAnswer, framed, openAnswer, refuse, sendOkTrailers } from './grpc-answer.ts';
import { MessageAssembler } from './grpc-message.ts';
import type { GrpcCall, GrpcMethod, StreamHandler, UnaryHandler } from './grpc-methods.ts';
import { GRPC_CANCELLED, GRPC_INTERNAL, GRPC_OK, type GrpcStatus, statusOfError } from './grpc-status.ts';
import { inflate } from './inflate.ts';

/** Is told of calls, by their path. */
export interface CallObserver {
  started(path: string): void;
  /** @param code gRPC status. @param bytesIn of the message as it came. @param bytesOut of all messages. */
  ended(path: string, code: number, seconds: number, bytesIn: number, bytesOut: number): void;
}

export interface CallOptions {
  readonly recvMessageBytesMax: number;
  /** Undefined = no limit. */
  readonly sendMessageBytesMax?: number | undefined;
  /** Time for a call that names none; of streams for their request only. */
  readonly callTimeoutMs: number;
  /** How long the caller may take no bytes of an answer. */
  readonly sendStallMsMax: number;
  readonly observer?: CallObserver | undefined;
  readonly logger: Logger;
  readonly pool: BufferPool;
}

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
/** Answers up to this size are left to the stream: how many there are is bounded, by streams and sessions. */
const SMALL_ANSWER_BYTES = 64 << 10;

/** Registers itself on the stream's events in `open`. */
export class Call implements GrpcCall {
  readonly metadata: IncomingHttpHeaders;
  message: Uint8Array;
  readonly #options: CallOptions;
  readonly #path: string;
  readonly #stream: ServerHttp2Stream;
  readonly #method: Exclude<GrpcMethod, { kind: 'duplex' }>;
  readonly #assembler: MessageAssembler;
  readonly #onClose: () => void;
  readonly #startMs: number;
  #abort: AbortController | undefined;
  #trailers: Record<string, string> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The caller got its answer or has left. */
  #isAnswered = false;
  /** The handler works on the message, which thus cannot be given back yet. */
  #isHandling = false;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(
    options: CallOptions,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    method: Exclude<GrpcMethod, { kind: 'duplex' }>,
    onClose: () => void,
  ) {
    this.#options = options;
    this.#stream = stream;
    this.metadata = headers;
    this.#path = headers[':path'] ?? '';
    this.#method = method;
    this.#onClose = onClose;
    this.#assembler = new MessageAssembler(options.recvMessageBytesMax, options.pool);
    this.message = this.#assembler.bytes;
    this.#startMs = options.observer === undefined ? 0 : performance.now();
  }

  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#isAnswered) this.#abort.abort();
    return this.#abort.signal;
  }

  get trailers(): Record<string, string> {
    this.#trailers ??= {};
    return this.#trailers;
  }

  open(): void {
    this.#options.observer?.started(this.#path);
    const deadlineMs = timeoutOf(this.metadata['grpc-timeout']);
    const timeoutMs = deadlineMs ?? this.#options.callTimeoutMs;
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
      // A stream lasts as long as its caller wants.
      if (deadlineMs === undefined && this.#method.kind === 'stream') clearTimeout(this.#timer);
      const fault = this.#faultOfMessage();
      if (fault === undefined) void this.#run();
      else this.#refuse(statusOfError(new TempoError('internal', fault)));
    });
    this.#stream.on('close', () => {
      this.#onClose();
      this.#settle(GRPC_CANCELLED);
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
      this.#bytesIn = this.#assembler.bytes.length;
      this.message = await this.#inflated();
      if (this.#method.kind === 'unary') await this.#answer(this.#method.handle);
      else await this.#answerMany(this.#method.handle);
    } catch (err) {
      this.#fail(err);
    } finally {
      this.#isHandling = false;
      if (this.#isAnswered) this.#assembler.release();
    }
  }

  get #encoding(): string {
    return String(this.metadata['grpc-encoding'] ?? 'identity');
  }

  async #inflated(): Promise<Uint8Array> {
    if (!this.#assembler.isCompressed) return this.#assembler.bytes;
    return await inflate(this.#encoding, this.#assembler.bytes, this.#options.recvMessageBytesMax);
  }

  async #answer(handle: UnaryHandler): Promise<void> {
    const response = await handle(this);
    if (this.#isAnswered) return;
    const stream = this.#stream;
    if (!canRespond(stream)) return;
    this.#checkSize(response);
    this.#bytesOut = response.length;
    this.#settle(GRPC_OK);
    stream.on('wantTrailers', sendOkTrailers);
    openAnswer(stream);
    stream.end(framed(response));
    if (response.length > SMALL_ANSWER_BYTES) this.#cutWhenStalled();
  }

  async #answerMany(handle: StreamHandler): Promise<void> {
    for await (const message of handle(this)) {
      if (this.#isAnswered) break;
      this.#checkSize(message);
      await this.#send(message);
    }
    if (this.#isAnswered) return;
    if (canRespond(this.#stream)) openAnswer(this.#stream);
    this.#settle(GRPC_OK);
    endAnswer(this.#stream, undefined, this.#trailers);
    this.#cutWhenStalled();
  }

  /** Resolves when there is room for the next message, or nobody who would read it. */
  async #send(message: Uint8Array): Promise<void> {
    const stream = this.#stream;
    if (canRespond(stream)) openAnswer(stream);
    if (stream.destroyed || stream.closed) return;
    this.#bytesOut += message.length;
    if (stream.write(framed(message))) return;
    await new Promise<void>((resolve) => {
      const stalled = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), this.#options.sendStallMsMax);
      const go = (): void => {
        clearTimeout(stalled);
        stream.off('drain', go).off('close', go);
        resolve();
      };
      stream.on('drain', go).on('close', go);
    });
  }

  /** A caller that stops reading does not hold the answer for ever. */
  #cutWhenStalled(): void {
    const stream = this.#stream;
    const stalled = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), this.#options.sendStallMsMax);
    stream.once('close', () => clearTimeout(stalled));
  }

  #checkSize(message: Uint8Array): void {
    const max = this.#options.sendMessageBytesMax;
    if (max === undefined || message.length <= max) return;
    const text = `grpc: trying to send message larger than max (${message.length} vs. ${max})`;
    throw new TempoError('too_large', text);
  }

  #fail(err: unknown): void {
    if (this.#isAnswered) return;
    const status = statusOfError(err);
    if (status.code === GRPC_INTERNAL) {
      this.#options.logger.error('grpc call failed', { path: this.#path, err });
    }
    this.#refuse(status);
  }

  #refuse(status: GrpcStatus): void {
    const stream = this.#stream;
    this.#settle(status.code);
    if (!stream.headersSent) return refuse(stream, status);
    endAnswer(stream, status);
    this.#cutWhenStalled();
  }

  /** The first call decides what became of the call. Frees what it held, unless the handler needs it yet. */
  #settle(code: number): void {
    if (!this.#isAnswered) {
      this.#isAnswered = true;
      clearTimeout(this.#timer);
      if (code !== GRPC_OK) this.#abort?.abort();
      const { observer } = this.#options;
      if (observer !== undefined) {
        const seconds = (performance.now() - this.#startMs) / 1000;
        observer.ended(this.#path, code, seconds, this.#bytesIn, this.#bytesOut);
      }
    }
    if (!this.#isHandling) this.#assembler.release();
  }
}

function timeoutOf(text: string | string[] | undefined): number | undefined {
  const match = typeof text === 'string' ? TIMEOUT.exec(text) : null;
  if (match === null) return undefined;
  const ms = Number(match[1]) * (TIMEOUT_UNIT_MS[match[2]] ?? 1);
  return Math.min(Math.ceil(ms / TIMEOUT_STEP_MS) * TIMEOUT_STEP_MS, TIMEOUT_MS_MAX);
}
