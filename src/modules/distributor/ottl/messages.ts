// Messages of a request as conditions see them: where their fields are is noted when one of them is asked for
// first, and values are made of the wanted fields only.
import { Tag } from '../../../model/otlp/encode.ts';
import { BYTES, WireCursor } from '../../../model/otlp/wire.ts';
import { OttlFailure, type OttlValue } from './values.ts';

/** Arrays and lists in each other deeper than this are not looked into. */
const DEPTH_MAX = 64;
/** Tags that are asked for are smaller. */
const TAGS = 256;
/** What is found in a message of more fields is kept: it is asked again for each of its events, or spans. */
const FIELDS_KEPT_FROM = 32;

/** One message at a time: `moveTo` takes the next. */
export class MessageView {
  private readonly cursor: WireCursor;
  private readonly view: DataView;
  private start = 0;
  private end = 0;
  private isIndexed = true;
  private count = 0;
  private readonly tags: number[] = [];
  private readonly from: number[] = [];
  private readonly to: number[] = [];
  /** Of each tag the last place, where it is one of this message. */
  private readonly lastPlace = new Int32Array(TAGS);
  private readonly placeOf = new Int32Array(TAGS);
  private messages = 0;
  private readonly values = new Map<Uint8Array, OttlValue>();
  private readonly maps = new Map<number, ReadonlyMap<string, OttlValue>>();

  constructor(body: Uint8Array) {
    this.cursor = new WireCursor(body);
    this.view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  }

  /** An empty range is a message without fields. */
  moveTo(start: number, end: number): void {
    this.start = start;
    this.end = end;
    this.isIndexed = false;
  }

  private index(): void {
    this.isIndexed = true;
    this.count = 0;
    this.messages++;
    this.values.clear();
    this.maps.clear();
    const { cursor, end, tags, from, to, lastPlace, placeOf, messages } = this;
    for (cursor.pos = this.start; cursor.pos < end; ) {
      const tag = cursor.tag(end);
      const isBytes = (tag & 7) === BYTES;
      const stop = isBytes ? cursor.valueEnd(end) : -1;
      const begin = cursor.pos;
      if (isBytes) cursor.pos = stop;
      else cursor.skip(tag & 7, end);
      if (tag < TAGS) {
        lastPlace[tag] = this.count;
        placeOf[tag] = messages;
      }
      tags[this.count] = tag;
      from[this.count] = begin;
      to[this.count++] = cursor.pos;
    }
  }

  /** The place of a field, of the last where it is there several times; -1 = not there. */
  private last(tag: number): number {
    if (!this.isIndexed) this.index();
    return this.placeOf[tag] === this.messages ? this.lastPlace[tag]! : -1;
  }

  text(tag: number): string {
    const i = this.last(tag);
    return i < 0 ? '' : textAt(this.cursor.bytes, this.from[i]!, this.to[i]!);
  }

  hex(tag: number): string {
    const i = this.last(tag);
    if (i < 0) return '';
    return Buffer.from(this.cursor.bytes.subarray(this.from[i], this.to[i])).toString('hex');
  }

  /** Of a varint; 0 when it is not there. */
  int(tag: number): bigint {
    const i = this.last(tag);
    return i < 0 ? 0n : varintAt(this.cursor.bytes, this.from[i]!);
  }

  fixed64(tag: number): bigint {
    const i = this.last(tag);
    return i < 0 ? 0n : this.view.getBigInt64(this.from[i]!, true);
  }

  fixed32(tag: number): bigint {
    const i = this.last(tag);
    return i < 0 ? 0n : BigInt(this.view.getUint32(this.from[i]!, true));
  }

  /** A message inside this one. */
  inner(tag: number, inner: MessageView): MessageView {
    const i = this.last(tag);
    inner.moveTo(i < 0 ? 0 : this.from[i]!, i < 0 ? 0 : this.to[i]!);
    return inner;
  }

  /**
   * The value of the first attribute with that key, which is the same object each time it is asked for;
   * undefined when there is none.
   */
  attribute(tag: number, key: Uint8Array): OttlValue {
    if (!this.isIndexed) this.index();
    if (this.count < FIELDS_KEPT_FROM) return this.findAttribute(tag, key);
    if (!this.values.has(key)) this.values.set(key, this.findAttribute(tag, key));
    return this.values.get(key);
  }

  private findAttribute(tag: number, key: Uint8Array): OttlValue {
    for (let i = 0; i < this.count; i++) {
      if (this.tags[i] !== tag) continue;
      const value = this.valueOfKey(this.from[i]!, this.to[i]!, key);
      if (value !== NOT_IT) return value;
    }
    return undefined;
  }

  attributes(tag: number): ReadonlyMap<string, OttlValue> {
    if (!this.isIndexed) this.index();
    const kept = this.maps.get(tag);
    if (kept !== undefined) return kept;
    const all = new Map<string, OttlValue>();
    for (let i = 0; i < this.count; i++) {
      if (this.tags[i] === tag) addPair(all, this.cursor, this.from[i]!, this.to[i]!, 0);
    }
    if (this.count >= FIELDS_KEPT_FROM) this.maps.set(tag, all);
    return all;
  }

