// Values of fields for some traces only: the pages of those rows are read and their entries walked one by
// one. For what is shown of the traces that were found.
import type { ColumnRows, GroupColumns } from './group-columns.ts';
import { ownStrings, pickNumbers, pickStrings } from '../../parquet/column-reader.ts';
import {
  type AttributeScope,
  type Field,
  type FieldRequest,
  type Owner,
  ValueType,
  type Vector,
} from '../../traceql/source.ts';
import { INTRINSICS, OWNER_DEPTH, SCOPE_OWNER, SCOPE_PREFIX, type StoredColumn } from './block-columns.ts';
import { TYPED_COLUMNS } from './generic-vector.ts';
import { loadChildTree, loadSpanTree } from './span-tree.ts';
import { dictionaryLacks, foundStrings } from './found-strings.ts';
import { elements } from './stored-vector.ts';
import { type VectorPart, vectorOf } from './vector-parts.ts';

const utf8 = new TextEncoder();

/** The columns that may hold a field, dedicated ones first. */
interface FieldColumns {
  readonly owner: Owner;
  readonly stored: readonly StoredColumn[];
  /** Scope of generic attributes to look in. */
  readonly scope: AttributeScope | undefined;
  readonly name: string;
}

export function fieldColumns(group: GroupColumns, field: Field): FieldColumns {
  if (field.kind === 'intrinsic') {
    const stored = INTRINSICS[field.name];
    return { owner: stored.owner, stored: [stored], scope: undefined, name: '' };
  }
  const owner = SCOPE_OWNER[field.scope];
  const stored = group.file.columns
    .attributeColumns(field.scope)
    .filter(({ name }) => name === field.name)
    .map(({ column, type }) => ({ column, owner, type: type === 'int' ? ValueType.int : ValueType.string }));
  return { owner, stored, scope: field.scope, name: field.name };
}

/** @param rows ascending. */
export async function rowVectors(
  group: GroupColumns,
  requests: readonly FieldRequest[],
  rows: Int32Array,
  signal?: AbortSignal,
): Promise<Vector[]> {
  const wanted = requests.map(({ field }) => fieldColumns(group, field));
  const names = new Set<string>();
  for (let i = 0; i < wanted.length; i++) {
    const { stored, scope, name } = wanted[i];
    for (const { column } of stored) if (group.hasValues(column)) names.add(column);
    if (scope === undefined) continue;
    for (const column of await genericColumns(group, scope, name, requests[i], signal)) names.add(column);
  }
  return group.lend(async (scratch) => {
    const columns = await group.rows([...names], rows, scratch, signal);
    const vectors: Vector[] = [];
    for (const { owner, stored, scope, name } of wanted) {
      const first = await firstOwners(group, owner, rows, signal);
      const parts: VectorPart[] = [];
      for (const { column, type } of stored) {
        const at = columns.get(column);
        if (at !== undefined) parts.push(storedRows(at, first, OWNER_DEPTH[owner], type));
      }
      if (scope !== undefined) parts.push(...genericRows(columns, scope, name, first));
      vectors.push(vectorOf(owner, parts));
    }
    return vectors;
  });
}

/** None where no attribute of the scope has the name. */
async function genericColumns(
  group: GroupColumns,
  scope: AttributeScope,
  name: string,
  { types }: FieldRequest,
  signal?: AbortSignal,
): Promise<string[]> {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const key = `${prefix}Key`;
  if (!group.hasValues(key)) return [];
  const wanted = [utf8.encode(name)];
  const strings = await foundStrings(group, key, wanted, signal);
  if (dictionaryLacks(group, key, strings, wanted)) return [];
  const typed = TYPED_COLUMNS.filter(([, type]) => types === undefined || types.includes(type));
  return [key, ...typed.map(([suffix]) => prefix + suffix).filter((column) => group.hasValues(column))];
}

/** The first owner of each row. */
async function firstOwners(
  group: GroupColumns,
  owner: Owner,
  rows: Int32Array,
  signal?: AbortSignal,
): Promise<Int32Array> {
  if (owner === 'trace') return rows;
  if (owner === 'event' || owner === 'link') {
    const { row } = await loadChildTree(group, owner, signal);
    return rows.map((i) => row[i]);
  }
  const tree = await loadSpanTree(group, signal);
  const first = owner === 'resource' ? tree.rowResource : owner === 'scope' ? tree.rowScope : tree.rowSpan;
  return rows.map((i) => first[i]);
}

