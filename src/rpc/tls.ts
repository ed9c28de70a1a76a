// TLS of listeners: certificates from files or text, what is asked of clients, and new certificates without a
// restart. Knows no protocol above TLS.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import tls from 'node:tls';
import { TempoError } from '../lib/errors.ts';
import { readSmallFile } from './read-small-file.ts';
import type { Logger } from '../telemetry/log.ts';
import { interpose } from './interpose.ts';
import { cipherList } from './tls-ciphers.ts';

/** PEM text itself, or the file that holds it; both empty = none. */
interface PemSource {
  readonly text: string;
  readonly file: string;
}

/** As Go's crypto/tls has it. */
type ClientAuth =
  | 'NoClientCert'
  | 'RequestClientCert'
  | 'RequireAnyClientCert'
  | 'VerifyClientCertIfGiven'
  | 'RequireAndVerifyClientCert';

export interface TlsSettings {
  /** Path of the block in configuration, for messages. */
  readonly name: string;
  readonly cert: PemSource;
  readonly key: PemSource;
  readonly clientCa: PemSource;
  readonly clientAuth: ClientAuth;
  readonly minVersion: tls.SecureVersion;
  readonly maxVersion: tls.SecureVersion;
  /** Go's names; empty = what Node takes for safe. */
  readonly cipherSuites: readonly string[];
  /** How often files are looked at; 0 = never. */
  readonly reloadMs: number;
}

const HANDSHAKE_MS_MAX = 10_000;
const PEM_BYTES_MAX = 4 << 20;

interface Pems {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
}

export class ServerTls {
  readonly #settings: TlsSettings;
  readonly #logger: Logger;
  #pems: Pems;
  #timer: NodeJS.Timeout | undefined;

  /** Reads the files. Throws TempoError `invalid_argument` that names the key and the file. */
  constructor(settings: TlsSettings, logger: Logger) {
    const { name, clientAuth, cert, key, clientCa } = settings;
    this.#settings = settings;
    this.#logger = logger;
    if (!isSet(cert) || !isSet(key)) throw invalid(name, 'needs a certificate and a key');
    if (clientAuth === 'NoClientCert' && isSet(clientCa)) {
      throw invalid(name, 'has client authorities, but client_auth_type asks for no certificate');
    }
    const isVerified =
      clientAuth === 'RequireAndVerifyClientCert' || clientAuth === 'VerifyClientCertIfGiven';
    if (isVerified && !isSet(clientCa)) throw invalid(name, `${clientAuth} needs client authorities`);
    const read = (source: PemSource): string =>
      source.file === '' ? source.text : readOrThrow(name, source.file);
    this.#pems = { cert: read(cert), key: read(key), clientCa: read(clientCa) };
    this.#contextOf(this.#pems);
  }

  /** For a server that takes these protocols, in order of preference. */
  optionsFor(protocols: readonly string[]): tls.TlsOptions {
    const { clientAuth } = this.#settings;
    return {
      ...this.#contextOf(this.#pems),
      ALPNProtocols: [...protocols],
      requestCert: clientAuth !== 'NoClientCert',
      rejectUnauthorized: clientAuth === 'RequireAndVerifyClientCert',
      handshakeTimeout: HANDSHAKE_MS_MAX,
    };
  }

  /** Call it when the server has its own listeners, and `detach` when it stops. */
  attach(server: tls.Server): void {
    const { clientAuth, reloadMs } = this.#settings;
    server.on('tlsClientError', answerPlainHttp);
    if (clientAuth === 'RequireAnyClientCert' || clientAuth === 'VerifyClientCertIfGiven') {
      interpose<tls.TLSSocket>(server, 'secureConnection', (socket, pass) => {
        if (isAdmitted(socket, clientAuth)) pass();
        else socket.destroy();
      });
    }
    if (reloadMs <= 0) return;
    let isBusy = false;
    this.#timer = setInterval(() => {
      if (isBusy) return;
      isBusy = true;
      void this.#reload(server).finally(() => (isBusy = false));
    }, reloadMs);
    this.#timer.unref();
  }

  detach(): void {
    clearInterval(this.#timer);
  }

  /** A set of files that cannot be used changes nothing: it may be half written. */
  async #reload(server: tls.Server): Promise<void> {
    const { name, cert, key, clientCa } = this.#settings;
    const read = async ({ file, text }: PemSource): Promise<string> =>
      file === '' ? text : await readSmallFile(file, PEM_BYTES_MAX);
    try {
      const pems = { cert: await read(cert), key: await read(key), clientCa: await read(clientCa) };
      const old = this.#pems;
      if (pems.cert === old.cert && pems.key === old.key && pems.clientCa === old.clientCa) return;
      server.setSecureContext(this.#contextOf(pems));
      this.#pems = pems;
      const { validTo, serialNumber } = new X509Certificate(pems.cert);
      this.#logger.info('certificate read again', { name, serial: serialNumber, valid_to: validTo });
    } catch (err) {
      this.#logger.warn('certificate cannot be read again, the old one stays', { name, err });
    }
  }

  /** Checks that the parts fit together. */
  #contextOf({ cert, key, clientCa }: Pems): tls.SecureContextOptions {
    const { name, minVersion, maxVersion, cipherSuites } = this.#settings;
    checkPem(name, this.#settings.cert, cert);
    if (clientCa !== '') checkPem(name, this.#settings.clientCa, clientCa);
    const context = {
      cert,
      key,
      minVersion,
      maxVersion,
      ...(clientCa === '' ? {} : { ca: clientCa }),
      ...(cipherSuites.length === 0 ? {} : { ciphers: cipherList(name, cipherSuites) }),
    };
    try {
      tls.createSecureContext(context);
    } catch (err) {
      const from = this.#settings.key.file === '' ? 'its key' : this.#settings.key.file;
      throw invalid(name, `${from} and the certificate cannot be used: ${textOf(err)}`, err);
    }
    return context;
  }
}

function isAdmitted(socket: tls.TLSSocket, clientAuth: ClientAuth): boolean {
  const isGiven = socket.getPeerX509Certificate() !== undefined;
  return clientAuth === 'RequireAnyClientCert' ? isGiven : !isGiven || socket.authorized;
}

function isSet({ text, file }: PemSource): boolean {
  return text !== '' || file !== '';
}

function readOrThrow(name: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (err) {
    throw invalid(name, `${file} cannot be read: ${textOf(err)}`, err);
  }
}

function checkPem(name: string, { file }: PemSource, pem: string): void {
  try {
    new X509Certificate(pem);
  } catch (err) {
    throw invalid(name, `${file === '' ? 'its text' : file} holds no certificate: ${textOf(err)}`, err);
  }
}

function invalid(name: string, text: string, cause?: unknown): TempoError {
  return new TempoError('invalid_argument', `${name}: ${text}`, cause);
}

function textOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

const PLAIN_HTTP_ANSWER = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';

/** Who speaks HTTP without TLS is told so, as Go's servers do, and not left with a closed connection. */
function answerPlainHttp(err: Error, socket: tls.TLSSocket): void {
  if (!('code' in err) || err.code !== 'ERR_SSL_HTTP_REQUEST') return;
  // The connection below has no public name; without it nobody is told.
  const below = '_parent' in socket ? socket._parent : undefined;
  if (below instanceof Socket && below.writable) below.end(PLAIN_HTTP_ANSWER);
}
