// Whether the next stop is the last: orchestrators tell before they take an instance away. It is kept over
// restarts, until the instance has stopped.
import { setTimeout as pause } from 'node:timers/promises';
import { hasLeavingFile, keepLeavingFile } from '../../store/log/leaving-file.ts';
import type { Logger } from '../../telemetry/log.ts';

/** What the ingester does about its place in a ring. */
export interface RingPlace {
  /** Tells that nothing more is to be written to it. */
  leave(): Promise<void>;
  /** For the stop that follows. */
  onShutdown(what: { readonly unregister?: boolean; readonly removeTokensFile?: boolean }): void;
}

export interface DepartureOptions {
  readonly ring?: RingPlace | undefined;
  /** Whether it leaves the ring at every stop. */
  readonly unregistersOnShutdown?: boolean;
  readonly logger: Logger;
}

/** Between tries to flush all at a stop: a backend may be away for a moment. */
const FLUSH_PAUSES_MS = [1000, 2000, 4000];

/** @returns whether all is flushed. What is not stays in the log. */
export async function flushBeforeStop(
  flush: () => Promise<void>,
  logger: Logger,
  pausesMs: readonly number[] = FLUSH_PAUSES_MS,
): Promise<boolean> {
  for (let tries = 0; ; tries++) {
    try {
      await flush();
      return true;
    } catch (err) {
      const pauseMs = pausesMs[tries];
      if (pauseMs === undefined) {
        logger.error('flush at shutdown failed, the log keeps the spans', { err });
        return false;
      }
      logger.warn('flush at shutdown failed, it is tried again', { err });
      await pause(pauseMs);
    }
  }
}

export class Departure {
  readonly #walPath: string;
  readonly #options: DepartureOptions;
  #isLast = false;

  constructor(walPath: string, options: DepartureOptions) {
    this.#walPath = walPath;
    this.#options = options;
  }

  /** The next stop is the last: it leaves nothing behind. */
  get isLast(): boolean {
    return this.#isLast;
  }

  /** As it was when the process ended. */
  restore(): void {
    if (hasLeavingFile(this.#walPath)) this.#tell(true);
  }

  prepare(isLast: boolean): void {
    keepLeavingFile(this.#walPath, isLast);
    this.#tell(isLast);
  }

  /** All is flushed: whoever starts on the folder again is there to stay. */
  done(): void {
    if (this.#isLast) keepLeavingFile(this.#walPath, false);
  }

  #tell(isLast: boolean): void {
    this.#isLast = isLast;
    const { ring, unregistersOnShutdown = true, logger } = this.#options;
    ring?.onShutdown({ unregister: isLast || unregistersOnShutdown, removeTokensFile: isLast });
    logger.info('ingester is told whether its next stop is the last', { last: isLast });
  }
}
