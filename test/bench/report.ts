// Lays out what was measured as a Markdown table, with the machine and commit it was measured on.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import type { Corpus } from './corpus.ts';
import type { QueryResult } from './queries.ts';
import { markdownTable } from './table.ts';

export type Figures = {
  readonly server: string;
  readonly spansPerSec: number;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
  readonly ackCpuUs: number;
  readonly mainThreadCpuUs: number;
  readonly completeCpuUs: number;
  readonly pushRssMib: number;
  readonly peakRssMib: number;
  readonly bytesPerSpan: number;
  readonly blocks: number;
  readonly queries: readonly QueryResult[];
};

type Row = { readonly name: string; readonly cells: readonly string[]; readonly ratio: string };

/** CPU of queries is compared with 2 ms added to both, so that noise on tiny figures says nothing. */
const QUERY_SLACK_MS = 2;

const fixed = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits) : '-';

function ratioText(values: readonly number[], slack = 0): string {
  const [ours, theirs] = values;
  if (ours === undefined || theirs === undefined) return '';
  return fixed((ours + slack) / (theirs + slack), 2);
}

function row(name: string, digits: number, values: readonly number[], slack = 0): Row {
  return { name, cells: values.map((value) => fixed(value, digits)), ratio: ratioText(values, slack) };
}

function queryRows(all: readonly Figures[]): Row[] {
  return (all[0]?.queries ?? []).flatMap(({ name }, at) => {
    const results = all.map(({ queries }) => queries[at] as QueryResult);
    const found = results.map(({ status, results: n, bad }) => {
      return `${status === 200 ? '' : `${status}: `}${n}${bad > 0 ? ` (${bad} bad)` : ''}`;
    });
    return [
      row(
        `${name}, CPU ms`,
        1,
        results.map(({ cpuMs }) => cpuMs),
        QUERY_SLACK_MS,
      ),
      row(
        `${name}, p50 ms`,
        1,
        results.map(({ p50Ms }) => p50Ms),
      ),
      row(
        `${name}, p90 ms`,
        1,
        results.map(({ p90Ms }) => p90Ms),
      ),
      { name: `${name}, found`, cells: found, ratio: new Set(found).size > 1 ? 'differ' : '' },
    ];
  });
}

/** One column a server; with two, a last column divides the first by the second. */
export function figuresTable(all: readonly Figures[]): string {
  const of = (pick: (figures: Figures) => number): number[] => all.map(pick);
  const rows = [
    row(
      'spans a second',
      0,
      of((f) => f.spansPerSec),
    ),
    row(
      'acknowledge p50 ms',
      1,
      of((f) => f.ackP50Ms),
    ),
    row(
      'acknowledge p99 ms',
      1,
      of((f) => f.ackP99Ms),
    ),
    row(
      'CPU µs a span until acknowledged',
      2,
      of((f) => f.ackCpuUs),
    ),
    row(
      'main-thread CPU µs a span',
      2,
      of((f) => f.mainThreadCpuUs),
    ),
    row(
      'CPU µs a span until complete',
      2,
      of((f) => f.completeCpuUs),
    ),
    row(
      'RSS MiB, peak while pushing',
      0,
      of((f) => f.pushRssMib),
    ),
    row(
      'RSS MiB, peak until complete',
      0,
      of((f) => f.peakRssMib),
    ),
    row(
      'bytes a span on disk',
      1,
      of((f) => f.bytesPerSpan),
    ),
    row(
      'blocks',
      0,
      of((f) => f.blocks),
    ),
    ...queryRows(all),
  ];
  const header = ['figure', ...all.map(({ server }) => server), ...(all.length > 1 ? ['ratio'] : [])];
  const body = rows.map(({ name, cells, ratio }) => [name, ...cells, ...(all.length > 1 ? [ratio] : [])]);
  return markdownTable([header, ...body]);
}

function gitText(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8' }).trim();
}

/** Commit, date, machine and corpus, as one paragraph. */
export function provenance(corpus: Corpus): string {
  const changed =
    gitText('status', '--porcelain', '--untracked-files=no') === '' ? '' : ' with local changes';
  const cores = cpus();
  const memoryGib = (totalmem() / 2 ** 30).toFixed(0);
  const linux = release().split('.', 2).join('.');
  return [
    `Commit ${gitText('rev-parse', '--short', 'HEAD')}${changed}, ${new Date().toISOString().slice(0, 16)}Z.`,
    `${cores.length} x ${cores[0]?.model.trim() ?? arch()}, ${memoryGib} GiB, Linux ${linux},`,
    `Node ${process.version}. Corpus: ${corpus.spans} spans, ${corpus.requests.length} requests,`,
    `${(corpus.bytes / 1e6).toFixed(0)} MB.`,
  ].join(' ');
}

const INTRODUCTION = `# Benchmarks

Measured by \`npm run bench\`, newest last. Servers stand on the same machine and are measured one after the
other; CPU is that of the whole process (user and system). *Acknowledged*: from the first request to the last
answer. *Complete*: until the server is idle after \`/flush\`. The ratio of query CPU adds 2 ms to both sides.
`;

/** Adds a section to the page of benchmarks. */
export function appendReport(path: string, title: string, text: string): void {
  if (!existsSync(path)) writeFileSync(path, INTRODUCTION);
  appendFileSync(path, `\n## ${title}\n\n${text}\n`);
}
