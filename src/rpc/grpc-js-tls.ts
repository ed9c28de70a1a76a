// Credentials for grpc-js by our own TLS options: its own ones name the server even where that is an address,
// which node:tls refuses, and keep certificates for ever that files have new ones of. What is overridden,
// grpc-js calls private: `_isSecure`, `_equals`, `_createSecureConnector`.
import { isIP, type Socket } from 'node:net';
import tls, { type ConnectionOptions } from 'node:tls';
import type * as GrpcJs from '@grpc/grpc-js';
import type { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { type ClientTls, clientTlsOptions } from './client-tls.ts';

const HANDSHAKE_MS_MAX = 10_000;

/** @param target of the server, as gRPC has it. Rejects with TempoError when a certificate cannot be read. */
export async function grpcJsTls(
  grpc: typeof GrpcJs,
  settings: ClientTls,
  target: string,
): Promise<ChannelCredentials> {
  let files = await clientTlsOptions(settings);
  const host = hostOf(target);
  // With a socket of ours node:tls names nobody by itself.
  const isNamed = isIP(host) === 0 && (settings.serverName ?? '') === '';
  const named = isNamed ? { servername: host } : {};
  class FileCredentials extends grpc.ChannelCredentials {
    override _isSecure(): boolean {
      return true;
    }

    override _equals(other: ChannelCredentials): boolean {
      return other === this;
    }

    override _createSecureConnector(_target: unknown, _options: unknown, given?: CallCredentials) {
      const ofCalls = given ?? grpc.CallCredentials.createEmpty();
      return {
        // Before there is a socket: nobody would hear of its end meanwhile, which ends the process.
        waitForReady: async () => {
          files = await clientTlsOptions(settings);
        },
        connect: async (socket: Socket) => ({
          socket: await secured(socket, { ...named, ...files, host }),
          secure: true,
        }),
        getCallCredentials: () => ofCalls,
        destroy: () => undefined,
      };
    }
  }
  return new FileCredentials();
}

/** `dns:///host:port`, `host:port`, `[ipv6]:port` -> what certificates have. */
function hostOf(target: string): string {
  return target
    .replace(/^dns:(\/\/\/)?/, '')
    .replace(/:\d*$/, '')
    .replace(/^\[|\]$/g, '');
}

function secured(socket: Socket, options: ConnectionOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const secure = tls.connect({ ...options, socket, ALPNProtocols: ['h2'] });
    const late = setTimeout(() => {
      secure.destroy(new Error(`no TLS handshake within ${HANDSHAKE_MS_MAX} ms`));
    }, HANDSHAKE_MS_MAX);
    secure.once('secureConnect', () => {
      clearTimeout(late);
      resolve(secure);
    });
    // Also later ones: whoever has the connection then hears of its end.
    secure.on('error', reject);
    secure.once('close', () => {
      clearTimeout(late);
      reject(new Error('Socket closed'));
    });
  });
}
