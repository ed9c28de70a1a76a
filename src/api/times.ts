// Times and durations as parameters have them, in every form that Tempo takes.
import { TempoError } from '../lib/errors.ts';
import { parseDuration } from '../traceql/duration.ts';

export const NANOS_PER_MILLI = 1_000_000n;
export const INTEGER = /^[+-]?\d+$/;
export const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

const NANOS_PER_SECOND = 1_000_000_000n;
/** Numbers with more digits are nanoseconds. */
const SECONDS_DIGITS_MAX = 10;
const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;
/** Units from large to small, whole numbers. */
const PROMETHEUS_DURATION = /^(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?$/;

/** Nanoseconds since 1970; undefined = no time. */
export function timeNanos(text: string): bigint | undefined {
  if (text.includes('.') && FLOAT.test(text)) {
    const millis = Math.round(Number(text) * 1000);
    return Number.isFinite(millis) ? BigInt(millis) * NANOS_PER_MILLI : undefined;
  }
  if (INTEGER.test(text)) {
    return text.length <= SECONDS_DIGITS_MAX ? BigInt(text) * NANOS_PER_SECOND : BigInt(text);
  }
  const [, toSeconds, fraction = '', zone] = RFC3339.exec(text) ?? [];
  const ms = Date.parse(`${toSeconds}${zone}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * NANOS_PER_MILLI + BigInt(fraction.padEnd(9, '0'));
}

/**
 * How far back `since` says that a range begins; undefined = it is not given.
 * @param prefix of the error.
 */
export function sinceNanos(params: URLSearchParams, prefix = ''): bigint | undefined {
  const text = params.get('since') ?? '';
  if (text === '') return undefined;
  if (text === '0') return 0n;
  const nanos = PROMETHEUS_DURATION.test(text) ? parseDuration(text) : undefined;
  if (nanos !== undefined) return nanos;
  const why = `could not parse 'since' parameter: not a valid duration string: ${JSON.stringify(text)}`;
  throw new TempoError('invalid_argument', prefix + why);
}
