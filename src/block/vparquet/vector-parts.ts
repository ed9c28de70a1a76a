// Vectors for the engine from parts: the values of one field may lie in several columns (one for each type,
// and columns for well-known attributes), each ascending by owner.
import { areAscendingNumbers } from '../../lib/ascending-numbers.ts';
import { narrowNumbers } from '../../lib/narrow-numbers.ts';
import { roundedSum } from '../../lib/rounded-sum.ts';
import { EMPTY_TABLE, type ByteTable } from '../../parquet/decode/byte-table.ts';
import type { EvenTable } from '../../parquet/decode/even-table.ts';
import type { Numbers } from '../../parquet/decode/numbers.ts';
import { type Owner, type StringTable, ValueType, type Vector } from '../../traceql/source.ts';

/** Values of one column: exactly one of `ids` and `numbers` is there. */
export interface VectorPart {
  readonly count: number;
  /** Ascending; undefined = value i belongs to owner i. */
  readonly owners: Int32Array | undefined;
  readonly type: ValueType;
  readonly ids: Int32Array | undefined;
  readonly table: ByteTable | EvenTable | undefined;
  readonly numbers: Numbers | undefined;
  readonly isElement: Uint8Array | undefined;
}

const NO_OWNERS = new Int32Array(0);

function emptyVector(owner: Owner): Vector {
  return {
    owner,
    count: 0,
    owners: NO_OWNERS,
    type: ValueType.nil,
    str: undefined,
    table: undefined,
    num: undefined,
    base: 0n,
    exact: undefined,
    isElement: undefined,
  };
}

export function vectorOf(owner: Owner, parts: readonly VectorPart[]): Vector {
  const filled = parts.filter(({ count }) => count > 0);
  if (filled.length === 0) return emptyVector(owner);
  if (filled.length === 1) return single(owner, filled[0]);
  return merged(owner, filled);
}

/** The same with numbers in as few bytes as they need: a status takes one, a place in a nested set four. */
export function narrowed(vector: Vector): Vector {
  const { num, type } = vector;
  const isWhole = typeof type === 'number' && type !== ValueType.float;
  if (!isWhole || !(num instanceof Float64Array)) return vector;
  return { ...vector, num: narrowNumbers(num) };
}

/** Rough size for the cache: arrays only, the table is kept (and counted) apart. */
export function vectorBytes({ owners, str, num, exact, isElement, type }: Vector): number {
  const ownStr = str !== undefined && areAscendingNumbers(str) ? undefined : str;
  const arrays = [owners, ownStr, num, exact, isElement, typeof type === 'number' ? undefined : type];
  return arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), 200);
}

function single(owner: Owner, part: VectorPart): Vector {
  const { count, owners, type, ids, table, numbers, isElement } = part;
  return {
    owner,
    count,
    owners,
    type,
    str: ids,
    table,
    num: numbers?.num,
    base: numbers?.base ?? 0n,
    exact: numbers?.exact,
    isElement,
  };
}

/** The strings of several tables under one numbering. */
class JoinedTable implements StringTable {
  readonly size: number;
  private readonly tables: readonly StringTable[];
  private readonly firstIds: readonly number[];

  constructor(tables: readonly StringTable[]) {
    const firstIds: number[] = [];
    let size = 0;
    for (const table of tables) {
      firstIds.push(size);
      size += table.size;
    }
    this.size = size;
    this.tables = tables;
    this.firstIds = firstIds;
  }

  bytes(id: number): Uint8Array {
    let k = this.tables.length - 1;
    while (this.firstIds[k] > id) k--;
    return this.tables[k].bytes(id - this.firstIds[k]);
  }

  firstId(part: number): number {
    return this.firstIds[part];
  }
}

function merged(owner: Owner, parts: readonly VectorPart[]): Vector {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const joined = new JoinedTable(parts.map(({ table }) => table ?? EMPTY_TABLE));
  const owners = new Int32Array(count);
  const types = new Uint8Array(count);
  const str = joined.size > 0 ? new Int32Array(count) : undefined;
  const num = parts.some(({ numbers }) => numbers !== undefined) ? new Float64Array(count) : undefined;
  const exact = parts.some(isWide) ? new BigInt64Array(count) : undefined;
  const isElement = parts.some((part) => part.isElement !== undefined) ? new Uint8Array(count) : undefined;
  const next = parts.map(() => 0);
  for (let i = 0; i < count; i++) {
    const k = nextPart(parts, next);
    const part = parts[k];
    const at = next[k]++;
    owners[i] = part.owners === undefined ? at : part.owners[at];
    types[i] = part.type;
    if (str !== undefined && part.ids !== undefined) str[i] = part.ids[at] + joined.firstId(k);
    if (num !== undefined && part.numbers !== undefined) {
      const { base, num: from, exact: wide } = part.numbers;
      num[i] = roundedSum(base, from[at]);
      if (exact !== undefined && part.type !== ValueType.float)
        exact[i] = wide?.[at] ?? base + BigInt(from[at]);
    }
    if (isElement !== undefined && part.isElement !== undefined) isElement[i] = part.isElement[at];
  }
  return {
    owner,
    count,
    owners,
    type: types,
    str,
    table: str === undefined ? undefined : joined,
    num,
    base: 0n,
    exact,
    isElement,
  };
}

function isWide({ numbers }: VectorPart): boolean {
  return numbers !== undefined && (numbers.exact !== undefined || numbers.base !== 0n);
}

/** The part whose next value belongs to the lowest owner; among equals the first. */
function nextPart(parts: readonly VectorPart[], next: readonly number[]): number {
  let best = -1;
  let lowest = Infinity;
  for (let k = 0; k < parts.length; k++) {
    if (next[k] >= parts[k].count) continue;
    const { owners } = parts[k];
    const owner = owners === undefined ? next[k] : owners[next[k]];
    if (owner < lowest) {
      lowest = owner;
      best = k;
    }
  }
  return best;
}
