// What a search reads and how long it takes, told in place of what it finds: /api/search/explain.
import { CONTENT_TYPES } from '../../api/accept.ts';
import type { JobReport, SourceReport } from '../../contracts/query.ts';
import type { ReadStep } from '../../traceql/engine/explained-source.ts';
import { parse } from '../../traceql/parser.ts';
import { printStage } from '../../traceql/print.ts';
import type { FoundSearch, Reads } from './reads.ts';
import { type Route, searchNotes } from './request.ts';

const TEXT = 'text/plain; charset=utf-8';

/** The same thing read of all sources, or all of one source. */
interface Sum {
  readonly what: string;
  readonly only: string;
  sources: number;
  values: number;
  bytes: number;
  ms: number;
}

interface Explained {
  readonly stages: readonly string[];
  readonly ms: number;
  readonly found: FoundSearch;
  readonly jobs: readonly JobReport[];
  /** What was read, the most bytes first. */
  readonly reads: readonly Sum[];
}

export function addExplainRoute(route: Route, reads: Reads): void {
  route('/api/search/explain', 'search', async (call, request, reply) => {
    const beginMs = performance.now();
    const found = await reads.search(call, 'json', { isExplained: true });
    const ms = performance.now() - beginMs;
    const jobs = found.answer.reports ?? [];
    const stages = parse(found.query).stages.map(printStage);
    const explained = { stages, ms, found, jobs, reads: sumsOf(jobs) };
    reply.headers(searchNotes(found));
    const isJson = request.headers.accept?.includes(CONTENT_TYPES.json) === true;
    if (isJson) return reply.type(CONTENT_TYPES.json).send(JSON.stringify(asJson(explained)));
    return reply.type(TEXT).send(asText(explained));
  });
}

function sumsOf(jobs: readonly JobReport[]): readonly Sum[] {
  const sums = new Map<string, Sum>();
  for (const { what, only, values, bytes, ms } of jobs
    .flatMap(({ sources }) => sources)
    .flatMap(({ steps }) => steps)) {
    const key = `${what} ${only}`;
    let sum = sums.get(key);
    if (sum === undefined) sums.set(key, (sum = { what, only, sources: 0, values: 0, bytes: 0, ms: 0 }));
    sum.sources++;
    sum.values += values;
    sum.bytes += bytes;
    sum.ms += ms;
  }
  return [...sums.values()].sort((a, b) => b.bytes - a.bytes);
}

/** Time in a source that went into no reading. */
function evaluationMs({ ms, steps }: SourceReport): number {
  return steps.reduce((left, step) => left - step.ms, ms);
}

function asJson({ stages, ms, found, jobs, reads }: Explained): unknown {
  const { traces, hasMore, partial, stats } = found.answer;
  return {
    stages,
    answer: { traces: traces.length, hasMore, partial, ms: rounded(ms) },
    stats,
    reads: reads.map((read) => ({ ...read, ms: rounded(read.ms) })),
    jobs: jobs.map((job) => ({
      ms: rounded(job.ms),
      sources: job.sources.map((source) => ({
        ...source,
        ms: rounded(source.ms),
        evaluationMs: rounded(evaluationMs(source)),
        steps: source.steps.map((step) => ({ ...step, ms: rounded(step.ms) })),
      })),
    })),
  };
}

function asText({ stages, ms, found, jobs, reads }: Explained): string {
  const { traces, hasMore, partial, stats } = found.answer;
  const lines = [
    stages.join('\n| '),
    '',
    `${traces.length} traces${hasMore ? ', more match or may' : ''} in ${ms.toFixed(1)} ms`,
    `${stats.completedJobs} of ${stats.totalJobs} jobs done, ${bytesText(stats.inspectedBytes)} read of ` +
      `${stats.totalBlocks} blocks (${bytesText(stats.totalBlockBytes)})`,
    ...partial.map((reason) => `partial: ${reason}`),
    '',
    ...table([
      ['read of all sources', 'only', 'times', 'values', 'bytes', 'ms'],
      ...reads.map(({ what, only, sources, values, bytes, ms: readMs }) => [
        what,
        only,
        String(sources),
        String(values),
        bytesText(bytes),
        readMs.toFixed(2),
      ]),
    ]),
  ];
  jobs.forEach((job, i) => {
    lines.push('', `job ${i + 1}: ${job.ms.toFixed(2)} ms`);
    for (const source of job.sources) lines.push(...sourceText(source));
  });
  return `${lines.join('\n')}\n`;
}

function sourceText(source: SourceReport): readonly string[] {
  const { name, traces, spans, matchedTraces, bytes, ms, steps } = source;
  const evaluation = evaluationMs(source).toFixed(2);
  const rows = steps.map((step) => [...stepCells(step), step.ms.toFixed(2)]);
  return [
    `  ${name}: ${matchedTraces} of ${traces} traces match, ${spans} spans, ${bytesText(bytes)}, ` +
      `${ms.toFixed(2)} ms, of these ${evaluation} ms evaluation`,
    ...table([['read', 'only', 'traces', 'values', 'bytes', 'ms'], ...rows]).map((line) => `    ${line}`),
  ];
}

function stepCells({ what, only, traces, values, bytes }: ReadStep): readonly string[] {
  return [what, only, traces === undefined ? 'all' : String(traces), String(values), bytesText(bytes)];
}

/** The first two columns are texts, the others numbers. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  '),
  );
}

function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
