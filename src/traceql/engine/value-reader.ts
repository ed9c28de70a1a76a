// Reads single values out of vectors, for the few spans that are shown.
import type { Static } from '../ast.ts';
import { decodeText } from '../regex.ts';
import { ValueType, type Vector } from '../source.ts';
import { kindName, statusName } from './enum-names.ts';
import { idText } from './json.ts';

/** The first entry of an owner; -1 when it has none. */
export function firstEntry(vector: Vector, owner: number): number {
  const { owners, count } = vector;
  if (owners === undefined) return owner < count ? owner : -1;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (owners[middle]! < owner) low = middle + 1;
    else high = middle;
  }
  return low < count && owners[low] === owner ? low : -1;
}

/** The entry after the last of the owner of entry `first`. */
export function endOfOwner(vector: Vector, first: number): number {
  const { owners, count } = vector;
  if (owners === undefined) return first + 1;
  let end = first + 1;
  while (end < count && owners[end] === owners[first]) end++;
  return end;
}

export function typeAt(vector: Vector, entry: number): ValueType {
  return (typeof vector.type === 'number' ? vector.type : vector.type[entry]!) as ValueType;
}

export function isElementAt(vector: Vector, entry: number): boolean {
  return vector.isElement !== undefined && vector.isElement[entry] === 1;
}

export function integerAt(vector: Vector, entry: number): bigint {
  const { base, exact, num } = vector;
  if (exact !== undefined) return base + exact[entry]!;
  return num === undefined ? base : base + BigInt(num[entry]!);
}

export function bytesAt(vector: Vector, entry: number): Uint8Array {
  return vector.table!.bytes(vector.str![entry]!);
}

export function staticAt(vector: Vector, entry: number): Static {
  const type = typeAt(vector, entry);
  switch (type) {
    case ValueType.string:
      return { type: 'string', value: decodeText(bytesAt(vector, entry)) };
    case ValueType.bytes:
      return { type: 'string', value: idText(bytesAt(vector, entry)) };
    case ValueType.bool:
      return { type: 'bool', value: vector.num![entry] !== 0 };
    case ValueType.int:
      return { type: 'int', value: integerAt(vector, entry) };
    case ValueType.float:
      return { type: 'float', value: Number(vector.base) + vector.num![entry]! };
    case ValueType.duration:
      return { type: 'duration', value: integerAt(vector, entry) };
    case ValueType.status:
      return { type: 'status', value: statusName(vector.num![entry]!) };
    case ValueType.kind:
      return { type: 'kind', value: kindName(vector.num![entry]!) };
    default:
      return { type: 'nil' };
  }
}
