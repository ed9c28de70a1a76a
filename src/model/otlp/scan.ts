// One pass over the wire bytes of an ExportTraceServiceRequest: counts spans, checks their ids and every
// boundary down to a span's fields. Decodes no attribute and allocates nothing per span. Format:
// opentelemetry/proto/collector/trace/v1/trace_service.proto and trace/v1/trace.proto.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { RUN_WORDS, RunWord, type TraceRuns } from './trace-runs.ts';
import { BYTES, FIXED32, FIXED64, malformed, VARINT, WireCursor } from './wire.ts';

export interface ScanResult {
  /** All spans of the request, good and bad. */
  readonly spanCount: number;
  /** Spans whose trace id is not 16 bytes or all zero. */
  readonly badTraceIds: number;
  /** Spans with a good trace id whose span id is not 8 bytes or all zero. */
  readonly badSpanIds: number;
  /** Why the first bad span is bad, in Tempo's words; empty when none is. */
  readonly message: string;
}

/** Is told what the walk over a request comes by, in its order. */
export interface SpanSink {
  clear(): void;
  /** Scopes and fields of another resource follow. */
  beginResource(): void;
  /** A field of the resource that is no scope: `start` to `end` of the body. */
  resourceField(start: number, end: number): void;
  /** Spans and fields of another scope of the resource follow. */
  beginScope(): void;
  scopeField(start: number, end: number): void;
  /**
   * A span with good ids, with its tag and length.
   * @param idAt where its trace id is.
   * @param startAt where its start time is; 0 = it has none. `endAt` likewise.
   */
  addSpan(body: Uint8Array, start: number, end: number, idAt: number, startAt: number, endAt: number): void;
}

const LENGTH_DELIMITED_FIELD_1 = 0x0a;
const LENGTH_DELIMITED_FIELD_2 = 0x12;

/** Wire type by field number of what a Span may hold; -1 where no field is known. */
const SPAN_FIELDS = Int8Array.of(
  -1,
  BYTES,
  BYTES,
  BYTES,
  BYTES,
  BYTES,
  VARINT,
  FIXED64,
  FIXED64,
  BYTES,
  VARINT,
  BYTES,
  VARINT,
  BYTES,
  VARINT,
  BYTES,
  FIXED32,
);

/** 1 for the one-byte tags that a well-formed Span is made of: the fast path. */
const SPAN_TAGS = new Uint8Array(128);
for (let field = 1; field < 16; field++) SPAN_TAGS[(field << 3) | SPAN_FIELDS[field]] = 1;

const SPAN_OK = 0;
const BAD_TRACE_ID = 1;
const BAD_SPAN_ID = 2;

class SpanScanner extends WireCursor {
  spanCount = 0;
  badTraceIds = 0;
  badSpanIds = 0;
  message = '';
  /** Length of the id that the last bad span was judged by. */
  badIdLength = 0;
  /** Where the trace id of the last span is. */
  traceAt = 0;
  /** And its times; 0 = it has none. */
  startAt = 0;
  endAt = 0;
  readonly sink: SpanSink | undefined;

  constructor(bytes: Uint8Array, sink?: SpanSink) {
    super(bytes);
    this.sink = sink;
  }

  /** Walks the request, or what `cut` leaves of it. */
  request(): void {
    const end = this.bytes.length;
    while (this.pos < end) {
      const tag = this.containerTag(end, LENGTH_DELIMITED_FIELD_1);
      if (tag === LENGTH_DELIMITED_FIELD_1) this.resourceSpans(this.valueEnd(end));
      else this.other(tag, end, 1);
    }
  }

