// Writes the spans of one trace of a head as OTLP TracesData, grouped by resource and scope in order of
// arrival.
import { ByteWriter } from '../../lib/byte-writer.ts';
import * as otlp from '../../model/otlp/encode.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { entryOfSpan, KIND, kindOrStatus, STATUS } from './kind-status.ts';
import { AttrType } from './layout.ts';
import type { HeadReader } from './reader.ts';
import type { VecReader } from './vec.ts';

/** Attributes of one kind of owner: those of owner i are [starts[i], starts[i + 1]). */
interface AttributeColumns {
  readonly starts: VecReader;
  readonly keys: VecReader;
  readonly values: VecReader;
}

/** @param spans ordinals, ascending. */
export function encodeTrace(reader: HeadReader, spans: Int32Array): Uint8Array {
  return new TraceEncoder(reader).encode(spans);
}

class TraceEncoder {
  private readonly reader: HeadReader;
  private readonly w = new ByteWriter(16 * 1024);
  private readonly spanAttributes: AttributeColumns;
  private readonly resourceAttributes: AttributeColumns;
  private readonly scopeAttributes: AttributeColumns;
  private readonly eventAttributes: AttributeColumns;
  private readonly linkAttributes: AttributeColumns;

  constructor(reader: HeadReader) {
    this.reader = reader;
    const v = reader.vecs;
    this.spanAttributes = { starts: v.spanAttrStart, keys: v.spanAttrKey, values: v.spanAttrValue };
    this.resourceAttributes = {
      starts: v.resourceAttrStart,
      keys: v.resourceAttrKey,
      values: v.resourceAttrValue,
    };
    this.scopeAttributes = { starts: v.scopeAttrStart, keys: v.scopeAttrKey, values: v.scopeAttrValue };
    this.eventAttributes = { starts: v.eventAttrStart, keys: v.eventAttrKey, values: v.eventAttrValue };
    this.linkAttributes = { starts: v.linkAttrStart, keys: v.linkAttrKey, values: v.linkAttrValue };
  }

  encode(spans: Int32Array): Uint8Array {
    const { w } = this;
    for (const [resource, scopes] of this.group(spans)) {
      const resourceSpans = otlp.openField(w, Tag.tracesData.resourceSpans);
      this.resource(resource);
      for (const [scope, list] of scopes) {
        const scopeSpans = otlp.openField(w, Tag.resourceSpans.scopeSpans);
        this.scope(scope);
        for (const span of list) this.span(span);
        otlp.closeField(w, scopeSpans);
      }
      otlp.closeField(w, resourceSpans);
    }
    return w.copy();
  }

  private group(spans: Int32Array): Map<number, Map<number, number[]>> {
    const { spanResource, spanScope } = this.reader.vecs;
    const groups = new Map<number, Map<number, number[]>>();
    for (const span of spans) {
      const resource = spanResource.get(span);
      const scope = spanScope.get(span);
      let scopes = groups.get(resource);
      if (scopes === undefined) groups.set(resource, (scopes = new Map()));
      const list = scopes.get(scope);
      if (list === undefined) scopes.set(scope, [span]);
      else list.push(span);
    }
    return groups;
  }

  private resource(resource: number): void {
    const { w } = this;
    const mark = otlp.openField(w, Tag.resourceSpans.resource);
    this.attributes(Tag.resource.attributes, this.resourceAttributes, resource);
    otlp.uintField(w, Tag.resource.droppedAttributesCount, this.reader.vecs.resourceDropped.get(resource));
    otlp.closeField(w, mark);
  }

  private scope(scope: number): void {
    const { w, reader } = this;
    const { vecs } = reader;
    const mark = otlp.openField(w, Tag.scopeSpans.scope);
    this.string(Tag.scope.name, vecs.scopeName.get(scope));
    this.string(Tag.scope.version, vecs.scopeVersion.get(scope));
    this.attributes(Tag.scope.attributes, this.scopeAttributes, scope);
    otlp.uintField(w, Tag.scope.droppedAttributesCount, vecs.scopeDropped.get(scope));
    otlp.closeField(w, mark);
  }

