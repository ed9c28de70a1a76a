// What is answered for a job that no scan thread survives.
import { packFound } from './pack.ts';
import type { ScanJob, ScanResult } from './scan-job.ts';

/** None of its sources could be read; undefined when the job has none, so that nothing can be partial. */
export function crashedResult(job: ScanJob): ScanResult | undefined {
  if (job.sources.length === 0) return undefined;
  const message = 'the scan thread that read it ended';
  const failures = job.sources.map((source) => ({
    source: source.kind === 'head' ? source.blockId : source.meta.blockId,
    code: 'internal',
    message,
  }));
  const base = { inspectedBytes: 0, failures };
  switch (job.kind) {
    case 'search': {
      const found = packFound([], 'json');
      const none = new Uint8Array(0);
      const counts = { hasMore: false, inspectedTraces: 0, inspectedSpans: 0 };
      return { kind: 'search', found, combined: none, ...counts, ...base };
    }
    case 'trace':
      return { kind: 'trace', trace: undefined, isCut: false, ...base };
    case 'tagNames':
      return { kind: 'tagNames', names: job.scopes.map(() => []), ...base };
    case 'tagValues':
      return { kind: 'tagValues', values: { types: [], isCut: false }, ...base };
  }
}
