// The rules of the house, enforced: every violation is printed with its file and line.
import { existsSync, globSync, readFileSync } from 'node:fs';
import t from 'tap';
import {
  cycleViolations,
  decisionViolations,
  docViolations,
  type Source,
  sourceViolations,
  threadViolations,
} from './support/tidy.ts';

// Node warns once that stripping types by call is experimental; the offsets it keeps are what is needed here.
process.removeAllListeners('warning');

const read = (path: string): Source => ({ path, text: readFileSync(path, 'utf8') });
const sources = globSync(['cmd/**/*.ts', 'src/**/*.ts', 'test/**/*.ts']).toSorted().map(read);
const pages = globSync(['*.md', 'docs/**/*.md']).toSorted().map(read);

t.test('the tree keeps the rules', (t) => {
  const found = [
    ...sourceViolations(sources),
    ...pages.flatMap((page) => docViolations(page, existsSync)),
    ...decisionViolations(pages),
  ];
  for (const { path, line, rule, message } of found)
    t.fail(`${path}:${line} ${rule}: ${message}`, { at: null });
  t.ok(sources.length > 10 && pages.length > 0, 'the tree was found');
  t.end();
});

const HEADER = '// What it is.\n';
const long = (count: number): string => '  f();\n'.repeat(count);

t.test('each rule finds what it forbids, and nothing else', (t) => {
  const rules = [
    { want: 'layers', path: 'src/lib/a.ts', text: "import { b } from '../model/b.ts';\n" },
    { want: 'layers', path: 'src/model/a.ts', text: "import type { b } from '../proto/b.ts';\n" },
    { want: 'layers', path: 'src/modules/x/a.ts', text: "import { b } from '../y/index.ts';\n" },
    { want: 'layers', path: 'src/app/a.ts', text: "import { b } from '../modules/x/b.ts';\n" },
    { want: 'layers', path: 'src/app/a.ts', text: "export {\n  b,\n} from '../../cmd/tempo/b.ts';\n" },
    { want: 'layers', path: 'src/attic/a.ts', text: '' },
    { want: 'layers', path: 'src/ui/a.ts', text: "import { b } from '../api/b.ts';\n" },
    { want: 'layers', path: 'src/ui/a.ts', text: "import type { b } from '../lib/b.ts';\n" },
    { want: 'layers', path: 'src/app/a.ts', text: "import type { b } from '../ui/b.ts';\n" },
    { want: 'pure', path: 'src/traceql/a.ts', text: "import { hash } from 'node:crypto';\n" },
    { want: 'io', path: 'src/block/a.ts', text: "import fs from 'node:fs';\n" },
    { want: 'io', path: 'src/modules/x/a.ts', text: "const fs = await import('node:fs/promises');\n" },
    { want: 'folder', path: 'src/lib/utils/a.ts', text: '' },
    { want: 'name', path: 'src/lib/someThing.ts', text: '' },
    { want: 'barrel', path: 'src/lib/index.ts', text: '' },
    { want: 'file-size', path: 'src/lib/a.ts', text: long(500) },
    { want: 'function-size', path: 'src/lib/a.ts', text: `function g(): void {\n${long(69)}}\n` },
    {
      want: 'function-size',
      path: 'src/lib/a.ts',
      text: `class A { m = (x: number): void => {\n${long(69)}}}\n`,
    },
    { want: 'function-size', path: 'src/lib/a.ts', text: `class A { get m(): { a: 1 } {\n${long(69)}}}\n` },
    { want: 'header', path: 'src/lib/a.ts', header: '', text: 'f();\n' },
    { want: 'line-length', path: 'test/unit/a.test.ts', text: `// ${'x'.repeat(108)}\n` },
    { want: 'task', path: 'src/lib/a.ts', text: `// ${'TO'}${'DO'}: later\n` },
    { want: 'path', path: 'src/lib/a.ts', text: `const a = '/${'home'}/me';\n` },
    { want: 'default-export', path: 'cmd/tempo/a.ts', text: 'export default 1;\n' },
    { want: 'console', path: 'src/lib/a.ts', text: 'console.log(1);\n' },
    { want: 'new-thread', path: 'src/app/a.ts', text: 'const thread = new Worker(url);\n' },
    { want: 'test-folder', path: 'test/unit/a.test.ts', text: `const a = t.${'test'}dir();\n` },
    { want: undefined, path: 'src/lib/start-thread.ts', text: 'const thread = new Worker(url);\n' },
    { want: undefined, path: 'src/lib/a.ts', text: `// ${'TO'}${'DO'} #12: console.log is not called\n` },
    { want: undefined, path: 'src/lib/a.ts', text: `function g(): void {\n${long(68)}}\n` },
    { want: undefined, path: 'src/lib/a.ts', text: long(499) },
    { want: undefined, path: 'src/store/log/a.ts', text: "import fs from 'node:fs';\n" },
    { want: undefined, path: 'src/modules/x/b-worker.ts', text: "import fs from 'node:fs';\n" },
    { want: undefined, path: 'src/app/a.ts', text: "import { b } from '../modules/x/index.ts';\n" },
    { want: undefined, path: 'src/ui/a.ts', text: "import type { b } from '../api/b.ts';\n" },
    { want: undefined, path: 'src/ui/a.ts', text: "import { b } from './b.ts';\n" },
    { want: undefined, path: 'src/config/a.ts', text: "import { b } from '../lib/b.ts';\n" },
    { want: undefined, path: 'src/parquet/encoding/a.ts', text: "import { b } from '../b.ts';\n" },
  ];
  for (const { want, path, header, text } of rules) {
    const found = sourceViolations([{ path, text: (header ?? HEADER) + text }]).map(({ rule }) => rule);
    t.same(found, want === undefined ? [] : [want], `${want ?? 'nothing'} in ${path}: ${text.slice(0, 40)}`);
  }
  t.end();
});

