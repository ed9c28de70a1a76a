// The attribute values of a head for the value filter of its block: one pass over each store of
// attributes leaves out what was there before, and only what is left is hashed.
import { Tag } from '../../model/otlp/encode.ts';
import type { AttributeScope } from '../../traceql/source.ts';
import { AttrType, FIRST, FIRST_ZEROS } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';
import { arrayElements, varintWords } from '../vparquet/any-value.ts';
import { type HeadStrings, headKeys, headStrings } from '../vparquet/head-strings.ts';
import type { ValueFilterBuilder } from './builder.ts';
import { hashBytes, hashField, hashInt, type HashedType, hashWords, type HashWords } from './value-hash.ts';

/** Attributes that are looked at before those of them that are new are hashed. */
const SLICE = 1024;
/** Integers are compared with as many others, and so are strings that were met with another key. */
const NUMBERS = 2 ** 16;
const LOW_MASK = NUMBERS - 1;
const RECENT = 2 ** 13;
const RECENT_SHIFT = 32 - Math.log2(RECENT);
/** Types whose value is the number of a string. */
const STRINGS = (1 << AttrType.string) | (1 << AttrType.stringArray) | (1 << AttrType.intArray);

/** By number of a key or string. */
interface HashTable {
  readonly a: Int32Array;
  readonly b: Int32Array;
}

/** Hashes of the keys of a scope in front of strings and of integers. */
interface Fields {
  readonly strings: HashTable;
  readonly ints: HashTable;
}

/** How many attributes a head has, repeated values included. */
export function headAttributeCount({ vecs }: HeadReader): number {
  return (
    vecs.spanAttrKey.count +
    vecs.resourceAttrKey.count +
    vecs.scopeAttrKey.count +
    vecs.eventAttrKey.count +
    vecs.linkAttrKey.count
  );
}

export function addHeadValues(builder: ValueFilterBuilder, head: HeadReader): void {
  const { vecs } = head;
  const values = new HeadValues(builder, head);
  values.add('span', vecs.spanAttrKey, vecs.spanAttrValue);
  values.add('resource', vecs.resourceAttrKey, vecs.resourceAttrValue);
  values.add('instrumentation', vecs.scopeAttrKey, vecs.scopeAttrValue);
  values.add('event', vecs.eventAttrKey, vecs.eventAttrValue);
  values.add('link', vecs.linkAttrKey, vecs.linkAttrValue);
}

class HeadValues {
  private readonly builder: ValueFilterBuilder;
  private readonly head: HeadReader;
  private readonly strings: HeadStrings;
  private readonly keys: HeadStrings;
  /** The bytes of the head: its strings begin at words and are filled up with zeros. */
  private readonly words: Int32Array;
  /** By string the key that it was met with last, among those of a scope. */
  private readonly lastKey: Int32Array;
  /** By hash the integer met last: its upper half and its key. Its lower half follows from the place. */
  private readonly lastNumber = new Int32Array(NUMBERS);
  private readonly recent = new Int32Array(2 * RECENT);
  /** Of a slice: ordinals of what was not met just before, and whether it may have been met at all. */
  private readonly found = new Int32Array(SLICE);
  private readonly foundMet = new Int32Array(SLICE);
  private readonly hash: HashWords = { a: 0, b: 0 };

  constructor(builder: ValueFilterBuilder, head: HeadReader) {
    this.builder = builder;
    this.head = head;
    this.strings = headStrings(head);
    this.keys = headKeys(head);
    const { bytes } = head;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    this.lastKey = new Int32Array(this.strings.size);
  }

  add(scope: AttributeScope, keys: VecReader, words: VecReader): void {
    if (keys.count === 0) return;
    // no key word of a value that is looked at is 0
    this.lastKey.fill(0);
    this.lastNumber.fill(0);
    this.recent.fill(0);
    const strings = this.fields(scope, 'string');
    const ints = this.fields(scope, 'int');
    for (let chunk = 0; chunk < keys.chunks.length; chunk++) {
      const keyChunk = keys.chunks[chunk] as Int32Array;
      const wordChunk = words.chunks[chunk] as Int32Array;
      const count = Math.min(FIRST << chunk, keys.count + FIRST - (FIRST << chunk));
      for (let from = 0; from < count; from += SLICE) {
        const found = this.find(keyChunk, wordChunk, from, Math.min(count, from + SLICE));
        this.addFound(found, keyChunk, wordChunk, { strings, ints });
      }
    }
  }

