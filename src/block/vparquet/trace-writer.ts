// Writes rows of a block as OTLP TracesData, straight from the entries of their columns.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import * as otlp from '../../model/otlp/encode.ts';
import { Tag } from '../../model/otlp/encode.ts';
import { WireCursor } from '../../model/otlp/wire.ts';
import { corrupt } from '../../parquet/corrupt.ts';
import type { AttributeScope } from '../../traceql/source.ts';
import { writeAnyValueText } from './any-value-text.ts';
import {
  type BlockColumns,
  EVENT,
  LINK,
  OWNER_DEPTH,
  RESOURCE,
  SCOPE,
  SCOPE_OWNER,
  SCOPE_PREFIX,
  SPAN,
} from './block-columns.ts';
import type { ColumnRows } from './group-columns.ts';
import { RowCursor } from './row-cursor.ts';

const names = (prefix: string, ...suffixes: string[]): string[] => suffixes.map((suffix) => prefix + suffix);
/** Texts of values that have no column of their own: in vParquet3 there are two for them. */
const TEXTS = ['ValueUnsupported', 'ValueArray', 'ValueKVList'];
const GENERIC = ['Key', 'IsArray', 'Value', 'ValueInt', 'ValueDouble', 'ValueBool', ...TEXTS];
const DROPPED = 'DroppedAttributesCount';
/** Tag of a link in the message that vParquet3 keeps them in. */
const LINK_OF_LIST = 0x0a;

/** Columns that make up a trace, beside those of single attributes. */
export const TRACE_COLUMNS: readonly string[] = [
  ...[RESOURCE, SCOPE, SPAN, EVENT, LINK].flatMap((prefix) => names(`${prefix}Attrs.`, ...GENERIC)),
  ...names(RESOURCE, DROPPED),
  ...names(SCOPE, 'Name', 'Version', DROPPED),
  ...names(
    SPAN,
    'SpanID',
    'ParentSpanID',
    'Name',
    'Kind',
    'TraceState',
    'StartTimeUnixNano',
    'DurationNano',
    'StatusCode',
    'StatusMessage',
    DROPPED,
    'DroppedEventsCount',
    'DroppedLinksCount',
    // vParquet3: a message with all links of the span.
    'Links',
  ),
  ...names(EVENT, 'TimeSinceStartNano', 'TimeUnixNano', 'Name', DROPPED),
  ...names(LINK, 'TraceID', 'SpanID', 'TraceState', DROPPED),
];

type Columns = ReadonlyMap<string, ColumnRows>;

export interface WrittenTraces {
  /** TracesData; so is each trace by itself. */
  readonly bytes: Uint8Array;
  /** Where each trace ends. */
  readonly ends: readonly number[];
}

/** Which attributes of an owner come first: those without a column of their own (as in Tempo), or with. */
export type AttributeOrder = 'genericFirst' | 'ownFirst';

/**
 * Writes all rows that the columns hold, one behind the other.
 * @param ids the trace id of each, 16 bytes.
 */
export function writeTraces(
  columns: Columns,
  bound: BlockColumns,
  ids: Uint8Array,
  order: AttributeOrder,
): WrittenTraces {
  return new TraceWriter(columns, bound, ids, order).write();
}

class TraceWriter {
  private readonly w = new ByteWriter(16 * 1024);
  private readonly cursors = new Map<string, RowCursor>();
  private readonly ids: Uint8Array;
  /** Where the id of the row in work ends. */
  private idEnd = 0;
  private readonly spans: RowCursor;
  private readonly resource: OwnerAttributes;
  private readonly scope: OwnerAttributes;
  private readonly span: OwnerAttributes;
  private readonly event: OwnerAttributes;
  private readonly link: OwnerAttributes;

  constructor(columns: Columns, bound: BlockColumns, ids: Uint8Array, order: AttributeOrder) {
    for (const [name, rows] of columns) this.cursors.set(name, new RowCursor(rows));
    const spans = this.cursors.get(`${SPAN}SpanID`);
    if (spans === undefined) throw corrupt('a trace has no spans');
    this.ids = ids;
    this.spans = spans;
    const attributes = (scope: AttributeScope): OwnerAttributes =>
      new OwnerAttributes(this.cursors, bound, scope, order);
    this.resource = attributes('resource');
    this.scope = attributes('instrumentation');
    this.span = attributes('span');
    this.event = attributes('event');
    this.link = attributes('link');
  }