t.test('cycles are found, cycles of types are not', (t) => {
  const a = { path: 'src/lib/a.ts', text: `${HEADER}import { b } from './b.ts';\n` };
  const b = { path: 'src/lib/b.ts', text: `${HEADER}import { a } from './a.ts';\n` };
  const typesOnly = { path: 'src/lib/b.ts', text: `${HEADER}import type { a } from './a.ts';\n` };
  t.match(cycleViolations([a, b]), [{ message: 'src/lib/a.ts -> src/lib/b.ts -> src/lib/a.ts' }]);
  t.same(cycleViolations([a, typesOnly]), []);
  t.end();
});

t.test('threads do not load packages of the main thread', (t) => {
  const worker = { path: 'src/store/a-worker.ts', text: `${HEADER}import { b } from '../lib/b.ts';\n` };
  const loads = { path: 'src/lib/b.ts', text: `${HEADER}import { Counter } from 'prom-client';\n` };
  const typesOnly = { path: 'src/lib/b.ts', text: `${HEADER}import type { Counter } from 'prom-client';\n` };
  t.match(threadViolations([worker, loads]), [{ path: 'src/lib/b.ts', line: 2, rule: 'thread' }]);
  t.same(threadViolations([worker, typesOnly]), []);
  t.same(threadViolations([loads]), []);
  t.end();
});

t.test('pages name only what exists', (t) => {
  const text = '# A\n`src/b.ts` [c](c.md) [d](https://d.example/d)\n```\n# not a title\n```\n';
  const page = { path: 'docs/a.md', text };
  const found = docViolations(page, (path) => path === 'src/b.ts');
  t.match(found, [{ line: 2, message: 'docs/c.md does not exist' }]);
  t.equal(found.length, 1);
  t.match(
    docViolations({ path: 'docs/a.md', text: 'no title' }, () => true),
    [{ rule: 'doc-title' }],
  );
  t.end();
});

t.test('decision records have a number each', (t) => {
  const record = (name: string, title: string): Source => ({ path: `docs/decisions/${name}`, text: title });
  const good = record('0001-a.md', '# 1. A\n');
  t.same(decisionViolations([good, record('0002-b.md', '# 2. B\n'), record('list.md', '# List\n')]), []);
  t.match(decisionViolations([good, record('0001-b.md', '# 1. B\n')]), [
    { path: 'docs/decisions/0001-b.md', message: 'docs/decisions/0001-a.md has the number 1 too' },
  ]);
  t.match(decisionViolations([record('0002-b.md', '# 1. B\n')]), [
    { message: 'the title of record 2 begins with "# 2. "' },
  ]);
  t.end();
});
