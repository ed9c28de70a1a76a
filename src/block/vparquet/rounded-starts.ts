// The numbers of the intervals that spans start in, counted from the epoch: those of 15 seconds, and of
// several of them. An interval has its end and not its beginning.

const QUARTER_NANO = 15e9;
const QUARTER_SEC = 15;
const TWO16 = 65536;

/**
 * How many quarters of a minute have begun, or ended right then, at each time: 0 for the time 0.
 * @param starts word pairs of nanoseconds.
 */
export function quarterMinutes(starts: Int32Array): Int32Array {
  const quarters = new Int32Array(starts.length / 2);
  for (let i = 0; i < quarters.length; i++) {
    const low = starts[2 * i] >>> 0;
    // digits of 16 bits, so that no step exceeds what a double holds
    const first = (starts[2 * i + 1] >>> 0) * TWO16 + (low >>> 16);
    const whole = Math.floor(first / QUARTER_NANO);
    const rest = (first - whole * QUARTER_NANO) * TWO16 + (low & 0xffff);
    quarters[i] = whole * TWO16 + Math.ceil(rest / QUARTER_NANO);
  }
  return quarters;
}

/** @param sec length of an interval, a multiple of 15. */
export function roundedStarts(quarters: Int32Array, sec: number): Int32Array {
  const each = sec / QUARTER_SEC;
  return quarters.map((count) => (count === 0 ? 0 : Math.ceil(count / each) - 1));
}
