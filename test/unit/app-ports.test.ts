// The ports of the server blocks on sockets: TLS, who may ask, the internal server, prefixes, limits, times.
import http2 from 'node:http2';
import https from 'node:https';
import http, { type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import type { FastifyRequest } from 'fastify';
import t, { type Test } from 'tap';
import { rootBlock } from '../../src/app/config.ts';
import { checkConfig } from '../../src/app/check.ts';
import { HostGuard } from '../../src/app/host-guard.ts';
import type { StopTimes } from '../../src/app/http-listener.ts';
import { createServers } from '../../src/app/servers.ts';
import { loadConfig } from '../../src/config/load.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { AUTHORITY, certFile, identity } from '../support/certs.ts';

const same = (bytes: Buffer): Buffer => bytes;
const HTTP2_BEGINNING = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0';
/** Type, flags and stream of the frame. */
const GOAWAY_HEAD = Buffer.from([7, 0, 0, 0, 0, 0]);
const configOf = (text: string) => loadConfig(rootBlock, { file: { name: 'tempo.yaml', text } }).config;

interface Lines {
  readonly port: number;
  readonly grpcPort: number;
  readonly internalPort: number;
}

/** Starts what the server blocks say, on free ports of loopback. */
async function start(t: Test, yaml: string, stopTimes?: StopTimes) {
  const { server, internalServer, ...rest } = configOf(yaml);
  const here = { httpListenAddress: '127.0.0.1', httpListenPort: 0, grpcListenAddress: '127.0.0.1' };
  const lines: string[] = [];
  const logger = createLogger({
    level: server.logLevel,
    format: 'logfmt',
    write: (line) => void lines.push(line),
  });
  const metrics = new Metrics();
  const { http: main, service } = createServers({
    config: {
      ...rest,
      server: { ...server, ...here, grpcListenPort: 0 },
      internalServer: { ...internalServer, ...here },
    },
    grpcMethods: new GrpcMethods()
      .unary('/a.B/Echo', async ({ message }) => Buffer.from(message))
      .duplex('/a.B/Inner', async () => undefined, { isInternal: true }),
    logger,
    metrics,
    readiness: () => undefined,
    isServing: () => true,
    ...(stopTimes === undefined ? {} : { stopTimes }),
  });
  for (const path of ['/flush', '/shutdown', '/ingester/shutdown', '/api/search']) {
    main.app.all(path, async () => 'done');
  }
  main.app.all('/length', async (request) => String((request.body as Buffer).length));
  await service.start();
  t.teardown(() => service.stop());
  const portOf = (msg: string): number => {
    const line = lines.find((each) => each.includes(`msg="${msg}"`)) ?? '';
    return Number(/ port=(\d+)/.exec(line)?.[1]);
  };
  const ports: Lines = {
    port: (main.app.server.address() as AddressInfo).port,
    grpcPort: portOf('grpc server listens'),
    internalPort: portOf('internal server listens'),
  };
  return { ...ports, lines, metrics, service };
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: IncomingHttpHeaders;
}

/** One request on a connection of its own. */
function ask(url: string, options: https.RequestOptions = {}): Promise<Answer> {
  const { request } = url.startsWith('https') ? https : http;
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false, ca: AUTHORITY, ...options }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          headers: answer.headers,
        }),
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

function statusOverHttp2(
  url: string,
  options: http2.SecureClientSessionOptions,
  headers: http2.OutgoingHttpHeaders,
): Promise<unknown> {
  const session = http2.connect(url, options);
  return new Promise((resolve, reject) => {
    session.on('error', reject);
    const stream = session.request(headers);
    stream.on('response', (answer) => resolve(answer[':status']));
    stream.on('error', reject);
    stream.resume();
    stream.on('close', () => session.close());
  });
}

/** The status of a gRPC call, with or without TLS. */
async function call(port: number, credentials: grpc.ChannelCredentials): Promise<number> {
  const client = new grpc.Client(`localhost:${port}`, credentials);
  try {
    return await new Promise((resolve) =>
      client.makeUnaryRequest('/a.B/Echo', same, same, Buffer.from('a'), (err) => resolve(err?.code ?? 0)),
    );
  } finally {
    client.close();
  }
}

