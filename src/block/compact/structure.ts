// How the columns of a block hang together: those below the same innermost list have their entries in common,
// so that levels are read and written once for all of them.
import type { SchemaNode } from '../../parquet/types.ts';
import { columnName } from '../vparquet/block-columns.ts';
import type { BlockSchema, ColumnSpec } from '../vparquet/schema.ts';

/** What is inside of one list, and not inside of a list in it. The outermost one is that of the rows. */
export interface Structure {
  readonly parent: Structure | undefined;
  /** Name of a column with a value wherever the list has an element. */
  readonly anchor: string;
}

export interface PlannedColumn extends ColumnSpec {
  /** Free of list wrappers. */
  readonly name: string;
  readonly structure: Structure;
}

interface OpenStructure {
  readonly parent: OpenStructure | undefined;
  anchor: string;
  readonly definition: number;
}

/** The columns of a schema, in file order. */
export function planColumns(schema: BlockSchema): readonly PlannedColumn[] {
  const structures: OpenStructure[] = [];
  const root: OpenStructure = { parent: undefined, anchor: '', definition: 0 };
  for (const child of schema.root.children ?? []) collect(child, root, 0, structures);
  return schema.columns.map((spec, i) => {
    const structure = structures[i];
    const name = columnName(spec.leaf);
    if (structure.anchor === '' && spec.leaf.maxDefinition === structure.definition) structure.anchor = name;
    return { ...spec, name, structure };
  });
}

/** Appends the structure of each leaf below the node. */
function collect(node: SchemaNode, inside: OpenStructure, definition: number, out: OpenStructure[]): void {
  const own = node.repetition === 'REQUIRED' ? definition : definition + 1;
  const structure = node.repetition === 'REPEATED' ? { parent: inside, anchor: '', definition: own } : inside;
  if (node.type !== undefined) out.push(structure);
  for (const child of node.children ?? []) collect(child, structure, own, out);
}
