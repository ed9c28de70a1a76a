// Attributes that have a column of their own (static and dedicated ones): which keys, and their values in
// one row group. A value of another type than the column's stays a generic attribute, and so does a
// repeated key.
import type { DedicatedColumn } from '../meta.ts';
import { AttrType } from '../head/layout.ts';
import type { HeadStrings } from './head-strings.ts';
import { DEDICATED_STRINGS, dedicatedColumnName, RESOURCE_COLUMNS, SPAN_COLUMNS } from './schema.ts';

export const SERVICE_NAME = 'service.name';

export interface PromotedKey {
  /** Path below the owner's group. */
  readonly column: string;
  readonly key: string;
  readonly type: 'string' | 'int';
}

/** The dedicated columns a vParquet4 block can have: plain strings without a static column, ten a scope. */
export function usableDedicatedColumns(configured: readonly DedicatedColumn[]): DedicatedColumn[] {
  const count = { span: 0, resource: 0 };
  return configured.filter(({ scope, name, type, options }) => {
    if (scope === 'event' || type !== 'string' || options.length > 0) return false;
    const columns = scope === 'span' ? SPAN_COLUMNS : RESOURCE_COLUMNS;
    const isStatic = Object.hasOwn(columns, name) || (scope === 'resource' && name === SERVICE_NAME);
    return !isStatic && count[scope]++ < DEDICATED_STRINGS;
  });
}

function dedicatedKeys(columns: readonly DedicatedColumn[], scope: 'span' | 'resource'): PromotedKey[] {
  return columns
    .filter((column) => column.scope === scope)
    .map(({ name }, i) => ({
      column: `DedicatedAttributes.${dedicatedColumnName(i + 1)}`,
      key: name,
      type: 'string',
    }));
}

/** @param dedicated what `usableDedicatedColumns` left. */
export function resourceKeys(dedicated: readonly DedicatedColumn[]): PromotedKey[] {
  const fixed = Object.entries({ [SERVICE_NAME]: 'ServiceName', ...RESOURCE_COLUMNS });
  return [
    ...fixed.map(([key, column]): PromotedKey => ({ column, key, type: 'string' })),
    ...dedicatedKeys(dedicated, 'resource'),
  ];
}

export function spanKeys(dedicated: readonly DedicatedColumn[]): PromotedKey[] {
  const fixed = Object.entries(SPAN_COLUMNS).map(
    ([key, column]): PromotedKey => ({
      column,
      key,
      type: column === 'HttpStatusCode' ? 'int' : 'string',
    }),
  );
  return [...fixed, ...dedicatedKeys(dedicated, 'span')];
}

/** Finds a head's key ids of promoted keys: element `key id` is 1 + index into `keys`, or 0. */
export function codesByKey(keys: readonly PromotedKey[], strings: HeadStrings): Uint8Array {
  const codes = new Uint8Array(strings.size);
  const decoder = new TextDecoder();
  const byName = new Map(keys.map(({ key }, i) => [key, i + 1]));
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
  /** 1 for owners that have a value; undefined while none has. */
  present: Uint8Array | undefined;
  /** Without nulls: string ids, or word pairs of ints. */
  values: Int32Array = new Int32Array(0);
  count = 0;
  private readonly ownerCount: number;
  /** The one string that each owner's value must be, when something else has decided it. */
  private readonly wanted: Int32Array | undefined;

  constructor(isInt: boolean, ownerCount: number, wanted?: Int32Array) {
    this.isInt = isInt;
    this.ownerCount = ownerCount;
    this.wanted = wanted;
  }

  /** False when the value is not of the column's type or the owner has one already. */
  take(owner: number, type: number, low: number, high: number): boolean {
    const fits = this.isInt ? type === AttrType.int || type === AttrType.int64 : type === AttrType.string;
    if (!fits || (this.wanted !== undefined && this.wanted[owner] !== low)) return false;
    if (this.present === undefined) {
      this.present = new Uint8Array(this.ownerCount);
      this.values = new Int32Array(this.ownerCount * (this.isInt ? 2 : 1));
    }
    if (this.present[owner] !== 0) return false;
    this.present[owner] = 1;
    if (this.isInt) {
      this.values[2 * this.count] = low;
      this.values[2 * this.count + 1] = high;
    } else {
      this.values[this.count] = low;
    }
    this.count++;
    return true;
  }
}
