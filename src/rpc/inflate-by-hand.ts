// The compressions that Node has not: Snappy in both its forms and LZ4. Runs on the caller's thread.
import { Lz4Error, lz4Decompress } from '../lib/lz4.ts';
import { isFramedSnappy, snappyUnframe } from '../lib/snappy-frames.ts';
import { SnappyError, snappyDecompress } from '../lib/snappy.ts';
import { malformed, tooLarge } from './inflate-errors.ts';

/** Throws TempoError as `inflate` does. */
export function inflateByHand(encoding: string, bytes: Uint8Array, sizeMax: number): Uint8Array {
  try {
    if (encoding === 'lz4') return lz4Decompress(bytes, sizeMax);
    // Collectors of before 2025 call the framed form `snappy`, as gRPC does.
    const isFramed = encoding !== 'snappy' || isFramedSnappy(bytes);
    return isFramed ? snappyUnframe(bytes, sizeMax) : snappyDecompress(bytes, sizeMax);
  } catch (err) {
    const isTooLarge = (err instanceof SnappyError || err instanceof Lz4Error) && err.isTooLarge;
    throw isTooLarge ? tooLarge(sizeMax) : malformed(encoding, err);
  }
}
