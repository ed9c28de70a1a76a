// A tree of YAML (or of flags) to the typed configuration that a description stands for. Strict: all that is
// not understood is a problem, and all problems are found in one go.
import { formatDuration, parseDuration } from '../lib/duration.ts';
import { nearest } from '../lib/nearest.ts';
import { parseSize } from '../lib/size.ts';
import { joinPath } from './aliases.ts';
import type { Notes } from './errors.ts';
import { propertyName, type BlockField, type DurationField, type Field, type Shape } from './field.ts';
import { parseAny, parseBool, parseFloating, parseInteger } from './scalar.ts';
import { isNull, type YamlNode, type YamlScalar } from './yaml.ts';

/**
 * @param node undefined = the key is absent. What has a problem gets its default.
 */
export function decode(field: Field, node: YamlNode | undefined, path: string, notes: Notes): unknown {
  if (field.kind === 'optional') {
    const isNone = node === undefined || (field.orNull === true && isEmpty(node));
    return isNone ? undefined : decode(field.field, node, path, notes);
  }
  const absent = node === undefined || isEmpty(node);
  if (field.kind === 'block') return decodeBlock(field, absent ? undefined : node, path, notes);
  if (absent) return field.default;
  const refuse = (text: string, at = node.at): unknown => {
    notes.problems.push({ at, path, text });
    return field.default;
  };
  switch (field.kind) {
    case 'raw':
      return rawValue(node);
    case 'list': {
      if (node.kind === 'list') {
        return node.items.map((item, i) => decode(field.item, item, `${path}[${i}]`, notes));
      }
      if (node.kind === 'scalar' && field.orText === true) {
        return node.text
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '');
      }
      return refuse(`needs a list, found ${describe(node)}`);
    }
    case 'map': {
      if (node.kind !== 'map') return refuse(`needs a map, found ${describe(node, field)}`);
      const entries = [...node.entries].map(([key, entry]) => [
        key,
        decode(field.value, entry.value, joinPath(path, key), notes),
      ]);
      return Object.fromEntries(entries) as unknown;
    }
    default: {
      if (node.kind !== 'scalar') return refuse(`needs ${NEEDS[field.kind]}, found ${describe(node)}`);
      const value = decodeScalar(field, node);
      if (value instanceof Error) return refuse(value.message);
      if (field.kind === 'duration') warnOfDuration(field, node, { path, notes });
      return value;
    }
  }
}

function isEmpty(node: YamlNode): boolean {
  return node.kind === 'scalar' && isNull(node);
}

type ScalarField = Extract<Field, { kind: 'text' | 'bool' | 'int' | 'float' | 'duration' | 'size' | 'enum' }>;

const NEEDS: Readonly<Record<ScalarField['kind'], string>> = {
  text: 'text',
  bool: 'true or false',
  int: 'a whole number',
  float: 'a number',
  duration: 'a duration such as 30s or 1h30m',
  size: 'a size such as 64KiB',
  enum: 'one of its values',
};

function decodeScalar(field: ScalarField, node: YamlScalar): unknown {
  const { text } = node;
  const wrong = new Error(`needs ${NEEDS[field.kind]}, found ${describe(node)}`);
  switch (field.kind) {
    case 'text':
      return text;
    case 'bool':
      return (node.quoted ? undefined : parseBool(text)) ?? wrong;
    case 'int': {
      const value = node.quoted ? undefined : parseInteger(text);
      if (value !== undefined && !Number.isSafeInteger(value)) return new Error(`${text} is too large`);
      return value ?? wrong;
    }
    case 'float':
      return (node.quoted ? undefined : parseFloating(text)) ?? wrong;
    case 'duration':
      return decodeDuration(field, node);
    case 'size':
      return attempt(parseSize, text.replaceAll('_', ''));
    case 'enum': {
      if (field.values.includes(text)) return text;
      const known = field.values.filter((value) => value !== '').join(', ');
      return new Error(`unknown value "${text}"${proposal(text, field.values)}; known: ${known}`);
    }
  }
}

