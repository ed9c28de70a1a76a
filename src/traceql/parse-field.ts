// Parser of what stands inside braces: field expressions, and the constants that other places take as well.
import type { BinaryOp, FieldExpr, FieldRef, Static } from './ast.ts';
import type { TraceqlError } from './error.ts';
import { identifierHint } from './hint.ts';
import { intrinsicOf } from './intrinsics.ts';
import type { Token } from './lexer.ts';
import { fold, foldUnary } from './fold.ts';
import { placed } from './place.ts';
import { COMPARE_OPS, MINUS_PRECEDENCE, NOT_PRECEDENCE, type TokenStream } from './token-stream.ts';

const FIELD_OPS: ReadonlySet<string> = new Set([...COMPARE_OPS, '&&', '||', '+', '-', '*', '/', '%', '^']);
const LOGICAL: ReadonlySet<string> = new Set(['&&', '||']);
/** Operators in a row that are no logic. */
const CHAIN_MAX = 500;
const INT64_MAX = (1n << 63n) - 1n;
const KEYWORD_STATICS: Record<string, Static> = {
  true: { type: 'bool', value: true },
  false: { type: 'bool', value: false },
  nil: { type: 'nil' },
  error: { type: 'status', value: 'error' },
  ok: { type: 'status', value: 'ok' },
  unset: { type: 'status', value: 'unset' },
  unspecified: { type: 'kind', value: 'unspecified' },
  internal: { type: 'kind', value: 'internal' },
  server: { type: 'kind', value: 'server' },
  client: { type: 'kind', value: 'client' },
  producer: { type: 'kind', value: 'producer' },
  consumer: { type: 'kind', value: 'consumer' },
};

/** An expression whose operators bind at least as strongly as `minimum`. */
export function parseFieldExpr(stream: TokenStream, minimum = 0): FieldExpr {
  let lhs = parseOperand(stream);
  let height = 0;
  let logic = '';
  let highest = 0;
  if (minimum === 0 && isNil(lhs) && !stream.isOp('=') && !stream.isOp('!='))
    throw stream.unexpected('=', '!=');
  for (;;) {
    const found = stream.operator(FIELD_OPS, minimum);
    if (!found) break;
    stream.take();
    const op = found.token.text as BinaryOp;
    // a chain of one of these is walked as a list, however long it is
    const isLogic = LOGICAL.has(op);
    if (isLogic) stream.countLogical();
    else stream.countOther();
    if (!isLogic || op !== logic) stream.countOperator();
    // what goes from one to the other is walked by more calls a level
    if (isLogic && op !== logic) stream.countOperator();
    logic = op;
    const { operators } = stream;
    const rhsMinimum = op === '^' ? found.precedence : found.precedence + 1;
    const rhs = stream.nested(() => parseFieldExpr(stream, rhsMinimum));
    if (isLogic) {
      highest = Math.max(highest, stream.operators);
      stream.operators = operators;
    }
    const isNilFirst = isNil(lhs) && !isNil(rhs) && (op === '=' || op === '!=');
    const [left, right] = isNilFirst ? [rhs, lhs] : [lhs, rhs];
    if (op === '=~' || op === '!~') countRegex(stream, found.token, left, right);
    lhs = placed(
      found.token,
      fold(op, left, right, (message) => stream.failAt(found.token, message)),
    );
    // the tree of a chain is as deep as the chain is long, and logic alone is walked without recursion
    if (!isLogic && ++height > CHAIN_MAX) throw stream.failAt(found.token, 'query nested too deeply');
  }
  stream.operators = Math.max(stream.operators, highest);
  return lhs;
}

function countRegex(stream: TokenStream, token: Token, text: FieldExpr, pattern: FieldExpr): void {
  if (pattern.kind !== 'literal' || pattern.value.type !== 'string') return;
  const isDecided = text.kind === 'literal' && text.value.type === 'string';
  stream.countRegex(token, pattern.value.value, isDecided ? String(text.value.value) : undefined);
}

