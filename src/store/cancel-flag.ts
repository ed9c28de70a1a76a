// Cancelling a job in another thread. A thread that computes sees no messages; it sees this flag in shared
// memory whenever it asks its signal.

export type CancelFlag = Int32Array;

export function newCancelFlag(): CancelFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

export function raise(flag: CancelFlag): void {
  Atomics.store(flag, 0, 1);
}

/** Makes the signal of a controller, when it is asked, look at the flag first. */
export function followFlag(controller: AbortController, flag: CancelFlag): AbortSignal {
  const { signal } = controller;
  Object.defineProperty(signal, 'throwIfAborted', {
    value(): void {
      if (Atomics.load(flag, 0) !== 0) controller.abort();
      AbortSignal.prototype.throwIfAborted.call(signal);
    },
  });
  return signal;
}
