// A series that is larger than a message, in pieces: each has all labels and some of the samples and
// exemplars. Clients put samples of the same labels together.
import { TempoError } from '../../lib/errors.ts';
import { WireCursor } from '../../model/otlp/wire.ts';

const LABELS = 1;
/** Clients refuse messages over 4 MiB; a message has more than the series. */
const MESSAGE_BYTES_MAX = (4 << 20) - 4096;

/** Of tempopb.TimeSeries {1 labels, 2 samples, 4 exemplars}, labels first, that is larger than a message. */
export function* seriesPieces(series: Uint8Array, bytesMax: number): Generator<Uint8Array> {
  const cursor = new WireCursor(series);
  let labelsEnd = 0;
  let begin = 0;
  while (cursor.pos < series.length) {
    const at = cursor.pos;
    const tag = cursor.tag(series.length);
    cursor.skip(tag & 7, series.length);
    if (tag >>> 3 === LABELS) labelsEnd = begin = cursor.pos;
    else if (at > begin && labelsEnd + cursor.pos - begin > bytesMax) {
      yield piece(series, labelsEnd, begin, at);
      begin = at;
    }
  }
  yield piece(series, labelsEnd, begin, series.length);
}

function piece(series: Uint8Array, labelsEnd: number, begin: number, end: number): Uint8Array {
  const bytes = labelsEnd + end - begin;
  if (bytes > MESSAGE_BYTES_MAX) {
    throw new TempoError(
      'too_large',
      `a series has labels of ${labelsEnd} bytes, more than a message may have`,
    );
  }
  const out = new Uint8Array(bytes);
  out.set(series.subarray(0, labelsEnd));
  out.set(series.subarray(begin, end), labelsEnd);
  return out;
}
