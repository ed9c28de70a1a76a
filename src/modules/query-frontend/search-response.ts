// The body of a search answer, as JSON and protobuf: finished traces, sent without being parsed again.
import { headOfFoundTrace } from '../../api/search-proto.ts';
import type { QueryStats } from '../../contracts/query.ts';
import { ByteWriter } from '../../lib/byte-writer.ts';
import { bytesField, varintField } from '../../lib/protobuf.ts';
import type { FoundSearch } from './reads.ts';

const OPEN = Buffer.from('{"traces":[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from('}');
/** Inside a string the quotes would be escaped. */
const SPANS_BEGIN = ',"spanSet":';
/** Traces as protobuf are put together up to about this size. */
const PART_BYTES = 16 << 10;

/** The parts of the body. A search by tags leaves the spans out, and all that is told of services. */
export function* searchJson({ answer, isTagSearch }: FoundSearch): Generator<Uint8Array> {
  let isFirst = true;
  yield OPEN;
  for (const { body } of answer.traces) {
    if (!isFirst) yield COMMA;
    isFirst = false;
    if (isTagSearch) {
      yield headOf(body);
      yield CLOSE;
    } else yield body;
  }
  yield Buffer.from(`],"metrics":${statsJson(answer.stats)}}`);
}

/** The parts of SearchResponse {1 traces, 2 metrics}. */
export function* searchProtoParts({ answer, isTagSearch }: FoundSearch): Generator<Uint8Array> {
  let out = new ByteWriter(PART_BYTES);
  for (const { body } of answer.traces) {
    bytesField(out, 1, isTagSearch ? headOfFoundTrace(body) : body);
    if (out.length < PART_BYTES) continue;
    yield out.view();
    out = new ByteWriter(PART_BYTES);
  }
  bytesField(out, 2, statsProto(answer.stats));
  yield out.view();
}

/** SearchResponse as one message. */
export function searchProto(found: FoundSearch): Uint8Array {
  const parts = [...searchProtoParts(found)];
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** A trace up to its spans. */
function headOf(json: Uint8Array): Uint8Array {
  const end = Buffer.from(json.buffer, json.byteOffset, json.length).indexOf(SPANS_BEGIN);
  return end < 0 ? json.subarray(0, -1) : json.subarray(0, end);
}

/** Zero values are left out and 64-bit numbers are strings, as in all of Tempo's JSON. */
export function statsJson(stats: QueryStats): string {
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

/** SearchMetrics. */
export function statsProto(stats: QueryStats): Uint8Array {
  const out = new ByteWriter(64);
  varintField(out, 1, stats.inspectedTraces);
  varintField(out, 2, stats.inspectedBytes);
  varintField(out, 3, stats.totalBlocks);
  varintField(out, 4, stats.completedJobs);
  varintField(out, 5, stats.totalJobs);
  varintField(out, 6, stats.totalBlockBytes);
  varintField(out, 7, stats.inspectedSpans);
  return out.view();
}
