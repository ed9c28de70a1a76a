// Leaves of a schema tree in file order, each with its path and its maximum definition and repetition levels.
import type { Leaf, SchemaNode } from './types.ts';

/** All leaves below `root` (whose own name is not part of the paths). */
export function schemaLeaves(root: SchemaNode): Leaf[] {
  const leaves: Leaf[] = [];
  for (const child of root.children ?? []) collect(child, [], 0, 0, leaves);
  return leaves;
}

function collect(node: SchemaNode, parent: readonly string[], def: number, rep: number, out: Leaf[]): void {
  const path = [...parent, node.name];
  const maxDefinition = node.repetition === 'REQUIRED' ? def : def + 1;
  const maxRepetition = node.repetition === 'REPEATED' ? rep + 1 : rep;
  if (node.type !== undefined) {
    out.push({ path, type: node.type, logical: node.logical, maxDefinition, maxRepetition });
    return;
  }
  for (const child of node.children ?? []) collect(child, path, maxDefinition, maxRepetition, out);
}
