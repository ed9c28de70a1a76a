// Codecs of block pages: zstd by the native module where it is installed, else by node:zlib; snappy for those
// who ask for it. Contexts are kept, so an instance belongs to one thread.
import { createRequire } from 'node:module';
import * as zlib from 'node:zlib';
import { TempoError } from '../lib/errors.ts';
import { SnappyCompressor } from '../lib/snappy-compressor.ts';
import { snappyDecompress } from '../lib/snappy.ts';
import type { Codec, Compressor, Decompressors } from '../parquet/types.ts';

/** The part of zstd-napi's binding that is used. */
interface ZstdBinding {
  readonly CCtx: new () => {
    setParameter(parameter: number, value: number): void;
    compress2(target: Uint8Array, source: Uint8Array): number;
  };
  readonly DCtx: new () => { decompress(target: Uint8Array, source: Uint8Array): number };
  readonly CParameter: { readonly compressionLevel: number; readonly checksumFlag: number };
  compressBound(sourceBytes: number): number;
}

function loadBinding(): ZstdBinding | undefined {
  try {
    return createRequire(import.meta.url)('zstd-napi/binding') as ZstdBinding;
  } catch {
    return undefined; // optional: it is built at install time, which may fail
  }
}

let binding: ZstdBinding | undefined;
let bindingTried = false;

function nativeZstd(): ZstdBinding | undefined {
  if (!bindingTried) {
    binding = loadBinding();
    bindingTried = true;
  }
  return binding;
}

/** What pages of new blocks can be compressed with. */
export const BLOCK_COMPRESSIONS = ['zstd', 'snappy'] as const;
export type BlockCompression = (typeof BLOCK_COMPRESSIONS)[number];

export function blockCompressor(compression: BlockCompression = 'zstd'): Compressor {
  if (compression === 'zstd') return zstdCompressor();
  const snappy = new SnappyCompressor();
  return { codec: 'SNAPPY', compress: (bytes) => snappy.compress(bytes) };
}

const SCRATCH_BYTES = 256 * 1024;

/**
 * A zstd compressor; its frames end in a checksum, so that a damaged page is an error and not a wrong
 * answer. What `compress` returns is valid until its next call. `native: false` is for tests.
 */
export function zstdCompressor(level = 1, native = true): Compressor {
  const zstd = native ? nativeZstd() : undefined;
  if (zstd === undefined) {
    const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants;
    const options = { params: { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 } };
    return { codec: 'ZSTD', compress: (bytes) => zlib.zstdCompressSync(bytes, options) };
  }
  const context = new zstd.CCtx();
  context.setParameter(zstd.CParameter.compressionLevel, level);
  context.setParameter(zstd.CParameter.checksumFlag, 1);
  let scratch = new Uint8Array(SCRATCH_BYTES);
  return {
    codec: 'ZSTD',
    compress(bytes) {
      const bound = zstd.compressBound(bytes.length);
      if (bound > scratch.length) scratch = new Uint8Array(bound * 2);
      return scratch.subarray(0, context.compress2(scratch, bytes));
    },
  };
}

/**
 * Decompressors of all codecs that blocks use. Results are fresh arrays, or in `target`. Damage is thrown
 * as `block_corrupt`.
 */
export function blockDecompressors(native = true): Decompressors {
  const zstd = native ? nativeZstd() : undefined;
  const context = zstd === undefined ? undefined : new zstd.DCtx();

  function unzstd(bytes: Uint8Array, size: number, target?: Uint8Array): Uint8Array {
    if (context === undefined) return zlib.zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) });
    const out = target ?? new Uint8Array(size);
    const length = context.decompress(out, bytes);
    return length === size ? out : out.subarray(0, length);
  }

  function decode(codec: Codec, bytes: Uint8Array, size: number, target?: Uint8Array): Uint8Array {
    switch (codec) {
      case 'UNCOMPRESSED':
        return bytes;
      case 'SNAPPY':
        return snappyDecompress(bytes, size, target);
      case 'ZSTD':
        return unzstd(bytes, size, target);
    }
  }

  return {
    crc32: zlib.crc32,
    decompress(codec, bytes, uncompressedBytes, target) {
      let out: Uint8Array;
      try {
        out = decode(codec, bytes, uncompressedBytes, target);
      } catch (err) {
        throw new TempoError('block_corrupt', `cannot decompress a ${codec} page`, err);
      }
      if (out.length === uncompressedBytes) return out;
      throw new TempoError(
        'block_corrupt',
        `a ${codec} page has ${out.length} bytes, not ${uncompressedBytes}`,
      );
    },
  };
}