  private span(span: number): void {
    const { w } = this;
    const v = this.reader.vecs;
    const mark = otlp.openField(w, Tag.scopeSpans.spans);
    const traceId = this.reader.traceId(v.spanTrace.get(span));
    otlp.bytesField(w, Tag.span.traceId, traceId, 0, traceId.length);
    otlp.id8Field(w, Tag.span.spanId, v.spanId.get(span, 0), v.spanId.get(span, 1));
    this.string(Tag.span.traceState, v.spanTraceState.get(span));
    const parentLow = v.spanParent.get(span, 0);
    const parentHigh = v.spanParent.get(span, 1);
    if (parentLow !== 0 || parentHigh !== 0) otlp.id8Field(w, Tag.span.parentSpanId, parentLow, parentHigh);
    this.string(Tag.span.name, v.spanName.get(span));
    otlp.int32Field(w, Tag.span.kind, kindOrStatus(v, span, KIND));
    const startLow = v.spanStart.get(span, 0);
    const startHigh = v.spanStart.get(span, 1);
    otlp.fixed64Field(w, Tag.span.startTimeUnixNano, startLow, startHigh);
    this.timeAfter(Tag.span.endTimeUnixNano, startLow, startHigh, v.spanDuration, span);
    this.attributes(Tag.span.attributes, this.spanAttributes, span);
    const dropped = entryOfSpan(v.spanDropped, span);
    if (dropped >= 0) otlp.uintField(w, Tag.span.droppedAttributesCount, v.spanDropped.get(dropped, 1));
    const eventsEnd = endOf(v.spanEventStart, span, v.eventTime.count);
    for (let e = v.spanEventStart.get(span); e < eventsEnd; e++) this.event(e, startLow, startHigh);
    if (dropped >= 0) otlp.uintField(w, Tag.span.droppedEventsCount, v.spanDropped.get(dropped, 2));
    const linksEnd = endOf(v.spanLinkStart, span, v.linkTraceId.count);
    for (let l = v.spanLinkStart.get(span); l < linksEnd; l++) this.link(l);
    if (dropped >= 0) otlp.uintField(w, Tag.span.droppedLinksCount, v.spanDropped.get(dropped, 3));
    const status = otlp.openField(w, Tag.span.status);
    this.string(Tag.status.message, v.spanStatusMessage.get(span));
    otlp.int32Field(w, Tag.status.code, kindOrStatus(v, span, STATUS));
    otlp.closeField(w, status);
    otlp.closeField(w, mark);
  }

  private event(event: number, startLow: number, startHigh: number): void {
    const { w } = this;
    const v = this.reader.vecs;
    const mark = otlp.openField(w, Tag.span.events);
    this.timeAfter(Tag.event.timeUnixNano, startLow, startHigh, v.eventTime, event);
    this.string(Tag.event.name, v.eventName.get(event));
    this.attributes(Tag.event.attributes, this.eventAttributes, event);
    otlp.uintField(w, Tag.event.droppedAttributesCount, v.eventDropped.get(event));
    otlp.closeField(w, mark);
  }

  private link(link: number): void {
    const { w } = this;
    const v = this.reader.vecs;
    const mark = otlp.openField(w, Tag.span.links);
    this.string(Tag.link.traceId, v.linkTraceId.get(link));
    this.string(Tag.link.spanId, v.linkSpanId.get(link));
    this.string(Tag.link.traceState, v.linkTraceState.get(link));
    this.attributes(Tag.link.attributes, this.linkAttributes, link);
    otlp.uintField(w, Tag.link.droppedAttributesCount, v.linkDropped.get(link));
    otlp.closeField(w, mark);
  }

  /** Start + offset[i], as uint64. */
  private timeAfter(tag: number, startLow: number, startHigh: number, offset: VecReader, i: number): void {
    const low = (startLow + offset.get(i, 0)) | 0;
    const carry = low >>> 0 < startLow >>> 0 ? 1 : 0;
    otlp.fixed64Field(this.w, tag, low, (startHigh + offset.get(i, 1) + carry) | 0);
  }

  private string(tag: number, id: number): void {
    if (id < 0) return;
    const { strOffset, strLength } = this.reader.vecs;
    otlp.bytesFieldIfAny(this.w, tag, this.reader.bytes, strOffset.get(id) >>> 0, strLength.get(id));
  }

  private attributes(tag: number, columns: AttributeColumns, owner: number): void {
    const { starts, keys, values } = columns;
    const end = endOf(starts, owner, keys.count);
    for (let i = starts.get(owner); i < end; i++) this.attribute(tag, keys.get(i), values.get(i));
  }

  private attribute(tag: number, key: number, value: number): void {
    const { w, reader } = this;
    const { keyOffset, keyLength, strOffset, strLength, wide } = reader.vecs;
    const id = key >>> 4;
    const mark = otlp.openAttribute(w, tag, reader.bytes, keyOffset.get(id) >>> 0, keyLength.get(id));
    const valueTag = Tag.keyValue.value;
    switch (key & 15) {
      case AttrType.empty:
        break;
      case AttrType.string:
        otlp.stringValue(w, valueTag, reader.bytes, strOffset.get(value) >>> 0, strLength.get(value));
        break;
      case AttrType.bool:
        otlp.boolValue(w, valueTag, value !== 0);
        break;
      case AttrType.int:
        otlp.intValue(w, valueTag, value, value >> 31);
        break;
      case AttrType.int64:
        otlp.intValue(w, valueTag, wide.get(value, 0), wide.get(value, 1));
        break;
      case AttrType.double:
        otlp.doubleValue(w, valueTag, wide.get(value, 0), wide.get(value, 1));
        break;
      default:
        otlp.rawValue(w, valueTag, reader.bytes, strOffset.get(value) >>> 0, strLength.get(value));
    }
    otlp.closeField(w, mark);
  }
}

function endOf(starts: VecReader, owner: number, count: number): number {
  return owner + 1 < starts.count ? starts.get(owner + 1) : count;
}
