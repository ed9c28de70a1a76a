// Reader of the Thrift compact protocol, as Parquet uses it for footers, page headers and page indexes.
// Every read is bounded and every list is no longer than the bytes that are left; damage is thrown as
// `block_corrupt`.
import { corrupt } from './corrupt.ts';

/** Types of the compact protocol. */
const ThriftType = {
  stop: 0,
  true: 1,
  false: 2,
  i8: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
} as const;

const DEPTH_MAX = 32;
const TWO_POW_53 = 2 ** 53;

/**
 * A cursor. A struct is read by a loop:
 *
 *   const outer = reader.enter();
 *   while (reader.next()) switch (reader.field) { case 1: ... break; default: reader.skip(); }
 *   reader.leave(outer);
 */
export class ThriftReader {
  pos: number;
  /** Id of the field that `next` found. */
  field = 0;
  /** Its type. */
  type = 0;
  /** Type of the elements of the list that `list` began. */
  elementType = 0;
  private readonly bytes: Uint8Array;
  private readonly end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
  }

  /** Begins a struct; `leave` must be given what this returns. */
  enter(): number {
    const outer = this.field;
    this.field = 0;
    return outer;
  }

  leave(outer: number): void {
    this.field = outer;
  }

  /** Goes to the next field; false at the end of the struct. */
  next(): boolean {
    const header = this.byte();
    if (header === ThriftType.stop) return false;
    const delta = header >>> 4;
    this.field = delta === 0 ? this.int() : this.field + delta;
    this.type = header & 15;
    return true;
  }

  byte(): number {
    if (this.pos >= this.end) throw corrupt('metadata ends too early');
    return this.bytes[this.pos++];
  }

  /** An unsigned varint; numbers beyond 2^53 are damage here. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value >= TWO_POW_53) break;
        return value;
      }
      scale *= 128;
    }
    throw corrupt('a number in the metadata is too large');
  }

  /** A zigzag i16, i32 or i64. */
  int(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** An i32 or i64 that counts something or is a position. */
  count(): number {
    const value = this.int();
    if (value < 0) throw corrupt('a count in the metadata is negative');
    return value;
  }

  bool(): boolean {
    return this.type === ThriftType.true;
  }

  /** A view of a binary or string. */
  binary(): Uint8Array {
    const length = this.varint();
    if (length > this.end - this.pos) throw corrupt('a string in the metadata is too long');
    const view = this.bytes.subarray(this.pos, this.pos + length);
    this.pos += length;
    return view;
  }

  /** Goes over bytes that are known, if they come next. */
  passIfEqual(known: Uint8Array): boolean {
    const { bytes, pos } = this;
    if (known.length > this.end - pos) return false;
    for (let i = 0; i < known.length; i++) if (bytes[pos + i] !== known[i]) return false;
    this.pos = pos + known.length;
    return true;
  }

  /** A copy of what was read from there on. */
  since(pos: number): Uint8Array {
    return new Uint8Array(this.bytes.subarray(pos, this.pos));
  }

  /** Begins a list and returns how many elements follow. */
  list(): number {
    const header = this.byte();
    const size = header >>> 4 === 15 ? this.varint() : header >>> 4;
    if (size > this.end - this.pos) throw corrupt('a list in the metadata is too long');
    this.elementType = header & 15;
    return size;
  }

  /** A bool as an element of a list: one byte. */
  listBool(): boolean {
    return this.byte() === ThriftType.true;
  }

  /** Passes over the value of the field that `next` found. */
  skip(): void {
    this.skipType(this.type, 0);
  }

  private skipType(type: number, depth: number): void {
    if (depth > DEPTH_MAX) throw corrupt('the metadata is nested too deeply');
    switch (type) {
      case ThriftType.true:
      case ThriftType.false:
        return;
      case ThriftType.i8:
        this.byte();
        return;
      case ThriftType.i16:
      case ThriftType.i32:
      case ThriftType.i64:
        this.skipVarint();
        return;
      case ThriftType.double:
        this.advance(8);
        return;
      case ThriftType.binary:
        this.binary();
        return;
      case ThriftType.list:
      case ThriftType.set:
        this.skipList(depth);
        return;
      case ThriftType.map:
        this.skipMap(depth);
        return;
      case ThriftType.struct:
        this.skipStruct(depth);
        return;
      default:
        throw corrupt(`type ${type} in the metadata is unknown`);
    }
  }

  private skipVarint(): void {
    for (let i = 0; i < 10; i++) if (this.byte() < 128) return;
    throw corrupt('a number in the metadata is too long');
  }

  private advance(length: number): void {
    if (length > this.end - this.pos) throw corrupt('metadata ends too early');
    this.pos += length;
  }

  private skipList(depth: number): void {
    const size = this.list();
    const type = this.elementType;
    for (let i = 0; i < size; i++) this.skipElement(type, depth + 1);
  }

  private skipMap(depth: number): void {
    const size = this.varint();
    if (size === 0) return;
    if (size > this.end - this.pos) throw corrupt('a map in the metadata is too long');
    const types = this.byte();
    for (let i = 0; i < size; i++) {
      this.skipElement(types >>> 4, depth + 1);
      this.skipElement(types & 15, depth + 1);
    }
  }

  /** Inside lists and maps a bool takes a byte. */
  private skipElement(type: number, depth: number): void {
    if (type === ThriftType.true || type === ThriftType.false) this.byte();
    else this.skipType(type, depth);
  }

  private skipStruct(depth: number): void {
    const outer = this.enter();
    while (this.next()) this.skipType(this.type, depth + 1);
    this.leave(outer);
  }
}