  private valueOfKey(start: number, end: number, wanted: Uint8Array): OttlValue | typeof NOT_IT {
    const { cursor } = this;
    let isIt = wanted.length === 0;
    let value: readonly [from: number, to: number] | undefined;
    for (cursor.pos = start; cursor.pos < end; ) {
      const tag = cursor.tag(end);
      if (tag !== Tag.keyValue.key && tag !== Tag.keyValue.value) {
        cursor.skip(tag & 7, end);
        continue;
      }
      const stop = cursor.valueEnd(end);
      if (tag === Tag.keyValue.value) value = [cursor.pos, stop];
      else if (!(isIt = sameBytes(cursor.bytes, cursor.pos, stop, wanted))) return NOT_IT;
      cursor.pos = stop;
    }
    if (!isIt) return NOT_IT;
    return value === undefined ? undefined : anyValue(cursor, value[0], value[1], 0);
  }
}

const NOT_IT = Symbol('another key');

function addPair(
  map: Map<string, OttlValue>,
  cursor: WireCursor,
  start: number,
  end: number,
  depth: number,
): void {
  let key = '';
  let value: OttlValue;
  for (cursor.pos = start; cursor.pos < end; ) {
    const tag = cursor.tag(end);
    if ((tag & 7) !== BYTES) {
      cursor.skip(tag & 7, end);
      continue;
    }
    const stop = cursor.valueEnd(end);
    if (tag === Tag.keyValue.key) key = textAt(cursor.bytes, cursor.pos, stop);
    else if (tag === Tag.keyValue.value) value = anyValue(cursor, cursor.pos, stop, depth);
    cursor.pos = stop;
  }
  if (!map.has(key)) map.set(key, value);
}

function anyValue(cursor: WireCursor, start: number, end: number, depth: number): OttlValue {
  if (depth > DEPTH_MAX) throw new OttlFailure('is nested too deeply');
  const { bytes } = cursor;
  let value: OttlValue;
  for (cursor.pos = start; cursor.pos < end; ) {
    const tag = cursor.tag(end);
    const wire = tag & 7;
    const stop = wire === BYTES ? cursor.valueEnd(end) : -1;
    const from = cursor.pos;
    if (wire === BYTES) cursor.pos = stop;
    else cursor.skip(wire, end);
    const next = cursor.pos;
    if (tag === Tag.anyValue.string) value = textAt(bytes, from, next);
    else if (tag === Tag.anyValue.bool) value = varintAt(bytes, from) !== 0n;
    else if (tag === Tag.anyValue.int) value = varintAt(bytes, from);
    else if (tag === Tag.anyValue.double)
      value = new DataView(bytes.buffer, bytes.byteOffset + from, 8).getFloat64(0, true);
    else if (tag === Tag.anyValue.bytes) value = bytes.slice(from, next);
    else if (tag === Tag.anyValue.array) value = listOf(cursor, from, next, depth);
    else if (tag === Tag.anyValue.kvlist) value = mapOf(cursor, from, next, depth);
    cursor.pos = next;
  }
  return value;
}

function listOf(cursor: WireCursor, start: number, end: number, depth: number): OttlValue[] {
  const list: OttlValue[] = [];
  eachValue(cursor, start, end, (from, to) => list.push(anyValue(cursor, from, to, depth + 1)));
  return list;
}

function mapOf(cursor: WireCursor, start: number, end: number, depth: number): Map<string, OttlValue> {
  const map = new Map<string, OttlValue>();
  eachValue(cursor, start, end, (from, to) => addPair(map, cursor, from, to, depth + 1));
  return map;
}

function eachValue(
  cursor: WireCursor,
  start: number,
  end: number,
  visit: (from: number, to: number) => void,
): void {
  for (cursor.pos = start; cursor.pos < end; ) {
    const tag = cursor.tag(end);
    if (tag !== Tag.arrayValue.values) {
      cursor.skip(tag & 7, end);
      continue;
    }
    const stop = cursor.valueEnd(end);
    visit(cursor.pos, stop);
    cursor.pos = stop;
  }
}

/** As an int64. The cursor has seen that it ends. */
function varintAt(bytes: Uint8Array, from: number): bigint {
  let low = 0;
  for (let at = from, shift = 0; shift < 28; at++, shift += 7) {
    low |= (bytes[at]! & 127) << shift;
    if (bytes[at]! < 128) return BigInt(low);
  }
  let value = 0n;
  for (let at = from, shift = 0n; ; at++, shift += 7n) {
    value |= BigInt(bytes[at]! & 127) << shift;
    if (bytes[at]! < 128) return BigInt.asIntN(64, value);
  }
}

function textAt(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString();
}

function sameBytes(bytes: Uint8Array, from: number, to: number, wanted: Uint8Array): boolean {
  if (to - from !== wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[from + i] !== wanted[i]) return false;
  return true;
}
