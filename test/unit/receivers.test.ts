// OTLP over gRPC and HTTP against foreign clients and raw bytes: framing, compression, limits, statuses,
// stopping.
import http2 from 'node:http2';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import zlib from 'node:zlib';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { RetryLaterError, TempoError } from '../../src/lib/errors.ts';
import { type OtlpGrpcOptions, OtlpGrpcReceiver } from '../../src/receivers/otlp-grpc.ts';
import { type OtlpHttpOptions, OtlpHttpReceiver } from '../../src/receivers/otlp-http.ts';
import type { Consumed, IncomingTraces, TraceConsumer } from '../../src/receivers/receiver.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer, type GrpcServerOptions } from '../../src/rpc/grpc-server.ts';
import { parseEndpoint } from '../../src/rpc/listen.ts';
import { connectionsMax } from '../../src/rpc/open-files.ts';
import type { OpenSocketsOptions } from '../../src/rpc/open-sockets.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { aTrace, encodeTraces } from '../support/otlp.ts';
import type { TenantHeader } from '../../src/model/tenant.ts';

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const body = Buffer.from(encodeTraces(aTrace(1, 40)));

/** Remembers copies of what it is given and answers or throws `answer`. */
class Recorder implements TraceConsumer {
  readonly seen: { tenantHeader: TenantHeader; body: Buffer; transport: string }[] = [];
  answer: Consumed | Error = { rejectedSpans: 0, message: '' };
  /** While set, requests wait for it. */
  gate: Promise<void> | undefined;

  async consume(traces: IncomingTraces): Promise<Consumed> {
    this.seen.push({ ...traces, body: Buffer.from(traces.body) });
    await this.gate;
    if (this.answer instanceof Error) throw this.answer;
    return this.answer;
  }
}

async function startGrpc(t: Test, over: Partial<OtlpGrpcOptions> = {}) {
  const recorder = new Recorder();
  const config = { endpoint: '127.0.0.1:0', maxRecvMsgSizeMib: 0, maxConcurrentStreams: 0, ...over };
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (msg: string) => void errors.push(msg) };
  const receiver = new OtlpGrpcReceiver(config, recorder, logger);
  const { port } = await receiver.start();
  t.teardown(() => receiver.stop(0));
  return { recorder, receiver, port, errors };
}

async function startHttp(t: Test, over: Partial<OtlpHttpOptions> = {}, sockets: OpenSocketsOptions = {}) {
  const recorder = new Recorder();
  const refusals: string[] = [];
  const receiver = new OtlpHttpReceiver(
    {
      endpoint: '127.0.0.1:0',
      tracesUrlPath: '/v1/traces',
      maxRequestBodySize: 0,
      compressionAlgorithms: [],
      readTimeoutMs: 0,
      readHeaderTimeoutMs: 60_000,
      idleTimeoutMs: 60_000,
      ...over,
    },
    recorder,
    silentLogger,
    sockets,
    { ...silentLogger, error: (msg, fields) => void refusals.push(`${msg}: ${String(fields?.['err'])}`) },
  );
  const { port } = await receiver.start();
  t.teardown(() => receiver.stop(0));
  return { recorder, receiver, refusals, url: `http://127.0.0.1:${port}` };
}

function grpcClient(t: Test, port: number): grpc.Client {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
  });
  t.teardown(() => client.close());
  return client;
}

interface GrpcAnswer {
  code: number;
  details: string;
  message: Buffer | undefined;
  metadata: grpc.Metadata;
}

function call(
  client: grpc.Client,
  message: Buffer,
  options: { path?: string; headers?: [string, string][]; deadlineMs?: number } = {},
): Promise<GrpcAnswer> {
  const metadata = new grpc.Metadata();
  for (const [name, value] of options.headers ?? []) metadata.add(name, value);
  const same = (bytes: Buffer): Buffer => bytes;
  const deadline = options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      options.path ?? EXPORT,
      same,
      same,
      message,
      metadata,
      deadline,
      (err, answer) => {
        if (err === null) resolve({ code: 0, details: '', message: answer, metadata });
        else resolve({ code: err.code, details: err.details, message: undefined, metadata: err.metadata });
      },
    );
  });
}

interface RawAnswer {
  headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  trailers: http2.IncomingHttpHeaders;
  data: Buffer;
}

