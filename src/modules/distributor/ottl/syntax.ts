// The syntax of OTTL conditions: text -> tree. What the language has beyond comparisons, calls, paths,
// arithmetic and literals is refused. Grammar: opentelemetry-collector-contrib, pkg/ottl/LANGUAGE.md.
import { TempoError } from '../../../lib/errors.ts';

export type CompareOp = '==' | '!=' | '<' | '<=' | '>' | '>=';
export type MathOp = '+' | '-' | '*' | '/';

export type BoolNode =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly BoolNode[] }
  | { readonly kind: 'not'; readonly operand: BoolNode }
  | {
      readonly kind: 'compare';
      readonly op: CompareOp;
      readonly left: ValueNode;
      readonly right: ValueNode;
    }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'isTrue'; readonly call: CallNode };

export interface PathNode {
  readonly kind: 'path';
  readonly at: number;
  readonly names: readonly string[];
  /** What stands in brackets behind the last name. */
  readonly keys: readonly (string | number)[];
}

export interface CallNode {
  readonly kind: 'call';
  readonly at: number;
  readonly name: string;
  readonly args: readonly ValueNode[];
}

export type ValueNode =
  | { readonly kind: 'literal'; readonly value: undefined | boolean | bigint | number | string | Uint8Array }
  | { readonly kind: 'enum'; readonly at: number; readonly name: string }
  | { readonly kind: 'list'; readonly items: readonly ValueNode[] }
  | { readonly kind: 'math'; readonly op: MathOp; readonly left: ValueNode; readonly right: ValueNode }
  | PathNode
  | CallNode;

type TokenKind = 'string' | 'bytes' | 'float' | 'int' | 'word' | 'mark' | 'end';

interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly at: number;
}

/** Conditions are written by people; these bounds keep the parser's stack and time small. */
const LENGTH_MAX = 10_000;
const DEPTH_MAX = 100;

const TOKENS: readonly (readonly [TokenKind, RegExp])[] = [
  ['bytes', /0x[0-9a-fA-F]+/y],
  ['float', /\d*\.\d+(?:[eE][-+]?\d+)?/y],
  ['int', /\d+/y],
  ['string', /"(?:\\.|[^\\"\n])*"/y],
  ['word', /[A-Za-z][A-Za-z0-9_]*/y],
  ['mark', /==|!=|<=|>=|[<>()[\]{},.+\-*/=:]/y],
];
const SPACE = /\s*/y;
const COMPARE: ReadonlySet<string> = new Set<CompareOp>(['==', '!=', '<', '<=', '>', '>=']);

/** An error that says where: columns count from 1. */
export function syntaxError(what: string, at: number): TempoError {
  return new TempoError('invalid_argument', `1:${at + 1}: ${what}`);
}

function tokenize(text: string): Token[] {
  if (text.length > LENGTH_MAX) throw syntaxError(`is longer than ${LENGTH_MAX} characters`, LENGTH_MAX);
  const tokens: Token[] = [];
  for (let at = 0; ; ) {
    SPACE.lastIndex = at;
    at += SPACE.exec(text)?.[0].length ?? 0;
    if (at === text.length) break;
    const token = tokenAt(text, at);
    if (token === undefined) throw syntaxError(`invalid input text ${JSON.stringify(text[at])}`, at);
    tokens.push(token);
    at += token.text.length;
  }
  tokens.push({ kind: 'end', text: '<EOF>', at: text.length });
  return tokens;
}

function tokenAt(text: string, at: number): Token | undefined {
  for (const [kind, pattern] of TOKENS) {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) return { kind, text: found, at };
  }
  return undefined;
}

export function parseCondition(text: string): BoolNode {
  const parser = new Parser(tokenize(text));
  const condition = parser.either();
  parser.expectEnd();
  return condition;
}

class Parser {
  private readonly tokens: readonly Token[];
  private next = 0;
  private depth = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  expectEnd(): void {
    if (this.peek.kind !== 'end') throw this.unexpected('an operator or the end');
  }

  either(): BoolNode {
    return this.joined('or', () => this.joined('and', () => this.negatable()));
  }

  private joined(kind: 'and' | 'or', parse: () => BoolNode): BoolNode {
    if (++this.depth > DEPTH_MAX) throw syntaxError('is nested too deeply', this.peek.at);
    const parts = [parse()];
    while (this.take('word', kind)) parts.push(parse());
    this.depth--;
    return parts.length === 1 ? parts[0]! : { kind, parts };
  }

  private negatable(): BoolNode {
    if (this.take('word', 'not')) return { kind: 'not', operand: this.single() };
    return this.single();
  }

  private single(): BoolNode {
    if (this.peek.text === '(' && this.peek.kind === 'mark') {
      const { next, depth } = this;
      try {
        return this.inParentheses();
      } catch (err) {
        if (!(err instanceof TempoError)) throw err;
        // they may be those of arithmetic: the error further on is the one to tell
        const reached = this.next;
        this.next = next;
        this.depth = depth;
        return this.comparisonOr(err, reached);
      }
    }
    return this.comparison();
  }

  private inParentheses(): BoolNode {
    this.expect('(');
    const inner = this.either();
    this.expect(')');
    if (isComparison(this.peek) || isMath(this.peek)) throw this.unexpected('"and", "or" or the end');
    return inner;
  }

  private comparisonOr(other: TempoError, reached: number): BoolNode {
    try {
      return this.comparison();
    } catch (err) {
      throw err instanceof TempoError && this.next < reached ? other : err;
    }
  }

