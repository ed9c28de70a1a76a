// The keys of a `grpc_client_config` as the options of channels.
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { ChannelOptions } from '../rpc/grpc-channel.ts';
import type { TempoConfig } from './config.ts';
import { grpcClientOptions } from './grpc-client-options.ts';

type ClientConfig = TempoConfig['ingesterClient']['grpcClientConfig'];

const gzipped = promisify(gzip);

/** @param name path of the block, for messages. */
export function channelOptions(client: ClientConfig, name: string): Omit<ChannelOptions, 'address'> {
  const { tls, recvMessageBytesMax = client.maxRecvMsgSize } = grpcClientOptions(client, name);
  return {
    tls,
    recvMessageBytesMax,
    sendMessageBytesMax: client.maxSendMsgSize,
    connectTimeoutMs: client.connectTimeoutMs,
    reconnectMs: { min: client.connectBackoffBaseDelayMs, max: client.connectBackoffMaxDelayMs },
  };
}

interface MessageCompression {
  /** Its name in `grpc-encoding`. */
  readonly encoding: string;
  readonly run: (bytes: Uint8Array) => Promise<Uint8Array>;
}

/** undefined = messages go as they are. */
export function messageCompression(name: ClientConfig['grpcCompression']): MessageCompression | undefined {
  if (name !== 'gzip') return undefined;
  return { encoding: name, run: (bytes) => gzipped(bytes, { level: constants.Z_BEST_SPEED }) };
}
