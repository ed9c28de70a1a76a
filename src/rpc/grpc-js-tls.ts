// Credentials for grpc-js by our own TLS options: its own ones name the server even where that is an address,
// which node:tls refuses, and keep certificates for ever that files have new ones of.
import type { Socket } from 'node:net';
import tls, { type ConnectionOptions } from 'node:tls';
import type * as GrpcJs from '@grpc/grpc-js';
import type { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { type ClientTls, clientTlsOptions } from './client-tls.ts';

const HANDSHAKE_MS_MAX = 10_000;

/** @param host of the server's address. Rejects with TempoError when a certificate cannot be read. */
export async function grpcJsTls(
  grpc: typeof GrpcJs,
  settings: ClientTls,
  host: string,
): Promise<ChannelCredentials> {
  let files = await clientTlsOptions(settings);
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
          socket: await secured(socket, { ...files, host }),
          secure: true,
        }),
        getCallCredentials: () => ofCalls,
        destroy: () => undefined,
      };
    }
  }
  return new FileCredentials();
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
