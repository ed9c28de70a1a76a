// The Parquet writer, read back by a foreign reader (hyparquet): every type, encoding and level pattern,
// and what the footer and the page indexes say about them.
import { zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { parquetMetadata, parquetReadObjects, readColumnIndex, readOffsetIndex } from 'hyparquet';
import t from 'tap';
import { zstdCompressor } from '../../src/block/compression.ts';
import { ByteWriter } from '../../src/lib/byte-writer.ts';
import { encodeDelta64 } from '../../src/parquet/encode/delta.ts';
import { encodeIndices, encodeLevels } from '../../src/parquet/encode/hybrid.ts';
import { ParquetFileWriter } from '../../src/parquet/file-writer.ts';
import { schemaLeaves } from '../../src/parquet/schema-levels.ts';
import type { Encoding, LogicalType, PhysicalType, SchemaNode } from '../../src/parquet/types.ts';
import { type ByteStrings, type ColumnValues, Entries } from '../../src/parquet/values.ts';

const compressors = {
  ZSTD: (input: Uint8Array): Uint8Array => zstdDecompressSync(input),
};

interface Column {
  readonly type: PhysicalType;
  readonly logical?: LogicalType;
  readonly encoding: Encoding;
  readonly values: ColumnValues;
  readonly count: number;
  /** 1 = has a value; all when absent (the column is then required). */
  readonly present?: readonly number[];
  readonly compressed?: boolean;
  readonly pageRows?: readonly number[];
}

function fileOf(write: (writer: ParquetFileWriter) => void, root: SchemaNode): ArrayBuffer {
  const parts: Uint8Array[] = [];
  const writer = new ParquetFileWriter(root, 'test', (bytes) => parts.push(bytes.slice()));
  write(writer);
  const { sizeBytes } = writer.finish();
  const file = new Uint8Array(sizeBytes);
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  if (at !== sizeBytes) throw new Error('the stated size is not what was written');
  return file.buffer;
}

/** A file with one column `c`. */
function columnFile(column: Column): ArrayBuffer {
  const optional = column.present !== undefined;
  const leafNode: SchemaNode = {
    name: 'c',
    repetition: optional ? 'OPTIONAL' : 'REQUIRED',
    type: column.type,
    ...(column.logical === undefined ? {} : { logical: column.logical }),
  };
  const root: SchemaNode = { name: 'root', repetition: 'REQUIRED', children: [leafNode] };
  const rows = column.present?.length ?? column.count;
  const pageRows = Int32Array.from(column.pageRows ?? [0, rows]);
  return fileOf((writer) => {
    writer.beginRowGroup(pageRows);
    writer.column({
      leaf: schemaLeaves(root)[0]!,
      encoding: column.encoding,
      compressor: column.compressed === true ? zstdCompressor() : undefined,
      packLevels: false,
      entries: new Entries(rows, undefined, pageRows),
      definition: column.present === undefined ? 0 : Uint8Array.from(column.present),
      values: column.values,
    });
  }, root);
}

async function readColumn(file: ArrayBuffer): Promise<unknown[]> {
  const rows = await parquetReadObjects({ file, compressors, utf8: false });
  return rows.map((row) => row['c']);
}

function words(values: readonly bigint[]): Int32Array {
  return new Int32Array(BigInt64Array.from(values.map((v) => BigInt.asIntN(64, v))).buffer);
}

function tableOf(strings: readonly (string | Uint8Array)[]): ByteStrings {
  const parts = strings.map((s) => (typeof s === 'string' ? new TextEncoder().encode(s) : s));
  const bytes = Uint8Array.from(parts.flatMap((part) => [...part]));
  const offsets = parts.map((_, i) => parts.slice(0, i).reduce((sum, p) => sum + p.length, 0));
  return { size: parts.length, bytes, offset: (id) => offsets[id]!, length: (id) => parts[id]!.length };
}

const int64s = fc.array(
  fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -20n, max: 20n }),
    fc.bigInt({ min: 1_767_225_600_000_000_000n, max: 1_767_225_700_000_000_000n }),
    fc.constantFrom(0n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 32n, -(2n ** 32n), 2n ** 53n),
  ),
  { minLength: 1, maxLength: 400 },
);
const int32s = fc.array(
  fc.oneof(fc.integer(), fc.integer({ min: 0, max: 7 }), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1)),
  { minLength: 1, maxLength: 400 },
);
/** Runs and noise, so that both kinds of runs occur. */
const runs = (max: number): fc.Arbitrary<number[]> =>
  fc
    .array(fc.tuple(fc.integer({ min: 0, max }), fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 }))), {
      minLength: 1,
      maxLength: 80,
    })
    .map((pairs) => pairs.flatMap(([value, count]) => Array.from({ length: count }, () => value)));

