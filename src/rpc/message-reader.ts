// Takes the length-prefixed messages of a gRPC stream out of DATA chunks that are cut anywhere. Of a call
// with one message that is MessageAssembler.
// Format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message.
import { TempoError } from '../lib/errors.ts';
import { PREFIX_BYTES } from './grpc-message.ts';

export interface ReadMessage {
  readonly isCompressed: boolean;
  readonly bytes: Uint8Array;
}

export class MessageReader {
  readonly #sizeMax: number;
  #chunks: Uint8Array[] = [];
  #held = 0;

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax;
  }

  /** Bytes of a message that is not complete. */
  get heldBytes(): number {
    return this.#held;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** undefined = the next one is not complete. Throws TempoError for what is no message or too large. */
  next(): ReadMessage | undefined {
    if (this.#held < PREFIX_BYTES) return undefined;
    const prefix = this.#peek(PREFIX_BYTES);
    const [flag] = prefix;
    if (flag! > 1) throw new TempoError('internal', `invalid compression flag ${flag} of a message`);
    const length = Buffer.from(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).readUInt32BE(1);
    if (length > this.#sizeMax) {
      const text = `grpc: received message larger than max (${length} vs. ${this.#sizeMax})`;
      throw new TempoError('too_large', text);
    }
    if (this.#held < PREFIX_BYTES + length) return undefined;
    const all = this.#peek(PREFIX_BYTES + length);
    this.#drop(PREFIX_BYTES + length);
    return { isCompressed: flag === 1, bytes: all.subarray(PREFIX_BYTES) };
  }

  /** The first bytes of what is held, as one piece. */
  #peek(length: number): Uint8Array {
    const [first] = this.#chunks;
    if (first!.length >= length) return first!.subarray(0, length);
    const pieces: Uint8Array[] = [];
    let left = length;
    for (const chunk of this.#chunks) {
      pieces.push(chunk.subarray(0, left));
      left -= Math.min(left, chunk.length);
      if (left === 0) break;
    }
    return Buffer.concat(pieces, length);
  }

  #drop(length: number): void {
    this.#held -= length;
    let left = length;
    let gone = 0;
    while (gone < this.#chunks.length && left >= this.#chunks[gone]!.length) {
      left -= this.#chunks[gone]!.length;
      gone++;
    }
    this.#chunks.splice(0, gone);
    if (left > 0) this.#chunks[0] = this.#chunks[0]!.subarray(left);
  }
}
