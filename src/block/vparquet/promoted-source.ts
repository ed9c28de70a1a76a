// The columns of promoted attributes in one row group, from the values that were taken for them.
import { type ColumnValues, Entries } from '../../parquet/values.ts';
import type { ColumnSource, HeadContext, Promotion } from './attribute-columns.ts';
import { type PromotedColumns, PromotedValues, SERVICE_NAME } from './promoted.ts';
import type { Owners } from './trace-rows.ts';

/** @param services what decides the service of each owner. */
export function promotionOf(
  { keys, codes }: PromotedColumns,
  owners: Owners,
  services: Int32Array | undefined,
): Promotion {
  const columns = keys.map(
    (key) =>
      new PromotedValues(
        key,
        owners.entries.count,
        key.key === SERVICE_NAME && !key.takesArrays ? services : undefined,
      ),
  );
  return { codes, columns };
}

/** @param column undefined = no attribute goes there. */
export function promotedSource(
  context: HeadContext,
  owners: Owners,
  column: PromotedValues | undefined,
): ColumnSource {
  const { entries, definition } = owners;
  const values: ColumnValues =
    column?.isInt === true
      ? { kind: 'int64', words: column.values }
      : { kind: 'strings', ids: column?.values ?? new Int32Array(0), table: context.strings };
  if (column?.present === undefined) return { entries, definition, values };
  const { present, lengths } = column;
  if (lengths !== undefined) return { ...exploded(owners, present, lengths), values };
  const levels = new Uint8Array(entries.count);
  for (let i = 0; i < levels.length; i++) levels[i] = levelOf(definition, i) + present[i];
  return { entries, definition: levels, values };
}

function levelOf(definition: Owners['definition'], entry: number): number {
  return typeof definition === 'number' ? definition : definition[entry];
}

/** Entries of a column with arrays: one for each element. */
function exploded(
  { entries, definition, level }: Owners,
  present: Uint8Array,
  lengths: ReadonlyMap<number, number>,
): Pick<ColumnSource, 'entries' | 'definition'> {
  let count = entries.count;
  for (const length of lengths.values()) count += length - 1;
  const repetition = new Uint8Array(count);
  const levels = new Uint8Array(count);
  const pageStarts = new Int32Array(entries.pageStarts.length);
  let page = 0;
  let n = 0;
  for (let owner = 0; owner < entries.count; owner++) {
    while (owner === entries.pageStarts[page]) pageStarts[page++] = n;
    const elements = present[owner] === 0 ? 1 : (lengths.get(owner) ?? 1);
    for (let k = 0; k < elements; k++) {
      repetition[n] = k === 0 ? entries.repetition![owner] : level + 1;
      levels[n++] = levelOf(definition, owner) + present[owner];
    }
  }
  while (page < pageStarts.length) pageStarts[page++] = n;
  return { entries: new Entries(count, repetition, pageStarts), definition: levels };
}
