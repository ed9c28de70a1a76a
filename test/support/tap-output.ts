// Reads the raw output of a tap run: what each file gave, each failed assertion with its diagnostics, and
// the counts.

type Counts = { readonly pass: number; readonly fail: number; readonly skip: number };
type FileResult = { readonly path: string; readonly ok: boolean; readonly timeMs: number };
type Failure = { readonly names: readonly string[]; readonly diagnostics: string };
export type TapOutput = {
  /** Undefined when the run ended before its summary. */
  readonly counts: Counts | undefined;
  readonly files: readonly FileResult[];
  readonly failures: readonly Failure[];
};

const INDENT = 4;

const depthOf = (line: string): number => Math.floor((line.length - line.trimStart().length) / INDENT);

const unescape = (name: string): string => name.replace(/\\([#\\])/g, '$1');

/** The YAML block that may follow a result line, without its fences and indentation. */
function diagnosticsAfter(lines: readonly string[], at: number, depth: number): string {
  const indent = ' '.repeat(depth * INDENT + 2);
  if (lines[at + 1] !== `${indent}---`) return '';
  const end = lines.indexOf(`${indent}...`, at + 2);
  const block = lines.slice(at + 2, end === -1 ? undefined : end);
  return block.map((line) => line.slice(indent.length)).join('\n');
}

function readCounts(text: string): Counts | undefined {
  const summary = text.match(/^# \{ total: .*\}$/m)?.[0];
  if (summary === undefined) return undefined;
  const count = (name: string): number => Number(summary.match(new RegExp(`\\b${name}: (\\d+)`))?.[1] ?? 0);
  return { pass: count('pass'), fail: count('fail'), skip: count('skip') + count('todo') };
}

/** Reads TAP as tap writes it with --output-file. */
export function readTap(text: string): TapOutput {
  const lines = text.split('\n');
  const files: FileResult[] = [];
  const failures: Failure[] = [];
  const open: string[] = []; // the subtests that enclose the line, outermost first
  let deepestFailure = -1; // since the last result of the same depth; a parent fails because of it
  lines.forEach((line, at) => {
    const depth = depthOf(line);
    const subtest = line.match(/^ *# Subtest: (.*)$/)?.[1];
    if (subtest !== undefined) open[depth] = unescape(subtest);
    const result = line.match(/^ *(not )?ok \d+(?: - (.*?))?( # (?:SKIP|TOD[O]).*)?$/i);
    if (result === null) return;
    const [, failed, title = '', directive] = result;
    const timeMs = Number(title.match(/ # time=([\d.]+)ms$/)?.[1] ?? 0);
    const name = unescape(title.replace(/ # time=[\d.]+ms$/, ''));
    const ok = failed === undefined || directive !== undefined;
    if (depth === 0) files.push({ path: name, ok, timeMs });
    if (!ok && deepestFailure <= depth) {
      const diagnostics = diagnosticsAfter(lines, at, depth);
      failures.push({ names: [...open.slice(0, depth), name], diagnostics });
    }
    if (!ok) deepestFailure = depth;
    else if (deepestFailure > depth) deepestFailure = -1;
  });
  return { counts: readCounts(text), files, failures };
}