  /** The hot loop: it runs for every attribute of a block. */
  private find(keys: Int32Array, words: Int32Array, from: number, to: number): number {
    const { lastKey, lastNumber, found, foundMet } = this;
    let count = 0;
    for (let i = from; i < to; i++) {
      const keyWord = keys[i];
      const type = keyWord & 15;
      let met = 0;
      if (((STRINGS >>> type) & 1) !== 0) {
        const word = words[i];
        met = lastKey[word];
        if (met === keyWord) continue;
        lastKey[word] = keyWord;
      } else if (type === AttrType.int && keyWord <= LOW_MASK) {
        const word = words[i];
        const number = (word & ~LOW_MASK) | keyWord;
        const at = (word ^ (Math.imul(number, 0x9e3779b1) >>> 16)) & LOW_MASK;
        if (lastNumber[at] === number) continue;
        lastNumber[at] = number;
      } else if (type === AttrType.int || type === AttrType.int64) met = 1;
      else continue;
      found[count] = i;
      foundMet[count++] = met;
    }
    return count;
  }

  private wasRecent(keyWord: number, word: number): boolean {
    const { recent } = this;
    const at = 2 * ((Math.imul(keyWord, 0x9e3779b1) ^ Math.imul(word, 0x85ebca6b)) >>> RECENT_SHIFT);
    if (recent[at] === keyWord && recent[at + 1] === word) return true;
    recent[at] = keyWord;
    recent[at + 1] = word;
    return false;
  }

  private addFound(count: number, keys: Int32Array, words: Int32Array, { strings, ints }: Fields): void {
    const { builder, hash, found, foundMet } = this;
    const { wide, strOffset, strLength } = this.head.vecs;
    // not by `get`, whose code is made for vectors of bytes too
    const offsets = strOffset.chunks as Int32Array[];
    const lengths = strLength.chunks as Int32Array[];
    for (let i = 0; i < count; i++) {
      const keyWord = keys[found[i]];
      const word = words[found[i]];
      if (foundMet[i] !== 0 && this.wasRecent(keyWord, word)) continue;
      const key = keyWord >>> 4;
      switch (keyWord & 15) {
        case AttrType.string: {
          const k = FIRST_ZEROS - Math.clz32(word + FIRST);
          const at = word + FIRST - (FIRST << k);
          hashWords(this.words, offsets[k][at] >>> 2, lengths[k][at], hash);
          builder.add(strings.a[key], strings.b[key], hash.a, hash.b);
          break;
        }
        case AttrType.int:
          hashInt(word, word >> 31, hash);
          builder.add(ints.a[key], ints.b[key], hash.a, hash.b);
          break;
        case AttrType.int64:
          hashInt(wide.get(word, 0), wide.get(word, 1), hash);
          builder.add(ints.a[key], ints.b[key], hash.a, hash.b);
          break;
        case AttrType.stringArray:
          this.stringElements(strings.a[key], strings.b[key], word);
          break;
        case AttrType.intArray:
          this.intElements(ints.a[key], ints.b[key], word);
          break;
      }
    }
  }

  private fields(scope: AttributeScope, type: HashedType): HashTable {
    const { keys, hash } = this;
    const out = { a: new Int32Array(keys.size), b: new Int32Array(keys.size) };
    for (let id = 0; id < keys.size; id++) {
      hashBytes(keys.bytes, keys.offset(id), keys.length(id), hash);
      hashField(scope, type, hash, hash);
      out.a[id] = hash.a;
      out.b[id] = hash.b;
    }
    return out;
  }

  private stringElements(fieldA: number, fieldB: number, id: number): void {
    const { strings, hash, builder } = this;
    const offset = strings.offset(id);
    const tag = Tag.anyValue.string;
    arrayElements(strings.bytes, offset, offset + strings.length(id), tag, (_tag, from, to) => {
      hashBytes(strings.bytes, from, to - from, hash);
      builder.add(fieldA, fieldB, hash.a, hash.b);
    });
  }

  private intElements(fieldA: number, fieldB: number, id: number): void {
    const { strings, hash, builder } = this;
    const offset = strings.offset(id);
    arrayElements(strings.bytes, offset, offset + strings.length(id), Tag.anyValue.int, (_tag, from) => {
      const { low, high } = varintWords(strings.bytes, from);
      hashInt(low, high, hash);
      builder.add(fieldA, fieldB, hash.a, hash.b);
    });
  }
}
