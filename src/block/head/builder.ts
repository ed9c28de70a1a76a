// The one writer of a head: decodes OTLP requests into the vectors of layout.ts and publishes them a
// frame at a time.
import { Arena, ArenaFullError } from './arena.ts';
import type { Arrivals } from './arrivals.ts';
import {
  CONTROL_BIRTH,
  CONTROL_TRACES,
  CONTROL_VERSION,
  COUNTS_OFFSET_WORDS,
  HEADER_BYTES,
  HEAD_VECS,
  HEAD_VEC_NAMES,
  type HeadVecName,
} from './layout.ts';
import type { LiveTraces } from './live-traces.ts';
import { SpanDecoder, type HeadVecWriters } from './span-decoder.ts';
import { TRACE_WORDS, TraceWord } from './trace-table.ts';
import { VecWriter } from './vec.ts';
import { WIRE_PADDING } from './wire.ts';

/** What one request brought. */
export interface AppendResult {
  /** Spans that were taken. */
  readonly spans: number;
  /** Traces that the head did not have. */
  readonly traces: number;
  /** Traces that have got spans. */
  readonly touchedTraces: number;
  /** Those of them that were there, but silent. */
  readonly awakenedTraces: number;
  /** Spans left out because the head has them (same trace, span id and kind). */
  readonly duplicates: number;
  /**
   * Spans, attributes, events, links and larger messages left out because their bytes are not what
   * they should be.
   */
  readonly malformed: number;
  /** Keys and strings of attributes that were cut. */
  readonly truncated: number;
}

export interface HeadBuilderOptions {
  /** Most bytes of shared memory (at most 4 GiB); memory is only taken as it is used. */
  readonly maxBytes: number;
  /** Counts how far the spans are from now. */
  readonly arrivals?: Arrivals;
  /** Counts the traces that are live. */
  readonly live?: LiveTraces;
}

/** Bytes of a vParquet4 block for each byte of OTLP, as measured. */
const BLOCK_BYTES_PER_WIRE_BYTE = 0.34;

/**
 * What a head takes whatever it holds, as measured with thousands of them: objects, and pages that are used
 * in part.
 */
const OBJECT_BYTES = 36 * 1024;

/** The request that is being decoded: one for all heads of a thread, as it decodes one at a time. */
let frame = new Uint8Array(64 * 1024);

export class HeadBuilder {
  /** The head: what readers in other threads open. */
  readonly sab: SharedArrayBuffer;
  private readonly arena: Arena;
  private readonly vecs: readonly VecWriter[];
  private readonly decoder: SpanDecoder;
  private readonly control: Int32Array;
  private readonly traceVecs: Pick<
    HeadVecWriters,
    'traceId' | 'traceLastSpan' | 'traceSpans' | 'traceStart' | 'traceEnd' | 'traceBytes'
  >;
  private full = false;
  private publishedSpans = 0;
  private publishedTraces = 0;
  private readonly live: LiveTraces | undefined;
  /** Of the last frame. */
  private touchedTraces = 0;
  private awakenedTraces = 0;

  constructor(options: HeadBuilderOptions) {
    this.arena = new Arena(options.maxBytes);
    this.sab = this.arena.sab;
    this.arena.allocate(HEADER_BYTES);
    this.control = new Int32Array(this.sab, 0, HEADER_BYTES / 4);
    this.control.set(crypto.getRandomValues(new Int32Array(2)), CONTROL_BIRTH);
    const byName = new Map<HeadVecName, VecWriter>(
      HEAD_VEC_NAMES.map((name, i) => [name, new VecWriter(this.arena, HEAD_VECS[name], i)]),
    );
    const vecs = Object.fromEntries(byName) as HeadVecWriters;
    this.vecs = [...byName.values()];
    this.traceVecs = vecs;
    this.decoder = new SpanDecoder(this.arena, vecs);
    this.decoder.arrivals = options.arrivals;
    this.live = options.live;
    this.publish();
  }

