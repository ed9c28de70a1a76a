// The channel of hot paths against our own server and against grpc-js: answers, statuses, limits, and peers
// that are away, slow, or somebody else.
import http2 from 'node:http2';
import { createServer, type AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { RetryLaterError, TempoError } from '../../src/lib/errors.ts';
import { type ChannelOptions, GrpcChannel } from '../../src/rpc/grpc-channel.ts';
import { addHealth } from '../../src/rpc/grpc-health.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcPool, type PoolOptions } from '../../src/rpc/grpc-pool.ts';
import { GrpcServer, type GrpcServerOptions } from '../../src/rpc/grpc-server.ts';
import { ServerTls } from '../../src/rpc/tls.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { AUTHORITY, certFile } from '../support/certs.ts';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { testFolder } from '../support/test-folder.ts';

const METHODS = (): GrpcMethods =>
  new GrpcMethods()
    .unary('/a.B/Echo', async ({ message, metadata }) =>
      Buffer.concat([Buffer.from(String(metadata['x-scope-orgid'] ?? '')), message]),
    )
    .unary('/a.B/Busy', async () => {
      throw new RetryLaterError('resource_exhausted', 'no room: 100 % é', 1500);
    })
    .unary('/a.B/Never', ({ signal }) => {
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('left'))));
    });

async function serve(t: Test, over: Partial<GrpcServerOptions> = {}) {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods: METHODS(),
    recvMessageBytesMax: 4 << 20,
    logger: silentLogger,
    ...over,
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  return { server, port };
}

function open(t: Test, port: number, over: Partial<ChannelOptions> = {}): GrpcChannel {
  const channel = new GrpcChannel({
    address: `localhost:${port}`,
    recvMessageBytesMax: 4 << 20,
    sendMessageBytesMax: 4 << 20,
    connectTimeoutMs: 5000,
    reconnectMs: { min: 1, max: 5 },
    ...over,
  });
  t.teardown(() => channel.close());
  return channel;
}

const ASK = Buffer.from('ask');

t.test('answers and statuses', async (t) => {
  const { port } = await serve(t);
  const channel = open(t, port);
  t.equal(Buffer.from(await channel.unary('/a.B/Echo', ASK, { 'x-scope-orgid': 'a-' })).toString(), 'a-ask');
  const large = Buffer.alloc(3 << 20, 7);
  const answers = await Promise.all(Array.from({ length: 20 }, () => channel.unary('/a.B/Echo', large, {})));
  t.ok(answers.every((answer) => large.equals(answer)));
  t.equal((await channel.unary('/a.B/Echo', Buffer.alloc(0), {})).length, 0);
  const packed = await channel.unary('/a.B/Echo', gzipSync(ASK), { 'grpc-encoding': 'gzip' });
  t.equal(Buffer.from(packed).toString(), 'ask');
  await t.rejects(channel.unary('/a.B/Busy', ASK, {}), {
    code: 'resource_exhausted',
    message: `localhost:${port}: no room: 100 % é`,
  });
  await t.rejects(channel.unary('/a.B/Other', ASK, {}), { code: 'unimplemented' });
});

t.test('limits', async (t) => {
  const { port } = await serve(t);
  const channel = open(t, port, { sendMessageBytesMax: 100, recvMessageBytesMax: 10 });
  await t.rejects(channel.unary('/a.B/Echo', Buffer.alloc(101), {}), {
    code: 'too_large',
    message: /101 vs. 100/,
  });
  await t.rejects(channel.unary('/a.B/Echo', Buffer.alloc(11), {}), { code: 'too_large' });
  t.equal((await channel.unary('/a.B/Echo', Buffer.alloc(10), {})).length, 10);
  await t.rejects(channel.unary('/a.B/Never', ASK, {}, { timeoutMs: 20 }), {
    code: 'deadline_exceeded',
  });
  const gone = new AbortController();
  const call = channel.unary('/a.B/Never', ASK, {}, { signal: gone.signal });
  gone.abort();
  await t.rejects(call, { code: 'cancelled' });
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}, { signal: gone.signal }), { code: 'cancelled' });
});

