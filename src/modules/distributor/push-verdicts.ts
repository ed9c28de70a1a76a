// Which traces of a push their ingesters refused: a trace is kept when a quorum has kept it. Waits for
// answers that can still decide, and for no others.
import { PushReason } from '../../contracts/push-bytes.ts';
import type { ReplicationSet } from '../../ring/ring.ts';

interface Outcome {
  readonly traces: readonly number[];
  /** By place in `traces`; undefined = all were kept. */
  readonly reasons: Uint8Array | undefined;
  readonly isFailure: boolean;
}

export class PushVerdicts {
  readonly #sets: readonly ReplicationSet[];
  readonly #outcomes: Outcome[] = [];
  readonly #decided = Promise.withResolvers<void>();
  #hasReasons = false;

  /** @param sets by trace. */
  constructor(sets: readonly ReplicationSet[]) {
    this.#sets = sets;
  }

  answered(traces: readonly number[], reasons: Uint8Array | undefined): void {
    this.#hasReasons ||= reasons !== undefined;
    this.#note({ traces, reasons, isFailure: false });
  }

  failed(traces: readonly number[]): void {
    this.#note({ traces, reasons: undefined, isFailure: true });
  }

  /**
   * Resolves with why each trace was refused, by trace, when that is certain; undefined = none was. To be
   * asked when every trace has been answered by its quorum.
   */
  async reasons(): Promise<Uint8Array | undefined> {
    if (!this.#hasReasons) return undefined;
    if (this.#judge() === undefined) await this.#decided.promise;
    return this.#judge();
  }

  #note(outcome: Outcome): void {
    this.#outcomes.push(outcome);
    if (this.#hasReasons && this.#judge() !== undefined) this.#decided.resolve();
  }

  /** Undefined = answers are missing that count. */
  #judge(): Uint8Array | undefined {
    const count = this.#sets.length;
    const kept = new Uint8Array(count);
    const open = Uint8Array.from(this.#sets, ({ instances }) => instances.length);
    const reasons = new Uint8Array(count);
    for (const outcome of this.#outcomes) {
      outcome.traces.forEach((trace, i) => {
        open[trace]!--;
        const reason = outcome.reasons?.[i] ?? PushReason.none;
        if (outcome.isFailure) return;
        if (reason === PushReason.none) kept[trace]!++;
        else reasons[trace] = reason;
      });
    }
    for (let trace = 0; trace < count; trace++) {
      if (reasons[trace] === PushReason.none) continue;
      const { instances, maxErrors } = this.#sets[trace]!;
      const needed = instances.length - maxErrors;
      if (kept[trace]! >= needed) reasons[trace] = PushReason.none;
      else if (kept[trace]! + open[trace]! >= needed) return undefined;
    }
    return reasons;
  }
}