t.test('what is for processes of this program is not on the HTTP port', async (t) => {
  const { port, grpcPort } = await start(t, 'stream_over_http_enabled: true');
  const statusOf = async (at: number, path: string): Promise<grpc.StatusObject> => {
    const client = new grpc.Client(`127.0.0.1:${at}`, grpc.credentials.createInsecure());
    t.teardown(() => client.close());
    const inner = client.makeBidiStreamRequest(path, same, same);
    inner.on('error', () => undefined).resume();
    inner.end();
    return new Promise((resolve) => inner.on('status', resolve));
  };
  t.match(await statusOf(grpcPort, '/a.B/Inner'), { code: 0 });
  const refused = { code: 12, details: 'method /a.B/Inner is served on the gRPC port only' };
  t.match(await statusOf(port, '/a.B/Inner'), refused);
  t.equal(await call(port, grpc.credentials.createInsecure()), 0, 'all else is');
});

const tlsBlock = (name: string): string =>
  `${name}: { cert_file: ${certFile('server')}, key_file: ${certFile('server', 'key')},
     client_ca_file: ${certFile('authority')}, client_auth_type: RequireAndVerifyClientCert }`;

t.test('TLS on every port', async (t) => {
  const { port, grpcPort, internalPort } = await start(
    t,
    `server: { ${tlsBlock('http_tls_config')}, ${tlsBlock('grpc_tls_config')}, tls_min_version: VersionTLS13 }
internal_server:
  enable: true
  http_tls_config: { cert_file: ${certFile('server')}, key_file: ${certFile('server', 'key')} }
stream_over_http_enabled: true`,
  );
  const own = identity('client');
  t.equal((await ask(`https://localhost:${port}/ready`, own)).text, 'ready\n', 'HTTP/1.1');
  t.equal(
    await statusOverHttp2(`https://localhost:${port}`, { ca: AUTHORITY, ...own }, { ':path': '/ready' }),
    200,
    'HTTP/2',
  );
  const credentials = grpc.credentials.createSsl(
    Buffer.from(AUTHORITY),
    Buffer.from(own.key),
    Buffer.from(own.cert),
  );
  t.equal(await call(port, credentials), 0, 'gRPC on the HTTP port');
  t.equal(await call(grpcPort, credentials), 0, 'gRPC on its port');
  t.equal(await call(grpcPort, grpc.credentials.createInsecure()), 14);
  await t.rejects(ask(`https://localhost:${port}/ready`), 'not without a certificate');
  await t.rejects(ask(`https://localhost:${port}/ready`, { ...own, maxVersion: 'TLSv1.2' }));
  t.equal((await ask(`http://localhost:${port}/ready`)).status, 400, 'not without TLS');
  t.equal((await ask(`https://localhost:${internalPort}/ready`)).status, 200, 'probes need none');
});

t.test('settings that cannot work, and those that have no effect', (t) => {
  const { problems, warnings } = checkConfig(
    configOf(`server: { tls_min_version: TLS12, http_listen_network: udp, grpc_listen_port: 70000,
      log_source_ips_regex: '(', proxy_protocol_enabled: true }
internal_server: { tls_min_version: TLS12 }
distributor: { receivers: { otlp: { protocols: { grpc: { transport: unix, endpoint: nowhere } } } } }`),
  );
  const told = problems.map(({ path, text }) => `${path}: ${text}`).join('\n');
  t.match(told, /^server\.tls_min_version: is "TLS12", must be one of VersionTLS10, /m);
  t.match(told, /^server\.http_listen_network: is "udp", must be one of tcp, tcp4, tcp6$/m);
  t.match(told, /^server\.grpc_listen_port: is 70000, no port$/m);
  t.match(told, /^server\.log_source_ips_regex: is no regular expression$/m);
  t.match(told, /protocols\.grpc\.transport: is unix/);
  t.match(told, /protocols\.grpc\.endpoint: endpoint "nowhere" is not host:port/);
  t.notMatch(told, /internal_server/, 'which is off');
  t.match(warnings, [{ path: 'server.proxy_protocol_enabled', text: 'has no effect' }]);
  t.end();
});

