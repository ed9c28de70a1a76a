// Bad input on every port: the right status, nothing else lost, and the process holds afterwards what it
// held before.
import { connect } from 'node:net';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { scanRequest } from '../../src/model/otlp/scan.ts';
import { figuresOf, framed, grpcExport, grpcSession, httpExport, metric, until } from '../support/hostile.ts';
import {
  aSpan,
  aTrace,
  encodeSpan,
  encodeTraces,
  field,
  hexId,
  numberField,
  type TestSpan,
} from '../support/otlp.ts';
import { flush, searchIds, spansOfTrace } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const INVALID_ARGUMENT = 3;
const RESOURCE_EXHAUSTED = 8;
const KEPT_CONNECTIONS_MAX = 8;
const RSS_GROWTH_MIB_MAX = 400;
/** The main thread collects what large bodies left when it has been idle for a while. */
const SETTLE_MS = 40_000;

const LARGE_SPANS = 100_000;

let lastTrace = 0;

/** One span of a trace of its own, now. */
function freshSpan(over: Partial<TestSpan> = {}): TestSpan {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const traceId = hexId(++lastTrace, 16);
  return aSpan({ traceId, startUnixNano, endUnixNano: startUnixNano + 1000n, ...over });
}

const bytes = (...parts: (Uint8Array | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part)));

/** A request of one span message. */
const requestOf = (span: Uint8Array): Uint8Array => field(1, field(2, field(2, span)));

/** A span that is sound but for what is appended to it. */
const spanWith = (more: Uint8Array | number[]): Uint8Array => bytes(encodeSpan(freshSpan()), more);

function nestedValue(depth: number): Uint8Array {
  let value: Uint8Array = field(1, Buffer.from('x'));
  for (let i = 0; i < depth; i++) value = field(5, field(1, value));
  return value;
}

const manyHeaders = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'b']));

const good = (): Buffer => Buffer.from(encodeTraces([freshSpan()]));

type Case = { readonly name: string; readonly body: Uint8Array };

const malformed: readonly Case[] = [
  { name: 'truncated', body: good().subarray(0, -1) },
  { name: 'truncated in the middle', body: good().subarray(0, 40) },
  { name: 'text', body: Buffer.from('this is no protobuf, it is a sentence') },
  { name: 'zeros', body: Buffer.alloc(1000) },
  { name: 'ones', body: Buffer.alloc(1000, 0xff) },
  { name: 'length of 2^31', body: bytes([0x0a, 0x80, 0x80, 0x80, 0x80, 0x08]) },
  { name: 'length of 2^32', body: bytes([0x0a, 0x80, 0x80, 0x80, 0x80, 0x10, 1]) },
  { name: 'length of 2^64-1', body: bytes([0x0a, ...Array<number>(9).fill(0xff), 0x01]) },
  { name: 'length of 11 bytes', body: bytes([0x0a, ...Array<number>(11).fill(0x80)]) },
  { name: 'a varint that never ends', body: bytes([0x08], Buffer.alloc(100_000, 0x80)) },
  { name: 'groups', body: Buffer.alloc(100_000, 0x0b) },
  { name: 'wire type 7', body: bytes([0x0f, 1]) },
  { name: 'span as a number', body: field(1, field(2, numberField(2, 1))) },
  { name: 'span id as a number', body: requestOf(numberField(2, 1)) },
  { name: 'name longer than its span', body: requestOf(spanWith([0x2a, 0x7f, 1])) },
  { name: 'only bad ids', body: encodeTraces([freshSpan({ traceId: 'ff' }), freshSpan({ spanId: '' })]) },
];

