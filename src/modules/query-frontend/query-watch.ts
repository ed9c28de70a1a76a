// Watches over each query, whichever protocol brought it: ends it when its time is over or its caller has
// left, and counts and logs it when it is answered.
import { httpStatusOf } from '../../api/errors.ts';
import { TempoError, TimeIsUpError } from '../../lib/errors.ts';
import type { FrontendMetrics } from './metrics.ts';
import type { LoggedQuery, QueryLog } from './query-log.ts';
import type { Op } from './reads.ts';

export interface QueryWatchOptions {
  /** Of one request; 0 = no limit. */
  readonly apiTimeoutMs: number;
  readonly log: QueryLog;
  readonly metrics: FrontendMetrics;
}

export interface OpenQuery {
  readonly op: Op;
  /** A part of a query of another process: that one counts it. */
  readonly isSubRequest: boolean;
  /** What it made us read so far. */
  readonly seen: { bytes: number };
  readonly signal: AbortSignal;
  readonly beginMs: number;
  /** Its caller has left, or has got all. */
  readonly cancel: () => void;
  readonly timer: NodeJS.Timeout | undefined;
  failure: unknown;
  /** Of the answer, before it is compressed. */
  responseBytes: number;
}

type Asked = Pick<LoggedQuery, 'method' | 'url' | 'headers' | 'status'> & {
  /** undefined = the request names none that could be one. */
  readonly tenant: string | undefined;
};

export class QueryWatch {
  private readonly options: QueryWatchOptions;

  constructor(options: QueryWatchOptions) {
    this.options = options;
  }

  begin(op: Op, isSubRequest = false): OpenQuery {
    const { apiTimeoutMs } = this.options;
    const ended = new AbortController();
    const isLimited = apiTimeoutMs > 0 && Number.isFinite(apiTimeoutMs);
    const timer = isLimited ? setTimeout(() => ended.abort(timedOut()), apiTimeoutMs) : undefined;
    const cancel = (): void => ended.abort(new TempoError('cancelled', 'the client closed the request'));
    const beginMs = performance.now();
    const { signal } = ended;
    const seen = { bytes: 0 };
    const query = { op, isSubRequest, seen, signal, beginMs, cancel, timer };
    return { ...query, failure: undefined, responseBytes: 0 };
  }

  /** To be called when all has been read, or could not be. @returns what to tell the caller. */
  read(query: OpenQuery, failure: unknown): unknown {
    clearTimeout(query.timer);
    query.failure = failure !== undefined && query.signal.aborted ? query.signal.reason : failure;
    // What else the query had begun is of no use any more.
    if (failure !== undefined) query.cancel();
    return query.failure;
  }

  /** To be called when the answer has been sent, or cannot be. */
  end(query: OpenQuery, asked: Asked): void {
    const { op, seen, beginMs, failure, responseBytes } = query;
    query.cancel(); // who holds something for the answer lets go of it
    const { log, metrics } = this.options;
    const { tenant } = asked;
    const durationMs = performance.now() - beginMs;
    const inspectedBytes = seen.bytes;
    const status = failure === undefined ? asked.status : httpStatusOf(failure);
    const outcome = outcomeOf(failure, status);
    if (tenant !== undefined) metrics.asked(tenant);
    const isCounted = tenant !== undefined && !query.isSubRequest;
    if (isCounted) metrics.answered({ op, tenant, durationMs, inspectedBytes, outcome });
    log.write({ ...asked, tenant: tenant ?? '', durationMs, inspectedBytes, responseBytes, status, failure });
  }
}

function outcomeOf(failure: unknown, status: number): 'answered' | 'refused' | 'failed' | 'canceled' {
  if (status >= 500) return 'failed';
  if (failure === undefined) return 'answered';
  return failure instanceof TempoError && failure.code === 'cancelled' ? 'canceled' : 'refused';
}

function timedOut(): TempoError {
  const text = 'unable to process request in the configured timeout';
  return new TimeIsUpError('query_frontend.api_timeout', text);
}
