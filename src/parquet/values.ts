// What a column is written from: its values without nulls, and the levels that say where they belong.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bitWidth, encodeLevels } from './encode/hybrid.ts';
import type { PackedPage } from './page-writer.ts';

/** Byte strings addressed by number, e.g. those of a head. */
export interface ByteStrings {
  readonly size: number;
  /** What the offsets point into. */
  readonly bytes: Uint8Array;
  offset(id: number): number;
  length(id: number): number;
}

/** All of them are in use, and numbered by their first use. */
export interface OrderedStrings extends ByteStrings {
  /** Where each ends among the bytes of `body`. */
  readonly ends: Int32Array;
  /** Each behind its 4-byte length. */
  body(): Uint8Array;
}

export type ColumnValues =
  /** Also for INT64 columns with small numbers. */
  | { readonly kind: 'int32'; readonly values: Int32Array }
  /** Value i is words 2i (low) and 2i + 1 (high). */
  | { readonly kind: 'int64'; readonly words: Int32Array }
  /** As int64, the bits of a double. */
  | { readonly kind: 'double'; readonly words: Int32Array }
  | { readonly kind: 'bool'; readonly values: Uint8Array }
  /** Ids into `table`, -1 = the empty string. */
  | { readonly kind: 'strings'; readonly ids: Int32Array; readonly table: ByteStrings | OrderedStrings }
  /** Concatenated; string i is bytes [starts[i], starts[i + 1]). */
  | { readonly kind: 'packed'; readonly bytes: Uint8Array; readonly starts: Int32Array };

/**
 * The entries (values and nulls) of columns that share a list structure: their repetition levels and on
 * which entry each page begins. Encoded levels are kept, since several columns write the same ones.
 */
export class Entries {
  readonly count: number;
  /** undefined: not repeated at all. */
  readonly repetition: Uint8Array | undefined;
  /** Entry that page p begins with; one more element than pages. */
  readonly pageStarts: Int32Array;
  private readonly encoded = new Map<number, Uint8Array>();
  private readonly counts = new Map<Uint8Array, Map<number, Int32Array>>();
  private readonly packed = new Map<Uint8Array | number, Map<string, PackedPage>>();

  constructor(count: number, repetition: Uint8Array | undefined, pageStarts: Int32Array) {
    this.count = count;
    this.repetition = repetition;
    this.pageStarts = pageStarts;
  }

  /** Encoded repetition levels of a page of a column whose highest is `maxRepetition`. */
  encodedRepetition(page: number, maxRepetition: number): Uint8Array {
    const width = bitWidth(maxRepetition);
    const key = page * 32 + width;
    const known = this.encoded.get(key);
    if (known !== undefined) return known;
    const out = scratch;
    out.reset();
    if (this.repetition !== undefined && width > 0) {
      encodeLevels(out, this.repetition, this.pageStarts[page], this.pageStarts[page + 1], width);
    }
    const bytes = out.copy();
    this.encoded.set(key, bytes);
    return bytes;
  }

  /** How many of `definition` equal `max` in front of each page, and in all. Asked again, it remembers. */
  valueCounts(definition: Uint8Array, max: number): Int32Array {
    let byMax = this.counts.get(definition);
    if (byMax === undefined) this.counts.set(definition, (byMax = new Map()));
    let counts = byMax.get(max);
    if (counts === undefined) byMax.set(max, (counts = countLevels(definition, max, this.pageStarts)));
    return counts;
  }

  /**
   * Finished pages without values of columns with these definition levels, for whoever writes them to
   * keep.
   */
  nullPages(definition: Uint8Array | number): Map<string, PackedPage> {
    let pages = this.packed.get(definition);
    if (pages === undefined) this.packed.set(definition, (pages = new Map()));
    return pages;
  }
}

/** Where levels are encoded before they are kept. */
const scratch = new ByteWriter(0);

function countLevels(levels: Uint8Array, level: number, pageStarts: Int32Array): Int32Array {
  const counts = new Int32Array(pageStarts.length);
  let count = 0;
  for (let page = 0; page + 1 < pageStarts.length; page++) {
    counts[page] = count;
    count += countLevel(levels, level, pageStarts[page], pageStarts[page + 1]);
  }
  counts[pageStarts.length - 1] = count;
  return counts;
}

const EACH_BYTE = 0x01010101;

/** How many of the levels [from, to), which are below 128, are this one: four at a time. */
function countLevel(levels: Uint8Array, level: number, from: number, to: number): number {
  const first = from + (-(levels.byteOffset + from) & 3);
  if (first > to) return countSingle(levels, level, from, to);
  const view = new Int32Array(levels.buffer, levels.byteOffset + first, (to - first) >>> 2);
  const wanted = Math.imul(level, EACH_BYTE);
  let count = countSingle(levels, level, from, first);
  for (let i = 0; i < view.length; i++) {
    // the highest bit of a byte stays clear where it is the wanted one
    const others = (view[i] ^ wanted) + 0x7f7f7f7f;
    count += Math.imul((~others & 0x80808080) >>> 7, EACH_BYTE) >>> 24;
  }
  return count + countSingle(levels, level, first + 4 * view.length, to);
}

function countSingle(levels: Uint8Array, level: number, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (levels[i] === level) count++;
  return count;
}
