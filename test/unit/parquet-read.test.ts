// The Parquet reader: every column of a block of real Tempo page by page against a foreign reader
// (hyparquet), decoders against the writer's encoders, and damage.
import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { parquetMetadata, parquetSchema } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { convertWithDictionary } from 'hyparquet/src/convert.js';
import { decompressPage, readDataPageV2 } from 'hyparquet/src/datapage.js';
import { readPlain } from 'hyparquet/src/plain.js';
import { getSchemaPath } from 'hyparquet/src/schema.js';
import t from 'tap';
import { blockDecompressors, zstdCompressor } from '../../src/block/compression.ts';
import { BitRank, Selector } from '../../src/lib/bit-rank.ts';
import { ByteWriter } from '../../src/lib/byte-writer.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { IntList } from '../../src/lib/int-list.ts';
import { ColumnPages } from '../../src/parquet/column-pages.ts';
import {
  type Dictionary,
  findStrings,
  stringsOf,
  pickNumbers,
  pickStrings,
  readDictionary,
  readNumbers,
  readStrings,
} from '../../src/parquet/column-reader.ts';
import { ByteTable } from '../../src/parquet/decode/byte-table.ts';
import { decodeDelta32, decodeDelta64, decodeDelta64Exact } from '../../src/parquet/decode/delta.ts';
import { decodeIndices, findIndices, IndexCursor } from '../../src/parquet/decode/indices.ts';
import { bitBytes, levelBits, levelMask } from '../../src/parquet/decode/level-bits.ts';
import { encodeDelta32, encodeDelta64 } from '../../src/parquet/encode/delta.ts';
import { encodeIndices, encodeLevels } from '../../src/parquet/encode/hybrid.ts';
import { ParquetFileWriter } from '../../src/parquet/file-writer.ts';
import { chunkStart, FOOTER_TAIL_BYTES, footerLength, parseFooter } from '../../src/parquet/footer.ts';
import { parseColumnIndex, parseOffsetIndex } from '../../src/parquet/page-index.ts';
import { planReads, readRanges } from '../../src/parquet/plan.ts';
import { sliceRows } from '../../src/parquet/row-slice.ts';
import { ThriftReader } from '../../src/parquet/thrift-reader.ts';
import { schemaLeaves } from '../../src/parquet/schema-levels.ts';
import type {
  ColumnChunk,
  Encoding,
  FileMetadata,
  PhysicalType,
  SchemaNode,
} from '../../src/parquet/types.ts';
import { type ColumnValues, Entries } from '../../src/parquet/values.ts';

const decompressors = blockDecompressors();
const text = new TextDecoder();
const utf8 = new TextEncoder();

function fileOf(name: string): Uint8Array {
  const bytes = readFileSync(new URL(`../golden/${name}/data.parquet`, import.meta.url));
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length).slice();
}

function footerOf(file: Uint8Array): FileMetadata {
  const end = file.length - FOOTER_TAIL_BYTES;
  const length = footerLength(file.subarray(end));
  return parseFooter(file.subarray(end - length, end), file.length);
}

function dictionaryOf(file: Uint8Array, chunk: ColumnChunk): Dictionary | undefined {
  const start = chunkStart(chunk);
  if (start === chunk.dataPageOffset) return undefined;
  return readDictionary(chunk, file.subarray(start, chunk.dataPageOffset), decompressors);
}

function pagesOf(file: Uint8Array, chunk: ColumnChunk, countRows = true): ColumnPages {
  const end = chunkStart(chunk) + chunk.compressedBytes;
  const bytes = file.subarray(chunk.dataPageOffset, end);
  return new ColumnPages(chunk, [{ bytes, firstRow: 0 }], decompressors, countRows);
}

