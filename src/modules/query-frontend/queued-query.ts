// A query of the queue: one querier has it, or several where the first takes long, and the first complete
// answer is taken, or the best of those that lack something. What one fails at is no failure of the query
// while another has it still.
import type { HttpGrpcRequest, HttpGrpcResponse } from '../../contracts/httpgrpc.ts';
import type { Clock } from '../../lib/clock.ts';
import { type ErrorCode, TempoError } from '../../lib/errors.ts';

/** What one querier has answered. */
export interface Answered<Answer> {
  readonly answer: Answer;
  readonly isComplete: boolean;
  /** Of answers that lack something the one that read most is the best. */
  readonly inspectedBytes: number;
}

/** What one querier says of a query. */
export interface AnswerReader<Answer> {
  /** @returns whether that was all. Throws for what is of no use. */
  received(response: HttpGrpcResponse): boolean;
  /** Of all that was said. Throws the failure that the querier told. */
  answer(): Answered<Answer>;
  /** Nothing of it is the answer, and no more is read. */
  givenUp(): void;
}

export interface HedgeOptions {
  /** Since a querier has it; 0 = never. */
  readonly afterMs: number;
  /** The first included. */
  readonly copiesMax: number;
}

export interface QueuedRequest<Answer> {
  readonly tenant: string;
  readonly request: HttpGrpcRequest;
  /** Only queriers of this program understand it. */
  readonly isWhole: boolean;
  readonly signal: AbortSignal | undefined;
  /** undefined = no second querier has it while the first does. */
  readonly hedge: HedgeOptions | undefined;
  /** Is called each time that a querier begins it. */
  readonly begun: () => AnswerReader<Answer>;
}

/** One request at a time of a querier. */
export interface QuerierSlot {
  readonly clientId: string;
  readonly knowsWhole: boolean;
  /** Must call `finished`, `lost` or `failed` of the request in the end. */
  start(pending: PendingRequest): void;
}

/** A query as a querier has it. */
export interface PendingRequest {
  readonly asked: Pick<QueuedRequest<unknown>, 'request' | 'isWhole'>;
  readonly signal: AbortSignal;
  /** @returns whether that was all. What it throws is to be told to `failed`, as that nobody needs it. */
  received(response: HttpGrpcResponse): boolean;
  /** All was said. */
  finished(): void;
  /** The querier has left amid it. */
  lost(reason: string): void;
  failed(err: unknown): void;
}

/** As the queue sees it. */
export type AnyQuery = Pick<
  QueuedQuery<unknown>,
  'asked' | 'avoided' | 'sinceMs' | 'retries' | 'begin' | 'refuse'
>;

/** What the queue does for its queries. */
export interface Turns {
  readonly clock: Clock;
  /** How often a query is begun, at most; copies do not count. */
  readonly triesMax: number;
  /** No querier has it any more. */
  again(query: AnyQuery): void;
  /** Another querier is to have it too. */
  hedge(query: AnyQuery): void;
  /** No other one any more. */
  unhedge(query: AnyQuery): void;
  /** Whoever asked has left. @returns whether it waited for its first querier. */
  remove(query: AnyQuery): boolean;
  /** @param winner has the answer; undefined = there is none. */
  ended(query: AnyQuery, winner: 'first' | 'hedge' | undefined): void;
}

interface Copy<Answer> {
  readonly isHedge: boolean;
  readonly reader: AnswerReader<Answer>;
  readonly control: AbortController;
}

/** One that has said all. */
interface Ended<Answer> {
  readonly copy: Copy<Answer>;
  readonly answered: Answered<Answer>;
}

