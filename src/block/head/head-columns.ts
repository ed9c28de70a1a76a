// Columns of a head in one piece each, made when a query asks for them. Whoever opens the head again gets
// what was made before: a head only grows, so that only what has come since is added, and views of what was
// there stay what they are.
import type { NumberArray } from '../../lib/narrow-numbers.ts';
import { type SourceMemo, ValueType } from '../../traceql/source.ts';
import { inFull, KIND, type KindOrStatus, unpack } from './kind-status.ts';
import type { HeadVecName } from './layout.ts';
import type { HeadReader } from './reader.ts';
import { pairVector } from './vectors.ts';

/** Vectors whose elements never change, nor does what they mean. */
export type WordsName = Exclude<
  HeadVecName,
  'traceLastSpan' | 'traceSpans' | 'traceStart' | 'traceEnd' | 'traceBytes' | 'spanKindStatus'
>;

/** Unix ns or ns of each span as numbers beside a base. */
export interface Numbers {
  readonly num: Float64Array;
  readonly baseLow: number;
  readonly baseHigh: number;
}

/** Where memory is taken anew there is room for a quarter more. */
const ROOM = 1.25;
const ROOM_MIN = 1024;

/** Strings whose ids are kept. */
const STRINGS_MAX = 1000;
/** Longer ones are sought each time. */
const SOUGHT_BYTES_MAX = 256;
/** What such a string takes, about. */
const STRING_BYTES = 250;
const STRINGS = 'strings';

interface SoughtString {
  /** -1 = not there. */
  readonly id: number;
  /** Among so many. */
  readonly sought: number;
}

/** What is kept under a name, with how many elements of the head are in it. */
interface Column<Numbers> {
  array: Numbers;
  count: number;
}

interface NumberColumn extends Column<Float64Array> {
  baseLow: number;
  baseHigh: number;
  /** Some are too large for a double. */
  isInexact: boolean;
}

export class HeadColumns {
  private readonly reader: HeadReader;
  private readonly memo: SourceMemo;

  /** @param memo of this head; what is in it came from here. undefined = nothing is kept for others. */
  constructor(reader: HeadReader, memo: SourceMemo | undefined) {
    this.reader = reader;
    this.memo = memo ?? new OwnMemo();
  }

  /** What is kept under a name; it may know more of the head than this snapshot has. */
  kept<T extends object>(what: string): T | undefined {
    return this.memo.get<T>(what);
  }

  keep(what: string, value: object, bytes: number): void {
    this.memo.set(what, value, bytes);
  }

  /** All elements of a vector, as many words each as it has. */
  words(name: WordsName): Int32Array {
    const vec = this.reader.vecs[name];
    const { count, width } = vec;
    const column = this.kept<Column<Int32Array>>(name) ?? { array: new Int32Array(0), count: 0 };
    if (column.count < count) {
      column.array = withRoom(column.array, count * width, (size) => new Int32Array(size));
      vec.copyTo(column.array, column.count, column.count);
      column.count = count;
      this.keep(name, column, column.array.byteLength);
    }
    return column.array.subarray(0, count * width);
  }

  /** Id of a string that queries ask for, -1 = the head does not have it. */
  findString(bytes: Uint8Array): number {
    const { reader } = this;
    const strings = this.kept<Map<string, SoughtString>>(STRINGS) ?? new Map<string, SoughtString>();
    const text = String.fromCharCode(...bytes.subarray(0, SOUGHT_BYTES_MAX)); // as a key only
    const isKept = bytes.length <= SOUGHT_BYTES_MAX;
    const known = isKept ? strings.get(text) : undefined;
    const sought = reader.vecs.strLength.count;
    if (known !== undefined && (known.id >= 0 || known.sought >= sought)) return known.id;
    const id = reader.findString(bytes, known?.sought);
    if (!isKept) return id;
    if (strings.size === STRINGS_MAX) strings.clear();
    strings.set(text, { id, sought });
    this.keep(STRINGS, strings, STRINGS_MAX * STRING_BYTES);
    return id;
  }

  /** 0, 1, 2 and so on: what entries of ids are. */
  ordinals(count: number): Int32Array {
    const what = 'ordinals';
    const column = this.kept<Column<Int32Array>>(what) ?? { array: new Int32Array(0), count: 0 };
    if (column.count < count) {
      column.array = withRoom(column.array, count, (size) => new Int32Array(size));
      for (let i = column.count; i < count; i++) column.array[i] = i;
      column.count = count;
      this.keep(what, column, column.array.byteLength);
    }
    return column.array.subarray(0, count);
  }

