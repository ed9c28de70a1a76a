// What the writer of a query that cannot be parsed may have meant, as the tail of the error's text.
import { nearest } from '../lib/nearest.ts';
import type { FieldExpr } from './ast.ts';
import { parseDuration } from './duration.ts';
import { INTRINSIC_WORDS } from './intrinsics.ts';
import type { Token } from './lexer.ts';

const VALUES = 'true false nil error ok unset unspecified internal server client producer consumer'.split(
  ' ',
);
const WORDS: readonly string[] = [...INTRINSIC_WORDS.filter((word) => !word.includes(':')), ...VALUES];
const SCOPES: readonly string[] = ['span', 'resource', 'event', 'link', 'instrumentation'];

/** First parts of attribute names that OpenTelemetry gives to resources. */
const OF_RESOURCES = new Set(
  'service k8s host deployment container cloud telemetry process faas os'.split(' '),
);

const FUNCTIONS: readonly string[] = (
  'count avg max min sum by coalesce select rate count_over_time min_over_time max_over_time avg_over_time ' +
  'sum_over_time quantile_over_time histogram_over_time compare topk bottomk'
)
  .split(' ')
  // so that a word is near the whole of a name rather than its beginning
  .sort((a, b) => b.length - a.length);

/** What else is written in other languages. */
const FOREIGN = new Map([
  ['and', '&&'],
  ['&', '&&'],
  ['or', '||'],
  ['not', '!( )'],
  ['like', '=~'],
  ['matches', '=~'],
  ['contains', '=~'],
  ['in', '=~ "a|b"'],
  ['is', '='],
]);

/** What of other languages the lexer takes for two operators, the second of which is one too many. */
const FOREIGN_OPERATORS = new Map([
  ['==', '='],
  ['!==', '!='],
  ['<>', '!='],
  ['=>', '>='],
  ['=<', '<='],
]);

/** Words that only mean something behind their scope. */
const SCOPED = new Map([
  ['id', 'span:id'],
  ['spanID', 'span:id'],
  ['parentID', 'span:parentID'],
  ['traceID', 'trace:id'],
  ['childCount', 'span:childCount'],
  ['rootService', 'rootServiceName'],
  ['timeSinceStart', 'event:timeSinceStart'],
  ['version', 'instrumentation:version'],
]);

/** Longer words are no slip of the pen. */
const WORD_MAX = 64;
const ENCODE = 'encode it, as curl -G --data-urlencode does';

const COMPARISONS = new Set(['=', '!=', '<', '<=', '>', '>=']);
const MATCHES = new Set(['=~', '!~']);
/** What may follow a value. */
const ENDS = new Set(['}', ')', '&&', '||']);

/** Intrinsics whose values are no strings. */
const OF_OTHER_TYPES = /^(status|kind)$|duration$/i;

/**
 * For a word where a value or a field should stand.
 * @param before undefined = the word begins the query.
 * @param compared what is before `before`.
 */
export function identifierHint(
  word: string,
  before: Token | undefined,
  next: Token,
  compared?: Token,
): string {
  if (word.startsWith("'")) return ', strings stand in double quotes';
  const operator = before?.kind === 'op' ? before.text : '';
  if (MATCHES.has(operator)) return ', regular expressions stand in double quotes';
  if (next.kind !== 'attribute' || next.scope !== 'none') {
    const known = near(word, WORDS);
    if (known !== undefined || !COMPARISONS.has(operator)) return meant(known ?? `.${word}`);
    if (compared?.kind === 'intrinsic' && OF_OTHER_TYPES.test(compared.text)) return '';
    return ENDS.has(next.text) || next.kind === 'end' ? ', strings stand in double quotes' : '';
  }
  const scoped = SCOPED.get(word + next.text.charAt(0).toUpperCase() + next.text.slice(1));
  if (word === 'trace' || word === 'root') return meant(intrinsicNear(`${word}:${next.text}`) ?? scoped);
  const scope = near(word, SCOPES);
  if (scope !== undefined) return meant(`${scope}.${next.text}`);
  return meant(`${OF_RESOURCES.has(word) ? 'resource' : 'span'}.${word}.${next.text}`);
}

/** What the grammar met, and what is around it; `before` is undefined at the start of the query. */
interface Met {
  readonly token: Token;
  readonly before: Token | undefined;
  readonly next: Token;
  readonly isInFilter: boolean;
}

