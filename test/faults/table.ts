// The table of docs/reliability.md: what `npm run faults` prints can be pasted there.
import type { Counts } from './load.ts';

const seconds = (ms: number, digits: number): string => (ms / 1000).toFixed(digits);

type Column = readonly [head: string, cell: (counts: Counts) => string | number];

const COLUMNS: readonly Column[] = [
  ['load (s)', ({ loadMs }) => seconds(loadMs, 0)],
  ['spans sent', ({ spansSent }) => spansSent],
  ['acknowledged', ({ spansAcknowledged }) => spansAcknowledged],
  ['found', ({ spansFound }) => spansFound],
  ['duplicated', ({ duplicated }) => duplicated],
  ['lost', ({ lost }) => lost],
  ['traces', ({ tracesAcknowledged }) => tracesAcknowledged],
  ['reads', ({ reads }) => reads],
  ['errors: pushes, reads', ({ pushErrors, readErrors }) => `${pushErrors}, ${readErrors}`],
  ['partial', ({ partial }) => partial],
  ['wrong', ({ wrong }) => wrong],
  [
    'gaps: pushes, reads (s)',
    ({ longestPushGapMs, longestReadGapMs }) =>
      `${seconds(longestPushGapMs, 1)}, ${seconds(longestReadGapMs, 1)}`,
  ],
];

const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;

export const TABLE_HEAD = [
  line(['fault', ...COLUMNS.map(([head]) => head)]),
  line(['---', ...COLUMNS.map(() => '---:')]),
].join('\n');

export function tableRow(name: string, counts: Counts): string {
  return line([name, ...COLUMNS.map(([, cell]) => cell(counts))]);
}
