// The HTTP server on a socket: how long queries may be, and how long it waits for clients.
import { connect, type AddressInfo } from 'node:net';
import t from 'tap';
import { rootBlock } from '../../src/app/config.ts';
import { createHttpServer } from '../../src/app/http-server.ts';
import { loadConfig } from '../../src/config/load.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;

t.test('the HTTP server: long queries, and clients that never read', async (t) => {
  const server = createHttpServer({
    config: {
      ...configOf('server: { http_server_write_timeout: 50ms, http_listen_address: 127.0.0.1 }').server,
      httpListenPort: 0,
    },
    httpApiPrefix: '',
    logger: silentLogger,
    metrics: new Metrics(),
    readiness: () => undefined,
  });
  server.app.get('/large', async () => Buffer.alloc(50_000_000));
  server.app.get('/echo', async (request) => String(request.url.length));
  await server.start();
  t.teardown(() => server.stop());
  const { port } = server.app.server.address() as AddressInfo;
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
  socket.write('GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await closed;
  t.ok((await open()) <= 1, 'its answer is not held for ever');
  socket.destroy();
});
