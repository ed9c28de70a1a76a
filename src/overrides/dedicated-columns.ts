// What can be wrong with a list of attributes that have a column of their own.

interface Column {
  readonly scope: string;
  readonly name: string;
  readonly options: readonly string[];
}

const OPTIONS = new Set(['array', 'blob']);

export function dedicatedColumnsProblems(columns: readonly Column[]): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { scope, name, options } of columns) {
    const attribute = `${scope}.${name}`;
    if (name === '') problems.push('a column has no name');
    if (seen.has(attribute)) problems.push(`${attribute} is there twice`);
    seen.add(attribute);
    const unknown = options.find((option) => !OPTIONS.has(option));
    if (unknown !== undefined) problems.push(`${attribute} has the unknown option ${unknown}`);
  }
  return problems;
}