/** Sends chunks as they are over one stream of a session. */
function rawCall(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  chunks: readonly Uint8Array[],
): Promise<RawAnswer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': EXPORT,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  return new Promise((resolve, reject) => {
    const answer: RawAnswer = { headers: {}, trailers: {}, data: Buffer.alloc(0) };
    stream.on('response', (got) => (answer.headers = got));
    stream.on('trailers', (got) => (answer.trailers = got));
    stream.on('data', (chunk: Buffer) => (answer.data = Buffer.concat([answer.data, chunk])));
    stream.on('close', () => resolve(answer));
    stream.on('error', reject);
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
  });
}

function connect(t: Test, port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

function framed(message: Uint8Array, flag = 0): Buffer {
  const frame = Buffer.alloc(5 + message.length, message);
  frame.writeUInt8(flag, 0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}

t.test('gRPC: a foreign client', async (t) => {
  const { recorder, port } = await startGrpc(t, { maxRecvMsgSizeMib: 1 });
  const client = grpcClient(t, port);

  t.test('a small and a large message', async (t) => {
    const large = Buffer.from(encodeTraces(aTrace(2, 5000)));
    for (const message of [body, large]) {
      const answer = await call(client, message, { headers: [['x-scope-orgid', 'team']] });
      t.same([answer.code, answer.message?.length], [0, 0]);
      t.match(recorder.seen.pop(), { tenantHeader: 'team', transport: 'grpc', body: message });
    }
  });

  t.test('many at once, each gets its own bytes', async (t) => {
    const messages = Array.from({ length: 60 }, (_, i) => Buffer.alloc(30_000 + i * 5000, i));
    recorder.seen.length = 0;
    const answers = await Promise.all(messages.map((message) => call(client, message)));
    t.ok(answers.every((answer) => answer.code === 0));
    const sizes = (list: readonly Buffer[]) => list.map((b) => b.length).sort((a, b) => a - b);
    t.same(sizes(recorder.seen.map((s) => s.body)), sizes(messages));
    t.ok(
      recorder.seen.every((s) => s.body.every((byte) => byte === s.body[0])),
      'none is mixed up',
    );
  });

  t.test('gzip', async (t) => {
    const zipped = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
      'grpc.max_send_message_length': -1,
    });
    t.teardown(() => zipped.close());
    t.equal((await call(zipped, body)).code, 0);
    t.same(recorder.seen.pop()?.body, body);
    recorder.seen.length = 0;
    const bomb = await call(zipped, Buffer.alloc(30 << 20));
    t.equal(bomb.code, grpc.status.RESOURCE_EXHAUSTED);
    t.equal(bomb.details, 'message after decompression larger than max (1048576)');
    t.equal(recorder.seen.length, 0, 'the bomb never arrives');
  });

  t.test('other compressions', async (t) => {
    const session = connect(t, port);
    const cases = { zstd: zlib.zstdCompressSync, deflate: zlib.deflateSync, snappy: snappyBlock };
    for (const [encoding, compress] of Object.entries(cases)) {
      recorder.seen.length = 0;
      const got = await rawCall(session, { 'grpc-encoding': encoding }, [framed(compress(body), 1)]);
      t.equal(got.trailers['grpc-status'], '0', encoding);
      t.same(recorder.seen[0]?.body, body, encoding);
      const plain = await rawCall(session, { 'grpc-encoding': encoding }, [framed(body)]);
      t.equal(plain.trailers['grpc-status'], '0', `${encoding}: a message may be sent as it is`);
    }
  });

  t.test('too large', async (t) => {
    const answer = await call(client, Buffer.alloc((1 << 20) + 1));
    t.equal(answer.code, grpc.status.RESOURCE_EXHAUSTED);
    t.equal(answer.details, 'grpc: received message larger than max (1048577 vs. 1048576)');
    t.equal(
      (await call(client, Buffer.alloc(1 << 20))).code,
      0,
      'just as large as allowed; the connection lives',
    );
  });

  t.test('statuses', async (t) => {
    const cases: {
      name: string;
      answer: Consumed | Error;
      code: number;
      details: string;
      retry?: boolean;
    }[] = [
      { name: 'invalid', answer: new TempoError('invalid_argument', 'no'), code: 3, details: 'no' },
      {
        name: 'text',
        answer: new TempoError('unavailable', 'dïsk 100% full\n'),
        code: 14,
        details: 'dïsk 100% full\n',
      },
      {
        name: 'tenant',
        answer: new TempoError('unauthenticated', 'no org id'),
        code: 16,
        details: 'no org id',
      },
      { name: 'limit', answer: new TempoError('resource_exhausted', 'RATE'), code: 8, details: 'RATE' },
      {
        name: 'retry',
        answer: new RetryLaterError('resource_exhausted', 'R', 1500),
        code: 8,
        details: 'R',
        retry: true,
      },
      { name: 'bug', answer: new TypeError('oops'), code: 13, details: 'oops' },
    ];
    for (const { name, answer, code, details, retry } of cases) {
      recorder.answer = answer;
      const got = await call(client, body);
      t.same([got.code, got.details], [code, details], name);
      const [status] = got.metadata.get('grpc-status-details-bin');
      t.equal(status !== undefined, retry === true, `${name}: RetryInfo`);
      if (Buffer.isBuffer(status)) {
        t.ok(status.includes('type.googleapis.com/google.rpc.RetryInfo'));
        t.ok(
          status.includes(Buffer.from([0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01])),
          '1 s and 500,000,000 ns',
        );
      }
    }
    recorder.answer = { rejectedSpans: 300, message: 'why' };
    const partial = Buffer.from([0x0a, 8, 0x08, 0xac, 0x02, 0x12, 3, ...Buffer.from('why')]);
    t.same((await call(client, body)).message, partial, 'partial success');
    recorder.answer = { rejectedSpans: 0, message: '' };
  });

  t.test('unknown methods', async (t) => {
    const other = await call(client, body, { path: '/a.B/C' });
    t.same([other.code, other.details], [12, 'unknown service a.B']);
    const method = await call(client, body, { path: EXPORT.replace('Export', 'Import') });
    t.equal(
      method.details,
      'unknown method Import for service opentelemetry.proto.collector.trace.v1.TraceService',
    );
  });

  t.test('tenant header twice', async (t) => {
    recorder.seen.length = 0;
    await call(client, body, {
      headers: [
        ['x-scope-orgid', 'a'],
        ['x-scope-orgid', 'b'],
      ],
    });
    t.match(recorder.seen[0]?.tenantHeader, /^a, ?b$/);
  });
});

