// Watches the memory of the process against its budget and tells the parts that can give some back; when that
// is not enough, pushes and queries are refused before the kernel ends the process.
import { type ErrorCode, RetryLaterError } from '../lib/errors.ts';
import { nextPressure, type Pressure } from '../lib/pressure.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';

export interface MemoryGuardOptions {
  readonly budgetBytes: number;
  /** What the parts hold now, for metrics. */
  readonly parts: Readonly<Record<string, () => number>>;
  /** Of those parts, the ones that fill up with what is pushed. */
  readonly filling: readonly string[];
  /** Whether queries are under way. */
  readonly areQueriesRunning: () => boolean;
  /** Called at each change, and again every few seconds while it is not `calm`. */
  readonly tell: (pressure: Pressure) => void;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Memory of the process. */
  readonly processBytes?: () => number;
}

const SAMPLE_MS = 200;
const REPEAT_MS = 5000;
const RETRY_MS = 2000;
/**
 * While the parts that fill up hold less than this share of the budget, refusing pushes would free nothing:
 * they go on, however large the process is.
 */
const FILLED_MIN = 0.1;
const LEVELS: readonly Pressure[] = ['calm', 'tight', 'full'];
const CODE: ErrorCode = 'resource_exhausted';

export class MemoryGuard {
  #pressure: Pressure = 'calm';
  #toldMs = 0;
  #usedBytes = 0;
  readonly #options: MemoryGuardOptions;
  readonly #timer: NodeJS.Timeout;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
    const { metrics, budgetBytes, parts } = options;
    metrics.gauge('tempo_memory_budget_bytes', 'Memory that the process may use.').set(budgetBytes);
    metrics.gauge('tempo_memory_used_bytes', 'Memory in use, by part.', ['part'], (gauge) => {
      gauge.set({ part: 'process' }, this.#processBytes());
      for (const [part, used] of Object.entries(parts)) gauge.set({ part }, used());
    });
    metrics.gauge(
      'tempo_memory_pressure',
      '0 = calm, 1 = tight: caches shrink, heads are cut, queries wait; 2 = full: work is refused.',
      [],
      (gauge) => gauge.set(LEVELS.indexOf(this.#pressure)),
    );
    this.#timer = setInterval(() => this.sample(), SAMPLE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks once. */
  sample(): void {
    const { budgetBytes, tell, logger } = this.#options;
    this.#usedBytes = this.#processBytes();
    const before = this.#pressure;
    this.#pressure = nextPressure(before, this.#usedBytes / budgetBytes);
    const nowMs = performance.now();
    const isRepeated = this.#pressure !== 'calm' && nowMs - this.#toldMs >= REPEAT_MS;
    if (this.#pressure === before && !isRepeated) return;
    this.#toldMs = nowMs;
    if (this.#pressure !== before) {
      const facts = { pressure: this.#pressure, used_bytes: this.#usedBytes, budget_bytes: budgetBytes };
      logger.info('memory pressure changes', { before, ...facts });
    }
    tell(this.#pressure);
  }

  get pressure(): Pressure {
    return this.#pressure;
  }

  /** Why no push may come in now. */
  pushRefusal(): RetryLaterError | undefined {
    return this.#pressure === 'full' && this.isFilled ? this.#refusal() : undefined;
  }

  /**
   * Why no query may begin now. When nothing of what is pushed or asked is left to give back, as after a
   * flood whose memory is garbage still, refusing would free nothing: one query after another goes on.
   */
  queryRefusal(): RetryLaterError | undefined {
    const helps = this.isFilled || this.#options.areQueriesRunning();
    return this.#pressure === 'full' && helps ? this.#refusal() : undefined;
  }

  /** Parts that fill up with what is pushed hold much of the budget. */
  get isFilled(): boolean {
    const { parts, filling, budgetBytes } = this.#options;
    const filled = filling.reduce((sum, part) => sum + parts[part]!(), 0);
    return filled > budgetBytes * FILLED_MIN;
  }

  #refusal(): RetryLaterError {
    const used = `${this.#usedBytes} of ${this.#options.budgetBytes} bytes are in use`;
    return new RetryLaterError(CODE, `memory budget exceeded: ${used}, try again later`, RETRY_MS);
  }

  #processBytes(): number {
    return this.#options.processBytes?.() ?? process.memoryUsage.rss();
  }
}
