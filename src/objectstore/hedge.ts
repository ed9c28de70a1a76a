// Asks a second time when the first answer takes long, and takes whichever comes first.

export interface HedgeOptions {
  /** 0 = never. */
  readonly afterMs: number;
  /** Requests in all, the first included. */
  readonly requestsMax: number;
}

/** @param onHedge called for each request beyond the first. */
export function hedged<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { afterMs, requestsMax }: HedgeOptions,
  onHedge: () => void,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const losers = new AbortController();
    const all = signal === undefined ? losers.signal : AbortSignal.any([signal, losers.signal]);
    let timer: NodeJS.Timeout | undefined;
    let started = 0;
    let running = 0;
    const over = (): void => {
      clearTimeout(timer);
      losers.abort();
    };
    const start = (): void => {
      if (++started < requestsMax) timer = setTimeout(start, afterMs);
      if (started > 1) onHedge();
      running++;
      work(all).then(
        (result) => {
          over();
          resolve(result);
        },
        (err: unknown) => {
          // What still runs may succeed.
          if (--running > 0) return;
          over();
          reject(err instanceof Error ? err : new Error(String(err)));
        },
      );
    };
    start();
  });
}
