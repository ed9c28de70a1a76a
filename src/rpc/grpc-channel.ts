// A gRPC channel to one address for hot paths: unary calls with raw bytes over one node:http2 session. Asks
// the peer whether it is there, comes back after failures, and never waits for a peer that is away. Costs
// about half the CPU of grpc-js; wire format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import http2, { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import { type ClientTls, clientTlsOptions, explainedTls } from './client-tls.ts';
import type { CallOptions, UnaryClient } from './grpc-client.ts';
import { PREFIX_BYTES } from './grpc-message.ts';
import { GrpcReply } from './grpc-reply.ts';

export interface ChannelOptions {
  /** `host:port` */
  readonly address: string;
  /** undefined = plain text. */
  readonly tls?: ClientTls | undefined;
  readonly recvMessageBytesMax: number;
  readonly sendMessageBytesMax: number;
  readonly connectTimeoutMs: number;
  /** Between tries to connect. */
  readonly reconnectMs: { readonly min: number; readonly max: number };
  /** How often the peer is asked whether it is there, and how long it may take to answer. */
  readonly keepaliveMs?: { readonly period: number; readonly timeout: number };
}

/** As Tempo's clients have it. */
const KEEPALIVE_MS = { period: 20_000, timeout: 10_000 };
const WINDOW_BYTES = 1 << 20;
/** What calls may have under way together, in both directions; callers have limits of their own. */
const SESSION_MEMORY_MIB = 256;
const BACKOFF_FACTOR = 1.6;
const CALL_TIMEOUT_MS = 10_000;

export class GrpcChannel implements UnaryClient {
  readonly #options: ChannelOptions;
  #session: Promise<ClientHttp2Session> | undefined;
  #open: ClientHttp2Session | undefined;
  #isClosed = false;
  #failures = 0;
  #nextTryMs = 0;
  #lastProblem: unknown;
  /** By the peer, over whatever connection. */
  #wasAnswered = false;

  /** Connects with the first call, not before. */
  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /**
   * Resolves with the answer's message. Rejects with TempoError.
   * @param message sent as it is; must not change until the call has settled.
   */
  async unary(
    path: string,
    message: Uint8Array,
    headers: Readonly<Record<string, string>>,
    options: CallOptions = {},
  ): Promise<Uint8Array> {
    const { address, sendMessageBytesMax, recvMessageBytesMax } = this.#options;
    if (message.length > sendMessageBytesMax) {
      const sizes = `${message.length} vs. ${sendMessageBytesMax}`;
      throw new TempoError('too_large', `trying to send message larger than max (${sizes})`);
    }
    const session = this.#open ?? (await this.#connected());
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
      'grpc-timeout': `${Math.ceil(timeoutMs)}m`,
      ...headers,
    });
    stream.once('response', () => (this.#wasAnswered = true));
    const encoding = headers['grpc-encoding'] ?? 'identity';
    sendMessage(stream, message, encoding !== 'identity');
    const reply = new GrpcReply(stream, {
      address,
      bytesMax: recvMessageBytesMax,
      timeoutMs,
      explained: (text) => this.#explained(text),
    });
    return reply.message(options.signal);
  }

  /** Cuts calls that are under way. */
  close(): void {
    this.#isClosed = true;
    this.#open?.destroy();
    this.#session?.then(
      (session) => session.destroy(),
      () => undefined,
    );
  }

  async #connected(): Promise<ClientHttp2Session> {
    if (this.#isClosed) throw this.#unavailable('the connection is closed');
    if (this.#session === undefined) {
      if (performance.now() < this.#nextTryMs)
        throw this.#unavailable('cannot be reached', this.#lastProblem);
      this.#session = this.#connect();
    }
    return this.#session;
  }

  async #connect(): Promise<ClientHttp2Session> {
    try {
      const session = await openSession(this.#options);
      if (this.#isClosed) {
        session.destroy();
        throw new Error('the connection is closed');
      }
      this.#failures = 0;
      this.#watch(session);
      this.#open = session;
      return session;
    } catch (err) {
      const { min, max } = this.#options.reconnectMs;
      const pauseMs = Math.min(min * BACKOFF_FACTOR ** this.#failures++, max);
      this.#nextTryMs = performance.now() + pauseMs;
      this.#lastProblem = err;
      this.#session = undefined;
      throw this.#unavailable('cannot be reached', err);
    }
  }

  /** No new calls go to a session that ends, or whose peer does not answer. */
  #watch(session: ClientHttp2Session): void {
    const { period, timeout } = this.#options.keepaliveMs ?? KEEPALIVE_MS;
    const pinger = setInterval(() => {
      if (session.destroyed) return;
      const late = setTimeout(() => session.destroy(), timeout).unref();
      if (!session.ping(() => clearTimeout(late))) clearTimeout(late);
    }, period).unref();
    const forget = (): void => {
      clearInterval(pinger);
      if (this.#open !== session) return;
      this.#open = undefined;
      this.#session = undefined;
    };
    session.on('error', (err: Error) => {
      this.#lastProblem = err;
    });
    session.once('goaway', forget);
    session.once('close', forget);
  }

  #explained(text: string): string {
    return explainedTls(text, this.#options.tls, this.#wasAnswered);
  }

  #unavailable(problem: string, cause?: unknown): TempoError {
    const text = cause instanceof Error ? `: ${this.#explained(cause.message)}` : '';
    return new TempoError('unavailable', `${this.#options.address} ${problem}${text}`, cause);
  }
}

function sendMessage(stream: ClientHttp2Stream, message: Uint8Array, isCompressed: boolean): void {
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  prefix[0] = isCompressed ? 1 : 0;
  prefix.writeUInt32BE(message.length, 1);
  stream.cork();
  stream.write(prefix);
  stream.end(message);
  stream.uncork();
}

async function openSession(options: ChannelOptions): Promise<ClientHttp2Session> {
  const { address, tls, connectTimeoutMs } = options;
  const secure = tls === undefined ? {} : await clientTlsOptions(tls);
  const session = http2.connect(`${tls === undefined ? 'http' : 'https'}://${address}`, {
    ...secure,
    maxSessionMemory: SESSION_MEMORY_MIB,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.unref();
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => {
      session.destroy(new Error(`no connection within ${connectTimeoutMs} ms`));
    }, connectTimeoutMs);
    const failed = (err: Error): void => reject(err);
    session.once('error', failed);
    session.once('close', () => {
      clearTimeout(late);
      reject(new Error('the peer closed the connection'));
    });
    session.once('connect', () => {
      clearTimeout(late);
      session.off('error', failed);
      resolve();
    });
  });
  return session;
}
