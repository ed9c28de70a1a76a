// Writes JSON of many results into large buffers: no text is made of numbers and ids, and what was written
// can be repeated without being made again.
import { jsonString } from './json.ts';

const CHUNK_BYTES_MIN = 64 * 1024;
const CHUNK_BYTES_MAX = 1024 * 1024;
/** A result begins in a chunk that has this much room left. */
const ROOM_BYTES = 16 * 1024;
const QUOTE = 34;
const BACKSLASH = 92;
const BILLION = 1_000_000_000;
const DIGITS_MAX = 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** The two hex digits of each byte. */
const HEX_PAIRS = new Uint8Array(512);
for (let i = 0; i < 256; i++) encoder.encodeInto(i.toString(16).padStart(2, '0'), HEX_PAIRS.subarray(2 * i));

export class JsonWriter {
  private bytes = new Uint8Array(CHUNK_BYTES_MIN);
  private length = 0;
  private first = 0;

  /** Begins a result. */
  begin(): void {
    if (this.bytes.length - this.length < ROOM_BYTES) {
      this.bytes = new Uint8Array(Math.min(CHUNK_BYTES_MAX, this.bytes.length * 2));
      this.length = 0;
    }
    this.first = this.length;
  }

  /** What was written since `begin`; stays valid. */
  end(): Uint8Array {
    return this.bytes.subarray(this.first, this.length);
  }

  /** Position in the result, for `repeat`. */
  get position(): number {
    return this.length - this.first;
  }

  private reserve(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const written = this.end();
    const grown = new Uint8Array((written.length + bytes) * 2);
    grown.set(written);
    this.bytes = grown;
    this.length = written.length;
    this.first = 0;
  }

  /** Writes text as it is. */
  raw(text: string): void {
    const count = text.length;
    this.reserve(count * 3);
    const { bytes } = this;
    let at = this.length;
    for (let i = 0; i < count; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.length += encoder.encodeInto(text, bytes.subarray(this.length)).written;
        return;
      }
      bytes[at++] = code;
    }
    this.length = at;
  }

  /** Writes again what was written from position `from` up to `to`. */
  repeat(from: number, to: number): void {
    this.reserve(to - from);
    const { first } = this;
    this.bytes.copyWithin(this.length, first + from, first + to);
    this.length += to - from;
  }

  /** A JSON string. */
  string(text: string): void {
    const count = text.length;
    this.reserve(count + 2);
    const { bytes } = this;
    let at = this.length;
    bytes[at++] = QUOTE;
    for (let i = 0; i < count; i++) {
      const code = text.charCodeAt(i);
      if (code < 32 || code > 126 || code === QUOTE || code === BACKSLASH) {
        this.raw(jsonString(text));
        return;
      }
      bytes[at++] = code;
    }
    bytes[at++] = QUOTE;
    this.length = at;
  }

  /** Bytes of another buffer as they are. */
  bytesOf(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    const { bytes } = this;
    let at = this.length;
    for (let i = start; i < end; i++) bytes[at++] = from[i]!;
    this.length = at;
  }

  /** A JSON string, of UTF-8 from `start` on. */
  stringBytes(text: Uint8Array, start: number): void {
    for (let i = start; i < text.length; i++) {
      const byte = text[i]!;
      if (byte < 32 || byte > 126 || byte === QUOTE || byte === BACKSLASH) {
        this.raw(jsonString(decoder.decode(text.subarray(start))));
        return;
      }
    }
    this.raw('"');
    this.bytesOf(text, start, text.length);
    this.raw('"');
  }

  /** The hex digits of an id, as many bytes as it should have. */
  hex(id: Uint8Array, size: number): void {
    const count = Math.max(size, id.length);
    this.reserve(count * 2);
    const { bytes } = this;
    let at = this.length;
    for (let i = id.length - count; i < id.length; i++) {
      const pair = i < 0 ? 0 : id[i]! * 2;
      bytes[at++] = HEX_PAIRS[pair]!;
      bytes[at++] = HEX_PAIRS[pair + 1]!;
    }
    this.length = at;
  }

  /** billions * 10^9 + rest, both integers, neither negative; below 10^18 + 2^53. */
  decimal(billions: number, rest: number): void {
    const high = billions + Math.floor(rest / BILLION);
    if (high === 0) {
      this.digits(rest, 1);
      return;
    }
    if (high < BILLION) this.digits(high, 1);
    else {
      this.digits(Math.floor(high / BILLION), 1);
      this.digits(high % BILLION, 9);
    }
    this.digits(rest % BILLION, 9);
  }

  /** A number below 2^31 with leading zeros up to `least` digits. */
  private digits(number: number, least: number): void {
    let count = least;
    for (let limit = 10 ** least; number >= limit; limit *= 10) count++;
    this.reserve(DIGITS_MAX);
    const { bytes } = this;
    let rest = number | 0;
    for (let at = this.length + count - 1; at >= this.length; at--) {
      const next = (rest / 10) | 0;
      bytes[at] = 48 + rest - next * 10;
      rest = next;
    }
    this.length += count;
  }
}
