// Columns of one row group: reads their bytes, whole or only the pages of some rows, and keeps what is
// worth keeping in the thread's cache. The only file here that does I/O (through the given `readRange`).
import { TempoError } from '../../lib/errors.ts';
import type { ByteLru } from '../../lib/lru.ts';
import type { Scratch, ScratchPool } from '../../lib/scratch.ts';
import { asBytes, ColumnPages, type PageMemory, type PageRun } from '../../parquet/column-pages.ts';
import { type Dictionary, readDictionary } from '../../parquet/column-reader.ts';
import { chunkStart } from '../../parquet/footer.ts';
import { parseOffsetIndex } from '../../parquet/page-index.ts';
import { type FilePart, type ReadRange, readRanges, type WantedRange } from '../../parquet/plan.ts';
import { type RowSlice, sliceRows } from '../../parquet/row-slice.ts';
import type {
  ColumnChunk,
  Decompressors,
  FileMetadata,
  PageLocation,
  RowGroup,
} from '../../parquet/types.ts';
import type { BlockColumns } from './block-columns.ts';

/** What all row groups of an open block share. */
export interface BlockFile {
  readonly blockId: string;
  readonly metadata: FileMetadata;
  readonly columns: BlockColumns;
  readonly readRange: ReadRange;
  readonly decompressors: Decompressors;
  readonly cache: ByteLru;
  readonly memos: ByteLru;
  /** What was read of the row group that is worked on, and is too large for the cache. */
  readonly atHand: MaterialAtHand;
  /** Of the thread. */
  readonly scratch: ScratchPool;
}

/**
 * Pages and dictionaries of one row group: they go when another one's come, and their memory is used again.
 */
export class MaterialAtHand {
  private readonly items = new Map<string, object>();
  private readonly pool: ScratchPool;
  private scratch: Scratch | undefined;
  private group = -1;

  constructor(pool: ScratchPool) {
    this.pool = pool;
  }

  get<T extends object>(group: number, key: string): T | undefined {
    return group === this.group ? (this.items.get(key) as T | undefined) : undefined;
  }

  set(group: number, key: string, value: object): void {
    this.enter(group);
    this.items.set(key, value);
  }

  /** For what is at hand of a group. */
  memory(group: number): Scratch {
    this.enter(group);
    return (this.scratch ??= this.pool.begin());
  }

  release(): void {
    this.items.clear();
    this.scratch?.end();
    this.scratch = undefined;
    this.group = -1;
  }

  private enter(group: number): void {
    if (group === this.group) return;
    this.release();
    this.group = group;
  }
}

/** Some rows of a column; the dictionary is decoded when it is needed. */
export interface ColumnRows {
  readonly pages: ColumnPages;
  readonly slice: RowSlice;
  readonly dictionary: () => Dictionary | undefined;
}

/** Neighbouring rows of a column. */
interface RowRange {
  readonly pages: ColumnPages;
  /** Row that the first page begins with. */
  readonly firstRow: number;
  /** With its header; empty when there is none. */
  readonly dictionaryPage: Uint8Array;
}

interface DictionaryRange {
  readonly range: WantedRange;
  readonly cached: Dictionary | undefined;
}

/** Where pages go: they stay in the cache or at hand, have memory of their own, or some that ends. */
export type PagesPlace = 'kept' | 'own' | Scratch;

/** Largest share of the cache for the pages or the dictionary of one column. */
const MATERIAL_SHARE_MAX = 1 / 16;
/** Marks that something was asked for. */
const ASKED = {};
const ASKED_BYTES = 200;
const NO_RANGE: WantedRange = { offset: 0, length: 0 };

export class GroupColumns {
  readonly file: BlockFile;
  readonly group: RowGroup;
  readonly rowCount: number;
  /** Bytes read from storage so far. */
  bytesRead = 0;
  private readonly index: number;
  private readonly key: string;
  private offsetIndexes: Map<number, Uint8Array> | undefined;

  constructor(file: BlockFile, index: number) {
    this.file = file;
    this.index = index;
    this.group = file.metadata.rowGroups[index];
    this.rowCount = this.group.rowCount;
    this.key = `${file.blockId}/${index}`;
  }

  /** The chunk of a column; undefined when the block does not have the column. */
  chunk(name: string): ColumnChunk | undefined {
    const ordinal = this.file.columns.ordinal(name);
    return ordinal === undefined ? undefined : this.group.columns[ordinal];
  }

  /** False when the column is missing or surely holds nothing but nulls. */
  hasValues(name: string): boolean {
    const chunk = this.chunk(name);
    return chunk !== undefined && chunk.statistics?.nullCount !== chunk.valueCount;
  }

