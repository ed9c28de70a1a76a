// Snappy as it is written: read back by a reader of its own that follows the format and nothing else, for
// bytes of every kind and for sizes about the borders of chunks and of what is copied by words.
import t from 'tap';
import { crc32c } from '../../src/lib/crc32c.ts';
import { SnappyCompressor } from '../../src/lib/snappy-compressor.ts';
import { SnappyFramer, snappyUnframe } from '../../src/lib/snappy-frames.ts';
import { snappyDecompress } from '../../src/lib/snappy.ts';
import { seeded } from '../support/seeded.ts';

const CHUNK_BYTES = 65_536;
const IDENTIFIER = Buffer.from('ff060000734e61507059', 'hex');
const seed = Math.floor(Math.random() * 2 ** 31);

/** Bit by bit, as the polynomial says. */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

/** One block, element by element and byte by byte. */
function slowDecompress(block: Buffer): Buffer {
  let pos = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = block[pos++]!;
    size |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  const out: number[] = [];
  while (pos < block.length) {
    const tag = block[pos++]!;
    const high = tag >> 2;
    if ((tag & 3) === 0) {
      const extra = Math.max(0, high - 59);
      const length = (extra === 0 ? high : block.readUIntLE(pos, extra)) + 1;
      pos += extra;
      for (let i = 0; i < length; i++) out.push(block[pos++]!);
      continue;
    }
    const isNear = (tag & 3) === 1;
    const length = isNear ? (high & 7) + 4 : high + 1;
    const offset = isNear ? ((tag >> 5) << 8) | block[pos]! : block.readUInt16LE(pos);
    pos += isNear ? 1 : 2;
    if (offset === 0 || offset > out.length) throw new Error('copy from before the start');
    for (let i = 0; i < length; i++) out.push(out[out.length - offset]!);
  }
  if (out.length !== size) throw new Error(`${out.length} bytes in place of ${size}`);
  return Buffer.from(out);
}

interface Chunk {
  readonly isCompressed: boolean;
  readonly content: Buffer;
  readonly storedBytes: number;
}

function chunksOf(stream: Buffer): Chunk[] {
  if (!stream.subarray(0, IDENTIFIER.length).equals(IDENTIFIER)) throw new Error('no stream identifier');
  const chunks: Chunk[] = [];
  for (let pos = IDENTIFIER.length; pos < stream.length; ) {
    const type = stream[pos]!;
    const size = stream.readUIntLE(pos + 1, 3);
    const sum = stream.readUInt32LE(pos + 4);
    const data = stream.subarray(pos + 8, pos + 4 + size);
    if (type > 1 || data.length !== size - 4) throw new Error(`chunk of type ${type} and ${size} bytes`);
    const content = type === 0 ? slowDecompress(data) : data;
    const crc = slowCrc(content);
    const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    if (masked !== sum) throw new Error('checksum is wrong');
    chunks.push({ isCompressed: type === 0, content, storedBytes: data.length });
    pos += 4 + size;
  }
  return chunks;
}

/** Words of an alphabet, of which some come again. */
function bytesOf(random: () => number, length: number, alphabet: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, () => random() * alphabet);
  for (let at = 0; at < length; ) {
    const run = 1 + Math.floor(random() ** 4 * 300);
    if (random() < 0.5) bytes.copyWithin(at, Math.floor(random() * at), Math.floor(random() * at) + run);
    at += run;
  }
  return bytes;
}

