// The messages between query-frontends and queriers: frontend.Frontend, which carries requests of HTTP as
// httpgrpc has them. Nothing is sent here.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import { MessageFields } from '../model/otlp/message-fields.ts';

const SERVICE = '/frontend.Frontend/';
export const PROCESS_PATH = `${SERVICE}Process`;
export const SHUTDOWN_PATH = `${SERVICE}NotifyClientShutdown`;

/** Bits of what a querier can do. */
export const FEATURES = {
  /** Several requests in one message. */
  batches: 1,
  /** Whole queries, as remote-query.ts has them. */
  wholeQueries: 1 << 16,
} as const;

const TYPES = { request: 0, getId: 1, batch: 2 } as const;

/** What is asked beside GET_ID for those that do not know it. */
const ID_URL = '/invalid_request_sent_by_frontend';

type HttpHeaders = readonly (readonly [name: string, value: string])[];

export interface HttpGrpcRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: HttpHeaders;
  readonly body: Uint8Array;
}

export interface HttpGrpcResponse {
  readonly code: number;
  readonly headers: HttpHeaders;
  readonly body: Uint8Array;
}

export type FrontendMessage =
  | { readonly kind: 'getId' }
  | { readonly kind: 'request'; readonly request: HttpGrpcRequest }
  | { readonly kind: 'batch'; readonly requests: readonly HttpGrpcRequest[] };

/** What a querier says. */
export interface QuerierMessage {
  /** '' = none. */
  readonly clientId: string;
  readonly features: number;
  /** Of a request. */
  readonly response: HttpGrpcResponse | undefined;
  /** Of a batch, in its order. */
  readonly responses: readonly HttpGrpcResponse[];
}

const NOTHING = new Uint8Array(0);

export function frontendMessage(message: FrontendMessage): Uint8Array {
  const out = new ByteWriter();
  if (message.kind === 'getId') {
    bytesField(out, 1, requestMessage({ method: 'GET', url: ID_URL, headers: [], body: NOTHING }));
    varintField(out, 2, TYPES.getId);
  } else if (message.kind === 'request') {
    bytesField(out, 1, requestMessage(message.request));
  } else {
    varintField(out, 2, TYPES.batch);
    for (const request of message.requests) bytesField(out, 4, requestMessage(request));
  }
  return out.copy();
}

export function readFrontendMessage(bytes: Uint8Array): FrontendMessage {
  const fields = new MessageFields(bytes);
  const type = fields.number(2);
  if (type === TYPES.getId) return { kind: 'getId' };
  if (type === TYPES.batch) return { kind: 'batch', requests: fields.messages(4).map(readRequest) };
  return { kind: 'request', request: readRequest(fields.message(1)) };
}

export function querierMessage(message: Partial<QuerierMessage>): Uint8Array {
  const { clientId = '', features = 0, response, responses = [] } = message;
  const out = new ByteWriter((response?.body.length ?? 0) + 128);
  if (response !== undefined) bytesField(out, 1, responseMessage(response));
  textField(out, 2, clientId);
  for (const each of responses) bytesField(out, 4, responseMessage(each));
  varintField(out, 5, features);
  return out.copy();
}

export function readQuerierMessage(bytes: Uint8Array): QuerierMessage {
  const fields = new MessageFields(bytes);
  return {
    clientId: fields.text(2),
    features: fields.number(5),
    response: fields.messages(1).length === 0 ? undefined : readResponse(fields.message(1)),
    responses: fields.messages(4).map(readResponse),
  };
}

export function shutdownRequest(clientId: string): Uint8Array {
  const out = new ByteWriter();
  textField(out, 1, clientId);
  return out.copy();
}

export function readShutdownRequest(bytes: Uint8Array): string {
  return new MessageFields(bytes).text(1);
}

function requestMessage({ method, url, headers, body }: HttpGrpcRequest): Uint8Array {
  const out = new ByteWriter(body.length + url.length + 128);
  textField(out, 1, method);
  textField(out, 2, url);
  writeHeaders(out, 3, headers);
  if (body.length > 0) bytesField(out, 4, body);
  return out.view();
}

function readRequest(bytes: Uint8Array): HttpGrpcRequest {
  const fields = new MessageFields(bytes);
  return {
    method: fields.text(1),
    url: fields.text(2),
    headers: readHeaders(fields, 3),
    body: fields.message(4),
  };
}

function responseMessage({ code, headers, body }: HttpGrpcResponse): Uint8Array {
  const out = new ByteWriter(body.length + 128);
  varintField(out, 1, code);
  writeHeaders(out, 2, headers);
  if (body.length > 0) bytesField(out, 3, body);
  return out.view();
}

function readResponse(bytes: Uint8Array): HttpGrpcResponse {
  const fields = new MessageFields(bytes);
  return { code: fields.number(1), headers: readHeaders(fields, 2), body: fields.message(3) };
}

function writeHeaders(out: ByteWriter, field: number, headers: HttpHeaders): void {
  for (const [name, value] of headers) {
    const header = new ByteWriter();
    textField(header, 1, name);
    bytesField(header, 2, Buffer.from(value));
    bytesField(out, field, header.view());
  }
}

/** Of a header with several values the values one by one. */
function readHeaders(fields: MessageFields, field: number): HttpHeaders {
  return fields.messages(field).flatMap((header) => {
    const parts = new MessageFields(header);
    return parts.texts(2).map((value) => [parts.text(1), value] as const);
  });
}
