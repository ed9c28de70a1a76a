// Decodes OTLP KeyValue messages into the attribute vectors of a head. An attribute is taken whole or not
// at all.
import { Tag } from '../../model/otlp/encode.ts';
import type { Dictionary } from './dictionary.ts';
import { AttrType } from './layout.ts';
import type { VecWriter } from './vec.ts';
import { type WireReader, word32 } from './wire.ts';

/** Arrays and key-value lists inside one another; deeper values are malformed. */
const ANY_VALUE_DEPTH_MAX = 100;

const MALFORMED = -1;

/** What is longer than its limit by no more than this stays whole: the mark of the cut would take as much. */
const MARK_BYTES_MAX = 24;
const marks = new TextEncoder();

export class AttributeDecoder {
  /** Keys and strings are cut there; arrays, lists and bytes are not. */
  bytesMax = Infinity;
  /** Keys and strings that were cut in the request at hand, counted by whoever reads with this. */
  truncated = 0;
  private readonly keys: Dictionary;
  private readonly strings: Dictionary;
  private readonly wide: VecWriter;
  private readonly wire: WireReader;
  // the attribute at hand
  private type: number = AttrType.empty;
  private value = 0;
  private wideLow = 0;
  private wideHigh = 0;

  constructor(keys: Dictionary, strings: Dictionary, wide: VecWriter, wire: WireReader) {
    this.keys = keys;
    this.strings = strings;
    this.wide = wide;
    this.wire = wire;
  }

  /** Appends the KeyValue in [start, end) and returns true, or returns false when it is malformed. */
  decode(b: Uint8Array, start: number, end: number, keys: VecWriter, values: VecWriter): boolean {
    let p = start;
    let keyStart = 0;
    let keyLength = 0;
    this.type = AttrType.empty;
    this.value = 0;
    while (p < end) {
      const tag = b[p++]!;
      if (tag === Tag.keyValue.key || tag === Tag.keyValue.value) {
        let length = b[p++]!;
        if (length > 127) {
          length = this.wire.varint(b, p - 1);
          p = this.wire.next;
        }
        const fieldEnd = p + length;
        if (fieldEnd > end) return false;
        if (tag === Tag.keyValue.key) {
          keyStart = p;
          keyLength = length;
        } else if (!this.anyValue(b, p, fieldEnd)) {
          return false;
        }
        p = fieldEnd;
      } else {
        p = this.wire.skip(b, p - 1, end);
        if (p < 0) return false;
      }
    }
    if (p !== end) return false;
    if (keyLength > this.bytesMax) keyLength = this.cut(b, keyStart, keyLength);
    const key = this.keys.intern(b, keyStart, keyLength);
    if (this.type === AttrType.int64 || this.type === AttrType.double) {
      this.value = this.wide.count;
      this.wide.push2(this.wideLow, this.wideHigh);
    }
    keys.push((key << 4) | this.type);
    values.push(this.value);
    return true;
  }

  /** The last value of the AnyValue in [start, end) counts, as for any protobuf oneof. */
  private anyValue(b: Uint8Array, start: number, end: number): boolean {
    let p = start;
    while (p < end) {
      const fieldStart = p;
      const tag = b[p++]!;
      switch (tag) {
        case Tag.anyValue.string:
        case Tag.anyValue.array:
        case Tag.anyValue.kvlist:
        case Tag.anyValue.bytes: {
          let length = b[p++]!;
          if (length > 127) {
            length = this.wire.varint(b, p - 1);
            p = this.wire.next;
          }
          const fieldEnd = p + length;
          if (fieldEnd > end) return false;
          if (tag === Tag.anyValue.string) {
            this.type = AttrType.string;
            const kept = length > this.bytesMax ? this.cut(b, p, length) : length;
            this.value = this.strings.intern(b, p, kept);
          } else {
            const type = this.compositeType(b, tag, p, fieldEnd, 1);
            if (type === MALFORMED) return false;
            this.type = type;
            this.value = this.strings.intern(b, fieldStart, fieldEnd - fieldStart);
          }
          p = fieldEnd;
          break;
        }
        case Tag.anyValue.double:
          this.type = AttrType.double;
          this.wideLow = word32(b, p);
          this.wideHigh = word32(b, p + 4);
          p += 8;
          break;
        case Tag.anyValue.int:
        case Tag.anyValue.bool:
          p = this.varintValue(b, tag, p);
          break;
        default:
          p = this.wire.skip(b, fieldStart, end);
          if (p < 0) return false;
      }
    }
    return p === end;
  }

