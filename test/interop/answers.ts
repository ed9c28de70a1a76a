// Asks a server for traces and searches, in a form that does not depend on order, and tells where two
// servers differ.
import { canonical, canonicalTrace } from '../support/canonical.ts';
import { decodeTraces } from '../support/otlp.ts';
import type { RunningTempo } from '../support/server.ts';
import type { Corpus } from './corpus.ts';

/** By what was asked. Canonical bodies as JSON text, other than 200 with their status only. */
export type Answers = ReadonlyMap<string, string>;

const IN_FLIGHT = 4;
const TRACES_MAX = 300;
const LIMIT = '100000';
/** More than any spanset has, so that all spans are compared. */
const SPANS_PER_SPANSET = '1000';
const BRIEF = 400;

/** Trace by id v1 and v2 as JSON, and v1 as protobuf; of many traces a sample. */
export async function askTraces(tempo: RunningTempo, corpus: Corpus): Promise<Answers> {
  const stride = Math.max(1, Math.ceil(corpus.traceIds.length / TRACES_MAX));
  const ids = corpus.traceIds.filter((_, i) => i % stride === 0);
  const answers = new Map<string, string>();
  await inTurns([...ids, '0123456789abcdef0123456789abcdef'], async (id) => {
    for (const path of [`/api/traces/${id}`, `/api/v2/traces/${id}`]) {
      answers.set(path, await bodyOf(await tempo.get(path), (text) => canonicalTrace(JSON.parse(text))));
    }
    const protobuf = await fetch(`${tempo.url}/api/traces/${id}`, {
      headers: { accept: 'application/protobuf' },
    });
    const bytes = new Uint8Array(await protobuf.arrayBuffer());
    answers.set(`${id} as protobuf`, protobuf.ok ? spansText(bytes) : `status ${protobuf.status}`);
  });
  return answers;
}

export async function askSearches(
  tempo: RunningTempo,
  corpus: Corpus,
  queries: readonly string[],
): Promise<Answers> {
  const answers = new Map<string, string>();
  const { startSec, endSec } = corpus;
  await inTurns(queries, async (q) => {
    const params = new URLSearchParams({
      q,
      limit: LIMIT,
      spss: SPANS_PER_SPANSET,
      start: String(startSec),
      end: String(endSec),
    });
    const response = await tempo.get(`/api/search?${params.toString()}`);
    const partial = response.headers.get('x-tempo-partial');
    const text = await bodyOf(response, (body) => canonical(JSON.parse(body)));
    answers.set(q, partial === null ? text : `partial: ${partial}`);
  });
  return answers;
}

/** How many searches found a trace. */
export function countFound(answers: Answers): number {
  return [...answers.values()].filter((text) => text.includes('"traceID"')).length;
}

/** One line for each question that is not answered alike. */
export function differences(a: Answers, b: Answers): string[] {
  const lines: string[] = [];
  for (const asked of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(asked) ?? 'not asked', b.get(asked) ?? 'not asked'];
    if (left !== right) lines.push(`${asked}: ${firstDifference(left, right)}`);
  }
  return lines;
}

async function bodyOf(response: Response, form: (text: string) => unknown): Promise<string> {
  const text = await response.text();
  return response.status === 200 ? JSON.stringify(form(text)) : `status ${response.status}`;
}

/** The spans of a trace, flat and sorted, so that grouping does not count. */
function spansText(bytes: Uint8Array): string {
  const spans = decodeTraces(bytes).map((span) => JSON.stringify(span, plain));
  return `[${spans.toSorted().join(',')}]`;
}

/** JSON for what it has no form for; attributes sorted. */
function plain(key: string, value: unknown): unknown {
  if (key === 'attributes' && Array.isArray(value)) {
    return value.map((attribute) => JSON.stringify(attribute, plain)).toSorted();
  }
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Object.is(value, -0)) return '-0';
  return value === undefined ? 'none' : value;
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items].reverse();
  const worker = async (): Promise<void> => {
    for (let item = queue.pop(); item !== undefined; item = queue.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

function firstDifference(left: string, right: string): string {
  let at = 0;
  while (at < left.length && left[at] === right[at]) at++;
  const from = Math.max(0, at - BRIEF / 2);
  return `\n  ${left.slice(from, from + BRIEF)}\n  ${right.slice(from, from + BRIEF)}`;
}
