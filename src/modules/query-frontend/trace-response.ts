// The bodies of trace by id, v1 and v2, as JSON and protobuf, around a trace that is already in the wanted
// form.
import type { TraceAnswer } from '../../contracts/query.ts';
import { ByteWriter } from '../../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';

const PARTIAL = 1;

/** v1: `{"batches": [...]}`. */
export function traceV1Json(resourceSpans: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from('{"batches":'), resourceSpans, Buffer.from('}')]);
}

/** v2: a found trace, or an empty but present one. */
export function traceV2Json(answer: TraceAnswer): Buffer {
  const bytes = answer.inspectedBytes > 0 ? `{"inspectedBytes":"${answer.inspectedBytes}"}` : '{}';
  const message = JSON.stringify(answer.partial.join('; '));
  const status = answer.partial.length === 0 ? '' : `,"status":"PARTIAL","message":${message}`;
  const tail = Buffer.from(`,"metrics":${bytes}${status}}`);
  if (answer.trace === undefined) return Buffer.concat([Buffer.from('{"trace":{}'), tail]);
  return Buffer.concat([Buffer.from('{"trace":{"resourceSpans":'), answer.trace, Buffer.from('}'), tail]);
}

/** v2: TraceByIDResponse {1 trace, 2 metrics {1 inspectedBytes}, 3 status, 4 message}. */
export function traceV2Proto(answer: TraceAnswer): Uint8Array {
  const trace = answer.trace ?? new Uint8Array(0);
  const out = new ByteWriter(trace.length + 256);
  bytesField(out, 1, trace);
  const metrics = new ByteWriter(16);
  varintField(metrics, 1, answer.inspectedBytes);
  bytesField(out, 2, metrics.view());
  if (answer.partial.length > 0) {
    varintField(out, 3, PARTIAL);
    textField(out, 4, answer.partial.join('; '));
  }
  return out.view();
}
