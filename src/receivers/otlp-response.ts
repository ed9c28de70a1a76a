// The answer to an OTLP export: ExportTraceServiceResponse { partial_success { rejected_spans,
// error_message } }.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import type { Consumed } from './receiver.ts';

const NOTHING = new Uint8Array(0);

/** Empty when all spans were kept. */
export function encodeExportResponse(consumed: Consumed): Uint8Array {
  if (consumed.rejectedSpans === 0 && consumed.message === '') return NOTHING;
  const partial = new ByteWriter(consumed.message.length + 16);
  varintField(partial, 1, consumed.rejectedSpans);
  textField(partial, 2, consumed.message);
  const out = new ByteWriter(partial.length + 8);
  bytesField(out, 1, partial.view());
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
