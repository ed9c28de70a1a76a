// What a column is written from: its values without nulls, and the levels that say where they belong.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bitWidth, encodeLevels } from './encode/hybrid.ts';

/** Byte strings addressed by number, e.g. those of a head. */
export interface ByteStrings {
  readonly size: number;
  /** What the offsets point into. */
  readonly bytes: Uint8Array;
  offset(id: number): number;
  length(id: number): number;
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
  | { readonly kind: 'strings'; readonly ids: Int32Array; readonly table: ByteStrings }
  /** Concatenated; string i is bytes [starts[i], starts[i + 1]). */
  | { readonly kind: 'packed'; readonly bytes: Uint8Array; readonly starts: Int32Array };

/**
 * The entries (values and nulls) of columns that share a list structure: their repetition levels and on which entry
 * each page begins. Encoded levels are kept, since several columns write the same ones.
 */
export class Entries {
  readonly count: number;
  /** undefined: not repeated at all. */
  readonly repetition: Uint8Array | undefined;
  /** Entry that page p begins with; one more element than pages. */
  readonly pageStarts: Int32Array;
  private readonly encoded = new Map<number, Uint8Array>();

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
    const out = new ByteWriter(0);
    if (this.repetition !== undefined && width > 0) {
      encodeLevels(out, this.repetition, this.pageStarts[page], this.pageStarts[page + 1], width);
    }
    const bytes = out.copy();
    this.encoded.set(key, bytes);
    return bytes;
  }
}
