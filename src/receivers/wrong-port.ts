// Tells clients of OTLP over gRPC that came to the port of OTLP over HTTP where they are.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '../telemetry/log.ts';

const BEGINNING = Buffer.from('PRI * HTTP/2');
const TEXT = 'this port takes OTLP over HTTP, OTLP over gRPC has a port of its own (4317 by default)';
const SETTINGS = Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
const GOAWAY = 7;
/** Of RFC 9113: the endpoint requires HTTP/1.1. */
const HTTP_1_1_REQUIRED = 0x0d;
const LOG_PAUSE_MS = 60_000;

type ClientError = Error & { readonly rawPacket?: Buffer };

/** Call it when the server has the listener for all other errors of clients. */
export function refuseGrpc(server: Server, logger: Logger): void {
  const others = server.listeners('clientError');
  let nextLogMs = 0;
  server.removeAllListeners('clientError');
  server.on('clientError', (err: ClientError, socket: Socket) => {
    if (err.rawPacket?.subarray(0, BEGINNING.length).equals(BEGINNING) !== true) {
      for (const take of others) take.call(server, err, socket);
      return;
    }
    if (performance.now() >= nextLogMs) {
      nextLogMs = performance.now() + LOG_PAUSE_MS;
      logger.warn('a client of gRPC came to the port of OTLP over HTTP', { client: socket.remoteAddress });
    }
    if (socket.writable) socket.end(Buffer.concat([SETTINGS, goaway()]));
    else socket.destroy();
  });
}

/** RFC 9113, section 6.8; grpc-go and others show its text. */
function goaway(): Buffer {
  const text = Buffer.from(TEXT);
  const frame = Buffer.alloc(17 + text.length);
  frame.writeUIntBE(8 + text.length, 0, 3);
  frame[3] = GOAWAY;
  frame.writeUInt32BE(HTTP_1_1_REQUIRED, 13);
  text.copy(frame, 17);
  return frame;
}
