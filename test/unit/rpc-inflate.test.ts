// Compressed bodies: what foreign encoders made, damage of every kind, and limits of size, time and memory.
import zlib from 'node:zlib';
import t from 'tap';
import { ByteGate } from '../../src/lib/byte-gate.ts';
import { lz4Decompress } from '../../src/lib/lz4.ts';
import { NoThreadError, startThread } from '../../src/lib/start-thread.ts';
import { snappyUnframe } from '../../src/lib/snappy-frames.ts';
import { xxhash32 } from '../../src/lib/xxhash32.ts';
import { bodyThreads, BodyThreads } from '../../src/rpc/body-threads.ts';
import { ENCODINGS, inflate } from '../../src/rpc/inflate.ts';
import { FewThreads } from '../support/few-threads.ts';

// Made by python-lz4 4.4 (lz4 1.9) and cramjam 2 (snap).
const TEXT = Buffer.from(Array.from({ length: 60 }, (_, i) => `span ${(i * i) % 97} `).join(''));
const LONG = Buffer.concat([Buffer.alloc(200_000, 'a'), TEXT, Buffer.alloc(70_000, 'b')]);
/** TEXT as one block. */
const SNAPPY_BLOCK =
  '1wMYc3BhbiAwIAUHADEJBwA0CQcAOQkHBDE2CQgIMjUgBSUAMw0QBDQ5CRAANg0vADgNPgAzCRcAMg0XBDQ3CRAENzIJCA0H' +
  'ADMNLgA2DRAAORFeDT8ANxGTDSAANQ0YADkRfg1fADkNSAA0ESANGAA1DUAAOAl2ADYNXwAyDY4AOA0YADUNLwAyDWcAOBHV' +
  'DVcAMw04ADENEAA4DX8ANg0IADQNSAAzDUAAMQ0QDR8EOTMJfwA4DUcANw1fADcREA0gFQgRGA0oETgRSA1XEWYRdhGGKDY2' +
  'IHNwYW4gODYg';
/** TEXT as a stream. */
const SNAPPY_STREAM =
  '/wYAAHNOYVBwWQDlAAD4rY2X1wMYc3BhbiAwIAUHADEJBwA0CQcAOQkHBDE2CQgIMjUgBSUAMw0QBDQ5CRAANg0vADgNPgAz' +
  'CRcAMg0XBDQ3CRAENzIJCA0HADMNLgA2DRAAORFeDT8ANxGTDSAANQ0YADkRfg1fADkNSAA0ESANGAA1DUAAOAl2ADYNXwAy' +
  'DY4AOA0YADUNLwAyDWcAOBHVDVcAMw04ADENEAA4DX8ANg0IADQNSAAzDUAAMQ0QDR8EOTMJfwA4DUcANw1fADcREA0gFQgR' +
  'GA0oETgRSA1XEWYRdhGGKDY2IHNwYW4gODYg';
/** TEXT with its size and all checksums. */
const LZ4_CHECKED =
  'BCJNGHxA1wEAAAAAAAAw7QAAAHFzcGFuIDAgBwASMQcAEjQHABI5BwAiMTYIACIyNQgAEzMQABM0IAATNi8AEzg+ABIzJwAT' +
  'MhcAIjQ3EAAiNzIIAAMHABMzLgATNhAAFDleAAM/ABQ3kwADIAATNRgAFDl+AANfABM5SAAUNCAAAxgAEzVAABI4dgATNl8A' +
  'EzKOABM4GAATNS8AEzJnABQ41QADVwATMzgAEzEQABM4fwATNggAEzRIABMzQAATMRAAAx8AEzmWABM4RwATN18AFDcQAAMg' +
  'AAUIAAQYAAMoAAQ4AARIAANXAARmAAR2AASGALA2NiBzcGFuIDg2II43XFwAAAAAke0W8A==';
/** LONG in blocks that refer to those before, deflated once more to be short. */
const LZ4_LINKED_GZ =
  'eNrtU7FOwzAUvMpGiehAFEciWyMvRQzQuGniMEAGpGZBdGNrlQ6wIRBSR1gQIwxI/Yd+Rj+CbygfwA5nGGFgb096y/l893Sy' +
  'pT6LT6txuwV0mhY+1xyrUeOwzTp2Nm28b9r43cbHH20c3d7dNNdJL/EQppyMU3rQae5Dm4EP1Q+gsgQqP4Syxwj7XSizC50V' +
  'AXRhfAiPogMKAkTlGOIEUfEKwSuDmMw9xASqrBHRRcRkK4R2Rj1p80xTx9HcXCGybxAXtLNQKXPtA2XcIavJVd+c6NBszqMh' +
  'VDFhVOCitnzIGGIP0kLWzkNeQs4gnyDnOLd5Ml3DZ7AcTR328a9f8PKjphiL3uLxC916TQE=';

const bytesOf = (base64: string) => Buffer.from(base64, 'base64');
const lz4Linked = zlib.inflateSync(bytesOf(LZ4_LINKED_GZ));
const SIZE_MAX = 1 << 20;

