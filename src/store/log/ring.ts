// The ring: shared memory through which frames go from the main thread to the log file and to the builder
// thread. Its content is the image of the log; positions only grow and count bytes since the ring was made.
import {
  FRAME_ALIGN,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  type FrameHeader,
  FrameWriter,
  headerFields,
  SKIP_MAGIC,
  WRAP_MAGIC,
} from './frame.ts';

/** Words (int32) of the shared state. Positions are kept in units of 8 bytes, modulo 2^32. */
export const RingWord = {
  /** Counts everything the builder should wake up for. */
  signal: 0,
  /** What is in the log up to here may be read. */
  durable: 1,
  /** What the builder has taken in up to here may be overwritten. */
  consumed: 2,
  /** 1 = the builder is to end. */
  stop: 3,
  /** Two words: the sequence number (f64) of the last consumed frame. */
  consumedSequence: 6,
  /** Two words: the sequence number (f64) of the frame that is being taken in, wherever it is from; or 0. */
  takingSequence: 8,
} as const;

const STATE_BYTES = 64;

/** What both ends share. */
export interface RingMemory {
  readonly data: SharedArrayBuffer;
  readonly state: SharedArrayBuffer;
}

export function createRingMemory(sizeBytes: number): RingMemory {
  return {
    data: new SharedArrayBuffer(Math.ceil(sizeBytes / 4096) * 4096),
    state: new SharedArrayBuffer(STATE_BYTES),
  };
}

/** Difference of two word positions in bytes (at most 16 GiB apart). */
function bytesBetween(fromWord: number, toWord: number): number {
  return ((toWord - fromWord) >>> 0) * FRAME_ALIGN;
}

function wordOf(position: number): number {
  return (position / FRAME_ALIGN) | 0;
}

/** The writing end: reserves space, in order. */
export class RingWriter {
  readonly sizeBytes: number;
  readonly frames: FrameWriter;
  /** Where the next frame goes. */
  appended = 0;
  /** What is durable ends here. */
  published = 0;
  private consumedAt = 0;
  private readonly words: Int32Array;
  private readonly sequence: Float64Array;

  constructor(memory: RingMemory) {
    this.sizeBytes = memory.data.byteLength;
    this.frames = new FrameWriter(memory.data);
    this.words = new Int32Array(memory.state);
    this.sequence = new Float64Array(memory.state);
  }

  /** Position up to which the builder is done. */
  get consumed(): number {
    const word = Atomics.load(this.words, RingWord.consumed);
    this.consumedAt += bytesBetween(wordOf(this.consumedAt), word);
    return this.consumedAt;
  }

  get consumedSequence(): number {
    return this.sequence[RingWord.consumedSequence / 2];
  }

  get usedBytes(): number {
    return this.appended - this.consumed;
  }

  offset(position: number): number {
    return position % this.sizeBytes;
  }

  /** The frame that a builder which ended was taking in; 0 = it was between two. */
  get takingSequence(): number {
    return this.sequence[RingWord.takingSequence / 2]!;
  }

  /** Bytes lost at the end of the ring when the next frame has this size. */
  wrapBytes(sizeBytes: number): number {
    const left = this.sizeBytes - this.offset(this.appended);
    return left < sizeBytes ? left : 0;
  }

  fits(sizeBytes: number): boolean {
    return this.usedBytes + this.wrapBytes(sizeBytes) + sizeBytes <= this.sizeBytes;
  }

  /** Goes to the start of the ring; to be called when `wrapBytes` is not 0 and it fits. */
  wrap(bytes: number): void {
    this.frames.mark(this.offset(this.appended), WRAP_MAGIC, bytes);
    this.appended += bytes;
  }

  /**
   * Turns [from, to) into nothing: frames that never reached the log. The stretches at both sides of the end
   * count apart.
   */
  skip(from: number, to: number): void {
    for (let at = from; at < to; ) {
      const end = Math.min(to, at - this.offset(at) + this.sizeBytes);
      const whole = end - at === this.sizeBytes - this.offset(at);
      this.frames.mark(this.offset(at), whole ? WRAP_MAGIC : SKIP_MAGIC, end - at);
      at = end;
    }
  }