t.test('gRPC: raw frames', async (t) => {
  const { recorder, port, errors } = await startGrpc(t);
  const session = connect(t, port);

  t.test('a message cut anywhere', async (t) => {
    const frame = framed(body);
    for (const size of [1, 2, 3, 7, 100]) {
      recorder.seen.length = 0;
      const chunks = Array.from({ length: Math.ceil(frame.length / size) }, (_, i) =>
        frame.subarray(i * size, (i + 1) * size),
      );
      const got = await rawCall(session, {}, chunks);
      t.equal(got.trailers['grpc-status'], '0', `chunks of ${size}`);
      t.equal(got.headers['grpc-accept-encoding'], 'identity,gzip,snappy,zstd,deflate');
      t.same(got.data, Buffer.alloc(5));
      t.same(recorder.seen[0]?.body, body);
    }
  });

  t.test('refused', async (t) => {
    const internal = (message: string) => ({ 'grpc-status': '13', 'grpc-message': message });
    const cases: {
      name: string;
      headers?: http2.OutgoingHttpHeaders;
      chunks?: Uint8Array[];
      want: object;
    }[] = [
      { name: 'no message', chunks: [], want: internal('the request ended before its message was complete') },
      {
        name: 'half a prefix',
        chunks: [Buffer.alloc(3)],
        want: internal('the request ended before its message was complete'),
      },
      {
        name: 'half a message',
        chunks: [framed(body).subarray(0, 50)],
        want: internal('the request ended before its message was complete'),
      },
      {
        name: 'two messages',
        chunks: [framed(body), framed(body)],
        want: internal('more than one message in a unary call'),
      },
      {
        name: 'a message and a half, cut in the first',
        chunks: [framed(body).subarray(0, 50), framed(body)],
        want: internal('more than one message in a unary call'),
      },
      {
        name: 'flag 2',
        chunks: [framed(body, 2)],
        want: internal('invalid compression flag 2 of a message'),
      },
      {
        name: 'compressed without encoding',
        chunks: [framed(body, 1)],
        want: internal('compressed message without grpc-encoding'),
      },
      {
        name: 'no gzip stream',
        headers: { 'grpc-encoding': 'gzip' },
        chunks: [framed(body, 1)],
        want: { 'grpc-status': '3', 'grpc-message': /^malformed gzip body/ },
      },
      {
        name: 'unknown encoding',
        headers: { 'grpc-encoding': 'br' },
        want: { 'grpc-status': '12', 'grpc-accept-encoding': 'identity,gzip,snappy,zstd,deflate' },
      },
      {
        name: '4 GiB promised',
        chunks: [Buffer.from([0, 255, 255, 255, 255])],
        want: {
          'grpc-status': '8',
          'grpc-message': 'grpc: received message larger than max (4294967295 vs. 4194304)',
        },
      },
      { name: 'content type', headers: { 'content-type': 'application/json' }, want: { ':status': 415 } },
      { name: 'grpc-web', headers: { 'content-type': 'application/grpc-web' }, want: { ':status': 415 } },
      { name: 'method', headers: { ':method': 'PUT' }, want: { ':status': 405 } },
    ];
    recorder.seen.length = 0;
    for (const { name, headers, chunks, want } of cases) {
      t.match((await rawCall(session, headers ?? {}, chunks ?? [framed(body)])).headers, want, name);
    }
    t.equal(recorder.seen.length, 0);
    const plus = await rawCall(session, { 'content-type': 'application/grpc+proto' }, [framed(body)]);
    t.equal(plus.trailers['grpc-status'], '0', 'application/grpc+proto; the session has survived all that');
  });

  t.test('what is not HTTP/2', async (t) => {
    const socket = net.connect(port, '127.0.0.1');
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    socket.write(Buffer.alloc(4096, 'GET / HTTP/1.1\r\n'));
    socket.resume();
    await closed;
    t.equal((await rawCall(session, {}, [framed(body)])).trailers['grpc-status'], '0', 'others go on');
  });

  t.test('a client that leaves', async (t) => {
    let open = (): void => {};
    recorder.gate = new Promise((resolve) => (open = resolve));
    recorder.seen.length = 0;
    const leaver = http2.connect(`http://127.0.0.1:${port}`);
    leaver.on('error', () => {});
    const stream = leaver.request({ ':method': 'POST', ':path': EXPORT, 'content-type': 'application/grpc' });
    stream.on('error', () => {});
    stream.end(framed(body));
    while (recorder.seen.length === 0) await nextTurn();
    leaver.destroy();
    open();
    recorder.gate = undefined;
    t.equal((await rawCall(session, {}, [framed(body)])).trailers['grpc-status'], '0');
  });

  t.test('a client that leaves in the middle of its messages', async (t) => {
    const leaver = http2.connect(`http://127.0.0.1:${port}`);
    leaver.on('error', () => {});
    for (let i = 0; i < 100; i++) {
      const stream = leaver.request({
        ':method': 'POST',
        ':path': EXPORT,
        'content-type': 'application/grpc',
      });
      stream.on('error', () => {});
      stream.write(framed(Buffer.alloc(100_000)).subarray(0, 50_000));
    }
    // Its streams have been seen when a later one is answered.
    await rawCall(leaver, {}, [framed(body)]);
    leaver.destroy();
    await new Promise((resolve) => leaver.once('close', resolve));
    for (let i = 0; i < 5; i++) {
      t.equal((await rawCall(session, {}, [framed(body)])).trailers['grpc-status'], '0', 'others go on');
    }
    t.strictSame(errors, [], 'what clients do is no error of the server');
  });
});

