// Leaves spans, and events of spans, out of a request where a condition holds. What is kept is copied as it
// is; a scope or resource that has no span left goes too. The main thread gets its turn in between.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { closeField, openField, Tag } from '../../../model/otlp/encode.ts';
import { BYTES, WireCursor } from '../../../model/otlp/wire.ts';
import { compileConditions, SpanView } from './condition.ts';

export interface FilterSettings {
  readonly span: readonly string[];
  readonly spanevent: readonly string[];
}

/** Spans and events between two looks at the clock, and how long the main thread may be held. */
const MESSAGES_PER_LOOK = 64;
/** And that many bytes, where they are large. */
const BYTES_PER_LOOK = 64 * 1024;
const TURN_MS = 5;

export class SpanFilter {
  private readonly isSpanOut: (view: SpanView) => boolean;
  private readonly isEventOut: ((view: SpanView) => boolean) | undefined;

  /** Throws a TempoError about a condition that is not valid or not supported. */
  constructor({ span, spanevent }: FilterSettings) {
    this.isSpanOut = compileConditions('span', span);
    this.isEventOut = spanevent.length === 0 ? undefined : compileConditions('spanevent', spanevent);
  }

  /** @param body a well-formed request. @returns what is left; undefined when no span is. */
  async apply(body: Uint8Array): Promise<Uint8Array | undefined> {
    const pass = new FilterPass(body, this.isSpanOut, this.isEventOut);
    const steps = pass.copyRequest();
    let beganMs = performance.now();
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) return step.value ? pass.out.copy() : undefined;
      if (performance.now() - beganMs < TURN_MS) continue;
      await nextTurn();
      beganMs = performance.now();
    }
  }
}

class FilterPass extends WireCursor {
  readonly out: ByteWriter;
  private readonly view: SpanView;
  private readonly isSpanOut: (view: SpanView) => boolean;
  private readonly isEventOut: ((view: SpanView) => boolean) | undefined;
  private seen = 0;
  private lookedAt = 0;

  constructor(
    body: Uint8Array,
    isSpanOut: (view: SpanView) => boolean,
    isEventOut: ((view: SpanView) => boolean) | undefined,
  ) {
    super(body);
    this.out = new ByteWriter(body.length + 64);
    this.view = new SpanView(body);
    this.isSpanOut = isSpanOut;
    this.isEventOut = isEventOut;
  }

  /** Yields now and then. @returns whether a span was kept. */
  copyRequest(): Generator<void, boolean> {
    return this.copyMessages(this.bytes.length, Tag.tracesData.resourceSpans, (end) =>
      this.copyResource(end),
    );
  }

  private copyResource(end: number): Generator<void, boolean> {
    this.lookAhead(end, Tag.resourceSpans.resource, 'resource');
    return this.copyMessages(end, Tag.resourceSpans.scopeSpans, (inner) => this.copyScope(inner));
  }

  /** Copies the message up to `end`; `copy` takes its fields of that tag. @returns whether one was kept. */
  private *copyMessages(
    end: number,
    wanted: number,
    copy: (end: number) => Generator<void, boolean>,
  ): Generator<void, boolean> {
    const { out } = this;
    let isKept = false;
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.tag(end);
      if (tag !== wanted) {
        this.skip(tag & 7, end);
        out.raw(this.bytes.subarray(start, this.pos));
        continue;
      }
      const inner = this.valueEnd(end);
      const before = out.length;
      const mark = openField(out, tag);
      if (yield* copy(inner)) {
        closeField(out, mark);
        isKept = true;
      } else out.length = before;
      this.pos = inner;
    }
    return isKept;
  }

  private *copyScope(end: number): Generator<void, boolean> {
    this.lookAhead(end, Tag.scopeSpans.scope, 'scope');
    const { out } = this;
    let isKept = false;
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.tag(end);
      if (tag !== Tag.scopeSpans.spans) {
        this.skip(tag & 7, end);
        out.raw(this.bytes.subarray(start, this.pos));
        continue;
      }
      const inner = this.valueEnd(end);
      if (yield* this.copySpan(start, inner)) isKept = true;
      this.pos = inner;
      if (this.isTimeToLook()) yield;
    }
    return isKept;
  }

  /** Of a span or event that ends here. */
  private isTimeToLook(): boolean {
    if (++this.seen % MESSAGES_PER_LOOK !== 0 && this.pos - this.lookedAt < BYTES_PER_LOOK) return false;
    this.lookedAt = this.pos;
    return true;
  }

  /** The field that begins at `start`, whose value is from here to `end`. */
  private *copySpan(start: number, end: number): Generator<void, boolean> {
    const { view, out } = this;
    view.span.moveTo(this.pos, end);
    if (this.isSpanOut(view)) return false;
    if (this.isEventOut === undefined) out.raw(this.bytes.subarray(start, end));
    else yield* this.copyEvents(end, this.isEventOut);
    return true;
  }

  private *copyEvents(end: number, isOut: (view: SpanView) => boolean): Generator<void, void> {
    const { view, out, bytes } = this;
    const mark = openField(out, Tag.scopeSpans.spans);
    view.eventIndex = 0;
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.tag(end);
      if (tag === Tag.span.events) {
        const inner = this.valueEnd(end);
        view.event.moveTo(this.pos, inner);
        this.pos = inner;
        const isLeft = isOut(view);
        view.eventIndex++;
        if (this.isTimeToLook()) yield;
        if (isLeft) continue;
      } else this.skip(tag & 7, end);
      out.raw(bytes.subarray(start, this.pos));
    }
    closeField(out, mark);
  }

  /** Has the view show the resource or scope of the message up to `end`, wherever in it that stands. */
  private lookAhead(end: number, wanted: number, what: 'resource' | 'scope'): void {
    const { pos } = this;
    this.view[what].moveTo(0, 0);
    while (this.pos < end) {
      const tag = this.tag(end);
      if ((tag & 7) !== BYTES) {
        this.skip(tag & 7, end);
        continue;
      }
      const inner = this.valueEnd(end);
      if (tag === wanted) this.view[what].moveTo(this.pos, inner);
      this.pos = inner;
    }
    this.pos = pos;
  }
}
