// The part of a trace that fits into a number of bytes: whole spans in their order, each with its resource
// and scope. Spans that are too large for what is left are passed over.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { closeField, openField, Tag } from './encode.ts';
import { WireCursor } from './wire.ts';

/** Fields that lead to a span: of TracesData, ResourceSpans, ScopeSpans. */
const PATH = [Tag.tracesData.resourceSpans, Tag.resourceSpans.scopeSpans, Tag.scopeSpans.spans] as const;
const SPAN_DEPTH = PATH.length - 1;

/** @param trace well-formed TracesData. */
export function cutTrace(trace: Uint8Array, bytesMax: number): Uint8Array {
  const cutter = new Cutter(trace, bytesMax);
  cutter.copy(trace.length, 0);
  return cutter.out.copy();
}

class Cutter extends WireCursor {
  readonly out: ByteWriter;
  private readonly bytesMax: number;

  constructor(trace: Uint8Array, bytesMax: number) {
    super(trace);
    this.bytesMax = bytesMax;
    this.out = new ByteWriter(Math.min(trace.length, bytesMax) + 64);
  }

  /** @returns whether a span was copied; what leads to none is left out. */
  copy(end: number, depth: number): boolean {
    let hasSpan = false;
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.tag(end);
      if (tag !== PATH[depth]) {
        this.skip(tag & 7, end);
        this.out.raw(this.bytes.subarray(start, this.pos));
        continue;
      }
      const inner = this.valueEnd(end);
      if (depth === SPAN_DEPTH) {
        if (this.out.length + inner - start <= this.bytesMax) {
          this.out.raw(this.bytes.subarray(start, inner));
          hasSpan = true;
        }
      } else {
        const before = this.out.length;
        const mark = openField(this.out, tag);
        if (this.copy(inner, depth + 1)) {
          closeField(this.out, mark);
          hasSpan = true;
        } else this.out.length = before;
      }
      this.pos = inner;
    }
    return hasSpan;
  }
}
