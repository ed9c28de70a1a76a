// The bodies of trace by id, v1 and v2, as JSON and protobuf, in parts: around a trace that is already in the
// wanted form.
import type { TraceAnswer } from '../../contracts/query.ts';
import { ByteWriter } from '../../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';
import type { FoundTrace } from './reads.ts';

/** Field 1, bytes. */
const TRACE_TAG = (1 << 3) | 2;
const PARTIAL = 1;

/** v1: `{"batches": [...]}`. */
export function traceV1Json(resourceSpans: Uint8Array): readonly Uint8Array[] {
  return [Buffer.from('{"batches":'), resourceSpans, Buffer.from('}')];
}

/** v2: a found trace, or an empty but present one. */
export function traceV2Json({ answer, bytesMax }: FoundTrace): readonly Uint8Array[] {
  const bytes = answer.inspectedBytes > 0 ? `{"inspectedBytes":"${answer.inspectedBytes}"}` : '{}';
  const message = partialMessage(answer, bytesMax);
  const status = message === '' ? '' : `,"status":"PARTIAL","message":${JSON.stringify(message)}`;
  const tail = Buffer.from(`,"metrics":${bytes}${status}}`);
  if (answer.trace === undefined) return [Buffer.from('{"trace":{}'), tail];
  return [Buffer.from('{"trace":{"resourceSpans":'), answer.trace, Buffer.from('}'), tail];
}

/** v2: TraceByIDResponse {1 trace, 2 metrics {1 inspectedBytes}, 3 status, 4 message}. */
export function traceV2Proto({ answer, bytesMax }: FoundTrace): readonly Uint8Array[] {
  const trace = answer.trace ?? new Uint8Array(0);
  const begin = new ByteWriter(16);
  begin.varint(TRACE_TAG);
  begin.varint(trace.length);
  const metrics = new ByteWriter(16);
  varintField(metrics, 1, answer.inspectedBytes);
  const end = new ByteWriter(256);
  bytesField(end, 2, metrics.view());
  const message = partialMessage(answer, bytesMax);
  if (message !== '') {
    varintField(end, 3, PARTIAL);
    textField(end, 4, message);
  }
  return [begin.view(), trace, end.view()];
}

/** v2 for language models: has no place for a status. */
export function traceV2Llm({ answer }: FoundTrace): readonly Uint8Array[] {
  if (answer.trace === undefined) return [Buffer.from('{}')];
  const metrics = answer.inspectedBytes > 0 ? `,"metrics":{"inspectedBytes":${answer.inspectedBytes}}` : '';
  return [Buffer.from('{"trace":'), answer.trace, Buffer.from(`${metrics}}`)];
}

/** Why a trace is not complete, empty when it is. */
export function partialReasons({ partial, isCut }: TraceAnswer, bytesMax: number): readonly string[] {
  if (!isCut) return partial;
  return [`trace exceeds max size (max bytes: ${bytesMax}): spans beyond it are left out`, ...partial];
}

function partialMessage(answer: TraceAnswer, bytesMax: number): string {
  return partialReasons(answer, bytesMax).join('; ');
}
