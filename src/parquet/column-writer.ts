// Writes one column chunk: dictionary page, data pages, and its entry for the footer with both page indexes.
import { ByteWriter } from '../lib/byte-writer.ts';
import {
  type Bounds,
  boundsOf32,
  boundsOf64,
  boundsOfBools,
  boundsOfDoubles,
  compareBounds,
  StringBounds,
} from './bounds.ts';
import { DictionaryBuilder } from './dictionary.ts';
import { encodeDelta32, encodeDelta64 } from './encode/delta.ts';
import { bitWidth, encodeIndices, encodeLevelRun, encodeLevels, INDEX_WIDTH_MAX } from './encode/hybrid.ts';
import {
  encodeBools,
  encodeDeltaLengthPacked,
  encodeDeltaLengthStrings,
  encodePlain32,
  encodePlain64,
} from './encode/plain.ts';
import { type FileOutput, PageWriter, type WrittenPage } from './page-writer.ts';
import type { Checksum, Codec, Compressor, Encoding, Leaf, PageLocation } from './types.ts';
import type { ColumnValues, Entries } from './values.ts';

export interface ColumnInput {
  readonly leaf: Leaf;
  readonly encoding: Encoding;
  readonly compressor: Compressor | undefined;
  /** Compress the levels too (version 1 pages): pays where they take more room than the values. */
  readonly packLevels: boolean;
  readonly entries: Entries;
  /** Level of each entry, or of all. A value is there where it equals the leaf's maximum. */
  readonly definition: Uint8Array | number;
  readonly values: ColumnValues;
}

interface PageIndexEntry {
  readonly location: PageLocation;
  readonly nullCount: number;
  /** undefined: the page has no value. */
  readonly bounds: Bounds | undefined;
}

/** What the footer says of a column chunk. */
export interface WrittenChunk {
  readonly leaf: Leaf;
  readonly codec: Codec;
  readonly encodings: readonly Encoding[];
  /** Version of the data pages: 1 when levels are compressed too. */
  readonly pageVersion: 1 | 2;
  readonly valueCount: number;
  readonly nullCount: number;
  readonly compressedBytes: number;
  readonly uncompressedBytes: number;
  readonly dataPageOffset: number;
  readonly dictionaryPageOffset: number | undefined;
  readonly pageCount: number;
  readonly bounds: Bounds | undefined;
}

export interface WrittenColumn {
  readonly leaf: Leaf;
  readonly chunk: WrittenChunk;
  readonly pages: readonly PageIndexEntry[];
}

const NO_BYTES = new Uint8Array(0);

/**
 * A column with a larger share of distinct values gets no dictionary: it would be as large without one
 * (measured on URLs), and whoever wants one value would have to decompress all of it.
 */
const DISTINCT_SHARE_MAX = 0.6;

export class ColumnWriter {
  private readonly pages: PageWriter;
  private readonly dictionary = new DictionaryBuilder();
  private readonly body = new ByteWriter(1 << 16);
  private readonly levels = new ByteWriter(1 << 12);
  private readonly strings = new StringBounds();

  constructor(out: FileOutput, checksum: Checksum | undefined) {
    this.pages = new PageWriter(out, checksum);
  }

  /** @param pageRows row that each page begins with; one more element than pages. */
  write(input: ColumnInput, pageRows: Int32Array): WrittenColumn {
    if (input.encoding !== 'RLE_DICTIONARY')
      return this.writePages(input, input.encoding, pageRows, undefined);
    if (input.values.kind !== 'strings') throw new Error('dictionaries are of strings');
    const { ids, table } = input.values;
    const count = valueCounts(input)[input.entries.pageStarts.length - 1];
    this.dictionary.build(ids, count, table);
    try {
      const { size } = this.dictionary;
      if (size > count * DISTINCT_SHARE_MAX || bitWidth(size) > INDEX_WIDTH_MAX) {
        return this.writePages(input, 'DELTA_LENGTH_BYTE_ARRAY', pageRows, undefined);
      }
      const page = this.pages.dictionaryPage(this.dictionary.encode(), size, input.compressor);
      return this.writePages(input, 'RLE_DICTIONARY', pageRows, page);
    } finally {
      this.dictionary.release();
    }
  }