/** Owners of some values, and where the values are. */
interface Found {
  readonly owners: number[];
  readonly positions: number[];
  /** Values of equal number belong to one attribute. */
  readonly attributes: number[];
}

function nothingFound(): Found {
  return { owners: [], positions: [], attributes: [] };
}

function partOf(at: ColumnRows, { owners, positions, attributes }: Found, type: ValueType): VectorPart {
  const count = owners.length;
  const ofOwners = Int32Array.from(owners);
  const isElement = elements(Int32Array.from(attributes));
  const picked = Int32Array.from(positions);
  if (at.pages.leaf.type === 'BYTE_ARRAY') {
    const dictionary = count === 0 ? undefined : at.dictionary();
    const { ids, table } = ownStrings(pickStrings(at.pages, dictionary, picked));
    return { count, owners: ofOwners, type, ids, table, numbers: undefined, isElement };
  }
  const numbers = pickNumbers(at.pages, at.dictionary(), picked);
  return { count, owners: ofOwners, type, ids: undefined, table: undefined, numbers, isElement };
}

function storedRows(at: ColumnRows, first: Int32Array, depth: number, type: ValueType): VectorPart {
  const { rowStarts, rep, def, positions } = at.slice;
  const { maxDefinition } = at.pages.leaf;
  const found = nothingFound();
  let value = 0;
  for (let k = 0; k < first.length; k++) {
    let owner = first[k] - 1;
    for (let e = rowStarts[k]; e < rowStarts[k + 1]; e++) {
      if (rep[e] <= depth && def[e] >= depth) owner++;
      if (def[e] !== maxDefinition) continue;
      found.owners.push(owner);
      found.attributes.push(owner);
      found.positions.push(positions[value++]);
    }
  }
  return partOf(at, found, type);
}

/** Walks the entries of one value column beside those of Key. */
class TypedWalk {
  readonly at: ColumnRows;
  readonly type: ValueType;
  readonly found = nothingFound();
  private entry = 0;
  private end = 0;
  private value = 0;
  private readonly keyDepth: number;

  constructor(at: ColumnRows, type: ValueType, keyDepth: number) {
    this.at = at;
    this.type = type;
    this.keyDepth = keyDepth;
  }

  row(k: number): void {
    this.entry = this.at.slice.rowStarts[k];
    this.end = this.at.slice.rowStarts[k + 1];
  }

  /** Goes over the entries of one attribute, keeping its values for `owner` when it is not negative. */
  attribute(owner: number): void {
    const { rep, def, positions } = this.at.slice;
    const { maxDefinition } = this.at.pages.leaf;
    const start = this.entry;
    while (this.entry < this.end && (this.entry === start || rep[this.entry] > this.keyDepth)) {
      if (def[this.entry] === maxDefinition) {
        if (owner >= 0) {
          this.found.owners.push(owner);
          this.found.attributes.push(start);
          this.found.positions.push(positions[this.value]);
        }
        this.value++;
      }
      this.entry++;
    }
  }
}

function genericRows(
  columns: ReadonlyMap<string, ColumnRows>,
  scope: AttributeScope,
  name: string,
  first: Int32Array,
): VectorPart[] {
  const prefix = `${SCOPE_PREFIX[scope]}Attrs.`;
  const keys = columns.get(`${prefix}Key`);
  if (keys === undefined) return [];
  const { rowStarts, rep, def, positions } = keys.slice;
  const { maxDefinition, maxRepetition } = keys.pages.leaf;
  const { ids, table } = pickStrings(keys.pages, keys.dictionary(), positions);
  const wanted = new Set(table.find(utf8.encode(name)));
  const depth = OWNER_DEPTH[SCOPE_OWNER[scope]];
  const walks: TypedWalk[] = [];
  for (const [suffix, type] of TYPED_COLUMNS) {
    const at = columns.get(prefix + suffix);
    if (at !== undefined) walks.push(new TypedWalk(at, type, maxRepetition));
  }
  let key = 0;
  for (let k = 0; k < first.length; k++) {
    let owner = first[k] - 1;
    for (const walk of walks) walk.row(k);
    for (let e = rowStarts[k]; e < rowStarts[k + 1]; e++) {
      if (rep[e] <= depth && def[e] >= depth) owner++;
      const hit = def[e] === maxDefinition && wanted.has(ids[key++]);
      for (const walk of walks) walk.attribute(hit ? owner : -1);
    }
  }
  return walks.map(({ at, found, type }) => partOf(at, found, type));
}
