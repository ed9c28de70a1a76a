// Where Zipkin is at work a server has the id of the client that called it. In the answer to a trace by id
// such servers get ids of their own, below their client and with their children, so that an id names one
// span.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { IntList } from '../../lib/int-list.ts';
import { SPAN_ID_BYTES } from '../ids.ts';
import { bytesField, closeField, openField, Tag } from './encode.ts';
import { WireCursor } from './wire.ts';

const KIND_SERVER = 2;
const KIND_CLIENT = 3;
const NANOS_BYTES = 8;
/** Fields that lead to a span: of TracesData, ResourceSpans, ScopeSpans. */
const PATH = [Tag.tracesData.resourceSpans, Tag.resourceSpans.scopeSpans, Tag.scopeSpans.spans] as const;

/**
 * @param trace one trace, TracesData in canonical form.
 * @returns the same bytes when no client and server share an id.
 */
export function separateSharedIds(trace: Uint8Array): Uint8Array {
  const spans = new SpanReader(trace);
  const servers = sharingServers(spans);
  return servers.length === 0 ? trace : new Renamer(spans, servers).rename();
}

abstract class SpanWalker extends WireCursor {
  protected walk(end: number, depth = 0): void {
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.tag(end);
      if (tag !== PATH[depth]) {
        this.skip(tag & 7, end);
        this.other(start);
      } else {
        const inner = this.valueEnd(end);
        if (depth === PATH.length - 1) this.span(start, inner);
        else this.message(tag, () => this.walk(inner, depth + 1));
      }
    }
  }

  protected abstract span(start: number, end: number): void;
  /** A field that leads to no span ends at `pos`. */
  protected abstract other(start: number): void;
  protected abstract message(tag: number, inside: () => void): void;
}

/** Ids, parents, kinds and starts of the spans, as positions in the bytes; -1 where there is none. */
class SpanReader extends SpanWalker {
  readonly idAt = new IntList();
  readonly parentAt = new IntList();
  readonly startAt = new IntList();
  readonly kind = new IntList();
  private readonly view: DataView;

  constructor(trace: Uint8Array) {
    super(trace);
    this.view = new DataView(trace.buffer, trace.byteOffset, trace.byteLength);
    this.walk(trace.length);
  }

  get count(): number {
    return this.idAt.length;
  }

  protected span(_start: number, end: number): void {
    let idAt = -1;
    let parentAt = -1;
    let startAt = -1;
    let kind = 0;
    while (this.pos < end) {
      const tag = this.tag(end);
      if (tag === Tag.span.kind) {
        kind = this.varint(end);
        continue;
      }
      if (tag === Tag.span.spanId) idAt = this.idField(end);
      else if (tag === Tag.span.parentSpanId) parentAt = this.idField(end);
      else {
        this.skip(tag & 7, end);
        if (tag === Tag.span.startTimeUnixNano) startAt = this.pos - NANOS_BYTES;
      }
    }
    this.idAt.push(idAt);
    this.parentAt.push(parentAt);
    this.startAt.push(startAt);
    this.kind.push(kind);
  }

  /** Where the id is; -1 when it has another length. */
  private idField(end: number): number {
    const last = this.valueEnd(end);
    const at = this.pos;
    this.pos = last;
    return last - at === SPAN_ID_BYTES ? at : -1;
  }

  protected other(): void {}

  protected message(_tag: number, inside: () => void): void {
    inside();
  }

  word(at: number): number {
    return this.view.getInt32(at + 4);
  }

  isEqual(a: number, b: number): boolean {
    return this.word(a) === this.word(b) && this.view.getInt32(a) === this.view.getInt32(b);
  }

  start(span: number): bigint {
    const at = this.startAt.items[span]!;
    return at < 0 ? 0n : this.view.getBigUint64(at, true);
  }

  id(span: number): bigint {
    return this.view.getBigUint64(this.idAt.items[span]!);
  }
}

/** Spans by one word of an id. */
class SpansByWord {
  private readonly spans = new Map<number, number[]>();

  add(word: number, span: number): void {
    const same = this.spans.get(word);
    if (same === undefined) this.spans.set(word, [span]);
    else same.push(span);
  }