/** All values as text, so that both readers' types compare. */
function valuesOf(pages: ColumnPages, dictionary: Dictionary | undefined): string[] {
  if (pages.leaf.type === 'BYTE_ARRAY') {
    const { ids, table } = readStrings(pages, dictionary);
    return Array.from(ids, (id) => hex(table.bytes(id)));
  }
  const { num, base, exact } = readNumbers(pages, dictionary);
  if (pages.leaf.type === 'DOUBLE') return Array.from(num, String);
  return Array.from(num, (value, i) => String(exact?.[i] ?? base + BigInt(value)));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

interface Flat {
  readonly rep: number[];
  readonly def: number[];
  readonly values: string[];
}

/** The same column by hyparquet's page functions. */
function foreignColumn(
  file: Uint8Array,
  footer: ReturnType<typeof parquetMetadata>,
  group: number,
  column: number,
): Flat {
  const meta = footer.row_groups[group]!.columns[column]!.meta_data!;
  const schemaPath = getSchemaPath(footer.schema, meta.path_in_schema);
  const element = { ...schemaPath.at(-1)!.element };
  delete element.converted_type; // raw values
  delete element.logical_type;
  const decoder = {
    pathInSchema: meta.path_in_schema,
    type: meta.type,
    element,
    schemaPath,
    codec: meta.codec,
    utf8: false,
    compressors: { ZSTD: (input: Uint8Array) => zstdDecompressSync(input) },
    parsers: {},
  } as unknown as Parameters<typeof readDataPageV2>[2];
  const start = Number(meta.dictionary_page_offset ?? meta.data_page_offset);
  const view = new DataView(file.buffer, start, Number(meta.total_compressed_size));
  const reader = { view, offset: 0 };
  const out: Flat = { rep: [], def: [], values: [] };
  let dictionary: ReturnType<typeof readPlain> | undefined;
  while (reader.offset < view.byteLength - 1) {
    const header = parquetHeader(reader);
    const stored = new Uint8Array(file.buffer, start + reader.offset, header.compressed_page_size);
    reader.offset += header.compressed_page_size;
    if (header.type === 'DICTIONARY_PAGE') {
      const page = decompressPage(stored, header.uncompressed_page_size, meta.codec, decoder.compressors);
      const count = header.dictionary_page_header!.num_values;
      dictionary = readPlain(
        { view: new DataView(page.buffer, page.byteOffset, page.length), offset: 0 },
        meta.type,
        count,
        undefined,
      );
      continue;
    }
    const { repetitionLevels, definitionLevels, dataPage } = readDataPageV2(stored, header, decoder);
    const { encoding, num_values: count } = header.data_page_header_v2!;
    const values = convertWithDictionary(dataPage, dictionary, encoding, decoder);
    const nulls = Array.from({ length: count }, () => 0);
    out.rep.push(...(repetitionLevels.length > 0 ? repetitionLevels : nulls));
    out.def.push(
      ...(definitionLevels !== undefined && definitionLevels.length > 0 ? definitionLevels : nulls),
    );
    for (const value of values)
      out.values.push(
        value instanceof Uint8Array
          ? hex(value)
          : String(Number(value) === value || typeof value === 'bigint' ? value : Number(value)),
      );
  }
  return out;
}

for (const name of ['vparquet4', 'vparquet4-odd', 'vparquet5']) {
  await t.test(`${name}: every column as hyparquet reads it`, async (t) => {
    const file = fileOf(name);
    const footer = footerOf(file);
    const foreign = parquetMetadata(file.buffer as ArrayBuffer);
    t.ok(parquetSchema(foreign));
    t.equal(footer.rowCount, Number(foreign.num_rows));
    footer.rowGroups.forEach((group, g) =>
      group.columns.forEach((chunk, c) => {
        const label = chunk.leaf.path.join('.');
        const pages = pagesOf(file, chunk);
        const want = foreignColumn(file, foreign, g, c);
        t.same([...pages.repetitionLevels()].join(), want.rep.join(), `${label}: repetition`);
        t.same([...pages.definitionLevels()].join(), want.def.join(), `${label}: definition`);
        t.same(valuesOf(pages, dictionaryOf(file, chunk)).join(), want.values.join(), `${label}: values`);
      }),
    );
  });
}

await t.test('single rows are what the whole column has there', async (t) => {
  const file = fileOf('vparquet4');
  const footer = footerOf(file);
  const rows = Int32Array.of(0, 1, 7, 500, 1068, 1069);
  for (const chunk of footer.rowGroups[0]!.columns) {
    const pages = pagesOf(file, chunk);
    const { rowStarts, rep, def, positions } = sliceRows(pages, rows);
    const allRep = pages.repetitionLevels();
    const allDef = pages.definitionLevels();
    const starts = [...allRep.keys()].filter((e) => allRep[e] === 0);
    const all = valuesOf(pages, dictionaryOf(file, chunk));
    const wantDef = [...rows].flatMap((row) => [
      ...allDef.subarray(starts[row]!, starts[row + 1] ?? allDef.length),
    ]);
    const name = chunk.leaf.path.join('.');
    t.same([...def], wantDef, name);
    t.equal(rep[rowStarts[3]!], 0, name);
    const valueAt = (entry: number): number => {
      let count = 0;
      for (let e = 0; e < entry; e++) if (allDef[e] === chunk.leaf.maxDefinition) count++;
      return count;
    };
    const first = valueAt(starts[500]!);
    const from = [...def.subarray(0, rowStarts[3])].filter((d) => d === chunk.leaf.maxDefinition).length;
    const count = [...def.subarray(rowStarts[3], rowStarts[4])].filter(
      (d) => d === chunk.leaf.maxDefinition,
    ).length;
    if (count === 0) continue;
    const picked = positions.subarray(from, from + count);
    t.same(
      [...picked],
      Array.from({ length: count }, (_, i) => first + i),
      name,
    );
    if (chunk.leaf.type === 'BYTE_ARRAY') {
      const { ids, table } = pickStrings(pages, dictionaryOf(file, chunk), picked);
      t.same(
        Array.from(ids, (id) => hex(table.bytes(id))),
        all.slice(first, first + count),
        name,
      );
    } else {
      t.equal(pickNumbers(pages, undefined, picked).num.length, count, name);
    }
  }
});

await t.test('numbers at some positions are those of the whole column', (t) => {
  const random = (below: number): number => Math.floor(Math.random() * below);
  for (const name of ['vparquet4', 'vparquet4-odd', 'vparquet5']) {
    const file = fileOf(name);
    for (const chunk of footerOf(file).rowGroups.flatMap(({ columns }) => columns)) {
      if (chunk.leaf.type === 'BYTE_ARRAY') continue;
      const pages = pagesOf(file, chunk, false);
      const dictionary = dictionaryOf(file, chunk);
      const all = valuesOf(pages, dictionary);
      if (all.length === 0) continue;
      const some = [0, all.length - 1, ...Array.from({ length: 20 }, () => random(all.length))];
      const positions = Int32Array.from(new Set(some)).sort();
      const { num, base, exact } = pickNumbers(pages, dictionary, positions);
      const picked = Array.from(num, (value, i) =>
        chunk.leaf.type === 'DOUBLE' ? String(value) : String(exact?.[i] ?? base + BigInt(value)),
      );
      const want = Array.from(positions, (position) => all[position]);
      t.same(picked, want, `${name} ${chunk.leaf.path.join('.')} at ${positions.join()}`);
      const beyond = Int32Array.of(all.length);
      t.throws(() => pickNumbers(pages, dictionary, beyond), { code: 'block_corrupt' });
    }
  }
  t.end();
});

await t.test('picked numbers may need dictionaries, and 64 bits', (t) => {
  const leaf = {
    path: ['n'],
    type: 'INT64',
    logical: undefined,
    maxDefinition: 0,
    maxRepetition: 0,
  } as const;
  const large = 2n ** 62n;
  const values = Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? large + BigInt(i) : BigInt(-i)));
  for (const encoding of ['PLAIN', 'DELTA_BINARY_PACKED', 'RLE_DICTIONARY'] as const) {
    const page = pageOfLongs(values, encoding);
    const dictionary: Dictionary = {
      numbers: {
        num: Float64Array.from(values, Number),
        base: 0n,
        exact: BigInt64Array.from(values),
      },
    };
    const column = { leaf, pages: [page] } as unknown as ColumnPages;
    const { exact } = pickNumbers(column, dictionary, Int32Array.of(1, 2, 299));
    t.same(exact, BigInt64Array.of(-1n, large + 2n, -299n), encoding);
  }
  t.end();
});

