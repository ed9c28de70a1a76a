// LZW as gossip may be compressed with it: least significant bits first, 8 bits a literal, codes of 9 to 12
// bits. Read only: what we send is not compressed.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { TempoError } from '../../lib/errors.ts';

const CLEAR = 256;
const END = 257;
const WIDTH_MIN = 9;
const WIDTH_MAX = 12;

/** Throws TempoError when it is damaged, or larger than `bytesMax`. */
export function lzwDecompress(input: Uint8Array, bytesMax: number): Uint8Array {
  const out = new ByteWriter(input.length * 3);
  /** Of a code: the code before its last byte, and that byte. */
  const prefix = new Uint16Array(1 << WIDTH_MAX);
  const suffix = new Uint8Array(1 << WIDTH_MAX);
  const text = new Uint8Array(1 << WIDTH_MAX);
  let [pos, bits, bitsCount] = [0, 0, 0];
  let [width, next, last] = [WIDTH_MIN, END, -1];
  for (;;) {
    while (bitsCount < width) {
      if (pos >= input.length) throw damaged('ends too early');
      bits |= input[pos++] << bitsCount;
      bitsCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitsCount -= width;
    if (code === END) return out.copy();
    if (code === CLEAR) {
      [width, next, last] = [WIDTH_MIN, END, -1];
      continue;
    }
    if (code > next || (code === next && last === -1)) throw damaged(`has the code ${code} too early`);
    // The code that is only being made: the last text, and its first byte again.
    let at = text.length;
    let walk = code;
    if (code === next) {
      walk = last;
      at--;
    }
    while (walk > END) {
      text[--at] = suffix[walk];
      walk = prefix[walk];
    }
    text[--at] = walk;
    if (code === next) text[text.length - 1] = walk;
    if (out.length + text.length - at > bytesMax) {
      throw new TempoError('too_large', `compressed gossip message has more than ${bytesMax} bytes`);
    }
    out.raw(text.subarray(at));
    if (last !== -1 && next < prefix.length) {
      prefix[next] = last;
      suffix[next] = walk;
    }
    last = code;
    next++;
    if (next >= 1 << width) {
      if (width < WIDTH_MAX) width++;
      else {
        last = -1;
        next--;
      }
    }
  }
}

function damaged(what: string): TempoError {
  return new TempoError('invalid_argument', `compressed gossip message ${what}`);
}
