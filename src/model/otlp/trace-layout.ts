// Where the spans of each trace lie in a request, and the request taken apart by it: what every trace needs
// of resources, scopes and spans, copied as bytes. Numbers in typed arrays; no object a trace or a span.
import type { ByteWriter } from '../../lib/byte-writer.ts';
import { TRACE_ID_BYTES } from '../ids.ts';
import { Tag } from './encode.ts';
import type { SpanSink } from './scan.ts';
import { isSameId } from './trace-runs.ts';

/** Words of a run: neighbouring spans of one trace. */
const Run = { scope: 0, start: 1, end: 2, next: 3 } as const;
const RUN_WORDS = 4;
/** Words of a trace. */
const Trace = { idAt: 0, spans: 1, firstRun: 2, lastRun: 3, start: 4, end: 6 } as const; // times: low, high
const TRACE_WORDS = 8;
/** Words of a resource or scope: its first part, and the bytes of its parts. */
const OWNER_WORDS = 2;
const COUNT_MIN = 64;
const SEC_MAX = 0xffff_ffff;
const NANOS_PER_SEC = 1_000_000_000;

/** Resources, or scopes, with the ranges of the body that belong to each. */
class Owners {
  count = 0;
  partCount = 0;
  words = new Int32Array(COUNT_MIN * OWNER_WORDS);
  parts = new Int32Array(COUNT_MIN * 2);

  clear(): void {
    this.count = 0;
    this.partCount = 0;
  }

  begin(): void {
    const at = this.count++ * OWNER_WORDS;
    if (at === this.words.length) this.words = doubled(this.words);
    this.words[at] = this.partCount;
    this.words[at + 1] = 0;
  }

  /** Adds to the owner that began last. */
  add(start: number, end: number): void {
    const owner = (this.count - 1) * OWNER_WORDS;
    this.words[owner + 1]! += end - start;
    const last = this.partCount - 1;
    if (last >= this.words[owner]! && this.parts[last * 2 + 1] === start) {
      this.parts[last * 2 + 1] = end;
      return;
    }
    const at = this.partCount++ * 2;
    if (at === this.parts.length) this.parts = doubled(this.parts);
    this.parts[at] = start;
    this.parts[at + 1] = end;
  }

  bytesOf(owner: number): number {
    return this.words[owner * OWNER_WORDS + 1]!;
  }

  copy(owner: number, body: Uint8Array, out: Uint8Array, to: number): number {
    const first = this.words[owner * OWNER_WORDS]!;
    const end = owner + 1 < this.count ? this.words[(owner + 1) * OWNER_WORDS]! : this.partCount;
    let at = to;
    for (let part = first; part < end; part++) {
      at = copyRange(body, this.parts[part * 2]!, this.parts[part * 2 + 1]!, out, at);
    }
    return at;
  }
}

/** Used again for request after request: valid until the next scan. */
export class TraceLayout implements SpanSink {
  count = 0;
  private traces = new Int32Array(COUNT_MIN * TRACE_WORDS);
  private runCount = 0;
  private runs = new Int32Array(COUNT_MIN * RUN_WORDS);
  private readonly resources = new Owners();
  private readonly scopes = new Owners();
  private resourceOf = new Int32Array(COUNT_MIN); // by scope
  private slots = new Int32Array(COUNT_MIN * 2); // trace + 1
  /** Lengths of the messages of the trace that is measured, in the order in which they begin. */
  private lengths = new Int32Array(COUNT_MIN);
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;
  private lastTrace = -1;

  clear(): void {
    this.count = 0;
    this.runCount = 0;
    this.resources.clear();
    this.scopes.clear();
    this.slots.fill(0);
    this.lastTrace = -1;
  }

  beginResource(): void {
    this.resources.begin();
  }

  resourceField(start: number, end: number): void {
    this.resources.add(start, end);
  }

  beginScope(): void {
    const scope = this.scopes.count;
    this.scopes.begin();
    if (scope === this.resourceOf.length) this.resourceOf = doubled(this.resourceOf);
    this.resourceOf[scope] = this.resources.count - 1;
  }

  scopeField(start: number, end: number): void {
    this.scopes.add(start, end);
  }

