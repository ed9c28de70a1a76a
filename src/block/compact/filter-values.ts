// The attribute values of blocks that are joined, for the value filter of the new block: keys and values are
// brought together again as their columns come by.
import { SCOPE_PREFIX } from '../vparquet/block-columns.ts';
import type { Block } from '../vparquet/open.ts';
import type { WorkMemory } from '../../lib/work-memory.ts';
import type { ByteStrings, ColumnValues, Entries } from '../../parquet/values.ts';
import type { AttributeScope } from '../../traceql/source.ts';
import type { ValueFilterBuilder } from '../value-filter/builder.ts';
import {
  hashBytes,
  hashField,
  hashInt,
  type HashedType,
  type HashWords,
} from '../value-filter/value-hash.ts';
import type { PlannedColumn } from './structure.ts';

type Target =
  | { readonly kind: 'keys'; readonly scope: AttributeScope }
  | { readonly kind: 'values'; readonly scope: AttributeScope; readonly type: HashedType }
  | { readonly kind: 'own'; readonly scope: AttributeScope; readonly type: HashedType; readonly key: string };

/** A column of the new block's row group. */
interface FilteredColumn {
  readonly entries: Entries;
  readonly definition: Uint8Array | number;
  readonly values: ColumnValues;
}

type Levels = Pick<PlannedColumn['leaf'], 'maxDefinition' | 'maxRepetition'>;

/** Pairs of a key and a value are compared with as many others: most of them were there a moment ago. */
const RECENT = 2 ** 12;
const RECENT_SHIFT = 32 - Math.log2(RECENT);
const SCOPES = Object.keys(SCOPE_PREFIX) as AttributeScope[];
const utf8 = new TextEncoder();

/** How many values there are in the blocks, repeated ones too. */
export function valueCountOf(blocks: readonly Block[]): number {
  let count = 0;
  for (const { rowGroups } of blocks) {
    const [first] = rowGroups;
    if (first === undefined) continue;
    const names = [...targetsOf([first.group.file.columns])].filter(([, { kind }]) => kind !== 'keys');
    for (const { group } of rowGroups) {
      for (const [name] of names) count += Math.max(0, group.valueCount(name));
    }
  }
  return count;
}

type Columns = Pick<Block['rowGroups'][number]['group']['file']['columns'], 'attributeColumns'>;

/** What each column is, by name. */
function targetsOf(all: readonly Columns[]): Map<string, Target> {
  const targets = new Map<string, Target>();
  for (const scope of SCOPES) {
    const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
    targets.set(`${prefix}Key`, { kind: 'keys', scope });
    targets.set(`${prefix}Value`, { kind: 'values', scope, type: 'string' });
    targets.set(`${prefix}ValueInt`, { kind: 'values', scope, type: 'int' });
    for (const columns of all) {
      for (const { name, column, type } of columns.attributeColumns(scope)) {
        targets.set(column, { kind: 'own', scope, type, key: name });
      }
    }
  }
  return targets;
}

/** By number of a key or string. */
interface HashTable {
  readonly a: Int32Array;
  readonly b: Int32Array;
}

const NO_HASHES: HashTable = { a: new Int32Array(0), b: new Int32Array(0) };

export class FilterValues {
  private readonly builder: ValueFilterBuilder;
  private readonly targets: ReadonlyMap<string, Target>;
  private readonly memory: WorkMemory;
  private readonly keys = new ScopeKeys();

  /** @param memory for one column. */
  constructor(builder: ValueFilterBuilder, inputs: readonly Block[], memory: WorkMemory) {
    this.builder = builder;
    this.memory = memory;
    const first = inputs.flatMap(({ rowGroups }) => rowGroups.slice(0, 1));
    this.targets = targetsOf(first.map(({ group }) => group.file.columns));
  }

  /** A column of a row group; keys come before their values. */
  column(column: PlannedColumn, filtered: FilteredColumn): void {
    const target = this.targets.get(column.name);
    const { values } = filtered;
    if (target === undefined) return;
    if (target.kind === 'keys') this.keys.take(target.scope, column.leaf, filtered);
    else if (countOf(values) === 0) return;
    else if (target.kind === 'own') this.own(target, values);
    else if (this.keys.scope === target.scope) {
      const fields = target.type === 'int' ? this.keys.ints : this.keys.strings;
      this.generic(this.keys.ofValues(column.leaf, filtered, this.memory), fields, values);
    } else throw new Error(`the values of ${column.name} come before their keys`);
  }