  /** How many entries of the column are not null, as far as its statistics say; -1 = unknown. */
  valueCount(name: string): number {
    const chunk = this.chunk(name);
    const nullCount = chunk?.leaf.maxDefinition === 0 ? 0 : chunk?.statistics?.nullCount;
    return chunk === undefined || nullCount === undefined ? -1 : chunk.valueCount - nullCount;
  }

  cacheKey(what: string): string {
    return `${this.key}/${what}`;
  }

  /** True once, as far as the cache remembers: what is asked for again is worth being read whole. */
  isFirstTime(what: string): boolean {
    const { cache } = this.file;
    const key = this.cacheKey(`1/${what}`);
    if (cache.get(key) !== undefined) return false;
    cache.set(key, ASKED, ASKED_BYTES);
    return true;
  }

  private dictionaryKey(name: string): string {
    return this.cacheKey(`d/${name}`);
  }

  /** Key of the cached dictionary of one of the columns when that is `table`. */
  keyOfTable(table: object, columns: readonly string[]): string | undefined {
    return columns
      .map((name) => this.dictionaryKey(name))
      .find((key) => {
        const dictionary = this.file.cache.peek<Dictionary>(key);
        return dictionary !== undefined && 'strings' in dictionary && dictionary.strings === table;
      });
  }

  /** The dictionary of a column; undefined when it has none. */
  async dictionary(name: string, signal?: AbortSignal): Promise<Dictionary | undefined> {
    const chunk = this.needed(name);
    const { range, cached } = this.dictionaryRange(name, chunk);
    if (cached !== undefined || range.length === 0) return cached;
    return this.lend(async (scratch) => {
      const page = await this.read(range.offset, range.length, signal, undefined, scratch);
      return this.decodeDictionary(name, chunk, page);
    });
  }

  /** Memory for the length of `work`, for pages of which nothing is left behind. */
  lend<T>(work: (scratch: Scratch) => T | Promise<T>): Promise<T> {
    return this.file.scratch.lend(work);
  }

  /** All data pages of a column. */
  async pages(name: string, place: PagesPlace, signal?: AbortSignal): Promise<ColumnPages> {
    const key = this.cacheKey(`p/${name}`);
    const cached = this.material<ColumnPages>(key);
    if (cached !== undefined) return cached;
    const chunk = this.needed(name);
    const start = chunkStart(chunk);
    const length = chunk.compressedBytes - (chunk.dataPageOffset - start);
    const memory = typeof place === 'string' ? this.memoryFor(place, length, chunk) : place;
    const bytes = await this.read(chunk.dataPageOffset, length, signal, undefined, memory);
    const pages = new ColumnPages(chunk, [{ bytes, firstRow: 0 }], this.file.decompressors, false, memory);
    if (pages.entryCount !== chunk.valueCount) throw this.damaged(name, 'lacks pages');
    if (place === 'kept') this.keepMaterial(key, pages, pages.sizeBytes, pages.isBorrowed);
    return pages;
  }

  /** What surely is too large for the cache will only be at hand. */
  private memoryFor(
    place: 'kept' | 'own',
    compressedBytes: number,
    { uncompressedBytes }: ColumnChunk,
  ): Scratch | undefined {
    if (place === 'own' || this.fitsCache(compressedBytes + uncompressedBytes)) return undefined;
    return this.file.atHand.memory(this.index);
  }

  private material<T extends object>(key: string): T | undefined {
    const { cache, atHand } = this.file;
    return cache.get<T>(key) ?? atHand.get<T>(this.index, key);
  }

  /**
   * What vectors are made from is cached only while it is small, or it would drive out the vectors. What is
   * not is at hand as long as this row group is worked on.
   *
   * @param isBorrowed it lies in the memory at hand, however small it has turned out to be.
   */
  private keepMaterial(key: string, value: object, bytes: number, isBorrowed: boolean): void {
    const { cache, atHand } = this.file;
    if (!isBorrowed && this.fitsCache(bytes)) cache.set(key, value, bytes);
    else atHand.set(this.index, key, value);
  }

  private fitsCache(bytes: number): boolean {
    return bytes <= this.file.cache.maxBytes * MATERIAL_SHARE_MAX;
  }

  /** Tells the cache how large kept pages have become by decompression. */
  recount(names: Iterable<string>): void {
    const { cache } = this.file;
    for (const name of names) {
      const key = this.cacheKey(`p/${name}`);
      const pages = cache.peek<ColumnPages>(key);
      if (pages === undefined) continue;
      if (!pages.isBorrowed && this.fitsCache(pages.sizeBytes)) {
        cache.resize(key, pages.sizeBytes); // it stays among what several jobs used
        continue;
      }
      cache.delete(key);
      this.keepMaterial(key, pages, pages.sizeBytes, pages.isBorrowed);
    }
  }

