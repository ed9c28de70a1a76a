// A small OTLP client over gRPC: one HTTP/2 connection, serialised ExportTraceServiceRequests in, partial
// success out.
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { WireCursor } from '../model/otlp/wire.ts';

/** What the server says of an accepted request. */
type ExportResult = { readonly rejectedSpans: number; readonly message: string };

export type OtlpClient = {
  /**
   * Sends one request, for another tenant when one is named.
   * @throws Error when it was not accepted or the server cannot be reached.
   */
  readonly send: (request: Uint8Array, tenant?: string) => Promise<ExportResult>;
  readonly close: () => void;
};

const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const FRAME_HEAD_BYTES = 5;
const REQUEST_TIMEOUT_MS = 60_000;
const FIELD_PARTIAL_SUCCESS = 0x0a;
const FIELD_REJECTED_SPANS = 0x08;
const FIELD_ERROR_MESSAGE = 0x12;

export interface OtlpClientOptions {
  /** Empty or undefined = no tenant is named. */
  readonly tenant?: string | undefined;
  readonly authorization?: string | undefined;
}

/** Opens a connection; `url` is http://host:port for plain text, https://host:port for TLS. */
export async function connectOtlp(url: string, options: OtlpClientOptions = {}): Promise<OtlpClient> {
  const { tenant = '', authorization } = options;
  const headers = {
    ...(tenant === '' ? {} : { 'x-scope-orgid': tenant }),
    ...(authorization === undefined ? {} : { authorization }),
  };
  const session = await new Promise<ClientHttp2Session>((resolve, reject) => {
    const opening = connect(url);
    opening.once('error', reject);
    opening.once('connect', () => {
      opening.off('error', reject);
      resolve(opening);
    });
  });
  session.on('error', () => undefined); // each stream in flight is told of it too
  return {
    send: (request, other) =>
      sendOne(session, request, other === undefined ? headers : { ...headers, 'x-scope-orgid': other }),
    close: () => session.close(),
  };
}

function sendOne(
  session: ClientHttp2Session,
  request: Uint8Array,
  extraHeaders: Readonly<Record<string, string>>,
): Promise<ExportResult> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: EXPORT_PATH,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
      ...extraHeaders,
    });
    const chunks: Buffer[] = [];
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.setTimeout(REQUEST_TIMEOUT_MS, () => {
      stream.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS / 1000} s`));
    });
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('trailers', (received) => {
      trailers = received;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      const problem = statusProblem(headers, trailers);
      if (problem === undefined) resolve(parseResult(Buffer.concat(chunks).subarray(FRAME_HEAD_BYTES)));
      else reject(new Error(problem));
    });
    const head = Buffer.alloc(FRAME_HEAD_BYTES);
    head.writeUInt32BE(request.length, 1);
    stream.write(head);
    stream.end(request);
  });
}

function statusProblem(headers: IncomingHttpHeaders, trailers: IncomingHttpHeaders): string | undefined {
  const httpStatus = headers[constants.HTTP2_HEADER_STATUS];
  const all = { ...headers, ...trailers };
  const status = all['grpc-status'];
  if (status === '0') return undefined;
  if (status === undefined) return `the answer is no gRPC (HTTP status ${String(httpStatus ?? 'missing')})`;
  return `gRPC status ${String(status)}: ${decodeURIComponent(String(all['grpc-message'] ?? ''))}`;
}

/** Reads an ExportTraceServiceResponse. */
function parseResult(response: Uint8Array): ExportResult {
  const cursor = new WireCursor(response);
  let rejectedSpans = 0;
  let message = '';
  while (cursor.pos < response.length) {
    const tag = cursor.tag(response.length);
    if (tag === FIELD_PARTIAL_SUCCESS) {
      cursor.valueEnd(response.length); // its fields follow and have tags of their own
    } else if (tag === FIELD_REJECTED_SPANS) {
      rejectedSpans = cursor.varint(response.length);
    } else if (tag === FIELD_ERROR_MESSAGE) {
      const end = cursor.valueEnd(response.length);
      message = Buffer.from(response.subarray(cursor.pos, end)).toString();
      cursor.pos = end;
    } else {
      cursor.skip(tag & 7, response.length);
    }
  }
  return { rejectedSpans, message };
}
