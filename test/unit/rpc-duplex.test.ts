// Calls with any number of messages each way: our handler and our client against each other and against
// grpc-js, and the reader that takes their messages apart.
import { once } from 'node:events';
import http2 from 'node:http2';
import { serialize } from 'node:v8';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { openGrpcClient } from '../../src/rpc/grpc-client.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer, type GrpcServerOptions } from '../../src/rpc/grpc-server.ts';
import { MessageReader } from '../../src/rpc/message-reader.ts';
import { decodeStructured, encodeStructured } from '../../src/rpc/structured.ts';
import { PieceReader, PieceSender } from '../../src/rpc/structured-pieces.ts';
import { silentLogger } from '../../src/telemetry/log.ts';

const MESSAGE_BYTES_MAX = 1 << 20;

async function start(t: Test, methods: GrpcMethods, over: Partial<GrpcServerOptions> = {}) {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods,
    recvMessageBytesMax: MESSAGE_BYTES_MAX,
    logger: silentLogger,
    ...over,
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  const address = `127.0.0.1:${port}`;
  const client = await openGrpcClient({ address, recvMessageBytesMax: 8 << 20 });
  t.teardown(() => client.close());
  return { server, address, client };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

async function gotAll(messages: AsyncIterable<Uint8Array>): Promise<string[]> {
  const got: string[] = [];
  for await (const message of messages) got.push(text(message));
  return got;
}

t.test('messages go both ways, in turn and at once', async (t) => {
  const methods = new GrpcMethods()
    .duplex('/a.B/Echo', async (peer) => {
      for await (const message of peer.messages()) await peer.send(Buffer.from(`<${text(message)}>`));
    })
    .duplex('/a.B/First', async (peer) => {
      await peer.send(Buffer.from(String(peer.metadata['x-name'])));
      const said = peer.messages();
      const { value } = await said.next();
      await peer.send(value ?? Buffer.from('nothing'));
    });
  const { client, address } = await start(t, methods);
  const echo = client.duplex('/a.B/Echo', {});
  const answers = echo.messages[Symbol.asyncIterator]();
  for (const word of ['one', '', 'x'.repeat(MESSAGE_BYTES_MAX - 10)]) {
    await echo.send(Buffer.from(word));
    t.equal(text((await answers.next()).value as Uint8Array), `<${word}>`);
  }
  echo.end();
  t.equal((await answers.next()).done, true);
  const first = client.duplex('/a.B/First', { 'x-name': 'me' });
  const hears = first.messages[Symbol.asyncIterator]();
  t.equal(text((await hears.next()).value as Uint8Array), 'me', 'the server may speak first');
  await first.send(Buffer.from('ho'));
  t.equal(text((await hears.next()).value as Uint8Array), 'ho');
  t.equal((await hears.next()).done, true, 'and ends when it wants to');

  const usual = new grpc.Client(address, grpc.credentials.createInsecure());
  t.teardown(() => usual.close());
  const same = (bytes: Buffer): Buffer => bytes;
  const options = { 'grpc.default_compression_algorithm': 2 };
  const packed = new grpc.Client(address, grpc.credentials.createInsecure(), options);
  t.teardown(() => packed.close());
  for (const each of [usual, packed]) {
    const call = each.makeBidiStreamRequest('/a.B/Echo', same, same);
    for (let i = 0; i < 1000; i++) call.write(Buffer.from(`${i}`.repeat(50)));
    call.end();
    t.equal((await gotAll(call as unknown as AsyncIterable<Uint8Array>)).length, 1000);
  }
});

t.test('what ends a call', async (t) => {
  const seen = new Map<string, Promise<string>>();
  const left = (name: string): ((reason: string) => void) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    seen.set(name, promise);
    return resolve;
  };
  const silent = left('Silent');
  const busy = left('Busy');
  const methods = new GrpcMethods()
    .duplex('/a.B/Fails', async (peer) => {
      await peer.send(Buffer.from('first'));
      throw new TempoError('resource_exhausted', 'too many: 100%');
    })
    .duplex('/a.B/Silent', async (peer) => {
      await peer.send(Buffer.from('here'));
      const gone = new Promise((resolve) => peer.signal.addEventListener('abort', resolve));
      await gotAll(peer.messages());
      // A client that leaves ends what it says first.
      await gone;
      silent((peer.signal.reason as Error).message);
    })
    .duplex('/a.B/Busy', async (peer) => {
      try {
        for (;;) await peer.send(Buffer.alloc(100_000));
      } catch (err) {
        busy((err as Error).message);
      }
    })
    .duplex('/a.B/Reads', async (peer) => void (await gotAll(peer.messages())));
  const { client, server } = await start(t, methods, { sendStallMsMax: 60_000 });
  const failing = client.duplex('/a.B/Fails', {});
  await t.rejects(gotAll(failing.messages), { code: 'resource_exhausted', message: /too many: 100%/ });
  await t.rejects(gotAll(client.duplex('/a.B/None', {}).messages), { code: 'unimplemented' });
  for (const name of ['Silent', 'Busy']) {
    const call = client.duplex(`/a.B/${name}`, {});
    const hears = call.messages[Symbol.asyncIterator]();
    await hears.next();
    if (name === 'Silent') await call.send(Buffer.from('hello'));
    call.cancel();
    await t.rejects(
      (async () => {
        for (;;) if ((await hears.next()).done === true) return;
      })(),
      { code: 'cancelled' },
    );
    t.match(await seen.get(name), 'the peer has left', name);
  }
  const large = client.duplex('/a.B/Reads', {});
  await large.send(Buffer.alloc(MESSAGE_BYTES_MAX + 1));
  await t.rejects(gotAll(large.messages), { code: 'resource_exhausted', message: /larger than max/ });
  const open = client.duplex('/a.B/Reads', {});
  const ended = t.rejects(gotAll(open.messages), { code: 'unavailable' }, 'the server stopped');
  await open.send(Buffer.from('x'));
  await server.stop(50);
  await ended;
  t.equal(server.router.callsOpen, 0);
});

