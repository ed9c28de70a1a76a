// What a gRPC listener serves: handlers by full path. Modules add theirs before listeners start. Handlers
// get and give serialised messages; nothing here knows protobuf.
import type { IncomingHttpHeaders } from 'node:http2';

export interface GrpcCall {
  /** The request message, uncompressed. Its bytes must not be used once the handler is done. */
  readonly message: Uint8Array;
  /** Header names in lower case; a repeated one is joined by `, `. */
  readonly metadata: IncomingHttpHeaders;
  /** Aborted when the caller leaves and when its deadline passes; nobody waits for the answer then. */
  readonly signal: AbortSignal;
  /** What a stream's handler puts here is sent behind its last message, beside the status of success. */
  readonly trailers: Record<string, string>;
}

/** Answers the response message; what it throws becomes the call's status (TempoError by its code). */
export type UnaryHandler = (call: GrpcCall) => Promise<Uint8Array>;

/**
 * Answers response messages one by one, as an async generator does. The next one is asked for when the
 * caller has room for it, and none any more once `signal` is aborted (the generator is returned). What it
 * throws becomes the call's status, also after messages.
 */
export type StreamHandler = (call: GrpcCall) => AsyncIterable<Uint8Array>;

/** Who is at the other end of a call with any number of messages each way. */
export interface DuplexPeer {
  /** As of a GrpcCall. */
  readonly metadata: IncomingHttpHeaders;
  /** Aborted when the call is over. */
  readonly signal: AbortSignal;
  /** Aborted when the listener stops: calls without work should end. */
  readonly stopping: AbortSignal;
  /** What it sends, uncompressed; ends when it has said all, and when it has left. To be asked for once. */
  messages(): AsyncGenerator<Uint8Array>;
  /** Resolves when there is room for the next one; rejects when nobody would read it. */
  send(message: Uint8Array): Promise<void>;
}

/** The call is over when it resolves; what it throws becomes the call's status. */
export type DuplexHandler = (peer: DuplexPeer) => Promise<void>;

export interface MethodOptions {
  /** For processes of this program among themselves: not served on ports that clients of it are given. */
  readonly isInternal?: boolean;
}

export type GrpcMethod = MethodOptions &
  (
    | { readonly kind: 'unary'; readonly handle: UnaryHandler }
    | { readonly kind: 'duplex'; readonly handle: DuplexHandler }
    | { readonly kind: 'stream'; readonly handle: StreamHandler }
  );

/** Handlers by full path: `/package.Service/Method`. */
export class GrpcMethods {
  readonly #methods = new Map<string, GrpcMethod>();

  /** Adds a method with one request and one response message. */
  unary(path: string, handle: UnaryHandler): this {
    return this.#add(path, { kind: 'unary', handle });
  }

  /** Adds a method with one request message and any number of response messages. */
  serverStream(path: string, handle: StreamHandler): this {
    return this.#add(path, { kind: 'stream', handle });
  }

  /** Adds a method with any number of messages each way. */
  duplex(path: string, handle: DuplexHandler, options: MethodOptions = {}): this {
    return this.#add(path, { kind: 'duplex', handle, ...options });
  }

  find(path: string): GrpcMethod | undefined {
    return this.#methods.get(path);
  }

  /** @param service as in paths: `package.Service`. */
  hasService(service: string): boolean {
    const prefix = `/${service}/`;
    return [...this.#methods.keys()].some((path) => path.startsWith(prefix));
  }

  #add(path: string, method: GrpcMethod): this {
    if (this.#methods.has(path)) throw new Error(`gRPC method ${path} is registered twice`);
    this.#methods.set(path, method);
    return this;
  }
}
