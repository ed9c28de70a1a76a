// What goes back over one HTTP/2 stream of a gRPC call: headers, framed messages, trailers, refusals.
// Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Responses.
import type { ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { PREFIX_BYTES } from './grpc-message.ts';
import { encodeStatus, type GrpcStatus, percentEncode } from './grpc-status.ts';

/** What requests may be compressed with: as Tempo's receiver, and `deflate`, which grpc-js can send. */
export const ENCODINGS: readonly string[] = ['gzip', 'snappy', 'zstd', 'deflate'];
const ACCEPTED = `identity,${ENCODINGS.join(',')}`;
const OK_HEADERS: readonly string[] = [
  ':status',
  '200',
  'content-type',
  'application/grpc',
  'grpc-accept-encoding',
  ACCEPTED,
];
const OK_TRAILERS = { 'grpc-status': '0' };
const TRAILERS_FOLLOW = { waitForTrailers: true };
/** How long a peer may go on sending on a stream that was refused. */
const REFUSED_STREAM_MS = 1000;

/**
 * False once the peer has reset the stream or left: a closed stream throws although it is not destroyed yet.
 */
export function canRespond(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && !stream.closed && !stream.headersSent;
}

/** Sends headers, after which messages and trailers follow. */
export function openAnswer(stream: ServerHttp2Stream): void {
  stream.respond(OK_HEADERS, TRAILERS_FOLLOW);
}

export function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** The trailers of success; a listener for `wantTrailers`. */
export function sendOkTrailers(this: ServerHttp2Stream): void {
  if (!this.destroyed && !this.closed) this.sendTrailers(OK_TRAILERS);
}

/** Ends an answer whose headers are sent; undefined = success. */
export function endAnswer(
  stream: ServerHttp2Stream,
  status: GrpcStatus | undefined,
  notes?: Readonly<Record<string, string>>,
): void {
  if (stream.destroyed || stream.closed) return;
  const trailers = status === undefined ? { ...OK_TRAILERS, ...notes } : statusHeaders(status);
  stream.on('wantTrailers', () => {
    if (!stream.destroyed && !stream.closed) stream.sendTrailers(trailers);
  });
  stream.end();
}

/** Answers with a status and no message, and has the peer stop sending. */
export function refuse(stream: ServerHttp2Stream, status: GrpcStatus): void {
  end(stream, {
    ':status': '200',
    'content-type': 'application/grpc',
    'grpc-accept-encoding': ACCEPTED,
    ...statusHeaders(status),
  });
}

export function refuseHttp(stream: ServerHttp2Stream, status: number, headers: Record<string, string>): void {
  end(stream, { ':status': String(status), ...headers });
}

function statusHeaders(status: GrpcStatus): Record<string, string> {
  const headers: Record<string, string> = {
    'grpc-status': String(status.code),
    'grpc-message': percentEncode(status.message),
  };
  if (status.retryAfterMs !== undefined) {
    headers['grpc-status-details-bin'] = Buffer.from(encodeStatus(status))
      .toString('base64')
      .replace(/=+$/, '');
  }
  return headers;
}

function end(stream: ServerHttp2Stream, headers: Record<string, string>): void {
  if (!canRespond(stream)) return;
  stream.respond(headers, { endStream: true });
  // What still comes is dropped. RST_STREAM(NO_ERROR) tells the peer that it need not send it (RFC 9113
  // section 8.1), but only later: at once it would overtake the headers.
  stream.resume();
  if (stream.readableEnded) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), REFUSED_STREAM_MS);
  stream.once('close', () => clearTimeout(timer));
}
