// `tempo-cli compare`: replays queries against two servers and prints where their answers differ.
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { eachConcurrently } from '../../src/lib/concurrent.ts';
import { parseDuration } from '../../src/lib/duration.ts';
import { type Asked, madePaths, pathsOf } from './queries.ts';
import { type Answer, ask, type ServerOptions } from './server-api.ts';

interface CompareFlags {
  readonly a: string;
  readonly b: string;
  readonly orgId?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly queries?: string;
  readonly start: number;
  readonly end: number;
  readonly limit: number;
  readonly tags: number;
  readonly timeout: number;
}

const EXIT_SAME = 0;
const EXIT_DIFFERENT = 1;
const IN_FLIGHT = 4;
/** Of an answer around the first difference. */
const SHOWN_CHARACTERS = 300;

/** @param exit is told the status of the process. */
export function compareCommand(exit: (code: number) => void): Command {
  return new Command('compare')
    .exitOverride()
    .description(
      'replay queries against two servers and print the differences; ' +
        'status 1 when there are any, 2 when a server cannot be asked',
    )
    .requiredOption('--a <url>', 'the first server, as http://tempo:3200', urlOf)
    .requiredOption('--b <url>', 'the second server', urlOf)
    .option('--org-id <tenant>', 'X-Scope-OrgID of all requests')
    .option('--header <name=value>', 'one more header of all requests; may be repeated', headerOf)
    .option(
      '--queries <file>',
      'a path (/api/…) or a TraceQL query a line; else made from the tags of the first server',
    )
    .addOption(timeOption('--start <time>', 'RFC 3339, unix seconds, now or now-1h', 'now-1h'))
    .addOption(timeOption('--end <time>', 'as --start', 'now'))
    .option('--limit <traces>', 'traces of a search', countOf, 1000)
    .option('--tags <count>', 'tags of a scope that queries are made from', countOf, 10)
    .addOption(
      new Option('--timeout <duration>', 'of one request')
        .argParser(durationOf)
        .default(parseDuration('60s'), '60s'),
    )
    .action(async (flags: CompareFlags) => exit(await compare(flags)));
}

async function compare(flags: CompareFlags): Promise<number> {
  const { orgId, header, timeout: timeoutMs } = flags;
  const headers = { ...(orgId === undefined ? {} : { 'x-scope-orgid': orgId }), ...header };
  const a: ServerOptions = { url: flags.a, headers, timeoutMs };
  const b: ServerOptions = { ...a, url: flags.b };
  const asked: Asked = { startSec: flags.start, endSec: flags.end, limit: flags.limit, tagsMax: flags.tags };
  const paths =
    flags.queries === undefined
      ? await madePaths(a, asked)
      : pathsOf(readFileSync(flags.queries, 'utf8'), asked);
  const found = new Map<string, readonly string[]>();
  let incomparable = 0;
  await eachConcurrently(paths, IN_FLIGHT, async (path) => {
    const [left, right] = await Promise.all([ask(a, path), ask(b, path)]);
    if (isCut(path, left) && isCut(path, right)) incomparable++;
    else found.set(path, differences(left, right));
  });
  let different = 0;
  for (const path of paths) {
    const lines = found.get(path) ?? [];
    if (lines.length === 0) continue;
    different++;
    print([path, ...lines.map((line) => `  ${line}`)]);
  }
  const cut = incomparable === 0 ? '' : `, ${incomparable} with more than --limit traces are not compared`;
  print([`${paths.length} queries, ${different} answered differently${cut}`]);
  return different > 0 ? EXIT_DIFFERENT : EXIT_SAME;
}

/** With more traces than the limit each server may choose others. */
function isCut(path: string, { body }: Answer): boolean {
  const limit = Number(new URLSearchParams(path.split('?')[1]).get('limit') ?? 0);
  const { traces } = body as { traces?: readonly unknown[] };
  return limit > 0 && path.startsWith('/api/search?') && traces !== undefined && traces.length >= limit;
}

function differences(a: Answer, b: Answer): string[] {
  const lines: string[] = [];
  if (a.status !== b.status) lines.push(`a: status ${a.status}`, `b: status ${b.status}`);
  if (a.partial !== b.partial) {
    lines.push(`a: ${a.partial || 'complete'}`, `b: ${b.partial || 'complete'}`);
  }
  if (a.text === b.text) return lines;
  let at = 0;
  while (at < a.text.length && a.text[at] === b.text[at]) at++;
  const from = Math.max(0, at - SHOWN_CHARACTERS / 2);
  const shown = (text: string): string => (from > 0 ? '…' : '') + text.slice(from, from + SHOWN_CHARACTERS);
  return [...lines, `a: ${shown(a.text)}`, `b: ${shown(b.text)}`];
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function urlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new InvalidArgumentError('Write it as http://tempo:3200.');
  }
  return url.href.replace(/\/+$/, '');
}

function headerOf(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write name=value.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** The help shows the default as it would be written. */
function timeOption(flags: string, description: string, byDefault: string): Option {
  return new Option(flags, description).argParser(timeOf).default(timeOf(byDefault), byDefault);
}

/** Unix seconds. */
function timeOf(text: string): number {
  const nowSec = Math.floor(Date.now() / 1000);
  const ago = /^now(?:-(.+))?$/.exec(text);
  if (ago !== null) return nowSec - (ago[1] === undefined ? 0 : Math.floor(durationOf(ago[1]) / 1000));
  if (/^\d+$/.test(text)) return Number(text);
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('Write RFC 3339, unix seconds, now or now-1h.');
  return Math.floor(ms / 1000);
}

function countOf(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Write a whole number.');
  return Number(text);
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (err) {
    throw new InvalidArgumentError(err instanceof Error ? `${err.message}.` : 'Write 30s or 5m.');
  }
}