/** A number in a file is nanoseconds where Tempo has a duration of Go's; those of Prometheus need a unit. */
function decodeDuration(field: DurationField, node: YamlScalar): unknown {
  const { text } = node;
  const value = (field.days === true ? undefined : bareNanos(node)) ?? attempt(parseDuration, text);
  if (typeof value !== 'number' || value >= 0) return value;
  return field.refusesNegative === true ? new Error(`"${text}" is negative`) : 0;
}

const NS_IN_MS = 1_000_000;
/** As many nanoseconds as fit a Go duration. */
const NANOS_MAX = 2 ** 63;

/** @returns milliseconds; undefined = it is no number, or has to be read as a text with a unit. */
function bareNanos({ isFlag, quoted, text }: YamlScalar): number | Error | undefined {
  const number = isFlag === true || quoted ? undefined : (parseInteger(text) ?? parseFloating(text));
  if (number === undefined) return undefined;
  if (!(Math.abs(number) <= NANOS_MAX)) return new Error(`${text} is too large: a number is nanoseconds`);
  return Math.abs(number) === NANOS_MAX ? Math.sign(number) * Infinity : Math.trunc(number) / NS_IN_MS;
}

/** What Tempo reads otherwise, and what looks as if something else were meant. */
function warnOfDuration(
  field: DurationField,
  node: YamlScalar,
  { path, notes }: { readonly path: string; readonly notes: Notes },
): void {
  const { at, text } = node;
  const warn = (about: string): void => void notes.warnings.push({ at, path, text: about });
  const bareMs = field.days === true ? undefined : bareNanos(node);
  const ms = typeof bareMs === 'number' ? bareMs : parseDuration(text);
  if (ms < 0) warn(`${text} is negative, 0s is used`);
  else if (bareMs !== undefined && ms > 0 && ms < 1) {
    warn(`${text} is ${formatDuration(ms)}: a number without a unit is nanoseconds`);
  } else if (field.days !== true && /[dwy]/.test(text)) {
    const inHours = formatDuration(ms).replace(/(h)0m0s$/, '$1');
    warn(`Tempo reads no days, weeks or years here: ${text} is ${inHours}`);
  }
}

function attempt(parse: (text: string) => number, text: string): unknown {
  try {
    return parse(text);
  } catch (err) {
    return err;
  }
}

function decodeBlock(
  field: BlockField<Shape>,
  node: YamlNode | undefined,
  path: string,
  notes: Notes,
): unknown {
  if (node !== undefined && node.kind !== 'map') {
    notes.problems.push({ at: node.at, path, text: `needs keys and values, found ${describe(node, field)}` });
    return decodeBlock(field, undefined, path, notes);
  }
  for (const [key, entry] of node?.entries ?? []) {
    if (Object.hasOwn(field.shape, key)) continue;
    const text = `unknown key${proposal(key, Object.keys(field.shape))}`;
    notes.problems.push({ at: entry.at, path: joinPath(path, key), text });
  }
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(field.shape)) {
    const value = node?.entries.get(key)?.value;
    out[propertyName(key, child)] = decode(child, value, joinPath(path, key), notes);
  }
  return out;
}

function rawValue(node: YamlNode): unknown {
  if (node.kind === 'scalar') return parseAny(node.text, node.quoted);
  if (node.kind === 'list') return node.items.map(rawValue);
  return Object.fromEntries([...node.entries].map(([key, entry]) => [key, rawValue(entry.value)]));
}

function proposal(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** @param field what it should have been: the text may be a secret in the wrong place. */
function describe(node: YamlNode, field?: Field): string {
  if (node.kind === 'list') return 'a list';
  if (node.kind === 'map') return 'a map';
  const fields = field?.kind === 'block' ? Object.values(field.shape) : [field];
  if (fields.some((one) => one?.secret === true)) return 'a text';
  return node.quoted ? `the text "${node.text}"` : `"${node.text}"`;
}
