// Tests of strings and ids. They are classes, not closures: code that V8 made for a closure ends with the
// query that made it, and the next query's has to be compiled again.
import type { CompareOp } from '../ast.ts';
import type { RegexMatcher } from '../regex.ts';
import { ValueType } from '../source.ts';
import { idText } from './json.ts';

export interface BytesTest {
  readonly kind: 'bytes';
  /** The type an entry must have. */
  readonly type: ValueType;
  /** What is accepted is one of these; undefined when that cannot be said. */
  readonly equals: readonly Uint8Array[] | undefined;
  accepts(bytes: Uint8Array): boolean;
}

type OrderOp = Exclude<CompareOp, '=~' | '!~'>;
type MatchOp = Extract<CompareOp, '=~' | '!~'>;

/** `op literal`, byte by byte. */
export class OrderedBytes implements BytesTest {
  readonly kind = 'bytes';
  readonly type = ValueType.string;
  readonly equals: readonly Uint8Array[] | undefined;
  private readonly op: OrderOp;
  private readonly literal: Uint8Array;

  constructor(op: OrderOp, literal: Uint8Array) {
    this.equals = op === '=' ? [literal] : undefined;
    this.op = op;
    this.literal = literal;
  }

  accepts(bytes: Uint8Array): boolean {
    const { literal } = this;
    switch (this.op) {
      case '=':
        return equalBytes(bytes, literal);
      case '!=':
        return !equalBytes(bytes, literal);
      case '<':
        return compareBytes(bytes, literal) < 0;
      case '<=':
        return compareBytes(bytes, literal) <= 0;
      case '>':
        return compareBytes(bytes, literal) > 0;
      case '>=':
        return compareBytes(bytes, literal) >= 0;
    }
  }
}

export class MatchingBytes implements BytesTest {
  readonly kind = 'bytes';
  readonly type = ValueType.string;
  readonly equals: readonly Uint8Array[] | undefined;
  private readonly isWanted: boolean;
  private readonly matcher: RegexMatcher;

  constructor(op: MatchOp, matcher: RegexMatcher) {
    this.equals = op === '=~' ? matcher.literals : undefined;
    this.isWanted = op === '=~';
    this.matcher = matcher;
  }

  accepts(bytes: Uint8Array): boolean {
    return this.matcher.matchesBytes(bytes) === this.isWanted;
  }
}

/** Ids match patterns as they are shown. */
export class MatchingId implements BytesTest {
  readonly kind = 'bytes';
  readonly type = ValueType.bytes;
  readonly equals = undefined;
  private readonly isWanted: boolean;
  private readonly matcher: RegexMatcher;

  constructor(op: MatchOp, matcher: RegexMatcher) {
    this.isWanted = op === '=~';
    this.matcher = matcher;
  }

  accepts(bytes: Uint8Array): boolean {
    return this.matcher.matchesText(idText(bytes)) === this.isWanted;
  }
}

/** Ids are equal or differ, as bytes; `validate` refuses operators of order with constants. */
export class EqualId implements BytesTest {
  readonly kind = 'bytes';
  readonly type = ValueType.bytes;
  readonly equals = undefined;
  private readonly isWanted: boolean;
  /** Undefined: the text is no id, and none equals it. */
  private readonly id: Uint8Array | undefined;

  constructor(op: OrderOp, text: string, size: number) {
    this.isWanted = op === '=';
    this.id = idBytesOf(text, size);
  }

  accepts(bytes: Uint8Array): boolean {
    return (this.id !== undefined && equalIds(bytes, this.id)) === this.isWanted;
  }
}

/** The id of a hex text, left-padded; undefined when it is none. */
function idBytesOf(text: string, size: number): Uint8Array | undefined {
  const digits = text.replace(/^0+/, '');
  if (digits.length > size * 2 || !/^[0-9a-fA-F]*$/.test(digits)) return undefined;
  const padded = digits.padStart(size * 2, '0');
  const id = new Uint8Array(size);
  for (let i = 0; i < size; i++) id[i] = Number.parseInt(padded.slice(i * 2, i * 2 + 2), 16);
  return id;
}

function equalIds(bytes: Uint8Array, wanted: Uint8Array): boolean {
  if (bytes.length > wanted.length) return false;
  const shift = wanted.length - bytes.length;
  for (let i = 0; i < shift; i++) if (wanted[i] !== 0) return false;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== wanted[i + shift]) return false;
  return true;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
