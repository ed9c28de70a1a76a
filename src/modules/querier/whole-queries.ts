// Whole queries of a query-frontend: what is asked is done by this process's querier, which tells how far it
// is and what it found, then the answer.
import {
  ALIVE_MS,
  type AnswerFrame,
  failureOf,
  type RemoteProgress,
  type RemoteRequest,
} from '../../contracts/remote-query.ts';
import type {
  MetricsAnswer,
  MetricsProgress,
  MetricsQuery,
  Querier,
  SearchAnswer,
} from '../../contracts/query.ts';
import {
  EARLY_MESSAGES_MAX,
  EARLY_SERIES_MS,
  EARLY_SERIES_SHARE,
  MESSAGE_BYTES_MAX,
} from '../../contracts/early-series.ts';
import { TempoError } from '../../lib/errors.ts';
import { wholeText } from '../../lib/filled-text.ts';
import { decodeStructured } from '../../rpc/structured.ts';
import { seriesStay } from '../../traceql/engine/metrics/plan.ts';
import { parse } from '../../traceql/parser.ts';

/** What was found is told at most that often; the first of it at once. */
const PROGRESS_MS = 250;
/** More series so far are not shown to anybody. */
const SERIES_BYTES_MAX = EARLY_MESSAGES_MAX * MESSAGE_BYTES_MAX;

interface MetricsForm {
  readonly takesText: boolean;
  readonly onProgress: ((found: MetricsProgress) => void) | undefined;
}

type Say = (frame: AnswerFrame) => Promise<void>;

/** Answers with the last frame. @param say sends one; rejects when nobody reads it. */
export async function answerWholeQuery(
  querier: Querier,
  body: Uint8Array,
  signal: AbortSignal,
  say: Say,
): Promise<void> {
  const told = new Teller(say);
  try {
    const found = await run(querier, readRequest(body), signal, told);
    const { letGo, ...answer } = found as typeof found & Pick<SearchAnswer, 'letGo'>;
    await told.last({ kind: 'answer', answer });
    letGo?.();
  } catch (err) {
    await told.last({ kind: 'failure', failure: failureOf(err) });
  }
}

function readRequest(body: Uint8Array): RemoteRequest {
  const request = decodeStructured(body) as Partial<RemoteRequest> | null;
  if (typeof request?.asked?.query?.tenant !== 'string') {
    throw new TempoError('invalid_argument', 'a query-frontend asked for something that is no query');
  }
  return request as RemoteRequest;
}

async function run(
  querier: Querier,
  { asked, wantsProgress, takesText = false }: RemoteRequest,
  signal: AbortSignal,
  told: Teller,
): Promise<Extract<AnswerFrame, { kind: 'answer' }>['answer']> {
  const tell = <Found>(
    progressOf: (found: Found) => RemoteProgress[keyof RemoteProgress] | undefined,
  ): ((found: Found) => void) | undefined =>
    wantsProgress ? (found) => told.progress(() => progressOf(found)) : undefined;
  switch (asked.kind) {
    case 'search':
      return querier.search(
        asked.query,
        signal,
        tell((found) => ({ stats: { ...found.stats }, settled: found.takeSettled() })),
      );
    case 'metrics':
      return metricsAnswer(querier, asked.query, signal, {
        takesText,
        onProgress: wantsProgress ? metricsTeller(asked.query, told) : undefined,
      });
    case 'tagNames':
      return querier.tagNames(
        asked.query,
        signal,
        tell((found) => ({ inspectedBytes: found.inspectedBytes, names: found.takeNames() })),
      );
    case 'tagValues':
      return querier.tagValues(
        asked.query,
        signal,
        tell((found) => ({ inspectedBytes: found.inspectedBytes, types: found.takeTypes() })),
      );
    case 'trace':
      return querier.findTrace(asked.query, signal);
    default:
      throw new TempoError('unimplemented', 'this querier does not know such queries');
  }
}

