// gRPC over node:http2 with raw bytes in and out: which streams are calls, and whose. Calls with one request
// message only. Costs about half the CPU of grpc-js; wire format:
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import type { Logger } from '../telemetry/log.ts';
import { BufferPool } from './buffer-pool.ts';
import { ENCODINGS, refuse, refuseHttp } from './grpc-answer.ts';
import { Call, type CallObserver, type CallOptions } from './grpc-call.ts';
import { DuplexCall } from './grpc-duplex.ts';
import type { GrpcMethods } from './grpc-methods.ts';
import { statusOfError } from './grpc-status.ts';

export interface GrpcRouterOptions {
  readonly methods: GrpcMethods;
  /** What is for processes of this program is served too, as it is by default. */
  readonly servesInternal?: boolean | undefined;
  /** Largest request message, compressed and uncompressed. */
  readonly recvMessageBytesMax: number;
  /** Largest response message; undefined = no limit. */
  readonly sendMessageBytesMax?: number | undefined;
  /** Request bytes that all calls together may hold. */
  readonly inFlightBytesMax?: number | undefined;
  /** Time for a call that names none; of streams for their request only. */
  readonly callTimeoutMs?: number | undefined;
  /** How long a caller may take no bytes of an answer. */
  readonly sendStallMsMax?: number | undefined;
  readonly observer?: CallObserver | undefined;
  readonly logger: Logger;
}

const CONTENT_TYPE = /^application\/grpc(?:$|[+;])/;
const IN_FLIGHT_BYTES_MAX = 256 << 20;
const CALL_TIMEOUT_MS = 60_000;
const SEND_STALL_MS_MAX = 30_000;
/** Message buffers kept for the next calls. */
const IDLE_BYTES_MAX = 16 << 20;

/** True for streams that are meant for a `GrpcRouter`. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return CONTENT_TYPE.test(headers['content-type'] ?? '');
}

/** Routes the streams of any HTTP/2 server to handlers. */
export class GrpcRouter {
  readonly pool: BufferPool;
  callsOpen = 0;
  readonly #stopping = new AbortController();
  readonly #methods: GrpcMethods;
  readonly #servesInternal: boolean;
  readonly #callOptions: CallOptions;
  readonly #callClosed = (): void => void this.callsOpen--;

  constructor(options: GrpcRouterOptions) {
    this.#methods = options.methods;
    this.#servesInternal = options.servesInternal ?? true;
    this.pool = new BufferPool(options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX, IDLE_BYTES_MAX);
    this.#callOptions = {
      recvMessageBytesMax: options.recvMessageBytesMax,
      sendMessageBytesMax: options.sendMessageBytesMax,
      callTimeoutMs: options.callTimeoutMs ?? CALL_TIMEOUT_MS,
      sendStallMsMax: options.sendStallMsMax ?? SEND_STALL_MS_MAX,
      observer: options.observer,
      logger: options.logger,
      pool: this.pool,
    };
  }

  /** Takes a stream over; a listener for the `stream` event. */
  handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', ignoreStreamError);
    if (headers[':method'] !== 'POST') return refuseHttp(stream, 405, { allow: 'POST' });
    if (!isGrpc(headers)) return refuseHttp(stream, 415, { 'accept-post': 'application/grpc' });
    const path = headers[':path'] ?? '';
    const method = this.#methods.find(path);
    if (method === undefined) return refuse(stream, statusOfError(this.#unknownMethod(path)));
    if (method.isInternal === true && !this.#servesInternal) {
      const message = `method ${path} is served on the gRPC port only`;
      return refuse(stream, statusOfError(new TempoError('unimplemented', message)));
    }
    const encoding = headers['grpc-encoding'] ?? 'identity';
    if (encoding !== 'identity' && !ENCODINGS.includes(String(encoding))) {
      const message = `grpc: Decompressor is not installed for grpc-encoding "${String(encoding)}"`;
      return refuse(stream, statusOfError(new TempoError('unimplemented', message)));
    }
    this.callsOpen++;
    if (method.kind === 'duplex') {
      const ends = { stopping: this.#stopping.signal, onClose: this.#callClosed };
      return new DuplexCall(this.#callOptions, stream, headers, ends).run(method.handle);
    }
    new Call(this.#callOptions, stream, headers, method, this.#callClosed).open();
  }

  /** Calls that last and have nothing to do are to end. */
  stop(): void {
    this.#stopping.abort();
  }

  #unknownMethod(path: string): TempoError {
    const [, service = '', method = ''] = path.split('/');
    const message = this.#methods.hasService(service)
      ? `unknown method ${method} for service ${service}`
      : `unknown service ${service}`;
    return new TempoError('unimplemented', message);
  }
}

function ignoreStreamError(): void {
  // The stream's own `close` event tells all: a peer that resets a stream is no failure of ours.
}
