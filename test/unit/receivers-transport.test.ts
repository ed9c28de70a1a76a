// Receivers below their protocol, configured as the Collector's: TLS, requests of pages, headers, keep-alive.
import http2 from 'node:http2';
import https from 'node:https';
import { connect } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { rootBlock } from '../../src/app/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { OtlpGrpcReceiver } from '../../src/receivers/otlp-grpc.ts';
import { OtlpHttpReceiver } from '../../src/receivers/otlp-http.ts';
import type { TraceConsumer } from '../../src/receivers/receiver.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { AUTHORITY, certFile, identity } from '../support/certs.ts';
import { aTrace, encodeTraces } from '../support/otlp.ts';

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const body = Buffer.from(encodeTraces(aTrace(1, 4)));
const consumer: TraceConsumer = { consume: async () => ({ rejectedSpans: 0, message: '' }) };

function protocolsOf(yaml: string) {
  const text = `distributor: { receivers: { otlp: { protocols: ${yaml} } } }`;
  const { config } = loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } });
  const { grpc: overGrpc, http: overHttp } = config.distributor.receivers.otlp?.protocols ?? {};
  return { overGrpc, overHttp };
}

/** Starts the receiver that the YAML configures. */
async function start(t: Test, yaml: string, logger = silentLogger): Promise<number> {
  const { overGrpc, overHttp } = protocolsOf(yaml);
  const receiver =
    overGrpc === undefined
      ? new OtlpHttpReceiver({ ...overHttp!, endpoint: '127.0.0.1:0' }, consumer, logger)
      : new OtlpGrpcReceiver({ ...overGrpc, endpoint: '127.0.0.1:0' }, consumer, logger);
  const { port } = await receiver.start();
  t.teardown(() => receiver.stop(0));
  return port;
}

const same = (bytes: Buffer): Buffer => bytes;

/** The status of an export. */
async function exportGrpc(port: number, credentials: grpc.ChannelCredentials): Promise<number> {
  const client = new grpc.Client(`localhost:${port}`, credentials);
  try {
    return await new Promise((resolve) =>
      client.makeUnaryRequest(EXPORT, same, same, body, (err) => resolve(err?.code ?? 0)),
    );
  } finally {
    client.close();
  }
}

function exportHttps(port: number, options: https.RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      `https://localhost:${port}/v1/traces`,
      {
        method: 'POST',
        agent: false,
        ca: AUTHORITY,
        headers: { 'content-type': 'application/x-protobuf' },
        ...options,
      },
      (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.statusCode ?? 0));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

t.test('TLS and client certificates', async (t) => {
  const files = `cert_file: ${certFile('server')}, key_file: ${certFile('server', 'key')}`;
  const own = identity('client');
  const strange = identity('strange-client');
  const ofClient = ({ cert, key }: typeof own): grpc.ChannelCredentials =>
    grpc.credentials.createSsl(Buffer.from(AUTHORITY), Buffer.from(key), Buffer.from(cert));

  const plain = await start(t, `{ grpc: { tls: { ${files}, min_version: '1.3' } } }`);
  t.equal(await exportGrpc(plain, grpc.credentials.createSsl(Buffer.from(AUTHORITY))), 0);
  t.equal(await exportGrpc(plain, grpc.credentials.createInsecure()), 14);
  const mutual = await start(t, `{ grpc: { tls: { ${files}, client_ca_file: ${certFile('authority')} } } }`);
  t.equal(await exportGrpc(mutual, ofClient(own)), 0);
  t.equal(await exportGrpc(mutual, ofClient(strange)), 14);
  t.equal(await exportGrpc(mutual, grpc.credentials.createSsl(Buffer.from(AUTHORITY))), 14);

  const http = await start(t, `{ http: { tls: { ${files}, client_ca_file: ${certFile('authority')} } } }`);
  t.equal(await exportHttps(http, own), 200);
  await t.rejects(exportHttps(http, strange));
  await t.rejects(exportHttps(http, {}));

  const { overGrpc } = protocolsOf('{ grpc: { tls: { client_ca_file: a.pem } } }');
  t.throws(() => new OtlpGrpcReceiver(overGrpc!, consumer, silentLogger), {
    message: 'distributor.receivers.otlp.protocols.grpc.tls: needs a certificate and a key',
  });
});

