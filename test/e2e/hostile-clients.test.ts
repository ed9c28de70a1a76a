// Clients that misbehave: thousands of idle connections, bodies that never end, answers that nobody reads,
// streams that are reset at once. Others are served meanwhile, and afterwards the process holds what it
// held before.
import { writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import {
  type Figures,
  figuresOf,
  framed,
  grpcExport,
  grpcSession,
  httpExport,
  metric,
  openCall,
  until,
} from '../support/hostile.ts';
import { aSpan, aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, spansOfTrace } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const CONNECTIONS = Number(process.env['HOSTILE_CONNECTIONS'] ?? 1000);
const RESETS = Number(process.env['HOSTILE_RESETS'] ?? 2000);
const RSS_GROWTH_MIB_MAX = 150;
const IDLE_MS = 500;
const IDLE_LIMIT_MS = 3000;

let lastTrace = 0;

async function pushOne(tempo: RunningTempo): Promise<string> {
  const traceId = hexId(++lastTrace, 16);
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const body = encodeTraces([aSpan({ traceId, startUnixNano, endUnixNano: startUnixNano + 1n })]);
  const { status } = await httpExport(tempo, body);
  if (status !== 200) throw new Error(`a good span was refused: ${status}`);
  return traceId;
}

function open(port: number, text = ''): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      if (text !== '') socket.write(text);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** Others get their answers while the clients are there; then nothing stays of them. */
async function servedMeanwhile(
  t: Test,
  tempo: RunningTempo,
  before: Figures,
  leave: () => void,
): Promise<void> {
  const during = figuresOf(tempo.pid);
  const begin = performance.now();
  const traceId = await pushOne(tempo);
  t.equal(await spansOfTrace(tempo, traceId), 1, 'another client is served');
  const session = await grpcSession(tempo);
  t.equal(
    (await grpcExport(session, framed(encodeTraces([aSpan({ traceId: hexId(++lastTrace, 16) })])))).status,
    0,
  );
  session.destroy();
  const tookMs = performance.now() - begin;
  t.ok(tookMs < 5000, `in ${Math.round(tookMs)} ms`);
  // What was asked before may still be answered: then it must end.
  let idleMs = 0;
  const isIdle = await until(async () => {
    const idleFrom = figuresOf(tempo.pid).cpuMs;
    await pause(IDLE_MS);
    idleMs = figuresOf(tempo.pid).cpuMs - idleFrom;
    return idleMs < IDLE_MS / 4;
  }, IDLE_LIMIT_MS);
  t.ok(isIdle, `${idleMs} ms of CPU in ${IDLE_MS} ms of waiting`);
  leave();
  t.ok(
    await until(() => figuresOf(tempo.pid).descriptors <= before.descriptors + 2),
    'descriptors are given back',
  );
  const after = figuresOf(tempo.pid);
  t.comment(
    `before ${JSON.stringify(before)} during ${JSON.stringify(during)} after ${JSON.stringify(after)}`,
  );
  t.ok(after.rssMib < before.rssMib + RSS_GROWTH_MIB_MAX, `${before.rssMib} to ${after.rssMib} MiB`);
}

t.test('clients that misbehave', { timeout: 120_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  for (let i = 0; i < 20; i++) await pushOne(tempo);
  const { otlpGrpc, otlpHttp, http } = tempo.ports;

  await t.test(`${CONNECTIONS} idle connections on each port`, async (t) => {
    const before = figuresOf(tempo.pid);
    const sockets: Socket[] = [];
    for (const port of [otlpGrpc, otlpHttp, http]) {
      for (let i = 0; i < CONNECTIONS; i++) sockets.push(await open(port));
    }
    await servedMeanwhile(t, tempo, before, () => sockets.forEach((socket) => socket.destroy()));
  });

  await t.test('bodies that never end', async (t) => {
    const before = figuresOf(tempo.pid);
    const head = 'POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n';
    const sockets: Socket[] = [];
    for (let i = 0; i < 100; i++) {
      sockets.push(await open(otlpHttp, `${head}Content-Length: 1000000\r\n\r\nab`));
      sockets.push(await open(otlpHttp, `${head}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`));
      sockets.push(await open(otlpHttp, 'POST /v1/traces HTTP/1.1\r\nHo'));
    }
    const drip = setInterval(() => sockets.forEach((socket) => socket.write('a')), 200);
    const session = await grpcSession(tempo);
    for (let i = 0; i < 100; i++) openCall(session).write(framed(Buffer.alloc(100_000)).subarray(0, 50_000));
    await servedMeanwhile(t, tempo, before, () => {
      clearInterval(drip);
      session.destroy();
      sockets.forEach((socket) => socket.destroy());
    });
  });

  await t.test('large bodies that stop just before their end', async (t) => {
    const before = figuresOf(tempo.pid);
    const bytes = 15 << 20;
    const head = `POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n`;
    const type = 'Content-Type: application/x-protobuf\r\n\r\n';
    const almost = Buffer.alloc(bytes - 1, 1);
    const sockets: Socket[] = [];
    for (let i = 0; i < 30; i++) {
      const socket = await open(otlpHttp, head + type);
      socket.write(almost);
      sockets.push(socket);
    }
    await until(() => sockets.every((socket) => socket.bufferSize === 0 || socket.destroyed), 8000);
    const { rssMib } = figuresOf(tempo.pid);
    // 307 MiB of bodies may be there at a time, of the 450 that were sent; sockets add some.
    t.ok(rssMib < before.rssMib + 400, `memory is bounded: ${before.rssMib} to ${rssMib} MiB`);
    sockets.forEach((socket) => socket.destroy());
    t.ok(
      await until(() => figuresOf(tempo.pid).descriptors <= before.descriptors + 2),
      'descriptors are given back',
    );
    await pushOne(tempo);
  });

  await t.test('answers that nobody reads', async (t) => {
    const big = hexId(0xb16, 16);
    t.equal((await httpExport(tempo, encodeTraces(aTrace(0xb16, 10_000)))).status, 200);
    await flush(tempo);
    // The same answers, read: what threads and heaps then keep is theirs.
    await Promise.all(Array.from({ length: 10 }, () => spansOfTrace(tempo, big)));
    const before = figuresOf(tempo.pid);
    const sockets: Socket[] = [];
    for (let i = 0; i < 10; i++) {
      const socket = await open(http, `GET /api/traces/${big} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      socket.pause();
      sockets.push(socket);
    }
    const session = http2.connect(`http://127.0.0.1:${otlpGrpc}`, { settings: { initialWindowSize: 0 } });
    session.on('error', () => {});
    const body = framed(encodeTraces([aSpan({ traceId: hexId(++lastTrace, 16) })]));
    for (let i = 0; i < 100; i++) openCall(session).end(body);
    await until(async () => (await metric(tempo, 'tempo_scan_queue_length')) === 0);
    await servedMeanwhile(t, tempo, before, () => {
      session.destroy();
      sockets.forEach((socket) => socket.destroy());
    });
  });

  await t.test(`${RESETS} streams reset at once`, async (t) => {
    const before = figuresOf(tempo.pid);
    const body = framed(encodeTraces([aSpan({ traceId: hexId(++lastTrace, 16) })]));
    let session = await grpcSession(tempo);
    for (let i = 0; i < RESETS; i++) {
      if (session.destroyed || session.closed) session = await grpcSession(tempo);
      const stream = openCall(session);
      if (i % 2 === 0) stream.write(body);
      stream.close(http2.constants.NGHTTP2_CANCEL);
      if (i % 100 === 99) await pause(1);
    }
    await servedMeanwhile(t, tempo, before, () => session.destroy());
  });

  await t.test('queries that are cancelled at once', async (t) => {
    const before = figuresOf(tempo.pid);
    const path = `/api/search?q=${encodeURIComponent('{ name =~ "(a+)+$" } >> {}')}&limit=1000`;
    for (let i = 0; i < 200; i++) {
      const socket = await open(http, `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      if (i % 2 === 0) await pause(2);
      socket.destroy();
    }
    t.ok(await until(async () => (await metric(tempo, 'tempo_scan_queue_length')) === 0), 'none runs on');
    await servedMeanwhile(t, tempo, before, () => {});
  });

  t.equal(await tempo.stop(), 0);
});

t.test('more clients than files may be open', { timeout: 60_000 }, async (t) => {
  const data = testFolder(t);
  const program = path.join(data, 'tempo');
  const main = [process.execPath, path.resolve('cmd/tempo/main.ts')].join(' ');
  writeFileSync(program, `#!/bin/sh\nulimit -n 300\nexec ${main} "$@"\n`, { mode: 0o700 });
  const tempo = await startTempo(data, { program });
  t.teardown(() => tempo.kill());
  const session = await grpcSession(tempo);
  const pushed = async (): Promise<number> => {
    const startUnixNano = BigInt(Date.now()) * 1_000_000n;
    const body = encodeTraces([aSpan({ traceId: hexId(++lastTrace, 16), startUnixNano })]);
    return (await grpcExport(session, framed(body))).status;
  };
  t.equal(await pushed(), 0);
  const before = figuresOf(tempo.pid);
  const sockets: Socket[] = [];
  for (const port of Object.values(tempo.ports)) {
    for (let i = 0; i < 100; i++) sockets.push(await open(port));
  }
  t.ok(await until(() => figuresOf(tempo.pid).descriptors > 150));
  t.ok(figuresOf(tempo.pid).descriptors < 290, `${figuresOf(tempo.pid).descriptors} of 300 files`);
  for (let i = 0; i < 20; i++) t.equal(await pushed(), 0, 'who is there is served');
  sockets.forEach((socket) => socket.destroy());
  t.ok(await until(() => figuresOf(tempo.pid).descriptors <= before.descriptors + 2), 'all are given back');
  await flush(tempo);
  t.equal(await spansOfTrace(tempo, hexId(lastTrace, 16)), 1);
  t.notMatch(tempo.output(), /EMFILE|level=error/);
  session.destroy();
  t.equal(await tempo.stop(), 0);
});

t.test('clients that stand still do not hold the stop up', { timeout: 60_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const half =
    'POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n';
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  const sockets: Socket[] = [];
  for (const port of Object.values(tempo.ports)) {
    for (const beginning of ['', 'P', half, preface]) sockets.push(await open(port, beginning));
  }
  const session = await grpcSession(tempo);
  // A call whose message never comes.
  openCall(session);
  await pushOne(tempo);
  t.equal(await tempo.stop(), 0);
  t.notMatch(tempo.output(), /level=error/);
  session.destroy();
  sockets.forEach((socket) => socket.destroy());
});
