// Long work in slices of a few milliseconds, between which others get a turn of the event loop.
import { setImmediate as nextTurn } from 'node:timers/promises';

const SLICE_MS = 5;

/** For a loop that looks now and then: `if (slice.isOver) await slice.next()`. */
export class Slice {
  private endMs = performance.now() + SLICE_MS;

  get isOver(): boolean {
    return performance.now() >= this.endMs;
  }

  async next(): Promise<void> {
    await nextTurn();
    this.endMs = performance.now() + SLICE_MS;
  }
}

/** Work that yields wherever it may be interrupted. */
export type Sliced<T> = Generator<void, T>;

export async function inSlices<T>(work: Sliced<T>): Promise<T> {
  const slice = new Slice();
  for (;;) {
    const next = work.next();
    if (next.done === true) return next.value;
    if (slice.isOver) await slice.next();
  }
}

/** Where nobody waits for a turn: in a thread that does nothing else. */
export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const next = work.next();
    if (next.done === true) return next.value;
  }
}