t.test('ports on which two listeners would meet', (t) => {
  const otlp = (text: string): string => `distributor: { receivers: { otlp: { protocols: { ${text} } } } }`;
  const GRPC = 'distributor.receivers.otlp.protocols.grpc.endpoint';
  const HTTP = 'distributor.receivers.otlp.protocols.http.endpoint';
  const onLoopback = 'http_listen_port: 9095, http_listen_address: 127.0.0.1';
  const GOSSIP = 'ingester: { lifecycler: { ring: { kvstore: { store: memberlist } } } }';
  const table: readonly { readonly input: string; readonly want?: readonly [string, string] }[] = [
    { input: '' },
    {
      input: 'server: { http_listen_port: 9095 }',
      want: ['server.grpc_listen_port', 'server.http_listen_port'],
    },
    { input: 'server: { http_listen_port: 0, grpc_listen_port: 0 }' },
    {
      input: `server: { ${onLoopback}, grpc_listen_address: 127.0.0.2 }`,
    },
    {
      input: `server: { ${onLoopback}, grpc_listen_address: localhost }`,
      want: ['server.grpc_listen_port', 'server.http_listen_port'],
    },
    {
      input: `server: { ${onLoopback}, grpc_listen_address: '::1' }`,
    },
    { input: `server: { http_listen_port: 9095, http_listen_network: tcp4, grpc_listen_network: tcp6 }` },
    {
      input: `server: { http_listen_port: 9095, http_listen_address: 0.0.0.0, grpc_listen_address: '::' }`,
      want: ['server.grpc_listen_port', 'server.http_listen_port'],
    },
    { input: 'internal_server: { http_listen_port: 3200 }' },
    {
      input: 'internal_server: { enable: true, http_listen_port: 3200 }',
      want: ['internal_server.http_listen_port', 'server.http_listen_port'],
    },
    { input: otlp(`grpc: { endpoint: 'tempo:3200' }`), want: [GRPC, 'server.http_listen_port'] },
    { input: otlp(`grpc: { endpoint: 'tempo:4317' }, http: { endpoint: 'other:4317' }`) },
    { input: otlp(`grpc: { endpoint: ':4317' }, http: { endpoint: '[::1]:4317' }`), want: [HTTP, GRPC] },
    { input: `target: query-frontend\n${otlp(`grpc: { endpoint: ':3200' }`)}` },
    { input: `memberlist: { bind_port: 3200 }\n${GOSSIP}` },
    {
      input: `target: ingester\nmemberlist: { bind_port: 3200 }\n${GOSSIP}`,
      want: ['memberlist.bind_port', 'server.http_listen_port'],
    },
  ];
  const LOCAL = 'storage: {trace: {backend: local, local: {path: /b}, wal: {path: /w}}}\n';
  for (const { input, want } of table) {
    const { problems } = checkConfig(configOf(LOCAL + input));
    t.equal(problems.length, want === undefined ? 0 : 1, input);
    const [path, other] = want ?? [];
    t.equal(problems[0]?.path, path, input);
    if (other !== undefined) t.match(problems[0]?.text, new RegExp(`^port \\d+ is that of ${other} too$`));
  }
  t.end();
});

t.test('codes of calls as labels', async (t) => {
  const insecure = grpc.credentials.createInsecure();
  for (const [yaml, label] of [
    ['', 'success'],
    ['server: { report_grpc_codes_in_instrumentation_label_enabled: true }', 'OK'],
  ] as const) {
    const { grpcPort, metrics } = await start(t, yaml);
    t.equal(await call(grpcPort, insecure), 0);
    t.match(await metrics.text(), `route="/a.B/Echo",status_code="${label}"`);
  }
});

