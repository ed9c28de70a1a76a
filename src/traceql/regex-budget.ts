// How much the regular expressions of one query may cost together: they are compiled, and those of two
// constants decided, on the thread that takes requests. One alone is bounded by its size, and a query has
// room for hundreds.
import { regexSize, STEPS_MAX } from './regex.ts';

/** Lists of hundreds of names that are not plain alternatives, in several spansets, are below it. */
const STEPS_TOGETHER_MAX = 100_000;

/** Matching that many characters counts as compiling the pattern once more. */
const CHARS_PER_COMPILE = 100;

export class RegexBudget {
  #steps = 0;

  /**
   * @param text that is decided at once; undefined = the pattern is for stored values.
   * @returns what is wrong; undefined = there is room. One that is too large alone is refused elsewhere.
   */
  problemOf(pattern: string, text: string | undefined): string | undefined {
    const size = regexSize(pattern);
    if (size > STEPS_MAX) return undefined;
    this.#steps += size * (1 + (text?.length ?? 0) / CHARS_PER_COMPILE);
    if (this.#steps <= STEPS_TOGETHER_MAX) return undefined;
    const steps = `about ${Math.ceil(this.#steps)} steps, at most ${STEPS_TOGETHER_MAX}`;
    return `the regular expressions of the query are too large together: ${steps}`;
  }
}