  /** Lets the builder read up to `position`. */
  publish(position: number): void {
    this.published = position;
    Atomics.store(this.words, RingWord.durable, wordOf(position));
    this.signal();
  }

  /** Wakes the builder. */
  signal(): void {
    Atomics.add(this.words, RingWord.signal, 1);
    Atomics.notify(this.words, RingWord.signal);
  }

  stop(): void {
    Atomics.store(this.words, RingWord.stop, 1);
    this.signal();
  }

  /** Resolves when the builder has consumed more than it has now, or after the time. */
  async progress(timeoutMs: number): Promise<void> {
    const seen = Atomics.load(this.words, RingWord.consumed);
    if (bytesBetween(wordOf(this.consumedAt), seen) > 0) return;
    const wait = Atomics.waitAsync(this.words, RingWord.consumed, seen, timeoutMs);
    if (wait.async) await wait.value;
  }
}

/** Where a frame is in the ring; valid until the frame is consumed. */
export interface RingFrame {
  readonly header: FrameHeader;
  readonly tenantOffset: number;
  readonly payloadOffset: number;
}

/** The reading end: takes durable frames in order. */
export class RingReader {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly sequence: Float64Array;
  private readonly sizeBytes: number;
  /** Word position of the next frame, and its offset in the ring. */
  private word: number;
  private offset: number;
  /** Word position behind the frame that `next` returned. */
  private nextWord: number;

  /** @param position where the writer's first frame for this reader is. */
  constructor(memory: RingMemory, position: number) {
    this.bytes = new Uint8Array(memory.data);
    this.view = new DataView(memory.data);
    this.words = new Int32Array(memory.state);
    this.sequence = new Float64Array(memory.state);
    this.sizeBytes = memory.data.byteLength;
    this.word = wordOf(position);
    this.offset = position % this.sizeBytes;
    this.nextWord = this.word;
  }

  get signal(): number {
    return Atomics.load(this.words, RingWord.signal);
  }

  get stopped(): boolean {
    return Atomics.load(this.words, RingWord.stop) === 1;
  }

  /** Blocks the thread until the signal is no more what it was, or for the time. */
  wait(seenSignal: number, timeoutMs: number): void {
    Atomics.wait(this.words, RingWord.signal, seenSignal, timeoutMs);
  }

  /** The next durable frame, or undefined. The one before counts as read, but not as consumed. */
  next(): RingFrame | undefined {
    const durable = Atomics.load(this.words, RingWord.durable);
    while (this.word !== durable) {
      const { offset, view } = this;
      const magic = view.getUint32(offset, true);
      if (magic === FRAME_MAGIC) {
        const header = headerFields(new DataView(view.buffer, offset, FRAME_HEADER_BYTES));
        const tenantOffset = offset + FRAME_HEADER_BYTES;
        const payloadOffset = tenantOffset + header.tenantLength;
        this.nextWord = this.word + Math.ceil((payloadOffset + header.payloadLength - offset) / FRAME_ALIGN);
        return { header, tenantOffset, payloadOffset };
      }
      const skipped = magic === SKIP_MAGIC ? view.getUint32(offset + 12, true) : this.sizeBytes - offset;
      this.nextWord = this.word + skipped / FRAME_ALIGN;
      this.advance();
    }
    return undefined;
  }

  /** Notes what is being taken in, so that it is known when the thread does not survive it; 0 = nothing. */
  taking(sequence: number): void {
    this.sequence[RingWord.takingSequence / 2] = sequence;
  }

  /** Gives the space of the frame back. */
  consume(sequence: number): void {
    this.sequence[RingWord.consumedSequence / 2] = sequence;
    this.advance();
  }

  private advance(): void {
    const bytes = bytesBetween(this.word, this.nextWord | 0);
    this.word = this.nextWord | 0;
    this.offset = (this.offset + bytes) % this.sizeBytes;
    Atomics.store(this.words, RingWord.consumed, this.word);
    Atomics.notify(this.words, RingWord.consumed);
  }
}
