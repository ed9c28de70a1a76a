// The rules of docs/STYLE.md as functions from source texts to violations. What lint can say is left to lint.
import { stripTypeScriptTypes } from 'node:module';
import { posix } from 'node:path';
import { parse } from 'acorn';

export type Source = { readonly path: string; readonly text: string };
export type Violation = {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
};

type Import = { readonly target: string; readonly line: number; readonly typeOnly: boolean };
type AstNode = { readonly type: string; readonly start: number; readonly end: number };

const LINES_MAX = 500;
const FUNCTION_LINES_MAX = 70;
const LINE_LENGTH_MAX = 110;

/** The layer of each folder below src; a file imports from its own folder and from lower layers only. */
const LAYERS: Readonly<Record<string, number>> = {
  lib: 0,
  telemetry: 0,
  config: 0,
  model: 1,
  cache: 1,
  traceql: 2,
  parquet: 2,
  objectstore: 2,
  ring: 2,
  rpc: 2,
  block: 3,
  overrides: 3,
  contracts: 3,
  api: 3,
  store: 4,
  receivers: 4,
  modules: 5,
  app: 6,
};
const CMD_LAYER = 7;

/** Code of the browser stands apart: it takes types from src/api, and nobody takes anything from it. */
const BROWSER = 'src/ui';

/** Steps sideways that are meant: everything may use lib, and contracts speak of block metas and heads. */
const SIDEWAYS = new Set([
  'src/config > src/lib',
  'src/telemetry > src/lib',
  'src/config > src/telemetry',
  'src/contracts > src/block',
  'src/ring > src/rpc',
]);

const FORBIDDEN_FOLDERS = new Set(['utils', 'util', 'helpers', 'common', 'misc', 'shared']);
/** Packages that are for the main thread only. */
const MAIN_THREAD_PACKAGES = new Set(['prom-client', 'fastify', 'commander', '@grpc/grpc-js']);
const PURE_FOLDERS = ['src/traceql/', 'src/parquet/'];
const IO_FOLDERS = [
  'src/cache/',
  'src/objectstore/',
  'src/ring/',
  'src/rpc/',
  'src/receivers/',
  'src/app/',
  'src/store/log/',
  'cmd/',
];
const IO_MODULES =
  /^node:(fs|fs\/promises|net|http|https|http2|tls|dgram|dns|dns\/promises|child_process|cluster)$/;

const isProduct = (path: string): boolean => path.startsWith('src/') || path.startsWith('cmd/');
const isTest = (path: string): boolean => path.endsWith('.test.ts');

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

const IMPORT_FROM = /^(import|export)(\s+type)?\s[^;'"`]*?from\s+'([^']+)'/gm;
const IMPORT_BARE = /^()()import\s+'([^']+)'/gm;
const IMPORT_DYNAMIC = /()()\bimport\(\s*'([^']+)'/g;

/** Finds every import of a source; relative targets are resolved to paths from the root. */
function importsOf({ path, text }: Source): Import[] {
  return [IMPORT_FROM, IMPORT_BARE, IMPORT_DYNAMIC].flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => {
      const target = match[3] ?? '';
      return {
        target: target.startsWith('.') ? posix.join(posix.dirname(path), target) : target,
        line: lineAt(text, match.index),
        typeOnly: match[2] !== undefined && match[2] !== '',
      };
    }),
  );
}

/** The room of a file: its layer, and the folder in which files may import each other. */
function roomOf(path: string): { readonly layer: number | undefined; readonly folder: string } {
  const parts = path.split('/');
  const folder = parts[0] === 'src' && parts[1] === 'modules' ? parts.slice(0, 3) : parts.slice(0, 2);
  const layer = parts[0] === 'cmd' ? CMD_LAYER : LAYERS[parts[1] ?? ''];
  return { layer, folder: folder.join('/') };
}

function importProblem(path: string, { target, typeOnly }: Import): string | undefined {
  if (!target.startsWith('src/') && !target.startsWith('cmd/')) {
    return target.startsWith('test/') ? `the product imports ${target}` : undefined;
  }
  const from = roomOf(path);
  const to = roomOf(target);
  if (from.folder === BROWSER || to.folder === BROWSER) {
    const isOwn =
      from.folder === to.folder || (from.folder === BROWSER && to.folder === 'src/api' && typeOnly);
    return isOwn ? undefined : `imports ${target}: the browser takes types of src/api, and gives nothing`;
  }
  if (to.layer === undefined) return `${target} stands in no layer`;
  if (from.layer === undefined || from.folder === to.folder) return undefined;
  if (SIDEWAYS.has(`${from.folder} > ${to.folder}`)) return undefined;
  if (to.layer === from.layer) return `imports ${target} from its own layer, sideways`;
  if (to.layer > from.layer) return `imports ${target} from a higher layer`;
  if (target.startsWith('src/modules/') && !/^src\/modules\/[^/]+\/(index|config)\.ts$/.test(target)) {
    return `enters a module by ${target} instead of its index.ts or config.ts`;
  }
  return undefined;
}

