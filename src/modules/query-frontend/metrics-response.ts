// The body of a metrics answer, of a range and of an instant, as JSON and protobuf: finished series, joined
// without being parsed again.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { piecesOf } from '../../lib/filled-text.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';
import type { FoundMetrics } from './reads.ts';
import { statsJson, statsProto } from './search-response.ts';

const OPEN = Buffer.from('"series":[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from('],');
const PARTIAL = 1;

/** The parts of the body. Of an instant an empty list is left out, of a range it is written. */
export function* metricsJson(found: FoundMetrics): Generator<Uint8Array> {
  const { series, text, stats } = found.answer;
  yield Buffer.from('{');
  if (series.length > 0 || !found.isInstant) {
    yield OPEN;
    yield* text === undefined ? joined(series) : piecesOf(text);
    yield CLOSE;
  }
  const reasons = metricsPartial(found);
  const message = JSON.stringify(reasons.join('; '));
  const status = reasons.length > 0 ? `,"status":"PARTIAL","message":${message}` : '';
  yield Buffer.from(`"metrics":${statsJson(stats)}${status}}`);
}

function* joined(series: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const [i, one] of series.entries()) {
    if (i > 0) yield COMMA;
    yield one;
  }
}

/** QueryRangeResponse and QueryInstantResponse {1 series, 2 metrics, 3 status, 4 message}. */
export function metricsProto(found: FoundMetrics): Uint8Array {
  const { series, stats } = found.answer;
  const out = new ByteWriter(series.reduce((sum, { length }) => sum + length + 8, 256));
  for (const one of series) bytesField(out, 1, one);
  bytesField(out, 2, statsProto(stats));
  const reasons = metricsPartial(found);
  if (reasons.length > 0) {
    varintField(out, 3, PARTIAL);
    textField(out, 4, reasons.join('; '));
  }
  return out.view();
}

/** Why an answer is not complete, empty when it is. */
export function metricsPartial({ answer, seriesMax }: FoundMetrics): readonly string[] {
  return answer.isCut ? [cutReason(seriesMax), ...answer.partial] : answer.partial;
}

function cutReason(seriesMax: number): string {
  return `Response exceeds maximum series limit of ${seriesMax}, a partial response is returned.`;
}