async function startServer(t: Test, over: Partial<GrpcServerOptions>) {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods: new GrpcMethods(),
    recvMessageBytesMax: 1 << 20,
    logger: silentLogger,
    ...over,
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  return { server, port };
}

t.test('gRPC server: deadlines, limits, stopping', async (t) => {
  t.test('deadline', async (t) => {
    const { port } = await startServer(t, {
      methods: new GrpcMethods().unary(EXPORT, () => new Promise(() => {})),
    });
    const got = await rawCall(connect(t, port), { 'grpc-timeout': '10m' }, [framed(body)]);
    t.match(got.headers, { 'grpc-status': '4', 'grpc-message': 'context deadline exceeded' });
    const slow = connect(t, port).request({
      ':method': 'POST',
      ':path': EXPORT,
      'content-type': 'application/grpc',
      'grpc-timeout': '10m',
    });
    slow.write(framed(body).subarray(0, 9));
    const headers = await new Promise((resolve) => slow.on('response', resolve));
    t.match(headers, { 'grpc-status': '4' }, 'also while the message is not complete');
  });

  t.test('bytes in flight', async (t) => {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { server, port } = await startServer(t, {
      inFlightBytesMax: 2 << 20,
      methods: new GrpcMethods().unary(EXPORT, async () => {
        await gate;
        return new Uint8Array(0);
      }),
    });
    const session = connect(t, port);
    const first = rawCall(session, {}, [framed(Buffer.alloc(1 << 20))]);
    const second = rawCall(session, {}, [framed(Buffer.alloc(1 << 20))]);
    while (server.router.pool.bytesHeld < 2 << 20) await nextTurn();
    const third = await rawCall(session, {}, [framed(Buffer.alloc(1 << 20))]);
    t.match(third.headers, { 'grpc-status': '14', 'grpc-message': /^requests hold 2097152 bytes/ });
    open();
    t.equal((await first).trailers['grpc-status'], '0');
    t.equal((await second).trailers['grpc-status'], '0');
    t.equal(server.router.pool.bytesHeld, 0, 'all is given back');
  });

  t.test('lengths that are only declared take no memory', async (t) => {
    const { server, port } = await startServer(t, {
      recvMessageBytesMax: 64 << 20,
      inFlightBytesMax: 66 << 20,
      methods: new GrpcMethods().unary(EXPORT, async ({ message }) => Buffer.from(String(message.length))),
    });
    const declared = framed(Buffer.alloc(64 << 20));
    const liar = connect(t, port);
    for (const sent of [5, 5, 6, 100, 20_000]) {
      const stream = liar.request({ ':method': 'POST', ':path': EXPORT, 'content-type': 'application/grpc' });
      stream.on('error', () => {});
      stream.write(declared.subarray(0, sent));
    }
    const large = Buffer.alloc(3_000_000, 7);
    const got = await rawCall(liar, {}, [framed(large)]);
    t.equal(got.trailers['grpc-status'], '0', 'there is room for a large message');
    t.equal(got.data.subarray(5).toString(), String(large.length));
    t.ok(server.router.pool.bytesHeld < 128 << 10, `${server.router.pool.bytesHeld} bytes are held`);
    liar.destroy();
    while (server.router.pool.bytesHeld > 0) await nextTurn();
    t.equal(server.router.pool.bytesHeld, 0, 'and given back');
  });

  t.test('connections', async (t) => {
    const { port } = await startServer(t, {
      sessionsMax: 1,
      methods: new GrpcMethods().unary(EXPORT, async () => body),
    });
    const session = connect(t, port);
    t.equal((await rawCall(session, {}, [framed(body)])).trailers['grpc-status'], '0');
    const second = connect(t, port);
    await new Promise<void>((resolve) => second.on('close', () => resolve()));
    t.equal(
      (await rawCall(session, {}, [framed(body)])).trailers['grpc-status'],
      '0',
      'the first one goes on',
    );
  });

  t.test('stopping waits for what is open, then cuts', async (t) => {
    let open = (): void => {};
    let entered = 0;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const { server, port } = await startServer(t, {
      methods: new GrpcMethods()
        .unary(EXPORT, async () => {
          entered++;
          await gate;
          return new Uint8Array(0);
        })
        .unary('/a.B/Never', () => new Promise(() => {})),
    });
    const session = connect(t, port);
    const goaway = new Promise<void>((resolve) => session.on('goaway', () => resolve()));
    const pending = rawCall(session, {}, [framed(body)]);
    while (entered === 0) await nextTurn();
    const stopped = server.stop(60_000);
    await goaway;
    open();
    t.equal((await pending).trailers['grpc-status'], '0', 'the open call is answered');
    await stopped;
    const { server: other, port: otherPort } = await startServer(t, {
      methods: new GrpcMethods().unary('/a.B/Never', () => new Promise(() => {})),
    });
    const cut = rawCall(connect(t, otherPort), { ':path': '/a.B/Never' }, [framed(body)]).catch(
      () => undefined,
    );
    while (other.router.callsOpen === 0) await nextTurn();
    await other.stop(0);
    await cut;
    t.pass('an endless call does not hold the server up');
  });

  t.test('a port that is taken', async (t) => {
    const { port } = await startServer(t, {});
    const want = {
      code: 'unavailable',
      message: `cannot listen on 127.0.0.1:${port}: address already in use`,
    };
    const taken = new OtlpGrpcReceiver(
      { endpoint: `127.0.0.1:${port}`, maxRecvMsgSizeMib: 0, maxConcurrentStreams: 0 },
      new Recorder(),
      silentLogger,
    );
    await t.rejects(taken.start(), want);
    await t.rejects(startHttp(t, { endpoint: `127.0.0.1:${port}` }), want);
    await t.rejects(startGrpc(t, { endpoint: 'host.invalid:1' }), {
      message: /^cannot listen on host.invalid:1: /,
    });
  });

  t.test('connections leave files to others', (t) => {
    const of = (files: number | string): number =>
      connectionsMax(`Max open files            ${files}   9 files`);
    t.equal(of(1128), 250);
    t.equal(of(200), 18);
    t.equal(of(64), 16, 'some at least');
    t.equal(of('unlimited'), Infinity);
    t.end();
  });

  t.test('endpoints', (t) => {
    const cases: { input: string; want: object | undefined }[] = [
      { input: '0.0.0.0:4317', want: { host: '0.0.0.0', port: 4317 } },
      { input: ':4317', want: { host: undefined, port: 4317 } },
      { input: '[::1]:4317', want: { host: '::1', port: 4317 } },
      { input: 'localhost:0', want: { host: 'localhost', port: 0 } },
      { input: 'localhost', want: undefined },
      { input: '::1:4317', want: undefined },
      { input: 'a:70000', want: undefined },
      { input: '', want: undefined },
    ];
    for (const { input, want } of cases) {
      if (want === undefined) t.throws(() => parseEndpoint(input), { code: 'invalid_argument' }, input);
      else t.same(parseEndpoint(input), want, input);
    }
    t.end();
  });
});