t.test('who may ask on a loopback address', async (t) => {
  const { port } = await start(t, 'server: { http_allowed_hosts: [tempo.test] }');
  const url = `http://127.0.0.1:${port}/api/search`;
  const cases: [string, Record<string, string>, number][] = [
    ['an address', { host: `127.0.0.1:${port}` }, 200],
    ['another address', { host: '[::1]:3200' }, 200],
    ['localhost', { host: 'LocalHost.:3200' }, 200],
    ['a name below it', { host: 'tempo.localhost' }, 200],
    ['the host of containers', { host: 'host.docker.internal:3200' }, 200],
    ['an allowed name', { host: 'Tempo.test:3200' }, 200],
    ['a name made to mean this address', { host: 'evil.example:3200' }, 403],
    ['a name that begins like localhost', { host: 'localhost.evil.example' }, 403],
    ['the same origin', { host: `localhost:${port}`, origin: `http://localhost:${port}` }, 200],
    ['another port', { host: `localhost:${port}`, origin: 'http://127.0.0.1:3000' }, 200],
    ['a page of an allowed name', { origin: 'https://tempo.test' }, 200],
    ['a page of another site', { origin: 'https://evil.example' }, 403],
    ['a page of another address', { origin: 'http://192.0.2.1' }, 403],
    ['a page without a site', { origin: 'null' }, 403],
    ['an extension', { origin: 'chrome-extension://abc' }, 403],
  ];
  for (const [name, headers, status] of cases) t.equal((await ask(url, { headers })).status, status, name);
  const told = await ask(url, { headers: { host: 'evil.example' } });
  t.equal(told.text, 'host "evil.example" is refused on a loopback address, see server.http_allowed_hosts\n');
  const http2Status = (authority: string): Promise<unknown> =>
    statusOverHttp2(`http://127.0.0.1:${port}`, {}, { ':path': '/api/search', ':authority': authority });
  t.equal(await http2Status('evil.example'), 403, 'HTTP/2 too');
  t.equal(await http2Status('localhost'), 200);

  const open = new HostGuard({ httpListenAddress: '', httpAllowedHosts: [] });
  for (const [address, refused] of [
    ['::', false],
    ['0.0.0.0', false],
    ['192.0.2.7', false],
    ['::1', true],
    ['127.0.0.2', true],
    ['::ffff:127.0.0.1', true],
  ] as const) {
    open.bound(address);
    for (const host of ['evil.example', '', 'a:b:c']) {
      t.equal(open.refusal(host, undefined) !== undefined, refused, `bound to ${address}: ${host}`);
    }
    t.equal(open.refusal(undefined, undefined), undefined, 'HTTP/1.0 needs no host');
  }
});

t.test('pages of other sites change nothing', async (t) => {
  const { port } = await start(t, '');
  const status = async (path: string, site?: string, method = 'GET'): Promise<number> =>
    (
      await ask(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: site === undefined ? {} : { 'sec-fetch-site': site },
      })
    ).status;
  for (const path of ['/flush', '/shutdown', '/ingester/shutdown']) {
    t.equal(await status(path, 'cross-site'), 403, path);
    t.equal(await status(path, 'same-site'), 403, path);
    for (const site of ['same-origin', 'none', undefined])
      t.equal(await status(path, site), 200, `${path} ${site}`);
  }
  t.equal(await status('/api/search', 'cross-site'), 200, 'reading is no change');
  t.equal(await status('/api/search', 'cross-site', 'POST'), 403);
});

