// A listener for gRPC only (HTTP/2 by prior knowledge, or with TLS), with a graceful stop.
import http2, { type Http2SecureServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { GrpcRouter, type GrpcRouterOptions } from './grpc-http2.ts';
import { Http2Sessions, type SessionOptions, sessionSettings } from './http2-sessions.ts';
import { listen, type ListenAddress } from './listen.ts';
import type { ServerTls } from './tls.ts';

export interface GrpcServerOptions extends GrpcRouterOptions, SessionOptions {
  readonly address: ListenAddress;
  readonly tls?: ServerTls | undefined;
  /** More connections are refused; undefined = as many as sessions. */
  readonly connectionsMax?: number | undefined;
  /** Is shown every connection. */
  readonly onConnection?: ((socket: Socket) => void) | undefined;
}

const KEEP_ALIVE_MS = 60_000;

export class GrpcServer {
  readonly router: GrpcRouter;
  readonly #server: Http2Server | Http2SecureServer;
  readonly #sessions: Http2Sessions;
  readonly #address: ListenAddress;
  readonly #tls: ServerTls | undefined;

  constructor(options: GrpcServerOptions) {
    const { address, tls, connectionsMax, onConnection } = options;
    this.#address = address;
    this.#tls = tls;
    this.router = new GrpcRouter(options);
    const settings = sessionSettings(options);
    const server =
      tls === undefined
        ? http2.createServer(settings)
        : http2.createSecureServer({ ...settings, ...tls.optionsFor(['h2']) });
    server.on('connection', (socket: Socket) => {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      onConnection?.(socket);
    });
    if (connectionsMax !== undefined && connectionsMax > 0) server.maxConnections = connectionsMax;
    server.on('stream', (stream: ServerHttp2Stream, headers) => this.router.handle(stream, headers));
    this.#sessions = new Http2Sessions(server, options);
    this.#server = server;
  }

  /** Binds; throws TempoError that names the address when that fails. */
  async start(): Promise<AddressInfo> {
    const bound = await listen(this.#server, this.#address);
    if ('setSecureContext' in this.#server) this.#tls?.attach(this.#server);
    return bound;
  }

  /** Tells peers to go away, waits for open calls, then cuts what is left. */
  async stop(graceMs: number): Promise<void> {
    this.#tls?.detach();
    if (!this.#server.listening) return;
    await this.#sessions.letIn();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.router.stop();
    this.#sessions.close();
    const timer = setTimeout(() => this.#sessions.destroy(), graceMs);
    await closed;
    clearTimeout(timer);
  }
}
