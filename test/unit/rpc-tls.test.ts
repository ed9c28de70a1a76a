// TLS of listeners: what is asked of clients, versions, files that change, and files that are wrong.
import { copyFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import tls, { type ConnectionOptions } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import type { ClientTls } from '../../src/rpc/client-tls.ts';
import { GrpcChannel } from '../../src/rpc/grpc-channel.ts';
import { openGrpcClient, type UnaryClient } from '../../src/rpc/grpc-client.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import { GrpcServer } from '../../src/rpc/grpc-server.ts';
import { ServerTls, type TlsSettings } from '../../src/rpc/tls.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { until } from '../support/hostile.ts';
import { AUTHORITY, certFile, identity } from '../support/certs.ts';
import { testFolder } from '../support/test-folder.ts';

const SETTINGS: TlsSettings = {
  name: 'server.grpc_tls_config',
  cert: { text: '', file: certFile('server') },
  key: { text: '', file: certFile('server', 'key') },
  clientCa: { text: '', file: '' },
  clientAuth: 'NoClientCert',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  cipherSuites: [],
  reloadMs: 0,
};
const CLIENT_CA = { text: AUTHORITY, file: '' };

async function start(t: Test, over: Partial<TlsSettings> = {}, logger = silentLogger) {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods: new GrpcMethods().unary('/a.B/Echo', async ({ message }) => Buffer.from(message)),
    recvMessageBytesMax: 1 << 20,
    logger,
    tls: new ServerTls({ ...SETTINGS, ...over }, logger),
  });
  const { port } = await server.start();
  t.teardown(() => server.stop(0));
  return port;
}

const same = (bytes: Buffer): Buffer => bytes;

/** The status of a call over TLS; UNAVAILABLE when the connection is refused. */
async function call(port: number, from?: { readonly cert: string; readonly key: string }): Promise<number> {
  const own = from === undefined ? [] : [Buffer.from(from.key), Buffer.from(from.cert)];
  const credentials = grpc.credentials.createSsl(Buffer.from(AUTHORITY), ...own);
  const client = new grpc.Client(`localhost:${port}`, credentials);
  try {
    return await new Promise((resolve) =>
      client.makeUnaryRequest('/a.B/Echo', same, same, Buffer.from('a'), (err) => resolve(err?.code ?? 0)),
    );
  } finally {
    client.close();
  }
}

/** Connects and tells the version, the cipher and the name of the server's certificate, or why not. */
function handshake(port: number, options: ConnectionOptions = {}): Promise<string> {
  return new Promise((resolve) => {
    const socket = tls.connect(
      { port, host: '127.0.0.1', ca: AUTHORITY, ALPNProtocols: ['h2'], ...options },
      () => {
        const subject = socket.getPeerX509Certificate()?.subject;
        resolve(`${socket.getProtocol()} ${socket.getCipher().name} ${subject}`);
        socket.destroy();
      },
    );
    socket.on('error', (err) => resolve(`refused: ${'code' in err ? String(err.code) : err.message}`));
  });
}

t.test('what is asked of clients', async (t) => {
  const known = identity('client');
  const strange = identity('strange-client');
  const cases = [
    { clientAuth: 'NoClientCert', clientCa: { text: '', file: '' }, none: 0, strange: 0, known: 0 },
    { clientAuth: 'RequestClientCert', clientCa: CLIENT_CA, none: 0, strange: 0, known: 0 },
    { clientAuth: 'RequireAnyClientCert', clientCa: CLIENT_CA, none: 14, strange: 0, known: 0 },
    { clientAuth: 'VerifyClientCertIfGiven', clientCa: CLIENT_CA, none: 0, strange: 14, known: 0 },
    { clientAuth: 'RequireAndVerifyClientCert', clientCa: CLIENT_CA, none: 14, strange: 14, known: 0 },
  ] as const;
  for (const { clientAuth, clientCa, ...want } of cases) {
    const port = await start(t, { clientAuth, clientCa });
    const got = {
      none: await call(port),
      strange: await call(port, strange),
      known: await call(port, known),
    };
    t.same(got, want, clientAuth);
  }
});