t.test('pages of other sites change nothing where browsers do not say so', async (t) => {
  const { port } = await start(t, 'server: { http_allowed_hosts: [Tempo.Test] }');
  const own = `localhost:${port}`;
  const cases: readonly [string, Readonly<Record<string, string>>, boolean][] = [
    ['a program', {}, true],
    ['a form of our own page', { origin: `http://${own}`, referer: `http://${own}/ingester/ring` }, true],
    ['an address of our own page', { host: `[::1]:${port}`, origin: `http://[::1]:${port}` }, true],
    ['in other letters', { host: `LOCALHOST.:${port}`, origin: `http://${own}` }, true],
    ['the usual port, named', { host: 'localhost:80', origin: 'http://localhost' }, true],
    ['the usual port of TLS, named', { host: 'localhost:443', origin: 'https://localhost' }, true],
    ['a proxy that leaves out the port', { host: 'localhost', origin: 'http://localhost:8080' }, true],
    [
      'a proxy that names the host',
      { 'x-forwarded-host': 'inner, localhost:8080', origin: 'http://localhost:8080' },
      true,
    ],
    ['a name that is allowed', { origin: 'https://tempo.test:8443' }, true],
    [
      'a proxy, and the browser says it',
      { 'sec-fetch-site': 'same-origin', referer: 'http://b.test/' },
      true,
    ],
    ['a page on another port', { origin: 'http://localhost:3000' }, false],
    ['a page of another scheme', { host: 'localhost:80', origin: 'https://localhost' }, false],
    ['a page without a site', { origin: 'null' }, false],
    ['an extension', { origin: 'chrome-extension://localhost' }, false],
    ['no page at all', { origin: '' }, false],
    ['only a referrer', { referer: 'http://evil.example/page' }, false],
    ['a referrer on another port', { referer: 'http://localhost:3000/' }, false],
    ['a referrer that is none', { referer: '/page' }, false],
    ['a user in the name', { referer: `http://${own}@evil.example/` }, false],
    ['our own referrer', { referer: `http://${own}/ready` }, true],
    ['another proxy', { 'x-forwarded-host': 'localhost:8080', origin: 'http://localhost:8081' }, false],
  ];
  for (const [name, given, isDone] of cases) {
    const headers = { host: own, ...given };
    for (const [method, path] of [
      ['GET', '/flush'],
      ['POST', '/shutdown'],
      ['DELETE', '/api/search'],
    ] as const) {
      const { status } = await ask(`http://127.0.0.1:${port}${path}`, { method, headers });
      t.equal(status, isDone ? 200 : 403, `${name}: ${method} ${path}`);
    }
  }
  const read = await ask(`http://127.0.0.1:${port}/api/search`, { headers: { referer: 'http://b.test/' } });
  t.equal(read.status, 200, 'a link to what is read');
  const told = await ask(`http://127.0.0.1:${port}/flush`, { headers: { referer: 'http://b.test/' } });
  t.equal(told.text, 'GET /flush changes state and is refused to pages of other sites (Referer)\n');

  const open = new HostGuard({ httpListenAddress: '10.0.0.7', httpAllowedHosts: [] });
  open.bound('10.0.0.7');
  const refusal = (headers: IncomingHttpHeaders): string | undefined =>
    open.pageRefusal({ method: 'POST', routeOptions: { url: '/flush' }, headers } as FastifyRequest);
  t.match(
    refusal({ host: '10.0.0.7:3200', origin: 'http://evil.example' }),
    /refused/,
    'no loopback address',
  );
  t.match(refusal({ host: '10.0.0.7:3200', origin: 'http://10.0.0.7:3000' }), /refused/, 'its neighbour');
  t.match(refusal({ origin: 'http://10.0.0.7:3200' }), /refused/, 'of no host');
  t.equal(refusal({ ':authority': '10.0.0.7:3200', origin: 'http://10.0.0.7:3200' }), undefined, 'HTTP/2');
  t.equal(refusal({ host: '10.0.0.7:3200' }), undefined);
});