t.test('values come back', async (t) => {
  for (const encoding of ['PLAIN', 'DELTA_BINARY_PACKED'] as const) {
    await t.test(`int64 ${encoding}`, async (t) => {
      await fc.assert(
        fc.asyncProperty(int64s, fc.boolean(), async (values, compressed) => {
          const column: Column = {
            type: 'INT64',
            logical: 'INT_64',
            encoding,
            compressed,
            count: values.length,
            values: { kind: 'int64', words: words(values) },
          };
          t.same(await readColumn(columnFile(column)), values);
        }),
        { numRuns: 60 },
      );
    });
    await t.test(`int32 ${encoding}`, async (t) => {
      await fc.assert(
        fc.asyncProperty(int32s, async (values) => {
          const column: Column = {
            type: 'INT32',
            logical: 'INT_32',
            encoding,
            count: values.length,
            values: { kind: 'int32', values: Int32Array.from(values) },
          };
          t.same(await readColumn(columnFile(column)), values);
        }),
        { numRuns: 60 },
      );
    });
  }
  await t.test('uint64, beyond the sign bit', async (t) => {
    const values = [0n, 2n ** 64n - 1n, 1n, 2n ** 63n, 5n, 2n ** 64n - 2n];
    const column: Column = {
      type: 'INT64',
      logical: 'UINT_64',
      encoding: 'DELTA_BINARY_PACKED',
      count: values.length,
      values: { kind: 'int64', words: words(values) },
    };
    t.same(await readColumn(columnFile(column)), values);
  });
  await t.test('doubles', async (t) => {
    const values = [0, -0, 1.5, -1e308, 5e-324, Infinity, -Infinity, NaN];
    const column: Column = {
      type: 'DOUBLE',
      encoding: 'PLAIN',
      count: values.length,
      values: { kind: 'double', words: new Int32Array(Float64Array.from(values).buffer) },
    };
    const read = (await readColumn(columnFile(column))) as number[];
    t.ok(read.length === values.length && read.every((v, i) => Object.is(v, values[i])), String(read));
  });
  await t.test('small numbers in a 64-bit column', async (t) => {
    const values = [0, 5, -3, 1, 2 ** 31 - 1, -(2 ** 31)];
    const column: Column = {
      type: 'INT64',
      logical: 'INT_64',
      encoding: 'PLAIN',
      count: values.length,
      values: { kind: 'int32', values: Int32Array.from(values) },
    };
    t.same(await readColumn(columnFile(column)), values.map(BigInt));
  });
  await t.test('bools, with nulls', async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(true, false, undefined), { minLength: 1, maxLength: 90 }),
        async (values) => {
          const kept = values.filter((v) => v !== undefined);
          const column: Column = {
            type: 'BOOLEAN',
            encoding: 'PLAIN',
            count: kept.length,
            values: { kind: 'bool', values: Uint8Array.from(kept.map(Number)) },
            present: values.map((v) => (v === undefined ? 0 : 1)),
          };
          t.same(
            (await readColumn(columnFile(column))).map((v) => v ?? undefined),
            values,
          );
        },
      ),
      { numRuns: 40 },
    );
  });
});