t.test('pages of other origins, and headers of answers', async (t) => {
  const port = await start(
    t,
    `{ http: { cors: { allowed_origins: ['https://*.example.com', 'http://app.test:8080'],
        allowed_headers: [X-Scope-OrgID], max_age: 7200 }, response_headers: { X-From: tempo } } }`,
  );
  const url = `http://127.0.0.1:${port}/v1/traces`;
  const preflight = async (origin: string, headers: string, method = 'POST'): Promise<unknown[]> => {
    const answer = await fetch(url, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': method,
        'access-control-request-headers': headers,
      },
    });
    const { headers: got } = answer;
    return [answer.status, got.get('access-control-allow-origin'), got.get('access-control-allow-headers')];
  };
  const page = 'https://shop.example.com';
  t.same(await preflight(page, 'content-type,x-scope-orgid'), [204, page, 'content-type, x-scope-orgid']);
  t.same(await preflight(page, 'x-secret'), [204, null, null], 'other headers are not allowed');
  t.same(await preflight(page, 'content-type', 'DELETE'), [204, null, null], 'nor other methods');
  for (const origin of [
    'https://example.com',
    'https://shop.example.com.evil.test',
    'http://shop.example.com',
  ]) {
    t.same(await preflight(origin, 'content-type'), [204, null, null], origin);
  }
  const headers = { 'content-type': 'application/x-protobuf', origin: 'http://app.test:8080' };
  const answer = await fetch(url, { method: 'POST', headers, body });
  t.equal(answer.status, 200);
  t.equal(answer.headers.get('access-control-allow-origin'), 'http://app.test:8080');
  t.equal(answer.headers.get('access-control-allow-credentials'), 'true');
  t.equal(answer.headers.get('x-from'), 'tempo');
  const refused = await fetch(url, { method: 'POST', headers, body: 'no protobuf', redirect: 'error' });
  t.equal(refused.headers.get('x-from'), 'tempo', 'of errors too');

  const any = await start(
    t,
    `{ http: { cors: { allowed_origins: ['*'] }, response_headers: [{ name: A, value: b }] } }`,
  );
  const open = await fetch(`http://127.0.0.1:${any}/v1/traces`, { method: 'POST', headers, body });
  t.equal(open.headers.get('access-control-allow-origin'), '*');
  t.equal(open.headers.get('a'), 'b');
  const none = await start(t, '{ http: { keep_alives_enabled: false } }');
  const closed = await fetch(`http://127.0.0.1:${none}/v1/traces`, { method: 'POST', headers, body });
  t.equal(closed.headers.get('access-control-allow-origin'), null);
  t.equal(closed.headers.get('connection'), 'close');
});

t.test('keep-alive of gRPC connections', async (t) => {
  const port = await start(
    t,
    `{ grpc: { keepalive: { server_parameters: { time: 50ms, timeout: 1s, max_connection_age: 400ms },
        enforcement_policy: { min_time: 1h } } } }`,
  );
  const connect = (): http2.ClientHttp2Session => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    return session;
  };
  const aged = connect();
  let pings = 0;
  aged.on('ping', () => pings++);
  const away = new Promise<number>((resolve) => aged.on('goaway', resolve));
  t.equal(await away, http2.constants.NGHTTP2_NO_ERROR, 'closed when it is old');
  t.ok(pings > 0, 'asked whether it is there');

  const flood = connect();
  const refused = new Promise<unknown[]>((resolve) =>
    flood.on('goaway', (code, _last, data) => resolve([code, String(data)])),
  );
  flood.on('connect', () => {
    for (let i = 0; i < 8; i++) flood.ping(() => {});
  });
  t.same(await refused, [http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 'too_many_pings']);
});

t.test('the other protocol is told where it is', async (t) => {
  const lines: string[] = [];
  const logger = createLogger({ level: 'warn', format: 'logfmt', write: (line) => lines.push(line) });
  /** What comes back before the connection is closed. */
  const answerTo = (port: number, sent: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const socket = connect(port, '127.0.0.1', () => socket.write(sent));
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
    });
  const http = await start(t, '{ http: {} }', logger);
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  for (let i = 0; i < 2; i++) {
    t.match(await answerTo(http, preface), /OTLP over gRPC has a port of its own \(4317 by default\)$/s);
  }
  t.match(await answerTo(http, 'NONSENSE\r\n\r\n'), /^HTTP\/1\.1 400 /);
  const session = http2.connect(`http://127.0.0.1:${http}`);
  const [code, said] = await new Promise<[number, string]>((resolve) => {
    session.on('error', () => {});
    session.on('goaway', (code, _last, data) => resolve([code, String(data)]));
  });
  t.equal(code, http2.constants.NGHTTP2_HTTP_1_1_REQUIRED, 'as a client sees it');
  t.match(said, 'this port takes OTLP over HTTP');
  const overGrpc = await start(t, '{ grpc: {} }', logger);
  for (let i = 0; i < 2; i++) await answerTo(overGrpc, 'POST /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n');
  t.equal(lines.length, 2, 'each is said once in a while');
  t.match(lines[0], /msg="a client of gRPC came to the port of OTLP over HTTP" client=/);
  t.match(lines[1], /msg="a client does not speak HTTP\/2 on a port of gRPC" hint=/);
});
