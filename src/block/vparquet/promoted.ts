// Attributes that have a column of their own (static and dedicated ones): which keys, and their values in
// one row group. A value of another type than the column's stays a generic attribute, and so does a
// repeated key.
import { IntList } from '../../lib/int-list.ts';
import type { DedicatedColumn } from '../meta.ts';
import { AttrType } from '../head/layout.ts';
import type { HeadStrings } from './head-strings.ts';
import {
  DEDICATED_MAX,
  dedicatedColumnName,
  RESOURCE_COLUMNS,
  SPAN_COLUMNS,
  type WrittenFormat,
} from './schema.ts';

export const SERVICE_NAME = 'service.name';

type Scope = DedicatedColumn['scope'];

export interface PromotedKey {
  /** Path below the owner's group. */
  readonly column: string;
  readonly key: string;
  readonly type: 'string' | 'int';
  /** Arrays of that type are taken too. */
  readonly takesArrays: boolean;
}

/** Attributes of one scope that have a column, and the columns that no attribute goes to. */
export interface PromotedColumns {
  readonly keys: readonly PromotedKey[];
  /** By key id of the head: 1 + index into `keys`, or 0. */
  readonly codes: Uint8Array;
  readonly unused: readonly string[];
}

/**
 * Of the configured ones those that the format has columns for. vParquet4: plain strings of spans and
 * resources without a static column.
 */
export function usableDedicatedColumns(
  format: WrittenFormat,
  configured: readonly DedicatedColumn[],
): DedicatedColumn[] {
  const counts = new Map<string, number>();
  return configured.filter((column) => {
    const { scope, type } = column;
    if (format === 'vParquet4' && !hasPlainColumn(column)) return false;
    const count = (counts.get(`${scope} ${type}`) ?? 0) + 1;
    counts.set(`${scope} ${type}`, count);
    return count <= DEDICATED_MAX[format][type];
  });
}

/** One of vParquet4 is possible. */
function hasPlainColumn({ scope, name, type, options }: DedicatedColumn): boolean {
  if (scope === 'event' || type !== 'string' || options.length > 0) return false;
  if (scope === 'resource' && name === SERVICE_NAME) return false;
  return !Object.hasOwn(scope === 'span' ? SPAN_COLUMNS : RESOURCE_COLUMNS, name);
}

/** @param dedicated what `usableDedicatedColumns` left. */
export function promotedColumns(
  format: WrittenFormat,
  scope: Scope,
  dedicated: readonly DedicatedColumn[],
  strings: HeadStrings,
): PromotedColumns {
  const keys = [...staticKeys(format, scope), ...dedicatedKeys(format, scope, dedicated)];
  return { keys, codes: codesByKey(keys, strings), unused: unusedColumns(format, scope, keys) };
}

function staticKeys(format: WrittenFormat, scope: Scope): PromotedKey[] {
  const columns: Record<string, string> = {};
  if (scope === 'resource') columns[SERVICE_NAME] = 'ServiceName';
  if (format === 'vParquet4' && scope === 'resource') Object.assign(columns, RESOURCE_COLUMNS);
  if (format === 'vParquet4' && scope === 'span') Object.assign(columns, SPAN_COLUMNS);
  return Object.entries(columns).map(([key, column]) => ({
    column,
    key,
    type: column === 'HttpStatusCode' ? 'int' : 'string',
    takesArrays: false,
  }));
}

function dedicatedKeys(
  format: WrittenFormat,
  scope: Scope,
  dedicated: readonly DedicatedColumn[],
): PromotedKey[] {
  const counts = { string: 0, int: 0 };
  return dedicated
    .filter((column) => column.scope === scope)
    .map(({ name, type }) => ({
      column: `DedicatedAttributes.${dedicatedColumnName(type, ++counts[type])}`,
      key: name,
      type,
      takesArrays: format === 'vParquet5',
    }));
}

/** vParquet4 has all its dedicated columns, whatever is configured. */
function unusedColumns(format: WrittenFormat, scope: Scope, keys: readonly PromotedKey[]): string[] {
  if (format !== 'vParquet4' || scope === 'event') return [];
  const used = new Set(keys.map(({ column }) => column));
  const all = Array.from(
    { length: DEDICATED_MAX.vParquet4.string },
    (_, i) => `DedicatedAttributes.${dedicatedColumnName('string', i + 1)}`,
  );
  return all.filter((column) => !used.has(column));
}

/** Finds a head's key ids of promoted keys; of two columns for a key the first one counts. */
function codesByKey(keys: readonly PromotedKey[], strings: HeadStrings): Uint8Array {
  const codes = new Uint8Array(strings.size);
  if (keys.length === 0) return codes;
  const decoder = new TextDecoder();
  const byName = new Map(keys.map(({ key }, i) => [key, i + 1] as const).reverse());
  for (let id = 0; id < strings.size; id++) {
    const offset = strings.offset(id);
    const name = decoder.decode(strings.bytes.slice(offset, offset + strings.length(id)));
    codes[id] = byName.get(name) ?? 0;
  }
  return codes;
}

/** The values of one promoted column, filled owner by owner. */
export class PromotedValues {
  readonly isInt: boolean;
  readonly takesArrays: boolean;
  /** 1 for owners that have a value; undefined while none has. */
  present: Uint8Array | undefined;
  /** How many elements the arrays have, by owner; undefined while there is none. */
  lengths: Map<number, number> | undefined;
  /** String ids, or word pairs of ints. */
  private list = new IntList(0);
  private readonly ownerCount: number;
  /** The one string that each owner's value must be, when something else has decided it. */
  private readonly wanted: Int32Array | undefined;

  constructor({ type, takesArrays }: PromotedKey, ownerCount: number, wanted?: Int32Array) {
    this.isInt = type === 'int';
    this.takesArrays = takesArrays;
    this.ownerCount = ownerCount;
    this.wanted = wanted;
  }

  /** Without nulls: string ids, or word pairs of ints. */
  get values(): Int32Array {
    return this.list.view();
  }

  /** False when the value is not of the column's type or the owner has one already. */
  take(owner: number, type: number, low: number, high: number): boolean {
    const fits = this.isInt ? type === AttrType.int || type === AttrType.int64 : type === AttrType.string;
    if (!fits || (this.wanted !== undefined && this.wanted[owner] !== low)) return false;
    if (!this.claim(owner)) return false;
    this.list.push(low);
    if (this.isInt) this.list.push(high);
    return true;
  }

  /**
   * As `take`, of the elements of an array: those of one or none stay generic attributes, since nothing would
   * tell them from a scalar or nothing.
   * @param elements string ids, or word pairs.
   */
  takeArray(owner: number, elements: Int32Array): boolean {
    const count = this.isInt ? elements.length / 2 : elements.length;
    if (count < 2 || !this.claim(owner)) return false;
    this.lengths ??= new Map();
    this.lengths.set(owner, count);
    for (const word of elements) this.list.push(word);
    return true;
  }

  private claim(owner: number): boolean {
    if (this.present === undefined) {
      this.present = new Uint8Array(this.ownerCount);
      this.list = new IntList(this.ownerCount * (this.isInt ? 2 : 1));
    }
    if (this.present[owner] !== 0) return false;
    this.present[owner] = 1;
    return true;
  }
}