function layerViolations(source: Source): Violation[] {
  const { path } = source;
  if (!isProduct(path)) return [];
  const found: Violation[] = [];
  const add = (line: number, rule: string, message: string): void => {
    found.push({ path, line, rule, message });
  };
  if (roomOf(path).layer === undefined && !path.startsWith(`${BROWSER}/`)) {
    add(1, 'layers', 'stands in no layer of docs/STYLE.md');
  }
  const mayTouchIo = IO_FOLDERS.some((folder) => path.startsWith(folder)) || path.endsWith('-worker.ts');
  for (const imported of importsOf(source)) {
    const { target, line } = imported;
    const problem = importProblem(path, imported);
    if (problem !== undefined) add(line, 'layers', problem);
    if (target.startsWith('node:') && PURE_FOLDERS.some((folder) => path.startsWith(folder))) {
      add(line, 'pure', `${target} in a folder that knows no platform`);
    } else if (IO_MODULES.test(target) && !mayTouchIo) {
      add(line, 'io', `${target} outside the folders that touch files and sockets`);
    }
  }
  return found;
}

/** Finds what threads load without a use for it: each of these takes tens of milliseconds. */
export function threadViolations(sources: readonly Source[]): Violation[] {
  const known = new Map(sources.map((source) => [source.path, source]));
  const found: Violation[] = [];
  for (const { path: entry } of sources.filter(({ path }) => /^src\/.*-worker\.ts$/.test(path))) {
    const from = new Map([[entry, entry]]);
    for (const path of from.keys()) {
      const source = known.get(path);
      for (const { target, typeOnly, line } of source === undefined ? [] : importsOf(source)) {
        if (typeOnly || from.has(target)) continue;
        from.set(target, path);
        if (!MAIN_THREAD_PACKAGES.has(target)) continue;
        found.push({ path, line, rule: 'thread', message: `${target} is loaded by the thread of ${entry}` });
      }
    }
  }
  return found;
}

/** Finds import cycles; imports of types only do not count. */
export function cycleViolations(sources: readonly Source[]): Violation[] {
  const known = new Set(sources.map(({ path }) => path));
  const edges = new Map<string, Import[]>();
  for (const source of sources) {
    const targets = importsOf(source).filter(({ target, typeOnly }) => !typeOnly && known.has(target));
    edges.set(source.path, targets);
  }
  const found: Violation[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    if (done.has(path)) return;
    trail.push(path);
    for (const { target, line } of edges.get(path) ?? []) {
      const at = trail.indexOf(target);
      if (at === -1) visit(target);
      else {
        const message = [...trail.slice(at), target].join(' -> ');
        found.push({ path, line, rule: 'cycle', message });
      }
    }
    trail.pop();
    done.add(path);
  };
  for (const path of edges.keys()) visit(path);
  return found;
}

const FUNCTION_TYPES = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);

function eachNode(value: unknown, visit: (node: AstNode) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) eachNode(item, visit);
  } else if (typeof value === 'object' && value !== null) {
    if ('type' in value && 'start' in value) visit(value as AstNode);
    for (const child of Object.values(value)) if (typeof child === 'object') eachNode(child, visit);
  }
}

function functionViolations({ path, text }: Source): Violation[] {
  if (isTest(path)) return [];
  const found: Violation[] = [];
  // Stripping keeps every offset, so positions of the JavaScript are those of the source.
  const ast = parse(stripTypeScriptTypes(text), { ecmaVersion: 'latest', sourceType: 'module' });
  eachNode(ast, (node) => {
    if (!FUNCTION_TYPES.has(node.type)) return;
    const lines = text.slice(node.start, node.end).split('\n').length;
    if (lines <= FUNCTION_LINES_MAX) return;
    const message = `function of ${lines} lines, at most ${FUNCTION_LINES_MAX}`;
    found.push({ path, line: lineAt(text, node.start), rule: 'function-size', message });
  });
  return found;
}

const TASK_WORD = /\b(?:TOD[O]|FIXM[E]|XX[X])\b/;
const TASK_NUMBERED = /\b(?:TOD[O]|FIXM[E]|XX[X])\b.*#\d+/;
const MACHINE_PATH = /(?<![\w.~$}-])\/(?:work|home|root)\/\w/;

/** It tells what the system says when it lets no thread start. */
const THREAD_STARTER = 'src/lib/start-thread.ts';
const FOLDER_MAKER = 'test/support/test-folder.ts';

