// Go duration text ("1h30m", "250ms") to milliseconds and back. Days and weeks are read too, as Prometheus
// does.

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** Units below a millisecond: how many make one. */
const UNITS_IN_MS: Readonly<Record<string, number>> = {
  ns: 1_000_000,
  us: 1000,
  µs: 1000, // U+00B5
  μs: 1000, // U+03BC
};

/** The longest Go duration, which stands for "never"; here Infinity. */
const GO_MAX_TEXT = '2562047h47m16.854775807s';
const GO_MAX_MS = 9_223_372_036_854;

/** @returns milliseconds (Infinity for Go's longest duration). @throws Error when the text is no duration. */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  const sign = trimmed.startsWith('-') ? -1 : 1;
  const body = trimmed.replace(/^[+-]/, '');
  if (body === '0') return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w|y))+$/.test(body)) {
    throw new Error(`"${text}" is no duration: write a number with a unit, such as 30s, 5m or 1h30m`);
  }
  let ms = 0;
  for (const part of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w|y)/g)) {
    const [, count, unit] = part as unknown as [string, string, string];
    const perMs = UNITS_IN_MS[unit];
    ms += perMs === undefined ? Number(count) * (UNIT_MS[unit] as number) : Number(count) / perMs;
  }
  if (ms >= GO_MAX_MS) ms = Infinity;
  return sign * ms;
}

/** The text Go prints for a duration in milliseconds: `1h30m0s`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms === Infinity) return GO_MAX_TEXT;
  const whole = Math.floor(ms);
  return formatNanos(BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6)));
}

/** As `formatDuration`, of nanoseconds. */
export function formatNanos(nanos: bigint): string {
  if (nanos === 0n) return '0s';
  const sign = nanos < 0n ? '-' : '';
  const abs = nanos < 0n ? -nanos : nanos;
  if (abs < 1_000n) return `${sign}${abs}ns`;
  if (abs < 1_000_000n) return `${sign}${decimal(abs, 3)}µs`;
  if (abs < 1_000_000_000n) return `${sign}${decimal(abs, 6)}ms`;
  const minutes = abs / 60_000_000_000n;
  const seconds = `${decimal(abs % 60_000_000_000n, 9)}s`;
  if (minutes === 0n) return sign + seconds;
  const hours = minutes / 60n;
  return hours === 0n ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60n}m${seconds}`;
}

/** value / 10^digits without trailing zeros. */
function decimal(value: bigint, digits: number): string {
  const text = value.toString().padStart(digits + 1, '0');
  const fraction = text.slice(-digits).replace(/0+$/, '');
  const whole = text.slice(0, -digits);
  return fraction === '' ? whole : `${whole}.${fraction}`;
}
