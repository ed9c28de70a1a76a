// How large the head of a request may be on the HTTP/1.1 ports, and what one is told that is larger.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** As Go's servers have it: queries are in the URL, tokens of a gateway in a header. */
export const HEADER_BYTES_MAX = 1_048_576;
/** Go's have none but that of bytes. */
const HEADERS_MAX = 10_000;

const TEXT =
  `the URL and headers of a request may have ${HEADER_BYTES_MAX} bytes together, ` +
  `and ${HEADERS_MAX} headers\n`;
const ANSWER = [
  'HTTP/1.1 431 Request Header Fields Too Large',
  'content-type: text/plain; charset=utf-8',
  `content-length: ${TEXT.length}`,
  'connection: close',
  '',
  TEXT,
].join('\r\n');

/** Says what is too large, and leaves all other errors of clients to whom they were left before. */
export function refuseLargeHeads(server: Server): void {
  server.maxHeadersCount = HEADERS_MAX;
  const others = server.listeners('clientError');
  server.removeAllListeners('clientError');
  server.on('clientError', (err: Error & { readonly code?: string }, socket: Socket) => {
    if (err.code !== 'HPE_HEADER_OVERFLOW' || !socket.writable) {
      for (const take of others) take.call(server, err, socket);
      return;
    }
    socket.write(ANSWER);
    socket.destroy(err);
  });
}