t.test('a peer that goes and comes back', async (t) => {
  const first = await serve(t);
  const channel = open(t, first.port);
  await channel.unary('/a.B/Echo', ASK, {});
  const cut = channel.unary('/a.B/Never', ASK, {});
  await Promise.all([t.rejects(cut, { code: 'unavailable' }), first.server.stop(0)]);
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}), { code: 'unavailable', message: /cannot be reached/ });
  await serve(t, { address: { host: '127.0.0.1', port: first.port } });
  for (;;) {
    const answer = await channel.unary('/a.B/Echo', ASK, {}).catch((err: unknown) => err);
    if (answer instanceof Uint8Array) break;
    t.match(answer, { code: 'unavailable' });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  channel.close();
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}), { code: 'unavailable' });
});

t.test('a peer that is away is not asked again at once', async (t) => {
  const first = await serve(t);
  await first.server.stop(0);
  const channel = open(t, first.port, { reconnectMs: { min: 60_000, max: 60_000 } });
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}), { code: 'unavailable', message: /cannot be reached/ });
  await serve(t, { address: { host: '127.0.0.1', port: first.port } });
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}), { message: /cannot be reached: .*ECONNREFUSED/ });
});

t.test('a peer that stops cleanly lets calls end', async (t) => {
  let answer = (): void => {};
  const methods = new GrpcMethods().unary('/a.B/Slow', async () => {
    await new Promise<void>((resolve) => (answer = resolve));
    return ASK;
  });
  const { server, port } = await serve(t, { methods });
  const channel = open(t, port);
  const call = channel.unary('/a.B/Slow', ASK, {});
  while (server.router.callsOpen === 0) await new Promise(setImmediate);
  const stopped = server.stop(5000);
  answer();
  t.equal(Buffer.from(await call).toString(), 'ask');
  await stopped;
});

t.test('a peer that is none', async (t) => {
  const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  t.teardown(() => silent.close());
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as AddressInfo;
  const channel = open(t, port, { keepaliveMs: { period: 20, timeout: 20 } });
  await t.rejects(channel.unary('/a.B/Echo', ASK, {}), { code: 'unavailable' }, 'it answers no ping');

  const web = http2.createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
  t.teardown(() => web.close());
  await new Promise((resolve) => web.once('listening', resolve));
  const other = open(t, (web.address() as AddressInfo).port);
  await t.rejects(other.unary('/a.B/Echo', ASK, {}), { message: /without a status \(HTTP status 200\)/ });
  other.close();
});

/** @param over of the pool's health checks. */
function poolOver(t: Test, over: Partial<PoolOptions['health']> = {}, isKnown = (): boolean => true) {
  const closed: string[] = [];
  const pool = new GrpcPool({
    channel: {
      recvMessageBytesMax: 1 << 20,
      sendMessageBytesMax: 1 << 20,
      connectTimeoutMs: 5000,
      reconnectMs: { min: 1, max: 5 },
    },
    health: { enabled: true, periodMs: 5, timeoutMs: 5000, graceMs: 0, parallelMax: 2, ...over },
    isKnown,
    inFlightBytesMax: 100,
    logger: silentLogger,
    onClosed: (address) => closed.push(address),
  });
  pool.start();
  t.teardown(() => pool.stop());
  return { pool, closed };
}

t.test('a pool bounds what one instance has unanswered', async (t) => {
  const { port } = await serve(t);
  const { port: other } = await serve(t);
  const { pool } = poolOver(t, { enabled: false });
  const address = `127.0.0.1:${port}`;
  t.equal((await pool.unary(address, '/a.B/Echo', Buffer.alloc(101), {})).length, 101, 'one may be larger');
  const slow = pool.unary(address, '/a.B/Never', Buffer.alloc(60), {}, { timeoutMs: 60_000 });
  await t.rejects(pool.unary(address, '/a.B/Echo', Buffer.alloc(41), {}), {
    code: 'unavailable',
    message: `${address} has 60 bytes unanswered, at most 100`,
  });
  t.equal((await pool.unary(address, '/a.B/Echo', Buffer.alloc(40), {})).length, 40);
  t.equal((await pool.unary(`127.0.0.1:${other}`, '/a.B/Echo', Buffer.alloc(90), {})).length, 90);
  t.equal(pool.bytesInFlight, 60);
  t.equal(pool.size, 2);
  pool.stop();
  await t.rejects(slow, { code: 'unavailable' });
  t.equal(pool.bytesInFlight, 0);
  t.equal(pool.size, 0);
});

