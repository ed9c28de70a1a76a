// What a query needs as elements of value filters.
import type { NeededValue } from '../../traceql/engine/needed-values.ts';
import { firstWord, hashBytes, hashField, hashInt, type HashWords, secondWord } from './value-hash.ts';

const utf8 = new TextEncoder();
const LOW_BITS = 32n;

export function elementWords({ scope, key, value }: NeededValue): HashWords {
  const name = utf8.encode(key);
  const field = { a: 0, b: 0 };
  hashBytes(name, 0, name.length, field);
  hashField(scope, typeof value === 'bigint' ? 'int' : 'string', field, field);
  const words = { a: 0, b: 0 };
  if (typeof value === 'bigint') {
    hashInt(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> LOW_BITS)), words);
  } else hashBytes(value, 0, value.length, words);
  return { a: firstWord(field.a, words.a), b: secondWord(field.b, words.b) };
}
