// The pages of docs/reference that follow from the description of the configuration: every key, every flag,
// every old key, and which of them have an effect.
import { rootBlock } from '../../src/app/config.ts';
import { IGNORED_FLAGS } from '../../src/app/ignored-flags.ts';
import { propertyName, type Field } from '../../src/config/field.ts';
import { flagsOf } from '../../src/config/flags.ts';
import { HOSTNAME } from '../../src/config/shared-blocks.ts';
import { formatDuration } from '../../src/lib/duration.ts';
import { formatSize } from '../../src/lib/size.ts';

export interface Key {
  readonly path: string;
  readonly field: Field;
  /** Its name in the loaded configuration. */
  readonly property: string;
}

/** Every key of the description that is no block. */
export function allKeys(): readonly Key[] {
  return leaves(rootBlock, '', '');
}

function leaves(field: Field, path: string, property: string): Key[] {
  const inner = field.kind === 'optional' ? field.field : field;
  if (inner.kind !== 'block') return [{ path, field, property }];
  return Object.entries(inner.shape).flatMap(([key, child]) =>
    leaves(child, path === '' ? key : `${path}.${key}`, propertyName(key, child)),
  );
}

function typeText(field: Field): string {
  switch (field.kind) {
    case 'optional':
      return typeText(field.field);
    case 'bool':
      return 'true or false';
    case 'int':
    case 'float':
      return 'number';
    case 'enum':
      return field.values.filter((value) => value !== '').join(', ');
    case 'raw':
      return 'any';
    case 'block':
      return 'block';
    default:
      return field.kind;
  }
}

function defaultText(field: Field): string {
  if (field.kind === 'optional' || field.kind === 'block') return 'unset';
  const value = field.default;
  if (value === undefined || value === null || value === '') return 'unset';
  if (value === HOSTNAME) return 'name of the host';
  if (Array.isArray(value) && value.length > 6) return `list of ${value.length}`;
  if (field.kind === 'duration') return `\`${formatDuration(field.default)}\``;
  if (field.kind === 'size') return `\`${formatSize(field.default)}\``;
  return `\`${typeof value === 'object' ? JSON.stringify(value) : String(value as string | number)}\``;
}

/** A cell of a table. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

interface Effects {
  readonly inEffect: ReadonlySet<string>;
  /** Why they are not. */
  readonly notNeeded: ReadonlyMap<string, string>;
}

function section(name: string, block: Field, keys: readonly Key[], { inEffect, notNeeded }: Effects): string {
  const flags = new Map(flagsOf(rootBlock).map((flag) => [flag.path, flag.name]));
  const shown = (path: string): string => (name === '' ? path : path.slice(name.length + 1));
  const read = keys.filter((key) => inEffect.has(key.path));
  const unneeded = keys.filter(({ path }) => notNeeded.has(path));
  const unread = keys
    .filter((key) => !read.includes(key) && !unneeded.includes(key))
    .map(({ path }) => `\`${shown(path)}\``);
  const rows = read.map(({ path, field }) => {
    const flag = flags.get(path);
    const more = [field.ours === true ? 'no key of Tempo' : '', flag === undefined ? '' : `\`-${flag}\``];
    const doc = [field.doc, ...more].filter((part) => part !== '').join('; ');
    return `| \`${shown(path)}\` | ${typeText(field)} | ${defaultText(field)} | ${cell(doc)} |\n`;
  });
  const head = '| key | type | default | meaning; flag |\n| --- | --- | --- | --- |\n';
  const title = name === '' ? 'Top level' : `\`${name}\``;
  const doc =
    block.doc === '' || name === '' ? '' : `${block.doc[0]?.toUpperCase()}${block.doc.slice(1)}.\n\n`;
  const table = rows.length === 0 ? '' : `${head}${rows.join('')}\n`;
  const rest = unread.length === 0 ? '' : `Accepted, without effect in this build: ${unread.join(', ')}.\n\n`;
  const reasons = unneeded.map(({ path }) => `| \`${shown(path)}\` | ${cell(notNeeded.get(path)!)} |\n`);
  const why =
    reasons.length === 0 ? '' : `| accepted, not needed | why |\n| --- | --- |\n${reasons.join('')}\n`;
  return `## ${title}\n\n${doc}${table}${rest}${why}`;
}

const GENERATED = 'Generated from the description in the code by `npm run docs`; a test keeps it true.';

export function configPage(effects: Effects): string {
  const top = Object.entries(rootBlock.shape);
  const single = top.filter(([, field]) => field.kind !== 'block');
  const blocks = top.filter(([, field]) => field.kind === 'block');
  const sections = [
    section(
      '',
      rootBlock,
      single.flatMap(([key, field]) => leaves(field, key, propertyName(key, field))),
      effects,
    ),
    ...blocks.map(([key, field]) => section(key, field, leaves(field, key, key), effects)),
  ];
  return `# Configuration

${GENERATED}

A YAML file given with \`-config.file\`; flags win over it. \`\${NAME}\` and \`\${NAME:-default}\` are
replaced with \`-config.expand-env=true\`. Keys and defaults are those of Tempo 2.10.8, and the keys of 3.0.3
are known too. An unknown key is an error with its line and the nearest known key. \`-config.verify\`
tells what is doubtful, \`-config.verify=strict\` fails at it. \`/status/config?mode=diff\` shows what
differs from the defaults.

A duration is a number with a unit (\`1h30m\`). Without a unit it is nanoseconds, but in a few limits of
tenants, where Tempo needs one too, and in flags; in place of a negative one 0 is used, with a warning, where
it is not refused as by Tempo (retention, and what needs a unit).

${sections.join('')}${oldKeys()}`;
}

function oldKeys(): string {
  const rows = describedOldKeys(rootBlock, '')
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([old, now]) => `| \`${old}\` | ${now === '' ? 'ignored' : `\`${now}\``} |\n`);
  return `## Old keys

Taken with a warning each.

| key | now |
| --- | --- |
${rows.join('')}`;
}

function describedOldKeys(field: Field, path: string): [string, string][] {
  if (field.kind === 'optional') return describedOldKeys(field.field, path);
  if (field.kind !== 'block') return [];
  const at = (key: string): string => (path === '' ? key : `${path}.${key}`);
  return [
    ...(field.obsolete ?? []).map((key): [string, string] => [at(key), '']),
    ...Object.entries(field.aliases ?? {}).map(([old, now]): [string, string] => [at(old), at(now)]),
    ...Object.entries(field.shape).flatMap(([key, child]) => describedOldKeys(child, at(key))),
  ];
}

export function flagsPage(inEffect: ReadonlySet<string>): string {
  const rows = [...flagsOf(rootBlock), ...IGNORED_FLAGS]
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, path }) => {
      const key = path === undefined ? '' : `\`${path}\``;
      return `| \`-${name}\` | ${key} | ${inEffect.has(path ?? '') ? '' : 'no'} |\n`;
    });
  return `# Flags

${GENERATED}

\`-name=value\`, \`-name value\`, with one dash or two; a boolean needs no value. Besides there are
\`-config.file\`, \`-config.expand-env\`, \`-config.verify\` (\`strict\` = fail at warnings), \`-version\`
and \`-help\`. Each flag stands for a key of the [configuration](config.md) and wins over the file.

| flag | key | in effect |
| --- | --- | --- |
${rows.join('')}`;
}