  /** undefined = doubles do not hold them all. */
  numbers(name: 'spanStart' | 'spanDuration'): Numbers | undefined {
    const vec = this.reader.vecs[name];
    const { count } = vec;
    const what = `${name} as numbers`;
    const column = this.kept<NumberColumn>(what) ?? {
      array: new Float64Array(0),
      count: 0,
      baseLow: name === 'spanStart' && count > 0 ? vec.get(0, 0) : 0,
      baseHigh: name === 'spanStart' && count > 0 ? vec.get(0, 1) : 0,
      isInexact: false,
    };
    const { baseLow, baseHigh } = column;
    if (column.count < count && !column.isInexact) {
      column.array = withRoom(column.array, count, (size) => new Float64Array(size));
      const pairs = vec.slice(column.count);
      const more = pairVector('span', undefined, pairs, ValueType.int, baseLow, baseHigh);
      column.array.set(more.num!, column.count);
      column.isInexact = more.exact !== undefined;
      column.count = count;
      this.keep(what, column, column.array.byteLength);
    }
    return column.isInexact ? undefined : { num: column.array.subarray(0, count), baseLow, baseHigh };
  }

  /** In one byte each while the head has none that OTLP has no name for. */
  kindsOrStatuses(which: KindOrStatus): NumberArray {
    const { vecs } = this.reader;
    const packed = this.packedKindStatus();
    const count = packed.length;
    const hasOdd = vecs.spanOddKindStatus.count > 0;
    const what = `${which === KIND ? 'kinds' : 'statuses'}${hasOdd ? ' in full' : ''}`;
    const none = hasOdd ? new Int32Array(0) : new Uint8Array(0);
    const column = this.kept<Column<Int32Array | Uint8Array>>(what) ?? { array: none, count: 0 };
    if (column.count < count) {
      column.array = withRoom(column.array, count, (size) =>
        hasOdd ? new Int32Array(size) : new Uint8Array(size),
      );
      for (let i = column.count; i < count; i++) {
        const bits = unpack(packed[i]!, which);
        column.array[i] = hasOdd ? inFull(vecs, i, which, bits) : bits;
      }
      column.count = count;
      this.keep(what, column, column.array.byteLength);
    }
    return column.array.subarray(0, count);
  }

  /** Of each span four bits of both. */
  packedKindStatus(): Uint8Array {
    const vec = this.reader.vecs.spanKindStatus;
    const what = 'spanKindStatus';
    const column = this.kept<Column<Uint8Array>>(what) ?? { array: new Uint8Array(0), count: 0 };
    if (column.count < vec.count) {
      column.array = withRoom(column.array, vec.count, (size) => new Uint8Array(size));
      vec.copyTo(column.array, column.count, column.count);
      column.count = vec.count;
      this.keep(what, column, column.array.byteLength);
    }
    return column.array.subarray(0, vec.count);
  }

  /** For each event or link the span that it belongs to. */
  owners(name: 'spanEventStart' | 'spanLinkStart', count: number): Int32Array {
    const starts = this.reader.vecs[name];
    const what = `owners by ${name}`;
    const column = this.kept<Column<Int32Array>>(what) ?? { array: new Int32Array(0), count: 0 };
    if (column.count < count) {
      column.array = withRoom(column.array, count, (size) => new Int32Array(size));
      const all = this.words(name);
      let owner = lastAtOrBelow(all, column.count);
      for (let i = column.count; i < count; i++) {
        while (owner + 1 < starts.count && all[owner + 1]! <= i) owner++;
        column.array[i] = owner;
      }
      column.count = count;
      this.keep(what, column, column.array.byteLength);
    }
    return column.array.subarray(0, count);
  }
}

/** For a head that nobody opens again. */
class OwnMemo implements SourceMemo {
  private readonly values = new Map<string, object>();

  get<T extends object>(what: string): T | undefined {
    return this.values.get(what) as T | undefined;
  }

  set(what: string, value: object): void {
    this.values.set(what, value);
  }
}

/** The array, or a larger one with the same beginning. */
export function withRoom<T extends Int32Array | Uint32Array | Float64Array | Uint8Array>(
  array: T,
  length: number,
  make: (length: number) => T,
): T {
  if (length <= array.length) return array;
  // what is made for the first time is of the right size: most heads are looked at once
  const larger = make(array.length === 0 ? length : Math.max(ROOM_MIN, Math.ceil(length * ROOM)));
  larger.set(array);
  return larger;
}

/** The last of the ascending starts that is not above `value`. */
function lastAtOrBelow(starts: Int32Array, value: number): number {
  let low = 0;
  let high = starts.length;
  while (low + 1 < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= value) low = middle;
    else high = middle;
  }
  return low;
}
