// A gRPC channel to a process on this machine.
import { type ChannelOptions, GrpcChannel } from '../../src/rpc/grpc-channel.ts';

const MESSAGE_BYTES_MAX = 16 << 20;

/** The caller closes it. */
export function channelTo(port: number, tls?: ChannelOptions['tls']): GrpcChannel {
  return new GrpcChannel({
    address: `127.0.0.1:${port}`,
    tls,
    recvMessageBytesMax: MESSAGE_BYTES_MAX,
    sendMessageBytesMax: MESSAGE_BYTES_MAX,
    connectTimeoutMs: 5000,
    reconnectMs: { min: 10, max: 100 },
  });
}
