// The TLS keys of a cache as Node takes them.
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { CacheTlsSettings } from './settings.ts';

export function tlsOptions(tls: CacheTlsSettings): ConnectionOptions {
  const file = (path: string): string | undefined => (path === '' ? undefined : readFileSync(path, 'utf8'));
  const options = {
    cert: file(tls.certPath),
    key: file(tls.keyPath),
    ca: file(tls.caPath),
    servername: tls.serverName || undefined,
    ciphers: tls.ciphers || undefined,
    minVersion: tls.minVersion || undefined,
    rejectUnauthorized: !tls.skipVerify,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
