// The bytes of a label's value: its type, then bytes whose order is that of the values. From them come the
// JSON and the protobuf of an AnyValue.
import type { ByteWriter } from '../../../lib/byte-writer.ts';
import { decodeText } from '../../regex.ts';
import type { JsonWriter } from '../json-writer.ts';
import { jsonDouble } from '../json.ts';

export const LABEL_TYPE = { string: 1, bool: 2, int: 3, double: 4 } as const;

const NUMBER_BYTES = 8;
const SIGN = 1n << 63n;

const scratch = new DataView(new ArrayBuffer(NUMBER_BYTES));
const scratchBytes = new Uint8Array(scratch.buffer);

/** A view, valid until the next one. */
export function sortableInt(value: bigint): Uint8Array {
  scratch.setBigUint64(0, BigInt.asUintN(64, value) ^ SIGN);
  return scratchBytes;
}

/** A view, valid until the next one. */
export function sortableDouble(value: number): Uint8Array {
  scratch.setFloat64(0, value);
  const bits = scratch.getBigUint64(0);
  scratch.setBigUint64(0, (bits & SIGN) === 0n ? bits | SIGN : BigInt.asUintN(64, ~bits));
  return scratchBytes;
}

function bitsOf(value: Uint8Array): bigint {
  scratchBytes.set(value.subarray(1));
  return scratch.getBigUint64(0);
}

function intOf(value: Uint8Array): bigint {
  return BigInt.asIntN(64, bitsOf(value) ^ SIGN);
}

function doubleOf(value: Uint8Array): number {
  const bits = bitsOf(value);
  scratch.setBigUint64(0, (bits & SIGN) === 0n ? BigInt.asUintN(64, ~bits) : bits ^ SIGN);
  return scratch.getFloat64(0);
}

export function textOf(value: Uint8Array): string {
  return decodeText(value.subarray(1));
}

/** Writes an AnyValue as JSON. */
export function writeValueJson(out: JsonWriter, value: Uint8Array): void {
  switch (value[0]) {
    case LABEL_TYPE.string:
      out.raw('{"stringValue":');
      out.stringBytes(value, 1);
      out.raw('}');
      return;
    case LABEL_TYPE.bool:
      return out.raw(value[1] === 0 ? '{"boolValue":false}' : '{"boolValue":true}');
    case LABEL_TYPE.int:
      return out.raw(`{"intValue":"${intOf(value)}"}`);
    case LABEL_TYPE.double:
      return out.raw(`{"doubleValue":${jsonDouble(doubleOf(value))}}`);
    default:
      throw new Error('a label is of no known type');
  }
}

/** Writes the fields of an AnyValue. */
export function writeValueProto(out: ByteWriter, value: Uint8Array): void {
  switch (value[0]) {
    case LABEL_TYPE.string:
      out.u8(0x0a);
      out.varint(value.length - 1);
      out.raw(value.subarray(1));
      return;
    case LABEL_TYPE.bool:
      out.u8(0x10);
      out.u8(value[1]!);
      return;
    case LABEL_TYPE.int: {
      out.u8(0x18);
      let rest = BigInt.asUintN(64, intOf(value));
      for (; rest > 127n; rest >>= 7n) out.u8(Number(rest & 127n) | 128);
      out.u8(Number(rest));
      return;
    }
    case LABEL_TYPE.double:
      scratch.setFloat64(0, doubleOf(value), true);
      out.u8(0x21);
      out.raw(scratchBytes);
      return;
    default:
      throw new Error('a label is of no known type');
  }
}
