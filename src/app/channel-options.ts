// The keys of a `grpc_client_config` as the options of channels, and what messages are compressed with.
import type { ChannelOptions } from '../rpc/grpc-channel.ts';
import type { MessageCompression } from '../rpc/message-compression.ts';
import type { TempoConfig } from './config.ts';
import { grpcClientOptions } from './grpc-client-options.ts';

type ClientConfig = TempoConfig['ingesterClient']['grpcClientConfig'];

/** @param name path of the block, for messages. */
export function channelOptions(
  client: ClientConfig,
  name: string,
): {
  readonly channel: Omit<ChannelOptions, 'address'>;
  readonly compression: MessageCompression | undefined;
} {
  const { tls, recvMessageBytesMax = client.maxRecvMsgSize, compression } = grpcClientOptions(client, name);
  const channel = {
    tls,
    recvMessageBytesMax,
    sendMessageBytesMax: client.maxSendMsgSize,
    connectTimeoutMs: client.connectTimeoutMs,
    reconnectMs: { min: client.connectBackoffBaseDelayMs, max: client.connectBackoffMaxDelayMs },
  };
  return { channel, compression };
}