t.test('the internal server, and profiles', async (t) => {
  const { port, internalPort, service } = await start(
    t,
    'internal_server: { enable: true, enable_profiles: true }',
  );
  const internal = `http://127.0.0.1:${internalPort}`;
  t.equal((await ask(`${internal}/ready`)).text, 'ready\n');
  t.match((await ask(`${internal}/metrics`)).text, /tempo_tcp_connections\{protocol="http"\} \d/);
  t.equal((await ask(`${internal}/api/search`)).status, 404, 'and nothing else');
  const elsewhere = await ask(`http://127.0.0.1:${port}/debug/pprof/heap`);
  t.match(elsewhere, { status: 404, text: /internal_server\.enable_profiles/ });

  const [profile, second] = await Promise.all([
    ask(`${internal}/debug/pprof/profile?seconds=0.2`),
    ask(`${internal}/debug/pprof/profile?seconds=0.2`),
  ]);
  t.same(
    [profile.status, second.status].toSorted((a, b) => a - b),
    [200, 429],
    'one at a time',
  );
  const { nodes } = JSON.parse(profile.status === 200 ? profile.text : second.text) as { nodes: unknown[] };
  t.ok(nodes.length > 0);
  for (const seconds of ['0', '-1', 'x', '301']) {
    t.equal((await ask(`${internal}/debug/pprof/profile?seconds=${seconds}`)).status, 400, seconds);
  }
  const heap = await ask(`${internal}/debug/pprof/heap`);
  t.match(heap.headers['content-disposition'], /tempo\.heapsnapshot/);
  t.match(heap.text.slice(0, 20), /^\{"snapshot":/);
  await service.stop();

  const plain = await start(t, 'internal_server: { enable: true }');
  t.equal(
    (await ask(`http://127.0.0.1:${plain.internalPort}/debug/pprof/heap`)).status,
    404,
    'off by default',
  );
  const off = await start(t, 'server: { register_instrumentation: false }');
  t.equal((await ask(`http://127.0.0.1:${off.port}/metrics`)).status, 404);
  t.ok(Number.isNaN(off.internalPort), 'no internal server unless it is enabled');
});

t.test('a prefix of all paths', async (t) => {
  const { port } = await start(t, 'server: { http_path_prefix: /tempo/ }\nhttp_api_prefix: /api-of-tempo');
  const status = async (path: string): Promise<number> =>
    (await ask(`http://127.0.0.1:${port}${path}`)).status;
  t.equal(await status('/tempo/ready'), 200);
  t.equal(await status('/tempo/api-of-tempo/api/echo?a'), 200);
  for (const path of ['/ready', '/', '/tempo', '/temporary/ready', '/tempo/api/echo']) {
    t.equal(await status(path), 404, path);
  }
  const { port: other } = await start(t, 'http_api_prefix: /of-tempo/');
  t.equal((await ask(`http://127.0.0.1:${other}/of-tempo/api/echo`)).status, 200, 'a slash at the end');
});

function open(port: number, text = ''): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket));
    socket.on('error', () => {});
    socket.write(text);
  });
}

function ended(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (data) => (text += String(data)));
  return new Promise((resolve) => socket.on('close', () => resolve(text)));
}

t.test('limits and times of connections', async (t) => {
  const yaml = `server: { http_listen_conn_limit: 5,
    grpc_listen_conn_limit: 2, http_server_read_timeout: 300ms,
    http_server_read_header_timeout: 200ms, http_server_idle_timeout: 300ms,
    grpc_server_max_connection_idle: 300ms }`;
  const { port, grpcPort, metrics } = await start(t, yaml);
  await t.test('requests that do not come to their end', async (t) => {
    const head = 'POST /length HTTP/1.1\r\nHost: localhost\r\n';
    const slow = [
      `${head}X: `,
      `${head}Content-Length: 1000\r\n\r\nab`,
      `${head}Transfer-Encoding: chunked\r\n\r\n1000\r\nab`,
    ];
    for (const text of slow) {
      const socket = await open(port, text);
      const drip = setInterval(() => socket.write('a'), 20);
      t.match(await ended(socket), /^HTTP\/1.1 408 Request Timeout/);
      clearInterval(drip);
    }
  });
  await t.test('requests that begin as HTTP/2 does, in pieces', async (t) => {
    const socket = await open(port, 'P');
    const answer = ended(socket);
    await ask(`http://127.0.0.1:${port}/ready`); // what came before is read by then
    socket.write('OST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab');
    t.match(await answer, /^HTTP\/1.1 200 OK[^]*\r\n2$/);
  });
  await t.test('idle connections', async (t) => {
    const socket = await open(port, 'GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n');
    t.match(await ended(socket), /ready/, 'HTTP/1.1');
    for (const each of [port, grpcPort]) {
      const session = http2.connect(`http://127.0.0.1:${each}`);
      session.on('error', () => {});
      await new Promise<void>((resolve) => session.on('close', () => resolve()));
      t.pass('HTTP/2');
    }
  });
  await t.test('more connections than there may be', async (t) => {
    const limited = await start(t, 'server: { http_listen_conn_limit: 2, grpc_listen_conn_limit: 1 }');
    for (const [each, limit] of [
      [limited.port, 2],
      [limited.grpcPort, 1],
    ] as const) {
      const kept = [];
      for (let i = 0; i < limit; i++) kept.push(await open(each));
      const last = await open(each);
      t.equal(await ended(last), '', 'the last one is closed');
      for (const socket of kept) socket.destroy();
    }
    const text = await limited.metrics.text();
    t.match(text, 'tempo_tcp_connections_limit{protocol="http"} 2');
    t.match(text, 'tempo_tcp_connections_limit{protocol="grpc"} 1');
  });
  const count = async (): Promise<string> =>
    /tempo_tcp_connections\{protocol="http"\} (\d+)/.exec(await metrics.text())?.[1] ?? '';
  while ((await count()) !== '0') await new Promise(setImmediate);
  t.pass('connections are counted off');
});

