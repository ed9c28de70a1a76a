// Plain data between processes of this program: objects, lists, bigints and typed arrays as they are. For
// peers that are the same program; what comes from elsewhere is refused or means nothing.
import { deserialize, serialize } from 'node:v8';
import { TempoError } from '../lib/errors.ts';

export function encodeStructured(value: unknown): Uint8Array {
  return serialize(value);
}

/** Throws TempoError for what is no such data. Typed arrays may be views of the bytes. */
export function decodeStructured(bytes: Uint8Array): unknown {
  try {
    return deserialize(bytes);
  } catch (err) {
    throw new TempoError('invalid_argument', 'the data of another process cannot be read', err);
  }
}
