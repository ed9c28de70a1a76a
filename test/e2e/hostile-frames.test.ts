// HTTP/2 written by hand: frames that break the protocol, and floods of frames that keep it. Each has the
// reaction that RFC 9113 asks for, others are served, and nothing is left of it.
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { figuresOf, framed, grpcExport, grpcSession, until } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const DATA = 0;
const HEADERS = 1;
const PRIORITY = 2;
const RST_STREAM = 3;
const SETTINGS = 4;
const PUSH_PROMISE = 5;
const PING = 6;
const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
const UNKNOWN = 0xfa;

const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
const PADDED = 8;

const PROTOCOL_ERROR = 1;
const INTERNAL_ERROR = 2;
const FLOW_CONTROL_ERROR = 3;
const STREAM_CLOSED = 5;
const FRAME_SIZE_ERROR = 6;
const COMPRESSION_ERROR = 9;
const ENHANCE_YOUR_CALM = 11;

const WAIT_MS_MAX = 5000;
const RSS_GROWTH_MIB_MAX = 150;

function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Literal fields without indexing, not compressed (RFC 7541 section 6.2.2). */
function block(...fields: (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value);
    if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
    const prefix = [127];
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) prefix.push((rest % 128) | 128);
    return Buffer.concat([Buffer.from([...prefix, rest]), bytes]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

const REQUEST: readonly (readonly [string, string])[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/opentelemetry.proto.collector.trace.v1.TraceService/Export'],
  [':authority', 'localhost'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];
const SETTINGS_FRAME = frame(SETTINGS, 0, 0);
const PING_FRAME = frame(PING, 0, 0, Buffer.alloc(8, 1));

const headers = (stream: number, flags = END_HEADERS, ...more: (readonly [string, string])[]): Buffer =>
  frame(HEADERS, flags, stream, block(...REQUEST, ...more));

function setting(id: number, value: number): Buffer {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id, 0);
  payload.writeUInt32BE(value, 2);
  return frame(SETTINGS, 0, 0, payload);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function repeated(count: number, bytes: Buffer): Buffer {
  return Buffer.alloc(count * bytes.length, bytes);
}

/** What came back, as `GOAWAY 1`, `RST 1`, `PONG`, and `closed` at the end. */
class Peer {
  readonly seen: string[] = [];
  readonly socket: Socket;
  #rest = Buffer.alloc(0);

  constructor(port: number, bytes: Buffer) {
    this.socket = connect(port, '127.0.0.1', () => void this.socket.write(bytes));
    this.socket.on('data', (data: Buffer) => this.#take(data));
    this.socket.on('error', () => {});
    this.socket.on('close', () => this.seen.push('closed'));
  }

  /** Waits for one of the reactions. @returns the one that came, or what came instead. */
  async reaction(...wanted: string[]): Promise<string> {
    const came = (): string | undefined => wanted.find((each) => this.seen.includes(each));
    await until(() => came() !== undefined || this.seen.includes('closed'), WAIT_MS_MAX);
    return came() ?? this.seen.join(', ');
  }

  #take(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data]);
    for (;;) {
      if (this.#rest.length < 9) return;
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const payload = this.#rest.subarray(9, 9 + length);
      if (this.#rest[3] === GOAWAY) this.seen.push(`GOAWAY ${payload.readUInt32BE(4)}`);
      if (this.#rest[3] === RST_STREAM) this.seen.push(`RST ${payload.readUInt32BE(0)}`);
      if (this.#rest[3] === PING && this.#rest[4] === ACK) this.seen.push('PONG');
      this.#rest = this.#rest.subarray(9 + length);
    }
  }
}

type Case = { readonly name: string; readonly send: readonly Buffer[]; readonly want: readonly string[] };

const goaway = (code: number): string[] => [`GOAWAY ${code}`];
const reset = (code: number): string[] => [`RST ${code}`];
const PONG = ['PONG'];
const ten = Buffer.alloc(10);

const broken: readonly Case[] = [
  { name: 'DATA on stream 0', send: [frame(DATA, 0, 0, ten)], want: goaway(PROTOCOL_ERROR) },
  { name: 'HEADERS on stream 0', send: [headers(0)], want: goaway(PROTOCOL_ERROR) },
  { name: 'a stream of the server', send: [headers(2)], want: goaway(PROTOCOL_ERROR) },
  { name: 'DATA on an idle stream', send: [frame(DATA, 0, 1, ten)], want: goaway(PROTOCOL_ERROR) },
  {
    name: 'DATA after the end',
    send: [headers(1), frame(DATA, END_STREAM, 1), frame(DATA, 0, 1, ten)],
    want: [...goaway(STREAM_CLOSED), ...reset(STREAM_CLOSED)],
  },
  { name: 'SETTINGS of a wrong size', send: [frame(SETTINGS, 0, 0, ten)], want: goaway(FRAME_SIZE_ERROR) },
  {
    name: 'an acknowledgement with content',
    send: [frame(SETTINGS, ACK, 0, Buffer.alloc(6))],
    want: goaway(FRAME_SIZE_ERROR),
  },
  { name: 'SETTINGS on a stream', send: [frame(SETTINGS, 0, 1)], want: goaway(PROTOCOL_ERROR) },
  { name: 'ENABLE_PUSH of 2', send: [setting(2, 2)], want: goaway(PROTOCOL_ERROR) },
  { name: 'a window of 2 GiB', send: [setting(4, 0x80000000)], want: goaway(FLOW_CONTROL_ERROR) },
  { name: 'a largest frame of 1 byte', send: [setting(5, 1)], want: goaway(PROTOCOL_ERROR) },
  { name: 'PING of a wrong size', send: [frame(PING, 0, 0, ten)], want: goaway(FRAME_SIZE_ERROR) },
  { name: 'PING on a stream', send: [frame(PING, 0, 1, Buffer.alloc(8))], want: goaway(PROTOCOL_ERROR) },
  { name: 'WINDOW_UPDATE of 0', send: [frame(WINDOW_UPDATE, 0, 0, uint32(0))], want: goaway(PROTOCOL_ERROR) },
  {
    name: 'WINDOW_UPDATE beyond the largest window',
    send: [frame(WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))],
    want: goaway(FLOW_CONTROL_ERROR),
  },
  {
    name: 'WINDOW_UPDATE beyond the largest window of a stream',
    send: [headers(1), frame(WINDOW_UPDATE, 0, 1, uint32(0x7fffffff))],
    want: [...reset(FLOW_CONTROL_ERROR), ...goaway(FLOW_CONTROL_ERROR)],
  },
  {
    name: 'WINDOW_UPDATE on an idle stream',
    send: [frame(WINDOW_UPDATE, 0, 1, uint32(1))],
    want: goaway(PROTOCOL_ERROR),
  },
  {
    name: 'RST_STREAM on an idle stream',
    send: [frame(RST_STREAM, 0, 1, uint32(8))],
    want: goaway(PROTOCOL_ERROR),
  },
  {
    name: 'RST_STREAM of a wrong size',
    send: [headers(1), frame(RST_STREAM, 0, 1, ten)],
    want: goaway(FRAME_SIZE_ERROR),
  },
  { name: 'CONTINUATION of nothing', send: [frame(CONTINUATION, 4, 1, ten)], want: goaway(PROTOCOL_ERROR) },
  { name: 'another frame amid headers', send: [headers(1, 0), PING_FRAME], want: goaway(PROTOCOL_ERROR) },
  {
    name: 'more padding than content',
    send: [headers(1), frame(DATA, PADDED, 1, Buffer.of(200, 1, 2))],
    want: goaway(PROTOCOL_ERROR),
  },
  {
    name: 'a frame of 16 MiB',
    send: [headers(1), frame(DATA, 0, 1).fill(0xff, 0, 3)],
    want: goaway(FRAME_SIZE_ERROR),
  },
  {
    name: 'headers that are no HPACK',
    send: [frame(HEADERS, END_HEADERS, 1, Buffer.alloc(20, 0xff))],
    want: goaway(COMPRESSION_ERROR),
  },
  {
    name: 'PUSH_PROMISE of a client',
    send: [headers(1), frame(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(2), block(...REQUEST)]))],
    want: goaway(PROTOCOL_ERROR),
  },
  {
    name: 'a name in upper case',
    send: [headers(1, END_HEADERS, ['X-A', 'b'])],
    want: reset(PROTOCOL_ERROR),
  },
  {
    name: 'a header of connections',
    send: [headers(1, END_HEADERS, ['connection', 'close'])],
    want: reset(PROTOCOL_ERROR),
  },
  {
    name: 'no path',
    send: [frame(HEADERS, END_HEADERS, 1, block([':method', 'POST'], [':scheme', 'http']))],
    want: reset(PROTOCOL_ERROR),
  },
  {
    name: 'a pseudo header at the end',
    send: [headers(1, END_HEADERS, [':path', '/'])],
    want: reset(PROTOCOL_ERROR),
  },
  {
    name: 'more content than its length',
    send: [headers(1, END_HEADERS, ['content-length', '5']), frame(DATA, END_STREAM, 1, ten)],
    want: [...reset(PROTOCOL_ERROR), ...goaway(INTERNAL_ERROR)],
  },
];

/** What nghttp2 takes although RFC 9113 would refuse it is here too. */
const allowed: readonly Case[] = [
  { name: 'streams that go backwards', send: [headers(5), headers(3), PING_FRAME], want: PONG },
  {
    name: 'frames of unknown type',
    send: [repeated(1000, frame(UNKNOWN, 0xff, 7, ten)), PING_FRAME],
    want: PONG,
  },
  { name: 'unknown settings', send: [setting(0xaaaa, 1), PING_FRAME], want: PONG },
  {
    name: 'PRIORITY on an idle stream',
    send: [frame(PRIORITY, 0, 9, Buffer.alloc(5)), PING_FRAME],
    want: PONG,
  },
  {
    name: 'a flood of WINDOW_UPDATE',
    send: [repeated(100_000, frame(WINDOW_UPDATE, 0, 0, uint32(1))), PING_FRAME],
    want: PONG,
  },
];

/** Every stream is opened and reset at once (CVE-2023-44487). */
function rapidReset(count: number): Buffer {
  const frames: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    frames.push(headers(2 * i + 1, END_HEADERS), frame(RST_STREAM, 0, 2 * i + 1, uint32(8)));
  }
  return Buffer.concat(frames);
}

const floods: readonly Case[] = [
  { name: 'unknown frames', send: [repeated(100_000, frame(UNKNOWN, 0, 0))], want: ['closed'] },
  { name: 'empty DATA', send: [headers(1), repeated(100_000, frame(DATA, 0, 1))], want: ['closed'] },
  { name: 'PING', send: [repeated(100_000, PING_FRAME)], want: [...goaway(ENHANCE_YOUR_CALM), 'closed'] },
  {
    name: 'SETTINGS',
    send: [repeated(100_000, setting(3, 100))],
    want: [...goaway(ENHANCE_YOUR_CALM), 'closed'],
  },
  { name: 'streams that are reset', send: [rapidReset(20_000)], want: ['closed'] },
  {
    name: 'CONTINUATION',
    send: [headers(1, 0), repeated(50_000, frame(CONTINUATION, 0, 1, block(['x-a', 'b'])))],
    want: ['closed'],
  },
  {
    name: 'empty CONTINUATION',
    send: [headers(1, 0), repeated(100_000, frame(CONTINUATION, 0, 1))],
    want: ['closed'],
  },
  {
    name: 'large headers',
    send: [
      headers(1, 0),
      ...Array.from({ length: 100 }, () => frame(CONTINUATION, 0, 1, block(['x-a', 'b'.repeat(16_000)]))),
    ],
    want: ['closed'],
  },
];

async function isServed(tempo: RunningTempo): Promise<boolean> {
  const session = await grpcSession(tempo);
  const body = encodeTraces([aSpan({ traceId: hexId(1, 16) })]);
  const { status } = await grpcExport(session, framed(body));
  session.destroy();
  return status === 0 && (await tempo.get('/ready')).ok;
}

async function sendAll(t: Test, tempo: RunningTempo, cases: readonly Case[]): Promise<void> {
  for (const port of [tempo.ports.otlpGrpc, tempo.ports.http]) {
    for (const { name, send, want } of cases) {
      const peer = new Peer(port, Buffer.concat([PREFACE, SETTINGS_FRAME, ...send]));
      const got = await peer.reaction(...want);
      t.ok(want.includes(got), `${name}${port === tempo.ports.http ? ', HTTP port' : ''}: ${got}`);
      peer.socket.destroy();
    }
    t.ok(await isServed(tempo), 'others are served');
  }
}

t.test('HTTP/2 by hand', { timeout: 180_000 }, async (t) => {
  const tempo = await startTempo(testFolder(t), { yaml: 'stream_over_http_enabled: true\n' });
  t.teardown(() => tempo.kill());
  t.ok(await isServed(tempo));
  const before = figuresOf(tempo.pid);
  await t.test('frames that break the protocol', (t) => sendAll(t, tempo, broken));
  await t.test('frames that are allowed', (t) => sendAll(t, tempo, allowed));
  await t.test('floods', (t) => sendAll(t, tempo, floods));
  t.ok(
    await until(() => figuresOf(tempo.pid).descriptors <= before.descriptors + 4),
    'descriptors are given back',
  );
  const after = figuresOf(tempo.pid);
  t.comment(`before ${JSON.stringify(before)} after ${JSON.stringify(after)}`);
  t.ok(after.rssMib < before.rssMib + RSS_GROWTH_MIB_MAX, `${before.rssMib} to ${after.rssMib} MiB`);
  t.equal(await tempo.stop(), 0);
});
