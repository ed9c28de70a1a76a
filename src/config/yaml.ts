// YAML text to a tree in which scalars are still text: what a scalar means is decided by the field that it is
// for, with the rules of YAML 1.1 (as Go programs read it). Aliases and merge keys are resolved here,
// duplicates refused.
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Scalar,
} from 'yaml';
import { ConfigError } from './errors.ts';
import { parsePlainYaml } from './plain-yaml.ts';

/** `at` is the place in words: file and line, or a flag. */
export type YamlNode = YamlScalar | YamlList | YamlMap;

export interface YamlScalar {
  readonly kind: 'scalar';
  readonly at: string;
  readonly text: string;
  readonly quoted: boolean;
  /** It was given by a flag. */
  readonly isFlag?: true;
}

interface YamlList {
  readonly kind: 'list';
  readonly at: string;
  readonly items: readonly YamlNode[];
}

export interface YamlEntry {
  /** Place of the key. */
  readonly at: string;
  readonly value: YamlNode;
}

export interface YamlMap {
  readonly kind: 'map';
  readonly at: string;
  readonly entries: Map<string, YamlEntry>;
}

/** Bounds what aliases of aliases may unfold to. */
const NODES_MAX = 100_000;

/** @returns undefined for an empty document. @throws ConfigError with file and line. */
export function parseYaml(source: string, file: string): YamlNode | undefined {
  return parsePlainYaml(source, file) ?? parseAnyYaml(source, file);
}

/** All of YAML, by the library. @returns and throws as `parseYaml`. */
export function parseAnyYaml(source: string, file: string): YamlNode | undefined {
  const lines = new LineCounter();
  const document = parseDocument(source, {
    version: '1.1',
    schema: 'failsafe',
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
  });
  // What follows the first error is mostly caused by it.
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new ConfigError([
      { at: `${file}:${line}:${col}`, path: '', text: `not valid YAML: ${error.message}` },
    ]);
  }
  if (document.contents === null) return undefined;
  const node = new Converter(document, lines, file).convert(document.contents as Node, '');
  return node.kind === 'scalar' && isNull(node) ? undefined : node;
}

export function isNull(node: YamlScalar): boolean {
  return !node.quoted && /^(|~|null|Null|NULL)$/.test(node.text);
}

class Converter {
  readonly #document: Document;
  readonly #lines: LineCounter;
  readonly #file: string;
  #count = 0;

  constructor(document: Document, lines: LineCounter, file: string) {
    this.#document = document;
    this.#lines = lines;
    this.#file = file;
  }

  convert(node: Node | null, path: string, near?: Node): YamlNode {
    const at = this.#at(node ?? near);
    if (++this.#count > NODES_MAX) throw new ConfigError([{ at, path, text: 'too many nodes' }]);
    if (node === null) return { kind: 'scalar', at, text: '', quoted: false };
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      if (target === undefined) throw new ConfigError([{ at, path, text: `no anchor &${node.source}` }]);
      return this.convert(target as Node, path);
    }
    if (isScalar(node)) {
      return { kind: 'scalar', at, text: scalarText(node), quoted: node.type !== 'PLAIN' };
    }
    if (isSeq(node)) {
      const items = node.items.map((item, i) => this.convert(item as Node | null, `${path}[${i}]`, node));
      return { kind: 'list', at, items };
    }
    if (!isMap(node)) throw new ConfigError([{ at, path, text: 'not understood' }]);
    const entries = new Map<string, YamlEntry>();
    const merged: YamlNode[] = [];
    for (const pair of node.items) {
      const keyNode = pair.key as Node | null;
      const keyAt = this.#at(keyNode ?? node);
      if (!isScalar(keyNode)) throw new ConfigError([{ at: keyAt, path, text: 'a key must be text' }]);
      const key = scalarText(keyNode);
      const value = this.convert(pair.value as Node | null, join(path, key), keyNode);
      if (key === '<<' && keyNode.type === 'PLAIN') {
        merged.push(...(value.kind === 'list' ? value.items : [value]));
        continue;
      }
      const first = entries.get(key);
      if (first !== undefined) {
        const text = `duplicate key, first set at ${first.at}`;
        throw new ConfigError([{ at: keyAt, path: join(path, key), text }]);
      }
      entries.set(key, { at: keyAt, value });
    }
    for (const source of merged) {
      if (source.kind !== 'map') throw new ConfigError([{ at, path, text: 'a merge key needs a map' }]);
      for (const [key, entry] of source.entries) if (!entries.has(key)) entries.set(key, entry);
    }
    return { kind: 'map', at, entries };
  }

  #at(node: Node | undefined): string {
    const offset = node?.range?.[0];
    return offset === undefined ? this.#file : `${this.#file}:${this.#lines.linePos(offset).line}`;
  }
}

/** With the failsafe schema every scalar is text, or nothing. */
function scalarText(node: Scalar): string {
  return typeof node.value === 'string' ? node.value : '';
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
