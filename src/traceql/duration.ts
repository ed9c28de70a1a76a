// Durations as TraceQL writes them: Prometheus style (1d12h, integers only, from large to small) or Go style
// (1.5s, no days and more). They are printed by src/lib/duration.ts.

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
/** Units from large to small, each once. */
const PROMETHEUS = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const PROMETHEUS_UNITS = ['y', 'w', 'd', 'h', 'm', 's', 'ms'];
const GO_PART = /(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/y;
/** More of a fraction is less than a nanosecond. */
const FRACTION_DIGITS_MAX = 18;

/** Nanoseconds, or undefined when the text is no duration of either style. */
export function parseDuration(text: string): bigint | undefined {
  if (text === '') return undefined;
  const total = prometheusNanos(text) ?? goNanos(text);
  return total === undefined || total > INT64_MAX ? undefined : total;
}

function prometheusNanos(text: string): bigint | undefined {
  const [, ...counts] = PROMETHEUS.exec(text) ?? [];
  if (counts.length === 0) return undefined;
  return counts.reduce((sum, count, i) => sum + BigInt(count ?? 0) * UNIT_NANOS[PROMETHEUS_UNITS[i]!]!, 0n);
}

/** Units in any order, with fractions, of which `.5h` and `5.h` are some. */
function goNanos(text: string): bigint | undefined {
  let total = 0n;
  GO_PART.lastIndex = 0;
  while (GO_PART.lastIndex < text.length) {
    const [, whole = '', fraction = '', unit = ''] = GO_PART.exec(text) ?? [];
    if (whole === '' && fraction === '') return undefined;
    const nanos = UNIT_NANOS[unit]!;
    const digits = fraction.slice(0, FRACTION_DIGITS_MAX);
    total += BigInt(whole || 0) * nanos + (BigInt(digits || 0) * nanos) / 10n ** BigInt(digits.length);
    if (total > INT64_MAX) return undefined;
  }
  return total;
}