  get(word: number): readonly number[] {
    return this.spans.get(word) ?? [];
  }
}

/** Servers that have the id of a client, by start. */
function sharingServers(spans: SpanReader): number[] {
  const { idAt, kind } = spans;
  const clients = new SpansByWord();
  for (let i = 0; i < spans.count; i++) {
    if (kind.items[i] === KIND_CLIENT && idAt.items[i]! >= 0) clients.add(spans.word(idAt.items[i]!), i);
  }
  const servers: number[] = [];
  for (let i = 0; i < spans.count; i++) {
    const at = idAt.items[i]!;
    if (kind.items[i] !== KIND_SERVER || at < 0) continue;
    const same = clients.get(spans.word(at));
    if (same.some((client) => spans.isEqual(at, idAt.items[client]!))) servers.push(i);
  }
  const order = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
  return servers.sort((a, b) => order(spans.start(a), spans.start(b)) || order(spans.id(a), spans.id(b)));
}

/** Copies the trace with other ids. */
class Renamer extends SpanWalker {
  private readonly out: ByteWriter;
  private readonly spans: SpanReader;
  /** New ids of servers, by span. */
  private readonly ids = new Map<number, Uint8Array>();
  private readonly servers = new SpansByWord();
  private ordinal = 0;

  constructor(spans: SpanReader, servers: readonly number[]) {
    super(spans.bytes);
    this.spans = spans;
    this.out = new ByteWriter(spans.bytes.length + 64 * servers.length);
    const used = new Set<bigint>();
    for (let i = 0; i < spans.count; i++) if (spans.idAt.items[i]! >= 0) used.add(spans.id(i));
    let next = 1n;
    for (const server of servers) {
      while (used.has(next)) next++;
      const id = new Uint8Array(SPAN_ID_BYTES);
      new DataView(id.buffer).setBigUint64(0, next++);
      this.ids.set(server, id);
      this.servers.add(spans.word(spans.idAt.items[server]!), server);
    }
  }

  rename(): Uint8Array {
    this.walk(this.bytes.length);
    return this.out.copy();
  }

  protected other(start: number): void {
    this.out.raw(this.bytes.subarray(start, this.pos));
  }

  protected message(tag: number, inside: () => void): void {
    const mark = openField(this.out, tag);
    inside();
    closeField(this.out, mark);
  }

  protected span(start: number, end: number): void {
    const span = this.ordinal++;
    const id = this.ids.get(span);
    const parent = id === undefined ? this.newParent(span) : this.oldId(span);
    if (parent === undefined) {
      this.out.raw(this.bytes.subarray(start, end));
      this.pos = end;
      return;
    }
    const mark = openField(this.out, Tag.scopeSpans.spans);
    let hasParent = false;
    const writeParent = (): void => {
      if (!hasParent) bytesField(this.out, Tag.span.parentSpanId, parent, 0, SPAN_ID_BYTES);
      hasParent = true;
    };
    while (this.pos < end) {
      const fieldStart = this.pos;
      const tag = this.tag(end);
      this.skip(tag & 7, end);
      if (tag >= Tag.span.parentSpanId) writeParent();
      if (tag === Tag.span.parentSpanId) continue;
      if (tag === Tag.span.spanId && id !== undefined) bytesField(this.out, tag, id, 0, SPAN_ID_BYTES);
      else this.out.raw(this.bytes.subarray(fieldStart, this.pos));
    }
    writeParent();
    closeField(this.out, mark);
  }

  private oldId(span: number): Uint8Array {
    const at = this.spans.idAt.items[span]!;
    return this.bytes.subarray(at, at + SPAN_ID_BYTES);
  }

  /** Of a child of a server that has another id now. */
  private newParent(span: number): Uint8Array | undefined {
    const at = this.spans.parentAt.items[span]!;
    if (at < 0) return undefined;
    const { idAt } = this.spans;
    const same = this.servers.get(this.spans.word(at));
    const server = same.find((candidate) => this.spans.isEqual(at, idAt.items[candidate]!));
    return server === undefined ? undefined : this.ids.get(server);
  }
}