function pageOfLongs(values: readonly bigint[], encoding: Encoding): ColumnPages['pages'][number] {
  const w = new ByteWriter(64);
  if (encoding === 'PLAIN') w.raw(new Uint8Array(BigInt64Array.from(values).buffer));
  else if (encoding === 'DELTA_BINARY_PACKED') {
    encodeDelta64(w, new Int32Array(BigInt64Array.from(values).buffer), 0, values.length);
  } else {
    const width = 9;
    w.u8(width);
    encodeIndices(w, Int32Array.from(values.keys()), 0, values.length, width);
  }
  const bytes = w.copy();
  const place = { encoding, firstValue: 0, valueCount: values.length };
  return {
    ...place,
    values: () => ({ bytes, start: 0, end: bytes.length }),
  } as unknown as ColumnPages['pages'][number];
}

await t.test('strings are found in dictionaries and without', async (t) => {
  const file = fileOf('vparquet4');
  for (const chunk of footerOf(file).rowGroups[0]!.columns.filter(({ leaf }) => leaf.type === 'BYTE_ARRAY')) {
    const pages = pagesOf(file, chunk, false);
    const dictionary = dictionaryOf(file, chunk);
    const { ids, table } = readStrings(pages, dictionary);
    if (ids.length === 0) continue;
    const wanted = [table.bytes(ids[ids.length >> 1]!), table.bytes(ids[0]!), utf8.encode('no such string')];
    const texts = new Set(wanted.map((bytes) => hex(bytes)));
    const want = [...ids.keys()].filter((i) => texts.has(hex(table.bytes(ids[i]!))));
    t.same([...findStrings(pages, stringsOf(dictionary), wanted)], want, chunk.leaf.path.join('.'));
    t.same([...findStrings(pages, stringsOf(dictionary), [wanted[2]!])], []);
  }
});

