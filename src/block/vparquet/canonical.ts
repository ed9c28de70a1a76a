// Resources and scopes that say the same in another order of attributes are one: maps each ordinal of a
// head to the first that equals it, so that a trace's rows name it once.
import { AttrType } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';

interface AttributeOwner {
  readonly count: number;
  readonly attrStart: VecReader;
  readonly keys: VecReader;
  readonly values: VecReader;
  /** What must be equal beside the attributes. */
  readonly others: readonly VecReader[];
}

export function canonicalResources(head: HeadReader): Int32Array {
  const v = head.vecs;
  return canonical(head, {
    count: v.resourceAttrStart.count,
    attrStart: v.resourceAttrStart,
    keys: v.resourceAttrKey,
    values: v.resourceAttrValue,
    others: [v.resourceDropped],
  });
}

export function canonicalScopes(head: HeadReader): Int32Array {
  const v = head.vecs;
  return canonical(head, {
    count: v.scopeAttrStart.count,
    attrStart: v.scopeAttrStart,
    keys: v.scopeAttrKey,
    values: v.scopeAttrValue,
    others: [v.scopeName, v.scopeVersion, v.scopeDropped],
  });
}

function canonical(head: HeadReader, owner: AttributeOwner): Int32Array {
  const result = new Int32Array(owner.count);
  const byHash = new Map<number, number[]>();
  for (let i = 0; i < owner.count; i++) {
    result[i] = i;
    const hash = hashOf(owner, i);
    const candidates = byHash.get(hash);
    if (candidates === undefined) {
      byHash.set(hash, [i]);
      continue;
    }
    const text = identity(head, owner, i);
    const equal = candidates.find((other) => identity(head, owner, other) === text);
    if (equal === undefined) candidates.push(i);
    else result[i] = equal;
  }
  return result;
}

function attributeEnd(owner: AttributeOwner, i: number): number {
  return i + 1 < owner.count ? owner.attrStart.get(i + 1) : owner.keys.count;
}

/**
 * Does not depend on the order of attributes. Wide numbers count by their type only: equal ones have
 * several ids.
 */
function hashOf(owner: AttributeOwner, i: number): number {
  let hash = 0;
  for (const other of owner.others) hash = Math.imul(hash, 31) + other.get(i);
  const end = attributeEnd(owner, i);
  for (let a = owner.attrStart.get(i); a < end; a++) {
    const key = owner.keys.get(a);
    let mixed = Math.imul(key, 0x9e3779b1);
    if (!isWide(key)) mixed = Math.imul(mixed ^ owner.values.get(a), 0x85ebca6b);
    hash = (hash + (mixed ^ (mixed >>> 15))) | 0;
  }
  return hash;
}

function isWide(key: number): boolean {
  const type = key & 15;
  return type === AttrType.int64 || type === AttrType.double;
}

function identity(head: HeadReader, owner: AttributeOwner, i: number): string {
  const parts: string[] = [];
  const end = attributeEnd(owner, i);
  for (let a = owner.attrStart.get(i); a < end; a++) {
    const key = owner.keys.get(a);
    const value = owner.values.get(a);
    const { wide } = head.vecs;
    parts.push(isWide(key) ? `${key}:${wide.get(value, 0)}:${wide.get(value, 1)}` : `${key}:${value}`);
  }
  return [...owner.others.map((other) => other.get(i)), ...parts.sort()].join();
}
