// A gRPC client for serialised messages: grpc-js, which keeps connections, comes back after failures and
// speaks TLS. Loaded only where something is sent to others.
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { TempoError } from '../lib/errors.ts';
import { type ClientTls, explainedTls } from './client-tls.ts';
import {
  codeOfStatus,
  GRPC_CANCELLED,
  GRPC_DEADLINE_EXCEEDED,
  GRPC_INTERNAL,
  GRPC_RESOURCE_EXHAUSTED,
  GRPC_UNAVAILABLE,
} from './grpc-status.ts';
import { compressMessages } from './grpc-js-compression.ts';
import { grpcJsTls } from './grpc-js-tls.ts';
import type { MessageCompression } from './message-compression.ts';

export interface GrpcClientOptions {
  /** `host:port` */
  readonly address: string;
  /** undefined = plain text. */
  readonly tls?: ClientTls | undefined;
  /** Between tries to connect. */
  readonly reconnectMs?: { readonly min: number; readonly max: number };
  /** Largest message that is received; undefined = 4 MiB. */
  readonly recvMessageBytesMax?: number;
  /** Of messages; undefined = they go as they are. */
  readonly compression?: MessageCompression | undefined;
  /** Asks the server that often whether it is there while there are calls, waits so long for an answer. */
  readonly keepaliveMs?: { readonly time: number; readonly timeout: number };
}

export interface CallOptions {
  /** Longest wait for the answer; undefined = ten seconds. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface UnaryClient {
  /** Resolves with the answer's message. Rejects with TempoError. */
  unary(
    path: string,
    message: Uint8Array,
    headers: Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<Uint8Array>;
  close(): void;
}

export interface GrpcClient extends UnaryClient {
  /** Opens a call with any number of messages each way; it has no deadline. */
  duplex(path: string, headers: Readonly<Record<string, string>>): DuplexClientCall;
}

export interface DuplexClientCall {
  /** Ends when the server has said all; throws TempoError when the call failed. */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Resolves when there is room for the next one, also when nobody reads it any more. */
  send(message: Uint8Array): Promise<void>;
  /** Nothing more is sent. */
  end(): void;
  cancel(): void;
}

const CALL_TIMEOUT_MS = 10_000;
/** What grpc-js takes where nothing is said. */
const RECV_BYTES_MAX = 4 << 20;

/** What the caller is told. */
type Failed = (status: number, details: string, err: unknown) => TempoError;

/** What grpc-js may say without an answer; all else comes from the server. */
const OF_CLIENTS: ReadonlySet<number> = new Set([
  GRPC_CANCELLED,
  GRPC_DEADLINE_EXCEEDED,
  GRPC_RESOURCE_EXHAUSTED,
  GRPC_INTERNAL,
  GRPC_UNAVAILABLE,
]);

/** Connects with the first call, not before. Throws TempoError when a certificate cannot be read. */
export async function openGrpcClient(options: GrpcClientOptions): Promise<GrpcClient> {
  const { address, tls, reconnectMs, recvMessageBytesMax, keepaliveMs, compression } = options;
  const grpc = await import('@grpc/grpc-js');
  const credentials =
    tls === undefined ? grpc.credentials.createInsecure() : await grpcJsTls(grpc, tls, address);
  let wasAnswered = false;
  const answered = (): void => void (wasAnswered = true);
  const failed: Failed = (status, details, err) => {
    if (!OF_CLIENTS.has(status)) answered();
    // All else is what the server says itself, or that a time is over.
    const text = status === GRPC_UNAVAILABLE ? explainedTls(details, tls, wasAnswered) : details;
    return new TempoError(codeOfStatus(status), `${address}: ${text}`, err);
  };
  const client = new grpc.Client(address, credentials, {
    ...(keepaliveMs === undefined
      ? {}
      : { 'grpc.keepalive_time_ms': keepaliveMs.time, 'grpc.keepalive_timeout_ms': keepaliveMs.timeout }),
    ...(recvMessageBytesMax === undefined ? {} : { 'grpc.max_receive_message_length': recvMessageBytesMax }),
    ...(reconnectMs === undefined
      ? {}
      : {
          'grpc.initial_reconnect_backoff_ms': reconnectMs.min,
          'grpc.max_reconnect_backoff_ms': reconnectMs.max,
        }),
  });
  if (compression !== undefined) {
    const inflatedBytesMax = recvMessageBytesMax ?? RECV_BYTES_MAX;
    compressMessages(grpc, client, { compression, recvMessageBytesMax: inflatedBytesMax });
  }
  const same = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    unary: (path, message, headers, { timeoutMs = CALL_TIMEOUT_MS, signal } = {}) => {
      const metadata = new grpc.Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      const deadline = Date.now() + timeoutMs;
      return new Promise((resolve, reject) => {
        const cancel = (): void => call.cancel();
        const call = client.makeUnaryRequest(
          path,
          same,
          same,
          message,
          metadata,
          { deadline },
          (err, answer) => {
            signal?.removeEventListener('abort', cancel);
            if (err === null) resolve(answer ?? new Uint8Array(0));
            else reject(failed(err.code, err.details, err));
          },
        );
        call.once('metadata', answered);
        signal?.addEventListener('abort', cancel);
        if (signal?.aborted === true) cancel();
      });
    },
    duplex: (path, headers) => {
      const metadata = new grpc.Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      const call = client.makeBidiStreamRequest(path, same, same, metadata);
      call.once('metadata', answered);
      return duplexCall(call, failed);
    },
    close: () => client.close(),
  };
}

function duplexCall(call: ClientDuplexStream<Uint8Array, Buffer>, failed: Failed): DuplexClientCall {
  let isOver = false;
  call.once('close', () => (isOver = true));
  // What failed is thrown by the iteration below.
  call.on('error', () => (isOver = true));
  return {
    messages: readAll(call, failed),
    send: (message) =>
      isOver || call.write(message)
        ? Promise.resolve()
        : new Promise((resolve) => {
            const go = (): void => {
              call.off('drain', go).off('close', go).off('error', go);
              resolve();
            };
            call.on('drain', go).on('close', go).on('error', go);
          }),
    end: () => void (isOver || call.end()),
    cancel: () => call.cancel(),
  };
}

async function* readAll(
  call: ClientDuplexStream<Uint8Array, Buffer>,
  failed: Failed,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const message of call) yield message as Uint8Array;
  } catch (err) {
    const { code = 2, details = String(err) } = err as Partial<ServiceError>;
    throw failed(code, details, err);
  }
}