/** Query-frontends that do not know of a text get it as if it were one series. */
async function metricsAnswer(
  querier: Querier,
  query: MetricsQuery,
  signal: AbortSignal,
  { takesText, onProgress }: MetricsForm,
): Promise<MetricsAnswer> {
  if (takesText) return querier.metrics(query, signal, onProgress);
  // Whoever wants to know how it is read counts the series.
  const asked = query.isExplained === true ? { ...query, format: 'proto' as const } : query;
  const { text, ...answer } = await querier.metrics(asked, signal, onProgress);
  if (text === undefined) return answer;
  const whole = await wholeText(text);
  return { ...answer, series: whole.length > 0 ? [whole] : [] };
}

/** With the series so far, where somebody has use for them, as often as they may be made. */
function metricsTeller({ query }: MetricsQuery, told: Teller): (found: MetricsProgress) => void {
  const isGrowing = seriesStay(parse(query));
  let notBeforeMs = performance.now() + EARLY_SERIES_MS;
  let isMaking = false;
  /** Those which were made and not told. */
  let untold: readonly Uint8Array[] | undefined;
  const tell = (found: MetricsProgress, isUrgent: boolean): void =>
    told.progress(() => {
      const series = untold;
      untold = undefined;
      return { stats: { ...found.stats }, series };
    }, isUrgent);
  return (found) => {
    const beginMs = performance.now();
    if (!isGrowing || isMaking || beginMs < notBeforeMs) return tell(found, false);
    isMaking = true;
    found.seriesSoFar().then(
      (series = []) => {
        isMaking = false;
        const tookMs = performance.now() - beginMs;
        notBeforeMs = beginMs + Math.max(EARLY_SERIES_MS, EARLY_SERIES_SHARE * tookMs);
        const bytes = series.reduce((sum, { length }) => sum + length, 0);
        untold = bytes > 0 && bytes <= SERIES_BYTES_MAX ? series : undefined;
        tell(found, true);
      },
      // The query itself fails of the same, and tells it.
      () => (isMaking = false),
    );
  };
}

/** Says that the query is alive, now and then what was found, and in the end the answer. */
class Teller {
  readonly #say: Say;
  readonly #alive: NodeJS.Timeout;
  #sending: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isOver = false;
  #lastMs = -Infinity;
  #late: NodeJS.Timeout | undefined;
  #waiting: (() => RemoteProgress[keyof RemoteProgress] | undefined) | undefined;

  constructor(say: Say) {
    this.#say = say;
    this.#alive = setInterval(() => {
      if (!this.#isBusy) this.#send({ kind: 'alive' });
    }, ALIVE_MS);
  }

  /** @param take what was found since it was called the last time; is called when it can be sent. */
  progress(take: () => RemoteProgress[keyof RemoteProgress] | undefined, isUrgent = false): void {
    if (this.#isOver) return;
    this.#waiting = take;
    if (this.#isBusy) return;
    const restMs = this.#lastMs + PROGRESS_MS - performance.now();
    if (restMs <= 0 || isUrgent) return this.#flush();
    this.#late ??= setTimeout(() => this.#flush(), restMs);
  }

  /** Nothing is said after it. */
  async last(frame: AnswerFrame): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#alive);
    clearTimeout(this.#late);
    await this.#sending;
    await this.#say(frame);
  }

  #flush(): void {
    clearTimeout(this.#late);
    this.#late = undefined;
    const take = this.#waiting;
    if (this.#isOver || this.#isBusy || take === undefined) return;
    this.#waiting = undefined;
    const progress = take();
    if (progress === undefined) return;
    this.#lastMs = performance.now();
    this.#send({ kind: 'progress', progress });
  }

  #send(frame: AnswerFrame): void {
    this.#isBusy = true;
    this.#sending = this.#say(frame)
      // Whoever does not read it has left, which ends the query by its signal.
      .catch(() => undefined)
      .then(() => {
        this.#isBusy = false;
      });
  }
}
