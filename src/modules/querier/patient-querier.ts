// Asks again when an ingester left amid a query: the others of the ring have what it had. What a stream was
// told already is not told twice.
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
import { IngesterLostError } from './ingester-link.ts';

const TRIES_MAX = 3;

export class PatientQuerier implements Querier {
  readonly #inner: Querier;

  constructor(inner: Querier) {
    this.#inner = inner;
  }

  search(
    query: SearchQuery,
    signal?: AbortSignal,
    onProgress?: (progress: SearchProgress) => void,
  ): Promise<SearchAnswer> {
    const given = new Set<string>();
    const fresh = (traces: readonly AnsweredTrace[]): readonly AnsweredTrace[] =>
      traces.filter(({ traceId }) => !given.has(traceId) && given.add(traceId));
    const tell =
      onProgress &&
      ((progress: SearchProgress): void =>
        onProgress({ stats: progress.stats, takeSettled: () => fresh(progress.takeSettled()) }));
    return again(() => this.#inner.search(query, signal, tell), signal);
  }

  metrics(
    query: MetricsQuery,
    signal?: AbortSignal,
    onProgress?: (progress: MetricsProgress) => void,
  ): Promise<MetricsAnswer> {
    return again(() => this.#inner.metrics(query, signal, onProgress), signal);
  }

  tagNames(
    query: TagNamesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagNamesProgress) => void,
  ): Promise<TagNamesAnswer> {
    return again(() => this.#inner.tagNames(query, signal, onProgress), signal);
  }

  tagValues(
    query: TagValuesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagValuesProgress) => void,
  ): Promise<TagValuesAnswer> {
    return again(() => this.#inner.tagValues(query, signal, onProgress), signal);
  }

  findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer> {
    return again(() => this.#inner.findTrace(query, signal), signal);
  }
}

async function again<T>(ask: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (err) {
      if (!(err instanceof IngesterLostError) || tries >= TRIES_MAX || signal?.aborted === true) throw err;
    }
  }
}
