// The HTTP server on a socket: what shares it, how long queries may be, and how
// long it waits for clients.
import http2 from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { rootBlock } from '../../src/app/config.ts';
import { createHttpServer } from '../../src/app/http-server.ts';
import { ServerMetrics } from '../../src/app/server-metrics.ts';
import { loadConfig } from '../../src/config/load.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

const same = (bytes: Buffer): Buffer => bytes;
const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;

/** A server on a free port of loopback. */
async function start(t: Test, yaml: string, grpcMethods?: GrpcMethods) {
  const metrics = new Metrics();
  const serverMetrics = new ServerMetrics(metrics);
  const server = createHttpServer({
    config: { ...configOf(yaml).server, httpListenAddress: '127.0.0.1', httpListenPort: 0 },
    httpApiPrefix: '',
    logger: silentLogger,
    metrics,
    serverMetrics,
    grpc: grpcMethods && {
      methods: grpcMethods,
      recvMessageBytesMax: 1 << 20,
      observer: serverMetrics,
      logger: silentLogger,
    },
    readiness: () => undefined,
  });
  server.app.get('/large', async () => Buffer.alloc(50_000_000));
  server.app.get('/slow', async () => {
    await pause(200);
    return 'done';
  });
  server.app.get('/echo', async (request) => String(request.url.length));
  server.app.post('/length', async (request) => String((request.body as Buffer).length));
  await server.start();
  t.teardown(() => server.stop());
  const { port } = server.app.server.address() as AddressInfo;
  return { server, metrics, port, url: `http://127.0.0.1:${port}` };
}

interface Http2Answer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
}

function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body?: Buffer,
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    const chunks: Buffer[] = [];
    let answer: http2.IncomingHttpHeaders = {};
    stream.on('response', (fields) => (answer = fields));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => resolve({ headers: answer, body: Buffer.concat(chunks) }));
    stream.end(body);
  });
}