/** Sound down to the span's fields, garbage below: such a span is kept, what cannot be read is not. */
const garbageBelow: readonly Case[] = [
  { name: 'attribute of random bytes', body: field(9, Buffer.from('4bff00ff128099ff', 'hex')) },
  { name: 'attribute that is truncated', body: field(9, [0x0a, 0x7f, 0x41]) },
  {
    name: 'attribute value with a giant length',
    body: field(9, bytes(field(1, [0x61]), [0x12, 0xff, 0xff, 0xff, 0x7f])),
  },
  { name: 'key as a number', body: field(9, numberField(1, 5)) },
  {
    name: 'key that is no UTF-8',
    body: field(9, bytes(field(1, [0xff, 0xfe, 0xc0]), field(2, field(1, [0xc3, 0x28])))),
  },
  { name: 'value nested 5,000 deep', body: field(9, bytes(field(1, [0x61]), field(2, nestedValue(5000)))) },
  { name: 'event of ones', body: field(11, Buffer.alloc(50, 0xff)) },
  { name: 'link with half an id', body: field(13, field(1, [1, 2, 3])) },
  { name: 'status of ones', body: field(15, Buffer.alloc(20, 0xff)) },
  { name: 'kind of 2^63', body: bytes([0x30, ...Array<number>(9).fill(0x80), 0x01]) },
  { name: 'parent id of 3 bytes', body: field(4, [1, 2, 3]) },
  { name: 'parent id of 40 bytes', body: field(4, Buffer.alloc(40, 7)) },
  {
    name: 'times at the end of time',
    body: bytes([0x39], Buffer.alloc(8, 0xff), [0x41], Buffer.alloc(8, 0xff)),
  },
  {
    name: '100,000 empty attributes',
    body: Buffer.concat(Array<Buffer>(100_000).fill(Buffer.from([0x4a, 0]))),
  },
  { name: 'a name of 2 MiB', body: field(5, Buffer.alloc(2 << 20, 0x61)) },
  {
    name: 'a key of 1 MiB',
    body: field(9, bytes(field(1, Buffer.alloc(1 << 20, 0x62)), field(2, field(1, [0x61])))),
  },
];

