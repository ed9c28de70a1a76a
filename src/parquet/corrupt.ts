// The one place that raises damage in a Parquet file.
import { TempoError } from '../lib/errors.ts';

/** An error for bytes that cannot be what they should be. Read past the end and similar are its `cause`. */
export function corrupt(what: string, cause?: unknown): TempoError {
  return new TempoError('block_corrupt', `corrupt parquet file: ${what}`, cause);
}