/** What is told of the query itself: every querier would say the same. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'invalid_argument',
  'unauthenticated',
  'not_found',
  'too_large',
  'unprocessable',
  'unimplemented',
]);

const isFinal = (err: unknown): boolean => err instanceof TempoError && FINAL.has(err.code);

export class QueuedQuery<Answer> {
  readonly asked: QueuedRequest<Answer>;
  readonly answer: Promise<Answer>;
  /** Queriers that have it, or had it. */
  readonly avoided = new Set<string>();
  /** When it began to wait. */
  sinceMs = performance.now();
  readonly #turns: Turns;
  readonly #settled = Promise.withResolvers<Answer>();
  readonly #copies = new Set<Copy<Answer>>();
  /** The best that lacks something; others may have all. */
  #kept: Ended<Answer> | undefined;
  /** What the first one told that failed, or what is wrong with the query. */
  #failure: { readonly err: unknown } | undefined;
  /** When the first querier had it. */
  #beganMs: number | undefined;
  #tries = 0;
  #hedges = 0;
  #isOver = false;
  #stopTimer = (): void => undefined;
  #stopWaiting = (): void => undefined;

  constructor(asked: QueuedRequest<Answer>, turns: Turns) {
    this.asked = asked;
    this.answer = this.#settled.promise;
    this.#turns = turns;
    asked.signal?.addEventListener('abort', this.#aborted);
  }

  /** How often it was begun again. */
  get retries(): number {
    return Math.max(0, this.#tries - 1);
  }

  /** @param isHedge others have it still. */
  begin(slot: QuerierSlot, isHedge: boolean): void {
    if (isHedge) this.#hedges++;
    else this.#tries++;
    this.avoided.add(slot.clientId);
    this.#beganMs ??= this.#turns.clock.nowMs();
    const copy: Copy<Answer> = { isHedge, reader: this.asked.begun(), control: new AbortController() };
    this.#copies.add(copy);
    this.#countTime();
    slot.start({
      asked: this.asked,
      signal: copy.control.signal,
      received: (response) => this.#received(copy, response),
      finished: () => this.#finished(copy),
      lost: (reason) => this.#lost(copy, reason),
      failed: (err) => this.#failed(copy, err),
    });
  }

  /** It has no querier, and gets none. */
  refuse(err: unknown): void {
    this.#end(undefined, () => this.#settled.reject(err as Error));
  }

  #received(copy: Copy<Answer>, response: HttpGrpcResponse): boolean {
    // Who was told that the time is over hears of nothing else.
    if (!this.#copies.has(copy)) throw notNeeded();
    return copy.reader.received(response);
  }

  #finished(copy: Copy<Answer>): void {
    if (!this.#copies.has(copy)) return;
    let answered: Answered<Answer>;
    try {
      answered = copy.reader.answer();
    } catch (err) {
      return this.#failed(copy, err);
    }
    this.#copies.delete(copy);
    if (answered.isComplete) return this.#take({ copy, answered });
    const kept = this.#keep({ copy, answered });
    // Another querier may have all; not when the time is over.
    if (!this.#isUnderWay || this.asked.signal?.aborted === true) return this.#take(kept);
    // It may be slow too: nobody waits for it longer than the query has taken.
    const { clock } = this.#turns;
    const tookMs = Math.max(0, clock.nowMs() - (this.#beganMs ?? 0));
    this.#stopWaiting();
    this.#stopWaiting = clock.after(tookMs, () => this.#kept !== undefined && this.#take(this.#kept));
  }

  /** @returns the better one of it and what was kept before. */
  #keep(ended: Ended<Answer>): Ended<Answer> {
    const before = this.#kept;
    const isBetter = before === undefined || ended.answered.inspectedBytes > before.answered.inspectedBytes;
    const [kept, other] = isBetter ? [ended, before] : [before, ended];
    other?.copy.reader.givenUp();
    this.#kept = kept;
    return kept;
  }

  #failed(copy: Copy<Answer>, err: unknown): void {
    if (!this.#copies.delete(copy)) return;
    copy.reader.givenUp();
    if (this.#failure === undefined || isFinal(err)) this.#failure = { err };
    // Another querier may have it answered still, unless it is refused for what it is.
    if (this.#isUnderWay && !isFinal(err)) return;
    if (this.#kept === undefined) this.refuse(this.#failure.err);
    else this.#take(this.#kept);
  }

  #lost(copy: Copy<Answer>, reason: string): void {
    if (!this.#copies.delete(copy)) return;
    copy.reader.givenUp();
    if (this.#isUnderWay) return;
    const { signal } = this.asked;
    if (this.#kept !== undefined) return this.#take(this.#kept);
    if (this.#failure !== undefined) return this.refuse(this.#failure.err);
    if (signal?.aborted === true) return this.refuse(signal.reason);
    if (this.#tries >= this.#turns.triesMax) {
      return this.refuse(new TempoError('unavailable', `no querier finished the query: ${reason}`));
    }
    this.#stopHedging();
    this.sinceMs = performance.now();
    this.#turns.again(this);
  }

  get #isUnderWay(): boolean {
    return this.#copies.size > 0;
  }

  #take({ copy, answered }: Ended<Answer>): void {
    this.#end(copy, () => this.#settled.resolve(answered.answer));
  }

  #end(winner: Copy<Answer> | undefined, settle: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.asked.signal?.removeEventListener('abort', this.#aborted);
    this.#stopHedging();
    this.#stopWaiting();
    if (this.#kept?.copy !== winner) this.#kept?.copy.reader.givenUp();
    this.#kept = undefined;
    const losers = [...this.#copies];
    this.#copies.clear();
    for (const { reader, control } of losers) {
      reader.givenUp();
      control.abort(notNeeded());
    }
    this.#turns.ended(this, winner && (winner.isHedge ? 'hedge' : 'first'));
    settle();
  }

  readonly #aborted = (): void => {
    const reason: unknown = this.asked.signal?.reason;
    this.#stopHedging();
    if (this.#turns.remove(this)) return this.refuse(reason);
    // Whoever has it does what the reason says, and tells.
    for (const { control } of this.#copies) control.abort(reason);
  };

  #countTime(): void {
    this.#stopTimer();
    const { hedge } = this.asked;
    if (hedge === undefined || hedge.afterMs <= 0 || 1 + this.#hedges >= hedge.copiesMax) return;
    this.#stopTimer = this.#turns.clock.after(hedge.afterMs, () => this.#turns.hedge(this));
  }

  #stopHedging(): void {
    this.#stopTimer();
    this.#turns.unhedge(this);
  }
}

function notNeeded(): TempoError {
  return new TempoError('cancelled', 'another querier has answered');
}