t.test('strings come back', async (t) => {
  const strings = ['', 'a', 'ab', 'a longer text '.repeat(10), 'ä', '\u0000', 'zzz'];
  const table = tableOf(strings);
  const ids = fc.array(fc.integer({ min: -1, max: strings.length - 1 }), { minLength: 1, maxLength: 300 });
  for (const encoding of ['RLE_DICTIONARY', 'DELTA_LENGTH_BYTE_ARRAY'] as const) {
    await t.test(encoding, async (t) => {
      await fc.assert(
        fc.asyncProperty(ids, fc.boolean(), async (values, compressed) => {
          const half = values.length >> 1;
          const column: Column = {
            type: 'BYTE_ARRAY',
            logical: 'STRING',
            encoding,
            compressed,
            count: values.length,
            values: { kind: 'strings', ids: Int32Array.from(values), table },
            pageRows: half === 0 ? [0, values.length] : [0, half, values.length],
          };
          t.same(
            await readColumn(columnFile(column)),
            values.map((id) => (id < 0 ? '' : strings[id])),
          );
        }),
        { numRuns: 60 },
      );
    });
  }
  await t.test('packed', async (t) => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 255);
    const column: Column = {
      type: 'BYTE_ARRAY',
      encoding: 'DELTA_LENGTH_BYTE_ARRAY',
      count: 4,
      values: { kind: 'packed', bytes, starts: Int32Array.of(0, 2, 2, 5, 6) },
    };
    const read = (await readColumn(columnFile(column))) as Uint8Array[];
    t.same(
      read.map((v) => [...v]),
      [[1, 2], [], [3, 4, 5], [255]],
    );
  });
  await t.test('a dictionary only where values repeat', async (t) => {
    const encodingsOf = (ids: number[]): readonly string[] => {
      const values: ColumnValues = { kind: 'strings', ids: Int32Array.from(ids), table };
      const file = columnFile({ type: 'BYTE_ARRAY', encoding: 'RLE_DICTIONARY', count: ids.length, values });
      return parquetMetadata(file).row_groups[0]!.columns[0]!.meta_data!.encodings;
    };
    t.same(encodingsOf([1, 2, 1, 2, 1]), ['PLAIN', 'RLE_DICTIONARY']);
    t.same(encodingsOf([1, 2, 3, 4, 1]), ['DELTA_LENGTH_BYTE_ARRAY']);
  });
  await t.test('a column without any value', async (t) => {
    for (const [encoding, compressed] of [
      ['RLE_DICTIONARY', true],
      ['RLE_DICTIONARY', false],
      ['DELTA_LENGTH_BYTE_ARRAY', true],
    ] as const) {
      const column: Column = {
        type: 'BYTE_ARRAY',
        logical: 'STRING',
        encoding,
        compressed,
        count: 0,
        values: { kind: 'strings', ids: new Int32Array(0), table },
        present: [0, 0, 0],
      };
      t.same(
        (await readColumn(columnFile(column))).map((v) => v ?? undefined),
        [undefined, undefined, undefined],
      );
    }
  });
});

/** Repeated group of an optional number: [[1, null], [], [2]] and the like. */
const NESTED: SchemaNode = {
  name: 'root',
  repetition: 'REQUIRED',
  children: [
    {
      name: 'l',
      repetition: 'REQUIRED',
      logical: 'LIST',
      children: [
        {
          name: 'list',
          repetition: 'REPEATED',
          children: [{ name: 'element', repetition: 'OPTIONAL', type: 'INT32', logical: 'INT_32' }],
        },
      ],
    },
  ],
};

type Lists = readonly (readonly (number | null)[])[];

/** `groups` row groups of the same lists, in pages of two rows. */
function listFile(lists: Lists, packLevels: boolean, groups: number): ArrayBuffer {
  const repetition: number[] = [];
  const definition: number[] = [];
  const values: number[] = [];
  const pageRows: number[] = [];
  const pageStarts: number[] = [];
  lists.forEach((list, row) => {
    if (row % 2 === 0) {
      pageRows.push(row);
      pageStarts.push(repetition.length);
    }
    if (list.length === 0) {
      repetition.push(0);
      definition.push(0);
    }
    list.forEach((value, i) => {
      repetition.push(i === 0 ? 0 : 1);
      definition.push(value === null ? 1 : 2);
      if (value !== null) values.push(value);
    });
  });
  pageRows.push(lists.length);
  pageStarts.push(repetition.length);
  return fileOf((writer) => {
    for (let g = 0; g < groups; g++) {
      writer.beginRowGroup(Int32Array.from(pageRows));
      writer.column({
        leaf: schemaLeaves(NESTED)[0]!,
        encoding: 'DELTA_BINARY_PACKED',
        compressor: zstdCompressor(),
        packLevels,
        entries: new Entries(repetition.length, Uint8Array.from(repetition), Int32Array.from(pageStarts)),
        definition: Uint8Array.from(definition),
        values: { kind: 'int32', values: Int32Array.from(values) },
      });
    }
  }, NESTED);
}