await t.test('page indexes point at the pages', async (t) => {
  const file = fileOf('vparquet4');
  const footer = footerOf(file);
  for (const chunk of footer.rowGroups[0]!.columns) {
    const offsets = file.subarray(
      chunk.offsetIndexOffset!,
      chunk.offsetIndexOffset! + chunk.offsetIndexBytes!,
    );
    const bounds = file.subarray(
      chunk.columnIndexOffset!,
      chunk.columnIndexOffset! + chunk.columnIndexBytes!,
    );
    const locations = parseOffsetIndex(offsets, chunk, footer.rowGroups[0]!.rowCount);
    const pages = pagesOf(file, chunk).pages;
    t.same(
      locations.map(({ firstRow }) => firstRow),
      pages.map(({ firstRow }) => firstRow),
    );
    t.equal(parseColumnIndex(bounds).min.length, pages.length);
    t.equal(locations[0]!.offset, chunk.dataPageOffset);
  }
});

await t.test('levels and indices as the writer packs them', async (t) => {
  const levelRuns = fc.array(fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 40 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(levelRuns, fc.integer({ min: 1, max: 3 }), (runs, width) => {
      const levels = Uint8Array.from(
        runs.flatMap(([level, count]) => Array<number>(count).fill(level % (1 << width))),
      );
      const out = new ByteWriter();
      encodeLevels(out, levels, 0, levels.length, width);
      const bytes = out.copy();
      const back = new Uint8Array(levels.length);
      decodeIndices(bytes, 0, bytes.length, width, levels.length, back, 0);
      t.same(back, levels);
      const shift = 5;
      const bits = new Uint8Array(bitBytes(levels.length + shift));
      levelBits(bytes, 0, bytes.length, width, levels.length, levelMask(1, 2), bits, shift);
      const rank = new BitRank(bits, levels.length + shift);
      levels.forEach((level, i) => t.equal(rank.get(i + shift), level === 1 || level === 2));
    }),
    { numRuns: 60 },
  );
  const indices = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 30 })), {
    minLength: 1,
    maxLength: 50,
  });
  fc.assert(
    fc.property(indices, fc.integer({ min: 1, max: 24 }), fc.nat(), (runs, width, seed) => {
      const values = Int32Array.from(runs.flatMap(([v, count]) => Array<number>(count).fill(v % 2 ** width)));
      const out = new ByteWriter();
      encodeIndices(out, values, 0, values.length, width);
      const bytes = out.copy();
      const back = new Int32Array(values.length);
      decodeIndices(bytes, 0, bytes.length, width, values.length, back, 0);
      t.same(back, values);
      const some = values[seed % values.length]!;
      // another page may have larger indices than this one has bits for
      for (const wanted of [some, some + 2 ** width, 2 ** width + (seed % 2 ** width)]) {
        const hits = new IntList();
        findIndices(bytes, 0, bytes.length, width, values.length, wanted, undefined, 3, hits);
        t.same(
          [...hits.view()],
          [...values.keys()].filter((i) => values[i] === wanted).map((i) => i + 3),
        );
      }
      const cursor = new IndexCursor(bytes, 0, bytes.length, width);
      for (let i = seed % 3; i < values.length; i += 1 + (seed % 7)) t.equal(cursor.at(i), values[i]);
    }),
    { numRuns: 60 },
  );
});

