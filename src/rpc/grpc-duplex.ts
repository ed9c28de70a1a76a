// A gRPC call with any number of messages each way, on one HTTP/2 stream. It lasts as long as both want: it
// has no deadline of its own.
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import type { CallOptions } from './grpc-call.ts';
import { canRespond, endAnswer, framed, openAnswer, refuse } from './grpc-answer.ts';
import type { DuplexHandler, DuplexPeer } from './grpc-methods.ts';
import { GRPC_CANCELLED, GRPC_INTERNAL, GRPC_OK, type GrpcStatus, statusOfError } from './grpc-status.ts';
import { inflate } from './inflate.ts';
import { MessageReader } from './message-reader.ts';

export class DuplexCall implements DuplexPeer {
  readonly metadata: IncomingHttpHeaders;
  readonly stopping: AbortSignal;
  readonly #options: CallOptions;
  readonly #path: string;
  readonly #stream: ServerHttp2Stream;
  readonly #abort = new AbortController();
  readonly #onClose: () => void;
  readonly #beginMs = performance.now();
  #isOver = false;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(
    options: CallOptions,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    { stopping, onClose }: { readonly stopping: AbortSignal; readonly onClose: () => void },
  ) {
    this.stopping = stopping;
    this.#options = options;
    this.#stream = stream;
    this.metadata = headers;
    this.#path = headers[':path'] ?? '';
    this.#onClose = onClose;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  run(handle: DuplexHandler): void {
    const stream = this.#stream;
    this.#options.observer?.started(this.#path);
    stream.on('aborted', () => this.#end(GRPC_CANCELLED));
    stream.on('close', () => {
      this.#onClose();
      this.#end(GRPC_CANCELLED);
    });
    // The peer waits for headers before it sends anything.
    if (canRespond(stream)) openAnswer(stream);
    void handle(this).then(
      () => this.#finish(undefined),
      (err: unknown) => this.#fail(err),
    );
  }

  async *messages(): AsyncGenerator<Uint8Array> {
    const { recvMessageBytesMax } = this.#options;
    const reader = new MessageReader(recvMessageBytesMax);
    const encoding = String(this.metadata['grpc-encoding'] ?? 'identity');
    try {
      for await (const chunk of this.#stream.iterator({ destroyOnReturn: false })) {
        this.#bytesIn += (chunk as Buffer).length;
        reader.push(chunk as Buffer);
        for (let next = reader.next(); next !== undefined; next = reader.next()) {
          yield next.isCompressed ? await inflate(encoding, next.bytes, recvMessageBytesMax) : next.bytes;
        }
      }
    } catch (err) {
      if (!this.#stream.destroyed || err instanceof TempoError) throw err;
    }
    if (this.#stream.aborted || this.#stream.destroyed) return this.#end(GRPC_CANCELLED);
    if (reader.heldBytes > 0)
      throw new TempoError('internal', 'the request ended before its message was complete');
  }

  async send(message: Uint8Array): Promise<void> {
    const stream = this.#stream;
    const { sendMessageBytesMax: max, sendStallMsMax } = this.#options;
    if (max !== undefined && message.length > max) {
      const text = `grpc: trying to send message larger than max (${message.length} vs. ${max})`;
      throw new TempoError('too_large', text);
    }
    if (this.#isOver || stream.destroyed || stream.closed) {
      throw new TempoError('cancelled', 'the peer has left');
    }
    this.#bytesOut += message.length;
    if (stream.write(framed(message))) return;
    await new Promise<void>((resolve) => {
      const stalled = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), sendStallMsMax);
      const go = (): void => {
        clearTimeout(stalled);
        stream.off('drain', go).off('close', go);
        resolve();
      };
      stream.on('drain', go).on('close', go);
    });
  }

  #fail(err: unknown): void {
    const status = statusOfError(err);
    if (status.code === GRPC_INTERNAL && !this.#isOver) {
      this.#options.logger.error('grpc call failed', { path: this.#path, err });
    }
    this.#finish(status);
  }

  #finish(status: GrpcStatus | undefined): void {
    const stream = this.#stream;
    this.#end(status?.code ?? GRPC_OK);
    if (!stream.headersSent && status !== undefined) return refuse(stream, status);
    endAnswer(stream, status);
    // What the peer sends from now on is dropped, and it is told so soon.
    stream.resume();
    const late = setTimeout(
      () => stream.close(constants.NGHTTP2_NO_ERROR),
      this.#options.sendStallMsMax,
    ).unref();
    stream.once('close', () => clearTimeout(late));
  }

  #end(code: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#abort.abort(new TempoError('cancelled', 'the peer has left'));
    const seconds = (performance.now() - this.#beginMs) / 1000;
    this.#options.observer?.ended(this.#path, code, seconds, this.#bytesIn, this.#bytesOut);
  }
}
