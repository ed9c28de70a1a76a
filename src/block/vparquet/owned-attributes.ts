// All generic attributes of some owners at once: each column of the scope is passed over once, however many
// names there are.
import type { Bitset } from '../../lib/bitset.ts';
import { ownStrings, pickNumbers, pickStrings } from '../../parquet/column-reader.ts';
import type { ByteTable } from '../../parquet/decode/byte-table.ts';
import type { Numbers } from '../../parquet/decode/numbers.ts';
import { type AttributeScope, ValueType } from '../../traceql/source.ts';
import { SCOPE_PREFIX } from './block-columns.ts';
import { loadKeys, TYPED_COLUMNS, ValueEntries } from './generic-vector.ts';
import type { GroupColumns } from './group-columns.ts';
import type { VectorPart } from './vector-parts.ts';

const utf8 = new TextDecoder();

/** By name one part for each type that occurs. */
export async function ownedAttributes(
  group: GroupColumns,
  scope: AttributeScope,
  owners: Bitset,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, VectorPart[]>> {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const parts = new Map<string, VectorPart[]>();
  if (!group.hasValues(`${prefix}Key`)) return parts;
  const keys = await loadKeys(group, scope, signal);
  const found = keys.entriesOfOwners(owners);
  const positions = found.entries.map((entry) => keys.positionOf(entry));
  const named = pickStrings(keys.pages, await group.dictionary(`${prefix}Key`, signal), positions);
  const names = new AttributeNames(named.ids, named.table);
  const read = [`${prefix}Key`];
  const isDone = new Uint8Array(found.entries.length);
  for (const [suffix, type] of TYPED_COLUMNS) {
    const column = prefix + suffix;
    if (!group.hasValues(column) || !isDone.includes(0)) continue;
    read.push(column);
    const pages = await group.pages(column, 'kept', signal);
    const lines = new ValueEntries(keys.pages, pages);
    const values = valuesOf(found.entries, isDone, lines, pages.valueBits());
    if (values.positions.length === 0) continue;
    const dictionary = await group.dictionary(column, signal);
    const picked: Picked =
      type === ValueType.string
        ? { ...ownStrings(pickStrings(pages, dictionary, values.positions)), numbers: undefined }
        : { ids: undefined, table: undefined, numbers: pickNumbers(pages, dictionary, values.positions) };
    for (const [name, at] of names.split(values.attributes)) {
      const part = partOf(at, type, picked, values.attributes, found.owners);
      const others = parts.get(name);
      if (others === undefined) parts.set(name, [part]);
      else others.push(part);
    }
  }
  group.recount(read);
  return parts;
}

interface Values {
  /** Among the values of the column, ascending. */
  readonly positions: Int32Array;
  /** Which attribute each of them belongs to. */
  readonly attributes: Int32Array;
}

/** Marks attributes that have a value here as done. */
function valuesOf(
  entries: Int32Array,
  isDone: Uint8Array,
  lines: ValueEntries,
  bits: { rank(i: number): number },
): Values {
  let positions = new Int32Array(entries.length);
  let attributes = new Int32Array(entries.length);
  let count = 0;
  for (let i = 0; i < entries.length; i++) {
    if (isDone[i] === 1) continue;
    const begin = lines.first(entries[i]);
    const first = bits.rank(begin);
    const end = bits.rank(lines.end(begin));
    if (end === first) continue;
    isDone[i] = 1;
    if (count + end - first > positions.length) {
      positions = grown(positions, count + end - first);
      attributes = grown(attributes, count + end - first);
    }
    for (let position = first; position < end; position++) {
      positions[count] = position;
      attributes[count++] = i;
    }
  }
  return { positions: positions.subarray(0, count), attributes: attributes.subarray(0, count) };
}

function grown(items: Int32Array, needed: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(needed, items.length * 2));
  larger.set(items);
  return larger;
}

/** The name of each attribute, as a number. */
class AttributeNames {
  private readonly ids: Int32Array;
  private readonly names: string[] = [];

  constructor(ids: Int32Array, table: ByteTable) {
    const numbers = new Map<string, number>();
    const numberOf = new Int32Array(table.size).fill(-1);
    this.ids = ids.map((id) => {
      if (numberOf[id] >= 0) return numberOf[id];
      const name = utf8.decode(table.bytes(id));
      let number = numbers.get(name);
      if (number === undefined) numbers.set(name, (number = this.names.push(name) - 1));
      numberOf[id] = number;
      return number;
    });
  }

  /** By name the ordinals in the list of the attributes that are called so, ascending. */
  split(attributes: Int32Array): Map<string, Int32Array> {
    const { ids, names } = this;
    const next = new Int32Array(names.length + 1);
    for (let k = 0; k < attributes.length; k++) next[ids[attributes[k]] + 1]++;
    for (let name = 0; name < names.length; name++) next[name + 1] += next[name];
    const begins = next.slice();
    const ordered = new Int32Array(attributes.length);
    for (let k = 0; k < attributes.length; k++) ordered[next[ids[attributes[k]]]++] = k;
    const split = new Map<string, Int32Array>();
    names.forEach((name, i) => {
      if (begins[i] < begins[i + 1]) split.set(name, ordered.subarray(begins[i], begins[i + 1]));
    });
    return split;
  }
}

interface Picked {
  readonly ids: Int32Array | undefined;
  readonly table: ByteTable | undefined;
  readonly numbers: Numbers | undefined;
}

/** The values at some ordinals as a part. */
function partOf(
  at: Int32Array,
  type: ValueType,
  { ids, table, numbers }: Picked,
  attributes: Int32Array,
  ownerOf: Int32Array,
): VectorPart {
  const count = at.length;
  const owners = at.map((k) => ownerOf[attributes[k]]);
  const isElement = elementsOf(at, attributes);
  return {
    count,
    owners,
    type,
    ids: ids && at.map((k) => ids[k]),
    table,
    numbers: numbers && {
      num: Float64Array.from(at, (k) => numbers.num[k]),
      base: numbers.base,
      exact: numbers.exact && BigInt64Array.from(at, (k) => numbers.exact![k]),
    },
    isElement,
  };
}

/** 1 for values that share their attribute with others. */
function elementsOf(at: Int32Array, attributes: Int32Array): Uint8Array | undefined {
  let flags: Uint8Array | undefined;
  for (let i = 1; i < at.length; i++) {
    if (attributes[at[i]] !== attributes[at[i - 1]]) continue;
    flags ??= new Uint8Array(at.length);
    flags[i] = flags[i - 1] = 1;
  }
  return flags;
}
