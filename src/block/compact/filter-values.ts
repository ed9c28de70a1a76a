// The attribute values of blocks that are joined, for the value filter of the new block: keys and values are
// brought together again as their columns come by. Values of rows that are left out may be among them.
import { SCOPE_PREFIX } from '../vparquet/block-columns.ts';
import type { Block } from '../vparquet/open.ts';
import type { ExactValues } from '../../parquet/exact-values.ts';
import type { AttributeScope } from '../../traceql/source.ts';
import type { ValueFilterBuilder } from '../value-filter/builder.ts';
import {
  hashBytes,
  hashField,
  hashInt,
  type HashedType,
  type HashWords,
} from '../value-filter/value-hash.ts';
import type { PartColumn } from './part-columns.ts';
import type { PlannedColumn } from './structure.ts';

type Target =
  | { readonly kind: 'keys'; readonly scope: AttributeScope }
  | { readonly kind: 'values'; readonly scope: AttributeScope; readonly type: HashedType }
  | { readonly kind: 'own'; readonly scope: AttributeScope; readonly type: HashedType; readonly key: string };

/** Keys of one scope, until the values have come by. */
interface ScopeKeys {
  readonly scope: AttributeScope;
  readonly column: PlannedColumn;
  readonly parts: readonly PartColumn[];
}

/** Pairs of a key and a value are compared with as many others: most of them were there a moment ago. */
const RECENT = 2 ** 13;
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

export class FilterValues {
  private readonly builder: ValueFilterBuilder;
  private readonly targets: ReadonlyMap<string, Target>;
  private keys: ScopeKeys | undefined;

  constructor(builder: ValueFilterBuilder, inputs: readonly Block[]) {
    this.builder = builder;
    const first = inputs.flatMap(({ rowGroups }) => rowGroups.slice(0, 1));
    this.targets = targetsOf(first.map(({ group }) => group.file.columns));
  }

  /** A column of all parts of a row group; keys come before their values. */
  column(column: PlannedColumn, parts: readonly PartColumn[]): void {
    const target = this.targets.get(column.name);
    if (target === undefined) return;
    if (target.kind === 'keys') this.keys = { scope: target.scope, column, parts };
    else if (target.kind === 'own') this.own(target, parts);
    else if (this.keys?.scope === target.scope) this.generic(this.keys, column, parts, target.type);
    else throw new Error(`the values of ${column.name} come before their keys`);
  }

  private own({ scope, type, key }: Extract<Target, { kind: 'own' }>, parts: readonly PartColumn[]): void {
    const name = utf8.encode(key);
    const field = { a: 0, b: 0 };
    hashBytes(name, 0, name.length, field);
    hashField(scope, type, field, field);
    for (const { values, valueStarts } of parts) {
      if (values === undefined) continue;
      const hashes = new Hashes(values);
      const end = valueStarts[valueStarts.length - 1];
      for (let i = valueStarts[0]; i < end; i++) {
        const at = hashes.at(i);
        this.builder.add(field.a, field.b, hashes.a[at], hashes.b[at]);
      }
    }
  }

  private generic(
    { scope, column, parts: keys }: ScopeKeys,
    { leaf }: PlannedColumn,
    parts: readonly PartColumn[],
    type: HashedType,
  ): void {
    for (let i = 0; i < parts.length; i++) {
      const fields = keys[i].values;
      const { values } = parts[i];
      if (values === undefined || fields === undefined) continue;
      const levels = { keys: column.leaf, values: leaf };
      const hashes = { fields: new Hashes(fields, { scope, type }), values: new Hashes(values) };
      addGeneric(this.builder, keys[i], parts[i], levels, hashes);
    }
  }
}

type Levels = Pick<PlannedColumn['leaf'], 'maxDefinition' | 'maxRepetition'>;

/** Walks over the entries of a column of values: those of an array belong to one key. */
function addGeneric(
  builder: ValueFilterBuilder,
  keys: PartColumn,
  values: PartColumn,
  levels: { readonly keys: Levels; readonly values: Levels },
  hashes: { readonly fields: Hashes; readonly values: Hashes },
): void {
  const { count, repetition } = values.entries;
  const { definition } = values;
  const keyDefinition = keys.definition;
  const areNumbered = hashes.fields.isNumbered && hashes.values.isNumbered;
  const recent = new Int32Array(areNumbered ? 2 * RECENT : 0).fill(-1);
  let attribute = -1;
  let key = keys.valueStarts[0] - 1;
  let value = values.valueStarts[0];
  for (let i = 0; i < count; i++) {
    if (repetition === undefined || repetition[i] <= levels.keys.maxRepetition || i === 0) {
      attribute++;
      const level = typeof keyDefinition === 'number' ? keyDefinition : keyDefinition[attribute];
      if (level === levels.keys.maxDefinition) key++;
    }
    const level = typeof definition === 'number' ? definition : definition[i];
    if (level !== levels.values.maxDefinition) continue;
    const field = hashes.fields.at(key);
    const at = hashes.values.at(value++);
    if (areNumbered) {
      const slot = 2 * ((Math.imul(field, 0x9e3779b1) ^ Math.imul(at, 0x85ebca6b)) >>> RECENT_SHIFT);
      if (recent[slot] === field && recent[slot + 1] === at) continue;
      recent[slot] = field;
      recent[slot + 1] = at;
    }
    builder.add(hashes.fields.a[field], hashes.fields.b[field], hashes.values.a[at], hashes.values.b[at]);
  }
}

/** Hashes of values, each string of a table hashed once. */
class Hashes {
  a: Int32Array;
  b: Int32Array;
  private readonly values: ExactValues;
  private readonly field: { readonly scope: AttributeScope; readonly type: HashedType } | undefined;
  private readonly known: Uint8Array | undefined;
  private readonly hash: HashWords = { a: 0, b: 0 };

  /** @param field the strings are keys of such fields. */
  constructor(values: ExactValues, field?: { readonly scope: AttributeScope; readonly type: HashedType }) {
    this.values = values;
    this.field = field;
    const size = values.kind === 'strings' ? values.table.size : 1;
    this.known = values.kind === 'strings' ? new Uint8Array(size) : undefined;
    this.a = new Int32Array(size);
    this.b = new Int32Array(size);
  }

  /** Equal values have one place. */
  get isNumbered(): boolean {
    return this.known !== undefined;
  }

  /** Where the hash of value `i` is, until the next call. */
  at(i: number): number {
    const { values, hash } = this;
    switch (values.kind) {
      case 'strings': {
        const id = values.ids[i];
        if (this.known![id] === 0) {
          const { table } = values;
          hashBytes(table.bufferOf(id), table.offset(id), table.length(id), hash);
          this.known![id] = 1;
          this.put(id);
        }
        return id;
      }
      case 'packed':
        hashBytes(values.bytes, values.starts[i], values.starts[i + 1] - values.starts[i], hash);
        break;
      case 'int64':
        hashInt(values.words[2 * i], values.words[2 * i + 1], hash);
        break;
      case 'int32':
        hashInt(values.values[i], values.values[i] >> 31, hash);
        break;
      default:
        throw new Error(`a filter has no values of kind ${values.kind}`);
    }
    this.put(0);
    return 0;
  }

  private put(at: number): void {
    const { hash, field } = this;
    if (field !== undefined) hashField(field.scope, field.type, hash, hash);
    this.a[at] = hash.a;
    this.b[at] = hash.b;
  }
}
