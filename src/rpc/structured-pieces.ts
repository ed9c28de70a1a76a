// Plain data of any size as messages that are small enough for every peer: a byte that says whether more
// follows, and a piece.
import { TempoError } from '../lib/errors.ts';
import { decodeStructured, encodeStructured } from './structured.ts';

const PIECE_BYTES = 1 << 20;
/** Of a piece that is not the last: each costs memory beside its bytes. */
const PIECE_BYTES_MIN = 1 << 16;
const LAST = 0;
const MORE = 1;

export function* structuredPieces(value: unknown): Generator<Uint8Array> {
  const bytes = encodeStructured(value);
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = bytes.subarray(at, at + PIECE_BYTES);
    const message = new Uint8Array(1 + piece.length);
    message[0] = at + PIECE_BYTES < bytes.length ? MORE : LAST;
    message.set(piece, 1);
    yield message;
  }
}

export class PieceReader {
  readonly #bytesMax: number;
  #pieces: Uint8Array[] = [];
  #held = 0;

  /** @param bytesMax of one value. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** undefined = more pieces follow. Throws TempoError for what is no such data, or too much of it. */
  take(message: Uint8Array): unknown {
    // Nobody sends such a piece, and any number of them would have no bytes to be counted.
    if (message.length <= 1) throw new TempoError('invalid_argument', 'a piece of another process is empty');
    this.#held += message.length - 1;
    if (this.#held > this.#bytesMax) {
      throw new TempoError('too_large', `a message of another process has more than ${this.#bytesMax} bytes`);
    }
    if (message[0] === MORE && message.length < PIECE_BYTES_MIN) {
      throw new TempoError('invalid_argument', `another process sent a piece of ${message.length} bytes`);
    }
    this.#pieces.push(message.subarray(1));
    if (message[0] === MORE) return undefined;
    const bytes = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#held = 0;
    return decodeStructured(bytes);
  }
}