/** One literal: what needs no encoder. */
function snappyBlock(content: Uint8Array): Buffer {
  const size = [(content.length & 127) | 128, (content.length >>> 7) & 127];
  const last = content.length - 1;
  return Buffer.concat([Buffer.from([...size, 61 << 2, last & 255, last >>> 8]), content]);
}

const PROTOBUF = { 'content-type': 'application/x-protobuf' };
const JSON_TYPE = { 'content-type': 'application/json' };
const bytesOf = async (response: Response): Promise<Buffer> => Buffer.from(await response.arrayBuffer());

t.test('HTTP: bodies', async (t) => {
  const { recorder, url } = await startHttp(t, { maxRequestBodySize: 1 << 20 });
  const post = (init: RequestInit): Promise<Response> =>
    fetch(`${url}/v1/traces`, { method: 'POST', ...init });

  t.test('encodings', async (t) => {
    const cases: { name: string; headers: Record<string, string>; body: Buffer }[] = [
      { name: 'plain', headers: {}, body },
      { name: 'identity', headers: { 'content-encoding': 'identity' }, body },
      { name: 'gzip', headers: { 'content-encoding': 'gzip' }, body: zlib.gzipSync(body) },
      { name: 'deflate', headers: { 'content-encoding': 'deflate' }, body: zlib.deflateSync(body) },
      { name: 'zlib', headers: { 'content-encoding': 'zlib' }, body: zlib.deflateSync(body) },
      { name: 'zstd', headers: { 'content-encoding': 'zstd' }, body: zlib.zstdCompressSync(body) },
      { name: 'snappy', headers: { 'content-encoding': 'snappy' }, body: snappyBlock(body) },
    ];
    for (const { name, headers, body: sent } of cases) {
      const got = await post({ headers: { ...PROTOBUF, ...headers, 'X-Scope-OrgID': name }, body: sent });
      t.equal(got.status, 200, name);
      t.equal(got.headers.get('content-type'), 'application/x-protobuf');
      t.same(await bytesOf(got), Buffer.from([0x0a, 0]));
      t.match(recorder.seen.pop(), { body, tenantHeader: name, transport: 'http' });
    }
    const large = Buffer.from(encodeTraces(aTrace(2, 5000)));
    const got = await post({
      headers: { ...PROTOBUF, 'content-encoding': 'gzip' },
      body: zlib.gzipSync(large),
    });
    t.equal(got.status, 200, 'inflated beside the loop');
    t.same(recorder.seen.pop()?.body, large);
  });

  t.test('JSON', async (t) => {
    const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', name: 'a' };
    const text = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
    const got = await post({ headers: { 'content-type': 'application/json; charset=utf-8' }, body: text });
    t.same([got.status, got.headers.get('content-type')], [200, 'application/json']);
    t.equal(await got.text(), '{"partialSuccess":{}}');
    t.ok(recorder.seen.pop()?.body.includes(Buffer.from(span.traceId, 'hex')));
    recorder.answer = { rejectedSpans: 2, message: 'why' };
    const partial = await post({ headers: JSON_TYPE, body: text });
    t.equal(await partial.text(), '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"why"}}');
    const bytes = await post({ headers: PROTOBUF, body });
    t.same(await bytesOf(bytes), Buffer.from([0x0a, 7, 0x08, 2, 0x12, 3, ...Buffer.from('why')]));
    recorder.answer = { rejectedSpans: 0, message: '' };
  });

  t.test('refused', async (t) => {
    recorder.seen.length = 0;
    const bomb = zlib.gzipSync(Buffer.alloc(30 << 20));
    const cases: { name: string; init: RequestInit; status: number; want: string }[] = [
      {
        name: 'no JSON',
        init: { headers: JSON_TYPE, body: '{nope' },
        status: 400,
        want: '"code":3,"message":"malformed JSON: ',
      },
      {
        name: 'too large',
        init: { headers: PROTOBUF, body: Buffer.alloc((1 << 20) + 1) },
        status: 413,
        want: 'http: request body too large',
      },
      {
        name: 'gzip bomb',
        init: { headers: { ...PROTOBUF, 'content-encoding': 'gzip' }, body: bomb },
        status: 413,
        want: 'larger than max (1048576)',
      },
      {
        name: 'zstd bomb',
        init: {
          headers: { ...PROTOBUF, 'content-encoding': 'zstd' },
          body: zlib.zstdCompressSync(Buffer.alloc(30 << 20)),
        },
        status: 413,
        want: 'larger than max (1048576)',
      },
      {
        name: 'no gzip',
        init: { headers: { ...PROTOBUF, 'content-encoding': 'gzip' }, body: 'x' },
        status: 400,
        want: 'malformed gzip body',
      },
      {
        name: 'encoding',
        init: { headers: { ...JSON_TYPE, 'content-encoding': 'foo' }, body: 'x' },
        status: 400,
        want: '"unsupported Content-Encoding: foo"',
      },
      {
        name: 'type',
        init: { headers: { 'content-type': 'text/plain' }, body: 'x' },
        status: 415,
        want: '415 unsupported media type, supported: [application/json, application/x-protobuf]',
      },
      { name: 'no type', init: { body: Buffer.from('x') }, status: 415, want: '415 unsupported media type' },
      {
        name: 'method',
        init: { method: 'GET' },
        status: 405,
        want: '405 method not allowed, supported: [POST]',
      },
    ];
    for (const { name, init, status, want } of cases) {
      const got = await post(init);
      t.equal(got.status, status, name);
      t.ok((await got.text()).includes(want), `${name}: ${want}`);
    }
    t.equal(recorder.seen.length, 0);
    const unknown = await fetch(`${url}/v1/metrics`, { method: 'POST', headers: PROTOBUF, body });
    t.same([unknown.status, await unknown.text()], [404, '404 page not found\n']);
    t.equal((await post({ headers: PROTOBUF, body })).status, 200, 'and the next one is fine');
  });

  t.test('statuses', async (t) => {
    const cases: { name: string; answer: Error; status: number; code: number; retry: string | null }[] = [
      { name: 'invalid', answer: new TempoError('invalid_argument', 'x'), status: 400, code: 3, retry: null },
      { name: 'tenant', answer: new TempoError('unauthenticated', 'x'), status: 401, code: 16, retry: null },
      { name: 'limit', answer: new TempoError('resource_exhausted', 'x'), status: 429, code: 8, retry: null },
      {
        name: 'retry',
        answer: new RetryLaterError('resource_exhausted', 'x', 1500),
        status: 429,
        code: 8,
        retry: '2',
      },
      { name: 'disk', answer: new TempoError('unavailable', 'x'), status: 503, code: 14, retry: null },
      { name: 'late', answer: new TempoError('deadline_exceeded', 'x'), status: 503, code: 4, retry: null },
      { name: 'bug', answer: new TypeError('x'), status: 500, code: 13, retry: null },
    ];
    for (const { name, answer, status, code, retry } of cases) {
      recorder.answer = answer;
      const json = await post({ headers: JSON_TYPE, body: '{}' });
      t.same([json.status, await json.text()], [status, `{"code":${code},"message":"x"}`], name);
      t.equal(json.headers.get('retry-after'), retry);
      const proto = await post({ headers: PROTOBUF, body });
      t.equal(proto.headers.get('content-type'), 'application/x-protobuf');
      t.same(
        (await bytesOf(proto)).subarray(0, 5),
        Buffer.from([0x08, code, 0x12, 1, 0x78]),
        `${name}: protobuf`,
      );
    }
  });
});

