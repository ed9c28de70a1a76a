// The keys of a `grpc_client_config` as the options of channels.
import type { ChannelOptions } from '../rpc/grpc-channel.ts';
import type { TempoConfig } from './config.ts';
import { grpcClientOptions } from './grpc-client-options.ts';

type ClientConfig = TempoConfig['ingesterClient']['grpcClientConfig'];

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
