// Text of which long runs are left out, as they stand in one other text that all of them share.
import { setImmediate as nextTurn } from 'node:timers/promises';

export interface FilledText {
  /**
   * Pieces one behind the other: piece i ends at ends[i], and is followed by `fill` from fillFrom[i] to
   * fillTo[i].
   */
  readonly bytes: Uint8Array;
  readonly ends: Float64Array;
  readonly fill: Uint8Array;
  readonly fillFrom: Uint32Array;
  readonly fillTo: Uint32Array;
}

/** Others get a turn after so many of them. */
const TURN_BYTES = 1 << 20;

/** Puts such a text together. */
export class FilledTextWriter {
  private readonly fill: Uint8Array;
  private readonly written: Uint8Array[] = [];
  private readonly ends: number[] = [];
  private readonly fillFrom: number[] = [];
  private readonly fillTo: number[] = [];
  private length = 0;

  constructor(fill: Uint8Array) {
    this.fill = fill;
  }

  /** @param bytes must stay as they are. */
  add(bytes: Uint8Array): void {
    this.written.push(bytes);
    this.length += bytes.length;
  }

  /** Leaves out a run which comes `position` bytes behind all that was added until now. */
  leaveOut(position: number, from: number, to: number): void {
    this.ends.push(this.length + position);
    this.fillFrom.push(from);
    this.fillTo.push(to);
  }

  text(): FilledText {
    const bytes = new Uint8Array(this.length);
    let at = 0;
    for (const one of this.written) {
      bytes.set(one, at);
      at += one.length;
    }
    return {
      bytes,
      ends: Float64Array.from([...this.ends, this.length]),
      fill: this.fill,
      fillFrom: Uint32Array.from([...this.fillFrom, 0]),
      fillTo: Uint32Array.from([...this.fillTo, 0]),
    };
  }
}

/** The whole text, in pieces. */
export function* piecesOf({ bytes, ends, fill, fillFrom, fillTo }: FilledText): Generator<Uint8Array> {
  let begin = 0;
  for (let i = 0; i < ends.length; i++) {
    const end = ends[i]!;
    if (end > begin) yield bytes.subarray(begin, end);
    if (fillTo[i]! > fillFrom[i]!) yield fill.subarray(fillFrom[i], fillTo[i]);
    begin = end;
  }
}

/** In one piece. Others get turns meanwhile. */
export async function wholeText(text: FilledText): Promise<Uint8Array> {
  const { bytes, fillFrom, fillTo } = text;
  let length = bytes.length;
  for (let i = 0; i < fillTo.length; i++) length += fillTo[i]! - fillFrom[i]!;
  const whole = new Uint8Array(length);
  let at = 0;
  let turnAt = TURN_BYTES;
  for (const piece of piecesOf(text)) {
    if (at >= turnAt) {
      await nextTurn();
      turnAt = at + TURN_BYTES;
    }
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Memory that it takes. */
export function textBytes({ bytes, ends, fill, fillFrom, fillTo }: FilledText): number {
  return [bytes, ends, fill, fillFrom, fillTo].reduce((sum, { byteLength }) => sum + byteLength, 0);
}
