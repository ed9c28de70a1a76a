// Queries that are almost right, or wrong on a grand scale: valid ones that were damaged, and what is
// absurdly long, deep or large.
import { type Chance, TEXTS } from './fuzz.ts';

const PIECES = [
  ...'{ } ( ) , . = != =~ !~ > >= < <= + - / % * ^ && || ! | >> << ~ !> &> &~'.split(' '),
  ...': ; @ # $ & \' " ` \\ [ ] ? true nil error server duration childCount name status kind'.split(' '),
  ...'rootService parent count avg by select rate topk with foo span. resource. parent. event:'.split(' '),
  ...'span: trace:id minInt 0x1F 1e999 99999999999999999999'.split(' '),
  '\u0000',
  '\ud800',
  '\u202e',
  '“',
  '🙂',
  '//',
  '/*',
  ' ',
  '\n',
];

/** One to three changes. */
export function damaged(chance: Chance, query: string): string {
  let text = query;
  for (let i = 0; i <= chance.below(3); i++) text = damagedOnce(chance, text);
  return text;
}

function damagedOnce(chance: Chance, text: string): string {
  const at = chance.below(text.length + 1);
  const to = Math.min(text.length, at + 1 + chance.below(12));
  switch (chance.below(8)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + text.slice(to);
    case 2:
      return text.slice(0, to) + text.slice(at);
    case 3:
      return text.slice(0, at) + chance.of(PIECES) + text.slice(at);
    case 4:
      return text.slice(0, at) + chance.of(PIECES) + text.slice(to);
    case 5:
      return text.slice(0, at) + chance.of(TEXTS.slice(0, 32)) + text.slice(at);
    case 6:
      return text.slice(at) + text.slice(0, at);
    default:
      return encodeURIComponent(text.toWellFormed()).slice(0, at * 2);
  }
}

const many = (count: number, of: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => of(i)).join('');

/** Whole but for one thing. Each is refused. */
export const MALFORMED: readonly string[] = [
  // a function without its pipe
  ...[
    '{ }',
    '{ name = "a" }',
    '{ } | count() > 1',
    '{ } | by(name)',
    '{ } | coalesce()',
    '{ } | select(name)',
    '{ } >> { }',
    '({ } | count() > 1)',
    'by(name)',
    'count() > 1',
    '{ } | rate() by (name)',
    '{ } | rate() | topk(1)',
  ].flatMap((stages) => [
    `${stages} rate()`,
    `${stages} rate() by (name)`,
    `${stages} count_over_time() by (name) | topk(1)`,
    `${stages} quantile_over_time(duration, .5)`,
    `${stages} compare({ })`,
    `(${stages} rate())`,
    `${stages} topk(1)`,
    `${stages} by(name)`,
    `${stages} select(name)`,
    `${stages} coalesce()`,
    `${stages} count()`,
    `${stages} { }`,
    `${stages} ||| rate()`,
    `${stages} |`,
    `${stages} with`,
    `${stages} with()`,
    `${stages} with(a=1) | rate()`,
    `| ${stages}`,
    `${stages} )`,
    `( ${stages}`,
  ]),
  'rate()',
  '| rate()',
  '{ } | rate(',
  '{ } | rate() by',
  '{ } | rate() by ()',
  '{ } | rate() by (name,)',
  '{ } | rate() by (name) by (kind)',
  '{ } | rate()()',
  '{ } | rate() >',
  '{ } | compare()',
  '{ } | compare({ }, 1, 2)',
  '{ } | quantile_over_time(duration,)',
  '(coalesce())',
  '{ span:id < }',
  '{ ! = 1 }',
  '{ - = 1 }',
  '{ .a > 1h1d }',
  '{ .a > .5 s }',
];

/** By name. Each is refused, or answered soon. */
export const ABSURD: Readonly<Record<string, string>> = {
  'parentheses in a filter': `{ ${'('.repeat(10_000)}true${')'.repeat(10_000)} }`,
  'parentheses around a filter': `${'('.repeat(10_000)}{ }${')'.repeat(10_000)}`,
  braces: '{'.repeat(10_000),
  signs: `{ ${'-'.repeat(10_000)}1 = 1 }`,
  negations: `{ ${'!'.repeat(10_000)}true }`,
  powers: `{ .a = ${'2 ^ '.repeat(10_000)}2 }`,
  sums: `{ ${'.a + '.repeat(4000)}.a = 1 }`,
  comparisons: `{ ${'.a = '.repeat(4000)}1 }`,
  alternatives: `{ ${many(2000, (i) => `.a = ${i} || `)}false }`,
  'too many alternatives': `{ ${many(9000, (i) => `.a=${i}||`)}false }`,
  'alternatives with sums': `{ ${many(85, () => `duration${'+1s'.repeat(490)} > 0 || `)}false }`,
  'alternatives with negations': `{ ${many(600, () => `${'!'.repeat(190)}.a || `)}false }`,
  relations: `${'{} >> '.repeat(2000)}{}`,
  stages: `{}${' | {}'.repeat(2000)}`,
  groups: `{}${' | by(name)'.repeat(300)}`,
  'selected fields': `{} | select(${many(4000, (i) => `.a${i},`)}name)`,
  hints: `{} with(${many(5000, (i) => `a${i}=1,`)}b=1)`,
  quantiles: `{} | quantile_over_time(duration${',.5'.repeat(5000)})`,
  'a long word': `{ ${'x'.repeat(100_000)} }`,
  'a long function': `{ } | ${'rate'.repeat(20_000)}()`,
  'a long name': `{ .${'a'.repeat(100_000)} = 1 }`,
  'a long name in quotes': `{ ."${'\\"'.repeat(50_000)}`,
  'a long number': `{ .a = ${'9'.repeat(100_000)} }`,
  'a long duration': `{ .a = ${'1h'.repeat(50_000)} }`,
  'a long text': `{ name = "${'a'.repeat(100_000)}" }`,
  'a text without end': `{ name = "${'\\"'.repeat(50_000)}`,
  comments: `${'/**/'.repeat(25_000)}{ }`,
  'a comment without end': `{ } /*${'*'.repeat(100_000)}`,
  lines: `${'\n'.repeat(100_000)}{`,
  nothing: ' '.repeat(100_000),
  zeros: '\u0000'.repeat(100_000),
  operators: '&<'.repeat(50_000),
  'a repetition of repetitions': '{ name =~ "((a{100}){100}){100}" }',
  'long repetitions': `{ name =~ "${'[ab]{1000}'.repeat(10_000)}" }`,
  'Unicode classes': `{ name =~ "${'[\\\\pL]'.repeat(15_000)}" }`,
  'alternatives of a pattern': `{ name =~ "${many(9000, (i) => `x${i}|`)}y" }`,
  'products of alternatives': `{ name =~ "${'(a|b)'.repeat(6)}${'c'.repeat(90_000)}" }`,
  'groups of a pattern': `{ name =~ "${'('.repeat(50_000)}a${')'.repeat(50_000)}" }`,
  'nested quantifiers': `{ name =~ "${'(?:'.repeat(900)}a${')+'.repeat(900)}b" }`,
};