  private comparison(): BoolNode {
    const left = this.sum();
    if (isComparison(this.peek)) {
      const op = this.tokens[this.next++]!.text as CompareOp;
      return { kind: 'compare', op, left, right: this.sum() };
    }
    if (left.kind === 'call') return { kind: 'isTrue', call: left };
    if (left.kind === 'literal' && typeof left.value === 'boolean')
      return { kind: 'constant', value: left.value };
    throw this.unexpected('a comparison');
  }

  private sum(): ValueNode {
    if (++this.depth > DEPTH_MAX) throw syntaxError('is nested too deeply', this.peek.at);
    const sum = this.chain(['+', '-'], () => this.chain(['*', '/'], () => this.signed()));
    this.depth--;
    return sum;
  }

  private chain(ops: readonly MathOp[], parse: () => ValueNode): ValueNode {
    let left = parse();
    for (;;) {
      const op = ops.find((one) => this.take('mark', one));
      if (op === undefined) return left;
      left = { kind: 'math', op, left, right: parse() };
    }
  }

  private signed(): ValueNode {
    if (this.take('mark', '-')) {
      return { kind: 'math', op: '-', left: { kind: 'literal', value: 0n }, right: this.operand() };
    }
    this.take('mark', '+');
    return this.operand();
  }

  private operand(): ValueNode {
    if (this.take('mark', '(')) {
      const inner = this.sum();
      this.expect(')');
      return inner;
    }
    if (this.peek.text === '[' && this.peek.kind === 'mark')
      return { kind: 'list', items: this.items('[', ']') };
    const token = this.peek;
    if (token.kind === 'mark' || token.kind === 'end') throw this.unexpected('a value');
    this.next++;
    switch (token.kind) {
      case 'string':
        return { kind: 'literal', value: unquoted(token) };
      case 'bytes':
        return { kind: 'literal', value: hexBytes(token) };
      case 'float':
        return { kind: 'literal', value: Number(token.text) };
      case 'int':
        return { kind: 'literal', value: int64(token) };
      case 'word':
        return this.word(token);
    }
  }

  private word(token: Token): ValueNode {
    const { text, at } = token;
    if (text === 'nil') return { kind: 'literal', value: undefined };
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (text === 'and' || text === 'or' || text === 'not') {
      this.next--;
      throw this.unexpected('a value');
    }
    if (this.peek.text === '(' && this.peek.kind === 'mark') return this.call(token);
    if (/^[A-Z][A-Z0-9_]*$/.test(text)) return { kind: 'enum', at, name: text };
    return this.path(token);
  }

  private call({ text: name, at }: Token): CallNode {
    if (!/^[A-Z]/.test(name))
      throw syntaxError(`function ${name} does not begin with an upper-case letter`, at);
    const args = this.items('(', ')');
    if (this.peek.text === '[' && this.peek.kind === 'mark')
      throw syntaxError('an index behind a function is not supported', this.peek.at);
    return { kind: 'call', at, name, args };
  }

  private items(open: string, close: string): ValueNode[] {
    this.expect(open);
    const items: ValueNode[] = [];
    while (!this.take('mark', close)) {
      if (items.length > 0) this.expect(',');
      items.push(this.sum());
    }
    return items;
  }

  private path(first: Token): PathNode {
    const names = [first.text];
    while (this.take('mark', '.')) {
      if (this.peek.kind !== 'word') throw this.unexpected('a name');
      names.push(this.tokens[this.next++]!.text);
    }
    const keys: (string | number)[] = [];
    while (this.take('mark', '[')) {
      const token = this.peek;
      if (token.kind === 'string') keys.push(unquoted(token));
      else if (token.kind === 'int') keys.push(Number(token.text));
      else throw this.unexpected('a string or a whole number');
      this.next++;
      this.expect(']');
      if (this.peek.text === '.') throw syntaxError('a name behind an index is not supported', this.peek.at);
    }
    return { kind: 'path', at: first.at, names, keys };
  }

  private get peek(): Token {
    return this.tokens[this.next]!;
  }

  private take(kind: TokenKind, text: string): boolean {
    const { peek } = this;
    if (peek.kind !== kind || peek.text !== text) return false;
    this.next++;
    return true;
  }

  private expect(text: string): void {
    if (!this.take('mark', text)) throw this.unexpected(JSON.stringify(text));
  }

  private unexpected(expected: string): TempoError {
    const { text, at } = this.peek;
    return syntaxError(`unexpected token ${JSON.stringify(text)} (expected ${expected})`, at);
  }
}

function isComparison({ kind, text }: Token): boolean {
  return kind === 'mark' && COMPARE.has(text);
}

function isMath({ kind, text }: Token): boolean {
  return kind === 'mark' && '+-*/'.includes(text);
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };

function unquoted({ text, at }: Token): string {
  return text.slice(1, -1).replace(/\\(.)/g, (whole, char: string, offset: number) => {
    const plain = ESCAPES[char];
    if (plain === undefined) throw syntaxError(`escape ${whole} is not supported`, at + 1 + offset);
    return plain;
  });
}

function hexBytes({ text, at }: Token): Uint8Array {
  if (text.length % 2 !== 0) throw syntaxError(`${text} has an odd number of digits`, at);
  return new Uint8Array(Buffer.from(text.slice(2), 'hex'));
}

function int64({ text, at }: Token): bigint {
  const value = BigInt(text);
  if (value >= 2n ** 63n) throw syntaxError(`${text} is more than 64 bits can hold`, at);
  return value;
}
