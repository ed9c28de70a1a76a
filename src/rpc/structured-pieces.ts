// Messages of any size as pieces that are small enough for every peer, several messages at a time: a byte
// that says whether more follows, the number of the message, and some of its bytes.
import { TempoError } from '../lib/errors.ts';

const PIECE_BYTES = 1 << 20;
const HEADER_BYTES = 5;
/** Of a piece that is not the last: each costs memory beside its bytes. */
const PIECE_BYTES_MIN = 1 << 16;
const LAST = 0;
const MORE = 1;

/** Sends messages as pieces, one piece at a time: large messages do not hold back small ones. */
export class PieceSender {
  readonly #send: (piece: Uint8Array) => Promise<void>;
  #last: Promise<unknown> = Promise.resolve();
  #messages = 0;

  /** @param send resolves when there is room for the next piece. */
  constructor(send: (piece: Uint8Array) => Promise<void>) {
    this.#send = send;
  }

  /** Resolves when there is room for more; rejects when nobody would read it. */
  async say(bytes: Uint8Array): Promise<void> {
    const number = (this.#messages = (this.#messages + 1) >>> 0);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const part = bytes.subarray(at, at + PIECE_BYTES);
      const piece = Buffer.allocUnsafe(HEADER_BYTES + part.length);
      piece[0] = at + PIECE_BYTES < bytes.length ? MORE : LAST;
      piece.writeUInt32LE(number, 1);
      piece.set(part, HEADER_BYTES);
      const sent = this.#last.then(() => this.#send(piece));
      this.#last = sent.catch(() => undefined);
      await sent;
    }
  }
}

/** Puts messages together. */
export class PieceReader {
  readonly #bytesMax: number;
  readonly #begun = new Map<number, Uint8Array[]>();
  #held = 0;

  /** @param bytesMax of all messages that are not complete yet. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** undefined = more pieces follow. Throws TempoError for what is no piece, or too much. */
  take(piece: Uint8Array): Uint8Array | undefined {
    // Nobody sends such a piece, and any number of them would have no bytes to be counted.
    if (piece.length <= HEADER_BYTES) {
      throw new TempoError('invalid_argument', 'a piece of another process is empty');
    }
    const isLast = piece[0] !== MORE;
    if (!isLast && piece.length < PIECE_BYTES_MIN) {
      throw new TempoError('invalid_argument', `another process sent a piece of ${piece.length} bytes`);
    }
    const part = piece.subarray(HEADER_BYTES);
    if (this.#held + part.length > this.#bytesMax) {
      throw new TempoError('too_large', `a message of another process has more than ${this.#bytesMax} bytes`);
    }
    const number = new DataView(piece.buffer, piece.byteOffset).getUint32(1, true);
    const parts = this.#begun.get(number);
    if (isLast) {
      if (parts === undefined) return part;
      this.#begun.delete(number);
      for (const each of parts) this.#held -= each.length;
      return Buffer.concat([...parts, part]);
    }
    this.#held += part.length;
    if (parts === undefined) this.#begun.set(number, [part]);
    else parts.push(part);
    return undefined;
  }
}
