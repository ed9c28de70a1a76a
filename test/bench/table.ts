// Markdown tables whose columns are aligned in the text too.

/** The first row is the header; the first column is of names, the others of figures. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((cells) => (cells[at] ?? '').length)));
  const join = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const line = (cells: readonly string[]): string =>
    join(cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))));
  const rule = join(widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  const [header, ...body] = rows.map(line);
  return [header, rule, ...body].join('\n');
}