await t.test('numbers by delta', async (t) => {
  const wide = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: 0n, max: 2n ** 40n }),
  );
  const ends = fc.bigInt({ min: -20n, max: 20n }).map((n) => BigInt.asIntN(64, 2n ** 63n + n));
  const isNearEnd = (value: bigint): boolean => 2n ** 63n - (value < 0n ? -value : value) <= 2n ** 53n;
  const near = fc.bigInt({ min: 1_795_000_000_000_000_000n, max: 1_795_000_900_000_000_000n });
  fc.assert(
    fc.property(
      fc.oneof(...[wide, near, ends].map((value) => fc.array(value, { maxLength: 300 }))),
      (values) => {
        const exact = BigInt64Array.from(values);
        const out = new ByteWriter();
        encodeDelta64(out, new Int32Array(exact.buffer), 0, exact.length);
        const bytes = out.copy();
        const back = new BigInt64Array(exact.length);
        decodeDelta64Exact(bytes, 0, bytes.length, exact.length, new Int32Array(back.buffer), 0);
        t.same([...back], values);
        const num = new Float64Array(exact.length);
        const base = exact[0] ?? 0n;
        if (decodeDelta64(bytes, 0, bytes.length, exact.length, base, num, 0)) {
          t.same(
            Array.from(num, (value) => base + BigInt(value)),
            values,
          );
        } else {
          t.ok(
            isNearEnd(base) || values.some((value) => value - base >= 2n ** 40n || base - value >= 2n ** 40n),
            'only for wide numbers',
          );
        }
      },
    ),
    { numRuns: 150 },
  );
  const anyInt32 = fc.oneof(fc.integer(), fc.integer({ min: -5, max: 5 }));
  fc.assert(
    fc.property(fc.array(anyInt32, { maxLength: 300 }), (values) => {
      const out = new ByteWriter();
      encodeDelta32(out, Int32Array.from(values), 0, values.length);
      const back = new Int32Array(values.length);
      decodeDelta32(out.copy(), 0, out.length, values.length, back, 0);
      t.same([...back], values);
    }),
    { numRuns: 100 },
  );
});

await t.test('strings by prefix and suffix', async (t) => {
  const words = ['', 'a', 'ab', 'abc', 'abd', 'x', 'xyz', 'xyzzy'];
  const out = new ByteWriter();
  const common = (a: string, b: string): number => {
    let n = 0;
    while (n < a.length && a[n] === b[n]) n++;
    return n;
  };
  const prefixes = words.map((word, i) => (i === 0 ? 0 : common(words[i - 1]!, word)));
  const suffixes = words.map((word, i) => word.slice(prefixes[i]));
  encodeDelta32(out, Int32Array.from(prefixes), 0, words.length);
  encodeDelta32(
    out,
    Int32Array.from(suffixes, (suffix) => suffix.length),
    0,
    words.length,
  );
  out.raw(utf8.encode(suffixes.join('')));
  const table = new ByteTable(0);
  table.addDelta(out.copy(), 0, out.length, words.length);
  t.same(
    Array.from(words, (_, i) => text.decode(table.bytes(i))),
    words,
  );
  t.same(table.find(utf8.encode('abd')), [4]);
});

