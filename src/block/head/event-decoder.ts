// Decodes the events and links of one span at a time into the vectors of a head.
import { Tag } from '../../model/otlp/encode.ts';
import type { AttributeDecoder } from './attribute-decoder.ts';
import type { Dictionary } from './dictionary.ts';
import type { HeadVecName } from './layout.ts';
import type { VecWriter } from './vec.ts';
import { type WireReader, word32 } from './wire.ts';

export class EventDecoder {
  private readonly attributes: AttributeDecoder;
  private readonly strings: Dictionary;
  private readonly wire: WireReader;
  private readonly eventTime: VecWriter;
  private readonly eventName: VecWriter;
  private readonly eventAttrStart: VecWriter;
  private readonly eventDropped: VecWriter;
  private readonly eventAttrKey: VecWriter;
  private readonly eventAttrValue: VecWriter;
  private readonly linkTraceId: VecWriter;
  private readonly linkSpanId: VecWriter;
  private readonly linkTraceState: VecWriter;
  private readonly linkAttrStart: VecWriter;
  private readonly linkDropped: VecWriter;
  private readonly linkAttrKey: VecWriter;
  private readonly linkAttrValue: VecWriter;
  private readonly wide: VecWriter;
  // counts at the begin of the span
  private firstEvent = 0;
  private firstEventAttr = 0;
  private firstLink = 0;
  private firstLinkAttr = 0;

  constructor(
    vecs: Record<HeadVecName, VecWriter>,
    attributes: AttributeDecoder,
    strings: Dictionary,
    wire: WireReader,
  ) {
    this.attributes = attributes;
    this.strings = strings;
    this.wire = wire;
    this.eventTime = vecs.eventTime;
    this.eventName = vecs.eventName;
    this.eventAttrStart = vecs.eventAttrStart;
    this.eventDropped = vecs.eventDropped;
    this.eventAttrKey = vecs.eventAttrKey;
    this.eventAttrValue = vecs.eventAttrValue;
    this.linkTraceId = vecs.linkTraceId;
    this.linkSpanId = vecs.linkSpanId;
    this.linkTraceState = vecs.linkTraceState;
    this.linkAttrStart = vecs.linkAttrStart;
    this.linkDropped = vecs.linkDropped;
    this.linkAttrKey = vecs.linkAttrKey;
    this.linkAttrValue = vecs.linkAttrValue;
    this.wide = vecs.wide;
  }

  /** Begins a span: what follows can be taken back with `rollback`. */
  begin(): void {
    this.firstEvent = this.eventTime.count;
    this.firstEventAttr = this.eventAttrKey.count;
    this.firstLink = this.linkTraceId.count;
    this.firstLinkAttr = this.linkAttrKey.count;
  }

  /** Takes back the events and links of the span. */
  rollback(): void {
    this.eventTime.truncate(this.firstEvent);
    this.eventName.truncate(this.firstEvent);
    this.eventAttrStart.truncate(this.firstEvent);
    this.eventDropped.truncate(this.firstEvent);
    this.eventAttrKey.truncate(this.firstEventAttr);
    this.eventAttrValue.truncate(this.firstEventAttr);
    this.linkTraceId.truncate(this.firstLink);
    this.linkSpanId.truncate(this.firstLink);
    this.linkTraceState.truncate(this.firstLink);
    this.linkAttrStart.truncate(this.firstLink);
    this.linkDropped.truncate(this.firstLink);
    this.linkAttrKey.truncate(this.firstLinkAttr);
    this.linkAttrValue.truncate(this.firstLinkAttr);
  }

  /** Ends a span: event times become relative to its start, which may come after them in the bytes. */
  finish(startLow: number, startHigh: number): void {
    const time = this.eventTime;
    for (let i = this.firstEvent; i < time.count; i++) {
      const low = time.get(i, 0);
      const borrow = low >>> 0 < startLow >>> 0 ? 1 : 0;
      time.set(i, (low - startLow) | 0, 0);
      time.set(i, (time.get(i, 1) - startHigh - borrow) | 0, 1);
    }
  }

  /** Appends the Event in [start, end), its time still absolute, or counts it as malformed. */
  event(b: Uint8Array, start: number, end: number): void {
    const attrStart = this.eventAttrKey.count;
    const wideStart = this.wide.count;
    let low = 0;
    let high = 0;
    let name = 0;
    let dropped = 0;
    let p = start;
    while (p < end && p >= 0) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        p = next;
        break;
      }
      if (tag === Tag.event.timeUnixNano) {
        low = word32(b, p + 1);
        high = word32(b, p + 5);
      } else if (tag === Tag.event.name) {
        name = this.string(b, p, next);
      } else if (tag === Tag.event.attributes) {
        this.attribute(b, p, next, this.eventAttrKey, this.eventAttrValue);
      } else if (tag === Tag.event.droppedAttributesCount) {
        dropped = this.wire.varint(b, p + 1);
      }
      p = next;
    }
    if (p !== end) {
      this.wire.malformed++;
      this.eventAttrKey.truncate(attrStart);
      this.eventAttrValue.truncate(attrStart);
      this.wide.truncate(wideStart);
      return;
    }
    this.eventTime.push2(low, high);
    this.eventName.push(name);
    this.eventAttrStart.push(attrStart);
    this.eventDropped.push(dropped);
  }

  /** Appends the Link in [start, end), or counts it as malformed. */
  link(b: Uint8Array, start: number, end: number): void {
    const attrStart = this.linkAttrKey.count;
    const wideStart = this.wide.count;
    let traceId = 0;
    let spanId = 0;
    let traceState = -1;
    let dropped = 0;
    let p = start;
    while (p < end && p >= 0) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        p = next;
        break;
      }
      if (tag === Tag.link.traceId) traceId = this.string(b, p, next);
      else if (tag === Tag.link.spanId) spanId = this.string(b, p, next);
      else if (tag === Tag.link.traceState) traceState = this.string(b, p, next);
      else if (tag === Tag.link.attributes) this.attribute(b, p, next, this.linkAttrKey, this.linkAttrValue);
      else if (tag === Tag.link.droppedAttributesCount) dropped = this.wire.varint(b, p + 1);
      p = next;
    }
    if (p !== end) {
      this.wire.malformed++;
      this.linkAttrKey.truncate(attrStart);
      this.linkAttrValue.truncate(attrStart);
      this.wide.truncate(wideStart);
      return;
    }
    this.linkTraceId.push(traceId);
    this.linkSpanId.push(spanId);
    this.linkTraceState.push(traceState);
    this.linkAttrStart.push(attrStart);
    this.linkDropped.push(dropped);
  }

  /** Interns the payload of the length-delimited field [p, next). */
  private string(b: Uint8Array, p: number, next: number): number {
    this.wire.varint(b, p + 1);
    return this.strings.intern(b, this.wire.next, next - this.wire.next);
  }

  private attribute(b: Uint8Array, p: number, next: number, keys: VecWriter, values: VecWriter): void {
    this.wire.varint(b, p + 1);
    if (!this.attributes.decode(b, this.wire.next, next, keys, values)) this.wire.malformed++;
  }
}
