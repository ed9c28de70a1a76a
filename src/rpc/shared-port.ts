// One port for HTTP/1.1 and HTTP/2: hands the HTTP/2 connections that an HTTP server accepts to a second
// server. With TLS they are known by ALPN, else by their first bytes (RFC 9113 section 3.4).
import type { Server as HttpServer } from 'node:http';
import type { Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { interpose } from './interpose.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface SharedPortOptions {
  /** Takes HTTP/2 connections; does not listen itself. */
  readonly http2: Http2Server;
  /** Whether the server is one of TLS. */
  readonly isSecure: boolean;
  /** How long a connection may take to show what it is. */
  readonly firstBytesMsMax: number;
}

/** Call it before `server` listens. */
export function sharePort(server: HttpServer, { http2, isSecure, firstBytesMsMax }: SharedPortOptions): void {
  const toHttp2 = (socket: Socket): void => {
    // Servers of HTTP/1.1 keep half of a connection open, and a session would wait for ever.
    socket.allowHalfOpen = false;
    http2.emit('connection', socket);
  };
  if (isSecure) {
    interpose<TLSSocket>(server, 'secureConnection', (socket, pass) => {
      if (socket.alpnProtocol === 'h2') toHttp2(socket);
      else pass();
    });
    return;
  }
  interpose<Socket>(server, 'connection', (socket, pass) => {
    whenBeginningIsKnown(socket, firstBytesMsMax, (isHttp2) => {
      if (isHttp2) toHttp2(socket);
      else pass();
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