  private writePages(
    input: ColumnInput,
    encoding: Encoding,
    pageRows: Int32Array,
    dictionaryPage: WrittenPage | undefined,
  ): WrittenColumn {
    const { leaf, entries } = input;
    const pages: PageIndexEntry[] = [];
    let compressedBytes = dictionaryPage?.location.compressedBytes ?? 0;
    let uncompressedBytes = dictionaryPage?.uncompressedBytes ?? 0;
    const valueEnds = valueCounts(input);
    for (let p = 0; p + 1 < pageRows.length; p++) {
      const entryCount = entries.pageStarts[p + 1] - entries.pageStarts[p];
      const from = valueEnds[p];
      const to = valueEnds[p + 1];
      const nullCount = entryCount - (to - from);
      const rowCount = pageRows[p + 1] - pageRows[p];
      const written =
        to === from && input.packLevels && input.compressor !== undefined
          ? this.writeNullPage(input, input.compressor, encoding, p, pageRows[p])
          : this.pages.dataPage(
              {
                packLevels: input.packLevels,
                entryCount,
                nullCount,
                rowCount,
                encoding,
                repetition: this.encodeRepetition(input, p),
                definition: this.encodeDefinition(input, p),
                body: this.encodeValues(input, encoding, from, to),
              },
              pageRows[p],
              input.compressor,
            );
      compressedBytes += written.location.compressedBytes;
      uncompressedBytes += written.uncompressedBytes;
      const bounds = to === from ? undefined : this.pageBounds(input, encoding, from, to, p);
      pages.push({ location: written.location, nullCount, bounds });
    }
    const chunk: WrittenChunk = {
      leaf,
      codec: input.compressor?.codec ?? 'UNCOMPRESSED',
      encodings: usedEncodings(encoding, leaf),
      pageVersion: input.packLevels && input.compressor !== undefined ? 1 : 2,
      valueCount: entries.count,
      nullCount: entries.count - valueEnds[valueEnds.length - 1],
      compressedBytes,
      uncompressedBytes,
      dataPageOffset: pages[0].location.offset,
      dictionaryPageOffset: dictionaryPage?.location.offset,
      pageCount: pages.length,
      bounds: chunkBounds(leaf, pages),
    };
    return { leaf, chunk, pages };
  }

  /**
   * A page without values: columns that share entries and levels write the same bytes, so they are
   * compressed once.
   */
  private writeNullPage(
    input: ColumnInput,
    compressor: Compressor,
    encoding: Encoding,
    page: number,
    firstRow: number,
  ): WrittenPage {
    const { leaf, entries } = input;
    const key = `${encoding} ${bitWidth(leaf.maxRepetition)} ${bitWidth(leaf.maxDefinition)} ${page}`;
    const cache = entries.nullPages(input.definition);
    let packed = cache.get(key);
    if (packed === undefined) {
      packed = this.pages.pack(
        {
          repetition: this.encodeRepetition(input, page),
          definition: this.encodeDefinition(input, page),
          body: this.encodeValues(input, encoding, 0, 0),
        },
        compressor,
      );
      packed = { stored: packed.stored.slice(), uncompressedBytes: packed.uncompressedBytes };
      cache.set(key, packed);
    }
    const entryCount = entries.pageStarts[page + 1] - entries.pageStarts[page];
    return this.pages.packedPage(packed, entryCount, encoding, firstRow);
  }

  private encodeRepetition({ leaf, entries }: ColumnInput, page: number): Uint8Array {
    return leaf.maxRepetition === 0 ? NO_BYTES : entries.encodedRepetition(page, leaf.maxRepetition);
  }

