// How many bytes of a request are due to which values of a few attributes. Reads sizes and those attributes
// only, of requests that passed the scan.
import { TempoError } from '../../lib/errors.ts';
import { Tag } from './encode.ts';
import { WireCursor } from './wire.ts';

export interface UsageAttribute {
  readonly name: string;
  readonly scope: 'any' | 'resource' | 'span';
  /** Where its value goes, from 0 on. Of several attributes with one place the last that is there counts. */
  readonly place: number;
}

interface Wanted {
  readonly key: Uint8Array;
  readonly place: number;
}

/** Gets bytes of spans that follow each other with the same values; undefined = the attribute is missing. */
export type UsageVisitor = (values: readonly (string | undefined)[], sizeBytes: number) => void;

/** What a scope counts beside what is in it: a tag and a length of one byte. */
const SCOPE_SPANS_BYTES = 2;
/** Longer values are cut. */
const VALUE_BYTES_MAX = 2048;
const MISSING = -1;
const NOTHING = new Uint8Array(0);

export class UsageReader {
  readonly #ofResource: readonly Wanted[];
  readonly #ofSpan: readonly Wanted[];
  /** The first byte of each value and the one behind it, or MISSING: two words a place. */
  readonly #resourceValues: Int32Array;
  readonly #values: Int32Array;
  readonly #lastValues: Int32Array;
  /** The same by attribute. */
  readonly #found: Int32Array;
  #cursor = new WireCursor(NOTHING);
  // of the resource at hand
  #spanCount = 0;
  #otherBytes = 0;

  constructor(attributes: readonly UsageAttribute[]) {
    const wanted = (scope: UsageAttribute['scope']): Wanted[] =>
      attributes
        .filter((attribute) => attribute.scope === 'any' || attribute.scope === scope)
        .map(({ name, place }) => ({ key: new TextEncoder().encode(name), place }));
    this.#ofResource = wanted('resource');
    this.#ofSpan = wanted('span');
    const places = Math.max(-1, ...attributes.map(({ place }) => place)) + 1;
    this.#resourceValues = new Int32Array(2 * places);
    this.#values = new Int32Array(2 * places);
    this.#lastValues = new Int32Array(2 * places);
    this.#found = new Int32Array(2 * attributes.length);
  }

  /** Visits all spans. What a resource takes beside its spans is shared out evenly among them. */
  read(body: Uint8Array, visit: UsageVisitor): void {
    const cursor = new WireCursor(body);
    this.#cursor = cursor;
    const end = body.length;
    while (cursor.pos < end) {
      const tag = cursor.tag(end);
      if (tag !== Tag.tracesData.resourceSpans) {
        cursor.skip(tag & 7, end);
        continue;
      }
      const valueEnd = cursor.valueEnd(end);
      const start = cursor.pos;
      this.#measure(valueEnd);
      cursor.pos = start;
      if (this.#spanCount > 0) this.#shareOut(valueEnd, visit);
      cursor.pos = valueEnd;
    }
    this.#cursor = new WireCursor(NOTHING);
  }

  /** Counts spans, and the bytes beside them; finds what the resource says. */
  #measure(end: number): void {
    const cursor = this.#cursor;
    this.#spanCount = 0;
    this.#otherBytes = 0;
    this.#resourceValues.fill(MISSING);
    while (cursor.pos < end) {
      const start = cursor.pos;
      const tag = cursor.tag(end);
      if (tag === Tag.resourceSpans.scopeSpans) {
        this.#otherBytes += SCOPE_SPANS_BYTES;
        this.#measureScope(cursor.valueEnd(end));
        continue;
      }
      if (tag === Tag.resourceSpans.resource) {
        const valueEnd = cursor.valueEnd(end);
        this.#find(valueEnd, this.#ofResource, Tag.resource.attributes, this.#resourceValues);
      } else cursor.skip(tag & 7, end);
      this.#otherBytes += cursor.pos - start;
    }
  }