t.test('lists in pages of both versions and several row groups', async (t) => {
  const lists = fc.array(
    fc.array(fc.option(fc.integer({ min: -9, max: 9 }), { nil: null }), { maxLength: 30 }),
    { minLength: 1, maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(lists, fc.boolean(), async (want, packLevels) => {
      const file = listFile(want, packLevels, 2);
      const rows = await parquetReadObjects({ file, compressors });
      t.same(
        rows.map((row) => row['l']),
        [...want, ...want],
      );
    }),
    { numRuns: 60 },
  );
});

function reader(file: ArrayBuffer, offset: bigint, length: number): { view: DataView; offset: number } {
  return { view: new DataView(file, Number(offset), length), offset: 0 };
}

t.test('page indexes and statistics', async (t) => {
  const file = listFile([[3], [1], [], [null], [7, 5], [], [9]], false, 1);
  const metadata = parquetMetadata(file);
  const chunk = metadata.row_groups[0]!.columns[0]!;
  t.match(chunk.meta_data!.statistics, { min_value: 1, max_value: 9, null_count: 3n });
  t.equal(metadata.num_rows, 7n);
  const element = metadata.schema[metadata.schema.length - 1]!;
  const columnIndex = readColumnIndex(
    reader(file, chunk.column_index_offset!, chunk.column_index_length!),
    element,
  );
  t.same(columnIndex.null_pages, [false, true, false, false]);
  t.same(columnIndex.null_counts, [0n, 2n, 1n, 0n]);
  t.same(
    columnIndex.min_values.filter((_, i) => i !== 1),
    [1, 5, 9],
  );
  t.same(
    columnIndex.max_values.filter((_, i) => i !== 1),
    [3, 7, 9],
  );
  t.equal(columnIndex.boundary_order, 'ASCENDING');
  const { page_locations } = readOffsetIndex(
    reader(file, chunk.offset_index_offset!, chunk.offset_index_length!),
  );
  t.same(
    page_locations.map((page) => Number(page.first_row_index)),
    [0, 2, 4, 6],
  );
  t.equal(page_locations[0]!.offset, chunk.meta_data!.data_page_offset);
  for (let i = 1; i < page_locations.length; i++) {
    const before = page_locations[i - 1]!;
    t.equal(before.offset + BigInt(before.compressed_page_size), page_locations[i]!.offset);
  }
});

t.test('bounds by type', async (t) => {
  const long = 'x'.repeat(40);
  const cases: { name: string; column: Omit<Column, 'encoding' | 'count'>; min: unknown; max: unknown }[] = [
    {
      name: 'unsigned numbers compare unsigned',
      column: {
        type: 'INT64',
        logical: 'UINT_64',
        values: { kind: 'int64', words: words([5n, 2n ** 63n, 7n]) },
      },
      min: 5n,
      max: 2n ** 63n,
    },
    {
      name: 'signed numbers compare signed',
      column: {
        type: 'INT64',
        logical: 'INT_64',
        values: { kind: 'int64', words: words([5n, -(2n ** 62n), 7n]) },
      },
      min: -(2n ** 62n),
      max: 7n,
    },
    {
      name: 'long strings are cut, the upper bound is raised',
      column: {
        type: 'BYTE_ARRAY',
        logical: 'STRING',
        values: { kind: 'strings', ids: Int32Array.of(0, 0, 0), table: tableOf([long]) },
      },
      min: 'x'.repeat(16),
      max: `${'x'.repeat(15)}y`,
    },
    {
      name: 'NaN has no place, zero has two signs',
      column: {
        type: 'DOUBLE',
        values: { kind: 'double', words: new Int32Array(Float64Array.of(NaN, 0, NaN).buffer) },
      },
      min: -0,
      max: 0,
    },
    {
      name: 'nothing but NaN',
      column: {
        type: 'DOUBLE',
        values: { kind: 'double', words: new Int32Array(Float64Array.of(NaN, NaN, NaN).buffer) },
      },
      min: -Infinity,
      max: Infinity,
    },
    {
      name: 'bools',
      column: { type: 'BOOLEAN', values: { kind: 'bool', values: Uint8Array.of(1, 1, 1) } },
      min: true,
      max: true,
    },
  ];
  for (const { name, column, min, max } of cases) {
    const encoding = column.type === 'BYTE_ARRAY' ? 'DELTA_LENGTH_BYTE_ARRAY' : 'PLAIN';
    const { statistics } = parquetMetadata(columnFile({ ...column, encoding, count: 3 })).row_groups[0]!
      .columns[0]!.meta_data!;
    t.ok(Object.is(statistics!.min_value, min), `${name}: min ${String(statistics!.min_value)}`);
    t.ok(Object.is(statistics!.max_value, max), `${name}: max ${String(statistics!.max_value)}`);
  }
});

/** Decodes the hybrid by the format's words, slowly. */
function decodeHybrid(bytes: Uint8Array, width: number, count: number): number[] {
  const out: number[] = [];
  let p = 0;
  while (out.length < count) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[p++]!;
      header |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    if ((header & 1) === 0) {
      let value = 0;
      for (let k = 0; k < Math.ceil(width / 8); k++) value |= bytes[p++]! << (8 * k);
      for (let k = 0; k < header >> 1; k++) out.push(value);
      continue;
    }
    const bits = (header >> 1) * 8 * width;
    for (let start = 0; start < bits; start += width) {
      let value = 0;
      for (let k = 0; k < width; k++)
        value |= ((bytes[p + ((start + k) >> 3)]! >> ((start + k) & 7)) & 1) << k;
      out.push(value);
    }
    p += bits / 8;
  }
  if (p !== bytes.length) throw new Error(`${bytes.length - p} bytes are left`);
  return out.slice(0, count);
}

