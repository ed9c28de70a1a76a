// TLS of the server blocks: which of their keys say what.
import type { SecureVersion } from 'node:tls';
import type { TlsSettings } from '../rpc/tls.ts';
import type { ServerConfig } from './server-config.ts';

/** Certificates may change on disk at any time; Tempo looks at each connection. */
const RELOAD_MS = 5000;

/** By the names of `tls_min_version`. */
export const TLS_VERSIONS: Readonly<Record<string, SecureVersion>> = {
  '': 'TLSv1.2',
  VersionTLS10: 'TLSv1',
  VersionTLS11: 'TLSv1.1',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
};

/**
 * @param block name of the block in configuration.
 * @returns undefined where no certificate is set: no TLS.
 */
export function serverTlsSettings(
  config: ServerConfig,
  block: 'server' | 'internal_server',
  protocol: 'http' | 'grpc',
): TlsSettings | undefined {
  const tls = protocol === 'http' ? config.httpTlsConfig : config.grpcTlsConfig;
  if (tls.cert === '' && tls.certFile === '') return undefined;
  return {
    name: `${block}.${protocol}_tls_config`,
    cert: { text: tls.cert, file: tls.certFile },
    key: { text: typeof tls.key === 'string' ? tls.key : '', file: tls.keyFile },
    clientCa: { text: tls.clientCa, file: tls.clientCaFile },
    clientAuth: tls.clientAuthType === '' ? 'NoClientCert' : tls.clientAuthType,
    minVersion: TLS_VERSIONS[config.tlsMinVersion] ?? 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    cipherSuites: config.tlsCipherSuites
      .split(',')
      .map((suite) => suite.trim())
      .filter((suite) => suite !== ''),
    reloadMs: RELOAD_MS,
  };
}
