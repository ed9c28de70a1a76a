// Durations as TraceQL writes them: Prometheus style (1h30m, integers only) or Go style (1.5s). They are
// printed by src/lib/duration.ts.

const UNIT_NANOS: Record<string, bigint> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
  w: 604_800_000_000_000n,
  y: 31_536_000_000_000_000n,
};
const INT64_MAX = (1n << 63n) - 1n;
const PART = /(\d+)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h|d|w|y)/y;

/**
 * Nanoseconds, or undefined when the text is no duration. Go style has no d, w, y, and those take no
 * fraction.
 */
export function parseDuration(text: string): bigint | undefined {
  let total = 0n;
  PART.lastIndex = 0;
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text);
    if (!match) return undefined;
    const unit = UNIT_NANOS[match[3]!]!;
    const fraction = match[2] ?? '';
    if (fraction !== '' && 'dwy'.includes(match[3]!)) return undefined;
    total += BigInt(match[1]!) * unit;
    if (fraction !== '') total += (BigInt(fraction) * unit) / 10n ** BigInt(fraction.length);
    if (total > INT64_MAX) return undefined;
  }
  return text === '' ? undefined : total;
}
