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
import type { TypedValues } from '../../traceql/engine/value-set.ts';
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
      traces.filter(({ traceId }) => isFirst(given, traceId));
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
    const given: Set<string>[] = [];
    const fresh = (scopes: readonly (readonly string[])[]): readonly (readonly string[])[] =>
      scopes.map((names, scope) => names.filter((name) => isFirst((given[scope] ??= new Set()), name)));
    const tell =
      onProgress &&
      ((progress: TagNamesProgress): void =>
        onProgress({
          inspectedBytes: progress.inspectedBytes,
          takeNames: () => fresh(progress.takeNames()),
        }));
    return again(() => this.#inner.tagNames(query, signal, tell), signal);
  }

  tagValues(
    query: TagValuesQuery,
    signal?: AbortSignal,
    onProgress?: (progress: TagValuesProgress) => void,
  ): Promise<TagValuesAnswer> {
    const given: Partial<Record<TypedValues['type'], Set<string>>> = {};
    const fresh = (types: readonly TypedValues[]): readonly TypedValues[] =>
      types
        .map(({ type, values }) => ({
          type,
          values: values.filter((value) => isFirst((given[type] ??= new Set()), value)),
        }))
        .filter(({ values }) => values.length > 0);
    const tell =
      onProgress &&
      ((progress: TagValuesProgress): void =>
        onProgress({
          inspectedBytes: progress.inspectedBytes,
          takeTypes: () => fresh(progress.takeTypes()),
        }));
    return again(() => this.#inner.tagValues(query, signal, tell), signal);
  }

  findTrace(query: TraceQuery, signal?: AbortSignal): Promise<TraceAnswer> {
    return again(() => this.#inner.findTrace(query, signal), signal);
  }
}

function isFirst(given: Set<string>, text: string): boolean {
  return !given.has(text) && given.add(text).size > 0;
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