  /**
   * Decodes one serialised ExportTraceServiceRequest, bytes[start, end), and publishes its spans all at once.
   * When the head has no room for it, throws ArenaFullError: nothing of the request is visible then,
   * `isFull` is true for ever, and the caller cuts this head and appends the request to a new one. (A
   * request that does not even fit an empty head fits none of that `maxBytes`.)
   */
  append(bytes: Uint8Array, start: number, end: number): AppendResult {
    if (this.full) throw new ArenaFullError('head is full');
    const length = end - start;
    if (frame.length < length + WIRE_PADDING) frame = new Uint8Array(length * 1.5 + WIRE_PADDING);
    // A private copy: the input may lie in memory that others write, and reads a little past its end must
    // be harmless.
    frame.set(bytes.subarray(start, end));
    frame.fill(0, length, length + WIRE_PADDING);
    const decoder = this.decoder;
    const { spanCount, traceCount } = this;
    this.full = true; // unless all goes well
    decoder.request(frame, length);
    this.publish();
    this.full = false;
    return {
      spans: this.publishedSpans - spanCount,
      traces: this.publishedTraces - traceCount,
      touchedTraces: this.touchedTraces,
      awakenedTraces: this.awakenedTraces,
      duplicates: decoder.duplicates,
      malformed: decoder.malformed,
      truncated: decoder.truncated,
    };
  }

  /** Keys and strings of attributes that come from now on are cut when they are longer. */
  set attributeBytesMax(bytes: number) {
    this.decoder.attributeBytesMax = bytes;
  }

  /**
   * True when a request did not fit: the head takes no more, and what was published before stays
   * readable.
   */
  get isFull(): boolean {
    return this.full;
  }

  get spanCount(): number {
    return this.publishedSpans;
  }

  get traceCount(): number {
    return this.publishedTraces;
  }

  /** Wire bytes of the spans of a trace so far. */
  bytesOfTrace(trace: number): number {
    return this.decoder.traces.words[trace * TRACE_WORDS + TraceWord.bytes]!;
  }

  /** Roughly what the block of this head will take. */
  get estimatedBlockBytes(): number {
    return Math.round(this.decoder.wireBytes * BLOCK_BYTES_PER_WIRE_BYTE);
  }

  /** Memory in use: the filled part of the shared buffer, the private tables, and the objects around. */
  get usedBytes(): number {
    let sum = OBJECT_BYTES + HEADER_BYTES + this.decoder.sizeBytes;
    for (const vec of this.vecs) sum += vec.sizeBytes;
    return sum;
  }

  /**
   * Bytes of the shared buffer that are handed out, filled or not: append throws when they would pass
   * `maxBytes`.
   */
  get reservedBytes(): number {
    return this.arena.usedBytes;
  }

  private publish(): void {
    this.publishTraces();
    const version = Atomics.load(this.control, CONTROL_VERSION) + 1;
    const slot = COUNTS_OFFSET_WORDS + (version & 1) * this.vecs.length;
    for (let i = 0; i < this.vecs.length; i++) Atomics.store(this.control, slot + i, this.vecs[i]!.count);
    Atomics.store(this.control, CONTROL_VERSION, version);
    this.publishedSpans = this.decoder.spanCount;
    this.publishedTraces = this.decoder.traces.count;
  }

  /**
   * Copies what changed of the traces into the shared columns, before the counts: readers see these
   * at or ahead of them.
   */
  private publishTraces(): void {
    const { traces } = this.decoder;
    const { traceLastSpan, traceSpans, traceStart, traceEnd, traceBytes } = this.traceVecs;
    const { words, touched } = traces;
    this.touchedTraces = traces.touchedCount;
    this.awakenedTraces = 0;
    Atomics.add(this.control, CONTROL_TRACES, 1);
    for (let i = 0; i < traces.touchedCount; i++) {
      const trace = touched[i]!;
      const at = trace * TRACE_WORDS;
      traceLastSpan.set(trace, words[at + TraceWord.lastSpan]!);
      traceSpans.set(trace, words[at + TraceWord.spans]!);
      traceStart.set(trace, words[at + TraceWord.startLow]!, 0);
      traceStart.set(trace, words[at + TraceWord.startHigh]!, 1);
      traceEnd.set(trace, words[at + TraceWord.endLow]!, 0);
      traceEnd.set(trace, words[at + TraceWord.endHigh]!, 1);
      traceBytes.set(trace, words[at + TraceWord.bytes]!);
      words[at + TraceWord.touched] = 0;
      if (this.live !== undefined) this.seeTrace(this.live, words, at);
    }
    traces.touchedCount = 0;
    Atomics.add(this.control, CONTROL_TRACES, 1);
  }

  private seeTrace(live: LiveTraces, words: Int32Array, at: number): void {
    const seenAt = words[at + TraceWord.seenAt]!;
    if (seenAt > 0 && !live.isLive(seenAt)) this.awakenedTraces++;
    words[at + TraceWord.seenAt] = live.see(seenAt);
  }
}
