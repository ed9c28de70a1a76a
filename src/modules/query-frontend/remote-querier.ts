// A querier that stands for those of other processes: each query goes as a whole to one of them, to a second
// one as well where that takes long, and what one tells while it works, and its answer, come back.
import type { HttpGrpcRequest } from '../../contracts/httpgrpc.ts';
import type {
  AnsweredTrace,
  MetricsAnswer,
  MetricsProgress,
  MetricsQuery,
  Querier,
  SearchAnswer,
  SearchProgress,
  SearchQuery,
  TagNamesAnswer,
  TagNamesProgress,
  TagNamesQuery,
  TagValuesAnswer,
  TagValuesProgress,
  TagValuesQuery,
  TraceAnswer,
  TraceQuery,
} from '../../contracts/query.ts';
import {
  type RemoteAnswers,
  type RemoteProgress,
  type RemoteQuery,
  type RemoteRequest,
  WHOLE_QUERY_URL,
} from '../../contracts/remote-query.ts';
import { TENANT_HEADER } from '../../model/tenant.ts';
import { encodeStructured } from '../../rpc/structured.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { type AnswerBytes, AnswerLedger } from './answer-ledger.ts';
import { AnswerReaders } from './answer-readers.ts';
import type { QueryQueue } from './query-queue.ts';
import type { HedgeOptions } from './queued-query.ts';

export interface RemoteQuerierOptions {
  readonly queue: QueryQueue;
  /** Of answers that come in or are sent on; more are refused. */
  readonly answerBytes: AnswerBytes;
  /** When a query of a kind is given to further queriers; undefined = never. */
  readonly hedges: Readonly<Partial<Record<RemoteQuery['kind'], HedgeOptions>>>;
  readonly metrics: Metrics;
}

type Asked<Kind extends RemoteQuery['kind']> = Extract<RemoteQuery, { kind: Kind }>;

export class RemoteQuerier implements Querier {
  private readonly queue: QueryQueue;
  private readonly held: AnswerLedger;
  private readonly hedges: RemoteQuerierOptions['hedges'];

  constructor({ queue, answerBytes, hedges, metrics }: RemoteQuerierOptions) {
    this.queue = queue;
    this.hedges = hedges;
    this.held = new AnswerLedger(answerBytes);
    metrics.gauge(
      'tempo_query_frontend_answer_bytes',
      'Bytes of answers that come from queriers or are sent on.',
      [],
      (gauge) => gauge.set(this.held.bytesHeld),
    );
  }

  async search(
    query: SearchQuery,
    signal?: AbortSignal,
    onProgress?: (progress: SearchProgress) => void,
  ): Promise<SearchAnswer> {
    const given = new Set<string>();
    let settled: AnsweredTrace[] = [];
    return this.ask({ kind: 'search', query }, signal, onProgress, (found) => {
      // Another querier may have told of them before.
      for (const trace of found.settled) if (!given.has(trace.traceId)) settled.push(trace);
      for (const { traceId } of found.settled) given.add(traceId);
      return {
        stats: found.stats,
        takeSettled: () => {
          const taken = settled;
          settled = [];
          return taken;
        },
      };
    });
  }

  async metrics(
    query: MetricsQuery,
    signal?: AbortSignal,
    onProgress?: (progress: MetricsProgress) => void,
  ): Promise<MetricsAnswer> {
    /** Told, and not asked for yet: most of what queriers tell has none. */
    let newest: RemoteProgress['metrics']['series'];
    return this.ask({ kind: 'metrics', query }, signal, onProgress, ({ stats, series }) => {
      newest = series ?? newest;
      return {
        stats,
        seriesSoFar: () => {
          const taken = newest;
          newest = undefined;
          return Promise.resolve(taken);
        },
      };
    });
  }

  async tagNames(
    query: TagNamesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagNamesProgress) => void,
  ): Promise<TagNamesAnswer> {
    let names = query.scopes.map((): readonly string[] => []);
    return this.ask({ kind: 'tagNames', query }, signal, onProgress, (found) => {
      names = names.map((some, i) => [...some, ...(found.names[i] ?? [])]);
      return {
        inspectedBytes: found.inspectedBytes,
        takeNames: () => {
          const taken = names;
          names = query.scopes.map(() => []);
          return taken.map((some) => [...new Set(some)].sort());
        },
      };
    });
  }

  async tagValues(
    query: TagValuesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagValuesProgress) => void,
  ): Promise<TagValuesAnswer> {
    let types: RemoteProgress['tagValues']['types'] = [];
    return this.ask({ kind: 'tagValues', query }, signal, onProgress, (found) => {
      types = [...types, ...found.types];
      return {
        inspectedBytes: found.inspectedBytes,
        takeTypes: () => {
          const taken = types;
          types = [];
          return taken;
        },
      };
    });
  }

  async findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer> {
    return this.ask({ kind: 'trace', query }, signal);
  }

  /** @param progressOf makes what the caller is told of what a querier tells. */
  private async ask<Kind extends RemoteQuery['kind'], Progress>(
    asked: Asked<Kind>,
    signal?: AbortSignal,
    onProgress?: (progress: Progress) => void,
    progressOf?: (found: RemoteProgress[Kind]) => Progress,
  ): Promise<RemoteAnswers[Kind]> {
    const { tenant } = asked.query;
    const request: RemoteRequest = { asked, wantsProgress: onProgress !== undefined, takesText: true };
    const readers = new AnswerReaders<Kind>(
      this.held,
      onProgress && progressOf && ((found) => onProgress(progressOf(found))),
    );
    try {
      return await this.queue.run({
        tenant,
        request: requestOf(tenant, encodeStructured(request)),
        isWhole: true,
        signal,
        hedge: this.hedges[asked.kind],
        begun: () => readers.begin(),
      });
    } finally {
      this.letGo(readers, signal);
    }
  }

  /** The signal of a query is raised when its answer has been sent, if not before. */
  private letGo(readers: Pick<AnswerReaders<never>, 'letGo'>, signal: AbortSignal | undefined): void {
    if (signal === undefined || signal.aborted) return readers.letGo();
    signal.addEventListener('abort', () => readers.letGo(), { once: true });
  }
}

function requestOf(tenant: string, body: Uint8Array): HttpGrpcRequest {
  return { method: 'POST', url: WHOLE_QUERY_URL, headers: [[TENANT_HEADER, tenant]], body };
}
