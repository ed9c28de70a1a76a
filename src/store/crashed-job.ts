// What is answered for a job that no scan thread survives.
import { packFound } from './pack.ts';
import type { ScanJob, ScanResult } from './scan-job.ts';
import { sourceName } from './source-walk.ts';

/** None of its sources could be read; undefined when the job has none, so that nothing can be partial. */
export function crashedResult(job: ScanJob): ScanResult | undefined {
  const sources = 'whole' in job && job.whole !== undefined ? job.whole.sources : job.sources;
  if (sources.length === 0) return undefined;
  const message = 'the scan thread that read it ended';
  const failures = sources.map((source) => ({
    source: sourceName(source),
    code: 'internal',
    message,
  }));
  const base = { inspectedBytes: 0, failures };
  switch (job.kind) {
    case 'search': {
      const found = packFound([], 'json');
      return { kind: 'search', found, hasMore: false, inspectedTraces: 0, inspectedSpans: 0, ...base };
    }
    case 'sharedTraces': {
      const without = sources.map(() => new Int32Array(0));
      const none = new Int32Array(0);
      const places = { ends: none, source: none, row: none };
      const unknown = sources.map(() => Infinity);
      const times = { startMicros: new Float64Array(0), endMicros: new Float64Array(0) };
      const bounds = { traceCounts: unknown, newestStarts: unknown, ...times };
      return { kind: 'sharedTraces', without, apart: without, places, version: '', ...bounds, ...base };
    }
    case 'metrics':
      return { kind: 'metrics', part: undefined, inspectedTraces: 0, inspectedSpans: 0, ...base };
    case 'joinMetrics':
    case 'finishMetrics':
    case 'traceTable':
    case 'traceParts':
      return undefined;
    case 'trace':
      return { kind: 'trace', trace: undefined, isCut: false, ...base };
    case 'tagNames':
      return { kind: 'tagNames', names: job.scopes.map(() => []), ...base };
    case 'tagValues':
      return { kind: 'tagValues', values: { types: [], isCut: false }, ...base };
  }
}