/** For a token that the grammar does not allow. */
export function syntaxHint({ token, before, next, isInFilter }: Met): string {
  if (isInFilter) {
    if (token.kind === 'end') return `, { is not closed; was & cut off? ${ENCODE}`;
    if (token.text === '%') return `, the query is URL-encoded twice or not decoded: ${ENCODE}`;
    if (token.text === '+' && before?.text === '{') return `, + is no space here: ${ENCODE}`;
  }
  if (token.text === '“' || token.text === '”') return ', strings stand in straight double quotes';
  if (before === undefined) return startHint(token);
  if (before.kind === 'keyword' && before.text === 'by') return ', groups stand in parentheses: by( ... )';
  if (token.kind === 'keyword' && SCOPED.has(token.text)) return meant(SCOPED.get(token.text));
  if (isUnitBehind(before, token)) return durationHint(before.text + token.text);
  if (token.kind === 'identifier') return wordHint(token.text, before, isInFilter ? undefined : next);
  if (token.text === '|' && isInFilter) {
    return FUNCTIONS.includes(next.text) ? ', { is not closed' : instead('||', '|');
  }
  if (token.text === '~' && isInFilter) return instead('=~', next.text === '=' ? '~=' : '~');
  return token.kind === 'op' ? operatorHint(token.text, before) : '';
}

function durationHint(text: string): string {
  return text.length > WORD_MAX || parseDuration(text) !== undefined ? '' : `, ${text} is no duration`;
}

/** Is the word what should make a duration of the number? */
function isUnitBehind(number: Token, word: Token): boolean {
  const isNumber = number.kind === 'int' || number.kind === 'float';
  const isAdjacent = number.line === word.line && number.column + number.text.length === word.column;
  return isNumber && isAdjacent && word.kind === 'identifier' && /^[nsuµμmhdwy\d]+$/.test(word.text);
}

/** @param next what is behind the word; undefined inside a filter. */
function wordHint(word: string, before: Token, next: Token | undefined): string {
  if (before.kind === 'op' && next !== undefined) {
    if (before.text === '|') {
      return word.toLowerCase() === 'limit'
        ? ', limits are parameters of the request'
        : meant(near(word, FUNCTIONS));
    }
    if (before.text === '(' || before.text === ',') return identifierHint(word, before, next);
  }
  return meant(FOREIGN.get(word.toLowerCase()));
}

function operatorHint(operator: string, before: Token): string {
  if (before.kind === 'keyword' && before.text === 'count') return meant('count()');
  const written = before.kind === 'op' ? before.text + operator : '';
  const ours = FOREIGN_OPERATORS.get(written);
  return ours === undefined ? '' : instead(ours, written);
}

function startHint(token: Token): string {
  if (token.kind === 'keyword' && FUNCTIONS.includes(token.text)) {
    return `, functions stand behind a filter: { ... } | ${token.text}(...)`;
  }
  if (token.text === '%') return `, the query is URL-encoded twice or not decoded: ${ENCODE}`;
  const isField = token.kind === 'identifier' || token.kind === 'attribute' || token.kind === 'keyword';
  return isField || token.kind === 'intrinsic' ? ', conditions stand in braces: { ... }' : '';
}

/** For a comparison of two types: words in quotes that are meant without, a number that is an attribute. */
export function typeHint({ op, lhs, rhs }: Extract<FieldExpr, { kind: 'binary' }>): string {
  if (lhs.kind !== 'intrinsic' || rhs.kind !== 'literal') return '';
  const { value } = rhs;
  if (value.type === 'string') {
    const isDuration = parseDuration(value.value) !== undefined && /duration/i.test(lhs.text);
    const isWord = VALUES.includes(value.value) && (lhs.text === 'status' || lhs.text === 'kind');
    return isDuration || isWord ? meant(`${lhs.text} ${op} ${value.value}`) : '';
  }
  const isCode = lhs.text === 'status' && value.type === 'int' && value.value >= 100n;
  return isCode ? meant(`span.http.status_code ${op} ${value.value}`) : '';
}

function near(word: string, known: readonly string[]): string | undefined {
  if (word.length > WORD_MAX) return undefined;
  const found = nearest(word, known) ?? nearest(word.toLowerCase(), known);
  return found ?? (word.length > 2 ? known.find((name) => name.startsWith(word)) : undefined);
}

function intrinsicNear(text: string): string | undefined {
  return near(
    text,
    INTRINSIC_WORDS.filter((word) => word.startsWith('trace:')),
  );
}

function meant(text: string | undefined): string {
  return text === undefined ? '' : `, did you mean ${text}?`;
}

function instead(ours: string, written: string): string {
  return meant(`${ours} in place of ${written}`);
}
