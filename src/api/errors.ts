// What an error is over HTTP. The gRPC side of the table is in src/rpc/grpc-status.ts.
import { TempoError, type ErrorCode } from '../lib/errors.ts';

const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  not_found: 404,
  too_large: 413,
  unprocessable: 422,
  resource_exhausted: 429,
  unavailable: 503,
  deadline_exceeded: 504,
  cancelled: 499,
  unimplemented: 501,
  block_corrupt: 500,
  internal: 500,
};

/**
 * The status of a thrown value: by its code, or what the HTTP framework found wrong with the request, or
 * 500.
 */
export function httpStatusOf(err: unknown): number {
  if (err instanceof TempoError) return HTTP_STATUS[err.code];
  const status = err instanceof Error && 'statusCode' in err ? Number(err.statusCode) : 500;
  return status >= 400 && status < 600 ? status : 500;
}