t.test('versions and cipher suites', async (t) => {
  const plain = await start(t);
  t.match(await handshake(plain), /^TLSv1.3 .* CN=server$/);
  t.match(await handshake(plain, { maxVersion: 'TLSv1.2' }), /^TLSv1.2/);
  const newest = await start(t, { minVersion: 'TLSv1.3' });
  t.match(await handshake(newest, { maxVersion: 'TLSv1.2' }), /^refused/);
  const older = await start(t, {
    maxVersion: 'TLSv1.2',
    cipherSuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'],
  });
  t.match(await handshake(older), /^TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384/);
  t.match(await handshake(older, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }), /^refused/);
});

t.test('new certificates are taken without a restart', async (t) => {
  const folder = testFolder(t);
  const cert = join(folder, 'cert.pem');
  const key = join(folder, 'key.pem');
  const use = (name: 'server' | 'server-2'): void => {
    copyFileSync(certFile(name), cert);
    copyFileSync(certFile(name, 'key'), key);
  };
  use('server');
  const told: string[] = [];
  const note = (msg: string): void => void told.push(msg);
  const logger = { ...silentLogger, info: note, warn: note };
  const files = { cert: { text: '', file: cert }, key: { text: '', file: key } };
  const older: Partial<TlsSettings> = {
    maxVersion: 'TLSv1.2',
    cipherSuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'],
  };
  const port = await start(t, { ...files, ...older, reloadMs: 20 }, logger);
  t.match(await handshake(port), /CN=server$/);
  const shown = async (name: string): Promise<void> => {
    while (!(await handshake(port)).endsWith(`CN=${name}`)) await new Promise(setImmediate);
    t.pass(`${name} is shown`);
  };
  use('server-2');
  await shown('server-2');
  t.match(await handshake(port), /^TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 /, 'version and cipher stay');
  t.match(await handshake(port, { minVersion: 'TLSv1.3' }), /^refused/);
  t.match(await handshake(port, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }), /^refused/);
  writeFileSync(key, 'half a k');
  while (!told.includes('certificate cannot be read again, the old one stays')) {
    await new Promise(setImmediate);
  }
  t.match(await handshake(port), /CN=server-2$/, 'the old one stays');
  use('server');
  await shown('server');
  t.ok(told.includes('certificate read again'));
});

t.test('HTTP without TLS is told so', async (t) => {
  const port = await start(t);
  const answerTo = (text: string): Promise<string> =>
    new Promise((resolve) => {
      let answer = '';
      const socket = connect(port, '127.0.0.1', () => socket.write(text));
      socket.on('data', (bytes) => (answer += bytes.toString()));
      socket.on('error', () => {});
      socket.on('close', () => resolve(answer));
    });
  t.equal(
    await answerTo('GET /ready HTTP/1.1\r\nhost: a\r\n\r\n'),
    'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n',
  );
  t.equal(await answerTo('neither of both, and long enough\r\n'), '');
  t.equal(await call(port), 0, 'others are served');
});