function isNil(expr: FieldExpr): boolean {
  return expr.kind === 'literal' && expr.value.type === 'nil';
}

function parseOperand(stream: TokenStream): FieldExpr {
  if (stream.acceptOp('(')) {
    const inner = stream.nested(() => parseFieldExpr(stream));
    if (!stream.acceptOp(')')) throw stream.unexpected();
    return inner;
  }
  const first = stream.current;
  if (stream.acceptOp('!')) {
    stream.countOther();
    const operand = stream.nested(() => parseFieldExpr(stream, NOT_PRECEDENCE + 1));
    return placed(first, foldUnary('!', operand));
  }
  if (stream.acceptOp('-')) {
    stream.countOther();
    const operand = stream.nested(() => parseFieldExpr(stream, MINUS_PRECEDENCE + 1));
    return placed(first, foldUnary('-', operand));
  }
  const ref = parseFieldRef(stream);
  if (ref) return ref;
  const value = parseStatic(stream);
  if (!value) throw stream.unexpected();
  return placed(first, { kind: 'literal' as const, value });
}

/** An attribute or intrinsic, or undefined when there is none here. */
export function parseFieldRef(stream: TokenStream): FieldRef | undefined {
  const token = stream.current;
  if (token.kind === 'attribute') {
    stream.take();
    return placed(token, {
      kind: 'attribute' as const,
      scope: token.scope ?? 'none',
      parent: token.parent ?? false,
      name: token.text,
    });
  }
  if (token.kind !== 'keyword' && token.kind !== 'intrinsic') return undefined;
  const intrinsic = intrinsicOf(token.text);
  if (intrinsic === undefined) return undefined;
  stream.take();
  return placed(token, intrinsic);
}

/** A constant without sign, or undefined when there is none here. */
export function parseStatic(stream: TokenStream): Static | undefined {
  const token = stream.current;
  const value = staticOf(stream, token);
  if (value) stream.take();
  return value;
}

function staticOf(stream: TokenStream, token: Token): Static | undefined {
  switch (token.kind) {
    case 'string':
      return { type: 'string', value: token.text };
    case 'int':
      return { type: 'int', value: parseInteger(stream, token) };
    case 'float':
      return { type: 'float', value: parseFloatToken(stream, token) };
    case 'duration':
      return { type: 'duration', value: token.nanos! };
    case 'keyword':
      return KEYWORD_STATICS[token.text];
    case 'identifier':
      if (token.text === 'minInt') return { type: 'int', value: -(1n << 63n) };
      if (token.text === 'maxInt') return { type: 'int', value: INT64_MAX };
      if (!/^[\p{L}_']/u.test(token.text)) return undefined;
      throw unknownIdentifier(stream, token.text);
    default:
      return undefined;
  }
}

function unknownIdentifier(stream: TokenStream, word: string): TraceqlError {
  const { current, before, next, compared } = stream;
  return stream.failAt(current, `unknown identifier: ${word}${identifierHint(word, before, next, compared)}`);
}

function parseInteger(stream: TokenStream, token: Token): bigint {
  if (!/^\d+$/.test(token.text))
    throw stream.failAt(token, `strconv.Atoi: parsing "${token.text}": invalid syntax`);
  const value = BigInt(token.text);
  // the least integer, which has no positive one
  if (value === INT64_MAX + 1n && stream.isBehindMinus) return BigInt.asIntN(64, value);
  if (value > INT64_MAX)
    throw stream.failAt(token, `strconv.Atoi: parsing "${token.text}": value out of range`);
  return value;
}

export function parseFloatToken(stream: TokenStream, token: Token): number {
  const value = Number(token.text);
  if (Number.isFinite(value)) return value;
  const why = /^[\d.eE+-]+$/.test(token.text) ? 'value out of range' : 'invalid syntax';
  throw stream.failAt(token, `strconv.ParseFloat: parsing "${token.text}": ${why}`);
}
