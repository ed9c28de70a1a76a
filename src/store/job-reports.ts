// What a job that is explained tells of its sources.
import type { JobReport, SourceReport } from '../contracts/query.ts';
import { ExplainedSource } from '../traceql/engine/explained-source.ts';
import type { SpanSource } from '../traceql/source.ts';

type Outcome = Pick<SourceReport, 'matchedTraces'>;

export class JobReports {
  private readonly beginMs = performance.now();
  private readonly sources: SourceReport[] = [];
  private readonly spared: string[] = [];

  /** @param read does the usual work, with a source that notes what is read of it. */
  async note<Result extends Outcome>(
    source: SpanSource,
    read: (noted: SpanSource) => Promise<Result>,
  ): Promise<Result> {
    const beginMs = performance.now();
    const beginBytes = source.bytesRead;
    const explained = new ExplainedSource(source);
    const result = await read(explained);
    this.sources.push({
      name: source.name,
      traces: source.traceCount,
      spans: source.spanCount,
      matchedTraces: result.matchedTraces,
      bytes: source.bytesRead - beginBytes,
      ms: performance.now() - beginMs,
      steps: explained.steps,
    });
    return result;
  }

  /** A block need not be read. */
  spare(blockId: string): void {
    this.spared.push(blockId);
  }

  job(): JobReport {
    return { ms: performance.now() - this.beginMs, sources: this.sources, spared: this.spared };
  }
}