  /**
   * Cuts a text in place, between two characters, and writes behind it how many bytes are missing.
   * @returns its new length.
   */
  private cut(b: Uint8Array, start: number, length: number): number {
    const { bytesMax } = this;
    if (length - bytesMax <= MARK_BYTES_MAX) return length;
    let kept = bytesMax;
    while (bytesMax - kept < 4 && isContinuation(b[start + kept]!)) kept--;
    if (bytesMax - kept > 3) kept = bytesMax;
    this.truncated++;
    const mark = `...[+${length - kept} bytes]`;
    return kept + marks.encodeInto(mark, b.subarray(start + kept, start + kept + MARK_BYTES_MAX)).written;
  }

  private varintValue(b: Uint8Array, tag: number, p: number): number {
    const wire = this.wire;
    if (b[p]! < 128) {
      wire.low = b[p]!;
      wire.high = 0;
      wire.next = p + 1;
    } else {
      wire.varint64(b, p);
    }
    if (tag === Tag.anyValue.bool) {
      this.type = AttrType.bool;
      this.value = wire.low === 0 && wire.high === 0 ? 0 : 1;
    } else if (wire.high === wire.low >> 31) {
      this.type = AttrType.int;
      this.value = wire.low;
    } else {
      this.type = AttrType.int64;
      this.wideLow = wire.low;
      this.wideHigh = wire.high;
    }
    return wire.next;
  }

  /** The type of the array, key-value list or bytes value with this tag and these contents, or MALFORMED. */
  private compositeType(b: Uint8Array, tag: number, start: number, end: number, depth: number): number {
    if (tag === Tag.anyValue.bytes) return AttrType.other;
    if (depth > ANY_VALUE_DEPTH_MAX) return MALFORMED;
    const kvlist = tag === Tag.anyValue.kvlist;
    let type: number = AttrType.emptyArray;
    let p = start;
    while (p < end) {
      if (b[p] !== Tag.arrayValue.values) {
        if (this.isStrayTag(b, p, 1)) return MALFORMED;
        p = this.wire.skip(b, p, end);
        if (p < 0) return MALFORMED;
        continue;
      }
      const length = this.wire.varint(b, p + 1);
      p = this.wire.next;
      if (p + length > end) return MALFORMED;
      const element = kvlist
        ? this.checkKeyValue(b, p, p + length, depth)
        : this.elementType(b, p, p + length, depth);
      if (element === MALFORMED) return MALFORMED;
      type = type === AttrType.emptyArray || type === element ? element : AttrType.other;
      p += length;
    }
    if (p !== end) return MALFORMED;
    return kvlist ? AttrType.other : type;
  }

  /** What an array of such elements is: a typed array for the scalars, `other` for all else, or MALFORMED. */
  private elementType(b: Uint8Array, start: number, end: number, depth: number): number {
    let type: number = AttrType.other;
    let p = start;
    while (p < end) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) return MALFORMED;
      if (tag === Tag.anyValue.string) type = AttrType.stringArray;
      else if (tag === Tag.anyValue.bool) type = AttrType.boolArray;
      else if (tag === Tag.anyValue.int) type = AttrType.intArray;
      else if (tag === Tag.anyValue.double) type = AttrType.doubleArray;
      else if (tag === Tag.anyValue.bytes) type = AttrType.other;
      else if (tag === Tag.anyValue.array || tag === Tag.anyValue.kvlist) {
        this.wire.varint(b, p + 1);
        if (this.compositeType(b, tag, this.wire.next, next, depth + 1) === MALFORMED) return MALFORMED;
        type = AttrType.other;
      } else if (this.isStrayTag(b, p, 7)) return MALFORMED;
      p = next;
    }
    return type;
  }

  /** `other`, or MALFORMED. */
  private checkKeyValue(b: Uint8Array, start: number, end: number, depth: number): number {
    let p = start;
    while (p < end) {
      const isValue = b[p] === Tag.keyValue.value;
      if (!isValue && b[p] !== Tag.keyValue.key && this.isStrayTag(b, p, 2)) return MALFORMED;
      const next = this.wire.skip(b, p, end);
      if (next < 0) return MALFORMED;
      if (isValue) {
        this.wire.varint(b, p + 1);
        if (this.elementType(b, this.wire.next, next, depth) === MALFORMED) return MALFORMED;
      }
      p = next;
    }
    return AttrType.other;
  }

  /**
   * Whether the tag at `p`, none of a message's own, has the number of one of its fields, 1 to `last`: of
   * another wire type, or written in more bytes than it takes. Values that are handed on as they are must
   * not have such: strict readers would refuse the whole trace, and what is inside was not looked at.
   */
  private isStrayTag(b: Uint8Array, p: number, last: number): boolean {
    const tag = this.wire.varint(b, p);
    return tag >= 8 && Math.floor(tag / 8) <= last;
  }
}

/** Whether a byte goes on with a character of UTF-8. */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
