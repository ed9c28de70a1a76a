// Signs of life on the call between a querier and an ingester while jobs run there: a process that stands
// still keeps its connections, and would be waited for until they are found dead.
import { ALIVE_MS } from '../../contracts/remote-query.ts';

/** Without a sign for so long an ingester that has jobs is taken for lost. */
const SILENT_MS_MAX = 3 * ALIVE_MS;
const CHECK_MS = 500;
const SILENT_CHECKS_MAX = SILENT_MS_MAX / CHECK_MS;

/** The ingester's side: says that it is there, as long as something runs. */
export class Heart {
  readonly #say: () => Promise<void>;
  #running = 0;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;

  constructor(say: () => Promise<void>) {
    this.#say = say;
  }

  begin(): void {
    if (this.#running++ === 0) this.#timer = setInterval(() => void this.#beat(), ALIVE_MS);
  }

  end(): void {
    if (--this.#running === 0) clearInterval(this.#timer);
  }

  /** Never two at a time: what waits behind a large message is a sign as well. */
  async #beat(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    // Whoever has left needs not be told.
    await this.#say().catch(() => undefined);
    this.#isBusy = false;
  }
}

/** The querier's side: notes when nothing is heard although something is waited for. */
export class Silence {
  readonly #tooLong: () => void;
  #waiting = 0;
  #checks = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param tooLong is called once. */
  constructor(tooLong: () => void) {
    this.#tooLong = tooLong;
  }

  begin(): void {
    if (this.#waiting++ > 0) return;
    this.#checks = 0;
    this.#timer = setInterval(() => this.#check(), CHECK_MS);
  }

  end(): void {
    if (--this.#waiting === 0) clearInterval(this.#timer);
  }

  heard(): void {
    this.#checks = 0;
  }

  /** Counts checks and not time: whoever stood still itself has not listened meanwhile. */
  #check(): void {
    if (++this.#checks < SILENT_CHECKS_MAX) return;
    clearInterval(this.#timer);
    this.#tooLong();
  }
}
