// The dimensions of cost attribution: attributes by which the bytes of a tenant are counted, and the labels
// that they become.

/** Attribute, maybe with `resource.` or `span.` before it -> label; an empty one = like the attribute. */
export type Dimensions = Readonly<Record<string, string>>;

export interface Dimension {
  readonly name: string;
  readonly scope: 'any' | 'resource' | 'span';
  readonly label: string;
}

export function dimensionsOf(dimensions: Dimensions): readonly Dimension[] {
  return Object.entries(dimensions).map(([key, label]): Dimension => {
    const scope = key.startsWith('resource.') ? 'resource' : key.startsWith('span.') ? 'span' : 'any';
    const name = scope === 'any' ? key : key.slice(scope.length + 1);
    return { name, scope, label: sanitized(label === '' ? name : label) };
  });
}

/** What is wrong with them, as Tempo says it. */
export function dimensionsProblem(dimensions: Dimensions): string | undefined {
  const keys = new Map<string, string>();
  const named = dimensionsOf(dimensions);
  for (const [i, key] of Object.keys(dimensions).entries()) {
    const { label } = named[i]!;
    const other = keys.get(label);
    if (other !== undefined)
      return `has duplicate label name: '${label}', both '${other}' and '${key}' map to it`;
    keys.set(label, key);
    if (label.startsWith('__')) return `config has invalid label name: '${label}'`;
  }
  return undefined;
}

/** As Prometheus writes names of labels. */
function sanitized(text: string): string {
  return text === '' ? '_' : text.replaceAll(/[^A-Za-z0-9_]/gu, '_').replace(/^[0-9]/, '_');
}
