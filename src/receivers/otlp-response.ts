// The answer to an OTLP export: ExportTraceServiceResponse { partial_success { rejected_spans,
// error_message } }.
import { ByteWriter } from '../lib/byte-writer.ts';
import type { Consumed } from './receiver.ts';

const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

/** Empty when all spans were kept. */
export function encodeExportResponse(consumed: Consumed): Uint8Array {
  if (consumed.rejectedSpans === 0 && consumed.message === '') return NOTHING;
  const message = encoder.encode(consumed.message);
  const partial = new ByteWriter(message.length + 16);
  if (consumed.rejectedSpans > 0) {
    partial.u8(0x08);
    partial.varint(consumed.rejectedSpans);
  }
  if (message.length > 0) {
    partial.u8(0x12);
    partial.varint(message.length);
    partial.raw(message);
  }
  const out = new ByteWriter(partial.length + 8);
  out.u8(0x0a);
  out.varint(partial.length);
  out.raw(partial.view());
  return out.copy();
}

export function exportResponseJson(consumed: Consumed): string {
  const { rejectedSpans, message } = consumed;
  const partialSuccess = {
    ...(rejectedSpans > 0 ? { rejectedSpans: String(rejectedSpans) } : {}),
    ...(message === '' ? {} : { errorMessage: message }),
  };
  return JSON.stringify({ partialSuccess });
}
