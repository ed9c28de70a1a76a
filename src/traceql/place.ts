// Where in the text the parts of a query stand, for what checks say of them. Kept beside the tree, which is
// plain data: trees that were not parsed have no places.

interface Place {
  readonly line: number;
  readonly column: number;
}

const PLACES = new WeakMap<object, Place>();

/** The node, which stands at the token. */
export function placed<T extends object>({ line, column }: Place, node: T): T {
  PLACES.set(node, { line, column });
  return node;
}

/** ` (line 1, col 3)`, or nothing. */
export function placeText(node: object): string {
  const place = PLACES.get(node);
  return place === undefined ? '' : ` (line ${place.line}, col ${place.column})`;
}
