// Whole queries between a query-frontend and queriers of this program, inside the messages of
// frontend.Frontend: one request is answered by several responses, which carry what was found so far, then
// the answer. Nothing is sent here.
import { type ErrorCode, RetryLaterError, TempoError } from '../lib/errors.ts';
import { noteReleasedBytes } from '../lib/garbage.ts';
import { decodeStructured, encodeStructured } from '../rpc/structured.ts';
import type { HttpGrpcResponse } from './httpgrpc.ts';
import type {
  AnsweredTrace,
  MetricsAnswer,
  MetricsQuery,
  QueryStats,
  SearchAnswer,
  SearchQuery,
  TagNamesAnswer,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesQuery,
  TraceAnswer,
  TraceQuery,
} from './query.ts';
import type { TypedValues } from '../traceql/engine/value-set.ts';

/** With the version of what is said: queriers that do not know it answer 404. */
export const WHOLE_QUERY_URL = '/querier/whole-query/v1';
/** Said while a query runs: what was found so far is the answer. */
export const TIME_IS_UP_URL = `${WHOLE_QUERY_URL}/time-is-up`;

/** A querier says that it is still at work at least that often. */
export const ALIVE_MS = 1000;

export type RemoteQuery =
  | { readonly kind: 'search'; readonly query: SearchQuery }
  | { readonly kind: 'metrics'; readonly query: MetricsQuery }
  | { readonly kind: 'tagNames'; readonly query: TagNamesQuery }
  | { readonly kind: 'tagValues'; readonly query: TagValuesQuery }
  | { readonly kind: 'trace'; readonly query: TraceQuery };

/** By the kind of the query. */
export interface RemoteAnswers {
  readonly search: Omit<SearchAnswer, 'letGo'>;
  readonly metrics: MetricsAnswer;
  readonly tagNames: TagNamesAnswer;
  readonly tagValues: TagValuesAnswer;
  readonly trace: TraceAnswer;
}

/** Found since the last one. */
export interface RemoteProgress {
  readonly search: { readonly stats: QueryStats; readonly settled: readonly AnsweredTrace[] };
  /** All series so far; undefined = as in MetricsProgress. */
  readonly metrics: { readonly stats: QueryStats; readonly series: readonly Uint8Array[] | undefined };
  readonly tagNames: { readonly inspectedBytes: number; readonly names: readonly (readonly string[])[] };
  readonly tagValues: { readonly inspectedBytes: number; readonly types: readonly TypedValues[] };
  readonly trace: never;
}

export interface RemoteRequest {
  readonly asked: RemoteQuery;
  readonly wantsProgress: boolean;
  /** The answer of a metrics query may have its `text`; older query-frontends do not say so. */
  readonly takesText?: boolean;
}

export interface RemoteFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** Of a refusal that may be repeated. */
  readonly retryAfterMs: number | undefined;
}

/** A part of what a querier says of a query. */
export type AnswerFrame<Kind extends RemoteQuery['kind'] = RemoteQuery['kind']> =
  | { readonly kind: 'alive' }
  | { readonly kind: 'progress'; readonly progress: RemoteProgress[Kind] }
  | { readonly kind: 'answer'; readonly answer: RemoteAnswers[Kind] }
  | { readonly kind: 'failure'; readonly failure: RemoteFailure };

const CODE_MORE = 206;
const CODE_WHOLE = 200;
/** Of a frame in one message: others wait on the same connection. */
const PIECE_BYTES = 1 << 20;

/** A frame as responses, in their order. */
export function* frameResponses(frame: AnswerFrame): Generator<HttpGrpcResponse> {
  const bytes = encodeStructured(frame);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const code = at + PIECE_BYTES < bytes.length ? CODE_MORE : CODE_WHOLE;
    yield { code, headers: [], body: bytes.subarray(at, at + PIECE_BYTES) };
  }
}

/** Whether more of the same frame follows. */
export const isPart = ({ code }: HttpGrpcResponse): boolean => code === CODE_MORE;

/** Puts frames together. */
export class FrameReader {
  readonly #hold: (bytes: number) => void;
  #pieces: Uint8Array[] = [];

  /** @param hold is told the bytes of each piece; what it throws is thrown on. */
  constructor(hold: (bytes: number) => void) {
    this.#hold = hold;
  }

  /** undefined = the frame has more pieces. Throws TempoError for what is no frame. */
  take({ code, body }: HttpGrpcResponse): AnswerFrame | undefined {
    if (code !== CODE_MORE && code !== CODE_WHOLE) {
      const text = Buffer.from(body).toString().slice(0, 200);
      throw new TempoError('internal', `a querier answered ${code}: ${text}`);
    }
    // Nobody sends such a piece, and any number of them would have no bytes to be counted.
    if (body.length === 0) throw new TempoError('internal', 'a querier answered with an empty piece');
    this.#hold(body.length);
    this.#pieces.push(body);
    if (code === CODE_MORE) return undefined;
    const bytes = this.#pieces.length === 1 ? body : Buffer.concat(this.#pieces);
    if (this.#pieces.length > 1) noteReleasedBytes(bytes.length);
    this.#pieces = [];
    return decodeStructured(bytes) as AnswerFrame;
  }
}

export function failureOf(err: unknown): RemoteFailure {
  const message = err instanceof Error ? err.message : String(err);
  const retryAfterMs = err instanceof RetryLaterError ? err.retryAfterMs : undefined;
  return { code: err instanceof TempoError ? err.code : 'internal', message, retryAfterMs };
}

export function errorOf({ code, message, retryAfterMs }: RemoteFailure): TempoError {
  if (retryAfterMs !== undefined) return new RetryLaterError(code, message, retryAfterMs);
  return new TempoError(code, message);
}
