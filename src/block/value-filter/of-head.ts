// The attribute values of a head for the value filter of its block: one pass over each store of
// attributes, in which a string is hashed when it is met first.
import type { AttributeScope } from '../../traceql/source.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { AttrType, FIRST } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';
import { arrayElements, varintWords } from '../vparquet/any-value.ts';
import { type HeadStrings, headKeys, headStrings } from '../vparquet/head-strings.ts';
import type { ValueFilterBuilder } from './builder.ts';
import { hashBytes, hashField, hashInt, type HashedType, type HashWords } from './value-hash.ts';

/** Attributes are compared with as many others: most of them were there a moment ago. */
const RECENT = 2 ** 13;
const RECENT_SHIFT = 32 - Math.log2(RECENT);

/** By number of a key or string. */
interface HashTable {
  readonly a: Int32Array;
  readonly b: Int32Array;
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
  /** Two words of the hash of each string, of those that were met. */
  private readonly values: Int32Array;
  /** By string the key that it was met with last, among those of a scope. */
  private readonly lastKey: Int32Array;
  private readonly hash: HashWords = { a: 0, b: 0 };

  constructor(builder: ValueFilterBuilder, head: HeadReader) {
    this.builder = builder;
    this.head = head;
    this.strings = headStrings(head);
    this.keys = headKeys(head);
    this.values = new Int32Array(2 * this.strings.size);
    this.lastKey = new Int32Array(this.strings.size);
  }

  /** The hot loop: it runs for every attribute of a block. */
  add(scope: AttributeScope, keys: VecReader, words: VecReader): void {
    if (keys.count === 0) return;
    const { builder, lastKey, values, hash } = this;
    // most strings are values of one key only
    lastKey.fill(-1);
    const strings = this.fields(scope, 'string');
    const ints = this.fields(scope, 'int');
    const { wide } = this.head.vecs;
    const recent = new Int32Array(2 * RECENT).fill(-1);
    for (let chunk = 0; chunk < keys.chunks.length; chunk++) {
      const keyChunk = keys.chunks[chunk] as Int32Array;
      const wordChunk = words.chunks[chunk] as Int32Array;
      const count = Math.min(FIRST << chunk, keys.count + FIRST - (FIRST << chunk));
      for (let i = 0; i < count; i++) {
        const keyWord = keyChunk[i];
        const word = wordChunk[i];
        const type = keyWord & 15;
        if (type === AttrType.string) {
          if (lastKey[word] === keyWord) continue;
          lastKey[word] = keyWord;
          if (values[2 * word] === 0) {
            // met for the first time at all, so not among the recent ones
            this.learn(word);
            const key = keyWord >>> 4;
            builder.add(strings.a[key], strings.b[key], values[2 * word], values[2 * word + 1]);
            continue;
          }
        }
        const at = (Math.imul(keyWord, 0x9e3779b1) ^ Math.imul(word, 0x85ebca6b)) >>> RECENT_SHIFT;
        if (recent[2 * at] === keyWord && recent[2 * at + 1] === word) continue;
        recent[2 * at] = keyWord;
        recent[2 * at + 1] = word;
        const key = keyWord >>> 4;
        switch (type) {
          case AttrType.string:
            builder.add(strings.a[key], strings.b[key], values[2 * word], values[2 * word + 1]);
            break;
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
  }

  private learn(id: number): void {
    const { strings, hash, values } = this;
    hashBytes(strings.bytes, strings.offset(id), strings.length(id), hash);
    values[2 * id] = hash.a;
    values[2 * id + 1] = hash.b;
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
