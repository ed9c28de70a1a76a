// Work that several want at the same time is done once.

export class OneRun<Result> {
  readonly #running = new Map<string, Promise<Result>>();

  /**
   * Answers what a run with the same key that is under way answers; without one, or when that fails (whoever
   * began it may have left), runs `work`. Rejects with the reason of the signal when that is aborted first.
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

/** undefined = it failed. */
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
        () => undefined,
      ),
      left,
    ]);
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
