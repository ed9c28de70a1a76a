// The HTTP/2 side of the HTTP port: gRPC calls go to their handlers, all else to the same routes as
// HTTP/1.1 (browsers and curl speak HTTP/2 too).
import http2, { type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { FastifyInstance } from 'fastify';
import { TempoError } from '../lib/errors.ts';
import { refuse } from '../rpc/grpc-answer.ts';
import { statusOfError } from '../rpc/grpc-status.ts';
import { GrpcRouter, type GrpcRouterOptions, isGrpc } from '../rpc/grpc-http2.ts';
import { Http2Sessions, type SessionOptions, sessionSettings } from '../rpc/http2-sessions.ts';

export interface Http2FrontOptions {
  readonly app: FastifyInstance;
  /** Undefined = no gRPC on this port. */
  readonly grpc: GrpcRouterOptions | undefined;
  readonly sessions: SessionOptions;
  /** A request is cut when nothing moves on it for that long. */
  readonly streamIdleMsMax: number;
}

export interface Http2Front {
  /** Takes connections by its `connection` event; does not listen itself. */
  readonly server: Http2Server;
  readonly sessions: Http2Sessions;
  readonly router: GrpcRouter | undefined;
}

const GRPC_IS_OFF = statusOfError(
  new TempoError('unimplemented', 'no gRPC on the HTTP port: stream_over_http_enabled is false'),
);

export function createHttp2Front({ app, grpc, sessions, streamIdleMsMax }: Http2FrontOptions): Http2Front {
  const server = http2.createServer(sessionSettings(sessions));
  // Turns streams into requests and responses as HTTP/1.1 has them; only its events are used.
  const compat = http2.createServer();
  compat.on('request', (request, response) => app.routing(request as never, response as never));
  const router = grpc === undefined ? undefined : new GrpcRouter(grpc);
  server.on('stream', (...args: [ServerHttp2Stream, IncomingHttpHeaders, number, string[]]) => {
    const [stream, headers] = args;
    if (isGrpc(headers))
      return router === undefined ? refuse(stream, GRPC_IS_OFF) : router.handle(stream, headers);
    stream.setTimeout(streamIdleMsMax, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    compat.emit('stream', ...args);
  });
  return { server, sessions: new Http2Sessions(server, sessions), router };
}