  resourceSpans(end: number): void {
    const { sink } = this;
    sink?.beginResource();
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.containerTag(end, LENGTH_DELIMITED_FIELD_2);
      if (tag === LENGTH_DELIMITED_FIELD_2) {
        this.scopeSpans(this.valueEnd(end));
      } else {
        this.other(tag, end, 3);
        sink?.resourceField(start, this.pos);
      }
    }
  }

  scopeSpans(end: number): void {
    const { sink } = this;
    sink?.beginScope();
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.containerTag(end, LENGTH_DELIMITED_FIELD_2);
      if (tag === LENGTH_DELIMITED_FIELD_2) {
        const fault = this.span(this.valueEnd(end));
        this.spanCount++;
        if (fault !== SPAN_OK) this.countFault(fault);
        else sink?.addSpan(this.bytes, start, this.pos, this.traceAt, this.startAt, this.endAt);
      } else {
        this.other(tag, end, 3);
        sink?.scopeField(start, this.pos);
      }
    }
  }

  /** A tag; that of the field which is walked into must be one byte, as later readers look for it. */
  containerTag(end: number, into: number): number {
    const start = this.pos;
    const tag = this.tag(end);
    if (tag === into && this.pos - start > 1) throw malformed(`overlong tag of field ${into >>> 3}`, start);
    return tag;
  }

  /** A field that is not walked into: fields 1 to `last` of every container are length-delimited. */
  other(tag: number, end: number, last: number): void {
    const wire = tag & 7;
    const field = tag >>> 3;
    if (field <= last && wire !== BYTES) throw wrongWireType(field, wire, this.pos);
    this.skip(wire, end);
  }

  /** Checks one Span that ends at `end` and leaves `pos` there; answers what is wrong with its ids. */
  span(end: number): number {
    const bytes = this.bytes;
    let p = this.pos;
    let traceAt = 0;
    let traceLength = 0;
    let idAt = 0;
    let idLength = 0;
    let startAt = 0;
    let endAt = 0;
    while (p < end) {
      const tag = bytes[p++];
      if (tag > 127 || SPAN_TAGS[tag] === 0 || p === end) {
        this.pos = p - 1;
        this.rareSpanField(end);
        p = this.pos;
        continue;
      }
      const wire = tag & 7;
      if (wire === BYTES) {
        let length = bytes[p++];
        if (length > 127) {
          this.pos = p - 1;
          length = this.valueEnd(end) - this.pos;
          p = this.pos;
        } else if (length > end - p) {
          throw malformed(`length ${length} beyond the end of its message`, p - 1);
        }
        if (tag === 0x0a) {
          traceAt = p;
          traceLength = length;
        } else if (tag === 0x12) {
          idAt = p;
          idLength = length;
        }
        p += length;
      } else if (wire === FIXED64) {
        if (end - p < 8) throw malformed('truncated fixed-size value', p);
        if (tag === 0x39) startAt = p;
        else endAt = p;
        p += 8;
      } else if (bytes[p++] > 127) {
        this.pos = p - 1;
        this.varint(end);
        p = this.pos;
      }
    }
    this.pos = end;
    this.traceAt = traceAt;
    this.startAt = startAt;
    this.endAt = endAt;
    if (traceLength !== 16 || isZero(bytes, traceAt, 16)) {
      this.badIdLength = traceLength;
      return BAD_TRACE_ID;
    }
    if (idLength === 8 && !isZero(bytes, idAt, 8)) return SPAN_OK;
    this.badIdLength = idLength;
    return BAD_SPAN_ID;
  }

  /** Whatever the fast path does not know: unknown fields, long tags, wrong wire types, truncation. */
  rareSpanField(end: number): void {
    const start = this.pos;
    const tag = this.tag(end);
    const wire = tag & 7;
    const field = tag >>> 3;
    if (field < SPAN_FIELDS.length && SPAN_FIELDS[field] !== wire) throw wrongWireType(field, wire, start);
    if (field < 3 && this.pos - start > 1) throw malformed(`overlong tag of field ${field}`, start);
    this.skip(wire, end);
  }

  countFault(fault: number): void {
    if (fault === BAD_TRACE_ID) this.badTraceIds++;
    else this.badSpanIds++;
    if (this.message !== '') return;
    // One of the right length is all zeros, which counts as none.
    const isZero = this.badIdLength === (fault === BAD_TRACE_ID ? 16 : 8);
    const bits = isZero ? 0 : this.badIdLength * 8;
    this.message =
      fault === BAD_TRACE_ID
        ? `trace ids must be 128 bit, received ${bits} bits`
        : `span ids must be 64 bit and not all zero, received ${bits} bits`;
  }
}

