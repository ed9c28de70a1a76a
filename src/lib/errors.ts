// The one error class for things that go wrong in operation; api/errors.ts maps its code to HTTP and gRPC
// statuses.

export type ErrorCode =
  | 'invalid_argument'
  | 'unauthenticated'
  | 'not_found'
  | 'too_large'
  | 'unprocessable'
  | 'resource_exhausted'
  | 'unavailable'
  | 'deadline_exceeded'
  | 'cancelled'
  | 'unimplemented'
  | 'block_corrupt'
  | 'internal';

export class TempoError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TempoError';
    this.code = code;
  }
}

/** Nobody waits for it any more. */
export function requestCancelled(): TempoError {
  return new TempoError('cancelled', 'the request was cancelled');
}

/** A refusal that the caller may repeat after a while; told to OTLP clients as RetryInfo and Retry-After. */
export class RetryLaterError extends TempoError {
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, retryAfterMs: number, cause?: unknown) {
    super(code, message, cause);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Who was asked is about to end: another one may do it. */
export class StoppingError extends TempoError {
  constructor(message: string) {
    super('unavailable', message);
  }
}

/** Why a query is aborted whose caller still waits: the time for it is over, and what was found is of use. */
export class TimeIsUpError extends TempoError {
  /** The key of the configuration that says how long it may take. */
  readonly limit: string;

  constructor(limit: string, message: string) {
    super('unavailable', message);
    this.limit = limit;
  }
}
