// What comes back over the stream of a unary call: one message and a status, within a time and a size.
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { constants } from 'node:http2';
import { TempoError } from '../lib/errors.ts';
import { PREFIX_BYTES } from './grpc-message.ts';
import { codeOfStatus, GRPC_OK, percentDecode } from './grpc-status.ts';
import { inflate } from './inflate.ts';

export interface ReplyLimits {
  /** Of whom it comes, for messages. */
  readonly address: string;
  readonly bytesMax: number;
  readonly timeoutMs: number;
  /** Adds to what failed of the connection why that may be. */
  readonly explained: (text: string) => string;
}

/** To be made as soon as the stream is there. */
export class GrpcReply {
  readonly #stream: ClientHttp2Stream;
  readonly #limits: ReplyLimits;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  #headers: IncomingHttpHeaders = {};
  #trailers: IncomingHttpHeaders = {};
  #problem: TempoError | undefined;
  readonly #ended = Promise.withResolvers<void>();

  constructor(stream: ClientHttp2Stream, limits: ReplyLimits) {
    this.#stream = stream;
    this.#limits = limits;
    const { timeoutMs } = limits;
    const late = setTimeout(() => {
      this.#giveUp(
        new TempoError('deadline_exceeded', `${limits.address}: no answer within ${timeoutMs} ms`),
      );
    }, timeoutMs);
    stream.on('response', (headers) => {
      this.#headers = headers;
    });
    stream.on('trailers', (trailers) => {
      this.#trailers = trailers;
    });
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('error', (err: Error) => {
      this.#problem ??= new TempoError('unavailable', this.#said(err.message), err);
    });
    stream.on('close', () => {
      clearTimeout(late);
      this.#ended.resolve();
    });
  }

  /** Rejects with TempoError. @param signal gives the call up. */
  async message(signal?: AbortSignal): Promise<Uint8Array> {
    const leave = (): void => this.#giveUp(new TempoError('cancelled', 'the call was given up'));
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave, { once: true });
    await this.#ended.promise;
    signal?.removeEventListener('abort', leave);
    if (this.#problem !== undefined) throw this.#problem;
    this.#checkStatus();
    return await this.#body();
  }

  #said(text: string): string {
    const { address, explained } = this.#limits;
    return `${address}: ${explained(text)}`;
  }

  #take(chunk: Buffer): void {
    this.#length += chunk.length;
    const { address, bytesMax } = this.#limits;
    if (this.#length <= bytesMax + PREFIX_BYTES) {
      this.#chunks.push(chunk);
      return;
    }
    this.#giveUp(new TempoError('too_large', `${address}: received message larger than max (${bytesMax})`));
  }

  #giveUp(problem: TempoError): void {
    this.#problem ??= problem;
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #checkStatus(): void {
    const { address } = this.#limits;
    const all = { ...this.#headers, ...this.#trailers };
    const status = all['grpc-status'];
    if (status === undefined) {
      const http = all[constants.HTTP2_HEADER_STATUS];
      const missing = http === undefined ? 'an answer' : `a status (HTTP status ${String(http)})`;
      throw new TempoError('unavailable', this.#said(`the call ended without ${missing}`));
    }
    const number = Number(status);
    if (number === GRPC_OK) return;
    const text = percentDecode(String(all['grpc-message'] ?? ''));
    throw new TempoError(codeOfStatus(number), `${address}: ${text}`);
  }

  async #body(): Promise<Uint8Array> {
    const { address, bytesMax } = this.#limits;
    const [first] = this.#chunks;
    const all = first !== undefined && this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    const isWhole = all.length >= PREFIX_BYTES && all.readUInt32BE(1) === all.length - PREFIX_BYTES;
    if (!isWhole) throw new TempoError('internal', `${address}: the answer is no gRPC message`);
    const message = all.subarray(PREFIX_BYTES);
    if (all[0] === 0) return message;
    return await inflate(String(this.#headers['grpc-encoding'] ?? 'identity'), message, bytesMax);
  }
}
