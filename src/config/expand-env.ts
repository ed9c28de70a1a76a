// `-config.expand-env`: `${NAME}` and its shell-like forms in the text of the configuration file, `$$` for a
// dollar sign. A `$` before anything else stays as it is.
import { ConfigError } from './errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * @param file named in errors.
 * @param unset called for each variable that is not set, outside of comments and where the form does not say
 * what stands then.
 * @throws ConfigError for an unclosed or unknown form, or for `${NAME:?text}`.
 */
export function expandEnv(
  source: string,
  env: Environment,
  file: string,
  unset?: (name: string, at: string) => void,
): string {
  let out = '';
  let from = 0;
  for (;;) {
    const dollar = source.indexOf('$', from);
    if (dollar < 0) return out + source.slice(from);
    out += source.slice(from, dollar);
    const next = source[dollar + 1];
    if (next === '{') {
      const end = closingBrace(source, dollar + 2);
      const at = (): string => `${file}:${source.slice(0, dollar).split('\n').length}`;
      const fail = (text: string): ConfigError => new ConfigError([{ at: at(), path: '', text }]);
      if (end < 0) throw fail('"${" without a closing brace');
      const form = source.slice(dollar + 2, end);
      out += expandOne(form, env, file, fail);
      if (unset !== undefined && isUnset(form, env) && !isComment(source, dollar)) unset(form, at());
      from = end + 1;
    } else {
      out += '$';
      from = dollar + (next === '$' ? 2 : 1);
    }
  }
}

function isUnset(form: string, env: Environment): boolean {
  return env[form] === undefined && /^[A-Za-z_][A-Za-z0-9_]*$/.test(form);
}

/** A `#` stands before it in its line. */
function isComment(source: string, at: number): boolean {
  return /(^|\s)#/.test(source.slice(source.lastIndexOf('\n', at) + 1, at));
}

/** @param form what stands between the braces. */
function expandOne(form: string, env: Environment, file: string, fail: (text: string) => Error): string {
  const match = /^(#?)([A-Za-z_][A-Za-z0-9_]*)([\s\S]*)$/.exec(form);
  if (match === null) throw fail(`"\${${form}}" names no variable`);
  const [, hash, name, rest] = match as unknown as [string, string, string, string];
  const value = env[name] ?? '';
  if (hash === '#') return String(value.length);
  if (rest === '') return value;
  const operator = /^(:-|:=|:\+|:\?|-|=|\+|\?|\/\/|\/|\^\^|,,|\^|,|:)([\s\S]*)$/.exec(rest);
  if (operator === null) throw fail(`"\${${form}}" is not understood`);
  const [, op, argument] = operator as unknown as [string, string, string];
  const isSet = op.startsWith(':') ? value !== '' : env[name] !== undefined;
  if (op.endsWith('?')) {
    if (!isSet) throw fail(`variable ${name} is not set: ${argument}`);
    return value;
  }
  if (op.endsWith('+')) return isSet ? expandEnv(argument, env, file) : '';
  if (op.endsWith('-') || op.endsWith('=')) return isSet ? value : expandEnv(argument, env, file);
  return transformed(value, op, argument, () => fail(`"\${${form}}" is not understood`));
}

/** Replacements, upper and lower case, and `:start:length`. */
function transformed(value: string, op: string, argument: string, fail: () => Error): string {
  switch (op) {
    case '/':
    case '//': {
      const [old = '', replacement = ''] = argument.split('/');
      if (old === '') return value;
      return op === '//' ? value.replaceAll(old, () => replacement) : value.replace(old, () => replacement);
    }
    case '^^':
      return value.toUpperCase();
    case ',,':
      return value.toLowerCase();
    case '^':
      return value.slice(0, 1).toUpperCase() + value.slice(1);
    case ',':
      return value.slice(0, 1).toLowerCase() + value.slice(1);
    default:
      return substring(value, argument, fail);
  }
}

/** `:start` and `:start:length`. */
function substring(value: string, argument: string, fail: () => Error): string {
  const match = /^(\d+)(?::(\d+))?$/.exec(argument);
  if (match === null) throw fail();
  const start = Number(match[1]);
  return value.slice(start, match[2] === undefined ? undefined : start + Number(match[2]));
}

/** The brace that closes the one before `from`; -1 = none. */
function closingBrace(source: string, from: number): number {
  let depth = 1;
  for (let i = from; i < source.length; i++) {
    if (source[i] === '{') depth++;
    else if (source[i] === '}' && --depth === 0) return i;
  }
  return -1;
}
