// What receivers of the OpenTelemetry Collector have in common below their protocol: TLS, keep-alive,
// requests across origins, headers of answers. Keys and defaults are the Collector's.
import type { SecureVersion } from 'node:tls';
import {
  block,
  bool,
  duration,
  int,
  list,
  oneOf,
  optional,
  raw,
  secret,
  text,
  type ConfigOf,
} from '../config/field.ts';
import type { TlsSettings } from '../rpc/tls.ts';

const VERSIONS = ['', '1.0', '1.1', '1.2', '1.3'] as const;

const tlsFields = {
  cert_file: text('', 'certificate, PEM file'),
  cert_pem: text('', 'certificate, PEM text'),
  key_file: text('', 'key, PEM file'),
  key_pem: secret('key, PEM text'),
  client_ca_file: text('', 'authorities; every client must then show a certificate of theirs'),
  client_ca_file_reload: bool(false, 'read the authorities again when their file changes'),
  min_version: oneOf(VERSIONS, '', 'oldest version of TLS; empty = 1.2'),
  max_version: oneOf(VERSIONS, '', 'newest version of TLS; empty = 1.3'),
  cipher_suites: list(text('', 'name'), [], 'names as in Go; empty = the safe ones'),
  reload_interval: duration('0s', 'read the certificate again that often; 0 = never'),
  ca_file: text('', 'not needed by a server'),
  ca_pem: text('', 'not needed by a server'),
  include_system_ca_certs_pool: bool(false, 'not needed by a server'),
  curve_preferences: list(text('', 'name'), [], 'not read'),
};

export const tls = optional(block(tlsFields), 'TLS', { hidden: true });

const keepaliveFields = {
  server_parameters: optional(
    block({
      max_connection_idle: duration('0s', 'connections on which nothing moves are closed after; 0 = never'),
      max_connection_age: duration('0s', 'connections are closed after; 0 = never'),
      max_connection_age_grace: duration('0s', 'time for open calls then; 0 = no limit'),
      time: duration('0s', 'clients are asked that often whether they are there; 0 = 2h'),
      timeout: duration('0s', 'how long they may take to answer; 0 = 20s'),
    }),
    'what the server does',
  ),
  enforcement_policy: optional(
    block({
      min_time: duration('0s', 'clients that ask more often are sent away; 0 = 10s'),
      permit_without_stream: bool(false, 'not read: always permitted'),
    }),
    'what clients may do',
  ),
};

export const keepalive = optional(block(keepaliveFields), 'keep-alive of connections', { hidden: true });

const corsFields = {
  allowed_origins: list(text('', 'origin'), [], 'who may ask, `*` stands for any text'),
  allowed_headers: list(text('', 'name'), [], 'headers of requests beside the usual ones, `*` = any'),
  max_age: int(0, 'seconds for which browsers remember that'),
};

export const cors = optional(block(corsFields), 'requests of pages of other origins', { hidden: true });

export const responseHeaders = optional(
  raw(undefined, 'a map, or a list of name and value'),
  'headers of answers',
  {
    hidden: true,
  },
);

type TlsConfig = ConfigOf<typeof tlsFields>;
export type KeepaliveConfig = ConfigOf<typeof keepaliveFields>;
export type CorsConfig = ConfigOf<typeof corsFields>;

/** The Collector looks at a file of authorities whenever it changes. */
const CLIENT_CA_RELOAD_MS = 5000;

/** @param name path of the block in configuration. */
export function receiverTlsSettings(config: TlsConfig, name: string): TlsSettings {
  const { clientCaFile, minVersion, maxVersion, reloadIntervalMs } = config;
  const isCaRead = clientCaFile !== '' && config.clientCaFileReload;
  return {
    name,
    cert: { text: config.certPem, file: config.certFile },
    key: { text: config.keyPem, file: config.keyFile },
    clientCa: { text: '', file: clientCaFile },
    clientAuth: clientCaFile === '' ? 'NoClientCert' : 'RequireAndVerifyClientCert',
    minVersion: versionOf(minVersion === '' ? '1.2' : minVersion),
    maxVersion: versionOf(maxVersion === '' ? '1.3' : maxVersion),
    cipherSuites: config.cipherSuites,
    reloadMs: reloadIntervalMs > 0 ? reloadIntervalMs : isCaRead ? CLIENT_CA_RELOAD_MS : 0,
  };
}

function versionOf(version: '1.0' | '1.1' | '1.2' | '1.3'): SecureVersion {
  return version === '1.0' ? 'TLSv1' : `TLSv${version}`;
}

/** The headers of a `response_headers` key. */
export function headersOf(headers: unknown): readonly (readonly [string, string])[] {
  if (typeof headers !== 'object' || headers === null) return [];
  const pairs: readonly (readonly [unknown, unknown])[] = Array.isArray(headers)
    ? headers.map((item: { readonly name?: unknown; readonly value?: unknown }) => [item.name, item.value])
    : Object.entries(headers);
  return pairs.map(([name, value]) => [
    String(name),
    typeof value === 'string' ? value : JSON.stringify(value ?? ''),
  ]);
}
