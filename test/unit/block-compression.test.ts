// The codecs of block pages: zstd by either implementation, and Snappy.
import t from 'tap';
import { blockCompressor, blockDecompressors, zstdCompressor } from '../../src/block/compression.ts';
import { SnappyCompressor } from '../../src/lib/snappy-compressor.ts';
import { snappyDecompress } from '../../src/lib/snappy.ts';
import { expectedRows, readRows, writeBlock } from '../support/block-rows.ts';
import { compactWritten, openWritten } from '../support/compacting.ts';
import { aTrace } from '../support/otlp.ts';
import { seeded } from '../support/seeded.ts';

t.test('compression', async (t) => {
  const input = Uint8Array.from({ length: 5000 }, (_, i) => (i * i) >> 5);
  for (const native of [true, false]) {
    for (const length of [0, 1, 5000]) {
      const bytes = input.subarray(0, length);
      const stored = zstdCompressor(1, native).compress(bytes).slice();
      t.same(
        [...blockDecompressors(!native).decompress('ZSTD', stored, length)],
        [...bytes],
        `native ${native} ${length}`,
      );
      const wrong = { code: 'block_corrupt' };
      t.throws(() => blockDecompressors(native).decompress('ZSTD', stored, length + 1), wrong);
      t.throws(() => blockDecompressors(native).decompress('ZSTD', Uint8Array.of(1, 2, 3), length), wrong);
      for (let at = 0; at < stored.length; at++) {
        const flipped = stored.slice();
        flipped[at] ^= 0x10;
        let out: Uint8Array | undefined;
        try {
          out = blockDecompressors(native).decompress('ZSTD', flipped, length);
        } catch {
          continue;
        }
        t.same([...out], [...bytes], `byte ${at} of ${stored.length} flipped: an error, or no difference`);
      }
    }
  }
  t.throws(() => blockDecompressors().decompress('SNAPPY', Uint8Array.of(5, 0), 5), {
    code: 'block_corrupt',
  });
});

t.test('snappy', async (t) => {
  const text = (s: string): number[] => [...Buffer.from(s)];
  const cases: { name: string; input: number[]; want: string | undefined }[] = [
    { name: 'empty', input: [0], want: '' },
    { name: 'literal', input: [3, 2 << 2, ...text('abc')], want: 'abc' },
    { name: 'copy that overlaps itself', input: [8, 0, ...text('a'), 1 | (3 << 2), 1], want: 'a'.repeat(8) },
    {
      name: 'copy with a two-byte offset',
      input: [6, 2 << 2, ...text('abc'), 2 | (2 << 2), 3, 0],
      want: 'abcabc',
    },
    {
      name: 'literal with a length byte',
      input: [70, 60 << 2, 69, ...text('x'.repeat(70))],
      want: 'x'.repeat(70),
    },
    { name: 'no length', input: [], want: undefined },
    { name: 'endless length', input: [255, 255, 255, 255, 255, 255], want: undefined },
    { name: 'larger than allowed', input: [101, 0], want: undefined },
    { name: 'literal beyond the input', input: [3, 2 << 2, 1], want: undefined },
    { name: 'literal beyond the output', input: [1, 1 << 2, 1, 2], want: undefined },
    { name: 'copy from before the start', input: [5, 0, 1, 1 | (0 << 2), 2], want: undefined },
    { name: 'copy with offset 0', input: [5, 0, 1, 1 | (0 << 2), 0], want: undefined },
    { name: 'copy beyond the output', input: [3, 0, 1, 1 | (7 << 2), 1], want: undefined },
    { name: 'truncated offset', input: [5, 0, 1, 2 | (3 << 2), 1], want: undefined },
    { name: 'less than stated', input: [5, 0, 1], want: undefined },
  ];
  for (const { name, input, want } of cases) {
    const decode = (): string => Buffer.from(snappyDecompress(Uint8Array.from(input), 100)).toString();
    if (want === undefined) t.throws(decode, { name: 'SnappyError' }, name);
    else t.equal(decode(), want, name);
  }
});

t.test('snappy: what is compressed is read back', (t) => {
  const compressor = new SnappyCompressor();
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const lengths = [0, 1, 3, 4, 5, 60, 61, 127, 128, 256, 257, 65_535, 65_536, 65_537, 200_000];
  for (const alphabet of [1, 2, 5, 60, 256]) {
    for (const length of lengths) {
      const bytes = Uint8Array.from({ length }, () => random() * alphabet);
      const stored = compressor.compress(bytes);
      t.ok(stored.length <= 32 + length + length / 6, 'within its bound');
      t.ok(Buffer.from(snappyDecompress(stored, length)).equals(bytes), `${length} of ${alphabet}`);
    }
  }
  const text = Buffer.from('the same words come again and again, '.repeat(3000));
  t.ok(compressor.compress(text).length < text.length / 15, 'and what repeats is smaller');
  t.end();
});

t.test('blocks with pages in snappy', async (t) => {
  const spans = [1, 2, 3, 4].flatMap((id) => aTrace(id, 6));
  const compressor = blockCompressor('snappy');
  const block = writeBlock([spans], { compressor });
  const codecs = async (written: typeof block): Promise<ReadonlySet<string>> => {
    const { rowGroups } = await openWritten(written);
    return new Set(rowGroups.flatMap(({ group }) => group.group.columns.map(({ codec }) => codec)));
  };
  t.strictSame(await codecs(block), new Set(['UNCOMPRESSED', 'SNAPPY']));
  t.strictSame(await readRows(block), expectedRows(spans));
  const joined = await compactWritten([block, writeBlock([aTrace(9, 3)])], { compressor });
  t.strictSame(await codecs(joined), new Set(['UNCOMPRESSED', 'SNAPPY']), 'also where others are joined');
  t.strictSame(await readRows(joined), expectedRows([...spans, ...aTrace(9, 3)]));
});
