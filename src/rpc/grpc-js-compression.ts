// Compression of grpc-js by our own codecs: it knows no Snappy, and sends nothing but compressed messages
// where it compresses. A filter in the place of its own one frames what is sent and takes what comes out of
// its frames. The factories of a channel's filters, which are replaced for that, grpc-js calls private.
import type * as GrpcJs from '@grpc/grpc-js';
import type { Client, Metadata } from '@grpc/grpc-js';
import { ENCODINGS } from './grpc-answer.ts';
import { PREFIX_BYTES } from './grpc-message.ts';
import { GRPC_INTERNAL, statusOfError } from './grpc-status.ts';
import { inflate } from './inflate.ts';
import type { MessageCompression } from './message-compression.ts';

/** Smaller ones go as they are: requests, and what is said before there are results. */
const COMPRESSED_FROM_BYTES = 1 << 10;

interface Settings {
  readonly compression: MessageCompression;
  /** Once they are inflated. */
  readonly recvMessageBytesMax: number;
}

/** To be called before the client's first call. */
export function compressMessages(grpc: typeof GrpcJs, client: Client, settings: Settings): void {
  const { compression, recvMessageBytesMax } = settings;
  class OwnFilter extends grpc.experimental.BaseFilter {
    #encoding = 'identity';

    override async sendMetadata(metadata: Promise<Metadata>): Promise<Metadata> {
      const headers = await metadata;
      headers.set('grpc-encoding', compression.encoding);
      headers.set('grpc-accept-encoding', ['identity', ...ENCODINGS].join(','));
      headers.set('accept-encoding', 'identity');
      return headers;
    }

    override receiveMetadata(metadata: Metadata): Metadata {
      this.#encoding = String(metadata.get('grpc-encoding')[0] ?? 'identity');
      metadata.remove('grpc-encoding');
      metadata.remove('grpc-accept-encoding');
      return metadata;
    }

    override async sendMessage(message: ReturnType<GrpcJs.experimental.Filter['sendMessage']>) {
      const { message: bytes, flags } = await message;
      return { message: await framed(bytes, compression), ...(flags === undefined ? {} : { flags }) };
    }

    override async receiveMessage(message: Promise<Buffer>): Promise<Buffer> {
      const frame = await message;
      const bytes = frame.subarray(PREFIX_BYTES);
      if (frame[0] === 0) return bytes;
      try {
        const out = await inflate(this.#encoding, bytes, recvMessageBytesMax);
        return Buffer.from(out.buffer, out.byteOffset, out.length);
      } catch (err) {
        const { code, message: details } = statusOfError(err);
        throw Object.assign(new Error(details), { code, details });
      }
    }
  }
  const channel = client.getChannel() as unknown as {
    readonly internalChannel?: { readonly filterStackFactory?: { factories?: unknown } };
  };
  const filters = channel.internalChannel?.filterStackFactory;
  if (!Array.isArray(filters?.factories)) throw new Error('grpc-js has no such filters any more');
  filters.factories = [{ createFilter: () => new OwnFilter() }];
}

/** Rejects with a status. */
async function framed(bytes: Buffer, compression: MessageCompression): Promise<Buffer> {
  const isSmall = bytes.length < COMPRESSED_FROM_BYTES;
  try {
    const sent = isSmall ? bytes : await compression.run(bytes);
    const frame = Buffer.allocUnsafe(PREFIX_BYTES + sent.length);
    frame[0] = isSmall ? 0 : 1;
    frame.writeUInt32BE(sent.length, 1);
    frame.set(sent, PREFIX_BYTES);
    return frame;
  } catch (err) {
    const details = `a message cannot be compressed: ${err instanceof Error ? err.message : String(err)}`;
    throw Object.assign(new Error(details), { code: GRPC_INTERNAL, details });
  }
}
