// The YAML that most configuration files are written in: maps and lists in block style, one key or item a
// line, values without spaces or in plain quotes. The library takes 70 ms longer for the lines of a full
// configuration at a start, where its code runs for the first time.
import type { YamlEntry, YamlMap, YamlNode } from './yaml.ts';

const PLAIN = '-?[A-Za-z0-9_./](?:[\\w./+@%=~,*()-]|:(?=[\\w./-]))*';
const VALUE = `"[^"\\\\]*"|'[^']*'|\\[\\]|\\{\\}|${PLAIN}`;
/** The library refuses keys of more than 1,024 characters. */
const KEY = '[A-Za-z0-9_][\\w./-]{0,999}';
const LINE = new RegExp(`^( *)(- )?(?:(${KEY}):(?: +(${VALUE}))?|(${VALUE})) *(?: #.*)?$`);
const NOTHING = /^ *(?:#.*)?$/;
/** The library has rules of its own for tabs and other characters that no one sees. */
const UNSEEN = /[^\n -~]/;

/** Of what is deeper or longer the library has the say. */
const DEPTH_MAX = 100;
const LINES_MAX = 50_000;

/** A map or list whose lines begin at a column. */
interface Level {
  readonly indent: number;
  readonly entries?: Map<string, YamlEntry>;
  readonly items?: YamlNode[];
  /** The last key, if nothing followed it: what is further in belongs to it. */
  open?: { readonly key: string; readonly at: string };
}

/** @returns undefined for whatever is written in another way, or wrong: for the library to read or refuse. */
export function parsePlainYaml(source: string, file: string): YamlMap | undefined {
  const lines = source.split('\n');
  if (UNSEEN.test(source) || lines.length > LINES_MAX) return undefined;
  const levels: Level[] = [];
  let root: YamlMap | undefined;
  let number = 0;
  for (const line of lines) {
    number++;
    if (NOTHING.test(line)) continue;
    const [, spaces, dash, key, value, scalar] = LINE.exec(line) ?? [];
    if (spaces === undefined) return undefined;
    const at = `${file}:${number}`;
    let indent = spaces.length;
    let level = levelAt(levels, indent, dash !== undefined);
    if (level === undefined) {
      level = dash === undefined ? { indent, entries: new Map() } : { indent, items: [] };
      const node = nodeOf(level, at);
      if (root === undefined && node.kind === 'map') root = node;
      else if (!belongs(levels.at(-1), node)) return undefined;
      levels.push(level);
      if (levels.length > DEPTH_MAX) return undefined;
    }
    if (level.items !== undefined) {
      if (key === undefined) {
        level.items.push(valueOf(scalar!, at));
        continue;
      }
      indent += 2;
      level = { indent, entries: new Map() };
      levels.at(-1)!.items!.push(nodeOf(level, at));
      levels.push(level);
    }
    if (key === undefined || level.entries!.has(key)) return undefined;
    level.entries!.set(key, { at, value: valueOf(value ?? '', at) });
    if (value === undefined) level.open = { key, at };
    else delete level.open;
  }
  return root;
}

/** Leaves the levels that end before a line. @returns that of the line, undefined if it begins one. */
function levelAt(levels: Level[], indent: number, isItem: boolean): Level | undefined {
  for (;;) {
    const last = levels.at(-1);
    if (last === undefined || last.indent < indent) return undefined;
    const isList = last.items !== undefined;
    if (last.indent === indent && isList === isItem) return last;
    // Items may begin where the key begins that they belong to.
    if (last.indent === indent && isItem) return undefined;
    levels.pop();
  }
}

/** Gives a new level to the key that it is below. @returns false if there is none. */
function belongs(above: Level | undefined, value: YamlNode): boolean {
  if (above?.open === undefined) return false;
  above.entries!.set(above.open.key, { at: above.open.at, value });
  delete above.open;
  return true;
}

function nodeOf({ entries, items }: Level, at: string): YamlNode {
  return entries === undefined ? { kind: 'list', at, items: items! } : { kind: 'map', at, entries };
}

function valueOf(text: string, at: string): YamlNode {
  if (text === '[]') return { kind: 'list', at, items: [] };
  if (text === '{}') return { kind: 'map', at, entries: new Map() };
  const quoted = text.startsWith('"') || text.startsWith("'");
  return { kind: 'scalar', at, text: quoted ? text.slice(1, -1) : text, quoted };
}
