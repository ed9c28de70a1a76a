// Our gRPC handler against grpc-js: calls with one answer and with many, on a port of their own.
import http2 from 'node:http2';
import { connect } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { addHealth } from '../../src/rpc/grpc-health.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer, type GrpcServerOptions } from '../../src/rpc/grpc-server.ts';
import { silentLogger } from '../../src/telemetry/log.ts';

async function start(t: Test, methods: GrpcMethods, over: Partial<GrpcServerOptions> = {}) {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods,
    recvMessageBytesMax: 1 << 20,
    logger: silentLogger,
    ...over,
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  t.teardown(() => client.close());
  return { server, port, client };
}

const same = (bytes: Buffer): Buffer => bytes;

function openStream(client: grpc.Client, path: string, options: grpc.CallOptions = {}) {
  return client.makeServerStreamRequest(path, same, same, Buffer.from('ask'), new grpc.Metadata(), options);
}

/** Reads a stream to its end. */
function readAll(
  call: grpc.ClientReadableStream<Buffer>,
): Promise<{ got: Buffer[]; code: number; text: string }> {
  const got: Buffer[] = [];
  call.on('data', (message: Buffer) => got.push(message));
  call.on('error', () => {});
  return new Promise((resolve) =>
    call.on('status', ({ code, details }) => resolve({ got, code, text: details })),
  );
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

t.test('streams', async (t) => {
  const bytes = Buffer.alloc(100_000, 7);
  let sent = 0;
  let returned = 0;
  const aborted = Promise.withResolvers<void>();
  const methods = new GrpcMethods()
    .serverStream('/a.B/Three', async function* ({ message, metadata }) {
      yield Buffer.from(`1 ${Buffer.from(message).toString()}`);
      yield Buffer.alloc(0);
      yield Buffer.from(`3 ${String(metadata['te'])}`);
    })
    .serverStream('/a.B/None', async function* () {})
    .serverStream('/a.B/Fails', async function* () {
      yield Buffer.from('first');
      throw new TempoError('not_found', 'no such thing: 100%');
    })
    .serverStream('/a.B/Refuses', () => {
      throw new TempoError('invalid_argument', 'bad query');
    })
    .serverStream('/a.B/Endless', async function* () {
      try {
        for (;;) {
          sent++;
          yield bytes;
        }
      } finally {
        returned++;
      }
    })
    .serverStream('/a.B/Waits', async function* ({ signal }) {
      yield Buffer.from('first');
      await untilAborted(signal);
      aborted.resolve();
    })
    .serverStream('/a.B/TooLarge', async function* () {
      yield Buffer.alloc(2 << 20);
    });
  const { client, port, server } = await start(t, methods, {
    sendMessageBytesMax: 1 << 20,
    sendStallMsMax: 200,
  });

  const three = await readAll(openStream(client, '/a.B/Three'));
  t.same([three.got.map(String), three.code], [['1 ask', '', '3 trailers'], 0]);
  t.match(await readAll(openStream(client, '/a.B/None')), { got: [], code: 0 });
  const failed = await readAll(openStream(client, '/a.B/Fails'));
  t.same([failed.got.map(String), failed.code, failed.text], [['first'], 5, 'no such thing: 100%']);
  t.match(await readAll(openStream(client, '/a.B/Refuses')), { got: [], code: 3, text: 'bad query' });
  t.match(await readAll(openStream(client, '/a.B/TooLarge')), {
    code: 8,
    text: 'grpc: trying to send message larger than max (2097152 vs. 1048576)',
  });

  await t.test('the caller leaves', async (t) => {
    const call = openStream(client, '/a.B/Waits');
    call.on('error', () => {});
    call.once('data', () => call.cancel());
    await aborted.promise;
    t.pass('the handler is told');
  });

  await t.test('the deadline passes', async (t) => {
    const { code, got } = await readAll(openStream(client, '/a.B/Waits', { deadline: Date.now() + 100 }));
    t.same([code, got.length], [4, 1]);
  });

  await t.test('a caller that does not read', async (t) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    t.teardown(() => session.destroy());
    const stream = session.request({
      ':method': 'POST',
      ':path': '/a.B/Endless',
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    const closed = new Promise<void>((resolve) => stream.on('close', () => resolve()));
    stream.end(Buffer.alloc(5));
    while (returned === 0) await new Promise(setImmediate);
    t.ok(sent < 20, `is not sent more than its window holds: ${sent} messages of ${bytes.length} bytes`);
    await closed;
    t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL, 'and is cut off');
  });
  while (server.router.callsOpen > 0) await new Promise(setImmediate);
  t.equal(server.router.pool.bytesHeld, 0, 'all is given back');
});

t.test('health', async (t) => {
  let isReady = false;
  const methods = new GrpcMethods();
  addHealth(methods, () => isReady);
  const { client } = await start(t, methods);
  const check = (): Promise<Buffer> =>
    new Promise((resolve, reject) =>
      client.makeUnaryRequest('/grpc.health.v1.Health/Check', same, same, Buffer.alloc(0), (err, answer) =>
        err === null ? resolve(answer as Buffer) : reject(err),
      ),
    );
  t.equal((await check()).toString('hex'), '0802');
  const watch = openStream(client, '/grpc.health.v1.Health/Watch');
  watch.on('error', () => {});
  const seen: string[] = [];
  const changed = new Promise<void>((resolve) =>
    watch.on('data', (message: Buffer) => {
      seen.push(message.toString('hex'));
      isReady = true;
      if (seen.length === 2) resolve();
    }),
  );
  await changed;
  t.same(seen, ['0802', '0801']);
  t.equal((await check()).toString('hex'), '0801');
  watch.cancel();
});

t.test('a method is registered once', async (t) => {
  const methods = new GrpcMethods().unary('/a.B/C', async () => Buffer.alloc(0));
  t.throws(() => methods.unary('/a.B/C', async () => Buffer.alloc(0)), /registered twice/);
});

t.test('connections that never begin', async (t) => {
  const { client, port } = await start(t, new GrpcMethods(), { handshakeMsMax: 50 });
  for (const beginning of ['', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(beginning);
    await new Promise<void>((resolve) => socket.on('close', () => resolve()));
    t.pass('are closed');
  }
  t.equal((await readAll(openStream(client, '/a.B/C'))).code, 12, 'others stay');
});

t.test('peers that keep their side of a connection open', async (t) => {
  const settings = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0';
  const open = async (port: number, beginning: string) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {}).resume();
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    await new Promise<void>((resolve) => socket.on('connect', resolve));
    if (beginning !== '') socket.write(beginning);
    return { socket, closed };
  };
  for (const beginning of ['', settings.slice(0, 7), settings]) {
    const { client, port, server } = await start(t, new GrpcMethods());
    const { socket } = await open(port, beginning);
    // Whoever is served after it tells that it has been seen.
    await readAll(openStream(client, '/a.B/C'));
    client.close();
    await server.stop(20);
    t.pass(`do not hold the stop up: ${JSON.stringify(beginning)}`);
    socket.destroy();
  }
  const { port } = await start(t, new GrpcMethods(), { keepalive: { idleMsMax: 20 } });
  const { socket, closed } = await open(port, settings);
  await new Promise<void>((resolve) => socket.on('end', resolve));
  // Each byte shows whether there is still somebody to take it.
  const probe = setInterval(() => socket.write('\0'), 20);
  await closed;
  clearInterval(probe);
  t.pass('lose it a while after their session was ended');
});