  private encodeDefinition({ leaf, definition, entries }: ColumnInput, page: number): Uint8Array {
    if (leaf.maxDefinition === 0) return NO_BYTES;
    const from = entries.pageStarts[page];
    const to = entries.pageStarts[page + 1];
    this.levels.reset();
    if (typeof definition === 'number') encodeLevelRun(this.levels, definition, to - from);
    else encodeLevels(this.levels, definition, from, to, bitWidth(leaf.maxDefinition));
    return this.levels.view();
  }

  private encodeValues(input: ColumnInput, encoding: Encoding, from: number, to: number): Uint8Array {
    const { values } = input;
    const out = this.body;
    out.reset();
    if (encoding === 'RLE_DICTIONARY') {
      const width = Math.max(1, bitWidth(this.dictionary.maxIndex(from, to)));
      out.u8(width);
      encodeIndices(out, this.dictionary.indices, from, to, width);
      return out.view();
    }
    const delta = encoding === 'DELTA_BINARY_PACKED';
    switch (values.kind) {
      case 'int32':
        if (delta) encodeDelta32(out, values.values, from, to, input.leaf.type === 'INT64');
        else encodePlain32(out, values.values, from, to, input.leaf.type === 'INT64');
        break;
      case 'int64':
        if (delta) encodeDelta64(out, values.words, from, to);
        else encodePlain64(out, values.words, from, to);
        break;
      case 'double':
        encodePlain64(out, values.words, from, to);
        break;
      case 'bool':
        encodeBools(out, values.values, from, to);
        break;
      case 'strings':
        encodeDeltaLengthStrings(out, values.ids, values.table, from, to);
        break;
      case 'packed':
        encodeDeltaLengthPacked(out, values.bytes, values.starts, from, to);
        break;
    }
    return out.view();
  }

  private pageBounds(
    input: ColumnInput,
    encoding: Encoding,
    from: number,
    to: number,
    page: number,
  ): Bounds | undefined {
    const { values, leaf } = input;
    if (encoding === 'RLE_DICTIONARY') return this.dictionary.pageBounds(from, to, page);
    switch (values.kind) {
      case 'int32':
        return boundsOf32(values.values, from, to, leaf);
      case 'int64':
        return boundsOf64(values.words, from, to, leaf);
      case 'double':
        return boundsOfDoubles(values.words, from, to);
      case 'bool':
        return boundsOfBools(values.values, from, to);
      case 'strings':
        this.strings.reset();
        for (let i = from; i < to; i++) this.strings.addString(values.table, values.ids[i]);
        return this.strings.bounds();
      case 'packed':
        this.strings.reset();
        for (let i = from; i < to; i++) {
          this.strings.add(values.bytes, values.starts[i], values.starts[i + 1] - values.starts[i]);
        }
        return this.strings.bounds();
    }
  }
}

/** Values in front of each page, and of all at the end. */
function valueCounts({ entries, definition, leaf }: ColumnInput): Int32Array {
  if (typeof definition !== 'number') return entries.valueCounts(definition, leaf.maxDefinition);
  return definition === leaf.maxDefinition ? entries.pageStarts : new Int32Array(entries.pageStarts.length);
}

function usedEncodings(encoding: Encoding, leaf: Leaf): Encoding[] {
  const used: Encoding[] = encoding === 'RLE_DICTIONARY' ? ['PLAIN'] : [];
  if (leaf.maxDefinition > 0 || leaf.maxRepetition > 0) used.push('RLE');
  used.push(encoding);
  return used;
}

function chunkBounds(leaf: Leaf, pages: readonly PageIndexEntry[]): Bounds | undefined {
  let min: Uint8Array | undefined;
  let max: Uint8Array | undefined;
  for (const { bounds } of pages) {
    if (bounds === undefined) continue;
    if (min === undefined || compareBounds(leaf, bounds.min, min) < 0) min = bounds.min;
    if (max === undefined || compareBounds(leaf, bounds.max, max) > 0) max = bounds.max;
  }
  return min === undefined || max === undefined ? undefined : { min, max };
}
