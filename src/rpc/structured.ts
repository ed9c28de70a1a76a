// Plain data between processes of this program: objects, lists, bigints and typed arrays as they are. For
// peers that are the same program; what comes from elsewhere is refused or means nothing.
import { deserialize, serialize } from 'node:v8';
import { TempoError } from '../lib/errors.ts';

export function encodeStructured(value: unknown): Uint8Array {
  return serialize(value);
}

/** Throws TempoError for what is no such data. Typed arrays may be views of the bytes. */
export function decodeStructured(bytes: Uint8Array): unknown {
  let value: unknown;
  try {
    value = deserialize(bytes);
  } catch (err) {
    throw new TempoError('invalid_argument', 'the data of another process cannot be read', err);
  }
  checkLists(value, bytes.length);
  return value;
}

/**
 * Refuses lists that are longer than the bytes which they came as. In what this program writes each element
 * takes a byte at least, but V8 knows lists with holes too, in which a few bytes say a length of billions:
 * whoever goes over one, does so without end.
 */
function checkLists(value: unknown, sizeBytes: number): void {
  const seen = new Set<object>();
  const open: object[] = [];
  const look = (part: unknown): void => {
    if (typeof part !== 'object' || part === null || ArrayBuffer.isView(part) || seen.has(part)) return;
    seen.add(part);
    open.push(part);
  };
  let left = sizeBytes;
  look(value);
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    if (Array.isArray(one)) {
      left -= one.length;
      if (left < 0) {
        throw new TempoError('invalid_argument', 'the data of another process has lists that are not there');
      }
      for (let i = 0; i < one.length; i++) look(one[i]);
    } else if (one instanceof Map) {
      for (const [key, part] of one) {
        look(key);
        look(part);
      }
    } else for (const part of one instanceof Set ? one : Object.values(one)) look(part);
  }
}
