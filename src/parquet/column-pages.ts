// The data pages of a column chunk, located but not decoded: levels are views, values are decompressed when
// asked for.
import { bitBytes, countBits, levelBits, levelMask } from './decode/level-bits.ts';
import { BitRank } from '../lib/bit-rank.ts';
import { corrupt } from './corrupt.ts';
import { decodeIndices } from './decode/indices.ts';
import { type PageHeader, readPageHeader } from './page-header.ts';
import type { Codec, ColumnChunk, Decompressors, Encoding, Leaf } from './types.ts';

/** Where decoded bytes lie. */
export interface ByteRange {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Where bytes go that are decompressed. */
export interface PageMemory {
  /** Bytes of any content. */
  take(lengthBytes: number): Uint8Array;
}

const NO_BYTES: ByteRange = { bytes: new Uint8Array(0), start: 0, end: 0 };

export class DataPage {
  readonly encoding: Encoding;
  /** Row of the row group that it begins with. */
  readonly firstRow: number;
  readonly rowCount: number;
  /** Its first entry (a value or null, with its levels) among those of the pages at hand. */
  readonly firstEntry: number;
  readonly entryCount: number;
  readonly firstValue: number;
  readonly valueCount: number;
  readonly repetition: ByteRange;
  readonly definition: ByteRange;
  private body: ByteRange | undefined;
  private readonly stored: Uint8Array;
  private readonly codec: Codec;
  private readonly bodyBytes: number;
  private readonly decompressors: Decompressors;
  private readonly memory: PageMemory | undefined;

  constructor(fields: PageFields, decompressors: Decompressors, memory: PageMemory | undefined) {
    this.encoding = fields.encoding;
    this.firstRow = fields.firstRow;
    this.rowCount = fields.rowCount;
    this.firstEntry = fields.firstEntry;
    this.entryCount = fields.entryCount;
    this.firstValue = fields.firstValue;
    this.valueCount = fields.valueCount;
    this.repetition = fields.repetition;
    this.definition = fields.definition;
    this.body = fields.body;
    this.stored = fields.stored;
    this.codec = fields.codec;
    this.bodyBytes = fields.bodyBytes;
    this.decompressors = decompressors;
    this.memory = memory;
  }

  /** The encoded values. */
  values(): ByteRange {
    if (this.body === undefined) {
      const bytes = inflate(this.decompressors, this.codec, this.stored, this.bodyBytes, this.memory);
      this.body = { bytes, start: 0, end: bytes.length };
    }
    return this.body;
  }

  /** Memory taken beside the bytes of the file. */
  get inflatedBytes(): number {
    return this.body === undefined || this.codec === 'UNCOMPRESSED' ? 0 : this.bodyBytes;
  }
}

interface PageFields {
  readonly encoding: Encoding;
  readonly firstRow: number;
  readonly rowCount: number;
  readonly firstEntry: number;
  readonly entryCount: number;
  readonly firstValue: number;
  readonly valueCount: number;
  readonly repetition: ByteRange;
  readonly definition: ByteRange;
  readonly body: ByteRange | undefined;
  readonly stored: Uint8Array;
  readonly codec: Codec;
  readonly bodyBytes: number;
}

/** A run of consecutive data pages: their bytes and the row that the first begins with. */
export interface PageRun {
  readonly bytes: Uint8Array;
  readonly firstRow: number;
}

export class ColumnPages {
  readonly chunk: ColumnChunk;
  readonly leaf: Leaf;
  readonly pages: readonly DataPage[];
  readonly entryCount: number;
  /** Entries that are not null. */
  readonly valueCount: number;
  /** What lies in memory that is used again: nothing that lives longer may refer to it. */
  readonly isBorrowed: boolean;
  private readonly storedBytes: number;
  private readonly bits = new Map<string, BitRank>();

  /**
   * @param countRows give each page its first row (needed to find rows; costs a little with version 1
   * pages).
   * @param memory where bytes may go when they are decompressed.
   */
  constructor(
    chunk: ColumnChunk,
    runs: readonly PageRun[],
    decompressors: Decompressors,
    countRows: boolean,
    memory?: PageMemory,
  ) {
    const parser = new PageParser(chunk, decompressors, countRows, memory);
    for (const run of runs) parser.run(run);
    this.chunk = chunk;
    this.leaf = chunk.leaf;
    this.isBorrowed = memory !== undefined;
    this.pages = parser.pages;
    this.entryCount = parser.entryCount;
    this.valueCount = parser.valueCount;
    const { maxDefinition } = chunk.leaf;
    parser.keepBits(this.bits, `repetition0-0`, `definition${maxDefinition}-${maxDefinition}`);
    this.storedBytes = runs.reduce((sum, run) => sum + run.bytes.length, 0);
  }

  get name(): string {
    return this.leaf.path.join('.');
  }

