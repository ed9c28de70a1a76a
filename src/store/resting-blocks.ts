// Blocks that could not be compacted: which ones an error is about, and how long they are left alone.

/** The longest rest; each failure in a row doubles it. */
const REST_MS_MAX = 60 * 60 * 1000;

interface Resting {
  readonly failures: number;
  readonly untilMs: number;
}

export class RestingBlocks {
  private readonly firstMs: number;
  private readonly byId = new Map<string, Resting>();

  /** @param firstMs how long a block rests after its first failure. */
  constructor(firstMs: number) {
    this.firstMs = firstMs;
  }

  has(blockId: string, nowMs: number): boolean {
    return (this.byId.get(blockId)?.untilMs ?? 0) > nowMs;
  }

  count(nowMs: number): number {
    return [...this.byId.values()].filter(({ untilMs }) => untilMs > nowMs).length;
  }

  /** Those that the error names rest, or else all: without them the others may be compacted. */
  failed(inputs: readonly string[], error: string, nowMs: number): void {
    const named = inputs.filter((blockId) => error.includes(blockId));
    for (const blockId of named.length > 0 ? named : inputs) {
      const failures = (this.byId.get(blockId)?.failures ?? 0) + 1;
      const restMs = Math.min(REST_MS_MAX, this.firstMs * 2 ** (failures - 1));
      this.byId.set(blockId, { failures, untilMs: nowMs + restMs });
    }
  }

  succeeded(inputs: readonly string[]): void {
    for (const blockId of inputs) this.byId.delete(blockId);
  }

  /** Forgets those whose rest has been over for long. */
  forget(nowMs: number): void {
    for (const [blockId, { untilMs }] of this.byId) {
      if (untilMs < nowMs - REST_MS_MAX) this.byId.delete(blockId);
    }
  }
}
