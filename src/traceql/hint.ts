// What the writer of a query that cannot be parsed may have meant, as the tail of the error's text.
import { nearest } from '../lib/nearest.ts';
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

/** What else is written in other languages. */
const FOREIGN = new Map([
  ['and', '&&'],
  ['or', '||'],
]);

/** For a word that stands where a value or a field should. */
export function identifierHint(word: string, next: Token): string {
  if (word.startsWith("'")) return ', strings stand in double quotes';
  if (next.kind !== 'attribute' || next.scope !== 'none') return meant(nearest(word, WORDS));
  const scope = nearest(word, SCOPES);
  if (scope !== undefined) return meant(`${scope}.${next.text}`);
  return meant(`${OF_RESOURCES.has(word) ? 'resource' : 'span'}.${word}.${next.text}`);
}

/** For a token that the grammar does not allow; `before` is undefined at the start of the query. */
export function syntaxHint(token: Token, before: Token | undefined): string {
  const isField = token.kind === 'identifier' || token.kind === 'attribute' || token.kind === 'keyword';
  if (before === undefined) return isField ? ', conditions stand in braces: { ... }' : '';
  if (token.kind === 'identifier') return meant(FOREIGN.get(token.text.toLowerCase()));
  if (token.kind === 'op' && token.text === '=' && before.text === '=') return meant('=');
  return '';
}

function meant(text: string | undefined): string {
  return text === undefined ? '' : `, did you mean ${text}?`;
}