  #measureScope(end: number): void {
    const cursor = this.#cursor;
    while (cursor.pos < end) {
      const start = cursor.pos;
      const tag = cursor.tag(end);
      cursor.skip(tag & 7, end);
      if (tag === Tag.scopeSpans.spans) this.#spanCount++;
      else this.#otherBytes += cursor.pos - start;
    }
  }

  #shareOut(end: number, visit: UsageVisitor): void {
    const cursor = this.#cursor;
    const share = roundedToEven(this.#otherBytes / this.#spanCount);
    // What is lost by rounding goes to the first span.
    let sizeBytes = this.#otherBytes - share * this.#spanCount;
    let isFirst = true;
    this.#lastValues.set(this.#resourceValues);
    while (cursor.pos < end) {
      const tag = cursor.tag(end);
      if (tag !== Tag.resourceSpans.scopeSpans) {
        cursor.skip(tag & 7, end);
        continue;
      }
      const scopeEnd = cursor.valueEnd(end);
      while (cursor.pos < scopeEnd) {
        const start = cursor.pos;
        const inner = cursor.tag(scopeEnd);
        if (inner !== Tag.scopeSpans.spans) {
          cursor.skip(inner & 7, scopeEnd);
          continue;
        }
        const spanEnd = cursor.valueEnd(scopeEnd);
        if (this.#ofSpan.length > 0) {
          this.#values.set(this.#resourceValues);
          this.#find(spanEnd, this.#ofSpan, Tag.span.attributes, this.#values);
          if (!this.#isAsLast()) {
            if (!isFirst) {
              visit(this.#texts(), sizeBytes);
              sizeBytes = 0;
            }
            this.#lastValues.set(this.#values);
          }
        }
        isFirst = false;
        sizeBytes += spanEnd - start + share;
        cursor.pos = spanEnd;
      }
    }
    visit(this.#texts(), sizeBytes);
  }

  /** Finds wanted attributes in the message that ends at `end`, and moves there. */
  #find(end: number, wanted: readonly Wanted[], attributesTag: number, values: Int32Array): void {
    const cursor = this.#cursor;
    const found = this.#found.fill(MISSING);
    try {
      while (cursor.pos < end) {
        const tag = cursor.tag(end);
        if (tag !== attributesTag) {
          cursor.skip(tag & 7, end);
          continue;
        }
        const valueEnd = cursor.valueEnd(end);
        this.#attribute(valueEnd, wanted);
        cursor.pos = valueEnd;
      }
    } catch (err) {
      // The scan looks into no attribute: those of a message that breaks off are left.
      if (!(err instanceof TempoError)) throw err;
      cursor.pos = end;
    }
    for (let i = 0; i < wanted.length; i++) {
      if (found[2 * i] === MISSING) continue;
      const at = 2 * wanted[i]!.place;
      values[at] = found[2 * i]!;
      values[at + 1] = found[2 * i + 1]!;
    }
  }

  #attribute(end: number, wanted: readonly Wanted[]): void {
    const cursor = this.#cursor;
    let which = MISSING;
    while (cursor.pos < end) {
      const tag = cursor.tag(end);
      if (tag === Tag.keyValue.key) {
        const keyEnd = cursor.valueEnd(end);
        which = this.#indexOf(wanted, keyEnd);
        if (which < 0) return;
        cursor.pos = keyEnd;
      } else if (tag === Tag.keyValue.value && which >= 0) {
        const valueEnd = cursor.valueEnd(end);
        this.#value(valueEnd, which);
        cursor.pos = valueEnd;
      } else cursor.skip(tag & 7, end);
    }
  }

  /** Of several with one key the first string that is not empty counts. */
  #value(end: number, which: number): void {
    const cursor = this.#cursor;
    const found = this.#found;
    if (found[2 * which] !== MISSING || cursor.pos === end) return;
    if (cursor.tag(end) !== Tag.anyValue.string) return;
    const textEnd = cursor.valueEnd(end);
    if (textEnd === cursor.pos) return;
    found[2 * which] = cursor.pos;
    found[2 * which + 1] = Math.min(textEnd, cursor.pos + VALUE_BYTES_MAX);
  }

  #indexOf(wanted: readonly Wanted[], keyEnd: number): number {
    const { bytes, pos } = this.#cursor;
    next: for (let i = 0; i < wanted.length; i++) {
      const { key } = wanted[i]!;
      if (key.length !== keyEnd - pos) continue;
      for (let k = 0; k < key.length; k++) if (bytes[pos + k] !== key[k]) continue next;
      return i;
    }
    return MISSING;
  }

  /** Whether the values are those of the span before. */
  #isAsLast(): boolean {
    const { bytes } = this.#cursor;
    const values = this.#values;
    const last = this.#lastValues;
    for (let i = 0; i < values.length; i += 2) {
      const from = values[i]!;
      const before = last[i]!;
      if (from === before) continue;
      const length = values[i + 1]! - from;
      if (from < 0 || before < 0 || last[i + 1]! - before !== length) return false;
      for (let k = 0; k < length; k++) if (bytes[from + k] !== bytes[before + k]) return false;
    }
    return true;
  }

  #texts(): (string | undefined)[] {
    const { bytes } = this.#cursor;
    const last = this.#lastValues;
    return Array.from({ length: last.length / 2 }, (_, i) => {
      const from = last[2 * i]!;
      if (from < 0) return undefined;
      return Buffer.from(bytes.buffer, bytes.byteOffset + from, last[2 * i + 1]! - from).toString();
    });
  }
}

function roundedToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
