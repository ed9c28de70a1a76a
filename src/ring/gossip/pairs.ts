// What gossip carries for rings: KeyValuePair of dskit's kv.proto, one in a message, or all of them one after
// another, each behind its length in four bytes.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { TempoError } from '../../lib/errors.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';
import { BYTES, VARINT, WireCursor } from '../../model/otlp/wire.ts';

const KEY = 1;
const VALUE = 2;
const CODEC = 3;
const DELETED = 4;
const UPDATED = 5;

/** Of a key and of a codec's name, which are kept in many places. */
const TEXT_BYTES_MAX = 256;
const EMPTY = new Uint8Array(0);

export interface Pair {
  readonly key: string;
  readonly value: Uint8Array;
  readonly codec: string;
  readonly isDeleted: boolean;
  readonly updatedMs: number;
}

export function encodePair({ key, value, codec, isDeleted, updatedMs }: Pair): Uint8Array {
  const out = new ByteWriter(value.length + key.length + 32);
  textField(out, KEY, key);
  bytesField(out, VALUE, value);
  textField(out, CODEC, codec);
  varintField(out, DELETED, isDeleted ? 1 : 0);
  varintField(out, UPDATED, updatedMs);
  return out.copy();
}

/** Throws TempoError when it is none, or its key is longer than any ring's. */
export function decodePair(bytes: Uint8Array): Pair {
  const cursor = new WireCursor(bytes);
  const end = bytes.length;
  let [key, value, codec]: Uint8Array[] = [EMPTY, EMPTY, EMPTY];
  let isDeleted = false;
  let updatedMs = 0;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if ((tag & 7) === BYTES) {
      const valueEnd = cursor.valueEnd(end);
      const field = bytes.subarray(cursor.pos, valueEnd);
      cursor.pos = valueEnd;
      if (tag >>> 3 === KEY) key = field;
      else if (tag >>> 3 === VALUE) value = field;
      else if (tag >>> 3 === CODEC) codec = field;
    } else if ((tag & 7) === VARINT) {
      const number = cursor.varint(end);
      if (tag >>> 3 === DELETED) isDeleted = number !== 0;
      else if (tag >>> 3 === UPDATED) updatedMs = number;
    } else {
      cursor.skip(tag & 7, end);
    }
  }
  if (key.length === 0) throw new TempoError('invalid_argument', 'gossip value has no key');
  return { key: shortText(key, 'key'), value, codec: shortText(codec, 'codec'), isDeleted, updatedMs };
}

function shortText(bytes: Uint8Array, what: string): string {
  if (bytes.length <= TEXT_BYTES_MAX) return Buffer.from(bytes).toString();
  const found = `gossip value has a ${what} of ${bytes.length} bytes`;
  throw new TempoError('invalid_argument', `${found}, more than ${TEXT_BYTES_MAX}`);
}

export function joinPairs(pairs: readonly Uint8Array[]): Uint8Array {
  const out = new ByteWriter(pairs.reduce((sum, { length }) => sum + length + 4, 0));
  for (const pair of pairs) {
    for (let shift = 24; shift >= 0; shift -= 8) out.u8(pair.length >>> shift);
    out.raw(pair);
  }
  return out.finish();
}

/** Throws TempoError when they are cut off. */
export function* splitPairs(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 > bytes.length ? Number.POSITIVE_INFINITY : at + 4 + view.getUint32(at);
    if (end > bytes.length) throw new TempoError('invalid_argument', 'gossip state is cut off');
    yield bytes.subarray(at + 4, end);
    at = end;
  }
}
