// Failures of object stores as errors whose text says what was tried, what the store answered and what to do.
import { type ErrorCode, requestCancelled, TempoError } from '../lib/errors.ts';
import type { Action, Bucket, Failure, FailureKind } from './bucket.ts';

const CODES: Readonly<Record<FailureKind, ErrorCode>> = {
  not_found: 'not_found',
  no_bucket: 'internal',
  range: 'block_corrupt',
  denied: 'internal',
  credentials: 'internal',
  clock: 'unavailable',
  throttled: 'unavailable',
  unreachable: 'unavailable',
  untrusted: 'internal',
  busy: 'unavailable',
  cancelled: 'cancelled',
  refused: 'internal',
};

const RETRIED: readonly FailureKind[] = ['clock', 'throttled', 'unreachable', 'busy'];
/** May the same request work a moment later? */
export function isRetried(kind: FailureKind): boolean {
  return RETRIED.includes(kind);
}

const DETAIL_LENGTH_MAX = 300;

/** @param key what it was about; '' = the bucket itself. */
export function storeError(bucket: Bucket, action: Action, key: string, failure: Failure): TempoError {
  const { kind } = failure;
  if (kind === 'not_found') return new TempoError('not_found', `${key} does not exist`);
  if (kind === 'cancelled') return requestCancelled();
  const what = key === '' ? action : `${action} ${key}`;
  const detail = oneLine(failure.detail);
  return new TempoError(
    CODES[kind],
    `cannot ${what} in ${bucket.name}: ${detail}; ${advice(bucket, action, kind)}`,
  );
}

function advice(bucket: Bucket, action: Action, kind: FailureKind): string {
  switch (kind) {
    case 'no_bucket':
      return 'create it, or correct its name, region or endpoint in the configuration';
    case 'denied':
      return `allow ${bucket.permissionFor(action)}`;
    case 'credentials':
      return 'check the credentials that the configuration, the environment or the platform gives';
    case 'clock':
      return 'set the clock of this machine by NTP';
    case 'throttled':
      return 'the store asks for fewer requests; it is tried again with longer pauses';
    case 'unreachable':
      return 'check the endpoint, the network, and TLS against plain HTTP (insecure)';
    case 'untrusted':
      return 'name its authority: tls_ca_path for S3, the environment variable NODE_EXTRA_CA_CERTS else';
    case 'busy':
      return 'the store cannot answer now; it is tried again';
    case 'range':
      return 'the object is shorter than its block says';
    default:
      return 'this will not work when it is tried again';
  }
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > DETAIL_LENGTH_MAX ? `${line.slice(0, DETAIL_LENGTH_MAX)}…` : line;
}

/** Errors of sockets and name servers: no answer came. */
const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EPIPE',
  'EPROTO',
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** What a failure means that no answer of the store explains; undefined when it is none of the network. */
export function networkFailure(err: unknown): Failure | undefined {
  for (let at: unknown = err; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? String(at.code) : '';
    if (at.name === 'AbortError' || code === 'ABORT_ERR') return { kind: 'cancelled', detail: at.message };
    if (at instanceof TruncatedError || at.name === 'TimeoutError' || NETWORK_CODES.has(code)) {
      return { kind: 'unreachable', detail: networkText(at, code) };
    }
    if (/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_|ERR_SSL_)/.test(code)) {
      return { kind: 'untrusted', detail: `${code}: ${at.message}` };
    }
    if (at instanceof AggregateError) return networkFailure(at.errors[0]);
  }
  return undefined;
}

function networkText(err: Error, code: string): string {
  if (err.message === '') return code === '' ? err.name : code;
  return code === '' || err.message.includes(code) ? err.message : `${code}: ${err.message}`;
}

/** An answer ended before all its bytes had come. */
export class TruncatedError extends Error {
  constructor(got: number, wanted: number) {
    super(`the answer ended after ${got} of ${wanted} bytes`);
    this.name = 'TruncatedError';
  }
}

const FIRST_ERROR = 400;

/** By the status alone, for answers that say no more. */
export function kindOfStatus(status: number): FailureKind {
  if (status === 404) return 'not_found';
  if (status === 401) return 'credentials';
  if (status === 403) return 'denied';
  if (status === 416) return 'range';
  if (status === 429) return 'throttled';
  if (status === 408 || status >= 500) return 'busy';
  return status >= FIRST_ERROR ? 'refused' : 'unreachable';
}

/** The header `Retry-After`, in seconds. */
export function retryAfterMs(header: string | null | undefined): number | undefined {
  const seconds = Number(header ?? NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}
