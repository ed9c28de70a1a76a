// What the tests of bad input and bad luck share: exports over gRPC and HTTP that answer their status, and
// what a process holds (memory, descriptors, threads, CPU), so that it can be compared before and after.
import { readdirSync, readFileSync } from 'node:fs';
import http, { type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import http2, { type ClientHttp2Session } from 'node:http2';
import { setTimeout as pause } from 'node:timers/promises';
import { AwakeLimit } from './awake.ts';
import type { RunningTempo } from './server.ts';

const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const CLOCK_TICK_MS = 10;

export type GrpcAnswer = {
  /** grpc-status, or -1 when the stream ended without one. */
  readonly status: number;
  readonly message: string;
  /** The response message. */
  readonly body: Buffer;
  /** A google.rpc.Status, if one was sent. */
  readonly details: Buffer;
};

/** A message with its prefix. */
export function framed(message: Uint8Array, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export async function grpcSession(tempo: RunningTempo): Promise<ClientHttp2Session> {
  const session = http2.connect(`http://127.0.0.1:${tempo.ports.otlpGrpc}`);
  session.on('error', () => {});
  await new Promise((resolve, reject) => {
    session.once('connect', resolve);
    session.once('error', reject);
  });
  return session;
}

/** Opens a call of Export; the caller writes frames. */
export function openCall(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}) {
  const stream = session.request({
    ':method': 'POST',
    ':path': EXPORT_PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => {});
  return stream;
}

/** Sends bytes as the body of an Export call, framed or not by the caller. */
export function grpcExport(
  session: ClientHttp2Session,
  frames: Uint8Array,
  headers: OutgoingHttpHeaders = {},
): Promise<GrpcAnswer> {
  return new Promise((resolve) => {
    const stream = openCall(session, headers);
    let status = -1;
    let message = '';
    let details = Buffer.alloc(0);
    const chunks: Buffer[] = [];
    const note = (fields: http2.IncomingHttpHeaders): void => {
      if (fields['grpc-status'] === undefined) return;
      status = Number(fields['grpc-status']);
      message = decodeURIComponent(String(fields['grpc-message'] ?? ''));
      details = Buffer.from(String(fields['grpc-status-details-bin'] ?? ''), 'base64');
    };
    stream.on('response', note);
    stream.on('trailers', note);
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('close', () => resolve({ status, message, body: Buffer.concat(chunks).subarray(5), details }));
    stream.end(frames);
  });
}

/** Posts to the OTLP HTTP receiver, on a connection of its own. */
export function httpExport(
  tempo: RunningTempo,
  body: Uint8Array | string,
  headers: OutgoingHttpHeaders = {},
): Promise<{ readonly status: number; readonly body: Buffer; readonly headers: IncomingHttpHeaders }> {
  const options = {
    host: '127.0.0.1',
    port: tempo.ports.otlpHttp,
    path: '/v1/traces',
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/x-protobuf', ...headers },
  };
  return new Promise((resolve, reject) => {
    const request = http.request(options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks), headers: answer.headers }),
      );
      // A server may answer and close before it has read all: the answer counts.
      answer.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

export type Figures = {
  readonly rssMib: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly cpuMs: number;
};

/** What the process holds now. Linux only. */
export function figuresOf(pid: number): Figures {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const number = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    rssMib: Math.round(number('VmRSS') / 1024),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: number('Threads'),
    cpuMs: (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS,
  };
}

const SETTLE_LIMIT_MS = 10_000;
const SETTLE_PAUSE_MS = 100;

/** Asks again until the answer is true or too much time has passed; answers the last one. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  limitMs = SETTLE_LIMIT_MS,
  pauseMs = SETTLE_PAUSE_MS,
): Promise<boolean> {
  const limit = new AwakeLimit(limitMs);
  while (!(await isTrue())) {
    if (limit.isOver) return false;
    await pause(pauseMs);
  }
  return true;
}

/** The value of a sample of /metrics by name and labels, the sum where labels are left out; 0 without any. */
export async function metric(tempo: RunningTempo, sample: string): Promise<number> {
  const text = await (await tempo.get('/metrics')).text();
  let sum = 0;
  for (const line of text.split('\n')) {
    if (line === `${sample} ${line.split(' ').at(-1)}` || line.startsWith(`${sample}{`)) {
      sum += Number(line.split(' ').at(-1));
    }
  }
  return sum;
}