interface OneColumn {
  readonly type: PhysicalType;
  readonly encoding: Encoding;
  readonly values: ColumnValues;
  readonly present: readonly number[];
  readonly compressed: boolean;
  readonly packLevels: boolean;
}

function writtenColumn(column: OneColumn): { file: Uint8Array; chunk: ColumnChunk } {
  const leaf: SchemaNode = { name: 'c', repetition: 'OPTIONAL', type: column.type };
  const root: SchemaNode = { name: 'root', repetition: 'REQUIRED', children: [leaf] };
  const parts: Uint8Array[] = [];
  const writer = new ParquetFileWriter(root, 'test', (bytes) => parts.push(bytes.slice()));
  const rows = column.present.length;
  const pageRows = Int32Array.of(0, rows >> 1, rows);
  writer.beginRowGroup(pageRows);
  writer.column({
    leaf: schemaLeaves(root)[0]!,
    encoding: column.encoding,
    compressor: column.compressed ? zstdCompressor() : undefined,
    packLevels: column.packLevels,
    entries: new Entries(rows, undefined, pageRows),
    definition: Uint8Array.from(column.present),
    values: column.values,
  });
  writer.finish();
  const file = new Uint8Array(Buffer.concat(parts)).slice();
  return { file, chunk: footerOf(file).rowGroups[0]!.columns[0]! };
}

await t.test('columns as our writer writes them, pages of both versions', async (t) => {
  const cases: { name: string; encoding: Encoding; type: PhysicalType }[] = [
    { name: 'int64 plain', encoding: 'PLAIN', type: 'INT64' },
    { name: 'int64 delta', encoding: 'DELTA_BINARY_PACKED', type: 'INT64' },
    { name: 'double', encoding: 'PLAIN', type: 'DOUBLE' },
  ];
  const present = fc.array(fc.nat(1), { minLength: 2, maxLength: 80 });
  for (const { name, encoding, type } of cases) {
    fc.assert(
      fc.property(
        present,
        fc.infiniteStream(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
        fc.boolean(),
        fc.boolean(),
        (has, numbers, compressed, packLevels) => {
          const count = has.filter((d) => d === 1).length;
          const exact = BigInt64Array.from({ length: count }, () => numbers.next().value!);
          const words = new Int32Array(exact.buffer);
          const values: ColumnValues = { kind: type === 'DOUBLE' ? 'double' : 'int64', words };
          const { file, chunk } = writtenColumn({
            type,
            encoding,
            values,
            present: has,
            compressed,
            packLevels,
          });
          const pages = pagesOf(file, chunk, true);
          t.same([...pages.definitionLevels()], has, name);
          t.equal(pages.valueCount, count, name);
          t.same(
            pages.pages.map(({ firstRow }) => firstRow),
            [0, has.length >> 1],
            name,
          );
          const got = readNumbers(pages, undefined);
          if (type === 'DOUBLE')
            t.equal(hex(new Uint8Array(got.num.buffer)), hex(new Uint8Array(exact.buffer)), name);
          else
            t.same(
              Array.from(got.num, (v, i) => got.exact?.[i] ?? got.base + BigInt(v)),
              [...exact],
              name,
            );
        },
      ),
      { numRuns: 40 },
    );
  }
});

await t.test('plans join what is near', async (t) => {
  const ranges = [
    { offset: 100, length: 10 },
    { offset: 0, length: 50 },
    { offset: 5000, length: 1 },
    { offset: 7, length: 0 },
  ];
  t.same(planReads(ranges, 60), [
    { offset: 0, length: 110, wanted: [1, 0] },
    { offset: 5000, length: 1, wanted: [2] },
  ]);
  const file = Uint8Array.from({ length: 6000 }, (_, i) => i % 251);
  const got = await readRanges(ranges, async (offset, length) => file.subarray(offset, offset + length));
  t.same(
    got,
    ranges.map(({ offset, length }) => file.slice(offset, offset + length)),
  );
});

await t.test('bit ranks', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (flags) => {
      const bits = new Uint8Array(bitBytes(flags.length));
      flags.forEach((flag, i) => {
        if (flag) bits[i >> 3]! |= 1 << (i & 7);
      });
      const rank = new BitRank(bits, flags.length);
      const ones = [...flags.keys()].filter((i) => flags[i]);
      const selector = new Selector(rank);
      t.same(
        ones.map((_, k) => rank.select(k)),
        ones,
      );
      t.same(
        ones.map((_, k) => selector.at(k)),
        ones,
      );
      t.equal(rank.select(ones.length), flags.length);
      for (let i = 0; i <= flags.length; i++) {
        t.equal(rank.rank(i), ones.filter((one) => one < i).length);
        t.equal(rank.next(i), ones.find((one) => one >= i) ?? flags.length);
      }
    }),
    { numRuns: 40 },
  );
});

