// What a gRPC client block says about the connection.
import type { GrpcClientOptions } from '../rpc/grpc-client.ts';
import { messageCompression } from '../rpc/message-compression.ts';
import type { TempoConfig } from './config.ts';

type ClientConfig = TempoConfig['backendSchedulerClient']['grpcClientConfig'];

/** @param name path of the block, for messages. */
export function grpcClientOptions(
  config: ClientConfig,
  name: string,
): Pick<GrpcClientOptions, 'tls' | 'recvMessageBytesMax' | 'compression'> {
  const tls = {
    name,
    caFile: config.tlsCaPath,
    certFile: config.tlsCertPath,
    keyFile: config.tlsKeyPath,
    serverName: config.tlsServerName,
    acceptsAny: config.tlsInsecureSkipVerify,
  };
  return {
    tls: config.tlsEnabled ? tls : undefined,
    recvMessageBytesMax: config.maxRecvMsgSize,
    compression: messageCompression(config.grpcCompression),
  };
}
