// HTTP/2 sessions of a listener: their settings, how many there may be, what becomes of idle and unruly
// ones, and a graceful stop. Knows no routes.
import http2, {
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerOptions,
} from 'node:http2';
import type { Logger } from '../telemetry/log.ts';

export interface SessionOptions {
  readonly logger: Logger;
  readonly sessionsMax?: number | undefined;
  readonly streamsPerSessionMax?: number | undefined;
  /** Sessions without streams are closed after that time; undefined = never. */
  readonly idleMsMax?: number | undefined;
}

const SESSIONS_MAX = 4096;
const STREAMS_PER_SESSION_MAX = 256;
const SESSION_MEMORY_MIB = 128;
/** Large windows: a whole batch fits without waiting for WINDOW_UPDATE. */
const STREAM_WINDOW_BYTES = 4 << 20;
const SESSION_WINDOW_BYTES = 16 << 20;
const FRAME_BYTES_MAX = 1 << 20;

export function sessionSettings(options: SessionOptions): ServerOptions {
  return {
    maxSessionMemory: SESSION_MEMORY_MIB,
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxFrameSize: FRAME_BYTES_MAX,
      maxConcurrentStreams: options.streamsPerSessionMax ?? STREAMS_PER_SESSION_MAX,
      enablePush: false,
    },
  };
}

export class Http2Sessions {
  readonly #options: SessionOptions;
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(server: Http2Server | Http2SecureServer, options: SessionOptions) {
    this.#options = options;
    server.on('session', (session: ServerHttp2Session) => this.#admit(session));
    server.on('sessionError', (err: Error) => options.logger.debug('http2 session failed', { err }));
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Tells peers to go away once their open streams are done. */
  close(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Cuts what is left. */
  destroy(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #admit(session: ServerHttp2Session): void {
    if (this.#sessions.size >= (this.#options.sessionsMax ?? SESSIONS_MAX)) {
      session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      session.destroy();
      return;
    }
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    const { idleMsMax } = this.#options;
    // Closing waits for open streams, which have limits of their own.
    if (idleMsMax !== undefined) session.setTimeout(idleMsMax, () => session.close());
  }
}