  write(): WrittenTraces {
    const { w, spans } = this;
    const ends: number[] = [];
    let resourceSpans = -1;
    let scopeSpans = -1;
    for (let level = spans.nextRepetition(); level >= 0; level = spans.nextRepetition()) {
      const depth = spans.nextDefinition();
      if (level === 0) this.idEnd += TRACE_ID_BYTES;
      if (level <= 2 && scopeSpans >= 0) {
        otlp.closeField(w, scopeSpans);
        scopeSpans = -1;
      }
      if (level <= 1) {
        if (resourceSpans >= 0) otlp.closeField(w, resourceSpans);
        if (level === 0 && this.idEnd > TRACE_ID_BYTES) ends.push(w.length);
        resourceSpans = otlp.openField(w, Tag.tracesData.resourceSpans);
        const before = w.length - 2;
        this.writeResource();
        if (depth < 1) {
          w.length = before;
          resourceSpans = -1;
        }
      }
      if (level <= 2) {
        scopeSpans = otlp.openField(w, Tag.resourceSpans.scopeSpans);
        const before = w.length - 2;
        this.writeScope();
        if (depth < 2) {
          w.length = before;
          scopeSpans = -1;
        }
      }
      const before = w.length;
      this.writeSpan();
      if (depth < 3) w.length = before;
    }
    if (scopeSpans >= 0) otlp.closeField(w, scopeSpans);
    if (resourceSpans >= 0) otlp.closeField(w, resourceSpans);
    if (this.idEnd > 0) ends.push(w.length);
    return { bytes: w.copy(), ends };
  }

  private writeResource(): void {
    const { w } = this;
    const mark = otlp.openField(w, Tag.resourceSpans.resource);
    this.resource.write(w, Tag.resource.attributes);
    this.uint(Tag.resource.droppedAttributesCount, RESOURCE + DROPPED);
    otlp.closeField(w, mark);
  }

  private writeScope(): void {
    const { w } = this;
    const mark = otlp.openField(w, Tag.scopeSpans.scope);
    this.string(Tag.scope.name, `${SCOPE}Name`);
    this.string(Tag.scope.version, `${SCOPE}Version`);
    this.scope.write(w, Tag.scope.attributes);
    this.uint(Tag.scope.droppedAttributesCount, SCOPE + DROPPED);
    otlp.closeField(w, mark);
  }

  private writeSpan(): void {
    const { w } = this;
    const mark = otlp.openField(w, Tag.scopeSpans.spans);
    otlp.bytesField(w, Tag.span.traceId, this.ids, this.idEnd - TRACE_ID_BYTES, TRACE_ID_BYTES);
    this.string(Tag.span.spanId, `${SPAN}SpanID`);
    this.string(Tag.span.traceState, `${SPAN}TraceState`);
    this.string(Tag.span.parentSpanId, `${SPAN}ParentSpanID`);
    this.string(Tag.span.name, `${SPAN}Name`);
    this.int32(Tag.span.kind, `${SPAN}Kind`);
    const start = this.bigint(`${SPAN}StartTimeUnixNano`);
    this.time(Tag.span.startTimeUnixNano, start);
    this.time(Tag.span.endTimeUnixNano, start + this.bigint(`${SPAN}DurationNano`));
    this.span.write(w, Tag.span.attributes);
    this.uint(Tag.span.droppedAttributesCount, SPAN + DROPPED);
    this.children(`${EVENT}Name`, Tag.span.events, () => this.writeEvent(start));
    this.uint(Tag.span.droppedEventsCount, `${SPAN}DroppedEventsCount`);
    this.children(`${LINK}SpanID`, Tag.span.links, () => this.writeLink());
    this.linkMessages();
    this.uint(Tag.span.droppedLinksCount, `${SPAN}DroppedLinksCount`);
    const status = otlp.openField(w, Tag.span.status);
    this.string(Tag.status.message, `${SPAN}StatusMessage`);
    this.int32(Tag.status.code, `${SPAN}StatusCode`);
    otlp.closeField(w, status);
    otlp.closeField(w, mark);
  }

  /** Events or links: `name` is a column that each has a value in. */
  private children(name: string, tag: number, write: () => void): void {
    const { w } = this;
    const cursor = this.cursors.get(name);
    if (cursor === undefined) return;
    do {
      const exists = cursor.nextDefinition() >= OWNER_DEPTH.event;
      const before = w.length;
      const mark = otlp.openField(w, tag);
      write();
      if (exists) otlp.closeField(w, mark);
      else w.length = before;
    } while (cursor.nextRepetition() >= OWNER_DEPTH.event);
  }

  private writeEvent(start: bigint): void {
    const { w } = this;
    const time = this.cursors.has(`${EVENT}TimeUnixNano`)
      ? this.bigint(`${EVENT}TimeUnixNano`)
      : start + this.bigint(`${EVENT}TimeSinceStartNano`);
    this.time(Tag.event.timeUnixNano, time);
    this.string(Tag.event.name, `${EVENT}Name`);
    this.event.write(w, Tag.event.attributes);
    this.uint(Tag.event.droppedAttributesCount, EVENT + DROPPED);
  }