t.test('what a handler may not send, and a reader who does not read', async (t) => {
  const { promise: told, resolve: tell } = Promise.withResolvers<string>();
  const methods = new GrpcMethods()
    .duplex('/a.B/Large', (peer) => peer.send(Buffer.alloc(1001)))
    .duplex('/a.B/Fits', (peer) => peer.send(Buffer.alloc(1000)))
    .duplex('/a.B/Floods', async (peer) => {
      try {
        for (;;) await peer.send(Buffer.alloc(1000));
      } catch (err) {
        tell((err as Error).message);
      }
    });
  const { client, server, address } = await start(t, methods, {
    sendMessageBytesMax: 1000,
    sendStallMsMax: 20,
  });
  await t.rejects(gotAll(client.duplex('/a.B/Large', {}).messages), {
    code: 'resource_exhausted',
    message: /trying to send message larger than max \(1001 vs. 1000\)/,
  });
  t.equal((await gotAll(client.duplex('/a.B/Fits', {}).messages)).length, 1);
  const session = http2.connect(`http://${address}`);
  t.teardown(() => session.destroy());
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  session
    .request({ ...headers, ':path': '/a.B/Floods' })
    .pause()
    .on('error', () => {});
  t.equal(await told, 'the peer has left', 'it is given up');
  while (server.router.callsOpen > 0) await new Promise(setImmediate);
});

t.test('a call whose last message is cut short', async (t) => {
  const methods = new GrpcMethods().duplex(
    '/a.B/Reads',
    async (peer) => void (await gotAll(peer.messages())),
  );
  const { address } = await start(t, methods);
  const session = http2.connect(`http://${address}`);
  t.teardown(() => session.destroy());
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request({ ...headers, ':path': '/a.B/Reads' });
  const trailers = once(stream, 'trailers');
  stream.resume().end(Buffer.from([0, 0, 0, 0, 9, 1, 2]));
  const [got] = (await trailers) as [http2.IncomingHttpHeaders];
  t.equal(got['grpc-status'], '13');
  t.match(decodeURIComponent(String(got['grpc-message'])), 'before its message was complete');
});

/** The pieces of messages that are said at once, in the order in which they are sent. */
async function piecesOf(...messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  const sender = new PieceSender(async (piece) => void pieces.push(piece));
  await Promise.all(messages.map((message) => sender.say(message)));
  return pieces;
}

