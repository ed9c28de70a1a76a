// YAML read line by line against the library, which is right in every doubt: over the configurations that we
// have, over lines made for it, and over all of these changed at random.
import { globSync, readFileSync } from 'node:fs';
import t from 'tap';
import { parsePlainYaml } from '../../src/config/plain-yaml.ts';
import { parseAnyYaml } from '../../src/config/yaml.ts';
import { seeded } from '../support/seeded.ts';

const FILES = globSync(new URL('../config/**/*.yaml', import.meta.url).pathname);
const SEED = Number(process.env['FUZZ_SEED'] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));

const PLAIN = [
  'a: 1\nb:\n  c: x\n  d: "y z"\n\n# note\ne: \'#\' # note\n',
  'a:\n- 1\n- b: 2\n  c:\n  - 3\nd:\n    - e\n    - f\n',
  'a:\n  - b:\n      c: 1\n    d: 2\n  - {}\n  - []\n',
  'a:\nb:\n  c:\n  d:\n',
  'endpoint: 0.0.0.0:4317\nurl: http://a.b:1/c\nnegative: -1\nname: a.b-c/d_e\n',
];

const ODD = [
  'a: 1\n  b: 2\n',
  'a: one\n  two\n',
  'a: x\n- y\n',
  '- a\n  - b\n',
  '- a\n',
  'a\n',
  'a:\n    b: 1\n  c: 2\n',
  'a:\n  - b\n - c\n',
  'a: b: c\n',
  'a: b:\n',
  'a: [b, c]\n',
  'a: {b: c}\n',
  'a: &x b\nc: *x\n',
  'a: !!str b\n',
  'a: |\n  b\n',
  "a: 'it''s'\n",
  'a: "b\\n"\n',
  'a: "b" c\n',
  'a: 1\na: 2\n',
  'a: "b\n  c"\n',
  '<<: {a: 1}\n',
  '? a\n: b\n',
  '---\na: 1\n',
  'a: 1\n...\nb: 2\n',
  'a: 1\n---\nb: 2\n',
  'a:\tb\n',
  'a: 1\r\nb: 2\r\n',
  'a: \u00e9\n',
  'a: b\u2028c: d\n',
  ' a: 1\nb: 2\n',
  'a: @b\n',
  'a: "\u00e9"\n',
  'a: "b\tc"\n',
  '# \u00e9\na: 1\n',
  `${'k'.repeat(1025)}: 1\n`,
  Array.from({ length: 101 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''),
  Array.from({ length: 50_001 }, (_, i) => `k${i}: 1\n`).join(''),
  '',
  '# note\n',
];

const PIECES = [
  ' ',
  '  ',
  '- ',
  ':',
  ': ',
  '#',
  ' #',
  "'",
  '"',
  '\n',
  'a: ',
  'b',
  '-',
  '[]',
  '{}',
  ',',
  '*',
  '%',
  '~',
  '.',
  '@',
];

interface Numbers {
  /** From 0 to `count`, without it. */
  below(count: number): number;
  pick(of: readonly string[]): string;
}

function numbers(random: () => number): Numbers {
  const below = (count: number): number => Math.floor(random() * count);
  return { below, pick: (of) => of[below(of.length)]! };
}

function byLibrary(source: string): unknown {
  try {
    return parseAnyYaml(source, 'f');
  } catch {
    return 'refused';
  }
}

void t.test('configurations are read as the library reads them', (t) => {
  for (const file of FILES) {
    const source = readFileSync(file, 'utf8');
    const plain = parsePlainYaml(source, 'f');
    if (plain !== undefined) t.same(plain, byLibrary(source), file);
  }
  t.end();
});

void t.test('the full defaults and usual lines need no library', (t) => {
  const defaults = FILES.filter((file) => file.includes('/defaults-2'));
  t.equal(defaults.length, 1);
  for (const source of [...PLAIN, ...defaults.map((file) => readFileSync(file, 'utf8'))]) {
    const plain = parsePlainYaml(source, 'f');
    t.not(plain, undefined, source.slice(0, 60));
    t.same(plain, byLibrary(source));
  }
  t.end();
});

void t.test('what is written in another way is left to the library', (t) => {
  for (const source of ODD) t.equal(parsePlainYaml(source, 'f'), undefined, encodeURI(source.slice(0, 60)));
  t.end();
});

void t.test('texts changed at random are read as the library reads them, or not at all', (t) => {
  t.comment(`FUZZ_SEED=${SEED}`);
  const random = numbers(seeded(SEED));
  const small = FILES.map((file) => readFileSync(file, 'utf8')).filter(({ length }) => length < 4000);
  const odd = ODD.filter(({ length }) => length < 4000);
  const sources = [...PLAIN, ...PLAIN, ...PLAIN, ...odd, ...small];
  let read = 0;
  for (let round = 0; round < 4000; round++) {
    let source = random.pick(sources);
    for (let changes = random.below(3); changes >= 0; changes--) source = changed(source, random);
    const plain = parsePlainYaml(source, 'f');
    if (plain === undefined) continue;
    read++;
    const library = byLibrary(source);
    if (JSON.stringify(entriesOf(plain)) !== JSON.stringify(entriesOf(library)))
      t.same(plain, library, source);
  }
  t.ok(read > 150, `${read} of 4000 were read`);
  t.end();
});

/** Maps as JSON shows them. */
function entriesOf(node: unknown): unknown {
  if (node instanceof Map) return [...node].map(([key, value]) => [key, entriesOf(value)]);
  if (Array.isArray(node)) return node.map(entriesOf);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, entriesOf(value)]));
}

function changed(source: string, random: Numbers): string {
  const lines = source.split('\n');
  const at = random.below(lines.length);
  const line = lines[at]!;
  const column = random.below(line.length + 1);
  switch (random.below(6)) {
    case 0:
      lines[at] = line.slice(0, column) + random.pick(PIECES) + line.slice(column);
      break;
    case 1:
      lines[at] = line.slice(0, column) + line.slice(column + 1);
      break;
    case 2:
      lines[at] = ' '.repeat(1 + random.below(4)) + line;
      break;
    case 3:
      lines[at] = line.replace(/^ {1,2}/u, '');
      break;
    case 4:
      lines.splice(at, 1);
      break;
    default:
      lines.splice(random.below(lines.length), 0, line);
  }
  return lines.join('\n');
}
