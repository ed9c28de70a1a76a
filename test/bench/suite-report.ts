// Lays out the queries of suites as a Markdown table, a line a query, and sums them up.
import type { QueryResult } from './queries.ts';
import { markdownTable } from './table.ts';

/** CPU is compared with 2 ms added to both, so that noise on tiny figures says nothing. */
const SLACK_MS = 2;
/** Ratios count where the other server needs as much. */
const COUNTED_MS = 20;
/** A latency may be so much above a small one. */
const LATENCY_SLACK_MS = 5;

export type SuiteColumn = { readonly server: string; readonly queries: readonly QueryResult[] };

/** One or two columns of figures a server; with two servers their ratio, and lines that sum up. */
export function suiteReport(columns: readonly SuiteColumn[]): string {
  const [ours, theirs] = columns;
  if (ours === undefined) return '';
  const header = [
    'query',
    ...columns.map(({ server }) => `${server}, CPU ms`),
    ...(theirs === undefined ? [] : ['ratio']),
    ...columns.map(({ server }) => `${server}, p50 ms`),
    'found',
  ];
  const rows = ours.queries.map(({ name }, at) => {
    const results = columns.map(({ queries }) => queries[at]!);
    return [
      name,
      ...results.map(({ cpuMs }) => cpuMs.toFixed(1)),
      ...(theirs === undefined ? [] : [ratioOf(results[0]!, results[1]!).toFixed(2)]),
      ...results.map(({ p50Ms }) => p50Ms.toFixed(1)),
      [...new Set(results.map(foundText))].join(' / '),
    ];
  });
  const table = markdownTable([header, ...rows]);
  return theirs === undefined ? table : `${table}\n\n${summary(ours, theirs)}`;
}

function ratioOf(ours: QueryResult, theirs: QueryResult): number {
  return (ours.cpuMs + SLACK_MS) / (theirs.cpuMs + SLACK_MS);
}

function foundText({ status, results, bad }: QueryResult): string {
  return `${status === 200 ? '' : `${status}: `}${results}${bad > 0 ? ` (${bad} bad)` : ''}`;
}

function summary(ours: SuiteColumn, theirs: SuiteColumn): string {
  const pairs = ours.queries.map((query, at) => ({ ours: query, theirs: theirs.queries[at]! }));
  const counted = pairs
    .filter((pair) => pair.theirs.cpuMs >= COUNTED_MS)
    .map((pair) => ({ name: pair.ours.name, ratio: ratioOf(pair.ours, pair.theirs) }));
  const slow = pairs.filter((pair) => pair.ours.p50Ms > latencyBound(pair.theirs));
  const lines = [`${counted.length} queries take ${theirs.server} at least ${COUNTED_MS} ms of CPU.`];
  if (counted.length > 0) {
    const mean = Math.exp(counted.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / counted.length);
    const worst = counted.reduce((a, b) => (b.ratio > a.ratio ? b : a));
    lines.push(
      `The geometric mean of their ratios is ${mean.toFixed(3)},`,
      `the largest ${worst.ratio.toFixed(2)} (${worst.name}).`,
    );
  }
  const names = slow.length === 0 ? 'none' : slow.map((pair) => pair.ours.name).join(', ');
  lines.push(
    `p50 above that of ${theirs.server} where that is over ${COUNTED_MS} ms,`,
    `or ${LATENCY_SLACK_MS} ms above it elsewhere: ${names}.`,
  );
  return lines.join(' ');
}

function latencyBound({ p50Ms }: QueryResult): number {
  return p50Ms > COUNTED_MS ? p50Ms : p50Ms + LATENCY_SLACK_MS;
}
