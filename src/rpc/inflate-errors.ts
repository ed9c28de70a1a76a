// How a compressed body is refused.
import { TempoError } from '../lib/errors.ts';

export function tooLarge(sizeMax: number): TempoError {
  return new TempoError('too_large', `message after decompression larger than max (${sizeMax})`);
}

export function malformed(encoding: string, cause: unknown): TempoError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TempoError('invalid_argument', `malformed ${encoding} body: ${why}`, cause);
}
