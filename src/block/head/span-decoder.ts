// Decodes the spans of OTLP requests into the vectors of a head. A span counts only when all of its bytes
// are read: until then what it brought can be taken back. What is malformed is counted, and the rest goes
// on.
import { SPAN_ID_BYTES, TRACE_ID_BYTES } from '../../model/ids.ts';
import { Tag } from '../../model/otlp/encode.ts';
import type { Arena } from './arena.ts';
import type { Arrivals } from './arrivals.ts';
import { AttributeDecoder } from './attribute-decoder.ts';
import { Dictionary } from './dictionary.ts';
import { EventDecoder } from './event-decoder.ts';
import { GroupDecoder } from './group-decoder.ts';
import { isOdd, packKindStatus } from './kind-status.ts';
import type { HeadVecName } from './layout.ts';
import { SpanSet } from './span-set.ts';
import { TRACE_WORDS, TraceTable, TraceWord } from './trace-table.ts';
import type { VecWriter } from './vec.ts';
import { WireReader, word32 } from './wire.ts';

export type HeadVecWriters = Record<HeadVecName, VecWriter>;

const EMPTY = new Uint8Array(0);

export class SpanDecoder {
  readonly traces = new TraceTable();
  /** Set where arrivals count. */
  arrivals: Arrivals | undefined;
  /** Spans of the request at hand that the head has already. */
  duplicates = 0;
  /** Bytes of all spans that were taken. */
  wireBytes = 0;
  private readonly wire = new WireReader();
  private readonly keys: Dictionary;
  private readonly strings: Dictionary;
  private readonly attributes: AttributeDecoder;
  private readonly events: EventDecoder;
  private readonly groups: GroupDecoder;
  private readonly spanSet: SpanSet;
  private readonly vecs: HeadVecWriters;
  private readonly attrKeys: VecWriter;
  private readonly attrValues: VecWriter;
  // the span at hand
  private resource = 0;
  private scope = 0;
  private traceIdAt = -1;
  private hasSpanId = false;
  private idLow = 0;
  private idHigh = 0;
  private parentLow = 0;
  private parentHigh = 0;
  private startLow = 0;
  private startHigh = 0;
  private endLow = 0;
  private endHigh = 0;
  private name = 0;
  private kind = 0;
  private status = 0;
  private statusMessage = -1;
  private traceState = -1;
  private droppedAttributes = 0;
  private droppedEvents = 0;
  private droppedLinks = 0;
  private attrStart = 0;
  private wideStart = 0;
  private eventStart = 0;
  private linkStart = 0;
  private foundEnd = 0;

  constructor(arena: Arena, vecs: HeadVecWriters) {
    this.vecs = vecs;
    this.keys = new Dictionary(arena, vecs.keyOffset, vecs.keyLength);
    this.strings = new Dictionary(arena, vecs.strOffset, vecs.strLength);
    this.strings.intern(EMPTY, 0, 0); // id 0
    this.attributes = new AttributeDecoder(this.keys, this.strings, vecs.wide, this.wire);
    this.events = new EventDecoder(vecs, this.attributes, this.strings, this.wire);
    this.groups = new GroupDecoder(vecs, this.attributes, this.keys, this.strings, this.wire);
    this.spanSet = new SpanSet(vecs);
    this.attrKeys = vecs.spanAttrKey;
    this.attrValues = vecs.spanAttrValue;
  }

