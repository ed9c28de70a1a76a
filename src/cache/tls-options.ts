// The TLS keys of a client, of a cache or of an object store, and what Node makes of them.
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { serverIdentity } from './server-identity.ts';

export interface TlsClientSettings {
  /** Files, '' = none. */
  readonly certPath: string;
  readonly keyPath: string;
  /** '' = the authorities of the system. */
  readonly caPath: string;
  /** '' = the host that is asked. */
  readonly serverName: string;
  readonly skipVerify: boolean;
  /** OpenSSL's names, '' = the usual ones. */
  readonly ciphers: string;
  readonly minVersion: '' | 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';
}

export function tlsOptions(tls: TlsClientSettings): ConnectionOptions {
  const file = (path: string): string | undefined => (path === '' ? undefined : readFileSync(path, 'utf8'));
  const options = {
    cert: file(tls.certPath),
    key: file(tls.keyPath),
    ca: file(tls.caPath),
    ...(tls.serverName === '' ? {} : serverIdentity(tls.serverName)),
    ciphers: tls.ciphers || undefined,
    minVersion: tls.minVersion || undefined,
    rejectUnauthorized: !tls.skipVerify,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