  /**
   * The given rows (ascending) of several columns, by few reads. Names must exist.
   *
   * @param scratch for their pages.
   */
  async rows(
    names: readonly string[],
    rows: Int32Array,
    scratch: Scratch,
    signal?: AbortSignal,
  ): Promise<Map<string, ColumnRows>> {
    const chunks = names.map((name) => this.needed(name));
    const locations = await this.locations(chunks, signal);
    const dictionaries = names.map((name, i) => this.dictionaryRange(name, chunks[i]));
    const runs = chunks.map((chunk, i) => pageRuns(chunk, locations[i], holding(rows), this.rowCount));
    const ranges = [...dictionaries.map(({ range }) => range), ...runs.flat()];
    const bytes = await readRanges(
      ranges,
      (offset, length, abort) => this.read(offset, length, abort, undefined, scratch),
      signal,
    );
    const out = new Map<string, ColumnRows>();
    let next = names.length;
    names.forEach((name, i) => {
      const parts: PageRun[] = runs[i].map((run) => ({ bytes: bytes[next++], firstRow: run.firstRow }));
      const pages = new ColumnPages(chunks[i], parts, this.file.decompressors, true, scratch);
      let dictionary = dictionaries[i].cached;
      out.set(name, {
        pages,
        slice: sliceRows(pages, rows),
        dictionary: () => {
          if (dictionary === undefined && bytes[i].length > 0) {
            dictionary = this.decodeDictionary(name, chunks[i], bytes[i]);
          }
          return dictionary;
        },
      });
    });
    return out;
  }

  /** The pages that hold rows [from, to) of a column, in memory of the caller. Nothing of it is kept. */
  async rowRange(
    name: string,
    { from, to }: { readonly from: number; readonly to: number },
    memory: PageMemory,
    signal?: AbortSignal,
  ): Promise<RowRange> {
    const chunk = this.needed(name);
    const whole = from === 0 && to === this.rowCount;
    const [locations] = whole ? [undefined] : await this.locations([chunk], signal);
    const runs = pageRuns(chunk, locations, (first, end) => first < to && end > from, this.rowCount);
    const { dictionaryPageOffset = chunk.dataPageOffset, dataPageOffset } = chunk;
    const range: WantedRange = {
      offset: dictionaryPageOffset,
      length: dataPageOffset - dictionaryPageOffset,
    };
    const [dictionaryPage, ...parts] = await readRanges(
      range.length > 0 ? [range, ...runs] : [NO_RANGE, ...runs],
      (offset, length, abort) => this.read(offset, length, abort, undefined, memory),
      signal,
    );
    const pageParts = runs.map(({ firstRow }, i): PageRun => ({ bytes: parts[i], firstRow }));
    const pages = new ColumnPages(chunk, pageParts, this.file.decompressors, false, memory);
    return { pages, firstRow: runs[0]?.firstRow ?? 0, dictionaryPage };
  }

  /** Which share of a column's pages holds these rows (ascending); 1 without an offset index. */
  async pageShare(name: string, rows: Int32Array, signal?: AbortSignal): Promise<number> {
    const [pages] = await this.locations([this.needed(name)], signal);
    if (pages === undefined || pages.length === 0) return 1;
    let touched = 0;
    let at = 0;
    for (let i = 0; i < pages.length && at < rows.length; i++) {
      const endRow = pages[i + 1]?.firstRow ?? this.rowCount;
      if (rows[at] >= endRow) continue;
      touched++;
      while (at < rows.length && rows[at] < endRow) at++;
    }
    return touched / pages.length;
  }

  /** Pages of each chunk, or undefined for a chunk without an offset index. */
  private async locations(
    chunks: readonly ColumnChunk[],
    signal?: AbortSignal,
  ): Promise<(readonly PageLocation[] | undefined)[]> {
    const indexes = await this.readOffsetIndexes(signal);
    return chunks.map((chunk) => {
      const bytes = indexes.get(chunk.dataPageOffset);
      return bytes === undefined ? undefined : parseOffsetIndex(bytes, chunk, this.rowCount);
    });
  }

