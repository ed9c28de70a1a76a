// gRPC statuses: the numbers, what a TempoError becomes, and the header forms of message and details.
// Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and google/rpc/status.proto.
import { ByteWriter } from '../lib/byte-writer.ts';
import { type ErrorCode, RetryLaterError, TempoError } from '../lib/errors.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';

export const GRPC_OK = 0;
export const GRPC_CANCELLED = 1;
const GRPC_INVALID_ARGUMENT = 3;
export const GRPC_DEADLINE_EXCEEDED = 4;
const GRPC_NOT_FOUND = 5;
export const GRPC_RESOURCE_EXHAUSTED = 8;
const GRPC_FAILED_PRECONDITION = 9;
const GRPC_UNIMPLEMENTED = 12;
export const GRPC_INTERNAL = 13;
export const GRPC_UNAVAILABLE = 14;
const GRPC_DATA_LOSS = 15;
const GRPC_UNAUTHENTICATED = 16;

const STATUS_OF_CODE: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: GRPC_INVALID_ARGUMENT,
  unauthenticated: GRPC_UNAUTHENTICATED,
  not_found: GRPC_NOT_FOUND,
  too_large: GRPC_RESOURCE_EXHAUSTED,
  unprocessable: GRPC_FAILED_PRECONDITION,
  resource_exhausted: GRPC_RESOURCE_EXHAUSTED,
  unavailable: GRPC_UNAVAILABLE,
  deadline_exceeded: GRPC_DEADLINE_EXCEEDED,
  cancelled: GRPC_CANCELLED,
  unimplemented: GRPC_UNIMPLEMENTED,
  block_corrupt: GRPC_DATA_LOSS,
  internal: GRPC_INTERNAL,
};

/** The first of those that share a number. */
const CODE_OF_STATUS = new Map(
  (Object.entries(STATUS_OF_CODE) as [ErrorCode, number][])
    .filter(([code]) => code !== 'too_large')
    .map(([code, status]) => [status, code]),
);

const RETRY_INFO_TYPE = 'type.googleapis.com/google.rpc.RetryInfo';
const encoder = new TextEncoder();

/** A status as a peer sees it. */
export interface GrpcStatus {
  readonly code: number;
  readonly message: string;
  readonly retryAfterMs: number | undefined;
}

/** What a thrown value is to the caller. */
export function statusOfError(err: unknown): GrpcStatus {
  if (!(err instanceof TempoError)) {
    return {
      code: GRPC_INTERNAL,
      message: err instanceof Error ? err.message : String(err),
      retryAfterMs: undefined,
    };
  }
  const retryAfterMs = err instanceof RetryLaterError ? err.retryAfterMs : undefined;
  return { code: STATUS_OF_CODE[err.code], message: err.message, retryAfterMs };
}

/** What a status of a peer is to us. */
export function codeOfStatus(status: number): ErrorCode {
  return CODE_OF_STATUS.get(status) ?? 'internal';
}

/** Serialises a google.rpc.Status, with a RetryInfo detail where the caller may try again. */
export function encodeStatus(status: GrpcStatus): Uint8Array {
  const out = new ByteWriter(64 + status.message.length);
  varintField(out, 1, status.code);
  textField(out, 2, status.message);
  if (status.retryAfterMs !== undefined) bytesField(out, 3, encodeRetryInfo(status.retryAfterMs));
  return out.copy();
}

/** Percent-encodes a message as `grpc-message` wants it: all but printable ASCII, and `%` itself. */
export function percentEncode(message: string): string {
  // oxlint-disable-next-line no-control-regex -- the control characters are what must not get through
  if (!/[^\x20-\x7e]|%/.test(message)) return message;
  let text = '';
  for (const byte of encoder.encode(message)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    text += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

/** Undoes `percentEncode`; a percent sign that begins no code stays. */
export function percentDecode(text: string): string {
  const bytes = text.replace(/%([0-9A-Fa-f]{2})/g, (_, code: string) => {
    return String.fromCharCode(Number.parseInt(code, 16));
  });
  return Buffer.from(bytes, 'latin1').toString();
}

/** google.protobuf.Any of RetryInfo { retry_delay }. */
function encodeRetryInfo(delayMs: number): Uint8Array {
  const duration = new ByteWriter(16);
  varintField(duration, 1, Math.floor(delayMs / 1000));
  varintField(duration, 2, (delayMs % 1000) * 1_000_000);
  const info = new ByteWriter(32);
  bytesField(info, 1, duration.view());
  const any = new ByteWriter(96);
  textField(any, 1, RETRY_INFO_TYPE);
  bytesField(any, 2, info.view());
  return any.copy();
}