  /**
   * Decodes the ExportTraceServiceRequest in b[0, end), which is followed by WIRE_PADDING zeros.
   * Throws ArenaFullError.
   */
  request(b: Uint8Array, end: number): void {
    this.duplicates = 0;
    this.wire.malformed = 0;
    this.attributes.truncated = 0;
    for (let p = 0; p < end; ) {
      const isResourceSpans = b[p] === Tag.tracesData.resourceSpans;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        return;
      }
      if (isResourceSpans) this.resourceSpans(b, this.payload(b, p), next);
      p = next;
    }
  }

  /** Things of the request at hand that were left out. */
  get malformed(): number {
    return this.wire.malformed;
  }

  get spanCount(): number {
    return this.vecs.spanTrace.count;
  }

  /** Keys and strings of attributes longer than this are cut. */
  set attributeBytesMax(bytes: number) {
    this.attributes.bytesMax = bytes;
  }

  /** Keys and strings of the request at hand that were cut. */
  get truncated(): number {
    return this.attributes.truncated;
  }

  /** Bytes of the strings and of all private tables. */
  get sizeBytes(): number {
    return this.keys.sizeBytes + this.strings.sizeBytes + this.spanSet.sizeBytes + this.traces.sizeBytes;
  }

  /** Where the payload of the length-delimited field at `p` begins. */
  private payload(b: Uint8Array, p: number): number {
    this.wire.varint(b, p + 1);
    return this.wire.next;
  }

  private resourceSpans(b: Uint8Array, start: number, end: number): void {
    const at = this.find(b, start, end, Tag.resourceSpans.resource);
    this.resource =
      at < 0 ? this.groups.resource(b, 0, 0) : this.groups.resource(b, this.payload(b, at), this.foundEnd);
    for (let p = start; p < end; ) {
      const isScopeSpans = b[p] === Tag.resourceSpans.scopeSpans;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        return;
      }
      if (isScopeSpans) this.scopeSpans(b, this.payload(b, p), next);
      p = next;
    }
  }

  private scopeSpans(b: Uint8Array, start: number, end: number): void {
    const at = this.find(b, start, end, Tag.scopeSpans.scope);
    this.scope =
      at < 0 ? this.groups.scope(b, 0, 0) : this.groups.scope(b, this.payload(b, at), this.foundEnd);
    for (let p = start; p < end; ) {
      const isSpan = b[p] === Tag.scopeSpans.spans;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        return;
      }
      if (isSpan) this.span(b, this.payload(b, p), next);
      p = next;
    }
  }

  /**
   * Position of the first field with this tag (usually the very first field), or -1; its end is in
   * `foundEnd`.
   */
  private find(b: Uint8Array, start: number, end: number, tag: number): number {
    for (let p = start; p < end; ) {
      const next = this.wire.skip(b, p, end);
      if (next < 0) return -1;
      if (b[p] === tag) {
        this.foundEnd = next;
        return p;
      }
      p = next;
    }
    return -1;
  }

  private span(b: Uint8Array, start: number, end: number): void {
    const malformedBefore = this.wire.malformed;
    const truncatedBefore = this.attributes.truncated;
    this.begin();
    if (!this.fields(b, start, end) || this.traceIdAt < 0 || !this.hasSpanId) {
      this.rollback();
      this.wire.malformed = malformedBefore + 1;
      this.attributes.truncated = truncatedBefore;
      return;
    }
    const { traces } = this;
    const knownTraces = traces.count;
    const trace = traces.ordinal(b, this.traceIdAt);
    if (!this.spanSet.add(trace, this.idLow, this.idHigh, this.kind)) {
      this.rollback();
      this.wire.malformed = malformedBefore;
      this.attributes.truncated = truncatedBefore;
      this.duplicates++;
      return;
    }
    if (trace === knownTraces) this.beginTrace(b, this.traceIdAt);
    this.events.finish(this.startLow, this.startHigh);
    this.commitTrace(trace, end - start);
    this.commit(trace);
    this.wireBytes += end - start;
  }

  private begin(): void {
    this.traceIdAt = -1;
    this.hasSpanId = false;
    this.parentLow = 0;
    this.parentHigh = 0;
    this.startLow = 0;
    this.startHigh = 0;
    this.endLow = 0;
    this.endHigh = 0;
    this.name = 0;
    this.kind = 0;
    this.status = 0;
    this.statusMessage = -1;
    this.traceState = -1;
    this.droppedAttributes = 0;
    this.droppedEvents = 0;
    this.droppedLinks = 0;
    this.attrStart = this.attrKeys.count;
    this.wideStart = this.vecs.wide.count;
    this.eventStart = this.vecs.eventTime.count;
    this.linkStart = this.vecs.linkTraceId.count;
    this.events.begin();
  }

  private rollback(): void {
    this.attrKeys.truncate(this.attrStart);
    this.attrValues.truncate(this.attrStart);
    this.vecs.wide.truncate(this.wideStart);
    this.events.rollback();
  }

  /** Reads the fields of the Span in [start, end); false when it is malformed. */
  private fields(b: Uint8Array, start: number, end: number): boolean {
    const { wire } = this;
    let p = start;
    while (p < end) {
      const tag = b[p++]!;
      if ((tag & 0x87) === 2) {
        let length = b[p++]!;
        if (length > 127) {
          length = wire.varint(b, p - 1);
          p = wire.next;
        }
        const next = p + length;
        if (next > end) return false;
        if (tag === Tag.span.attributes) {
          if (!this.attributes.decode(b, p, next, this.attrKeys, this.attrValues)) wire.malformed++;
        } else {
          this.message(b, tag, p, next);
        }
        p = next;
      } else if (tag === Tag.span.startTimeUnixNano) {
        this.startLow = word32(b, p);
        this.startHigh = word32(b, p + 4);
        p += 8;
      } else if (tag === Tag.span.endTimeUnixNano) {
        this.endLow = word32(b, p);
        this.endHigh = word32(b, p + 4);
        p += 8;
      } else {
        p = this.number(b, tag, p, end);
        if (p < 0) return false;
      }
    }
    return p === end;
  }

  /** A varint field of a span, or one that we do not know. */
  private number(b: Uint8Array, tag: number, p: number, end: number): number {
    const next = this.wire.skip(b, p - 1, end);
    if (next < 0 || (tag & 0x87) !== 0) return next;
    const value = this.wire.varint(b, p);
    if (tag === Tag.span.kind) this.kind = this.int32(b, p, value);
    else if (tag === Tag.span.droppedAttributesCount) this.droppedAttributes = value;
    else if (tag === Tag.span.droppedEventsCount) this.droppedEvents = value;
    else if (tag === Tag.span.droppedLinksCount) this.droppedLinks = value;
    return next;
  }

  /** An enum, whose varint at `p` is `value`: of a larger number the low 32 bits count, signed. */
  private int32(b: Uint8Array, p: number, value: number): number {
    if (value < 0x8000_0000) return value;
    this.wire.varint64(b, p);
    return this.wire.low;
  }

  /** A length-delimited field of a span other than an attribute. Of several ids the last counts. */
  private message(b: Uint8Array, tag: number, start: number, end: number): void {
    const length = end - start;
    switch (tag) {
      case Tag.span.traceId:
        this.traceIdAt = length === TRACE_ID_BYTES ? start : -1;
        break;
      case Tag.span.spanId:
        this.hasSpanId = length === SPAN_ID_BYTES;
        this.idLow = word32(b, start);
        this.idHigh = word32(b, start + 4);
        break;
      case Tag.span.parentSpanId:
        this.parent(b, start, length);
        break;
      case Tag.span.name:
        this.name = this.strings.intern(b, start, length);
        break;
      case Tag.span.traceState:
        this.traceState = this.strings.intern(b, start, length);
        break;
      case Tag.span.events:
        this.events.event(b, start, end);
        break;
      case Tag.span.links:
        this.events.link(b, start, end);
        break;
      case Tag.span.status:
        this.readStatus(b, start, end);
        break;
    }
  }

  /** A parent of other than 8 bytes: its last 8, or padded with zeros on the left. All zero is no parent. */
  private parent(b: Uint8Array, start: number, length: number): void {
    if (length >= SPAN_ID_BYTES) {
      this.parentLow = word32(b, start + length - 8);
      this.parentHigh = word32(b, start + length - 4);
      return;
    }
    this.parentLow = 0;
    this.parentHigh = 0;
    for (let i = 0; i < length; i++) {
      const at = SPAN_ID_BYTES - length + i;
      if (at < 4) this.parentLow |= b[start + i]! << (at * 8);
      else this.parentHigh |= b[start + i]! << ((at - 4) * 8);
    }
  }

  /** What cannot be read of it is left out: the span was acknowledged, so it stays. */
  private readStatus(b: Uint8Array, start: number, end: number): void {
    for (let p = start; p < end; ) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        return;
      }
      if (tag === Tag.status.message) {
        const at = this.payload(b, p);
        this.statusMessage = this.strings.intern(b, at, next - at);
      } else if (tag === Tag.status.code) {
        this.status = this.int32(b, p + 1, this.wire.varint(b, p + 1));
      }
      p = next;
    }
  }

  private beginTrace(b: Uint8Array, idAt: number): void {
    const { vecs } = this;
    vecs.traceId.push4(word32(b, idAt), word32(b, idAt + 4), word32(b, idAt + 8), word32(b, idAt + 12));
    vecs.traceLastSpan.push(-1);
    vecs.traceSpans.push(0);
    vecs.traceStart.push2(0, 0);
    vecs.traceEnd.push2(0, 0);
    vecs.traceBytes.push(0);
  }

  /**
   * Links the span to its trace and widens the trace's times; the private table only, `publish`
   * copies it.
   */
  private commitTrace(trace: number, wireBytes: number): void {
    const { traces, startLow, startHigh, endLow, endHigh } = this;
    const { words } = traces;
    const at = trace * TRACE_WORDS;
    const isFirst = words[at + TraceWord.spans] === 0;
    this.vecs.spanPrev.push(words[at + TraceWord.lastSpan]!);
    words[at + TraceWord.lastSpan] = this.vecs.spanTrace.count;
    words[at + TraceWord.spans]!++;
    words[at + TraceWord.bytes]! += wireBytes;
    if (
      isFirst ||
      isBefore(startLow, startHigh, words[at + TraceWord.startLow]!, words[at + TraceWord.startHigh]!)
    ) {
      words[at + TraceWord.startLow] = startLow;
      words[at + TraceWord.startHigh] = startHigh;
    }
    if (isFirst || isBefore(words[at + TraceWord.endLow]!, words[at + TraceWord.endHigh]!, endLow, endHigh)) {
      words[at + TraceWord.endLow] = endLow;
      words[at + TraceWord.endHigh] = endHigh;
    }
    traces.touch(trace);
  }

  private commit(trace: number): void {
    const { vecs, startLow, startHigh, endLow, endHigh } = this;
    const span = vecs.spanTrace.count;
    vecs.spanTrace.push(trace);
    vecs.spanResource.push(this.resource);
    vecs.spanScope.push(this.scope);
    vecs.spanId.push2(this.idLow, this.idHigh);
    vecs.spanParent.push2(this.parentLow, this.parentHigh);
    vecs.spanName.push(this.name);
    vecs.spanKindStatus.push(packKindStatus(this.kind, this.status));
    if (isOdd(this.kind, this.status)) vecs.spanOddKindStatus.push4(span, this.kind, this.status, 0);
    vecs.spanStart.push2(startLow, startHigh);
    const borrow = endLow >>> 0 < startLow >>> 0 ? 1 : 0;
    vecs.spanDuration.push2((endLow - startLow) | 0, (endHigh - startHigh - borrow) | 0);
    vecs.spanTraceState.push(this.traceState);
    vecs.spanStatusMessage.push(this.statusMessage);
    vecs.spanAttrStart.push(this.attrStart);
    vecs.spanEventStart.push(this.eventStart);
    vecs.spanLinkStart.push(this.linkStart);
    if (this.droppedAttributes !== 0 || this.droppedEvents !== 0 || this.droppedLinks !== 0) {
      vecs.spanDropped.push4(span, this.droppedAttributes, this.droppedEvents, this.droppedLinks);
    }
    this.arrivals?.note(startLow, startHigh, endLow, endHigh);
  }
}

/** a < b as unsigned 64-bit numbers. */
function isBefore(aLow: number, aHigh: number, bLow: number, bHigh: number): boolean {
  return aHigh === bHigh ? aLow >>> 0 < bLow >>> 0 : aHigh >>> 0 < bHigh >>> 0;
}