/**
 * Scans a request. Throws TempoError invalid_argument when it is malformed.
 * @param sink cleared, then told of the good spans.
 */
export function scanRequest(body: Uint8Array, sink?: SpanSink): ScanResult {
  sink?.clear();
  const scanner = new SpanScanner(body, sink);
  scanner.request();
  const { spanCount, badTraceIds, badSpanIds, message } = scanner;
  return { spanCount, badTraceIds, badSpanIds, message };
}

/**
 * Copies a request that passed the scan without its bad spans, and without scopes and resources that held
 * no other.
 */
export function cutBadSpans(body: Uint8Array): Uint8Array {
  return cutSpans(body, (fault) => fault === SPAN_OK);
}

/**
 * Copies a request of good spans without the spans of some runs.
 * @param runs what its scan told.
 * @param isDropped one entry a run, not 0 = left out.
 */
export function cutRuns(body: Uint8Array, runs: TraceRuns, isDropped: Uint8Array): Uint8Array {
  let run = -1;
  let spansLeft = 0;
  return cutSpans(body, () => {
    if (spansLeft === 0) spansLeft = runs.words[++run * RUN_WORDS + RunWord.spans]!;
    spansLeft--;
    return isDropped[run] === 0;
  });
}

/** @param keeps asked for each span in order. */
function cutSpans(body: Uint8Array, keeps: (fault: number) => boolean): Uint8Array {
  const scanner = new SpanScanner(body);
  const out = new ByteWriter(body.length);
  cutMessage(scanner, body.length, out, [LENGTH_DELIMITED_FIELD_1, LENGTH_DELIMITED_FIELD_2], keeps);
  return out.copy();
}

/**
 * Copies the message that ends at `end`, going into fields tagged `path[0]`, then `path[1]`, down to spans.
 * @returns how many spans were kept and dropped below.
 */
function cutMessage(
  scanner: SpanScanner,
  end: number,
  out: ByteWriter,
  path: readonly number[],
  keeps: (fault: number) => boolean,
): { kept: number; dropped: number } {
  const { bytes } = scanner;
  const [into = LENGTH_DELIMITED_FIELD_2, ...deeper] = path;
  let kept = 0;
  let dropped = 0;
  while (scanner.pos < end) {
    const start = scanner.pos;
    const tag = scanner.tag(end);
    if (tag !== into) {
      scanner.skip(tag & 7, end);
      out.raw(bytes.subarray(start, scanner.pos));
      continue;
    }
    const valueEnd = scanner.valueEnd(end);
    if (path.length === 0) {
      const isKept = keeps(scanner.span(valueEnd));
      if (isKept) out.raw(bytes.subarray(start, valueEnd));
      if (isKept) kept++;
      else dropped++;
      continue;
    }
    const inner = new ByteWriter(valueEnd - scanner.pos);
    const below = cutMessage(scanner, valueEnd, inner, deeper, keeps);
    kept += below.kept;
    dropped += below.dropped;
    if (below.kept === 0 && below.dropped > 0) continue;
    out.u8(tag);
    out.varint(inner.length);
    out.raw(inner.view());
  }
  return { kept, dropped };
}

function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let p = at; p < at + length; p++) if (bytes[p] !== 0) return false;
  return true;
}

function wrongWireType(field: number, wire: number, at: number): Error {
  return malformed(`field ${field} with wire type ${wire}`, at);
}