  addSpan(body: Uint8Array, start: number, end: number, idAt: number, startAt: number, endAt: number): void {
    let trace = this.lastTrace;
    if (trace < 0 || !isSameId(body, this.traces[trace * TRACE_WORDS]!, idAt)) trace = this.find(body, idAt);
    this.lastTrace = trace;
    const at = trace * TRACE_WORDS;
    this.traces[at + Trace.spans]!++;
    this.noteStart(at + Trace.start, body, startAt);
    this.noteEnd(at + Trace.end, body, endAt);
    this.addRun(at, start, end);
  }

  spansOf(trace: number): number {
    return this.traces[trace * TRACE_WORDS + Trace.spans]!;
  }

  /** Where the 16 bytes of its id are in the body. */
  idAt(trace: number): number {
    return this.traces[trace * TRACE_WORDS]!;
  }

  /** Of its earliest start and of its latest end, in whole unix seconds; 0 = none is known. */
  startSec(trace: number): number {
    return secondsOf(this.traces, trace * TRACE_WORDS + Trace.start);
  }

  endSec(trace: number): number {
    return secondsOf(this.traces, trace * TRACE_WORDS + Trace.end);
  }

  /** Bytes of the trace as TracesData; `write` may follow for the same trace. */
  measure(trace: number): number {
    const { runs } = this;
    let run = this.traces[trace * TRACE_WORDS + Trace.firstRun]!;
    let total = 0;
    let lengths = 0;
    while (run >= 0) {
      const resource = this.resourceOf[runs[run * RUN_WORDS]!]!;
      const mine = lengths++;
      let length = this.resources.bytesOf(resource);
      while (run >= 0 && this.resourceOf[runs[run * RUN_WORDS]!] === resource) {
        const scope = runs[run * RUN_WORDS]!;
        let inner = this.scopes.bytesOf(scope);
        while (run >= 0 && runs[run * RUN_WORDS] === scope) {
          inner += runs[run * RUN_WORDS + Run.end]! - runs[run * RUN_WORDS + Run.start]!;
          run = runs[run * RUN_WORDS + Run.next]!;
        }
        this.note(lengths++, inner);
        length += fieldBytes(inner);
      }
      this.note(mine, length);
      total += fieldBytes(length);
    }
    return total;
  }

  /** Appends the trace that was measured last, as TracesData. `out` has room for it. */
  write(trace: number, body: Uint8Array, out: ByteWriter): void {
    const { runs } = this;
    let run = this.traces[trace * TRACE_WORDS + Trace.firstRun]!;
    let lengths = 0;
    while (run >= 0) {
      const resource = this.resourceOf[runs[run * RUN_WORDS]!]!;
      out.bytes[out.length++] = Tag.tracesData.resourceSpans;
      out.varint(this.lengths[lengths++]!);
      out.length = this.resources.copy(resource, body, out.bytes, out.length);
      while (run >= 0 && this.resourceOf[runs[run * RUN_WORDS]!] === resource) {
        const scope = runs[run * RUN_WORDS]!;
        out.bytes[out.length++] = Tag.resourceSpans.scopeSpans;
        out.varint(this.lengths[lengths++]!);
        out.length = this.scopes.copy(scope, body, out.bytes, out.length);
        while (run >= 0 && runs[run * RUN_WORDS] === scope) {
          const at = run * RUN_WORDS;
          out.length = copyRange(body, runs[at + Run.start]!, runs[at + Run.end]!, out.bytes, out.length);
          run = runs[at + Run.next]!;
        }
      }
    }
  }

  private noteStart(at: number, body: Uint8Array, p: number): void {
    const low = p === 0 ? 0 : word32(body, p);
    const high = p === 0 ? 0 : word32(body, p + 4);
    if (isLess(low, high, this.traces[at]!, this.traces[at + 1]!)) {
      this.traces[at] = low;
      this.traces[at + 1] = high;
    }
  }

  private noteEnd(at: number, body: Uint8Array, p: number): void {
    if (p === 0) return;
    const low = word32(body, p);
    const high = word32(body, p + 4);
    if (isLess(this.traces[at]!, this.traces[at + 1]!, low, high)) {
      this.traces[at] = low;
      this.traces[at + 1] = high;
    }
  }