  private own({ scope, type, key }: Extract<Target, { kind: 'own' }>, values: ColumnValues): void {
    const { builder } = this;
    const name = utf8.encode(key);
    const field = { a: 0, b: 0 };
    hashBytes(name, 0, name.length, field);
    hashField(scope, type, field, field);
    if (values.kind !== 'strings') {
      const keys = this.memory.words(countOf(values)).fill(0);
      this.generic(keys, { a: Int32Array.of(field.a), b: Int32Array.of(field.b) }, values);
      return;
    }
    // each string once, whichever values have it
    const { a, b } = hashesOf(values.table, this.memory);
    for (let id = 0; id < a.length; id++) builder.add(field.a, field.b, a[id], b[id]);
  }

  /** @param keys number of the key by value. */
  private generic(keys: Int32Array, fields: HashTable, values: ColumnValues): void {
    const { builder, memory } = this;
    switch (values.kind) {
      case 'strings':
        addStrings(builder, keys, fields, values, memory);
        break;
      case 'packed':
        addPacked(builder, keys, fields, values);
        break;
      case 'int64':
        addInts(builder, keys, fields, values.words, memory);
        break;
      default:
        throw new Error(`a filter has no values of kind ${values.kind}`);
    }
  }
}

function countOf(values: ColumnValues): number {
  switch (values.kind) {
    case 'strings':
      return values.ids.length;
    case 'packed':
      return values.starts.length - 1;
    case 'int64':
    case 'double':
      return values.words.length / 2;
    default:
      return values.values.length;
  }
}

/** Of all strings of a table: each of them is in use. */
function hashesOf(table: ByteStrings, memory: WorkMemory): HashTable {
  const { size, bytes } = table;
  const out = { a: memory.words(size), b: memory.words(size) };
  const hash: HashWords = { a: 0, b: 0 };
  for (let id = 0; id < size; id++) {
    hashBytes(bytes, table.offset(id), table.length(id), hash);
    out.a[id] = hash.a;
    out.b[id] = hash.b;
  }
  return out;
}

function addStrings(
  builder: ValueFilterBuilder,
  keys: Int32Array,
  fields: HashTable,
  { ids, table }: Extract<ColumnValues, { kind: 'strings' }>,
  memory: WorkMemory,
): void {
  const { a, b } = hashesOf(table, memory);
  // most strings are values of one key only
  const lastKey = memory.words(table.size).fill(-1);
  const recent = memory.words(2 * RECENT).fill(-1);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    const key = keys[i];
    if (lastKey[id] === key) continue;
    lastKey[id] = key;
    const slot = 2 * ((Math.imul(key, 0x9e3779b1) ^ Math.imul(id, 0x85ebca6b)) >>> RECENT_SHIFT);
    if (recent[slot] === key && recent[slot + 1] === id) continue;
    recent[slot] = key;
    recent[slot + 1] = id;
    builder.add(fields.a[key], fields.b[key], a[id], b[id]);
  }
}

function addPacked(
  builder: ValueFilterBuilder,
  keys: Int32Array,
  fields: HashTable,
  { bytes, starts }: Extract<ColumnValues, { kind: 'packed' }>,
): void {
  const hash: HashWords = { a: 0, b: 0 };
  for (let i = 0; i + 1 < starts.length; i++) {
    hashBytes(bytes, starts[i], starts[i + 1] - starts[i], hash);
    builder.add(fields.a[keys[i]], fields.b[keys[i]], hash.a, hash.b);
  }
}

