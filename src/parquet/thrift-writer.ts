// Writes structures in Thrift's compact protocol, as far as Parquet's metadata needs it.
import { ByteWriter } from '../lib/byte-writer.ts';

/** Type codes of the compact protocol. */
export const ThriftType = {
  true: 1,
  false: 2,
  i8: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  binary: 8,
  list: 9,
  struct: 12,
} as const;
export type ThriftType = (typeof ThriftType)[keyof typeof ThriftType];

const encoder = new TextEncoder();

export class ThriftWriter {
  readonly out: ByteWriter;
  private lastField = 0;
  private readonly outer: number[] = [];

  constructor(out: ByteWriter = new ByteWriter(1024)) {
    this.out = out;
  }

  i8(field: number, value: number): void {
    this.field(field, ThriftType.i8);
    this.out.u8(value);
  }

  i16(field: number, value: number): void {
    this.field(field, ThriftType.i16);
    this.zigzag(value);
  }

  i32(field: number, value: number): void {
    this.field(field, ThriftType.i32);
    this.zigzag(value);
  }

  /** An int64 below 2^52. */
  i64(field: number, value: number): void {
    this.field(field, ThriftType.i64);
    this.zigzag(value);
  }

  bool(field: number, value: boolean): void {
    this.field(field, value ? ThriftType.true : ThriftType.false);
  }

  text(field: number, value: string): void {
    this.binary(field, encoder.encode(value));
  }

  binary(field: number, value: Uint8Array): void {
    this.field(field, ThriftType.binary);
    this.binaryElement(value);
  }

  /**
   * Opens a list; the caller writes `count` elements with the `...Element` methods or
   * `beginElement`/`end`.
   */
  list(field: number, type: ThriftType, count: number): void {
    this.field(field, ThriftType.list);
    if (count < 15) {
      this.out.u8((count << 4) | type);
    } else {
      this.out.u8(0xf0 | type);
      this.out.varint(count);
    }
  }

  /** Opens a structure as a field; `end` closes it. */
  begin(field: number): void {
    this.field(field, ThriftType.struct);
    this.beginElement();
  }

  /** Opens a structure as a list element (or the outermost one). */
  beginElement(): void {
    this.outer.push(this.lastField);
    this.lastField = 0;
  }

  end(): void {
    this.out.u8(0);
    this.lastField = this.outer.pop() ?? 0;
  }

  boolElement(value: boolean): void {
    this.out.u8(value ? 1 : 0); // readers disagree on 2 for false inside lists; all take 0
  }

  /** An i16, i32 or i64 element. */
  numberElement(value: number): void {
    this.zigzag(value);
  }

  textElement(value: string): void {
    this.binaryElement(encoder.encode(value));
  }

  binaryElement(value: Uint8Array): void {
    this.out.varint(value.length);
    this.out.raw(value);
  }

  private zigzag(value: number): void {
    this.out.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  private field(field: number, type: ThriftType): void {
    const delta = field - this.lastField;
    if (delta > 0 && delta < 16) {
      this.out.u8((delta << 4) | type);
    } else {
      this.out.u8(type);
      this.zigzag(field);
    }
    this.lastField = field;
  }
}
