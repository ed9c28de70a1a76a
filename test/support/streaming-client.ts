// A client of tempopb.StreamingQuerier: grpc-js, with the messages of tempopb.ts.
import * as grpc from '@grpc/grpc-js';
import {
  decodeMessage,
  encodeMessage,
  type Message,
  QueryInstantRequest,
  QueryInstantResponse,
  QueryRangeRequest,
  QueryRangeResponse,
  SearchRequest,
  SearchResponse,
  SearchTagsRequest,
  SearchTagsResponse,
  SearchTagsV2Response,
  SearchTagValuesRequest,
  SearchTagValuesResponse,
  SearchTagValuesV2Response,
} from './tempopb.ts';

const METHODS: Readonly<Record<string, readonly [request: Message, response: Message]>> = {
  Search: [SearchRequest, SearchResponse],
  SearchTags: [SearchTagsRequest, SearchTagsResponse],
  SearchTagsV2: [SearchTagsRequest, SearchTagsV2Response],
  SearchTagValues: [SearchTagValuesRequest, SearchTagValuesResponse],
  SearchTagValuesV2: [SearchTagValuesRequest, SearchTagValuesV2Response],
  MetricsQueryRange: [QueryRangeRequest, QueryRangeResponse],
  MetricsQueryInstant: [QueryInstantRequest, QueryInstantResponse],
};

export interface StreamAnswer {
  readonly messages: readonly Record<string, unknown>[];
  readonly sizes: readonly number[];
  /** Of gRPC; 0 = OK. */
  readonly code: number;
  readonly details: string;
  /** What came with the status. */
  readonly trailers: Readonly<Record<string, string>>;
}

export class StreamingClient {
  private readonly client: grpc.Client;

  constructor(address: string) {
    this.client = new grpc.Client(address, grpc.credentials.createInsecure());
  }

  /**
   * Asks and waits for the end, however it ends.
   *
   * @param messagesMax after so many the caller leaves.
   */
  ask(
    method: string,
    request: Readonly<Record<string, unknown>>,
    metadata: Readonly<Record<string, string>> = {},
    messagesMax = Infinity,
  ): Promise<StreamAnswer> {
    const [requestOf, responseOf] = METHODS[method] as readonly [Message, Message];
    const headers = new grpc.Metadata();
    for (const [name, value] of Object.entries(metadata)) headers.set(name, value);
    const call = this.client.makeServerStreamRequest(
      `/tempopb.StreamingQuerier/${method}`,
      (message: Uint8Array) => Buffer.from(message),
      (bytes: Buffer) => bytes,
      encodeMessage(requestOf, request),
      headers,
    );
    const messages: Record<string, unknown>[] = [];
    const sizes: number[] = [];
    return new Promise((resolve) => {
      call.on('data', (bytes: Buffer) => {
        messages.push(decodeMessage(responseOf, bytes));
        sizes.push(bytes.length);
        if (messages.length >= messagesMax) call.cancel();
      });
      // The status tells what the error says.
      call.on('error', () => {});
      call.on('status', ({ code, details, metadata: trailing }) => {
        const trailers = Object.fromEntries(
          Object.entries(trailing.getMap()).map(([name, value]) => [name, String(value)]),
        );
        resolve({ messages, sizes, code, details, trailers });
      });
    });
  }

  /** Asks a method that has one answer; rejects with what gRPC says. */
  unary(path: string, request: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        path,
        (message: Uint8Array) => Buffer.from(message),
        (bytes: Buffer) => bytes,
        request,
        (err, answer) => (answer === undefined ? reject(err ?? new Error('no answer')) : resolve(answer)),
      );
    });
  }

  close(): void {
    this.client.close();
  }
}
