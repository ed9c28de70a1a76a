// Defaults, then the file, then flags: the steps from texts to a frozen configuration. Reading the file is
// the caller's.
import { moveOldKeys, put } from './aliases.ts';
import { decode } from './decode.ts';
import { ConfigError, type Notes, type Problem } from './errors.ts';
import { expandEnv, type Environment } from './expand-env.ts';
import type { BlockField, ConfigOf, Shape } from './field.ts';
import { parseYaml, type YamlMap } from './yaml.ts';

export interface LoadOptions {
  /** The configuration file; undefined = none. */
  readonly file?: { readonly name: string; readonly text: string } | undefined;
  /** Expands `${NAME}` in the file; undefined = no expansion. */
  readonly env?: Environment | undefined;
  /** Values given by flags: they win over the file. */
  readonly flags?: readonly FlagValue[];
}

export interface FlagValue {
  readonly flag: string;
  /** Dotted key. */
  readonly path: string;
  readonly values: readonly string[];
  readonly isList: boolean;
}

export interface Loaded<S> {
  readonly config: ConfigOf<S>;
  readonly warnings: readonly Problem[];
}

/** @throws ConfigError with every problem found. */
export function loadConfig<S extends Shape>(root: BlockField<S>, options: LoadOptions): Loaded<S> {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const notes = { problems, warnings };
  const tree = readTree(options, notes);
  moveOldKeys(root, tree, '', notes);
  for (const flag of options.flags ?? []) overlay(tree, flag);
  const config = decode(root, tree, '', notes);
  if (problems.length > 0) throw new ConfigError(problems);
  return { config: deepFreeze(config) as ConfigOf<S>, warnings };
}

function readTree(options: LoadOptions, { warnings }: Notes): YamlMap {
  const { file, env } = options;
  const empty: YamlMap = { kind: 'map', at: 'defaults', entries: new Map() };
  if (file === undefined) return empty;
  const unset = (name: string, at: string): void => {
    warnings.push({ at, path: '', text: `variable ${name} is not set: nothing stands in its place` });
  };
  const text = env === undefined ? file.text : expandEnv(file.text, env, file.name, unset);
  const node = parseYaml(text, file.name) ?? empty;
  if (node.kind !== 'map') {
    throw new ConfigError([{ at: node.at, path: '', text: 'a configuration consists of keys and values' }]);
  }
  return node;
}

/** Puts a flag's value into the tree, in place of what the file says; to a list its values are added. */
function overlay(tree: YamlMap, { flag, path, values, isList }: FlagValue): void {
  const at = `-${flag}`;
  const scalars = values.map((text) => ({ kind: 'scalar', at, text, quoted: false, isFlag: true }) as const);
  const last = scalars.at(-1);
  if (last === undefined) return;
  const keys = path.split('.');
  const key = keys.pop() as string;
  let parent = tree;
  for (const name of keys) {
    let child = parent.entries.get(name)?.value;
    if (child?.kind !== 'map') {
      child = { kind: 'map', at, entries: new Map() };
      parent.entries.set(name, { at, value: child });
    }
    parent = child;
  }
  const before = parent.entries.get(key)?.value;
  const items = before?.kind === 'list' ? before.items : before?.kind === 'scalar' ? [before] : [];
  const value = isList ? ({ kind: 'list', at, items: [...items, ...scalars] } as const) : last;
  parent.entries.delete(key);
  put(parent, [key], { at, value });
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
