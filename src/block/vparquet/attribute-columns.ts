// The generic attributes of one kind of owner (resource, scope, span, event, link) in one row group, and
// the seven columns they make. Collected once in a tight loop; each column is then derived when it is
// written.
import { Entries, type ColumnValues } from '../../parquet/values.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { AttrType, FIRST, FIRST_ZEROS } from '../head/layout.ts';
import type { HeadReader } from '../head/reader.ts';
import type { VecReader } from '../head/vec.ts';
import { anyValueJson, arrayElements, varintWords } from './any-value.ts';
import { gather32, gatherNext32 } from './gather.ts';
import type { HeadStrings } from './head-strings.ts';
import type { PromotedValues } from './promoted.ts';
import type { Owners } from './trace-rows.ts';

/** What a column is written from, levels included. */
export interface ColumnSource {
  readonly entries: Entries;
  readonly definition: Uint8Array | number;
  readonly values: ColumnValues;
}

/** Where the attributes of a kind of owner are in the head. */
export interface AttributeStore {
  readonly start: VecReader;
  readonly keys: VecReader;
  readonly values: VecReader;
}

/** Attributes to be left out of the generic ones. */
export interface Promotion {
  /** By key id: 1 + index into `columns`, or 0. */
  readonly codes: Uint8Array;
  readonly columns: readonly PromotedValues[];
}

export interface HeadContext {
  readonly head: HeadReader;
  readonly strings: HeadStrings;
  readonly keys: HeadStrings;
}

const ARRAY_TYPES =
  (1 << AttrType.stringArray) |
  (1 << AttrType.boolArray) |
  (1 << AttrType.intArray) |
  (1 << AttrType.doubleArray) |
  (1 << AttrType.emptyArray);
const UNSUPPORTED_TYPES = (1 << AttrType.other) | (1 << AttrType.empty);

export class AttributeColumns {
  private readonly context: HeadContext;
  private readonly entries: Entries;
  /** Of the columns that every attribute has a value in. */
  private readonly definition: Uint8Array;
  private readonly level: number;
  /** By entry: key word and value word of the head, -1 for an owner without attributes. */
  private readonly keyWords: Int32Array;
  private readonly values: Int32Array;
  /** Entries that are attributes. */
  private readonly count: number;
  /** Bit t: some attribute is of type t. */
  private readonly types: number;

  constructor(context: HeadContext, store: AttributeStore, owners: Owners, promotion?: Promotion) {
    this.context = context;
    this.level = owners.level + 1;
    const starts = gather32(store.start, owners.source);
    const ends = gatherNext32(store.start, owners.source, store.keys.count);
    let capacity = 0;
    for (let i = 0; i < starts.length; i++) capacity += Math.max(1, ends[i] - starts[i]);
    const out = {
      repetition: new Uint8Array(capacity),
      definition: new Uint8Array(capacity),
      keyWords: new Int32Array(capacity),
      values: new Int32Array(capacity),
      pageStarts: new Int32Array(owners.entries.pageStarts.length),
      attributes: 0,
      types: 0,
    };
    const count = collect(context, store, owners, starts, ends, promotion, out);
    this.entries = new Entries(count, out.repetition, out.pageStarts);
    this.definition = out.definition;
    this.keyWords = out.keyWords;
    this.values = out.values;
    this.count = out.attributes;
    this.types = out.types;
  }

  key(): ColumnSource {
    const { keyWords } = this;
    const ids = new Int32Array(this.count);
    let n = 0;
    for (let i = 0; i < this.entries.count; i++) if (keyWords[i] >= 0) ids[n++] = keyWords[i] >>> 4;
    return this.source({ kind: 'strings', ids, table: this.context.keys });
  }

  isArray(): ColumnSource {
    const { keyWords } = this;
    const values = new Uint8Array(this.count);
    if ((this.types & ARRAY_TYPES) !== 0) {
      let n = 0;
      for (let i = 0; i < this.entries.count; i++) {
        if (keyWords[i] >= 0) values[n++] = (ARRAY_TYPES >>> (keyWords[i] & 15)) & 1;
      }
    }
    return this.source({ kind: 'bool', values });
  }

