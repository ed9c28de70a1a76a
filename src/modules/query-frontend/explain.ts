// What a query reads and how long it takes, told in place of its answer: /api/search/explain and
// /api/metrics/explain.
import { CONTENT_TYPES } from '../../api/accept.ts';
import type { JobReport, QueryStats, SourceReport } from '../../contracts/query.ts';
import type { ReadStep } from '../../traceql/engine/explained-source.ts';
import { parse } from '../../traceql/parser.ts';
import { printQuery, printStage } from '../../traceql/print.ts';
import { metricsPartial } from './metrics-response.ts';
import type { Op, ReadCall, Reads } from './reads.ts';
import { partialNote, type Route, searchNotes } from './request.ts';

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

/** An explained answer, whatever was asked for. */
interface Answer {
  /** In TraceQL. */
  readonly query: string;
  /** What was found, as JSON and as text. */
  readonly found: Readonly<Record<string, number | boolean>>;
  readonly foundText: string;
  readonly stats: QueryStats;
  readonly partial: readonly string[];
  readonly reports: readonly JobReport[];
  /** Headers. */
  readonly notes: Record<string, string>;
}

interface Explained extends Answer {
  readonly stages: readonly string[];
  readonly ms: number;
  /** What was read, the most bytes first. */
  readonly reads: readonly Sum[];
}

const WISHES = { isExplained: true };

export function addExplainRoutes(route: Route, reads: Reads): void {
  const add = (path: string, op: Op, ask: (call: ReadCall) => Promise<Answer>): void =>
    route(path, op, async (call, request, reply) => {
      const beginMs = performance.now();
      const answer = await ask(call);
      const ms = performance.now() - beginMs;
      const explained = { ...answer, ms, stages: stagesOf(answer.query), reads: sumsOf(answer.reports) };
      reply.headers(answer.notes);
      const isJson = request.headers.accept?.includes(CONTENT_TYPES.json) === true;
      if (isJson) return reply.type(CONTENT_TYPES.json).send(JSON.stringify(asJson(explained)));
      return reply.type(TEXT).send(asText(explained));
    });
  add('/api/search/explain', 'search', async (call) => {
    const found = await reads.search(call, 'json', WISHES);
    const { traces, hasMore, stats, partial, reports = [] } = found.answer;
    const foundText = `${traces.length} traces${hasMore ? ', more match or may' : ''}`;
    const counts = { traces: traces.length, hasMore };
    return {
      query: found.query,
      found: counts,
      foundText,
      stats,
      partial,
      reports,
      notes: searchNotes(found),
    };
  });
  add('/api/metrics/explain', 'metrics', async (call) => {
    const found = await reads.metrics(call, false, 'proto', WISHES);
    const { series, stats, reports = [] } = found.answer;
    const partial = metricsPartial(found);
    const counts = { series: series.length };
    const foundText = `${series.length} series`;
    return {
      query: found.query,
      found: counts,
      foundText,
      stats,
      partial,
      reports,
      notes: partialNote(partial),
    };
  });
}

function stagesOf(text: string): readonly string[] {
  const query = parse(text);
  return query.metrics === undefined ? query.stages.map(printStage) : [printQuery(query)];
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

function asJson({ stages, ms, found, partial, stats, reports, reads }: Explained): unknown {
  return {
    stages,
    answer: { ...found, partial, ms: rounded(ms) },
    stats,
    reads: reads.map((read) => ({ ...read, ms: rounded(read.ms) })),
    jobs: reports.map((job) => ({
      ms: rounded(job.ms),
      spared: job.spared,
      sources: job.sources.map((source) => ({
        ...source,
        ms: rounded(source.ms),
        evaluationMs: rounded(evaluationMs(source)),
        steps: source.steps.map((step) => ({ ...step, ms: rounded(step.ms) })),
      })),
    })),
  };
}

function asText({ stages, ms, foundText, partial, stats, reports, reads }: Explained): string {
  const lines = [
    stages.join('\n| '),
    '',
    `${foundText} in ${ms.toFixed(1)} ms`,
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
  reports.forEach((job, i) => {
    lines.push('', `job ${i + 1}: ${job.ms.toFixed(2)} ms`);
    for (const source of job.sources) lines.push(...sourceText(source));
    for (const blockId of job.spared) lines.push(`  ${blockId}: not read, its value filter rules it out`);
  });
  return `${lines.join('\n')}\n`;
}

function sourceText(source: SourceReport): readonly string[] {
  const { name, traces, spans, matchedTraces, bytes, ms, steps } = source;
  const evaluation = evaluationMs(source).toFixed(2);
  const rows = steps.map((step) => [...stepCells(step), step.ms.toFixed(2)]);
  const match =
    matchedTraces === undefined ? `${traces} traces` : `${matchedTraces} of ${traces} traces match`;
  return [
    `  ${name}: ${match}, ${spans} spans, ${bytesText(bytes)}, ` +
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
