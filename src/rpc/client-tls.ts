// TLS of clients: the files that the keys of a block name, as node:tls takes them, and what a handshake that
// failed says about these keys. Knows no protocol above TLS.
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { TempoError } from '../lib/errors.ts';

export interface ClientTls {
  /** Path of the block in configuration, for messages. */
  readonly name?: string;
  /** Authorities, PEM; '' = those of the system. */
  readonly caFile: string;
  /** Of this client; '' = none. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Name that the server's certificate must have; '' = the one of the address. */
  readonly serverName?: string;
  readonly acceptsAny?: boolean;
}

export type ClientTlsOptions = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'servername' | 'checkServerIdentity' | 'rejectUnauthorized'
>;

/** Reads the files. Rejects with TempoError `invalid_argument` that names the file. */
export async function clientTlsOptions(tls: ClientTls): Promise<ClientTlsOptions> {
  const { caFile, certFile = '', keyFile = '', serverName = '', acceptsAny = false } = tls;
  const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map(pemOf));
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === '' ? {} : await identityOf(serverName)),
    ...(acceptsAny ? { rejectUnauthorized: false } : {}),
  };
}

/** An address is no name that a handshake may say, and certificates may have it all the same. */
async function identityOf(name: string): Promise<ClientTlsOptions> {
  if (isIP(name) === 0) return { servername: name };
  const { checkServerIdentity } = await import('node:tls');
  return { checkServerIdentity: (_host, cert) => checkServerIdentity(name, cert) };
}

async function pemOf(file: string): Promise<Buffer | undefined> {
  if (file === '') return undefined;
  try {
    return await readFile(file);
  } catch (err) {
    throw new TempoError('invalid_argument', `certificate ${file} cannot be read`, err);
  }
}

type Advice = readonly [failure: RegExp, text: (block: string) => string];

/** By what OpenSSL, Node and gRPC say, the first that fits. */
const ADVICE: readonly Advice[] = [
  [/altnames/, (block) => `${block}.tls_server_name must be a name of the server's certificate`],
  [
    /self-signed certificate|unable to (verify|get)/,
    (block) => `${block}.tls_ca_path must hold the authority of the server's certificate`,
  ],
  [/certificate required/, (block) => `the server asks for the certificate of ${block}.tls_cert_path`],
  [
    /alert (unknown ca|bad certificate|unsupported certificate|certificate expired)/,
    (block) => `the server does not accept the certificate of ${block}.tls_cert_path`,
  ],
  [/wrong version number|packet length too long/, (block) => `${block}.tls_enabled: no TLS is spoken there`],
  [
    // A server that refuses a certificate of TLS 1.3 may just close the connection.
    /Failed to connect|status none|before the answer|Socket closed|hang up/,
    (block) => `the server may not accept the certificate of ${block}.tls_cert_path`,
  ],
];

/** What failed, and which key may be wrong. @param block undefined = no TLS, or nobody knows the keys. */
export function explainedTls(text: string, block: string | undefined): string {
  if (block === undefined) return text;
  const advice = ADVICE.find(([failure]) => failure.test(text));
  return advice === undefined ? text : `${text} (${advice[1](block)})`;
}
