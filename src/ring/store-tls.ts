// TLS of rings' stores: the files that `tls_*` keys name, read at start.
import { readFileSync } from 'node:fs';
import type { SecureVersion } from 'node:tls';
import { TempoError } from '../lib/errors.ts';

/** The keys, as every block with TLS has them. */
export interface TlsConfig {
  readonly tlsEnabled: boolean;
  readonly tlsCertPath: string;
  readonly tlsKeyPath: string;
  readonly tlsCaPath: string;
  readonly tlsServerName: string;
  readonly tlsInsecureSkipVerify: boolean;
  readonly tlsCipherSuites: string;
  readonly tlsMinVersion: string;
}

/** As node:tls and gRPC take it. */
export interface StoreTls {
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  readonly ca: Buffer | undefined;
  readonly serverName: string;
  readonly acceptsAny: boolean;
  readonly minVersion: SecureVersion;
}

const VERSIONS: Readonly<Record<string, SecureVersion>> = {
  VersionTLS10: 'TLSv1',
  VersionTLS11: 'TLSv1.1',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
};

/** undefined = plain text. Throws TempoError when a file cannot be read. @param block names it in errors. */
export function storeTls(block: string, config: TlsConfig): StoreTls | undefined {
  if (!config.tlsEnabled) return undefined;
  const read = (key: string, file: string): Buffer | undefined => {
    if (file === '') return undefined;
    try {
      return readFileSync(file);
    } catch (err) {
      throw new TempoError('invalid_argument', `${block}.${key}: ${file} cannot be read`, err);
    }
  };
  return {
    cert: read('tls_cert_path', config.tlsCertPath),
    key: read('tls_key_path', config.tlsKeyPath),
    ca: read('tls_ca_path', config.tlsCaPath),
    serverName: config.tlsServerName,
    acceptsAny: config.tlsInsecureSkipVerify,
    minVersion: VERSIONS[config.tlsMinVersion] ?? 'TLSv1.2',
  };
}
