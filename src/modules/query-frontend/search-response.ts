// The body of a search answer: finished JSON texts of the traces, joined without being parsed again.
import type { SearchAnswer } from '../../contracts/query.ts';

const OPEN = Buffer.from('{"traces":[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from('}');
/** Inside a string the quotes would be escaped. */
const SPANS_BEGIN = ',"spanSet":';

/** @param withoutSpans leaves the spans out, and all that is told of services. */
export function searchResponseJson(answer: SearchAnswer, withoutSpans: boolean): Buffer {
  const parts: Uint8Array[] = [OPEN];
  for (const trace of answer.traces) {
    if (parts.length > 1) parts.push(COMMA);
    if (withoutSpans) parts.push(headOf(trace.json), CLOSE);
    else parts.push(trace.json);
  }
  parts.push(Buffer.from(`],"metrics":${metricsJson(answer)}}`));
  return Buffer.concat(parts);
}

/** A trace up to its spans. */
function headOf(json: Uint8Array): Uint8Array {
  const end = Buffer.from(json.buffer, json.byteOffset, json.length).indexOf(SPANS_BEGIN);
  return end < 0 ? json.subarray(0, -1) : json.subarray(0, end);
}

/** Zero values are left out and 64-bit numbers are strings, as in all of Tempo's JSON. */
function metricsJson({ stats }: SearchAnswer): string {
  const metrics: Record<string, number | string> = {};
  if (stats.inspectedTraces > 0) metrics['inspectedTraces'] = stats.inspectedTraces;
  if (stats.inspectedBytes > 0) metrics['inspectedBytes'] = String(stats.inspectedBytes);
  if (stats.totalBlocks > 0) metrics['totalBlocks'] = stats.totalBlocks;
  if (stats.completedJobs > 0) metrics['completedJobs'] = stats.completedJobs;
  if (stats.totalJobs > 0) metrics['totalJobs'] = stats.totalJobs;
  if (stats.totalBlockBytes > 0) metrics['totalBlockBytes'] = String(stats.totalBlockBytes);
  if (stats.inspectedSpans > 0) metrics['inspectedSpans'] = String(stats.inspectedSpans);
  return JSON.stringify(metrics);
}