t.test('levels and indices of every width', async (t) => {
  for (let width = 1; width <= 24; width++) {
    fc.assert(
      fc.property(runs(2 ** width - 1), fc.nat(3), (values, skip) => {
        const start = Math.min(skip, values.length - 1);
        const want = values.slice(start);
        const out = new ByteWriter();
        encodeIndices(out, Int32Array.from(values), start, values.length, width);
        t.strictSame(decodeHybrid(out.view(), width, want.length), want);
        if (width > 3) return;
        out.reset();
        encodeLevels(out, Uint8Array.from(values), start, values.length, width);
        t.strictSame(decodeHybrid(out.view(), width, want.length), want);
      }),
      { numRuns: 15 },
    );
  }
});

t.test('an empty page of numbers is four numbers', async (t) => {
  const out = new ByteWriter();
  encodeDelta64(out, new Int32Array(0), 0, 0);
  t.same([...out.view()], [128, 1, 4, 0, 0]);
});

t.test('levels are counted by page, wherever they lie in memory', (t) => {
  const levels = fc.array(fc.nat(7), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(levels, fc.nat(7), fc.nat(40), fc.nat(7), (values, at, cut, level) => {
      const bytes = new Uint8Array(at + values.length + 1).fill(level);
      bytes.set(values, at);
      const page = Math.min(cut, values.length);
      const pageStarts = Int32Array.of(0, page, values.length);
      const definition = bytes.subarray(at, at + values.length);
      const counts = new Entries(values.length, undefined, pageStarts).valueCounts(definition, level);
      const count = (some: number[]): number => some.filter((value) => value === level).length;
      t.strictSame([...counts], [0, count(values.slice(0, page)), count(values)]);
    }),
    { numRuns: 50 },
  );
  t.end();
});
