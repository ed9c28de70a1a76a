// The part of MessagePack that gossip needs (github.com/msgpack/msgpack, spec-old.md): maps with text keys,
// whole numbers, booleans, bytes. Text and bytes are both written as raw, as members in Go expect; what is
// read may also be str and bin.
import type { ByteWriter } from '../../lib/byte-writer.ts';
import { TempoError } from '../../lib/errors.ts';

export type Packed = number | boolean | Uint8Array | readonly number[];

/** More is needed than is there: of a stream, the rest may come. */
export class TruncatedError extends TempoError {
  constructor() {
    super('invalid_argument', 'gossip message is cut off');
  }
}

const DEPTH_MAX = 8;
/** Names, fields and elements of one message: many times what any has. */
const VALUES_MAX = 1024;
const utf8 = new TextDecoder();

/** A map whose fields stand in this order; undefined ones are left out. */
export function packMap(
  out: ByteWriter,
  fields: readonly (readonly [string, Packed | string | undefined])[],
): void {
  const present = fields.filter(([, value]) => value !== undefined);
  out.u8(0x80 | present.length);
  for (const [name, value] of present) {
    packRaw(out, Buffer.from(name));
    pack(out, value as Packed | string);
  }
}

function pack(out: ByteWriter, value: Packed | string): void {
  if (typeof value === 'boolean') out.u8(value ? 0xc3 : 0xc2);
  else if (typeof value === 'number') packNumber(out, value);
  else if (typeof value === 'string') packRaw(out, Buffer.from(value));
  else packRaw(out, value instanceof Uint8Array ? value : Uint8Array.from(value));
}

function packNumber(out: ByteWriter, value: number): void {
  if (value < 128) return out.u8(value);
  if (value < 256) {
    out.u8(0xcc);
    return out.u8(value);
  }
  if (value < 65_536) {
    out.u8(0xcd);
  } else {
    out.u8(0xce);
    out.u8(value >>> 24);
    out.u8(value >>> 16);
  }
  out.u8(value >>> 8);
  out.u8(value);
}

function packRaw(out: ByteWriter, bytes: Uint8Array): void {
  const { length } = bytes;
  if (length < 32) {
    out.u8(0xa0 | length);
  } else {
    out.u8(length < 65_536 ? 0xda : 0xdb);
    if (length >= 65_536) {
      out.u8(length >>> 24);
      out.u8(length >>> 16);
    }
    out.u8(length >>> 8);
    out.u8(length);
  }
  out.raw(bytes);
}

/** A map as it was read; what is missing in it has its zero. */
export class PackedMap {
  readonly #fields: ReadonlyMap<string, unknown>;

  constructor(fields: ReadonlyMap<string, unknown>) {
    this.#fields = fields;
  }

  number(name: string): number {
    const value = this.#fields.get(name);
    return typeof value === 'number' && value >= 0 ? value : 0;
  }

  bool(name: string): boolean {
    return this.#fields.get(name) === true;
  }

  bytes(name: string): Uint8Array {
    const value = this.#fields.get(name);
    if (Array.isArray(value)) return Uint8Array.from(value.map(Number));
    return value instanceof Uint8Array ? value : new Uint8Array(0);
  }

  text(name: string): string {
    return utf8.decode(this.bytes(name));
  }
}

export class Unpacker {
  readonly bytes: Uint8Array;
  pos: number;
  #valuesLeft = 0;

  constructor(bytes: Uint8Array, pos = 0) {
    this.bytes = bytes;
    this.pos = pos;
  }

  map(): PackedMap {
    this.#valuesLeft = VALUES_MAX;
    const value = this.#value(0);
    if (value instanceof Map) return new PackedMap(value as Map<string, unknown>);
    throw new TempoError('invalid_argument', 'gossip message is no map');
  }

  /** @returns bytes for text too, undefined for what has no meaning here. */
  #value(depth: number): unknown {
    if (depth > DEPTH_MAX) throw new TempoError('invalid_argument', 'gossip message is nested too deeply');
    if (this.#valuesLeft-- <= 0)
      throw new TempoError('invalid_argument', 'gossip message has too many fields');
    const tag = this.#uint(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.#map(tag & 15, depth);
    if (tag < 0xa0) return this.#array(tag & 15, depth);
    if (tag < 0xc0) return this.#raw(tag & 31);
    if (tag >= 0xe0) return tag - 256;
    if (tag >= 0xcc && tag <= 0xcf) return this.#uint(1 << (tag - 0xcc));
    if (tag >= 0xd0 && tag <= 0xd3) return this.#int(1 << (tag - 0xd0));
    switch (tag) {
      case 0xc0:
        return undefined;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xd9:
        return this.#raw(this.#uint(1));
      case 0xc5:
      case 0xda:
        return this.#raw(this.#uint(2));
      case 0xc6:
      case 0xdb:
        return this.#raw(this.#uint(4));
      case 0xdc:
        return this.#array(this.#uint(2), depth);
      case 0xde:
        return this.#map(this.#uint(2), depth);
      default:
        throw new TempoError('invalid_argument', `gossip message has the unknown type 0x${tag.toString(16)}`);
    }
  }

  #map(count: number, depth: number): Map<string, unknown> {
    const fields = new Map<string, unknown>();
    for (let i = 0; i < count; i++) {
      const name = this.#value(depth + 1);
      if (!(name instanceof Uint8Array)) throw new TempoError('invalid_argument', 'gossip field has no name');
      fields.set(utf8.decode(name), this.#value(depth + 1));
    }
    return fields;
  }

  #array(count: number, depth: number): unknown[] {
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) values.push(this.#value(depth + 1));
    return values;
  }

  #raw(length: number): Uint8Array {
    this.#need(length);
    this.pos += length;
    return this.bytes.subarray(this.pos - length, this.pos);
  }

  #uint(size: number): number {
    this.#need(size);
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + this.bytes[this.pos++];
    return value;
  }

  #int(size: number): number {
    const value = this.#uint(size);
    const half = 2 ** (size * 8 - 1);
    return value >= half ? value - half * 2 : value;
  }

  #need(count: number): void {
    if (count > this.bytes.length - this.pos) throw new TruncatedError();
  }
}