function addInts(
  builder: ValueFilterBuilder,
  keys: Int32Array,
  fields: HashTable,
  words: Int32Array,
  memory: WorkMemory,
): void {
  const recent = memory.words(3 * RECENT).fill(-1);
  const hash: HashWords = { a: 0, b: 0 };
  for (let i = 0; 2 * i < words.length; i++) {
    const key = keys[i];
    const low = words[2 * i];
    const high = words[2 * i + 1];
    const slot = 3 * ((Math.imul(key, 0x9e3779b1) ^ Math.imul(low ^ high, 0x85ebca6b)) >>> RECENT_SHIFT);
    if (recent[slot] === key && recent[slot + 1] === low && recent[slot + 2] === high) continue;
    recent[slot] = key;
    recent[slot + 1] = low;
    recent[slot + 2] = high;
    hashInt(low, high, hash);
    builder.add(fields.a[key], fields.b[key], hash.a, hash.b);
  }
}

/** Keys of one scope, until the values have come by. */
class ScopeKeys {
  scope: AttributeScope | undefined;
  /** Hashes of the keys in front of strings and of integers, by number. */
  strings: HashTable = NO_HASHES;
  ints: HashTable = NO_HASHES;
  /** Number of the key, by attribute that has one. */
  private numbers = new Int32Array(0);
  /** By entry; undefined: each is an attribute. */
  private definition: Uint8Array | undefined;
  private leaf: Levels = { maxDefinition: 0, maxRepetition: 0 };
  private entryCount = 0;

  take(scope: AttributeScope, leaf: Levels, { entries, definition, values }: FilteredColumn): void {
    this.scope = scope;
    this.leaf = leaf;
    this.entryCount = entries.count;
    this.definition = typeof definition === 'number' ? undefined : definition.slice();
    const count = countOf(values);
    if (this.numbers.length < count) this.numbers = new Int32Array(count);
    const { numbers } = this;
    if (values.kind === 'strings') {
      const { table } = values;
      numbers.set(values.ids);
      this.hash(table.size, (id, out) => hashBytes(table.bytes, table.offset(id), table.length(id), out));
    } else if (values.kind === 'packed') {
      const { bytes, starts } = values;
      for (let i = 0; i < count; i++) numbers[i] = i;
      this.hash(count, (id, out) => hashBytes(bytes, starts[id], starts[id + 1] - starts[id], out));
    } else throw new Error('keys are strings');
  }

  private hash(size: number, hashOf: (id: number, out: HashWords) => void): void {
    const strings = { a: new Int32Array(size), b: new Int32Array(size) };
    const ints = { a: new Int32Array(size), b: new Int32Array(size) };
    const key = { a: 0, b: 0 };
    const field = { a: 0, b: 0 };
    for (let id = 0; id < size; id++) {
      hashOf(id, key);
      hashField(this.scope!, 'string', key, field);
      strings.a[id] = field.a;
      strings.b[id] = field.b;
      hashField(this.scope!, 'int', key, field);
      ints.a[id] = field.a;
      ints.b[id] = field.b;
    }
    this.strings = strings;
    this.ints = ints;
  }

  /** Numbers of the keys of a column of values, by value: those of an array have one key. */
  ofValues(leaf: Levels, { entries, definition, values }: FilteredColumn, memory: WorkMemory): Int32Array {
    const { numbers, definition: keyLevels, entryCount } = this;
    const { maxDefinition: keyLevel, maxRepetition: keyRepetition } = this.leaf;
    const { count, repetition } = entries;
    const isEach = repetition === undefined || count === entryCount;
    if (isEach && keyLevels === undefined && typeof definition === 'number') return numbers;
    const out = memory.words(countOf(values));
    if (isEach && keyLevels === undefined && typeof definition !== 'number') {
      pickKeys(numbers, definition, count, leaf.maxDefinition, out);
      return out;
    }
    let attribute = -1;
    let key = -1;
    let value = 0;
    for (let i = 0; i < count; i++) {
      if (isEach || repetition[i] <= keyRepetition) {
        attribute++;
        if (keyLevels === undefined || keyLevels[attribute] === keyLevel) key++;
      }
      if (typeof definition === 'number' || definition[i] === leaf.maxDefinition) out[value++] = numbers[key];
    }
    return out;
  }
}

/** Keys of the attributes with a value, where each entry is an attribute with a key. */
function pickKeys(
  numbers: Int32Array,
  definition: Uint8Array,
  count: number,
  level: number,
  out: Int32Array,
): void {
  let value = 0;
  for (let i = 0; i < count; i++) if (definition[i] === level) out[value++] = numbers[i];
}