  strings(): ColumnSource {
    const { strings, head } = this.context;
    const { bytes } = head;
    if ((this.types & (1 << AttrType.stringArray)) === 0) return this.scalarStrings();
    return this.typed(AttrType.string, AttrType.stringArray, (count) => {
      const ids = new Int32Array(count);
      let n = 0;
      return {
        scalar: (_type, value) => {
          ids[n++] = value;
        },
        elements: (start, end) => {
          const before = n;
          arrayElements(bytes, start, end, Tag.anyValue.string, (_tag, from, to) => {
            ids[n++] = strings.idOfRange(from, to - from);
          });
          return n - before;
        },
        values: () => ({ kind: 'strings', ids: ids.subarray(0, n), table: strings }),
      };
    });
  }

  /** The column with the most values by far, as long as none of them is an array. */
  private scalarStrings(): ColumnSource {
    if ((this.types & (1 << AttrType.string)) === 0) {
      return this.source({ kind: 'strings', ids: new Int32Array(0), table: this.context.strings });
    }
    const { keyWords, values, level } = this;
    const count = this.entries.count;
    const definition = this.definition.slice(0, count);
    const ids = new Int32Array(this.count);
    let n = 0;
    for (let i = 0; i < count; i++) {
      const word = keyWords[i];
      if (word < 0 || (word & 15) !== AttrType.string) continue;
      definition[i] = level + 1;
      ids[n++] = values[i];
    }
    const table = this.context.strings;
    return { entries: this.entries, definition, values: { kind: 'strings', ids: ids.subarray(0, n), table } };
  }

  ints(): ColumnSource {
    const { wide } = this.context.head.vecs;
    const { bytes } = this.context.head;
    return this.typed(
      AttrType.int,
      AttrType.intArray,
      (count) => {
        const words = new Int32Array(count * 2);
        let n = 0;
        const push = (low: number, high: number): void => {
          words[n++] = low;
          words[n++] = high;
        };
        return {
          scalar: (type, value) => {
            if (type === AttrType.int) push(value, value >> 31);
            else push(wide.get(value, 0), wide.get(value, 1));
          },
          elements: (start, end) => {
            const before = n;
            arrayElements(bytes, start, end, Tag.anyValue.int, (_tag, from) => {
              const { low, high } = varintWords(bytes, from);
              push(low, high);
            });
            return (n - before) / 2;
          },
          values: () => ({ kind: 'int64', words: words.subarray(0, n) }),
        };
      },
      AttrType.int64,
    );
  }

  doubles(): ColumnSource {
    const { wide } = this.context.head.vecs;
    const { bytes } = this.context.head;
    return this.typed(AttrType.double, AttrType.doubleArray, (count) => {
      const words = new Int32Array(count * 2);
      const target = new Uint8Array(words.buffer);
      let n = 0;
      return {
        scalar: (_type, value) => {
          words[n++] = wide.get(value, 0);
          words[n++] = wide.get(value, 1);
        },
        elements: (start, end) => {
          const before = n;
          arrayElements(bytes, start, end, Tag.anyValue.double, (_tag, from) => {
            for (let k = 0; k < 8; k++) target[n * 4 + k] = bytes[from + k];
            n += 2;
          });
          return (n - before) / 2;
        },
        values: () => ({ kind: 'double', words: words.subarray(0, n) }),
      };
    });
  }

  bools(): ColumnSource {
    const { bytes } = this.context.head;
    return this.typed(AttrType.bool, AttrType.boolArray, (count) => {
      const values = new Uint8Array(count);
      let n = 0;
      return {
        scalar: (_type, value) => {
          values[n++] = value;
        },
        elements: (start, end) => {
          const before = n;
          arrayElements(bytes, start, end, Tag.anyValue.bool, (_tag, from) => {
            const { low, high } = varintWords(bytes, from);
            values[n++] = low === 0 && high === 0 ? 0 : 1;
          });
          return n - before;
        },
        values: () => ({ kind: 'bool', values: values.subarray(0, n) }),
      };
    });
  }

