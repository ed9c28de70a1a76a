// tracegen: its traces are whole and well formed, and its failures are one clear line.
import { execFile } from 'node:child_process';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { generateTrace } from '../../cmd/tracegen/traces.ts';
import { decodeTraces } from '../support/otlp.ts';

t.test('a trace has one root, and every other span lies within its parent', (t) => {
  for (let i = 0; i < 20; i++) {
    const { traceId, spans, request } = generateTrace('test-');
    const decoded = decodeTraces(request);
    const byId = new Map(decoded.map((span) => [span.spanId, span]));
    const roots = decoded.filter((span) => span.parentSpanId === '');
    const strays = decoded.filter((span) => {
      const parent = byId.get(span.parentSpanId);
      if (parent === undefined) return span.parentSpanId !== '';
      return span.startUnixNano < parent.startUnixNano || span.endUnixNano > parent.endUnixNano;
    });
    const foreign = decoded.filter(
      (span) => span.traceId !== traceId || span.startUnixNano > span.endUnixNano,
    );
    t.equal(byId.size, spans);
    t.equal(roots.length, 1);
    t.same(strays, []);
    t.same(foreign, []);
    t.match(decoded[0]?.resource.attributes[0], ['service.name', 'test-gateway']);
  }
  t.end();
});

type Answer = { readonly body: Buffer; readonly trailers: Record<string, string> };

async function serverAnswering(answer: Answer) {
  const server = createServer();
  const received: Buffer[] = [];
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('data', (chunk: Buffer) => received.push(chunk));
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers(answer.trailers));
      stream.end(answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

t.test('the client frames requests and reads answers', async (t) => {
  const ok = { 'grpc-status': '0' };
  const partial = Buffer.from([0, 0, 0, 0, 8, 0x0a, 6, 0x08, 5, 0x12, 2, 0x6e, 0x6f]);
  const cases = [
    { name: 'empty answer', body: Buffer.alloc(5), trailers: ok, want: { rejectedSpans: 0, message: '' } },
    { name: 'partial success', body: partial, trailers: ok, want: { rejectedSpans: 5, message: 'no' } },
    {
      name: 'refused',
      body: Buffer.alloc(0),
      trailers: { 'grpc-status': '8', 'grpc-message': 'too%20many' },
      want: 'gRPC status 8: too many',
    },
    { name: 'no gRPC', body: Buffer.alloc(0), trailers: {}, want: 'the answer is no gRPC (HTTP status 200)' },
  ];
  for (const { name, body, trailers, want } of cases) {
    const { server, received, url } = await serverAnswering({ body, trailers });
    const client = await connectOtlp(url);
    const sending = client.send(Buffer.from('abc'));
    if (typeof want === 'string') await t.rejects(sending, { message: want }, name);
    else t.same(await sending, want, name);
    t.equal(Buffer.concat(received).toString('latin1'), '\0\0\0\0\x03abc', name);
    client.close();
    await new Promise((resolve) => server.close(resolve));
  }
});

t.test('failures are one line and a status', async (t) => {
  const run = (...args: string[]): Promise<{ code: number; stderr: string }> =>
    new Promise((resolve) => {
      execFile(process.execPath, ['cmd/tracegen/main.ts', ...args], (err, _stdout, stderr) => {
        resolve({ code: Number(err?.code ?? 0), stderr });
      });
    });
  const unreachable = await run('-otlp-endpoint', '127.0.0.1:1', '-otlp-insecure', '-duration', '1s');
  t.equal(unreachable.code, 1);
  t.match(unreachable.stderr, /^tracegen: cannot reach OTLP at http:\/\/127.0.0.1:1: .*ECONNREFUSED.*\n$/);
  const unknown = await run('-otlp-endpont', 'x');
  t.equal(unknown.code, 2);
  t.match(unknown.stderr, /unknown option/);
});
