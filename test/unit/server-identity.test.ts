// Names that certificates of servers must have, for clients that are given files.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import t from 'tap';
import { tlsOptions } from '../../src/cache/tls-options.ts';
import { certFile, identity } from '../support/certs.ts';

const TLS = { certPath: '', keyPath: '', skipVerify: false, ciphers: '', minVersion: '' } as const;

t.test('the name of a server may be an address of its certificate', async (t) => {
  const server = tls.createServer(identity('server'), (socket) => socket.end('hello'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const asked = async (serverName: string): Promise<string> => {
    const options = tlsOptions({ ...TLS, caPath: certFile('authority'), serverName });
    const socket = tls.connect({ host: '127.0.0.1', port, ...options });
    try {
      await once(socket, 'secureConnect');
      return 'taken';
    } catch (err) {
      return (err as { code?: string }).code ?? String(err);
    } finally {
      socket.destroy();
    }
  };
  for (const [name, want] of [
    ['', 'taken'],
    ['localhost', 'taken'],
    ['127.0.0.1', 'taken'],
    ['10.0.0.1', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['other.example', 'ERR_TLS_CERT_ALTNAME_INVALID'],
  ] as const) {
    t.equal(await asked(name), want, name);
  }
});
