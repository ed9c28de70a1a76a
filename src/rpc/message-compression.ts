// What messages to others are compressed with, as `grpc_compression` names it. Snappy is not of Node: it runs
// on the threads for bodies, so that sockets stay served, and small messages on the caller's.
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { noteShortLivedBytes } from '../lib/garbage.ts';
import { SnappyFramer } from '../lib/snappy-frames.ts';
import { bodyThreads } from './body-threads.ts';

export interface MessageCompression {
  /** Its name in `grpc-encoding`. */
  readonly encoding: string;
  /** The message must not change meanwhile. What comes is the caller's own. */
  readonly run: (message: Uint8Array) => Promise<Uint8Array>;
}

/** About 0.1 ms of work. */
const FRAME_SYNC_BYTES_MAX = 32 << 10;

const gzipped = promisify(gzip);
let framer: SnappyFramer | undefined;

/** undefined = messages go as they are. */
export function messageCompression(name: '' | 'gzip' | 'snappy'): MessageCompression | undefined {
  switch (name) {
    case 'gzip':
      return { encoding: name, run: (message) => gzipped(message, { level: constants.Z_BEST_SPEED }) };
    case 'snappy':
      return { encoding: name, run: framed };
    case '':
      return undefined;
  }
}

async function framed(message: Uint8Array): Promise<Uint8Array> {
  if (message.length <= FRAME_SYNC_BYTES_MAX) {
    framer ??= new SnappyFramer();
    return framer.frame(message).slice();
  }
  const bytes = await bodyThreads.run({ kind: 'frame', bytes: message });
  noteShortLivedBytes(bytes.length);
  return bytes;
}
