// Time and timers as something that is passed in, so that a test or a simulation moves them by hand.

export interface Clock {
  /** Since the epoch. */
  nowMs(): number;
  /** Calls back once after that long. @returns what takes it back. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  nowMs: Date.now,
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs).unref();
    return () => clearTimeout(timer);
  },
};

/** Calls back again and again, each time that long after the last call. @returns what ends it. */
export function every(clock: Clock, periodMs: number, callback: () => void): () => void {
  let cancel = clock.after(periodMs, tick);
  let isOver = false;
  function tick(): void {
    callback();
    if (!isOver) cancel = clock.after(periodMs, tick);
  }
  return () => {
    isOver = true;
    cancel();
  };
}

/** Resolves after that long. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}
