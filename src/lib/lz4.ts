// Decoder of the LZ4 frame format, which OpenTelemetry Collectors send as `lz4`: frames one after another,
// checksums verified, the output bounded. There is no encoder. Formats: lz4_Frame_format.md and
// lz4_Block_format.md of github.com/lz4/lz4.
import { xxhash32 } from './xxhash32.ts';

/** Also for what is larger than allowed, then with `isTooLarge`. */
export class Lz4Error extends Error {
  override readonly name = 'Lz4Error';
  readonly isTooLarge: boolean;

  constructor(message: string, isTooLarge = false) {
    super(message);
    this.isTooLarge = isTooLarge;
  }
}

const FRAME_MAGIC = 0x184d2204;
/** The low 4 bits are free. */
const SKIPPABLE_MAGIC = 0x184d2a50;
const VERSION_1 = 1;
const UNCOMPRESSED_BLOCK = 0x8000_0000;
const MATCH_MIN = 4;
const OUTPUT_MIN = 64 << 10;

/** Undoes all frames of `input`. Throws Lz4Error when they are damaged or hold more than `sizeMax` bytes. */
export function lz4Decompress(input: Uint8Array, sizeMax: number): Uint8Array {
  return new Lz4Decoder(input, sizeMax).decode();
}

class Lz4Decoder {
  private readonly input: Uint8Array;
  private readonly view: DataView;
  private readonly sizeMax: number;
  private pos = 0;
  private out: Uint8Array;
  private length = 0;
  /** How far back matches of the block at hand may reach. */
  private historyStart = 0;

  constructor(input: Uint8Array, sizeMax: number) {
    this.input = input;
    this.view = new DataView(input.buffer, input.byteOffset, input.length);
    this.sizeMax = sizeMax;
    this.out = new Uint8Array(Math.min(Math.max(input.length * 4, OUTPUT_MIN), sizeMax));
  }

  decode(): Uint8Array {
    while (this.pos < this.input.length) {
      const magic = this.u32();
      if (magic === FRAME_MAGIC) this.frame();
      else if ((magic & ~15) >>> 0 === SKIPPABLE_MAGIC) this.skip(this.u32());
      else throw new Lz4Error('bad magic number');
    }
    return this.out.subarray(0, this.length);
  }

  private frame(): void {
    const headerStart = this.pos;
    const flags = this.u8();
    const blockDescriptor = this.u8();
    if (flags >>> 6 !== VERSION_1 || (flags & 2) !== 0 || (blockDescriptor & 0x8f) !== 0) {
      throw new Lz4Error('unsupported frame');
    }
    if ((flags & 8) !== 0) this.skip(8);
    if ((flags & 1) !== 0) throw new Lz4Error('frame needs a dictionary');
    const checksum = (xxhash32(this.input, headerStart, this.pos - headerStart) >>> 8) & 0xff;
    if (this.u8() !== checksum) throw new Lz4Error('frame header checksum is wrong');
    const blockSizeMax = 1 << (8 + 2 * (blockDescriptor >>> 4));
    const frameStart = this.length;
    this.historyStart = frameStart;
    const isIndependent = (flags & 32) !== 0;
    for (let size = this.u32(); size !== 0; size = this.u32()) {
      this.block(size, blockSizeMax, isIndependent, (flags & 16) !== 0);
    }
    if ((flags & 4) === 0) return;
    const content = xxhash32(this.out, frameStart, this.length - frameStart);
    if (this.u32() !== content) throw new Lz4Error('content checksum is wrong');
  }

  private block(sizeWord: number, sizeMax: number, isIndependent: boolean, hasChecksum: boolean): void {
    const isRaw = (sizeWord & UNCOMPRESSED_BLOCK) !== 0;
    const size = isRaw ? (sizeWord ^ UNCOMPRESSED_BLOCK) >>> 0 : sizeWord;
    if (size > sizeMax) throw new Lz4Error('block is larger than its frame allows');
    const start = this.pos;
    this.skip(size);
    if (isIndependent) this.historyStart = this.length;
    if (isRaw) {
      this.reserve(size);
      this.out.set(this.input.subarray(start, this.pos), this.length);
      this.length += size;
    } else {
      this.sequences(start, this.pos, this.length + sizeMax);
    }
    if (hasChecksum && this.u32() !== xxhash32(this.input, start, size)) {
      throw new Lz4Error('block checksum is wrong');
    }
  }

  /** Decodes input[start, end), whose output must not pass `outEnd`. */
  private sequences(start: number, end: number, outEnd: number): void {
    const { input } = this;
    let pos = start;
    for (;;) {
      if (pos >= end) throw new Lz4Error('block ends early');
      const token = input[pos++]!;
      let literals = token >>> 4;
      if (literals === 15) {
        let byte = 255;
        while (byte === 255 && pos < end) literals += byte = input[pos++]!;
      }
      if (literals > end - pos) throw new Lz4Error('literals outside of the block');
      this.reserve(literals);
      copy(this.out, this.length, input, pos, literals);
      pos += literals;
      this.length += literals;
      if (pos === end) break;
      if (end - pos < 2) throw new Lz4Error('block ends early');
      const offset = input[pos]! | (input[pos + 1]! << 8);
      pos += 2;
      let match = (token & 15) + MATCH_MIN;
      if ((token & 15) === 15) {
        let byte = 255;
        while (byte === 255 && pos < end) match += byte = input[pos++]!;
      }
      if (offset === 0 || offset > this.length - this.historyStart)
        throw new Lz4Error('match outside of the data');
      this.reserve(match);
      repeat(this.out, this.length, offset, match);
      this.length += match;
    }
    if (this.length > outEnd) throw new Lz4Error('block is larger than its frame allows');
  }

  private reserve(more: number): void {
    const needed = this.length + more;
    if (needed > this.sizeMax) throw new Lz4Error('content is larger than allowed', true);
    if (needed <= this.out.length) return;
    const grown = new Uint8Array(Math.min(Math.max(needed, this.out.length * 2), this.sizeMax));
    grown.set(this.out.subarray(0, this.length));
    this.out = grown;
  }

  private u8(): number {
    this.skip(1);
    return this.input[this.pos - 1]!;
  }

  private u32(): number {
    this.skip(4);
    return this.view.getUint32(this.pos - 4, true);
  }

  private skip(bytes: number): void {
    if (bytes > this.input.length - this.pos) throw new Lz4Error('truncated');
    this.pos += bytes;
  }
}

const SHORT = 32;

function copy(out: Uint8Array, at: number, from: Uint8Array, start: number, length: number): void {
  if (length > SHORT) out.set(from.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) out[at + i] = from[start + i]!;
}

/** Copies `length` bytes from `offset` before `at`; what is copied may be what was just written. */
function repeat(out: Uint8Array, at: number, offset: number, length: number): void {
  if (length <= SHORT) {
    for (let i = 0; i < length; i++) out[at + i] = out[at + i - offset]!;
    return;
  }
  const from = at - offset;
  for (let done = 0; done < length; ) {
    const step = Math.min(offset + done, length - done);
    out.copyWithin(at + done, from, from + step);
    done += step;
  }
}