/** Random, so that nothing shrinks: LZ4 blocks of literals only, without checksums. */
function lz4Of(content: Uint8Array): Buffer {
  const header = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70]);
  const checksum = (xxhash32(header, 4) >>> 8) & 0xff;
  const parts: Uint8Array[] = [header, Buffer.from([checksum])];
  for (let at = 0; at < content.length; at += 4 << 20) {
    const block = content.subarray(at, at + (4 << 20));
    const size = Buffer.alloc(4);
    size.writeUInt32LE((block.length | 0x8000_0000) >>> 0);
    parts.push(size, block);
  }
  return Buffer.concat([...parts, Buffer.alloc(4)]);
}

t.test('what others compressed', async (t) => {
  const cases: { name: string; encoding: string; bytes: Buffer; want: Buffer }[] = [
    { name: 'gzip', encoding: 'gzip', bytes: zlib.gzipSync(TEXT), want: TEXT },
    { name: 'zlib', encoding: 'zlib', bytes: zlib.deflateSync(TEXT), want: TEXT },
    { name: 'deflate', encoding: 'deflate', bytes: zlib.deflateSync(TEXT), want: TEXT },
    { name: 'zstd', encoding: 'zstd', bytes: zlib.zstdCompressSync(TEXT), want: TEXT },
    { name: 'a snappy block', encoding: 'snappy', bytes: bytesOf(SNAPPY_BLOCK), want: TEXT },
    { name: 'a snappy stream', encoding: 'snappy', bytes: bytesOf(SNAPPY_STREAM), want: TEXT },
    { name: 'the same by its name', encoding: 'x-snappy-framed', bytes: bytesOf(SNAPPY_STREAM), want: TEXT },
    {
      name: 'two snappy streams',
      encoding: 'snappy',
      bytes: Buffer.concat([bytesOf(SNAPPY_STREAM), bytesOf(SNAPPY_STREAM)]),
      want: Buffer.concat([TEXT, TEXT]),
    },
    { name: 'lz4', encoding: 'lz4', bytes: bytesOf(LZ4_CHECKED), want: TEXT },
    { name: 'lz4, linked blocks', encoding: 'lz4', bytes: lz4Linked, want: LONG },
    {
      name: 'two lz4 frames with a skippable one between',
      encoding: 'lz4',
      bytes: Buffer.concat([
        bytesOf(LZ4_CHECKED),
        Buffer.from([0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]),
        lz4Linked,
      ]),
      want: Buffer.concat([TEXT, LONG]),
    },
    { name: 'nothing', encoding: 'lz4', bytes: Buffer.alloc(0), want: Buffer.alloc(0) },
  ];
  for (const { name, encoding, bytes, want } of cases) {
    t.ok(want.equals(await inflate(encoding, bytes, SIZE_MAX)), name);
  }
  t.same(
    ENCODINGS.toSorted(),
    [...new Set(cases.map(({ encoding }) => encoding))].sort(),
    'every encoding is here',
  );
});

t.test('damage', async (t) => {
  t.test('a flipped bit never passes where there are checksums', (t) => {
    const decoders = { lz4: lz4Decompress, snappy: snappyUnframe };
    const inputs = { lz4: bytesOf(LZ4_CHECKED), snappy: bytesOf(SNAPPY_STREAM) };
    for (const name of ['lz4', 'snappy'] as const) {
      let passed = 0;
      for (let bit = 0; bit < inputs[name].length * 8; bit++) {
        const bytes = Buffer.from(inputs[name]);
        bytes[bit >>> 3]! ^= 1 << (bit & 7);
        try {
          const out = decoders[name](bytes, SIZE_MAX);
          // What is skippable may be damaged, and then holds nothing.
          if (out.length > 0 && !TEXT.equals(out)) passed++;
        } catch (err) {
          if (!/^(?:Lz4|Snappy)Error$/.test((err as Error).name)) throw err;
        }
      }
      t.equal(passed, 0, name);
    }
    t.end();
  });

  t.test('a cut stream', async (t) => {
    const whole = {
      gzip: zlib.gzipSync(TEXT),
      deflate: zlib.deflateSync(TEXT),
      zstd: zlib.zstdCompressSync(TEXT),
      snappy: bytesOf(SNAPPY_BLOCK),
      'x-snappy-framed': bytesOf(SNAPPY_STREAM),
      lz4: bytesOf(LZ4_CHECKED),
    };
    for (const [encoding, bytes] of Object.entries(whole)) {
      for (const length of [1, 3, bytes.length >>> 1, bytes.length - 1]) {
        const cut = inflate(encoding, bytes.subarray(0, length), SIZE_MAX);
        const message = new RegExp(`^malformed ${encoding} body: `);
        await t.rejects(cut, { code: 'invalid_argument', message }, `${encoding} after ${length}`);
      }
      const garbage = inflate(encoding, Buffer.alloc(100, 0x5a), SIZE_MAX);
      await t.rejects(garbage, { code: 'invalid_argument' }, `${encoding}: garbage`);
    }
  });

  await t.rejects(inflate('br', TEXT, SIZE_MAX), { code: 'unimplemented' }, 'what is no encoding');
});

