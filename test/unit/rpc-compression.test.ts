// Compressed messages of our clients: what goes over the wire, what a server reads of it, and what it may
// answer in, whichever compression that is.
import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { SnappyFramer } from '../../src/lib/snappy-frames.ts';
import { openGrpcClient } from '../../src/rpc/grpc-client.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { messageCompression } from '../../src/rpc/message-compression.ts';
import { silentLogger } from '../../src/telemetry/log.ts';

const MESSAGE_BYTES_MAX = 1 << 20;
const NAMES = ['gzip', 'snappy'] as const;
/** Below and above what is compressed on the caller's thread. */
const LENGTHS = [1100, 20_000, 600_000];
const messageOf = (length: number): Buffer => Buffer.alloc(length, 'some words, and the same words again; ');

async function openClient(t: Test, port: number, name: '' | 'gzip' | 'snappy') {
  const client = await openGrpcClient({
    address: `127.0.0.1:${port}`,
    recvMessageBytesMax: MESSAGE_BYTES_MAX,
    compression: messageCompression(name),
  });
  t.teardown(() => client.close());
  return client;
}

t.test('a server of ours reads them', async (t) => {
  const calls: { readonly path: string; readonly bytesIn: number }[] = [];
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods: new GrpcMethods()
      .unary('/a.B/Echo', async ({ message }) => Buffer.from(message))
      .duplex('/a.B/Talk', async (peer) => {
        for await (const message of peer.messages()) await peer.send(message);
      }),
    recvMessageBytesMax: MESSAGE_BYTES_MAX,
    logger: silentLogger,
    observer: {
      started: () => undefined,
      ended: (path, _code, _seconds, bytesIn) => void calls.push({ path, bytesIn }),
    },
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  for (const name of ['', ...NAMES] as const) {
    const client = await openClient(t, port, name);
    for (const length of [0, 10, ...LENGTHS]) {
      const message = messageOf(length);
      const answer = await client.unary('/a.B/Echo', message, {});
      t.ok(message.equals(answer), `${name}: ${length} bytes`);
      const { bytesIn } = calls.at(-1)!;
      if (name === '' || length < 1024) t.equal(bytesIn, length, 'as they are');
      else t.ok(bytesIn < length / 5, `${bytesIn} bytes in place of ${length}`);
    }
    const talk = client.duplex('/a.B/Talk', {});
    const heard = talk.messages[Symbol.asyncIterator]();
    // All are under way at once, and come in their order.
    for (const length of LENGTHS.toReversed()) void talk.send(messageOf(length));
    for (const length of LENGTHS.toReversed()) {
      t.equal((await heard.next()).value?.length, length, `${name}: ${length} bytes of a stream`);
    }
    talk.end();
    t.equal((await heard.next()).done, true);
  }
});

/** Answers every call with one message; `bytes` as they are, named as `encoding`. */
async function answering(t: Test, answers: ReadonlyMap<string, { encoding: string; bytes: Uint8Array }>) {
  const seen: { readonly encoding: unknown; readonly accepts: unknown; readonly flag: number }[] = [];
  const server = http2.createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
    stream.on('end', () => {
      const said = Buffer.concat(chunks);
      const { 'grpc-encoding': encoding, 'grpc-accept-encoding': accepts } = headers;
      seen.push({ encoding, accepts, flag: said[0]! });
      const answer = answers.get(headers[':path']!)!;
      const ofAnswer = { 'content-type': 'application/grpc', 'grpc-encoding': answer.encoding };
      stream.respond({ ':status': 200, ...ofAnswer }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      const prefix = Buffer.alloc(5);
      prefix[0] = 1;
      prefix.writeUInt32BE(answer.bytes.length, 1);
      stream.end(Buffer.concat([prefix, answer.bytes]));
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, seen };
}

t.test('a server may answer in any of them, and not with too much', async (t) => {
  const framed = (bytes: Uint8Array): Buffer => Buffer.from(new SnappyFramer().frame(bytes));
  const message = messageOf(300_000);
  const damaged = framed(message);
  damaged[30]! ^= 1;
  const { port, seen } = await answering(
    t,
    new Map([
      ['/a.B/Snappy', { encoding: 'snappy', bytes: framed(message) }],
      ['/a.B/Gzip', { encoding: 'gzip', bytes: gzipSync(message) }],
      ['/a.B/Large', { encoding: 'snappy', bytes: framed(Buffer.alloc(MESSAGE_BYTES_MAX + 1)) }],
      ['/a.B/Damaged', { encoding: 'snappy', bytes: damaged }],
      ['/a.B/Unknown', { encoding: 'br', bytes: Buffer.from('what') }],
    ]),
  );
  for (const name of NAMES) {
    const client = await openClient(t, port, name);
    const asked = (method: string) => client.unary(`/a.B/${method}`, messageOf(5000), {});
    t.ok(message.equals(await asked('Snappy')), name);
    t.same(
      seen.at(-1),
      { encoding: name, accepts: 'identity,gzip,snappy,zstd,deflate', flag: 1 },
      'the request says what it is compressed with, and what may come back',
    );
    t.ok(message.equals(await asked('Gzip')), name);
    for (const [method, code, text] of [
      ['Large', 'resource_exhausted', /larger/],
      ['Damaged', 'invalid_argument', /snappy/],
      ['Unknown', 'unimplemented', /compression br/],
    ] as const) {
      await t.rejects(asked(method), { code, message: text }, method);
    }
  }
});
