// Query text to tokens. Attribute names are read whole here, because their alphabet differs from
// everything else.
import type { AttributeScope } from './source.ts';
import { TraceqlError } from './error.ts';
import { parseDuration } from './duration.ts';

type TokenKind =
  | 'op'
  | 'keyword'
  | 'identifier'
  | 'string'
  | 'int'
  | 'float'
  | 'duration'
  | 'attribute'
  | 'intrinsic'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  /** Operator or keyword as written, decoded string, number text, attribute name, `span:name`. */
  readonly text: string;
  /** How error messages call it. */
  readonly shown: string;
  readonly line: number;
  readonly column: number;
  readonly scope?: AttributeScope | 'none';
  readonly parent?: boolean;
  /** ns of a duration. */
  readonly nanos?: bigint;
}

export const KEYWORDS: ReadonlySet<string> = new Set(
  (
    'true false nil ok error unset unspecified internal server client producer consumer duration ' +
    'childCount name status statusMessage kind rootName rootServiceName rootService traceDuration ' +
    'nestedSetLeft nestedSetRight nestedSetParent id traceID spanID parentID timeSinceStart version ' +
    'parent count avg max min sum by coalesce select rate count_over_time min_over_time ' +
    'max_over_time avg_over_time sum_over_time quantile_over_time histogram_over_time compare topk ' +
    'bottomk with'
  ).split(' '),
);
export const OPERATORS: ReadonlySet<string> = new Set(
  '{ } ( ) , = != =~ !~ > >= < <= + - / % * ^ && || ! | >> << ~ !> !< !>> !<< &> &< &>> &<< &~'.split(' '),
);
const ATTRIBUTE_SCOPES = ['resource', 'span', 'event', 'link', 'instrumentation'] as const;
const INTRINSIC_WORDS: Record<string, readonly string[]> = {
  span: ['duration', 'name', 'status', 'statusMessage', 'kind', 'id', 'parentID', 'childCount'],
  trace: ['duration', 'rootName', 'rootService', 'id'],
  event: ['name', 'timeSinceStart'],
  link: ['traceID', 'spanID'],
  instrumentation: ['name', 'version'],
};
/** goyacc names what it expects only when that is at most four. */
const EXPECTED_SHOWN_MAX = 4;
const ATTRIBUTE_END = /[\s{}()=~!<>&|^,]/;
const SPACE = /\s/;
const WORD = /[\p{L}_][\p{L}\p{N}_]*/uy;
const NUMBER = /0[xX][0-9a-fA-F_]*|0[bB][0-9_]*|0[oO][0-9_]*|(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
/** All that may belong to a duration: whether it is one is decided of the whole. */
const DURATION_TAIL = /[\p{N}.nsuµμmhdwy]{1,65}/uy;
/** Longer ones are none, so that what is no duration is not looked at again and again. */
const DURATION_TAIL_MAX = 64;

export function tokenize(text: string): Token[] {
  return new Lexer(text).run();
}

class Lexer {
  private readonly text: string;
  private position = 0;
  private line = 1;
  private lineStart = 0;
  private readonly tokens: Token[] = [];

  constructor(text: string) {
    this.text = text;
  }

  run(): Token[] {
    for (;;) {
      this.skipBlank();
      if (this.position >= this.text.length) break;
      this.next();
    }
    this.push('end', '', '$end', this.position);
    return this.tokens;
  }

  private push(kind: TokenKind, text: string, shown: string, start: number, more?: Partial<Token>): void {
    this.tokens.push({ kind, text, shown, line: this.line, column: start - this.lineStart + 1, ...more });
  }

  private fail(message: string, at: number): TraceqlError {
    return new TraceqlError(message, this.line, at - this.lineStart + 1);
  }

  private newLine(at: number): void {
    this.line++;
    this.lineStart = at + 1;
  }

  private skipBlank(): void {
    const { text } = this;
    while (this.position < text.length) {
      const c = text[this.position]!;
      if (c === '\n') this.newLine(this.position);
      if (SPACE.test(c)) this.position++;
      else if (c === '/' && text[this.position + 1] === '/') this.skipLine();
      else if (c === '/' && text[this.position + 1] === '*') this.skipComment();
      else return;
    }
  }

  private skipLine(): void {
    const end = this.text.indexOf('\n', this.position);
    this.position = end < 0 ? this.text.length : end;
  }

  private skipComment(): void {
    const end = this.text.indexOf('*/', this.position + 2);
    if (end < 0) throw this.fail('comment not terminated', this.position);
    for (let i = this.position; i < end; i++) if (this.text[i] === '\n') this.newLine(i);
    this.position = end + 2;
  }

  private next(): void {
    const { text } = this;
    const start = this.position;
    const c = text[start]!;
    if (c === '"') return this.quoted(start);
    if (c === '`') return this.raw(start);
    if (c === "'") return this.singleQuoted(start);
    const digit = c === '.' ? (text[start + 1] ?? '') : c;
    if (digit >= '0' && digit <= '9') return this.number(start);
    if (c === '.') return this.attribute(start, start + 1, 'none', false, '.');
    WORD.lastIndex = start;
    const word = WORD.exec(text)?.[0];
    if (word !== undefined) return this.word(start, word);
    this.operator(start);
  }

  private operator(start: number): void {
    let end = start + 1;
    if (!OPERATORS.has(this.text.slice(start, end)) && this.text[start] !== '&') {
      this.position = end;
      return this.push('identifier', this.text[start]!, 'IDENTIFIER', start);
    }
    // `&` alone is no operator, but the beginning of some.
    while (end < this.text.length && OPERATORS.has(this.text.slice(start, end + 1))) end++;
    const op = this.text.slice(start, end);
    this.position = end;
    if (OPERATORS.has(op)) this.push('op', op, op, start);
    else this.push('identifier', op, 'IDENTIFIER', start);
  }

  private word(start: number, word: string): void {
    const end = start + word.length;
    const after = this.text[end];
    if (after === '.' && word === 'parent') return this.parentAttribute(start, end + 1);
    if (after === '.' && (ATTRIBUTE_SCOPES as readonly string[]).includes(word)) {
      return this.attribute(start, end + 1, word as AttributeScope, false, `${word}.`);
    }
    if (after === ':' && Object.hasOwn(INTRINSIC_WORDS, word)) return this.scopedIntrinsic(start, word);
    this.position = end;
    if (KEYWORDS.has(word)) this.push('keyword', word, word, start);
    else this.push('identifier', word, 'IDENTIFIER', start);
  }

  private parentAttribute(start: number, nameStart: number): void {
    for (const scope of ['resource', 'span'] as const) {
      if (this.text.startsWith(`${scope}.`, nameStart)) {
        return this.attribute(start, nameStart + scope.length + 1, scope, true, 'parent.');
      }
    }
    this.attribute(start, nameStart, 'none', true, 'parent.');
  }

  private scopedIntrinsic(start: number, scope: string): void {
    const words = INTRINSIC_WORDS[scope]!;
    const place = { line: this.line, column: start - this.lineStart + 1 };
    this.position = start + scope.length + 1;
    this.skipBlank();
    const nameStart = this.position;
    WORD.lastIndex = nameStart;
    const name = WORD.exec(this.text)?.[0];
    this.position = nameStart + (name?.length ?? 0);
    if (name === undefined || !words.includes(name)) {
      const shown =
        name === undefined ? (this.text[nameStart] ?? '$end') : KEYWORDS.has(name) ? name : 'IDENTIFIER';
      const expected = words.length <= EXPECTED_SHOWN_MAX ? `, expecting ${words.join(' or ')}` : '';
      throw this.fail(`syntax error: unexpected ${shown}${expected}`, nameStart);
    }
    this.push('intrinsic', `${scope}:${name}`, `${scope}:`, start, place);
  }

  private attribute(
    start: number,
    nameStart: number,
    scope: AttributeScope | 'none',
    parent: boolean,
    shown: string,
  ): void {
    const { text } = this;
    let name = '';
    let i = nameStart;
    while (i < text.length && !ATTRIBUTE_END.test(text[i]!)) {
      if (text[i] !== '"') {
        name += text[i++];
        continue;
      }
      for (i++; text[i] !== '"'; i++) {
        if (i >= text.length) throw this.fail('unexpected EOF, expecting "', start);
        if (text[i] === '\\') {
          i++;
          if (text[i] !== '"' && text[i] !== '\\') throw this.fail('invalid escape sequence', start);
        }
        name += text[i];
      }
      i++;
    }
    if (i === nameStart) {
      throw this.fail('syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER', start);
    }
    this.position = i;
    this.push('attribute', name, shown, start, { scope, parent });
  }

  private number(start: number): void {
    NUMBER.lastIndex = start;
    const number = NUMBER.exec(this.text)![0];
    const end = start + number.length;
    DURATION_TAIL.lastIndex = end;
    const tail = DURATION_TAIL.exec(this.text)?.[0];
    const isShort = tail !== undefined && tail.length <= DURATION_TAIL_MAX;
    const nanos = isShort ? parseDuration(number + tail) : undefined;
    if (isShort && nanos !== undefined) {
      this.position = end + tail.length;
      return this.push('duration', number + tail, 'DURATION', start, { nanos });
    }
    this.position = end;
    const isFloat = !/^0[xX]/.test(number) && /[.eE]/.test(number);
    this.push(isFloat ? 'float' : 'int', number, isFloat ? 'FLOAT' : 'INTEGER', start);
  }

  private singleQuoted(start: number): void {
    const close = this.text.indexOf("'", start + 1);
    const end = close < 0 ? this.text.length : close + 1;
    this.position = end;
    this.push('identifier', this.text.slice(start, end), 'IDENTIFIER', start);
  }

  private raw(start: number): void {
    const end = this.text.indexOf('`', start + 1);
    if (end < 0) throw this.fail('literal not terminated', start);
    const value = this.text.slice(start + 1, end).replaceAll('\r', '');
    this.push('string', value, 'STRING', start);
    for (let i = start; i < end; i++) if (this.text[i] === '\n') this.newLine(i);
    this.position = end + 1;
  }

  private quoted(start: number): void {
    const { text } = this;
    let value = '';
    /** Bytes that were written as such: several together may be one character. */
    let bytes: number[] = [];
    let i = start + 1;
    for (; text[i] !== '"'; ) {
      if (i >= text.length || text[i] === '\n') throw this.fail('literal not terminated', start);
      const escape = text[i] === '\\' ? unescape(text, i + 1) : { value: text[i]!, end: i + 1 };
      if (!escape) throw this.fail('invalid char escape', start);
      i = escape.end;
      if (typeof escape.value === 'number') bytes.push(escape.value);
      else {
        value += decoded(bytes) + escape.value;
        bytes = [];
      }
    }
    this.position = i + 1;
    this.push('string', value + decoded(bytes), 'STRING', start);
  }
}

const SIMPLE_ESCAPES: Record<string, string> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
  '"': '"',
};
const ESCAPE_DIGITS: Record<string, number> = { x: 2, u: 4, U: 8 };

const decoder = new TextDecoder();

function decoded(bytes: readonly number[]): string {
  return bytes.length === 0 ? '' : decoder.decode(Uint8Array.from(bytes));
}

/** A Go escape behind a backslash: a character, or a byte. */
function unescape(text: string, at: number): { value: string | number; end: number } | undefined {
  const c = text[at] ?? '';
  const simple = SIMPLE_ESCAPES[c];
  if (simple !== undefined) return { value: simple, end: at + 1 };
  const octal = /^[0-3][0-7]{2}/.exec(text.slice(at, at + 3))?.[0];
  if (octal) return { value: Number.parseInt(octal, 8), end: at + 3 };
  const digits = ESCAPE_DIGITS[c];
  const hex = digits === undefined ? '' : text.slice(at + 1, at + 1 + digits);
  if (digits === undefined || hex.length < digits || !/^[0-9a-fA-F]+$/.test(hex)) return undefined;
  const code = Number.parseInt(hex, 16);
  if (c === 'x') return { value: code, end: at + 3 };
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
  return { value: String.fromCodePoint(code), end: at + 1 + digits };
}
