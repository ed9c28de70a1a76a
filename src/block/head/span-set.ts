// Which spans a head has, by their identity (trace, span id, kind): a hash table private to the writer
// that compares with the head's own columns.
import { KIND, type KindStatusVecs, kindOrStatus } from './kind-status.ts';
import type { VecWriter } from './vec.ts';

const SLOTS_MIN = 64;

export class SpanSet {
  private readonly spanTrace: VecWriter;
  private readonly spanId: VecWriter;
  private readonly kindStatus: KindStatusVecs;
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;
  private count = 0;
  private tags = new Uint8Array(SLOTS_MIN); // 0 = free, else 8 bits of the hash
  private spans = new Int32Array(SLOTS_MIN);

  constructor(vecs: KindStatusVecs & Readonly<Record<'spanTrace' | 'spanId', VecWriter>>) {
    this.spanTrace = vecs.spanTrace;
    this.spanId = vecs.spanId;
    this.kindStatus = vecs;
  }

  /**
   * Adds the span that is about to be appended (its ordinal is the count of the columns), unless it
   * is there.
   */
  add(trace: number, idLow: number, idHigh: number, kind: number): boolean {
    if (this.count > this.tags.length * 0.625) this.grow();
    const hash = this.hash(trace, idLow, idHigh, kind);
    const tag = hash >>> 24 || 1;
    const mask = this.tags.length - 1;
    let slot = hash & mask;
    for (let found = this.tags[slot]!; found !== 0; found = this.tags[slot]!) {
      if (found === tag && this.is(this.spans[slot]!, trace, idLow, idHigh, kind)) return false;
      slot = (slot + 1) & mask;
    }
    this.tags[slot] = tag;
    this.spans[slot] = this.spanTrace.count;
    this.count++;
    return true;
  }

  get sizeBytes(): number {
    return this.tags.byteLength + this.spans.byteLength;
  }

  private is(span: number, trace: number, idLow: number, idHigh: number, kind: number): boolean {
    return (
      this.spanId.get(span, 0) === idLow &&
      this.spanId.get(span, 1) === idHigh &&
      this.spanTrace.get(span) === trace &&
      kindOrStatus(this.kindStatus, span, KIND) === kind
    );
  }

  private hash(trace: number, idLow: number, idHigh: number, kind: number): number {
    let h = Math.imul(idLow ^ this.seed, 0x9e3779b1);
    h = Math.imul((h ^ (h >>> 15)) + idHigh, 0x85ebca6b);
    h = Math.imul((h ^ (h >>> 13)) + trace * 8 + kind, 0xc2b2ae35);
    return h ^ (h >>> 16);
  }

  private grow(): void {
    const slots = this.tags.length * 2;
    const mask = slots - 1;
    const tags = new Uint8Array(slots);
    const spans = new Int32Array(slots);
    for (let span = 0; span < this.spanTrace.count; span++) {
      const kind = kindOrStatus(this.kindStatus, span, KIND);
      const hash = this.hash(
        this.spanTrace.get(span),
        this.spanId.get(span, 0),
        this.spanId.get(span, 1),
        kind,
      );
      let slot = hash & mask;
      while (tags[slot] !== 0) slot = (slot + 1) & mask;
      tags[slot] = hash >>> 24 || 1;
      spans[slot] = span;
    }
    this.tags = tags;
    this.spans = spans;
  }
}
