// TLS of clients: the files that the keys of a block name, as node:tls takes them, and what a handshake that
// failed says about these keys. Knows no protocol above TLS.
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import { TempoError } from '../lib/errors.ts';
import { serverIdentity } from '../cache/server-identity.ts';

interface TlsKeys {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly serverName: string;
  readonly enabled: string;
}

const USUAL_KEYS: TlsKeys = {
  ca: 'tls_ca_path',
  cert: 'tls_cert_path',
  key: 'tls_key_path',
  serverName: 'tls_server_name',
  enabled: 'tls_enabled',
};

/** With the block before them. */
function keysOf({ name = '', keys }: Pick<ClientTls, 'name' | 'keys'>): TlsKeys {
  const named = Object.entries({ ...USUAL_KEYS, ...keys }).map(([what, key]) => [what, `${name}.${key}`]);
  return Object.fromEntries(named) as TlsKeys;
}

export interface ClientTls {
  /** Path of the block in configuration, for messages. */
  readonly name?: string;
  /** Keys below it that have other names than usual. */
  readonly keys?: Partial<TlsKeys>;
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

/** Reads the files. Rejects with TempoError `invalid_argument` that names the key and the file. */
export async function clientTlsOptions(tls: ClientTls): Promise<ClientTlsOptions> {
  const { name, caFile, certFile, keyFile, serverName = '', acceptsAny = false } = tls;
  const keys = name === undefined ? undefined : keysOf(tls);
  const [ca, cert, key] = await Promise.all([
    pemOf(caFile, keys?.ca),
    pemOf(certFile, keys?.cert),
    pemOf(keyFile, keys?.key),
  ]);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === '' ? {} : serverIdentity(serverName)),
    ...(acceptsAny ? { rejectUnauthorized: false } : {}),
  };
}

async function pemOf(file = '', key: string | undefined): Promise<Buffer | undefined> {
  if (file === '') return undefined;
  try {
    return await readFile(file);
  } catch (err) {
    const what = key === undefined ? 'certificate' : `${key}:`;
    throw new TempoError('invalid_argument', `${what} ${file} cannot be read`, err);
  }
}

type Advice = readonly [failure: RegExp, text: (keys: TlsKeys) => string];

/** By what OpenSSL, Node and gRPC say, the first that fits. */
const ADVICE: readonly Advice[] = [
  [/altnames/, ({ serverName }) => `${serverName} must be a name of the server's certificate`],
  [
    /self-signed certificate|unable to (verify|get)/,
    ({ ca }) => `${ca} must hold the authority of the server's certificate`,
  ],
  [/certificate required/, ({ cert }) => `the server asks for the certificate of ${cert}`],
  [
    /alert (unknown ca|bad certificate|unsupported certificate|certificate expired)/,
    ({ cert }) => `the server does not accept the certificate of ${cert}`,
  ],
  [/wrong version number|packet length too long/, ({ enabled }) => `${enabled}: no TLS is spoken there`],
];

/** What ends for any reason; a server of TLS 1.3 that refuses a certificate may say no more than this. */
const ENDED = /Failed to connect|without an answer|before the answer|Socket closed|was closed|hang up/;

/**
 * What failed, and which key may be wrong.
 * @param tls undefined = plain text; without a name nobody knows the keys.
 * @param wasAnswered the peer has taken the certificate before: that a connection ends has other reasons.
 */
export function explainedTls(
  text: string,
  tls: Pick<ClientTls, 'name' | 'keys' | 'certFile'> | undefined,
  wasAnswered: boolean,
): string {
  if (tls?.name === undefined) return text;
  const { certFile = '' } = tls;
  const keys = keysOf(tls);
  const advice = ADVICE.find(([failure]) => failure.test(text));
  if (advice !== undefined) return `${text} (${advice[1](keys)})`;
  if (wasAnswered || !ENDED.test(text)) return text;
  const problem = certFile === '' ? 'asks for' : 'does not accept';
  return `${text} (the peer ended the connection, or ${problem} the certificate of ${keys.cert})`;
}