  private writeLink(): void {
    const { w } = this;
    this.string(Tag.link.traceId, `${LINK}TraceID`);
    this.string(Tag.link.spanId, `${LINK}SpanID`);
    this.string(Tag.link.traceState, `${LINK}TraceState`);
    this.link.write(w, Tag.link.attributes);
    this.uint(Tag.link.droppedAttributesCount, LINK + DROPPED);
  }

  /** vParquet3: the links of a span are repeated fields of one message. */
  private linkMessages(): void {
    const cursor = this.cursors.get(LINK.slice(0, -1));
    if (cursor === undefined || !cursor.take()) return;
    const i = cursor.first;
    const start = cursor.stringOffset(i);
    const end = start + cursor.stringLength(i);
    const wire = new WireCursor(cursor.stringBuffer(i));
    wire.pos = start;
    while (wire.pos < end) {
      const tag = wire.tag(end);
      const from = wire.pos;
      wire.skip(tag & 7, end);
      if (tag !== LINK_OF_LIST) continue;
      wire.pos = from;
      const linkEnd = wire.valueEnd(end);
      otlp.bytesField(this.w, Tag.span.links, wire.bytes, wire.pos, linkEnd - wire.pos);
      wire.pos = linkEnd;
    }
  }

  private string(tag: number, name: string): void {
    const cursor = this.cursors.get(name);
    if (cursor === undefined || !cursor.take()) return;
    const i = cursor.first;
    otlp.bytesFieldIfAny(this.w, tag, cursor.stringBuffer(i), cursor.stringOffset(i), cursor.stringLength(i));
  }

  private uint(tag: number, name: string): void {
    const cursor = this.cursors.get(name);
    if (cursor !== undefined && cursor.take()) otlp.uintField(this.w, tag, cursor.number(cursor.first));
  }

  private int32(tag: number, name: string): void {
    const cursor = this.cursors.get(name);
    if (cursor !== undefined && cursor.take()) otlp.int32Field(this.w, tag, cursor.number(cursor.first) | 0);
  }

  private bigint(name: string): bigint {
    const cursor = this.cursors.get(name);
    if (cursor === undefined || !cursor.take()) return 0n;
    cursor.number64(cursor.first);
    return (BigInt(cursor.high >>> 0) << 32n) | BigInt(cursor.low >>> 0);
  }

  /** Sums wrap at 64 bits. */
  private time(tag: number, time: bigint): void {
    otlp.fixed64Field(this.w, tag, Number(BigInt.asUintN(32, time)), Number(BigInt.asUintN(32, time >> 32n)));
  }
}

interface OwnAttribute {
  readonly key: Uint8Array;
  readonly cursor: RowCursor;
  readonly isInt: boolean;
  /** The column holds "" where there is no value. */
  readonly emptyIsAbsent: boolean;
}

const utf8 = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

/** All attributes of the owners of one scope; those with columns of their own: dedicated, static. */
class OwnerAttributes {
  private readonly key: RowCursor | undefined;
  private readonly isArray: RowCursor | undefined;
  private readonly strings: RowCursor | undefined;
  private readonly ints: RowCursor | undefined;
  private readonly doubles: RowCursor | undefined;
  private readonly bools: RowCursor | undefined;
  private readonly texts: readonly RowCursor[];
  /** vParquet3: values of event attributes are serialised messages. */
  private readonly areMessages: boolean;
  private readonly own: readonly OwnAttribute[];
  private readonly depth: number;
  private readonly order: AttributeOrder;

  constructor(
    cursors: ReadonlyMap<string, RowCursor>,
    bound: BlockColumns,
    scope: AttributeScope,
    order: AttributeOrder,
  ) {
    this.order = order;
    const generic = (name: string): RowCursor | undefined =>
      cursors.get(`${SCOPE_PREFIX[scope]}Attrs.${name}`);
    this.depth = OWNER_DEPTH[SCOPE_OWNER[scope]];
    this.key = generic('Key');
    this.isArray = generic('IsArray');
    this.strings = generic('Value');
    this.ints = generic('ValueInt');
    this.doubles = generic('ValueDouble');
    this.bools = generic('ValueBool');
    this.texts = TEXTS.map(generic).filter((cursor) => cursor !== undefined);
    this.areMessages = scope === 'event' && bound.ordinal(`${EVENT}Attrs.ValueInt`) === undefined;
    const own: OwnAttribute[] = [];
    for (const { name, column, type } of bound.attributeColumns(scope)) {
      const cursor = cursors.get(column);
      if (cursor === undefined) continue;
      own.push({
        key: utf8.encode(name),
        cursor,
        isInt: type === 'int',
        emptyIsAbsent: column === `${RESOURCE}ServiceName`,
      });
    }
    this.own = own;
  }