  get sizeBytes(): number {
    let bytes = this.storedBytes;
    for (const page of this.pages) bytes += page.inflatedBytes + 300;
    for (const bits of this.bits.values()) bytes += bits.sizeBytes;
    return bytes;
  }

  /** One bit an entry: repetition level `from` to `to`. */
  repetitionBits(from: number, to: number): BitRank {
    return this.levelBits('repetition', from, to, this.leaf.maxRepetition);
  }

  /** One bit an entry: definition level `from` to `to`. */
  definitionBits(from: number, to: number): BitRank {
    return this.levelBits('definition', from, to, this.leaf.maxDefinition);
  }

  /** One bit an entry: it has a value. */
  valueBits(): BitRank {
    return this.definitionBits(this.leaf.maxDefinition, this.leaf.maxDefinition);
  }

  /** @param out has an element for each entry. */
  repetitionLevels(out: Uint8Array = new Uint8Array(this.entryCount)): Uint8Array {
    return this.levels('repetition', this.leaf.maxRepetition, out);
  }

  /** @param out as of `repetitionLevels`. */
  definitionLevels(out: Uint8Array = new Uint8Array(this.entryCount)): Uint8Array {
    return this.levels('definition', this.leaf.maxDefinition, out);
  }

  private levels(kind: 'repetition' | 'definition', max: number, out: Uint8Array): Uint8Array {
    if (max === 0) return out.fill(0);
    for (const page of this.pages) {
      const { bytes, start, end } = page[kind];
      decodeIndices(bytes, start, end, levelWidth(max), page.entryCount, out, page.firstEntry);
    }
    return out;
  }

  private levelBits(kind: 'repetition' | 'definition', from: number, to: number, max: number): BitRank {
    const key = `${kind}${from}-${to}`;
    let rank = this.bits.get(key);
    if (rank === undefined) {
      const out = new Uint8Array(bitBytes(this.entryCount));
      if (max === 0) out.fill(from === 0 ? 0xff : 0);
      else {
        const mask = levelMask(from, Math.min(to, max));
        for (const page of this.pages) {
          const { bytes, start, end } = page[kind];
          levelBits(bytes, start, end, levelWidth(max), page.entryCount, mask, out, page.firstEntry);
        }
      }
      rank = new BitRank(out, this.entryCount);
      this.bits.set(key, rank);
    }
    return rank;
  }
}

/** Bits of a level. */
export function levelWidth(max: number): number {
  return 32 - Math.clz32(max);
}

class PageParser {
  readonly pages: DataPage[] = [];
  entryCount = 0;
  valueCount = 0;
  private readonly chunk: ColumnChunk;
  private readonly decompressors: Decompressors;
  private readonly countRows: boolean;
  private readonly memory: PageMemory | undefined;
  /** Bits that version 1 pages had to be counted by, over all entries. */
  private readonly rowBits = new GrowingBits();
  private readonly valueBits = new GrowingBits();

  constructor(
    chunk: ColumnChunk,
    decompressors: Decompressors,
    countRows: boolean,
    memory: PageMemory | undefined,
  ) {
    this.chunk = chunk;
    this.decompressors = decompressors;
    this.countRows = countRows;
    this.memory = memory;
  }

  /** Leaves the bits, where there are some for all entries, under these names. */
  keepBits(bits: Map<string, BitRank>, rowName: string, valueName: string): void {
    const { entryCount } = this;
    if (this.rowBits.end === entryCount) bits.set(rowName, new BitRank(this.rowBits.bytes, entryCount));
    if (this.valueBits.end === entryCount) bits.set(valueName, new BitRank(this.valueBits.bytes, entryCount));
  }

  run({ bytes, firstRow }: PageRun): void {
    let pos = 0;
    let row = firstRow;
    while (pos < bytes.length) {
      const header = readPageHeader(bytes, pos);
      const start = pos + header.headerBytes;
      pos = start + header.compressedBytes;
      if (header.kind !== 'data' && header.kind !== 'data_v2') continue;
      checkPage(this.chunk, header, bytes.subarray(start, pos), this.decompressors);
      const page = this.page(header, bytes.subarray(start, pos), row);
      if (this.entryCount + page.entryCount > this.chunk.valueCount)
        throw this.damaged('has too many entries');
      this.entryCount += page.entryCount;
      this.valueCount += page.valueCount;
      row += page.rowCount;
      this.pages.push(page);
    }
  }

  private damaged(what: string): Error {
    return corrupt(`column ${this.chunk.leaf.path.join('.')} ${what}`);
  }

  private page(header: PageHeader, stored: Uint8Array, firstRow: number): DataPage {
    const { encoding, valueCount: entryCount } = header;
    if (encoding === undefined) throw this.damaged('has an encoding that is not supported');
    if (entryCount > this.chunk.valueCount) throw this.damaged('has too many entries');
    const { entryCount: firstEntry, valueCount: firstValue } = this;
    const place = { encoding, firstRow, firstEntry, entryCount, firstValue };
    return header.kind === 'data_v2'
      ? this.pageV2(header, stored, place)
      : this.pageV1(header, stored, place);
  }

