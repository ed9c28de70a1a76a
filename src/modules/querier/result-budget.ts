// Memory for the answers of searches, from the first job until they are sent. A search whose answer would be
// too much beside the others waits for them; small ones never wait.
import { TempoError } from '../../lib/errors.ts';
import { noteReleasedBytes } from '../../lib/garbage.ts';
import type { Counter, Metrics } from '../../telemetry/metrics.ts';

/** Answers that are expected to be smaller are begun whatever others hold. */
const SMALL_BYTES = 1 << 20;
const LET_GO_MS = 100;
/** Searches that wait; more are refused. */
const WAITING_MAX = 100;

export interface ResultBudgetOptions {
  readonly bytesMax: number;
  /** Longest wait; 0 = no bound. */
  readonly waitMs: number;
  readonly metrics: Metrics;
}

/** The memory of one answer. */
export interface ResultLease {
  /** How much it really is. */
  holds(bytes: number): void;
  drop(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly begin: () => void;
}

export class ResultBudget {
  private readonly options: ResultBudgetOptions;
  private readonly refused: Counter;
  private readonly waiting = new Set<Waiting>();
  private heldBytes = 0;

  constructor(options: ResultBudgetOptions) {
    this.options = options;
    const { metrics, bytesMax } = options;
    metrics.gauge('tempo_querier_result_bytes', 'Answers of searches that are made or sent.', [], (gauge) =>
      gauge.set(this.heldBytes),
    );
    metrics
      .gauge('tempo_querier_result_bytes_max', 'Above it searches with large answers wait.')
      .set(bytesMax);
    metrics.gauge('tempo_querier_waiting_searches', 'Searches that wait for memory.', [], (gauge) =>
      gauge.set(this.waiting.size),
    );
    this.refused = metrics.counter(
      'tempo_querier_refused_searches_total',
      'Searches that were refused because answers in work held too much memory for too long.',
    );
  }

  /** @param bytes that the answer may have. */
  async take(bytes: number, signal: AbortSignal | undefined): Promise<ResultLease> {
    if (this.hasRoom(bytes)) this.heldBytes += bytes;
    else await this.wait(bytes, signal);
    let held = bytes;
    return {
      holds: (actual) => {
        this.heldBytes += actual - held;
        held = actual;
        this.beginWaiting();
      },
      drop: () => {
        this.letGo(held);
        held = 0;
      },
    };
  }

  /** A large answer counts until its memory is free: whoever has just sent it still refers to it. */
  private letGo(bytes: number): void {
    const free = (): void => {
      this.heldBytes -= bytes;
      this.beginWaiting();
    };
    if (bytes <= SMALL_BYTES) return free();
    setTimeout(() => {
      noteReleasedBytes(bytes);
      free();
    }, LET_GO_MS);
  }

  private hasRoom(bytes: number): boolean {
    if (bytes <= SMALL_BYTES || this.heldBytes === 0) return true;
    return this.waiting.size === 0 && this.heldBytes + bytes <= this.options.bytesMax;
  }

  /** Until it is its turn: the bytes are counted then. */
  private wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.waiting.size >= WAITING_MAX) return Promise.reject(this.refusal());
    if (signal?.aborted === true) return Promise.reject(cancelled());
    const { waitMs } = this.options;
    return new Promise((resolve, reject) => {
      const over = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.waiting.delete(waiting);
      };
      const waiting = {
        bytes,
        begin: () => {
          over();
          resolve();
        },
      };
      const onAbort = (): void => {
        over();
        reject(cancelled());
      };
      const late = (): void => {
        over();
        reject(this.refusal());
      };
      const timer = waitMs > 0 ? setTimeout(late, waitMs) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
      this.waiting.add(waiting);
    });
  }

  private beginWaiting(): void {
    for (const { bytes, begin } of this.waiting) {
      if (this.heldBytes > 0 && this.heldBytes + bytes > this.options.bytesMax) return;
      this.heldBytes += bytes;
      begin();
    }
  }

  private refusal(): TempoError {
    this.refused.inc();
    const { bytesMax } = this.options;
    const held = `answers of searches hold ${this.heldBytes} bytes of at most ${bytesMax}`;
    return new TempoError('resource_exhausted', `${held}, try again later or with a lower limit`);
  }
}

function cancelled(): TempoError {
  return new TempoError('cancelled', 'the request was cancelled');
}
