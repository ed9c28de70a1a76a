// Queries of a process that starts or stops are refused, so that a gateway gives them to another process, in
// place of answers from what is not known yet, a ring or the blocks of the backend, or is closed already.
// When it stops, those that run are waited for.
import type { Querier } from '../../contracts/query.ts';
import { TempoError } from '../../lib/errors.ts';

export class ClosableQuerier implements Querier {
  readonly search: Querier['search'];
  readonly metrics: Querier['metrics'];
  readonly tagNames: Querier['tagNames'];
  readonly tagValues: Querier['tagValues'];
  readonly findTrace: Querier['findTrace'];
  #refusal: string | undefined = 'the process is starting';
  #running = 0;
  #idle = (): void => undefined;

  constructor(inner: Querier) {
    this.search = (...args) => this.#run(() => inner.search(...args));
    this.metrics = (...args) => this.#run(() => inner.metrics(...args));
    this.tagNames = (...args) => this.#run(() => inner.tagNames(...args));
    this.tagValues = (...args) => this.#run(() => inner.tagValues(...args));
    this.findTrace = (...args) => this.#run(() => inner.findTrace(...args));
  }

  /** Everything that answers come from is known. */
  open(): void {
    this.#refusal = undefined;
  }

  /** Refuses what comes, and resolves when all that runs is answered, or after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#refusal = 'the process is stopping';
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, graceMs);
      this.#idle = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  async #run<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    if (this.#refusal !== undefined) throw new TempoError('unavailable', this.#refusal);
    this.#running++;
    try {
      return await ask();
    } finally {
      if (--this.#running === 0) this.#idle();
    }
  }
}
