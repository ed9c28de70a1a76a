// When the last job of a metrics query ends, which makes the series of what was read.
import { TimeIsUpError } from '../../lib/errors.ts';

/** Ends the last job of a query at once when its caller has left, and after a while when its time is over. */
export class FinishEnd {
  isTimeUp = false;
  private readonly controller = new AbortController();
  private readonly query: AbortSignal | undefined;
  private readonly graceMs: number;
  private timer: NodeJS.Timeout | undefined;

  constructor(query: AbortSignal | undefined, graceMs: number) {
    this.query = query;
    this.graceMs = graceMs;
    if (query?.aborted === true) this.ended();
    else query?.addEventListener('abort', this.ended, { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  over(): void {
    clearTimeout(this.timer);
    this.query?.removeEventListener('abort', this.ended);
  }

  private readonly ended = (): void => {
    if (!(this.query?.reason instanceof TimeIsUpError)) return this.controller.abort();
    this.timer = setTimeout(() => {
      this.isTimeUp = true;
      this.controller.abort();
    }, this.graceMs);
  };
}
