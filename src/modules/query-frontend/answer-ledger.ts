// Bytes of what queriers answer, while it comes in and is sent on. Answers that are too much together are
// refused; a single one may have more than all of them while others hold little, but not what would end the
// process.
import { TempoError } from '../../lib/errors.ts';
import { noteReleasedBytes } from '../../lib/garbage.ts';

/** Smaller ones are taken whatever others hold, until all hold twice what they may. */
const SMALL_BYTES = 1 << 20;
const LET_GO_MS = 100;
/** What a larger answer counts as for the others: the rest is theirs. */
const SHARE = 3 / 4;
/** With so much of a share free an answer of any size goes on. */
const ENOUGH_OF_SHARE = 3 / 4;

export interface AnswerBytes {
  /** Of all answers. */
  readonly allMax: number;
  /** Of one of them. */
  readonly oneMax: number;
}

/** Who holds them, for those who are refused. */
export interface AnswerNames {
  readonly one: string;
  readonly all: string;
}

const OF_QUERIERS: AnswerNames = { one: 'an answer of a querier', all: 'answers of queriers' };

export class AnswerLedger {
  readonly #max: AnswerBytes;
  readonly #names: AnswerNames;
  #bytesHeld = 0;
  #counted = 0;

  constructor(max: AnswerBytes, names = OF_QUERIERS) {
    this.#max = max;
    this.#names = names;
  }

  get bytesHeld(): number {
    return this.#bytesHeld;
  }

  /** For one of them, such as what one querier says of one query. */
  open(): HeldAnswer {
    return new HeldAnswer((before, after) => this.#change(before, after));
  }

  /** Throws TempoError `too_large`, or `unavailable` for what others hold. */
  #change(before: number, after: number): void {
    const others = this.#counted - this.#countedOf(before);
    if (after > before) this.#check(others, after);
    this.#counted = others + this.#countedOf(after);
    this.#bytesHeld += after - before;
  }

  #check(others: number, after: number): void {
    const { allMax, oneMax } = this.#max;
    if (after > oneMax) {
      const text = `${this.#names.one} has more than ${oneMax} bytes, the most that memory.limit leaves`;
      throw new TempoError('too_large', `${text} for one: ask for less, or raise it`);
    }
    const isSmall = after <= SMALL_BYTES;
    const enough = isSmall ? after - allMax : Math.min(after, allMax * SHARE * ENOUGH_OF_SHARE);
    if (others + enough <= allMax) return;
    const held = `${this.#names.all} hold ${this.#bytesHeld} bytes of at most ${allMax}`;
    throw new TempoError('unavailable', `${held}, try again later`);
  }

  #countedOf(bytes: number): number {
    return Math.min(bytes, this.#max.allMax * SHARE);
  }
}

export class HeldAnswer {
  readonly #changed: (before: number, after: number) => void;
  #bytes = 0;
  #isClosed = false;

  constructor(changed: (before: number, after: number) => void) {
    this.#changed = changed;
  }

  /** Throws when it is too much, and does not hold it then. */
  hold(bytes: number): void {
    if (this.#isClosed) return;
    this.#changed(this.#bytes, this.#bytes + bytes);
    this.#bytes += bytes;
  }

  drop(bytes: number): void {
    this.#changed(this.#bytes, this.#bytes - bytes);
    this.#bytes -= bytes;
  }

  /** Nobody needs it any more. */
  dropAll(): void {
    const bytes = this.#bytes;
    this.drop(bytes);
    if (bytes <= SMALL_BYTES) return;
    // Whoever has just sent it still refers to it.
    setTimeout(() => noteReleasedBytes(bytes), LET_GO_MS);
  }

  /** As that, and what is still found is not counted. */
  close(): void {
    this.dropAll();
    this.#isClosed = true;
  }
}