  /** The offset indexes of all columns: they lie together, so they are one read. */
  private async readOffsetIndexes(signal?: AbortSignal): Promise<Map<number, Uint8Array>> {
    if (this.offsetIndexes !== undefined) return this.offsetIndexes;
    const key = this.cacheKey('offsets');
    let indexes = this.file.cache.get<Map<number, Uint8Array>>(key);
    if (indexes === undefined) {
      const having = this.group.columns.filter((chunk) => chunk.offsetIndexOffset !== undefined);
      const ranges = having.map((chunk) => ({
        offset: chunk.offsetIndexOffset ?? 0,
        length: chunk.offsetIndexBytes ?? 0,
      }));
      const read: ReadRange = (offset, length, abort) => this.read(offset, length, abort, 'offset-index');
      const bytes = await readRanges(ranges, read, signal);
      indexes = new Map(having.map((chunk, i) => [chunk.dataPageOffset, bytes[i]]));
      const size = ranges.reduce((sum, { length }) => sum + length + 100, 0);
      this.file.cache.set(key, indexes, size);
    }
    this.offsetIndexes = indexes;
    return indexes;
  }

  private dictionaryRange(name: string, chunk: ColumnChunk): DictionaryRange {
    const { dictionaryPageOffset, dataPageOffset } = chunk;
    if (dictionaryPageOffset === undefined || dictionaryPageOffset >= dataPageOffset) {
      return { range: NO_RANGE, cached: undefined };
    }
    const cached = this.material<Dictionary>(this.dictionaryKey(name));
    if (cached !== undefined) return { range: NO_RANGE, cached };
    return { range: { offset: dictionaryPageOffset, length: dataPageOffset - dictionaryPageOffset }, cached };
  }

  /** @param page may lie in memory that ends. */
  private decodeDictionary(name: string, chunk: ColumnChunk, page: Uint8Array): Dictionary {
    const memoryFor = (bytes: number): Scratch | undefined =>
      this.fitsCache(bytes) ? undefined : this.file.atHand.memory(this.index);
    const lasting = chunk.codec === 'UNCOMPRESSED' ? page.slice() : page;
    const dictionary = readDictionary(chunk, lasting, this.file.decompressors, memoryFor);
    const key = this.dictionaryKey(name);
    if ('strings' in dictionary) {
      const { sizeBytes, isBorrowed } = dictionary.strings;
      this.keepMaterial(key, dictionary, sizeBytes + 200, isBorrowed);
    } else this.keepMaterial(key, dictionary, dictionary.numbers.num.byteLength + 200, false);
    return dictionary;
  }

  private needed(name: string): ColumnChunk {
    const chunk = this.chunk(name);
    if (chunk === undefined) throw this.damaged(name, 'is missing');
    return chunk;
  }

  damaged(name: string, what: string): TempoError {
    return new TempoError('block_corrupt', `block ${this.file.blockId}: column ${name} ${what}`);
  }

  /** Every read passes here. @param memory for the bytes. */
  async read(
    offset: number,
    length: number,
    signal?: AbortSignal,
    part?: FilePart,
    memory?: PageMemory,
  ): Promise<Uint8Array> {
    signal?.throwIfAborted();
    if (length === 0) return new Uint8Array(0);
    const bytes = await this.file.readRange(offset, length, signal, part, memory?.take(length));
    if (bytes.length !== length) {
      throw new TempoError('block_corrupt', `block ${this.file.blockId}: data.parquet ends too early`);
    }
    this.bytesRead += length;
    return asBytes(bytes);
  }
}

interface RunRange extends WantedRange {
  readonly firstRow: number;
}

type IsWanted = (firstRow: number, endRow: number) => boolean;

/** Whether one of the rows (ascending) lies in a page, of pages in their order. */
function holding(rows: Int32Array): IsWanted {
  let at = 0;
  return (_, endRow) => {
    const before = at;
    while (at < rows.length && rows[at] < endRow) at++;
    return at > before;
  };
}

/** The pages that are wanted, neighbours joined. Without locations: all pages. */
function pageRuns(
  chunk: ColumnChunk,
  locations: readonly PageLocation[] | undefined,
  isWanted: IsWanted,
  rowCount: number,
): RunRange[] {
  if (locations === undefined || locations.length === 0) {
    const skipped = chunk.dataPageOffset - chunkStart(chunk);
    return [{ offset: chunk.dataPageOffset, length: chunk.compressedBytes - skipped, firstRow: 0 }];
  }
  const runs: RunRange[] = [];
  for (let i = 0; i < locations.length; i++) {
    const { offset, compressedBytes, firstRow } = locations[i];
    if (!isWanted(firstRow, locations[i + 1]?.firstRow ?? rowCount)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.length === offset) {
      runs[runs.length - 1] = { ...last, length: last.length + compressedBytes };
    } else runs.push({ offset, length: compressedBytes, firstRow });
  }
  return runs;
}
