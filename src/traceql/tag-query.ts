// What the tag endpoints take beside whole queries: the name of one field, and a filter that may be
// unfinished, as an editor sends it while someone types.
import type { Field } from './source.ts';
import type { FieldRef } from './ast.ts';
import { TraceqlError } from './error.ts';
import { parse } from './parser.ts';
import { RegexBudget } from './regex-budget.ts';
import { validate } from './validate.ts';

/** The field that `{ text }` names. Throws TraceqlError. */
export function parseTagIdentifier(text: string): FieldRef {
  const { stages } = parse(`{${text}}`);
  const [stage] = stages;
  if (stages.length !== 1 || stage?.kind !== 'filter') throw new TraceqlError('expected one Attribute');
  const { expr } = stage;
  if (expr.kind === 'attribute' || expr.kind === 'intrinsic') return expr;
  throw new TraceqlError(`expected Attribute but got traceql.${GO_NAMES[expr.kind]}`);
}

const GO_NAMES = { literal: 'Static', binary: 'BinaryOperation', unary: 'UnaryOperation' } as const;

/** The intrinsics whose values are listed; of the others there are too many, or they say nothing alone. */
const LISTED = new Set([
  'span:name',
  'span:status',
  'span:statusMessage',
  'span:kind',
  'trace:rootName',
  'trace:rootService',
  'event:name',
  'instrumentation:name',
  'instrumentation:version',
]);

/** Where the values of a field are; none of them for fields whose values are not listed. */
export function listedFields(ref: FieldRef): readonly Field[] {
  if (ref.kind === 'intrinsic') {
    return ref.name !== 'parent' && LISTED.has(ref.name) ? [{ kind: 'intrinsic', name: ref.name }] : [];
  }
  if (ref.parent) return [];
  const scopes = ref.scope === 'none' ? (['resource', 'span', 'instrumentation'] as const) : [ref.scope];
  return scopes.map((scope) => ({ kind: 'attribute', scope, name: ref.name }));
}

/** `some`: the spans that the query finds; `none`: it can find nothing. */
export type TagFilter =
  | { readonly kind: 'all' }
  | { readonly kind: 'none' }
  | { readonly kind: 'some'; readonly query: string };

/** An editor sends less; reading text for conditions takes time by the square of its length. */
const UNFINISHED_MAX = 4096;
const ALL: TagFilter = { kind: 'all' };
const ONE_SPANSET = /^\{[^{}]*\}$/;
const WORD = '[\\p{L}\\p{N}._:-]';
const OPERATOR = '(?:=~|!~|!=|>=|<=|=|>|<)';
const LITERAL = '(?:"(?:[^"\\\\]|\\\\.)*"|[a-z]+|\\d+(?:\\.\\d+)?[a-zµ]*)';
const MATCHER = new RegExp(`${WORD}[\\p{L}\\p{N}._\\-:" ]*?${OPERATOR}\\s*${LITERAL}`, 'gu');

/** A query that does not parse is read for the conditions in it that do; without any it filters nothing. */
export function tagFilter(text: string): TagFilter {
  const trimmed = text.trim();
  if (trimmed === '') return ALL;
  const whole = judge(trimmed);
  if (whole !== undefined) return whole;
  if (trimmed.length > UNFINISHED_MAX) return ALL;
  // the conditions of a disjunction cannot be told from those of a conjunction once it is torn apart
  const bare = trimmed.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  if (!ONE_SPANSET.test(bare) || bare.includes('|')) return ALL;
  const regexes = new RegexBudget();
  const isMatcher = (matcher: string): boolean => judge(`{${matcher}}`, regexes) !== undefined;
  const matchers = (trimmed.match(MATCHER) ?? []).filter(isMatcher);
  return matchers.length === 0 ? ALL : (judge(`{${matchers.join(' && ')}}`) ?? ALL);
}

/** undefined = it does not parse. */
function judge(text: string, regexes?: RegexBudget): TagFilter | undefined {
  try {
    const query = parse(text, regexes);
    const [stage] = query.stages;
    const isTrue =
      stage?.kind === 'filter' && stage.expr.kind === 'literal' && stage.expr.value.type === 'bool';
    if (query.stages.length === 1 && isTrue) return stage.expr.value.value ? ALL : { kind: 'none' };
    try {
      validate(query);
    } catch (err) {
      if (err instanceof TraceqlError) return { kind: 'none' };
      throw err;
    }
    return { kind: 'some', query: text };
  } catch (err) {
    if (err instanceof TraceqlError) return undefined;
    throw err;
  }
}
