// A cursor over tokens with the error texts of the grammar, and the limits that keep hostile queries cheap.
import { TraceqlError } from './error.ts';
import { syntaxHint } from './hint.ts';
import { type Token, tokenize } from './lexer.ts';
import { RegexBudget } from './regex-budget.ts';

const TEXT_LENGTH_MAX = 1 << 20;
const DEPTH_MAX = 200;
/** Bounds the height of the tree, which later steps walk recursively. */
const OPERATORS_MAX = 4096;
/** `&&` and `||` in all, each of which lets a query have one more other operator: the main thread reads. */
const LOGICAL_MAX = 8192;

/** Binary operators by precedence, low to high; `|` (1) separates stages and is handled apart. */
const PRECEDENCE: Record<string, number> = {
  '&&': 2,
  '||': 2,
  '+': 4,
  '-': 4,
  '*': 6,
  '/': 6,
  '%': 6,
  '^': 7,
};
const COMPARE_PRECEDENCE = 3;
export const MINUS_PRECEDENCE = 4;
export const NOT_PRECEDENCE = 5;

export const COMPARE_OPS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=', '=~', '!~']);
export const STRUCTURAL_OPS: ReadonlySet<string> = new Set(
  '>> << > < ~ !>> !<< !> !< !~ &>> &<< &> &< &~'.split(' '),
);

export class TokenStream {
  private readonly tokens: readonly Token[];
  private position = 0;
  private depth = 0;
  /** So many stand one above the other at most. */
  operators = 0;
  private logical = 0;
  private others = 0;
  private readonly regexes: RegexBudget;

  /** @param regexes shared by texts that are read for one request. */
  constructor(text: string, regexes: RegexBudget = new RegexBudget()) {
    this.regexes = regexes;
    if (text.length > TEXT_LENGTH_MAX) throw new TraceqlError('query too long', 1, 1);
    this.tokens = tokenize(text);
  }

  get current(): Token {
    return this.tokens[this.position]!;
  }

  /** The token after the current one. */
  get next(): Token {
    return this.tokens[Math.min(this.position + 1, this.tokens.length - 1)]!;
  }

  /** The token before the current one; undefined at the start of the query. */
  get before(): Token | undefined {
    return this.tokens[this.position - 1];
  }

  /** The token before that one. */
  get compared(): Token | undefined {
    return this.tokens[this.position - 2];
  }

  get isBehindMinus(): boolean {
    return this.isBehind('-');
  }

  get isBehindPipe(): boolean {
    return this.isBehind('|');
  }

  private isBehind(op: string): boolean {
    const { before } = this;
    return before?.kind === 'op' && before.text === op;
  }

  take(): Token {
    const token = this.current;
    if (token.kind !== 'end') this.position++;
    return token;
  }

  isOp(text: string): boolean {
    return this.current.kind === 'op' && this.current.text === text;
  }

  isKeyword(text: string): boolean {
    return this.current.kind === 'keyword' && this.current.text === text;
  }

  acceptOp(text: string): boolean {
    if (!this.isOp(text)) return false;
    this.position++;
    return true;
  }

  expectOp(text: string, ...others: string[]): void {
    if (!this.acceptOp(text)) throw this.unexpected(text, ...others);
  }

  unexpected(...expected: string[]): TraceqlError {
    const tail = expected.length === 0 ? '' : `, expecting ${expected.join(' or ')}`;
    const { current: token, before, next } = this;
    const hint = syntaxHint({ token, before, next, isInFilter: this.isInFilter() });
    return this.failAt(this.current, `syntax error: unexpected ${this.current.shown}${tail}${hint}`);
  }

  /** Is a brace open? */
  private isInFilter(): boolean {
    for (let i = this.position - 1; i >= 0; i--) {
      const { kind, text } = this.tokens[i]!;
      if (kind === 'op' && (text === '{' || text === '}')) return text === '{';
    }
    return false;
  }

  failAt(token: Token, message: string): TraceqlError {
    return new TraceqlError(message, token.line, token.column);
  }

  /** The binary operator here if it binds at least as strongly as `minimum`. */
  operator(allowed: ReadonlySet<string>, minimum: number): { token: Token; precedence: number } | undefined {
    const token = this.current;
    if (token.kind !== 'op' || !allowed.has(token.text)) return undefined;
    const precedence = PRECEDENCE[token.text] ?? COMPARE_PRECEDENCE;
    return precedence < minimum ? undefined : { token, precedence };
  }

  countOperator(): void {
    if (++this.operators > OPERATORS_MAX) throw this.failAt(this.current, 'query too complex');
  }

  countLogical(): void {
    if (++this.logical > LOGICAL_MAX)
      throw this.failAt(this.current, `query too complex: it may have ${LOGICAL_MAX} && and ||`);
  }

  /** Of a field, with or without a second operand; in all, unlike `operators`. */
  countOther(): void {
    if (++this.others - this.logical > OPERATORS_MAX) throw this.failAt(this.current, 'query too complex');
  }

  /** @param text as of `RegexBudget.problemOf`. */
  countRegex(token: Token, pattern: string, text: string | undefined): void {
    const problem = this.regexes.problemOf(pattern, text);
    if (problem !== undefined) throw this.failAt(token, problem);
  }

  nested<T>(parse: () => T): T {
    if (++this.depth > DEPTH_MAX) throw this.failAt(this.current, 'query nested too deeply');
    const result = parse();
    this.depth--;
    return result;
  }
}