  /** Takes the entries of one owner and writes its attributes as field `tag`. */
  write(w: ByteWriter, tag: number): void {
    const { key, depth, order } = this;
    // of the first value of a key a column is made, but of service.name of the last one
    const isFirst = ({ emptyIsAbsent }: OwnAttribute): boolean => order === 'ownFirst' && !emptyIsAbsent;
    for (const attribute of this.own) if (isFirst(attribute)) this.single(w, tag, attribute);
    if (key !== undefined) {
      do this.generic(w, tag, key);
      while (key.nextRepetition() > depth);
    }
    for (const attribute of this.own) if (!isFirst(attribute)) this.single(w, tag, attribute);
  }

  private generic(w: ByteWriter, tag: number, key: RowCursor): void {
    const exists = key.take();
    const below = this.depth + 1;
    const isArray = this.isArray?.take() === true && this.isArray.number(this.isArray.first) !== 0;
    let text: RowCursor | undefined;
    for (const cursor of this.texts) {
      if (cursor.take() && cursor.stringLength(cursor.first) > 0) text = cursor;
    }
    const strings = this.strings?.takeList(below) === true;
    const ints = this.ints?.takeList(below) === true;
    const doubles = this.doubles?.takeList(below) === true;
    const bools = this.bools?.takeList(below) === true;
    if (!exists) return;
    const i = key.first;
    const mark = otlp.openAttribute(w, tag, key.stringBuffer(i), key.stringOffset(i), key.stringLength(i));
    if (text !== undefined) writeText(w, text);
    else if (this.areMessages) writeMessage(w, strings ? this.strings : undefined);
    else if (strings) writeList(w, this.strings!, isArray, writeString);
    else if (ints) writeList(w, this.ints!, isArray, writeInt);
    else if (doubles) writeList(w, this.doubles!, isArray, writeDouble);
    else if (bools) writeList(w, this.bools!, isArray, writeBool);
    else if (isArray) otlp.closeArray(w, otlp.openArray(w, Tag.keyValue.value));
    else otlp.rawValue(w, Tag.keyValue.value, key.stringBuffer(i), 0, 0);
    otlp.closeField(w, mark);
  }

  private single(w: ByteWriter, tag: number, { key, cursor, isInt, emptyIsAbsent }: OwnAttribute): void {
    if (!cursor.takeList(this.depth)) return;
    if (emptyIsAbsent && cursor.stringLength(cursor.first) === 0) return;
    const mark = otlp.openAttribute(w, tag, key, 0, key.length);
    writeList(w, cursor, cursor.count > 1, isInt ? writeInt : writeString);
    otlp.closeField(w, mark);
  }
}

type WriteValue = (w: ByteWriter, tag: number, cursor: RowCursor, i: number) => void;

function writeList(w: ByteWriter, cursor: RowCursor, isArray: boolean, write: WriteValue): void {
  if (!isArray) {
    write(w, Tag.keyValue.value, cursor, cursor.first);
    return;
  }
  const mark = otlp.openArray(w, Tag.keyValue.value);
  for (let i = cursor.first; i < cursor.end; i++) write(w, Tag.arrayValue.values, cursor, i);
  otlp.closeArray(w, mark);
}

function writeString(w: ByteWriter, tag: number, cursor: RowCursor, i: number): void {
  otlp.stringValue(w, tag, cursor.stringBuffer(i), cursor.stringOffset(i), cursor.stringLength(i));
}

function writeInt(w: ByteWriter, tag: number, cursor: RowCursor, i: number): void {
  cursor.number64(i);
  otlp.intValue(w, tag, cursor.low, cursor.high);
}

function writeDouble(w: ByteWriter, tag: number, cursor: RowCursor, i: number): void {
  cursor.double(i);
  otlp.doubleValue(w, tag, cursor.low, cursor.high);
}

function writeBool(w: ByteWriter, tag: number, cursor: RowCursor, i: number): void {
  otlp.boolValue(w, tag, cursor.number(i) !== 0);
}

function writeMessage(w: ByteWriter, cursor: RowCursor | undefined): void {
  const i = cursor?.first ?? 0;
  if (cursor === undefined) otlp.rawValue(w, Tag.keyValue.value, NO_BYTES, 0, 0);
  else {
    const length = cursor.stringLength(i);
    otlp.rawValue(w, Tag.keyValue.value, cursor.stringBuffer(i), cursor.stringOffset(i), length);
  }
}

function writeText(w: ByteWriter, cursor: RowCursor): void {
  const start = cursor.stringOffset(cursor.first);
  const end = start + cursor.stringLength(cursor.first);
  writeAnyValueText(w, Tag.keyValue.value, cursor.stringBuffer(cursor.first).subarray(start, end));
}
