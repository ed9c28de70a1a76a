// One port for HTTP/1.1 and HTTP/2: looks at the first bytes of every connection that an HTTP server accepts
// and hands those that begin as HTTP/2 does (RFC 9113 section 3.4) to a second server.
import type { Server as HttpServer } from 'node:http';
import type { Http2Server } from 'node:http2';
import type { Socket } from 'node:net';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface SharedPortOptions {
  /** Takes HTTP/2 connections; does not listen itself. */
  readonly http2: Http2Server;
  /** How long a connection may take to show what it is. */
  readonly firstBytesMsMax: number;
}

/** Call it before `server` listens. */
export function sharePort(server: HttpServer, options: SharedPortOptions): void {
  const takers = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket) => {
    whenBeginningIsKnown(socket, options.firstBytesMsMax, (isHttp2) => {
      if (isHttp2) options.http2.emit('connection', socket);
      else for (const take of takers) take.call(server, socket);
    });
  });
}

/** Calls back once it is known what the connection begins with; its bytes are still to be read. */
function whenBeginningIsKnown(socket: Socket, msMax: number, done: (isHttp2: boolean) => void): void {
  const chunks: Buffer[] = [];
  const settle = (): void => {
    socket
      .off('readable', look)
      .off('error', settle)
      .off('close', settle)
      .off('timeout', end)
      .off('end', end);
    socket.setTimeout(0);
  };
  const end = (): void => void socket.destroy();
  const look = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    chunks.push(chunk);
    const bytes = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    const length = Math.min(bytes.length, PREFACE.length);
    const isHttp2 = bytes.subarray(0, length).equals(PREFACE.subarray(0, length));
    // A beginning of the beginning decides nothing yet.
    if (isHttp2 && length < PREFACE.length) return;
    settle();
    socket.unshift(bytes);
    done(isHttp2);
  };
  socket.setTimeout(msMax).on('timeout', end).on('end', end);
  socket.on('readable', look).on('error', settle).on('close', settle);
}
