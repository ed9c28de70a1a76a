// The samples of a series of zeros as JSON, each with a comma before it, from which runs are taken. There may
// be a million of them: their times and texts are made when they are first asked for.
import { CELLS_A_LOOK, type Check, noCheck } from './check.ts';
import { intervalCount, type MetricsRange } from './range.ts';

/** Of a sample with a time of our days, and where it begins. */
export const ZERO_SAMPLE_BYTES = 32 + 4;

const NANOS_PER_MILLI = 1_000_000n;
/** Texts of so many samples are written at a time. */
const TEXTS_AT_A_TIME = 1000;

interface Texts {
  readonly bytes: Uint8Array;
  readonly begins: Uint32Array;
}

export class ZeroSamples {
  private readonly range: MetricsRange;
  private readonly check: Check;
  private times: Float64Array | undefined;
  private texts: Texts | undefined;

  constructor({ startUnixNano, endUnixNano, stepNanos }: MetricsRange, check: Check = noCheck) {
    this.check = check;
    this.range = { startUnixNano, endUnixNano, stepNanos };
  }

  /** Of the end of each interval. */
  get timestampsMs(): Float64Array {
    return (this.times ??= timesOf(this.range, this.check));
  }

  get bytes(): Uint8Array {
    return (this.texts ??= textsOf(this.timestampsMs, this.check)).bytes;
  }

  /** Where each of them begins, and where the last one ends. */
  get begins(): Uint32Array {
    return (this.texts ??= textsOf(this.timestampsMs, this.check)).begins;
  }
}

function timesOf(range: MetricsRange, check: Check): Float64Array {
  const { startUnixNano, stepNanos } = range;
  const times = new Float64Array(intervalCount(range));
  for (let i = 0; i < times.length; i++) {
    if (i % CELLS_A_LOOK === 0) check(CELLS_A_LOOK);
    times[i] = Number((startUnixNano + stepNanos * BigInt(i + 1)) / NANOS_PER_MILLI);
  }
  return times;
}

function textsOf(times: Float64Array, check: Check): Texts {
  // Times grow: the one with the most digits is the first or the last.
  const longest = Math.max(textOf(times[0] ?? 0).length, textOf(times.at(-1) ?? 0).length);
  const bytes = new Uint8Array(longest * times.length);
  const begins = new Uint32Array(times.length + 1);
  const encoder = new TextEncoder();
  let end = 0;
  for (let from = 0; from < times.length; from += TEXTS_AT_A_TIME) {
    const to = Math.min(from + TEXTS_AT_A_TIME, times.length);
    check(TEXTS_AT_A_TIME);
    let texts = '';
    for (let i = from; i < to; i++) {
      texts += textOf(times[i]!);
      begins[i + 1] = end + texts.length;
    }
    end += encoder.encodeInto(texts, bytes.subarray(end)).written;
  }
  return { bytes: end === bytes.length ? bytes : bytes.slice(0, end), begins };
}

function textOf(ms: number): string {
  return `,{"timestampMs":"${ms}"}`;
}
