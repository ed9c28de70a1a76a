// Credentials for grpc-js by our own TLS options: its own ones name the server even where that is an address,
// which node:tls refuses, and keep certificates for ever that files have new ones of.
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type * as GrpcJs from '@grpc/grpc-js';
import type { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { type ClientTls, clientTlsOptions } from './client-tls.ts';

/** @param host of the server's address. Rejects with TempoError when a certificate cannot be read. */
export async function grpcJsTls(
  grpc: typeof GrpcJs,
  settings: ClientTls,
  host: string,
): Promise<ChannelCredentials> {
  await clientTlsOptions(settings);
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
        connect: async (socket: Socket) => ({ socket: await secured(socket, settings, host), secure: true }),
        waitForReady: () => Promise.resolve(),
        getCallCredentials: () => ofCalls,
        destroy: () => undefined,
      };
    }
  }
  return new FileCredentials();
}

async function secured(socket: Socket, settings: ClientTls, host: string): Promise<Socket> {
  const options = await clientTlsOptions(settings);
  return new Promise((resolve, reject) => {
    const secure = tls.connect({ ...options, socket, host, ALPNProtocols: ['h2'] }, () => resolve(secure));
    secure.once('error', reject);
    secure.once('close', () => reject(new Error('Socket closed')));
  });
}