  private pageV2(header: PageHeader, stored: Uint8Array, place: PagePlace): DataPage {
    const { repetitionBytes, definitionBytes, uncompressedBytes } = header;
    const levels = repetitionBytes + definitionBytes;
    const codec = header.compressed ? this.chunk.codec : 'UNCOMPRESSED';
    const body = stored.subarray(levels);
    const valueCount = place.entryCount - header.nullCount;
    return new DataPage(
      {
        ...place,
        rowCount: header.rowCount,
        valueCount,
        repetition: { bytes: stored, start: 0, end: repetitionBytes },
        definition: { bytes: stored, start: repetitionBytes, end: levels },
        body: valueCount === 0 ? NO_BYTES : undefined,
        stored: body,
        codec,
        bodyBytes: codec === 'UNCOMPRESSED' ? body.length : uncompressedBytes - levels,
      },
      this.decompressors,
      this.memory,
    );
  }

  /**
   * In version 1 levels are compressed with the values, and nothing says how many rows and nulls there are.
   */
  private pageV1(header: PageHeader, stored: Uint8Array, place: PagePlace): DataPage {
    const { chunk } = this;
    const { codec, leaf } = chunk;
    const bytes = inflate(this.decompressors, codec, stored, header.uncompressedBytes, this.memory);
    const repetition = this.levelRange(bytes, 0, leaf.maxRepetition);
    const definition = this.levelRange(bytes, repetition.end, leaf.maxDefinition);
    const { entryCount, firstEntry } = place;
    const count = (into: GrowingBits, range: ByteRange, max: number, level: number): number => {
      if (max === 0) return entryCount;
      into.reserve(firstEntry + entryCount, chunk.valueCount);
      const mask = levelMask(level, level);
      levelBits(bytes, range.start, range.end, levelWidth(max), entryCount, mask, into.bytes, firstEntry);
      if (into.end === firstEntry) into.end += entryCount;
      return countBits(into.bytes, firstEntry, firstEntry + entryCount);
    };
    return new DataPage(
      {
        ...place,
        repetition,
        definition,
        rowCount: this.countRows ? count(this.rowBits, repetition, leaf.maxRepetition, 0) : 0,
        valueCount:
          chunk.statistics?.nullCount === 0
            ? entryCount
            : count(this.valueBits, definition, leaf.maxDefinition, leaf.maxDefinition),
        body: { bytes, start: definition.end, end: bytes.length },
        stored: NO_BYTES.bytes,
        codec,
        bodyBytes: bytes.length,
      },
      this.decompressors,
      this.memory,
    );
  }

  private levelRange(bytes: Uint8Array, at: number, max: number): ByteRange {
    if (max === 0) return { bytes, start: at, end: at };
    if (at + 4 > bytes.length) throw this.damaged('has a page without levels');
    const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true);
    if (length > bytes.length - at - 4) throw this.damaged('has a page without levels');
    return { bytes, start: at + 4, end: at + 4 + length };
  }
}

/** Bits of a growing number of entries. */
class GrowingBits {
  bytes = new Uint8Array(0);
  /** Entries that have their bit. */
  end = 0;

  /** @param most entries that there can be. */
  reserve(entries: number, most: number): void {
    const needed = bitBytes(entries);
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, Math.min(bitBytes(most), this.bytes.length * 4)));
    larger.set(this.bytes);
    this.bytes = larger;
  }
}

interface PagePlace {
  readonly encoding: Encoding;
  readonly firstRow: number;
  readonly firstEntry: number;
  readonly entryCount: number;
  readonly firstValue: number;
}

/** Throws when the page has a checksum that does not fit. */
export function checkPage(
  chunk: ColumnChunk,
  { crc }: PageHeader,
  stored: Uint8Array,
  { crc32 }: Decompressors,
): void {
  if (crc !== undefined && crc !== crc32(stored)) {
    throw corrupt(`a page of column ${chunk.leaf.path.join('.')} does not fit its checksum`);
  }
}

/** The uncompressed bytes, as a plain Uint8Array of exactly the stated length. */
export function inflate(
  decompressors: Decompressors,
  codec: Codec,
  stored: Uint8Array,
  uncompressedBytes: number,
  memory?: PageMemory,
): Uint8Array {
  if (codec === 'UNCOMPRESSED') return stored;
  if (uncompressedBytes === 0) return NO_BYTES.bytes;
  const target = memory?.take(uncompressedBytes);
  const out = decompressors.decompress(codec, stored, uncompressedBytes, target);
  return asBytes(out);
}

/** A view without the methods of Buffer, whose `slice` does not copy. */
export function asBytes(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array
    ? bytes
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