function connectHttp2(t: Test, url: string): http2.ClientHttp2Session {
  const session = http2.connect(url);
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

t.test('one port for HTTP/1.1, HTTP/2 and gRPC', async (t) => {
  const methods = new GrpcMethods().unary('/a.B/Echo', async ({ message }) => Buffer.from(message));
  const { url, port, metrics } = await start(t, '', methods);
  const session = connectHttp2(t, url);
  const got = await ask(session, { ':path': '/echo?a=b' });
  t.same([got.headers[':status'], got.body.toString()], [200, '9'], 'HTTP/2');
  const large = await ask(
    session,
    { ':method': 'POST', ':path': '/length', 'content-type': 'text/plain' },
    Buffer.alloc(900_000),
  );
  t.equal(large.body.toString(), '900000');
  t.equal((await ask(session, { ':path': '/none' })).headers[':status'], 404);
  const long = await ask(session, { ':path': `/echo?q=${'a'.repeat(60_000)}` });
  t.equal(long.body.toString(), '60008', 'long queries');
  t.equal(await (await fetch(`${url}/echo?a=b`)).text(), '9', 'HTTP/1.1');

  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  t.teardown(() => client.close());
  const call = (path: string): Promise<grpc.ServiceError | string> =>
    new Promise((resolve) =>
      client.makeUnaryRequest(path, same, same, Buffer.from('hello'), (err, answer) =>
        resolve(err ?? String(answer)),
      ),
    );
  t.equal(await call('/a.B/Echo'), 'hello', 'gRPC');
  t.match(await call('/a.C/Echo'), { code: 12, details: 'unknown service a.C' });
  t.match(await call('/a.B/None'), { code: 12, details: 'unknown method None for service a.B' });

  const text = await metrics.text();
  const count = (labels: string): boolean =>
    text.includes(`tempo_request_duration_seconds_count{${labels},ws="false"} `);
  t.ok(count('method="GET",route="echo",status_code="200"'));
  t.ok(count('method="gRPC",route="/a.B/Echo",status_code="success"'));
  t.match(text, 'tempo_inflight_requests{method="gRPC",route="/a.B/Echo"} 0');

  await t.test('beginnings that come byte by byte, or not', async (t) => {
    const quick = await start(t, 'server: { http_server_read_timeout: 200ms }');
    const slow = connect(quick.port, '127.0.0.1');
    const answered = new Promise<string>((resolve) => slow.once('data', (data) => resolve(String(data))));
    for (const byte of 'PUT /ready HTTP/1.1\r\nHost: localhost\r\n\r\n') {
      slow.write(byte);
      await new Promise(setImmediate);
    }
    t.match(await answered, /^HTTP\/1.1 200 OK/);
    slow.destroy();
    for (const beginning of ['', 'PRI * HTTP/2.0\r\n']) {
      const socket = connect(quick.port, '127.0.0.1');
      socket.write(beginning);
      await new Promise<void>((resolve) => socket.on('close', () => resolve()));
      t.pass('is closed after the read timeout');
    }
  });

  await t.test('a client that says no more is let go, whatever it was saying', async (t) => {
    const { port } = await start(t, '');
    const settings = Buffer.from('000000040000000000', 'hex');
    for (const text of ['GET /ready HT', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
      for (const rest of [Buffer.alloc(0), settings, settings.subarray(0, 5)]) {
        const socket = connect(port, '127.0.0.1');
        socket.resume().end(Buffer.concat([Buffer.from(text), rest]));
        await new Promise<void>((resolve) => socket.on('close', () => resolve()));
        t.pass(`${text.slice(0, 3)} and ${rest.length} bytes`);
      }
    }
  });
});

t.test('gRPC on the HTTP port only where that is on', async (t) => {
  const { url } = await start(t, '');
  const answer = await ask(connectHttp2(t, url), {
    ':method': 'POST',
    ':path': '/a.B/Echo',
    'content-type': 'application/grpc',
  });
  t.match(answer.headers, { 'grpc-status': '12', 'grpc-message': /stream_over_http_enabled/ });
});

t.test('the HTTP server: long queries, and clients that never read', async (t) => {
  const { server, port } = await start(t, 'server: { http_server_write_timeout: 50ms }');
  const long = await fetch(`http://127.0.0.1:${port}/echo?q=${'a'.repeat(200_000)}`);
  t.equal(await long.text(), '200008', 'a query of 200 kB arrives');
  const open = (): Promise<number> =>
    new Promise((resolve) => server.app.server.getConnections((_err, count) => resolve(count)));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  const closed = new Promise<void>((resolve) =>
    server.app.server.once('connection', (peer) => peer.once('close', () => resolve())),
  );
  socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  await closed;
  t.ok((await open()) <= 1, 'its answer is not held for ever');
  socket.destroy();
});

t.test('the write timeout does not count the work on an answer', async (t) => {
  const { url } = await start(t, 'server: { http_server_write_timeout: 50ms }');
  t.equal(await (await fetch(`${url}/slow`)).text(), 'done', 'HTTP/1.1');
  const slow = await ask(connectHttp2(t, url), { ':path': '/slow' });
  t.equal(slow.body.toString(), 'done', 'HTTP/2');
});

t.test('unknown paths, and paths that say the same otherwise', async (t) => {
  const metrics = new Metrics();
  const { app } = createHttpServer({
    config: configOf('').server,
    httpApiPrefix: '/p',
    logger: silentLogger,
    metrics,
    serverMetrics: new ServerMetrics(metrics),
    readiness: () => undefined,
  });
  const cases = [
    ['/p/api/echo', 200, 'echo\n', ''],
    ['//p/api/echo', 301, '', '/p/api/echo'],
    ['/p//api/./echo?x=//a', 301, '', '/p/api/echo?x=//a'],
    ['/p/api/echo/', 404, '404 page not found\n', ''],
    ['/api/echo', 404, '404 page not found\n', ''],
  ] as const;
  for (const [url, status, body, location] of cases) {
    const answer = await app.inject(url);
    t.equal(answer.statusCode, status, url);
    t.equal(answer.body, body, url);
    t.equal(answer.headers.location ?? '', location, url);
  }
  const build = await app.inject('/p/api/status/buildinfo');
  t.equal(build.headers['content-type'], 'application/json');
  t.match(build.json(), { version: /^2\.\d+\.\d+$/, goVersion: String });
});

t.test('pings of a client that measures the line are fine, pings without calls are not', async (t) => {
  const methods = new GrpcMethods().unary('/a.B/C', async () => new Uint8Array(0));
  const { url } = await start(t, '', methods);
  const session = connectHttp2(t, url);
  const ping = (): Promise<void> =>
    new Promise((resolve, reject) => void session.ping((err) => (err ? reject(err) : resolve())));
  const goneAway = new Promise<number>((resolve) => session.once('goaway', resolve));
  const headers = { ':method': 'POST', ':path': '/a.B/C', 'content-type': 'application/grpc' };
  for (let i = 0; i < 20; i++) {
    await ask(session, headers, Buffer.alloc(5));
    await ping();
  }
  t.notOk(session.closed, 'a ping after each short answer');
  for (let i = 0; i < 4; i++) await ping().catch(() => {});
  t.equal(await goneAway, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
});
