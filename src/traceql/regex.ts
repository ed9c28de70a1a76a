// RE2 patterns, fully anchored, decided on bytes. Patterns of literals, alternatives and `.*` never run a
// regex engine.
import { RE2JS } from 're2js';
import { regexSteps } from './regex-steps.ts';

export interface RegexMatcher {
  matchesText(text: string): boolean;
  matchesBytes(bytes: Uint8Array): boolean;
  /** The only strings that match, when they are few and known. */
  readonly literals: readonly Uint8Array[] | undefined;
}

const ALTERNATIVES_MAX = 64;
/** Of alternatives without `.*`. */
const LITERALS_MAX = 10_000;
/** Of all alternatives together. */
const GLOB_CHARS_MAX = 1 << 20;
/** Instructions of a compiled pattern, about: as many are compiled in 0.1 s. */
export const STEPS_MAX = 30_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** undefined when the pattern is not valid RE2, or too large. */
export function regexMatcher(pattern: string): RegexMatcher | undefined {
  const compiled = compile(pattern);
  return typeof compiled === 'string' ? undefined : compiled;
}

/** What is wrong with a pattern; undefined = nothing. */
export function regexProblem(pattern: string): string | undefined {
  const compiled = compile(pattern);
  return typeof compiled === 'string' ? compiled : undefined;
}

/** What a pattern costs to compile, in steps; those that no engine runs cost nothing. */
export function regexSize(pattern: string): number {
  return globsOf(pattern) === undefined ? regexSteps(pattern) : 0;
}

function compile(pattern: string): RegexMatcher | string {
  const globs = globsOf(pattern);
  if (globs) return new GlobMatcher(globs);
  const steps = regexSteps(pattern);
  if (steps > STEPS_MAX) return `too large: about ${Math.ceil(steps)} steps, at most ${STEPS_MAX}`;
  try {
    return new Re2Matcher(RE2JS.compile(pattern, RE2JS.DOTALL));
  } catch (err) {
    // The library writes the flag before the pattern.
    return (err as Error).message
      .replace(/^error parsing regexp: /, '')
      .replace(`\`(?s)${pattern}\``, () => `\`${pattern}\``);
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

/** A literal between two `.*`. */
class Piece {
  readonly bytes: Uint8Array;
  /** For each prefix the length of its longest border: so a search never goes back. */
  private readonly borders: Int32Array;

  constructor(text: string) {
    this.bytes = encoder.encode(text);
    const { bytes } = this;
    this.borders = new Int32Array(bytes.length + 1);
    for (let i = 1, matched = 0; i < bytes.length; i++) {
      while (matched > 0 && bytes[i] !== bytes[matched]) matched = this.borders[matched]!;
      if (bytes[i] === bytes[matched]) matched++;
      this.borders[i + 1] = matched;
    }
  }

  /** Where it ends for the first time, in [from, end); -1 = nowhere. */
  endIn(text: Uint8Array, from: number, end: number): number {
    const { bytes, borders } = this;
    if (bytes.length === 0) return from;
    let matched = 0;
    for (let at = from; at < end; at++) {
      while (matched > 0 && text[at] !== bytes[matched]) matched = borders[matched]!;
      if (text[at] === bytes[matched]) matched++;
      if (matched === bytes.length) return at + 1;
    }
    return -1;
  }
}

/** Literal pieces with `.*` between neighbours: one piece is an exact string. */
type Glob = readonly Piece[];

class GlobMatcher implements RegexMatcher {
  readonly literals: readonly Uint8Array[] | undefined;
  private readonly globs: readonly Glob[];
  /** All of them, when they are many and literals. */
  private readonly texts: ReadonlySet<string> | undefined;

  constructor(globs: readonly Glob[]) {
    this.globs = globs;
    if (globs.length > ALTERNATIVES_MAX) {
      this.texts = new Set(globs.map((glob) => decodeText(glob[0]!.bytes)));
      return;
    }
    this.literals = globs.every((glob) => glob.length === 1)
      ? globs.map((glob) => glob[0]!.bytes)
      : undefined;
  }

  matchesText(text: string): boolean {
    return this.matchesBytes(encoder.encode(text));
  }

  matchesBytes(bytes: Uint8Array): boolean {
    if (this.texts !== undefined) return this.texts.has(decodeText(bytes));
    for (let i = 0; i < this.globs.length; i++) if (matchesGlob(bytes, this.globs[i]!)) return true;
    return false;
  }
}

function matchesGlob(bytes: Uint8Array, glob: Glob): boolean {
  const first = glob[0]!.bytes;
  if (glob.length === 1) return bytes.length === first.length && hasAt(bytes, first, 0);
  const last = glob[glob.length - 1]!.bytes;
  const end = bytes.length - last.length;
  if (end < first.length || !hasAt(bytes, first, 0) || !hasAt(bytes, last, end)) return false;
  let at = first.length;
  for (let i = 1; i < glob.length - 1 && at >= 0; i++) at = glob[i]!.endIn(bytes, at, end);
  return at >= 0;
}

function hasAt(bytes: Uint8Array, piece: Uint8Array, at: number): boolean {
  for (let i = 0; i < piece.length; i++) if (bytes[at + i] !== piece[i]) return false;
  return true;
}

/** The pattern as globs, or undefined when it has anything else than literals, `.*`, `|` and groups. */
function globsOf(pattern: string): Glob[] | undefined {
  const parser = new GlobParser(pattern);
  const alternatives = parser.alternatives();
  if (!alternatives || !parser.atEnd()) return undefined;
  return alternatives.map((pieces) => pieces.map((piece) => new Piece(piece)));
}

const PLAIN = /[^*+?[\]{}^$()|.\\]+/y;

function isLowSurrogate(c: string): boolean {
  return c >= '\udc00' && c <= '\udfff';
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
    let most = LITERALS_MAX;
    do {
      const some = this.sequence();
      if (!some) return undefined;
      all.push(...some);
      most = Math.min(most, alternativesMax(some));
      if (all.length > most) return undefined;
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
      const run = this.run();
      const tails = run === '' ? this.item(c) : [[run]];
      // a quantifier behind the item makes it something else
      if (!tails || /[*+?{]/.test(this.pattern[this.position] ?? '')) return undefined;
      const count = heads.length * tails.length;
      const isAlone = heads.length === 1 && heads[0]!.join('') === '';
      const most = isAlone ? alternativesMax(tails) : ALTERNATIVES_MAX;
      const isLong = !isAlone && (count - 1) * this.pattern.length > GLOB_CHARS_MAX;
      if (count > most || isLong) return undefined;
      heads = heads.flatMap((head) => tails.map((tail) => join(head, tail)));
    }
    return heads;
  }

  /** Plain characters in a row, without one that a quantifier follows. */
  private run(): string {
    PLAIN.lastIndex = this.position;
    let run = PLAIN.exec(this.pattern)?.[0] ?? '';
    const after = this.pattern[this.position + run.length] ?? '';
    if (run !== '' && /[*+?{]/.test(after)) run = run.slice(0, isLowSurrogate(run.at(-1)!) ? -2 : -1);
    this.position += run.length;
    return run;
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

function alternativesMax(alternatives: readonly (readonly string[])[]): number {
  return alternatives.every((pieces) => pieces.length === 1) ? LITERALS_MAX : ALTERNATIVES_MAX;
}

function join(head: readonly string[], tail: readonly string[]): string[] {
  const middle = head[head.length - 1]! + tail[0]!;
  return [...head.slice(0, -1), middle, ...tail.slice(1)];
}
