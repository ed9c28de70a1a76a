// RE2 patterns, fully anchored, decided on bytes. Patterns of literals, alternatives and `.*` never run a
// regex engine.
import { RE2JS } from 're2js';

export interface RegexMatcher {
  matchesText(text: string): boolean;
  matchesBytes(bytes: Uint8Array): boolean;
  /** The only strings that match, when they are few and known. */
  readonly literals: readonly Uint8Array[] | undefined;
}

const ALTERNATIVES_MAX = 64;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** undefined when the pattern is not valid RE2. */
export function regexMatcher(pattern: string): RegexMatcher | undefined {
  const globs = globsOf(pattern);
  if (globs) return new GlobMatcher(globs);
  try {
    return new Re2Matcher(RE2JS.compile(pattern, RE2JS.DOTALL));
  } catch {
    return undefined;
  }
}

class Re2Matcher implements RegexMatcher {
  readonly literals = undefined;
  private readonly regex: RE2JS;

  constructor(regex: RE2JS) {
    this.regex = regex;
  }

  matchesText(text: string): boolean {
    return this.regex.testExact(text);
  }

  matchesBytes(bytes: Uint8Array): boolean {
    return this.regex.testExact(decodeText(bytes));
  }
}

/** TextDecoder refuses views of shared memory, so those are copied first. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes));
}

/** Literal pieces with `.*` between neighbours: one piece is an exact string. */
type Glob = readonly Uint8Array[];

class GlobMatcher implements RegexMatcher {
  readonly literals: readonly Uint8Array[] | undefined;
  private readonly globs: readonly Glob[];

  constructor(globs: readonly Glob[]) {
    this.globs = globs;
    this.literals = globs.every((glob) => glob.length === 1) ? globs.map((glob) => glob[0]!) : undefined;
  }

  matchesText(text: string): boolean {
    return this.matchesBytes(encoder.encode(text));
  }

  matchesBytes(bytes: Uint8Array): boolean {
    for (let i = 0; i < this.globs.length; i++) if (matchesGlob(bytes, this.globs[i]!)) return true;
    return false;
  }
}

function matchesGlob(bytes: Uint8Array, glob: Glob): boolean {
  const first = glob[0]!;
  if (glob.length === 1) return bytes.length === first.length && hasAt(bytes, first, 0);
  const last = glob[glob.length - 1]!;
  const end = bytes.length - last.length;
  if (end < first.length || !hasAt(bytes, first, 0) || !hasAt(bytes, last, end)) return false;
  let at = first.length;
  for (let i = 1; i < glob.length - 1; i++) {
    const piece = glob[i]!;
    const found = indexOfBytes(bytes, piece, at, end);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return true;
}

function hasAt(bytes: Uint8Array, piece: Uint8Array, at: number): boolean {
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

function indexOfBytes(bytes: Uint8Array, piece: Uint8Array, from: number, end: number): number {
  for (let at = from; at + piece.length <= end; at++) if (hasAt(bytes, piece, at)) return at;
  return -1;
}

/** The pattern as globs, or undefined when it has anything else than literals, `.*`, `|` and groups. */
function globsOf(pattern: string): Glob[] | undefined {
  const parser = new GlobParser(pattern);
  const alternatives = parser.alternatives();
  if (!alternatives || !parser.atEnd()) return undefined;
  return alternatives.map((pieces) => pieces.map((piece) => encoder.encode(piece)));
}

/** Alternatives as lists of literal pieces, with `.*` between the pieces of one. */
class GlobParser {
  private readonly pattern: string;
  private position = 0;
  private depth = 0;

  constructor(pattern: string) {
    this.pattern = pattern;
  }

  atEnd(): boolean {
    return this.position === this.pattern.length;
  }

  alternatives(): string[][] | undefined {
    const all: string[][] = [];
    do {
      const some = this.sequence();
      if (!some) return undefined;
      all.push(...some);
      if (all.length > ALTERNATIVES_MAX) return undefined;
    } while (this.accept('|'));
    return all;
  }

  private accept(c: string): boolean {
    if (this.pattern[this.position] !== c) return false;
    this.position++;
    return true;
  }

  private sequence(): string[][] | undefined {
    let heads: string[][] = [['']];
    while (this.position < this.pattern.length) {
      const c = this.pattern[this.position]!;
      if (c === '|' || c === ')') break;
      const tails = this.item(c);
      // a quantifier behind the item makes it something else
      if (!tails || /[*+?{]/.test(this.pattern[this.position] ?? '')) return undefined;
      if (heads.length * tails.length > ALTERNATIVES_MAX) return undefined;
      heads = heads.flatMap((head) => tails.map((tail) => join(head, tail)));
    }
    return heads;
  }

  private item(c: string): string[][] | undefined {
    if (c === '(') return this.group();
    if (c === '.') {
      if (this.pattern[this.position + 1] !== '*') return undefined;
      this.position += 2;
      return [['', '']];
    }
    if (c === '\\') {
      const escaped = this.pattern[this.position + 1] ?? '';
      if (!/[.\\/\-*+?()[\]{}|^$]/.test(escaped)) return undefined;
      this.position += 2;
      return [[escaped]];
    }
    if (/[*+?[\]{}^$]/.test(c)) return undefined;
    const character = String.fromCodePoint(this.pattern.codePointAt(this.position)!);
    this.position += character.length;
    return [[character]];
  }

  private group(): string[][] | undefined {
    if (++this.depth > 8) return undefined;
    this.position++;
    if (this.pattern[this.position] === '?') {
      if (!this.pattern.startsWith('?:', this.position)) return undefined;
      this.position += 2;
    }
    const inner = this.alternatives();
    if (!inner || !this.accept(')')) return undefined;
    this.depth--;
    return inner;
  }
}

function join(head: readonly string[], tail: readonly string[]): string[] {
  const middle = head[head.length - 1]! + tail[0]!;
  return [...head.slice(0, -1), middle, ...tail.slice(1)];
}
