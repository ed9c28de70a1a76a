// Work that several want at the same time is done once.
import { TempoError } from './errors.ts';

export class OneRun<Result> {
  readonly #running = new Map<string, Promise<Result>>();

  /**
   * Ends as a run with the same key that is under way; runs `work` without one, or when whoever began that
   * has left (`cancelled`). Rejects with the reason of the signal when that is aborted first.
   */
  async run(key: string, work: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    for (;;) {
      const other = this.#running.get(key);
      if (other === undefined) break;
      const found = await settledOrLeft(other, signal);
      if (found !== undefined) return found.result;
    }
    const own = work();
    this.#running.set(key, own);
    const over = (): void => void this.#running.delete(key);
    own.then(over, over);
    return own;
  }
}

/** undefined = whoever began it has left. */
async function settledOrLeft<Result>(
  other: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<{ readonly result: Result } | undefined> {
  const { promise: left, reject } = Promise.withResolvers<never>();
  const leave = (): void => reject(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([
      other.then(
        (result) => ({ result }),
        (err: unknown) => {
          if (err instanceof TempoError && err.code === 'cancelled') return undefined;
          throw err;
        },
      ),
      left,
    ]);
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
