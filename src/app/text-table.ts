// A table drawn with characters, as Tempo's status pages have it.

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]): string => {
    const padded = columns.map(({ align }, i) => {
      const [cell, width] = [cells[i] ?? '', widths[i] ?? 0];
      return ` ${align === 'right' ? cell.padStart(width) : cell.padEnd(width)} `;
    });
    return `|${padded.join('|')}|\n`;
  };
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+\n`;
  const head = line(columns.map(({ title }) => title));
  return [rule, head, rule, ...rows.map(line), rule].join('');
}