t.test('the log of requests', async (t) => {
  const { port, lines } = await start(
    t,
    `server: { log_request_at_info_level_enabled: true, log_request_headers: true,
      log_source_ips_enabled: true,
      log_request_exclude_headers_list: 'x-token, x-other' }`,
  );
  const headers = {
    'x-token': 'secret-1',
    authorization: 'secret-2',
    cookie: 'secret-3',
    'x-scope-orgid': 'a',
    'x-forwarded-for': '192.0.2.1, 192.0.2.2',
  };
  await ask(`http://127.0.0.1:${port}/api/search?q=%7B%7D`, { headers });
  await ask(`http://127.0.0.1:${port}/ready`);
  while (!lines.some((each) => each.includes('http request'))) await new Promise(setImmediate);
  const logged = lines.filter((each) => each.includes('http request'));
  t.equal(logged.length, 1, 'probes are not logged at this level');
  t.match(logged[0], /url="?\/api\/search\?q=%7B%7D"? status=200 duration_ms=\d+/);
  t.match(logged[0], /source_ips="192\.0\.2\.1, 127\.0\.0\.1"/);
  t.match(logged[0], /x-scope-orgid/);
  t.notMatch(logged[0], /secret/);
  const long = 'a'.repeat(100_000);
  await ask(`http://127.0.0.1:${port}/api/search?q=${long}`, {
    headers: { 'x-long': long, 'x-forwarded-for': long },
  });
  const last = (): string => lines.findLast((each) => each.includes('http request')) ?? '';
  while (!last().includes('x-long')) await new Promise(setImmediate);
  t.ok(last().length < 20_000, 'long texts are shortened');
});

async function untilRefused(port: number): Promise<void> {
  for (let isOpen = true; isOpen; ) {
    isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  }
}

t.test('whoever has just connected is answered, though the server stops', async (t) => {
  const { port, service } = await start(t, '', { beginMs: 15_000, graceMs: 20_000 });
  const open = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket));
    });
  const beginnings = ['GET /ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n', HTTP2_BEGINNING];
  const sockets = await Promise.all([...beginnings, ...beginnings].map(open));
  const sinceMs = performance.now();
  const stopped = service.stop();
  const closed = untilRefused(port);
  const first = await Promise.all(
    sockets.map(async (socket, i) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      const ended = new Promise((resolve, reject) => socket.once('close', resolve).once('error', reject));
      // The second two are slower.
      if (i > 1) await closed;
      socket.write(beginnings[i % 2]!);
      await ended;
      return Buffer.concat(chunks);
    }),
  );
  for (const [i, bytes] of first.entries()) {
    if (i % 2 === 0) t.match(bytes.toString(), /^HTTP\/1.1 (200|503) /);
    else t.ok(bytes.includes(GOAWAY_HEAD), 'is told to go');
  }
  await stopped;
  const tookMs = Math.round(performance.now() - sinceMs);
  t.ok(tookMs < 10_000, `nobody is waited for: ${tookMs} ms`);
});

t.test('connections that say nothing do not hold the stop up', async (t) => {
  for (const beginning of ['', 'PRI * H']) {
    const { port, grpcPort, service } = await start(t, 'server: { graceful_shutdown_timeout: 20ms }');
    const open = [port, grpcPort].map((each) => connect(each, '127.0.0.1'));
    for (const socket of open) {
      socket.on('error', () => {}).resume();
      await new Promise<void>((resolve) => socket.on('connect', resolve));
      if (beginning !== '') socket.write(beginning);
    }
    await ask(`http://127.0.0.1:${port}/ready`);
    await service.stop();
    t.pass(JSON.stringify(beginning));
    for (const socket of open) socket.destroy();
  }
});