t.test('files that are wrong', async (t) => {
  const garbage = join(testFolder(t, { 'garbage.pem': 'nothing' }), 'garbage.pem');
  const cases: { name: string; over: Partial<TlsSettings>; want: RegExp }[] = [
    {
      name: 'no file',
      over: { cert: { text: '', file: '/none.pem' } },
      want: /^server\.grpc_tls_config: \/none\.pem cannot be read: ENOENT/,
    },
    { name: 'no key', over: { key: { text: '', file: '' } }, want: /needs a certificate and a key/ },
    {
      name: 'no certificate in it',
      over: { cert: { text: '', file: garbage } },
      want: /garbage\.pem holds no certificate/,
    },
    {
      name: 'the key of another',
      over: { key: { text: '', file: certFile('client', 'key') } },
      want: /client\.key and the certificate cannot be used: .*key values mismatch/,
    },
    {
      name: 'no authority in it',
      over: { clientAuth: 'RequireAndVerifyClientCert', clientCa: { text: '', file: garbage } },
      want: /garbage\.pem holds no certificate/,
    },
    {
      name: 'no authority',
      over: { clientAuth: 'RequireAndVerifyClientCert' },
      want: /RequireAndVerifyClientCert needs client authorities/,
    },
    { name: 'authorities for nothing', over: { clientCa: CLIENT_CA }, want: /asks for no certificate/ },
    {
      name: 'a suite that nobody knows',
      over: { cipherSuites: ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA25'] },
      want: /unknown cipher suite .*, did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\?/,
    },
  ];
  for (const { name, over, want } of cases) {
    t.throws(() => new ServerTls({ ...SETTINGS, ...over }, silentLogger), { message: want }, name);
  }
});

/** By either of the two clients that roles have. @returns the answer, or what failed. */
async function asked(address: string, tls: ClientTls, by: 'channel' | 'client'): Promise<string> {
  const client = await openClient(address, tls, by);
  try {
    return Buffer.from(await client.unary('/a.B/Echo', Buffer.from('hello'), {})).toString();
  } catch (err) {
    return textOf(err);
  } finally {
    client.close();
  }
}

async function openClient(address: string, tls: ClientTls, by: 'channel' | 'client'): Promise<UnaryClient> {
  const reconnectMs = { min: 10, max: 100 };
  const limits = { recvMessageBytesMax: 1 << 20, sendMessageBytesMax: 1 << 20, connectTimeoutMs: 5000 };
  return by === 'channel'
    ? new GrpcChannel({ address, tls, reconnectMs, ...limits })
    : await openGrpcClient({ address, tls, reconnectMs });
}

function textOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

t.test('clients of other roles', async (t) => {
  const mutual = { clientCa: CLIENT_CA, clientAuth: 'RequireAndVerifyClientCert' } as const;
  const port = await start(t, mutual);
  const { port: plainPort, close } = await plainServer();
  t.teardown(close);
  const name = 'some.block';
  const good: ClientTls = {
    name,
    caFile: certFile('authority'),
    certFile: certFile('client'),
    keyFile: certFile('client', 'key'),
  };
  const strange = { certFile: certFile('strange-client'), keyFile: certFile('strange-client', 'key') };
  const table: readonly (readonly [address: string, over: Partial<ClientTls>, want: string | RegExp])[] = [
    [`127.0.0.1:${port}`, {}, /^hello$/],
    [`localhost:${port}`, {}, /^hello$/],
    [`127.0.0.1:${port}`, { serverName: 'localhost' }, /^hello$/],
    [`localhost:${port}`, { serverName: '127.0.0.1' }, /^hello$/],
    [`localhost:${port}`, { serverName: '10.0.0.1' }, /some\.block\.tls_server_name must be a name/],
    [`127.0.0.1:${port}`, { caFile: certFile('stranger'), acceptsAny: true }, /^hello$/],
    [`127.0.0.1:${port}`, { serverName: 'other' }, /some\.block\.tls_server_name must be a name/],
    [`127.0.0.1:${port}`, { caFile: certFile('stranger') }, /some\.block\.tls_ca_path must hold/],
    [`127.0.0.1:${port}`, { caFile: '' }, /some\.block\.tls_ca_path must hold/],
    [`127.0.0.1:${port}`, { certFile: '', keyFile: '' }, /the certificate of some\.block\.tls_cert_path/],
    [`127.0.0.1:${port}`, strange, /the certificate of some\.block\.tls_cert_path/],
    [`127.0.0.1:${plainPort}`, {}, /some\.block\.tls_enabled/],
  ];
  for (const by of ['channel', 'client'] as const) {
    for (const [address, over, want] of table) {
      t.match(
        await asked(address, { ...good, ...over }, by),
        want,
        `${by} ${address} ${JSON.stringify(over)}`,
      );
    }
    await t.rejects(
      asked('x:1', { ...good, caFile: '/nowhere' }, by).then(refusal),
      /some\.block\.tls_ca_path: \/nowhere cannot be read/,
    );
  }
  for (const scheme of ['dns:', 'dns:///']) {
    t.equal(await asked(`${scheme}localhost:${port}`, good, 'client'), 'hello', scheme);
  }
});

t.test('clients say the name of the server, and no address', async (t) => {
  const { cert, key } = identity('server');
  const table: readonly (readonly [host: string, serverName: string, want: string | false])[] = [
    ['localhost', '', 'localhost'],
    ['127.0.0.1', '', false],
    ['127.0.0.1', 'localhost', 'localhost'],
    ['127.0.0.1', '127.0.0.1', false],
  ];
  for (const by of ['channel', 'client'] as const) {
    for (const [host, serverName, want] of table) {
      const names: unknown[] = [];
      // One for each, as clients try again.
      const server = tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, (socket) => {
        names.push(socket.servername);
        socket.destroy();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.teardown(() => new Promise((resolve) => void server.close(resolve)));
      const { port } = server.address() as AddressInfo;
      await asked(`${host}:${port}`, { caFile: certFile('authority'), serverName }, by);
      t.equal(names[0], want, `${by} ${host} ${serverName}`);
    }
  }
});

t.test('certificates are blamed for the end of a connection until there was an answer', async (t) => {
  const { cert, key } = identity('server');
  const { port: plainPort, close } = await plainServer();
  t.teardown(close);
  let ends = true;
  const open = new Set<Socket>();
  const server = tls.createServer({ cert, key, ALPNProtocols: ['h2'] }, (socket) => {
    socket.on('error', () => socket.destroy());
    if (ends) return void socket.destroy();
    open.add(socket);
    const inner = connect(plainPort, '127.0.0.1').on('error', () => socket.destroy());
    socket.pipe(inner).pipe(socket);
    socket.once('close', () => inner.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => void server.close(resolve)));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const name = 'some.block';
  const bare: ClientTls = { name, caFile: certFile('authority') };
  const shown = { ...bare, certFile: certFile('client'), keyFile: certFile('client', 'key') };
  for (const by of ['channel', 'client'] as const) {
    ends = true;
    const either = 'the peer ended the connection, or';
    const whose = `the certificate of ${name}.tls_cert_path`;
    t.match(await asked(address, shown, by), `${either} does not accept ${whose}`, by);
    t.match(await asked(address, bare, by), `${either} asks for ${whose}`, by);
    ends = false;
    const client = await openClient(address, shown, by);
    t.teardown(() => client.close());
    const ask = (path: string): Promise<string> =>
      client.unary(path, Buffer.from('hello'), {}).then((bytes) => Buffer.from(bytes).toString(), textOf);
    t.equal(await ask('/a.B/Fail'), `${address}: altnames`, 'what the server says itself');
    ends = true;
    for (const socket of open) socket.destroy();
    let told = '';
    await until(async () => (told = await ask('/a.B/Echo')) !== 'hello', 10_000, 20);
    for (let i = 0; i < 20; i++) {
      told = await ask('/a.B/Echo');
      t.notMatch(told, /tls_/, `${by} ${told}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
});

t.test('a server that resets connections before the handshake', async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    // As the client is about to begin.
    setTimeout(() => socket.resetAndDestroy(), connections++ % 4);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => void server.close(resolve)));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tls = { caFile: certFile('authority') };
  for (const by of ['channel', 'client'] as const) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => asked(address, tls, by)));
    t.ok(
      answers.every((answer) => answer.startsWith(address)),
      answers[0],
    );
  }
});

/** As a rejection: one of the clients reads its files at once, the other with its first call. */
function refusal(text: string): never {
  throw new Error(text);
}

t.test('new certificates of clients are taken with the next connection', async (t) => {
  const port = await start(t, { clientCa: CLIENT_CA, clientAuth: 'RequireAndVerifyClientCert' });
  const folder = testFolder(t);
  const tls = {
    caFile: certFile('authority'),
    certFile: join(folder, 'c.pem'),
    keyFile: join(folder, 'c.key'),
  };
  const use = (who: 'client' | 'strange-client'): void => {
    copyFileSync(certFile(who), tls.certFile);
    copyFileSync(certFile(who, 'key'), tls.keyFile);
  };
  use('strange-client');
  const client = await openGrpcClient({
    address: `127.0.0.1:${port}`,
    tls,
    reconnectMs: { min: 10, max: 50 },
  });
  t.teardown(() => client.close());
  const ask = (): Promise<Uint8Array> => client.unary('/a.B/Echo', Buffer.from('a'), {});
  await t.rejects(ask(), { code: 'unavailable' });
  use('client');
  const isAnswered = (): Promise<boolean> => ask().then(Boolean, () => false);
  t.ok(await until(isAnswered, 10_000, 20));
});

async function plainServer(): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const server = new GrpcServer({
    address: { host: '127.0.0.1', port: 0 },
    methods: new GrpcMethods()
      .unary('/a.B/Echo', async ({ message }) => Buffer.from(message))
      .unary('/a.B/Fail', async () => {
        throw new TempoError('unprocessable', 'altnames');
      }),
    recvMessageBytesMax: 1 << 20,
    logger: silentLogger,
  });
  const { port } = await server.start();
  return { port, close: () => server.stop(0) };
}