  /** Everything that has no typed column, as JSON. */
  unsupported(): ColumnSource {
    const starts: number[] = [0];
    const parts: Uint8Array[] = [];
    let { definition } = this;
    if ((this.types & UNSUPPORTED_TYPES) !== 0) {
      definition = this.definition.slice(0, this.entries.count);
      const encoder = new TextEncoder();
      for (let i = 0; i < this.entries.count; i++) {
        const word = this.keyWords[i];
        if (word < 0 || ((UNSUPPORTED_TYPES >>> (word & 15)) & 1) === 0) continue;
        const part = encoder.encode((word & 15) === AttrType.empty ? '{}' : this.json(this.values[i]));
        definition[i] = this.level + 1;
        parts.push(part);
        starts.push(starts[starts.length - 1] + part.length);
      }
    }
    const bytes = new Uint8Array(starts[starts.length - 1]);
    parts.forEach((part, i) => bytes.set(part, starts[i]));
    return {
      entries: this.entries,
      definition,
      values: { kind: 'packed', bytes, starts: Int32Array.from(starts) },
    };
  }

  private json(str: number): string {
    const { strings, head } = this.context;
    const offset = strings.offset(str);
    return anyValueJson(head.bytes, offset, offset + strings.length(str));
  }

  private source(values: ColumnValues): ColumnSource {
    return { entries: this.entries, definition: this.definition, values };
  }

  /** A typed value column: scalars of one or two types, and arrays of them. */
  private typed(
    scalarType: number,
    arrayType: number,
    begin: (count: number) => ValueSink,
    otherScalarType = scalarType,
  ): ColumnSource {
    const wanted = (1 << scalarType) | (1 << otherScalarType);
    if ((this.types & (wanted | (1 << arrayType))) === 0) return this.source(begin(0).values());
    if ((this.types & (1 << arrayType)) !== 0) return this.exploded(wanted, arrayType, begin);
    const { keyWords, values, level } = this;
    const count = this.entries.count;
    const sink = begin(this.count);
    const definition = this.definition.slice(0, count);
    for (let i = 0; i < count; i++) {
      const word = keyWords[i];
      if (word < 0 || ((wanted >>> (word & 15)) & 1) === 0) continue;
      definition[i] = level + 1;
      sink.scalar(word & 15, values[i]);
    }
    return { entries: this.entries, definition, values: sink.values() };
  }

  /** As `typed`, with more entries than attributes: one for each element of an array. */
  private exploded(wanted: number, arrayType: number, begin: (count: number) => ValueSink): ColumnSource {
    const { entries, keyWords, values, level } = this;
    const { strings } = this.context;
    let arrayBytes = 0; // an element takes at least two of them
    for (let i = 0; i < entries.count; i++) {
      if (keyWords[i] >= 0 && (keyWords[i] & 15) === arrayType) arrayBytes += strings.length(values[i]);
    }
    const capacity = entries.count + (arrayBytes >>> 1);
    const sink = begin(capacity);
    const repetition = new Uint8Array(capacity);
    const definition = new Uint8Array(capacity);
    const pageStarts = new Int32Array(entries.pageStarts.length);
    const sourceRepetition = entries.repetition!;
    let n = 0;
    for (let page = 0; page + 1 < pageStarts.length; page++) {
      pageStarts[page] = n;
      for (let i = entries.pageStarts[page]; i < entries.pageStarts[page + 1]; i++) {
        const word = keyWords[i];
        let elements = 0;
        if (word >= 0 && (word & 15) === arrayType) {
          const offset = strings.offset(values[i]);
          elements = sink.elements(offset, offset + strings.length(values[i]));
        } else if (word >= 0 && ((wanted >>> (word & 15)) & 1) !== 0) {
          sink.scalar(word & 15, values[i]);
          elements = 1;
        }
        definition[n] = elements === 0 ? this.definition[i] : level + 1;
        repetition[n++] = sourceRepetition[i];
        for (let k = 1; k < elements; k++) {
          definition[n] = level + 1;
          repetition[n++] = level + 1;
        }
      }
    }
    pageStarts[pageStarts.length - 1] = n;
    return { entries: new Entries(n, repetition, pageStarts), definition, values: sink.values() };
  }
}

