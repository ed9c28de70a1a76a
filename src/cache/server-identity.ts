// The name that a certificate of a server must have, as node:tls takes it.
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

/** An address is no name that a handshake may say, and certificates may have it all the same. */
export function serverIdentity(name: string): Pick<ConnectionOptions, 'servername' | 'checkServerIdentity'> {
  if (isIP(name) === 0) return { servername: name };
  return {
    checkServerIdentity: (_host, cert) =>
      process.getBuiltinModule('node:tls').checkServerIdentity(name, cert),
  };
}