t.test('HTTP: whoever sends too much can read the answer', async (t) => {
  const { url } = await startHttp(t, { maxRequestBodySize: 1000 });
  const port = Number(new URL(url).port);
  const head = (length: number): string =>
    'POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n' +
    `content-length: ${length}\r\n\r\n`;
  const socket = net.connect(port, '127.0.0.1');
  const errors: Error[] = [];
  socket.on('error', (err) => errors.push(err));
  socket.on('close', () => heard());
  let answer = '';
  let heard = (): void => {};
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
    heard();
  });
  const statuses = async (count: number): Promise<string[]> => {
    for (;;) {
      const found = answer.match(/HTTP\/1\.1 \d+/g) ?? [];
      if (found.length >= count || socket.destroyed) return found;
      await new Promise<void>((resolve) => (heard = resolve));
    }
  };
  socket.write(head(8 << 20));
  t.same(await statuses(1), ['HTTP/1.1 413'], 'told at once');
  socket.write(Buffer.alloc(8 << 20));
  socket.write(head(0));
  t.same(await statuses(2), ['HTTP/1.1 413', 'HTTP/1.1 200'], 'the connection is still good');
  socket.write(head(8 << 20));
  t.same(await statuses(3), ['HTTP/1.1 413', 'HTTP/1.1 200', 'HTTP/1.1 413']);
  await new Promise((resolve) => socket.once('close', resolve));
  t.same(errors, [], 'but nobody waits long for the rest');
});

