// A listener for gRPC only (cleartext HTTP/2, prior knowledge), with a graceful stop.
import http2, { type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { GrpcRouter, type GrpcRouterOptions } from './grpc-http2.ts';
import { Http2Sessions, type SessionOptions, sessionSettings } from './http2-sessions.ts';
import { listen, type ListenAddress } from './listen.ts';

export interface GrpcServerOptions extends GrpcRouterOptions, SessionOptions {
  readonly address: ListenAddress;
}

const KEEP_ALIVE_MS = 60_000;

export class GrpcServer {
  readonly router: GrpcRouter;
  readonly #server: Http2Server;
  readonly #sessions: Http2Sessions;
  readonly #address: ListenAddress;

  constructor(options: GrpcServerOptions) {
    this.#address = options.address;
    this.router = new GrpcRouter(options);
    const server = http2.createServer(sessionSettings(options));
    server.on('connection', (socket) => {
      socket.setNoDelay(true);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
    });
    server.on('stream', (stream, headers) => this.router.handle(stream as ServerHttp2Stream, headers));
    this.#sessions = new Http2Sessions(server, options);
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
    this.#sessions.close();
    const timer = setTimeout(() => this.#sessions.destroy(), graceMs);
    await closed;
    clearTimeout(timer);
  }
}