  private addRun(trace: number, start: number, end: number): void {
    const { traces } = this;
    const scope = this.scopes.count - 1;
    const last = traces[trace + Trace.lastRun]! * RUN_WORDS;
    if (last >= 0 && this.runs[last + Run.end] === start && this.runs[last] === scope) {
      this.runs[last + Run.end] = end;
      return;
    }
    const run = this.runCount++;
    const at = run * RUN_WORDS;
    if (at === this.runs.length) this.runs = doubled(this.runs);
    this.runs[at] = scope;
    this.runs[at + Run.start] = start;
    this.runs[at + Run.end] = end;
    this.runs[at + Run.next] = -1;
    if (last >= 0) this.runs[last + Run.next] = run;
    else traces[trace + Trace.firstRun] = run;
    traces[trace + Trace.lastRun] = run;
  }

  /** The trace whose id is at `p`; a new one where it is not known. */
  private find(body: Uint8Array, p: number): number {
    const { slots, traces } = this;
    const mask = slots.length - 1;
    for (let slot = hashOf(body, p, this.seed) & mask; ; slot = (slot + 1) & mask) {
      const trace = slots[slot]! - 1;
      if (trace < 0) return this.add(slot, p, body);
      if (isSameId(body, traces[trace * TRACE_WORDS]!, p)) return trace;
    }
  }

  private add(slot: number, idAt: number, body: Uint8Array): number {
    const trace = this.count++;
    const at = trace * TRACE_WORDS;
    if (at === this.traces.length) this.traces = doubled(this.traces);
    const { traces } = this;
    traces[at] = idAt;
    traces[at + Trace.spans] = 0;
    traces[at + Trace.start] = -1;
    traces[at + Trace.start + 1] = -1;
    traces[at + Trace.end] = 0;
    traces[at + Trace.end + 1] = 0;
    traces[at + Trace.firstRun] = -1;
    traces[at + Trace.lastRun] = -1;
    this.slots[slot] = trace + 1;
    if (this.count * 2 > this.slots.length) this.index(body);
    return trace;
  }

  private index(body: Uint8Array): void {
    const slots = new Int32Array(this.slots.length * 2);
    const mask = slots.length - 1;
    for (let trace = 0; trace < this.count; trace++) {
      let slot = hashOf(body, this.traces[trace * TRACE_WORDS]!, this.seed) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = trace + 1;
    }
    this.slots = slots;
  }

  private note(at: number, length: number): void {
    if (at >= this.lengths.length) this.lengths = doubled(this.lengths);
    this.lengths[at] = length;
  }
}

/** Of a field with a one-byte tag. */
function fieldBytes(length: number): number {
  return 1 + varintBytes(length) + length;
}

export function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5;
}

/** Whole seconds of the nanoseconds in two words, digit by digit: they need more bits than a number has. */
function secondsOf(words: Int32Array, at: number): number {
  const low = words[at]!;
  const high = words[at + 1]!;
  let seconds = 0;
  let rest = 0;
  for (let digit = 3; digit >= 0; digit--) {
    const word = digit > 1 ? high : low;
    const value = rest * 0x1_0000 + ((word >>> ((digit & 1) * 16)) & 0xffff);
    const quotient = Math.floor(value / NANOS_PER_SEC);
    seconds = seconds * 0x1_0000 + quotient;
    rest = value - quotient * NANOS_PER_SEC;
  }
  return Math.min(seconds, SEC_MAX);
}

/** Of two unsigned numbers of 64 bits. */
function isLess(lowA: number, highA: number, lowB: number, highB: number): boolean {
  return highA === highB ? lowA >>> 0 < lowB >>> 0 : highA >>> 0 < highB >>> 0;
}

function hashOf(b: Uint8Array, p: number, seed: number): number {
  let h = seed;
  for (let at = p; at < p + TRACE_ID_BYTES; at += 4) {
    h = Math.imul(h ^ word32(b, at), 0x9e37_79b1);
    h ^= h >>> 15;
  }
  return h;
}

/** Four bytes, little-endian. */
function word32(b: Uint8Array, p: number): number {
  return b[p]! | (b[p + 1]! << 8) | (b[p + 2]! << 16) | (b[p + 3]! << 24);
}

function copyRange(from: Uint8Array, start: number, end: number, out: Uint8Array, to: number): number {
  out.set(from.subarray(start, end), to);
  return to + end - start;
}

function doubled(list: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(list.length * 2);
  grown.set(list);
  return grown;
}