t.test('bad input', { timeout: 120_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t), {
    yaml: [
      'overrides:',
      '  defaults:',
      '    ingestion: { rate_limit_bytes: 99999999, burst_size_bytes: 99999999 }',
    ].join('\n'),
  });
  t.teardown(() => tempo.kill());
  const kept: string[] = [];
  const sendGood = async (): Promise<void> => {
    const span = freshSpan();
    const { status } = await httpExport(tempo, encodeTraces([span]));
    if (status !== 200) throw new Error(`a good span was refused: ${status}`);
    kept.push(span.traceId);
  };
  for (let i = 0; i < 20; i++) await sendGood();
  const session = await grpcSession(tempo);
  const before = figuresOf(tempo.pid);
  t.afterEach(() => t.comment(JSON.stringify(figuresOf(tempo.pid))));

  await t.test('malformed protobuf', async (t) => {
    for (const { name, body } of malformed) {
      t.equal((await httpExport(tempo, body)).status, 400, `http: ${name}`);
      t.equal((await grpcExport(session, framed(body))).status, INVALID_ARGUMENT, `grpc: ${name}`);
      await sendGood();
    }
  });

  await t.test('garbage below the span', async (t) => {
    for (const { name, body } of garbageBelow) {
      for (const send of [
        async (b: Uint8Array) => (await httpExport(tempo, b)).status,
        async (b: Uint8Array) => (await grpcExport(session, framed(b))).status,
      ]) {
        const request = requestOf(spanWith(body));
        const status = await send(request);
        t.ok(status === 200 || status === 0, `${name}: acknowledged (${status})`);
        kept.push(hexId(lastTrace, 16));
      }
      await sendGood();
    }
  });

  await t.test('bad ids beside good ones', async (t) => {
    const spans = [
      freshSpan(),
      freshSpan({ traceId: '00'.repeat(16) }),
      freshSpan({ spanId: 'ab' }),
      freshSpan(),
    ];
    const body = encodeTraces(spans);
    const http = await httpExport(tempo, body);
    t.equal(http.status, 200);
    const { status, body: answer } = await grpcExport(session, framed(body));
    t.equal(status, 0);
    for (const response of [http.body, answer]) {
      // partial_success { rejected_spans: 2, error_message }
      t.strictSame([...response.subarray(2, 4)], [0x08, 2], 'two are told');
      t.match(response.toString(), 'trace ids must be 128 bit, received 0 bits');
    }
    kept.push(spans[0]!.traceId, spans[3]!.traceId);
  });

  await t.test('bombs', async (t) => {
    const zeros = Buffer.alloc(200 << 20);
    const bombs = { gzip: gzipSync(zeros), deflate: deflateSync(zeros), zstd: zstdCompressSync(zeros) };
    for (const [encoding, bomb] of Object.entries(bombs)) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => httpExport(tempo, bomb, { 'content-encoding': encoding })),
      );
      t.strictSame(
        answers.map(({ status }) => status),
        Array(8).fill(413),
        `http ${encoding} of ${bomb.length} bytes`,
      );
    }
    const calls = Array.from({ length: 16 }, () =>
      grpcExport(session, framed(bombs.gzip, 1), { 'grpc-encoding': 'gzip' }),
    );
    t.strictSame(
      (await Promise.all(calls)).map(({ status }) => status),
      Array(16).fill(RESOURCE_EXHAUSTED),
      'grpc gzip',
    );
    const twice = gzipSync(bombs.gzip);
    t.equal(
      (await httpExport(tempo, twice, { 'content-encoding': 'gzip' })).status,
      400,
      'a bomb in a parcel',
    );
    await sendGood();
  });

  await t.test('giant attributes', async (t) => {
    const with10Mb = freshSpan({ attributes: [['a', 'x'.repeat(10_000_000)]] });
    const beside = freshSpan();
    const refused = await httpExport(tempo, encodeTraces([with10Mb, beside]));
    t.equal(refused.status, 200);
    t.match(refused.body.toString(), 'TRACE_TOO_LARGE: max size of trace (5000000) exceeded', '10 MB');
    t.equal(await spansOfTrace(tempo, with10Mb.traceId), 0);
    t.equal(await spansOfTrace(tempo, beside.traceId), 1, 'the span beside it is kept');
    const message = framed(encodeTraces([with10Mb]));
    t.equal((await grpcExport(session, message)).status, RESOURCE_EXHAUSTED, '10 MB over gRPC');

    const with3Mb = freshSpan({ attributes: [['a', 'y'.repeat(3_000_000)]] });
    t.equal((await httpExport(tempo, encodeTraces([with3Mb]))).status, 200, '3 MB');
    const text = await (await tempo.get(`/api/traces/${with3Mb.traceId}`)).text();
    t.match(text, `"${'y'.repeat(2048)}...[+2997952 bytes]"`, 'cut where the limit is, and marked');

    const attributes = Array.from({ length: 100_000 }, (_, i): [string, bigint] => [`k${i}`, BigInt(i)]);
    const withMany = freshSpan({ attributes });
    t.equal((await httpExport(tempo, encodeTraces([withMany]))).status, 200, '100,000 attributes');
    const many = await (await tempo.get(`/api/traces/${withMany.traceId}`)).text();
    t.equal(many.split('"key":"k').length - 1, 100_000, 'all are there');
    await sendGood();
  });

  await t.test('forms of HTTP', async (t) => {
    const cases: {
      name: string;
      headers: Record<string, string>;
      body: Uint8Array | string;
      status: number;
    }[] = [
      { name: 'an empty body', headers: {}, body: '', status: 200 },
      { name: 'an empty JSON body', headers: { 'content-type': 'application/json' }, body: '', status: 400 },
      { name: 'XML', headers: { 'content-type': 'text/xml' }, body: '<a/>', status: 415 },
      {
        name: 'two types',
        headers: { 'content-type': 'application/json, text/xml' },
        body: '{}',
        status: 415,
      },
      { name: 'an unknown encoding', headers: { 'content-encoding': 'br' }, body: 'x', status: 400 },
      { name: 'no gzip', headers: { 'content-encoding': 'gzip' }, body: 'x', status: 400 },
      {
        name: 'half of a gzip',
        headers: { 'content-encoding': 'gzip' },
        body: gzipSync(good()).subarray(0, 50),
        status: 400,
      },
      {
        name: 'JSON nested deeply',
        headers: { 'content-type': 'application/json' },
        body: '['.repeat(1_000_000),
        status: 400,
      },
      { name: 'headers of 100 kB', headers: { 'x-a': 'a'.repeat(100_000) }, body: good(), status: 200 },
      { name: 'headers of 2 MB', headers: { 'x-a': 'a'.repeat(2_000_000) }, body: good(), status: 431 },
      { name: '5,000 headers', headers: manyHeaders(5000), body: good(), status: 200 },
      { name: '11,000 headers', headers: manyHeaders(11_000), body: good(), status: 431 },
      {
        name: 'a tenant of another form',
        headers: { 'x-scope-orgid': '../../etc' },
        body: good(),
        status: 200,
      },
    ];
    for (const { name, headers, body, status } of cases) {
      t.equal((await httpExport(tempo, body, headers)).status, status, name);
    }
    kept.push(hexId(lastTrace, 16));
  });

  await t.test('other protocols on each port', async (t) => {
    const hello = Buffer.from('16030100c8010000c40303', 'hex');
    const texts: Record<string, Buffer> = {
      'HTTP/1.1': Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
      'TLS hello': bytes(hello, Buffer.alloc(200, 1)),
      'random bytes': Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919 + 13) & 255)),
      'preface and garbage': bytes(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.alloc(5000, 0xff)),
      'header without end': Buffer.from(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(11_000)}`),
    };
    const { otlpGrpc, otlpHttp, http } = tempo.ports;
    for (const [name, text] of Object.entries(texts)) {
      for (const port of [otlpGrpc, otlpHttp, http]) {
        const isPlain = name === 'HTTP/1.1' && port !== otlpGrpc;
        const answer = await talk(port, text, isPlain);
        t.ok(answer.isClosed || isPlain, `${name} on ${portName(tempo, port)}: ${answer.text.slice(0, 30)}`);
      }
      await sendGood();
    }
  });

  await t.test('nothing is left of it', async (t) => {
    session.destroy();
    for (const id of kept) if ((await spansOfTrace(tempo, id)) !== 1) t.fail(`trace ${id} is lost`);
    t.equal(await metric(tempo, 'tempo_ingester_builder_restarts_total'), 0, 'no thread ended');
    // the test's own client keeps a few connections open
    const descriptorsMax = before.descriptors + KEPT_CONNECTIONS_MAX;
    t.ok(await until(() => figuresOf(tempo.pid).descriptors <= descriptorsMax), 'descriptors');
    const rssMibMax = before.rssMib + RSS_GROWTH_MIB_MAX;
    await until(() => figuresOf(tempo.pid).rssMib < rssMibMax, SETTLE_MS);
    const after = figuresOf(tempo.pid);
    t.comment(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
    t.ok(after.threads <= before.threads + 4, 'threads');
    t.ok(after.rssMib < rssMibMax, `${before.rssMib} to ${after.rssMib} MiB`);
    await flush(tempo);
    for (const id of kept)
      if ((await spansOfTrace(tempo, id)) !== 1) t.fail(`trace ${id} is lost in the block`);
    const found = new Set(await searchIds(tempo, '{}'));
    t.strictSame(
      kept.filter((id) => !found.has(id)),
      [],
      'search finds them',
    );
  });
  t.equal(await tempo.stop(), 0);
});

function portName({ ports }: RunningTempo, port: number): string {
  return Object.entries(ports).find(([, value]) => value === port)?.[0] ?? '';
}

/** Sends bytes; tells what came back and whether the other side closed within some seconds. */
function talk(port: number, text: Buffer, leaves: boolean): Promise<{ text: string; isClosed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    const done = (isClosed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text: Buffer.concat(chunks).toString('latin1'), isClosed });
    };
    const timer = setTimeout(() => done(false), 3000);
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (leaves) done(false);
    });
    socket.on('error', () => {});
    socket.on('close', () => done(true));
    socket.write(text);
  });
}

t.test('a trace of 100,000 spans', { timeout: 120_000 }, async (t) => {
  const data = testFolder(t);
  const yaml = 'overrides: { defaults: { global: { max_bytes_per_trace: 0 } } }';
  const first = await startTempo(data, { yaml });
  t.teardown(() => first.kill());
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const over = { startUnixNano, endUnixNano: startUnixNano + 1000n };
  const body = encodeTraces(aTrace(1, LARGE_SPANS, () => over));
  t.equal((await httpExport(first, body)).status, 200);
  const traceId = hexId(1, 16);
  const check = async (tempo: RunningTempo, when: string): Promise<void> => {
    for (const version of ['', 'v2/']) {
      const text = await (await tempo.get(`/api/${version}traces/${traceId}`)).text();
      const ids = new Set(text.match(/"spanId":"[^"]*"/g));
      t.equal(ids.size, LARGE_SPANS, `${when}: ${version} JSON`);
      t.notMatch(text.slice(-200), 'PARTIAL');
    }
    t.strictSame(await searchIds(tempo, '{ span.n = 99999 }'), [traceId], `${when}: search`);
  };
  await check(first, 'in the head');
  await flush(first);
  await check(first, 'in a block');
  await first.kill();
  const second = await startTempo(data, { yaml });
  t.teardown(() => second.kill());
  await check(second, 'after a restart');
  const proto = await fetch(`${second.url}/api/traces/${traceId}`, {
    headers: { accept: 'application/protobuf' },
  });
  t.equal(scanRequest(new Uint8Array(await proto.arrayBuffer())).spanCount, LARGE_SPANS, 'protobuf');
  t.equal(await second.stop(), 0);
});