t.test('bombs', async (t) => {
  const sizeMax = 64 << 10;
  const zeros = Buffer.alloc(64 << 20);
  const bombs: Record<string, Buffer> = {
    gzip: zlib.gzipSync(zeros),
    deflate: zlib.deflateSync(zeros),
    zstd: zlib.zstdCompressSync(zeros),
    lz4: lz4Linked,
    // A block that says that it holds 4 GiB.
    snappy: Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.alloc(50_000, 0xfe)]),
    'x-snappy-framed': Buffer.concat(Array.from({ length: 200 }, () => bytesOf(SNAPPY_STREAM))),
  };
  const message = `message after decompression larger than max (${sizeMax})`;
  for (const [encoding, bytes] of Object.entries(bombs)) {
    await t.rejects(inflate(encoding, bytes, sizeMax), { code: 'too_large', message }, encoding);
  }
  const before = process.memoryUsage().rss;
  const many = Array.from({ length: 60 }, () => inflate('gzip', bombs['gzip']!, 20 << 20));
  const results = await Promise.allSettled(many);
  t.ok(results.every((result) => result.status === 'rejected'));
  const grown = (process.memoryUsage().rss - before) >> 20;
  t.ok(grown < 600, `60 at once take turns: ${grown} MiB more`);
});

t.test('large bodies leave the loop free', async (t) => {
  const content = Buffer.alloc(20 << 20, 'tempo');
  const attributes = Array.from({ length: 400 }, (_, i) => ({
    key: `k${i}`,
    value: { stringValue: 'v'.repeat(60) },
  }));
  const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', attributes };
  const spans = Array.from({ length: 400 }, () => span);
  const json = Buffer.from(JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }));
  await bodyThreads.run({ kind: 'otlpJson', bytes: Buffer.from('{}') });
  // CPU of this thread, which says the same on a busy machine.
  const before = process.threadCpuUsage();
  const [inflated, protobuf] = await Promise.all([
    inflate('lz4', lz4Of(content), 32 << 20),
    bodyThreads.run({ kind: 'otlpJson', bytes: json }),
  ]);
  const { user, system } = process.threadCpuUsage(before);
  const spentMs = Math.round((user + system) / 1000);
  t.ok(content.equals(inflated));
  t.ok(protobuf.length > 400 * 400 * 60);
  const sizes = `${json.length >> 20} MiB of JSON and ${content.length >> 20} of LZ4`;
  t.ok(spentMs < 150, `${sizes}: ${spentMs} ms`);
  const bad = Buffer.from(
    JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [{ traceId: 'x' }] }] }] }),
  );
  await t.rejects(bodyThreads.run({ kind: 'otlpJson', bytes: bad }), {
    code: 'invalid_argument',
    message:
      'resourceSpans[0].scopeSpans[0].spans[0].traceId: ' +
      'expected hex digits, two for each byte (not base64), found "x"',
  });
});

t.test('a body that no thread can be started for is refused, for now', async (t) => {
  const few = new FewThreads();
  const threads = new BodyThreads(few.start);
  const body = { kind: 'otlpJson', bytes: Buffer.from('{}') } as const;
  await t.rejects(threads.run(body), {
    code: 'unavailable',
    message: 'the system lets no body thread start',
  });
  t.equal(threads.jobs, 0, 'nothing of it stays');
  few.left = 0;
  const first = threads.run(body);
  few.left = Infinity;
  const before = few.refused;
  const others = await Promise.all([first, threads.run(body), threads.run(body)]);
  t.same(
    others.map(({ length }) => length),
    [0, 0, 0],
    'others wait for the thread there is',
  );
  t.ok(few.refused > before);
  const wrong = new BodyThreads(() => {
    throw new RangeError('no such option');
  });
  await t.rejects(wrong.run(body), { code: 'internal' }, 'a mistake of ours');
  t.equal(wrong.jobs, 0);
});

t.test('a thread that the system does not let start', (t) => {
  const tooMuch = { name: 'small', resourceLimits: { stackSizeMb: 1e9 } };
  const start = () => startThread(new URL('data:text/javascript,'), tooMuch);
  t.throws(start, new NoThreadError('small', undefined));
  const unknown = { name: 'small', execArgv: ['--no-such-option'] };
  t.throws(() => startThread(new URL('data:text/javascript,'), unknown), {
    code: 'ERR_WORKER_INVALID_EXEC_ARGV',
  });
  t.end();
});

t.test('a gate for bytes', async (t) => {
  const gate = new ByteGate(10);
  const order: string[] = [];
  const enter = async (name: string, bytes: number): Promise<() => void> => {
    const leave = await gate.enter(bytes);
    order.push(name);
    return leave;
  };
  const first = await enter('a', 6);
  const large = enter('b', 100);
  const small = enter('c', 1);
  await Promise.resolve();
  t.same(order, ['a'], 'the small one does not overtake');
  first();
  first();
  const leaveLarge = await large;
  t.same(order, ['a', 'b'], 'more than the whole is the whole');
  leaveLarge();
  (await small)();
  t.same(order, ['a', 'b', 'c']);
});