t.test('CRC-32C', (t) => {
  const sumOf = (bytes: Uint8Array): number =>
    crc32c(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length) >>> 0;
  t.equal(sumOf(Buffer.from('123456789')), 0xe3069283, 'the check value of the polynomial');
  t.equal(sumOf(Buffer.alloc(32)), 0x8a9136aa, 'RFC 3720, B.4');
  t.equal(sumOf(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e, 'RFC 3720, B.4');
  const random = seeded(seed);
  const bytes = Uint8Array.from({ length: 200 }, () => random() * 256);
  const view = new DataView(bytes.buffer);
  const sums = Array.from({ length: 150 }, (_, i) => crc32c(bytes, view, i % 17, (i % 17) + i) >>> 0);
  const want = sums.map((_, i) => slowCrc(bytes.subarray(i % 17, (i % 17) + i)));
  t.same(sums, want, 'from any place, of any length');
  t.end();
});

t.test('a block is what the format says', (t) => {
  t.comment(`seed ${seed}`);
  const random = seeded(seed);
  const compressor = new SnappyCompressor();
  let wrong = '';
  for (let round = 0; round < 300; round++) {
    const bytes = bytesOf(random, Math.floor(random() ** 3 * 20_000), 1 + Math.floor(random() ** 2 * 256));
    // somewhere in a buffer, as messages are
    const input = Buffer.concat([Buffer.alloc(round % 9), bytes]).subarray(round % 9);
    const block = Buffer.from(compressor.compress(input));
    if (!slowDecompress(block).equals(bytes)) wrong += ` ${bytes.length}`;
    if (!Buffer.from(snappyDecompress(block, bytes.length)).equals(bytes)) wrong += ` ${bytes.length} (own)`;
  }
  t.equal(wrong, '');
  t.end();
});

t.test('a stream is what the format says, and read back', (t) => {
  t.comment(`seed ${seed}`);
  const random = seeded(seed + 1);
  const framer = new SnappyFramer();
  const lengths = [0, 1, 2, 15, 16, 17, 63, 64, 65, 80, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1];
  lengths.push(2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 3 * CHUNK_BYTES - 7);
  for (const length of lengths) {
    for (const alphabet of [1, 4, 256]) {
      const bytes = Buffer.from(bytesOf(random, length, alphabet));
      const stream = Buffer.from(framer.frame(bytes));
      const chunks = chunksOf(stream);
      const content = Buffer.concat(chunks.map((chunk) => chunk.content));
      const name = `${length} of ${alphabet}`;
      t.ok(content.equals(bytes), name);
      t.equal(chunks.length, Math.ceil(length / CHUNK_BYTES), `${name}: chunks are as large as they may be`);
      t.ok(Buffer.from(snappyUnframe(stream, length)).equals(bytes), `${name}, read by what we have`);
      if (length === 0) continue;
      t.throws(
        () => snappyUnframe(stream, length - 1),
        /larger than allowed/,
        `${name}: its size is bounded`,
      );
    }
  }
  t.end();
});

t.test('large and small ones in turn', (t) => {
  const random = seeded(seed + 4);
  const framer = new SnappyFramer();
  const large = Buffer.from(Uint8Array.from({ length: 10 << 20 }, () => random() * 256));
  for (const length of [100, large.length, 5, 3 << 20, large.length, 200_000]) {
    const bytes = large.subarray(0, length);
    t.ok(bytes.equals(snappyUnframe(framer.frame(bytes), length)), `${length} bytes`);
  }
  t.end();
});

t.test('a chunk is compressed where that makes it smaller', (t) => {
  const random = seeded(seed + 2);
  const noise = Buffer.from(Uint8Array.from({ length: CHUNK_BYTES }, () => random() * 256));
  const text = Buffer.alloc(CHUNK_BYTES, 'the same words again and again. ');
  const framer = new SnappyFramer();
  const chunks = chunksOf(
    Buffer.from(framer.frame(Buffer.concat([noise, text, noise, text.subarray(0, 9)]))),
  );
  t.same(
    chunks.map(({ isCompressed }) => isCompressed),
    [false, true, false, false],
  );
  t.same(
    chunks.map(({ storedBytes }) => storedBytes).toSpliced(1, 1),
    [CHUNK_BYTES, CHUNK_BYTES, 9],
    'all others take no more than they are',
  );
  t.ok(chunks[1]!.storedBytes < CHUNK_BYTES / 15, 'and what repeats is much smaller');
  t.end();
});

t.test('of a stream that is damaged anywhere whole chunks are read, or it is refused', (t) => {
  const random = seeded(seed + 3);
  t.comment(`seed ${seed}`);
  const bytes = Buffer.from(bytesOf(random, 70_000, 30));
  const stream = Buffer.from(new SnappyFramer().frame(bytes));
  // Where it is cut between chunks, or the type of one becomes one to be skipped, nobody can tell.
  const [first, second] = [bytes.subarray(0, CHUNK_BYTES), bytes.subarray(CHUNK_BYTES)];
  const allowed = [Buffer.alloc(0), first, second, bytes];
  let refused = 0;
  let wrong = 0;
  for (let round = 0; round < 2000; round++) {
    const damaged = Buffer.from(stream);
    const at = Math.floor(random() * damaged.length);
    damaged[at]! ^= 1 << Math.floor(random() * 8);
    try {
      const read = snappyUnframe(round % 3 === 0 ? damaged.subarray(0, at) : damaged, 1 << 20);
      if (!allowed.some((each) => each.equals(read))) wrong++;
    } catch (err) {
      if ((err as Error).name !== 'SnappyError') throw err;
      refused++;
    }
  }
  t.equal(wrong, 0);
  t.ok(refused > 1900);
  t.end();
});