/** Takes the values of one typed column in order. */
interface ValueSink {
  scalar(type: number, value: number): void;
  /** The elements of the array in the AnyValue [start, end); returns how many. */
  elements(start: number, end: number): number;
  values(): ColumnValues;
}

interface Collected {
  readonly repetition: Uint8Array;
  readonly definition: Uint8Array;
  readonly keyWords: Int32Array;
  readonly values: Int32Array;
  readonly pageStarts: Int32Array;
  attributes: number;
  types: number;
}

/** Fills `out` and returns the number of entries. The hot loop of a block: it runs for every attribute. */
function collect(
  context: HeadContext,
  store: AttributeStore,
  owners: Owners,
  starts: Int32Array,
  ends: Int32Array,
  promotion: Promotion | undefined,
  out: Collected,
): number {
  const { entries, level } = owners;
  const keyChunks = store.keys.chunks as readonly Int32Array[];
  const valueChunks = store.values.chunks as readonly Int32Array[];
  const { repetition, definition, keyWords, values, pageStarts } = out;
  const ownerRepetition = entries.repetition!;
  const codes = promotion?.codes ?? new Uint8Array(0);
  let n = 0;
  let attributes = 0;
  let types = 0;
  let page = 0;
  for (let owner = 0; owner < entries.count; owner++) {
    while (owner === entries.pageStarts[page]) pageStarts[page++] = n;
    let rep = ownerRepetition[owner];
    const end = ends[owner];
    const first = n;
    for (let a = starts[owner]; a < end; a++) {
      const k = FIRST_ZEROS - Math.clz32(a + FIRST);
      const at = a + FIRST - (FIRST << k);
      const word = keyChunks[k][at];
      const value = valueChunks[k][at];
      const code = codes[word >>> 4];
      if (code > 0 && promote(context, promotion!.columns[code - 1], owner, word & 15, value)) continue;
      keyWords[n] = word;
      values[n] = value;
      definition[n] = level + 1;
      repetition[n++] = rep;
      rep = level + 1;
      types |= 1 << (word & 15);
      attributes++;
    }
    if (n > first) continue;
    keyWords[n] = -1;
    definition[n] = typeof owners.definition === 'number' ? owners.definition : owners.definition[owner];
    repetition[n++] = rep;
  }
  while (page < pageStarts.length) pageStarts[page++] = n;
  out.attributes = attributes;
  out.types = types;
  return n;
}

function promote(
  context: HeadContext,
  column: PromotedValues,
  owner: number,
  type: number,
  value: number,
): boolean {
  const { wide } = context.head.vecs;
  if (type === AttrType.int64) return column.take(owner, type, wide.get(value, 0), wide.get(value, 1));
  if (type !== (column.isInt ? AttrType.intArray : AttrType.stringArray)) {
    return column.take(owner, type, value, value >> 31);
  }
  return column.takesArrays && column.takeArray(owner, elementsOf(context, column.isInt, value));
}

/** String ids, or word pairs of ints. */
function elementsOf({ head, strings }: HeadContext, areInts: boolean, str: number): Int32Array {
  const { bytes } = head;
  const elements: number[] = [];
  const start = strings.offset(str);
  const tag = areInts ? Tag.anyValue.int : Tag.anyValue.string;
  arrayElements(bytes, start, start + strings.length(str), tag, (_tag, from, to) => {
    if (!areInts) elements.push(strings.idOfRange(from, to - from));
    else {
      const { low, high } = varintWords(bytes, from);
      elements.push(low, high);
    }
  });
  return Int32Array.from(elements);
}
