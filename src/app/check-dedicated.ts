// What is wrong, and what will surprise, in lists of attributes that have a column of their own.
import { DEDICATED_MAX } from '../block/vparquet/schema.ts';
import { dedicatedColumnsProblems } from '../overrides/dedicated-columns.ts';
import { DEDICATED_COLUMNS } from '../store/config.ts';
import type { TempoConfig } from './config.ts';

type Report = (path: string, text: string) => void;
type Columns = TempoConfig['storage']['trace']['block']['parquetDedicatedColumns'];

/** Those that Tempo 2.10 reads in vParquet5; the format has more since 3.0. */
const STRINGS_OF_2_10 = 10;

const USUAL = new Set(DEDICATED_COLUMNS.map(nameOf));

export function checkDedicatedColumns(config: TempoConfig, fail: Report, warn: Report): void {
  const { block } = config.storage.trace;
  const isNew = block.version === 'vParquet5';
  for (const [path, columns] of columnLists(config)) {
    for (const wrong of dedicatedColumnsProblems(columns)) fail(path, wrong);
    checkCounts(columns, isNew, (text) => warn(path, text));
    if (!isNew) checkKinds(columns, (text) => warn(path, text));
  }
}

function columnLists({ storage, overrides }: TempoConfig): readonly (readonly [string, Columns])[] {
  const limits = Object.entries({ defaults: overrides.defaults, ...overrides.inlineTenants });
  return [
    ['storage.trace.block.parquet_dedicated_columns', storage.trace.block.parquetDedicatedColumns],
    ...limits.map(
      ([
        name,
        {
          storage: { parquetDedicatedColumns = [] },
        },
      ]) => {
        return [`overrides.${name}.storage.parquet_dedicated_columns`, parquetDedicatedColumns] as const;
      },
    ),
  ];
}

function checkCounts(columns: Columns, isNew: boolean, warn: (text: string) => void): void {
  // vParquet4 leaves all ints out, which the default configuration has
  const max = { ...DEDICATED_MAX[isNew ? 'vParquet5' : 'vParquet4'], int: DEDICATED_MAX.vParquet5.int };
  const counts = new Map<string, number>();
  for (const { scope, type } of columns) {
    const kind = `${scope} ${type}`;
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    if (count === max[type] + 1) {
      warn(`has more than ${count - 1} ${kind} columns, the others are stored as generic attributes`);
    }
    if (isNew && type === 'string' && count === STRINGS_OF_2_10 + 1) {
      const seen =
        'Tempo 2.10 does not see the attributes behind the tenth, its compactor crashes on such blocks';
      warn(
        `has more than ${STRINGS_OF_2_10} ${kind} columns: ${seen}, and it refuses the list; 3.0 takes them`,
      );
    }
  }
}

/** The usual list has ints, which nobody asked for. */
function checkKinds(columns: Columns, warn: (text: string) => void): void {
  const ofNew = columns.filter((column) => needsNew(column) && !USUAL.has(nameOf(column)));
  if (ofNew.length === 0) return;
  const names = ofNew.map(({ scope, name }) => `${scope}.${name}`).join(', ');
  warn(
    `has int or event columns, or such with options, which need block.version: vParquet5 (${names}): ` +
      'in vParquet4 they are stored as generic attributes',
  );
}

function needsNew({ scope, type, options }: Columns[number]): boolean {
  return type === 'int' || scope === 'event' || options.length > 0;
}

function nameOf({
  scope,
  name,
  type,
}: {
  readonly scope: string;
  readonly name: string;
  readonly type: string;
}): string {
  return `${scope}.${name} ${type}`;
}
