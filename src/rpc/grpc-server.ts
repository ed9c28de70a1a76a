// An HTTP/2 listener (cleartext, prior knowledge) for gRPC only: session tuning, limits and a graceful stop.
import http2, { type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../telemetry/log.ts';
import { GrpcRouter, type UnaryHandler } from './grpc-http2.ts';
import { listen, type ListenAddress } from './listen.ts';

export interface GrpcServerOptions {
  readonly address: ListenAddress;
  readonly methods: ReadonlyMap<string, UnaryHandler>;
  readonly recvMessageBytesMax: number;
  readonly logger: Logger;
  readonly inFlightBytesMax?: number;
  readonly callTimeoutMs?: number;
  readonly sessionsMax?: number;
  readonly streamsPerSessionMax?: number;
}

const IN_FLIGHT_BYTES_MAX = 256 << 20;
const CALL_TIMEOUT_MS = 60_000;
const SESSIONS_MAX = 4096;
const STREAMS_PER_SESSION_MAX = 256;
const SESSION_MEMORY_MIB = 128;
/** Large windows: a whole batch fits without waiting for WINDOW_UPDATE. */
const STREAM_WINDOW_BYTES = 4 << 20;
const SESSION_WINDOW_BYTES = 16 << 20;
const FRAME_BYTES_MAX = 1 << 20;
const KEEP_ALIVE_MS = 60_000;

export class GrpcServer {
  readonly router: GrpcRouter;
  readonly #server: Http2Server;
  readonly #address: ListenAddress;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sessionsMax: number;

  constructor(options: GrpcServerOptions) {
    this.#address = options.address;
    this.#sessionsMax = options.sessionsMax ?? SESSIONS_MAX;
    this.router = new GrpcRouter({
      methods: options.methods,
      recvMessageBytesMax: options.recvMessageBytesMax,
      inFlightBytesMax: options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX,
      callTimeoutMs: options.callTimeoutMs ?? CALL_TIMEOUT_MS,
      logger: options.logger,
    });
    const server = http2.createServer({
      maxSessionMemory: SESSION_MEMORY_MIB,
      settings: {
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxFrameSize: FRAME_BYTES_MAX,
        maxConcurrentStreams: options.streamsPerSessionMax ?? STREAMS_PER_SESSION_MAX,
        enablePush: false,
      },
    });
    server.on('connection', (socket) => {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
    });
    server.on('session', (session) => this.#admit(session));
    server.on('sessionError', (err) => options.logger.debug('http2 session failed', { err }));
    server.on('stream', (stream, headers) => this.router.handle(stream as ServerHttp2Stream, headers));
    this.#server = server;
  }

  /** Binds; throws TempoError that names the address when that fails. */
  async start(): Promise<AddressInfo> {
    return await listen(this.#server, this.#address);
  }

  /** Tells peers to go away, waits for open calls, then cuts what is left. */
  async stop(graceMs: number): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.close();
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }

  #admit(session: ServerHttp2Session): void {
    if (this.#sessions.size >= this.#sessionsMax) {
      session.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
      session.destroy();
      return;
    }
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
  }
}