t.test('a pool closes what is ill or unknown, and keeps what is well', async (t) => {
  let isReady = true;
  const methods = METHODS();
  addHealth(methods, () => isReady);
  const { port } = await serve(t, { methods });
  const address = `127.0.0.1:${port}`;
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise(setImmediate);
  };
  let checks = 0;
  let isThere = true;
  const { pool, closed } = poolOver(t, {}, () => {
    checks++;
    return isThere;
  });
  await pool.unary(address, '/a.B/Echo', ASK, {});
  await until(() => checks >= 5);
  t.equal(pool.size, 1, 'it is well');
  isReady = false;
  await until(() => pool.size === 0);
  t.same(closed, [], 'it may come back');
  isReady = true;
  t.equal(Buffer.from(await pool.unary(address, '/a.B/Echo', ASK, {})).toString(), 'ask');
  isThere = false;
  await until(() => pool.size === 0);
  t.same(closed, [address]);
});

t.test('grpc-js as the peer', async (t) => {
  const server = new grpc.Server();
  const same = (bytes: Buffer): Buffer => bytes;
  server.register(
    '/a.B/Echo',
    (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
      done(null, Buffer.concat(Array<Buffer>(2).fill(call.request))),
    same,
    same,
    'unary',
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (err, bound) =>
      err === null ? resolve(bound) : reject(err),
    ),
  );
  t.teardown(() => server.forceShutdown());
  const channel = open(t, port);
  t.equal(Buffer.from(await channel.unary('/a.B/Echo', ASK, {})).toString(), 'askask');
  await t.rejects(channel.unary('/a.B/None', ASK, {}), { code: 'unimplemented' });
  channel.close();
});

t.test('TLS', async (t) => {
  const settings = {
    name: 'server.grpc_tls_config',
    cert: { text: '', file: certFile('server') },
    key: { text: '', file: certFile('server', 'key') },
    clientCa: { text: AUTHORITY, file: '' },
    clientAuth: 'RequireAndVerifyClientCert',
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: [],
    reloadMs: 0,
  } as const;
  const { port } = await serve(t, { tls: new ServerTls(settings, silentLogger) });
  const caFile = `${testFolder(t)}/ca.pem`;
  writeFileSync(caFile, AUTHORITY);
  const own = { certFile: certFile('client'), keyFile: certFile('client', 'key') };
  const none = { certFile: '', keyFile: '' };
  const tls = { caFile, serverName: '', acceptsAny: false, ...own };
  const ask = async (over: Partial<ChannelOptions>): Promise<string> => {
    const channel = open(t, port, over);
    const answer = await channel.unary('/a.B/Echo', ASK, {}).catch((err: unknown) => err);
    channel.close();
    return answer instanceof TempoError ? `${answer.code}: ${answer.message}` : String(answer);
  };
  t.equal(await ask({ tls }), 'ask');
  t.match(await ask({ tls: { ...tls, ...none } }), /^unavailable/, 'who has no certificate is refused');
  t.match(await ask({ tls: { ...tls, caFile: '' } }), /^unavailable.*certificate/);
  t.match(await ask({ tls: { ...tls, serverName: 'other.example' } }), /^unavailable.*other.example/);
  t.equal(await ask({ tls: { ...tls, caFile: '', acceptsAny: true } }), 'ask');
  t.match(await ask({}), /^unavailable/, 'plain text');
  t.match(await ask({ tls: { ...tls, keyFile: '/nowhere' } }), /certificate \/nowhere cannot be read/);
});
