// What a job that is explained tells of its sources.
import type { JobReport, SourceReport } from '../contracts/query.ts';
import type { Query } from '../traceql/ast.ts';
import { ExplainedSource } from '../traceql/engine/explained-source.ts';
import { type SearchOptions, type SearchOutcome, searchSource } from '../traceql/engine/search.ts';
import type { SpanSource } from '../traceql/source.ts';

export class JobReports {
  private readonly beginMs = performance.now();
  private readonly sources: SourceReport[] = [];

  /** Searches a source as usual. */
  async search(query: Query, source: SpanSource, options: SearchOptions): Promise<SearchOutcome> {
    const beginMs = performance.now();
    const explained = new ExplainedSource(source);
    const outcome = await searchSource(query, explained, options);
    this.sources.push({
      name: source.name,
      traces: outcome.inspectedTraces,
      spans: outcome.inspectedSpans,
      matchedTraces: outcome.matchedTraces,
      bytes: outcome.inspectedBytes,
      ms: performance.now() - beginMs,
      steps: explained.steps,
    });
    return outcome;
  }

  job(): JobReport {
    return { ms: performance.now() - this.beginMs, sources: this.sources };
  }
}
