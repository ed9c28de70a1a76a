// Run headers of the RLE / bit-packed hybrid encoding, which levels, dictionary indices and RLE booleans
// share.
import { corrupt } from '../corrupt.ts';

/** A run and the position of its bytes (packed) or of the next run (not packed). */
export interface RunReader {
  pos: number;
  /** Values in the run; a packed one holds a multiple of 8, of which the last may be padding. */
  count: number;
  /** The repeated value of a run that is not packed. */
  value: number;
  packed: boolean;
}

const TOO_EARLY = 'runs of levels or indices end too early';
/** Of the last byte of a header. */
const SCALE_MAX = 2 ** 28;
const GROUPS_MAX = 2 ** 27;

/** Reads the header at `run.pos`; of a packed run all bytes that matter are inside [.., end). */
export function readRunHeader(bytes: Uint8Array, end: number, width: number, run: RunReader): void {
  let pos = run.pos;
  if (pos >= end) throw corrupt(TOO_EARLY);
  let header = bytes[pos++];
  // most runs are short
  if (header > 127) {
    header &= 127;
    let scale = 128;
    for (;;) {
      if (pos >= end || scale > SCALE_MAX) throw corrupt(TOO_EARLY);
      const byte = bytes[pos++];
      header += (byte & 127) * scale;
      if (byte < 128) break;
      scale *= 128;
    }
  }
  const count = Math.floor(header / 2);
  if (header !== 2 * count) {
    const groups = count;
    if (groups === 0 || groups > GROUPS_MAX) throw corrupt('a packed run has an impossible length');
    run.packed = true;
    run.pos = pos;
    // the last run of a page may be cut short: it must not reach beyond its bytes
    run.count = groups * width <= end - pos ? groups * 8 : wholeGroups(end - pos, width) * 8;
    if (run.count === 0) throw corrupt('a packed run is empty');
    return;
  }
  run.packed = false;
  run.count = count;
  if (run.count === 0) throw corrupt('a run is empty');
  const valueBytes = (width + 7) >>> 3;
  if (pos + valueBytes > end) throw corrupt('a run has no value');
  let value = 0;
  for (let i = 0; i < valueBytes; i++) value |= bytes[pos++] << (8 * i);
  run.value = value;
  run.pos = pos;
}

function wholeGroups(bytes: number, width: number): number {
  return width === 0 ? 0 : Math.floor(bytes / width);
}