t.test('messages in pieces', async (t) => {
  const reader = new PieceReader(3 << 20);
  const large = new Uint8Array(2_500_000).map((_, i) => i % 251);
  const small = new Uint8Array([1, 2, 3]);
  for (let i = 0; i < 2; i++) {
    const taken = (await piecesOf(large, small)).map((piece) => reader.take(piece));
    t.equal(taken.length, 4);
    t.same(taken[1], small, 'a small message does not wait for a large one');
    t.same([taken[0], taken[2]], [undefined, undefined]);
    t.ok(Buffer.from(taken[3]!).equals(large));
  }
  const [first] = await piecesOf(large);
  for (let i = 0; i < 3; i++) reader.take(first!);
  t.throws(() => reader.take(first!), { code: 'too_large' }, 'of all pieces together');
  t.throws(() => new PieceReader(100).take(Buffer.from([1, 2])), { code: 'invalid_argument' });
  t.throws(() => reader.take(new Uint8Array(5)), /a piece of another process is empty/);
  t.throws(() => reader.take(Uint8Array.of(1, 0, 0, 0, 0, 7)), /another process sent a piece of 6 bytes/);
});

t.test('messages are cut anywhere', (t) => {
  const bodies = ['', 'a', 'hello', 'x'.repeat(700), '', 'end'];
  const bytes = Buffer.concat(
    bodies.map((body, i) => {
      const frame = Buffer.alloc(5 + body.length);
      frame[0] = i % 2;
      frame.writeUInt32BE(body.length, 1);
      frame.write(body, 5);
      return frame;
    }),
  );
  for (const size of [1, 2, 3, 7, 64, 1000, bytes.length]) {
    const reader = new MessageReader(700);
    const got: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      reader.push(bytes.subarray(at, at + size));
      for (let next = reader.next(); next !== undefined; next = reader.next()) {
        got.push(text(next.bytes));
        t.equal(next.isCompressed, (got.length - 1) % 2 === 1);
      }
    }
    t.same(got, bodies, `in pieces of ${size}`);
    t.equal(reader.heldBytes, 0);
  }
  const reader = new MessageReader(699);
  reader.push(Buffer.from([0, 0, 0, 2, 188]));
  t.throws(() => reader.next(), /received message larger than max \(700 vs. 699\)/);
  const odd = new MessageReader(10);
  odd.push(Buffer.from([7, 0, 0, 0, 0]));
  t.throws(() => odd.next(), /invalid compression flag 7/);
  t.end();
});

t.test('plain data', (t) => {
  const value = { kind: 'x', ids: new Uint8Array(9).fill(7), big: 2n ** 70n, known: new Map([['a', 1]]) };
  t.same(decodeStructured(encodeStructured(value)), value);
  t.throws(() => decodeStructured(Uint8Array.of(1, 2)), /the data of another process cannot be read/);

  const holes: number[] = [];
  holes.length = 2 ** 32 - 1;
  // V8 writes the numbers of its elements too.
  const filled: number[] = [];
  filled.length = 300;
  filled.fill(1);
  const rounds: unknown[] = [];
  rounds.push(rounds, [rounds]);
  for (const told of [
    holes,
    { a: { b: [holes] } },
    new Map([['a', holes]]),
    new Map([[holes, 'a']]),
    new Set([holes]),
    [rounds, holes],
    // Each of them is as long as the message at most.
    Array.from({ length: 100 }, () => {
      const list: number[] = [];
      list.length = 2 ** 31;
      list.length = 900;
      return list;
    }),
  ]) {
    const sparse = serialize(told);
    t.throws(() => decodeStructured(sparse), {
      code: 'invalid_argument',
      message: /lists that are not there/,
    });
  }
  for (const told of [
    filled,
    Array.from({ length: 300 }),
    [new Float64Array(9), new Uint8Array(0)],
    'text',
    undefined,
  ]) {
    t.same(decodeStructured(serialize(told)), told);
  }
  const again = decodeStructured(serialize(rounds)) as unknown[];
  t.equal(again[0], again, 'lists that have themselves');
  t.end();
});
