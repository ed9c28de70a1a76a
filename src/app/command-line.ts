// Go-style command lines on top of commander: one or two dashes, `-name=value` or `-name value`, booleans
// alone.
import { Command, CommanderError, Option } from 'commander';
import type { FlagSpec } from '../config/flags.ts';
import { nearest } from '../lib/nearest.ts';

/** A command line that cannot be understood: usage, exit code 2. */
export class UsageError extends Error {}

/** @returns the values of each flag that was given, in order. @throws UsageError */
export function parseCommandLine(
  args: readonly string[],
  flags: readonly FlagSpec[],
): ReadonlyMap<string, readonly string[]> {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const values = new Map<string, string[]>();
  const command = new Command('tempo')
    .exitOverride()
    .helpOption(false)
    .allowExcessArguments(false)
    .configureOutput({ writeErr: () => {}, writeOut: () => {} });
  for (const { name } of flags) {
    const collect = (value: string): string => {
      values.set(name, [...(values.get(name) ?? []), value]);
      return value;
    };
    command.addOption(new Option(`--${name} <value>`).argParser(collect));
  }
  try {
    command.parse(doubleDashed(args, byName), { from: 'user' });
  } catch (err) {
    if (err instanceof CommanderError) throw new UsageError(err.message.replace(/^error: /, ''));
    throw err;
  }
  return values;
}

/** Every flag in the one form that commander cannot misread: `--name=value`. */
function doubleDashed(args: readonly string[], byName: ReadonlyMap<string, FlagSpec>): string[] {
  const out: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(arg);
    if (match === null) {
      if (arg.startsWith('-')) throw new UsageError(`bad flag syntax: ${arg}`);
      throw new UsageError(`unexpected argument: ${arg}`);
    }
    const [, name, attached] = match as unknown as [string, string, string | undefined];
    const flag = byName.get(name);
    if (flag === undefined) {
      const near = nearest(name, [...byName.keys()]);
      const proposal = near === undefined ? '' : `, did you mean -${near}?`;
      throw new UsageError(`flag provided but not defined: -${name}${proposal}`);
    }
    let value = attached;
    const next = args[i + 1];
    if (flag.type === 'bool') {
      if (value === undefined && (next === 'true' || next === 'false' || isOwnValue(flag, next))) {
        value = next;
        i++;
      }
      value = isOwnValue(flag, value) ? value : boolText(name, value ?? 'true');
    } else if (value === undefined) {
      if (next === undefined) throw new UsageError(`flag needs an argument: -${name}`);
      value = next;
      i++;
    }
    out.push(`--${name}=${value}`);
  }
  return out;
}

/** Beside true and false. */
function isOwnValue({ values }: FlagSpec, text: string | undefined): text is string {
  return text !== undefined && values?.includes(text) === true;
}

function boolText(name: string, value: string): string {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return 'true';
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return 'false';
  throw new UsageError(`invalid boolean value "${value}" for -${name}: parse error`);
}

/** All flags, sorted, as Go prints them. */
export function usageText(flags: readonly FlagSpec[], program = 'tempo'): string {
  const lines = flags
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, doc, default: value }) => {
      const suffix = value === '' ? '' : ` (default ${value})`;
      return `  -${name}${type === 'bool' ? '' : ` ${type}`}\n    \t${doc}${suffix}\n`;
    });
  return `Usage of ${program}:\n${lines.join('')}`;
}