t.test('HTTP: whoever has just connected is answered, though the receiver stops', async (t) => {
  const { receiver, url } = await startHttp(t, {}, { beginMs: 15_000 });
  const { port } = new URL(url);
  const socket = net.connect(Number(port), '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  const stopped = receiver.stop(60_000);
  await nextTurn();
  const head = `POST /v1/traces HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-protobuf\r\n`;
  socket.write(`${head}content-length: ${body.length}\r\n\r\n`);
  socket.write(body);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  t.match(answer, /^HTTP\/1.1 200 .*\r\nconnection: close\r\n/is);
  await stopped;
});

t.test('HTTP: encodings can be restricted, stopping waits', async (t) => {
  const { recorder, receiver, url } = await startHttp(t, { compressionAlgorithms: ['zstd'] });
  const headers = { ...PROTOBUF, 'content-encoding': 'gzip' };
  const refused = await fetch(`${url}/v1/traces`, { method: 'POST', headers, body: zlib.gzipSync(body) });
  t.equal(refused.status, 400);
  await t.rejects(startHttp(t, { compressionAlgorithms: ['', 'br'] }), {
    code: 'invalid_argument',
    message:
      /compression_algorithms: "br" is none of gzip, deflate, zlib, zstd, snappy, x-snappy-framed, lz4$/,
  });
  let open = (): void => {};
  recorder.gate = new Promise((resolve) => (open = resolve));
  const pending = fetch(`${url}/v1/traces`, { method: 'POST', headers: PROTOBUF, body });
  while (recorder.seen.length === 0) await nextTurn();
  const stopped = receiver.stop(60_000);
  open();
  t.equal((await pending).status, 200);
  await stopped;
});

t.test('JSON that cannot be read is told to whoever runs the server', async (t) => {
  const { recorder, refusals, url } = await startHttp(t);
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${url}/v1/traces`, { method: 'POST', headers, body: '{bad' });
  t.equal(answer.status, 400);
  await answer.text();
  t.equal(recorder.seen.length, 0);
  t.equal(refusals.length, 1);
  t.match(refusals[0], /^pusher failed to consume trace data: .*malformed JSON: /);
});