await t.test('thrift: what is too long or too deep is damage', async (t) => {
  const cases: { name: string; input: number[] }[] = [
    { name: 'ends in a field', input: [0x15] },
    { name: 'endless varint', input: [0x15, ...Array<number>(12).fill(0x80)] },
    { name: 'string beyond the end', input: [0x18, 0x7f, 0x41] },
    { name: 'list beyond the end', input: [0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f] },
    { name: 'nested too deeply', input: Array<number>(100).fill(0x1c) },
    { name: 'unknown type', input: [0x1e, 0x00] },
  ];
  for (const { name, input } of cases) {
    const reader = new ThriftReader(Uint8Array.from(input));
    t.throws(
      () => {
        while (reader.next()) reader.skip();
      },
      { code: 'block_corrupt' },
      name,
    );
  }
});

await t.test('a damaged footer is an error or another footer', async (t) => {
  const file = fileOf('vparquet4-odd');
  const end = file.length - FOOTER_TAIL_BYTES;
  const footer = file.slice(end - footerLength(file.subarray(end)), end);
  t.throws(() => footerLength(file.subarray(0, 8)), { code: 'block_corrupt' });
  fc.assert(
    fc.property(fc.nat(footer.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
      const damaged = footer.slice(0, cut ? at : footer.length);
      if (!cut) damaged[at] = value;
      try {
        parseFooter(damaged, file.length);
      } catch (err) {
        if (!(err instanceof TempoError) || err.code !== 'block_corrupt') throw err;
      }
    }),
    { numRuns: 2000 },
  );
});

await t.test('footers that spell a schema alike share it, whatever is read between', async (t) => {
  const names = ['vparquet4', 'vparquet5-3.0', 'vparquet4-odd'];
  const first = names.map((name) => footerOf(fileOf(name)));
  const again = names.map((name) => footerOf(fileOf(name)));
  for (const [i, name] of names.entries()) {
    t.equal(again[i]!.leaves, first[i]!.leaves, name);
    t.same(again[i]!.rowGroups, first[i]!.rowGroups);
    t.same(again[i]!.leaves, schemaLeaves(again[i]!.schema));
  }
  t.not(first[0]!.leaves, first[1]!.leaves);
  const file = fileOf('vparquet4');
  const end = file.length - FOOTER_TAIL_BYTES;
  const footer = Buffer.from(file.subarray(end - footerLength(file.subarray(end)), end));
  // The second time it stands there is in a column chunk.
  const at = footer.indexOf('TraceIDText', footer.indexOf('TraceIDText') + 1);
  footer.write('TraceIDTexT', at);
  t.throws(() => parseFooter(footer, file.length), {
    code: 'block_corrupt',
    message: /column TraceIDTexT stands where TraceIDText should/,
  });
  footer.write('TraceIDText', at);
  const parsed = parseFooter(footer, file.length);
  footer.fill(0);
  t.same(parsed, first[0], 'what it lay in may be used again');
});