function lineProblems(path: string, line: string): [string, string][] {
  const found: [string, string][] = [];
  if (line.length > LINE_LENGTH_MAX) {
    found.push(['line-length', `${line.length} characters, at most ${LINE_LENGTH_MAX}`]);
  }
  if (TASK_WORD.test(line) && !TASK_NUMBERED.test(line)) {
    found.push(['task', 'a task left for later carries an issue number (#N)']);
  }
  if (MACHINE_PATH.test(line)) found.push(['path', 'a path of one machine']);
  if (/^export default\b/.test(line)) found.push(['default-export', 'exports have names']);
  if (path.startsWith('src/') && /\bconsole\.\w/.test(line.replace(/\/\/.*|\*.*/, ''))) {
    found.push(['console', 'src writes through the logger it is given']);
  }
  if (isProduct(path) && path !== THREAD_STARTER && /\bnew Worker\(/.test(line)) {
    found.push(['new-thread', `threads are started by ${THREAD_STARTER}`]);
  }
  if (path.startsWith('test/') && path !== FOLDER_MAKER && /\bt\.testdir\(/.test(line)) {
    found.push(['test-folder', `folders of tests come from ${FOLDER_MAKER}`]);
  }
  return found;
}

function fileViolations({ path, text }: Source): Violation[] {
  const found: Violation[] = [];
  const add = (line: number, rule: string, message: string): void => {
    found.push({ path, line, rule, message });
  };
  const lines = text.split('\n');
  const folder = path
    .split('/')
    .slice(0, -1)
    .find((name) => FORBIDDEN_FOLDERS.has(name));
  if (folder !== undefined) add(1, 'folder', `${folder} says nothing about what is in it`);
  const name = posix.basename(path);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|d|bench))?\.ts$/.test(name))
    add(1, 'name', `${name} is not kebab-case`);
  if (name === 'index.ts' && !/^src\/modules\/[^/]+\/index\.ts$/.test(path)) {
    add(1, 'barrel', 'only a module has an index.ts');
  }
  if (!isTest(path) && lines.length - 1 > LINES_MAX) {
    add(LINES_MAX, 'file-size', `${lines.length - 1} lines, at most ${LINES_MAX}`);
  }
  const first = lines[0]?.startsWith('#!') ? lines[1] : lines[0];
  if (!/^(\/\/ |\/\*\*)/.test(first ?? '')) add(1, 'header', 'a file opens by saying what it is');
  lines.forEach((line, at) => {
    for (const [rule, message] of lineProblems(path, line)) add(at + 1, rule, message);
  });
  return found;
}

/** Applies every rule to the given sources. */
export function sourceViolations(sources: readonly Source[]): Violation[] {
  const each = sources.flatMap((source) => [
    ...fileViolations(source),
    ...layerViolations(source),
    ...functionViolations(source),
  ]);
  return [...each, ...cycleViolations(sources), ...threadViolations(sources)];
}

const DOC_LINK = /\]\(([^)#\s]+)(?:#[^)]*)?\)/g;
const DOC_PATH = /`((?:src|cmd|test|docs|config)\/[\w./-]*\w)`/g;

/** Checks that a page has one title, and that the files it links to or names exist. */
export function docViolations(page: Source, exists: (path: string) => boolean): Violation[] {
  const { path, text } = page;
  const found: Violation[] = [];
  const prose = text.replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ' '));
  if (!prose.startsWith('# ') || (prose.match(/^# /gm) ?? []).length !== 1) {
    found.push({ path, line: 1, rule: 'doc-title', message: 'a page opens with its only # title' });
  }
  const named = [...prose.matchAll(DOC_PATH)].map((match) => ({ match, target: match[1] ?? '' }));
  const linked = [...prose.matchAll(DOC_LINK)]
    .map((match) => ({ match, target: match[1] ?? '' }))
    .filter(({ target }) => !/^[a-z]+:/.test(target))
    .map(({ match, target }) => ({ match, target: posix.join(posix.dirname(path), target) }));
  for (const { match, target } of [...named, ...linked]) {
    if (exists(target)) continue;
    const message = `${target} does not exist`;
    found.push({ path, line: lineAt(text, match.index), rule: 'doc-path', message });
  }
  prose.split('\n').forEach((line, at) => {
    if (MACHINE_PATH.test(line)) {
      found.push({ path, line: at + 1, rule: 'path', message: 'a path of one machine' });
    }
  });
  return found;
}

/** Checks that each decision record has a number of its own, which its title says too. */
export function decisionViolations(pages: readonly Source[]): Violation[] {
  const found: Violation[] = [];
  const pathOf = new Map<number, string>();
  for (const { path, text } of pages) {
    const match = /^docs\/decisions\/(\d+)-/.exec(path);
    if (match === null) continue;
    const number = Number(match[1]);
    const add = (message: string): void => void found.push({ path, line: 1, rule: 'decision', message });
    const other = pathOf.get(number);
    if (other === undefined) pathOf.set(number, path);
    else add(`${other} has the number ${number} too`);
    if (!text.startsWith(`# ${number}. `)) add(`the title of record ${number} begins with "# ${number}. "`);
  }
  return found;
}
