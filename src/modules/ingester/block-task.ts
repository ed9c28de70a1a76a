// One block on its way: from a cut head to a complete block to the backend. Every step is tried until it
// succeeds; until then the head stays, and so does its part of the log.
import { TempoError } from '../../lib/errors.ts';
import type { Logger } from '../../telemetry/log.ts';

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;

export interface Step {
  /** For the log: `write block` and the like. */
  readonly name: string;
  readonly run: () => Promise<void>;
}

export interface BlockTaskOptions {
  readonly tenant: string;
  readonly blockId: string;
  readonly steps: readonly Step[];
  readonly logger: Logger;
  /** Called with each failure. */
  readonly failed: (tries: number) => void;
}

export class BlockTask {
  readonly tenant: string;
  private readonly options: BlockTaskOptions;
  private readonly waiting = new Set<PromiseWithResolvers<void>>();
  private isDone = false;
  private stopped = false;
  private wake: () => void = () => {};

  constructor(options: BlockTaskOptions) {
    this.options = options;
    this.tenant = options.tenant;
  }

  /** Resolves when all steps are done, or when it is stopped. */
  async run(): Promise<void> {
    for (const step of this.options.steps) {
      for (let tries = 1; !(await this.attempt(step, tries)); tries++) {
        await this.backoff(tries);
        if (this.stopped) return;
      }
      if (this.stopped) return;
    }
    this.isDone = true;
    for (const waiter of this.waiting) waiter.resolve();
    this.waiting.clear();
  }

  /** Resolves when the task is done; rejects at its next failure. A pause between two tries ends now. */
  finished(): Promise<void> {
    if (this.isDone) return Promise.resolve();
    if (this.stopped) return Promise.reject(stopping());
    const waiter = Promise.withResolvers<void>();
    this.waiting.add(waiter);
    this.wake();
    return waiter.promise;
  }

  stop(): void {
    this.stopped = true;
    this.fail(stopping());
    this.wake();
  }

  private async attempt(step: Step, tries: number): Promise<boolean> {
    try {
      await step.run();
      return true;
    } catch (err) {
      if (this.stopped) return false;
      const { tenant, blockId, logger, failed } = this.options;
      logger.error(`${step.name} failed, it is tried again`, { tenant, block: blockId, tries, err });
      failed(tries);
      this.fail(
        new TempoError('unavailable', `block ${blockId} of tenant ${tenant}: ${step.name} failed`, err),
      );
      return false;
    }
  }

  private fail(err: Error): void {
    for (const waiter of this.waiting) waiter.reject(err);
    this.waiting.clear();
  }

  private backoff(tries: number): Promise<void> {
    if (this.stopped) return Promise.resolve();
    const delayMs = Math.min(BACKOFF_FIRST_MS * 2 ** (tries - 1), BACKOFF_MAX_MS);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, delayMs).unref();
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function stopping(): TempoError {
  return new TempoError('unavailable', 'the ingester is stopping');
}
