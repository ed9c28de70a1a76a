// The traces of one push as messages for ingesters: written once, in a buffer that all read whose share is
// all of them. Buffers go back when nobody reads them any more.
import { bufferBytes, measureEntries, writeEntries } from '../../contracts/push-bytes.ts';
import { TempoError } from '../../lib/errors.ts';
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import type { TraceLayout } from '../../model/otlp/trace-layout.ts';
import type { BufferPool } from '../../rpc/buffer-pool.ts';

export interface OutgoingMessage {
  readonly bytes: Uint8Array;
  /** What it is compressed to, once somebody has asked for that. */
  compressed?: Promise<Uint8Array>;
  readonly buffer: Uint8Array;
  readers: number;
}

export class OutgoingTraces {
  readonly count: number;
  /** By trace. */
  readonly spans: Int32Array;
  readonly #starts: Int32Array;
  readonly #buffers: BufferPool;
  readonly #all: OutgoingMessage;

  /**
   * Reads the layout and the body here and not later.
   * @throws TempoError `too_large`, or `unavailable` when too many buffers are out.
   */
  constructor(layout: TraceLayout, body: Uint8Array, buffers: BufferPool, messageBytesMax: number) {
    const { count } = layout;
    this.count = count;
    this.#buffers = buffers;
    const bytesOf = new Int32Array(count);
    const sum = measureEntries(layout, bytesOf);
    if (sum > messageBytesMax) {
      const text = `the request takes ${sum} bytes once its traces are apart`;
      throw new TempoError('too_large', `${text}, at most ${messageBytesMax} may be sent`);
    }
    this.#starts = new Int32Array(count + 1);
    this.spans = new Int32Array(count);
    for (let trace = 0; trace < count; trace++) {
      this.#starts[trace + 1] = this.#starts[trace]! + bytesOf[trace]!;
      this.spans[trace] = layout.spansOf(trace);
    }
    const buffer = buffers.take(bufferBytes(sum));
    writeEntries(layout, body, buffer);
    this.#all = { bytes: buffer.subarray(0, sum), buffer, readers: 1 };
  }

  /** The message with these traces, for one reader, who gives it back. */
  messageOf(traces: readonly number[]): OutgoingMessage {
    if (traces.length === this.count) {
      this.#all.readers++;
      return this.#all;
    }
    const starts = this.#starts;
    let length = 0;
    for (const trace of traces) length += starts[trace + 1]! - starts[trace]!;
    const buffer = this.#buffers.take(length);
    let at = 0;
    for (const trace of traces) {
      const entry = this.#all.buffer.subarray(starts[trace]!, starts[trace + 1]!);
      buffer.set(entry, at);
      at += entry.length;
    }
    return { bytes: buffer.subarray(0, length), buffer, readers: 1 };
  }

  giveBack(message: OutgoingMessage): void {
    if (--message.readers === 0) this.#buffers.give(message.buffer);
  }

  /** In hex; before `release`. */
  idOf(trace: number): string {
    // ids are at the end of entries
    const end = this.#starts[trace + 1]!;
    return Buffer.from(this.#all.buffer.subarray(end - TRACE_ID_BYTES, end)).toString('hex');
  }

  /** The push is over; messages may still have readers. */
  release(): void {
    this.giveBack(this.#all);
  }
}
