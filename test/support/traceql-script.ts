// The text format of test/traceql/*.test: spans, queries and what they must find, without a word about the
// engine.
//
//   load
//     1:1 name="GET /" service="shop" dur=5ms span.a=1        trace 1, span 1
//     1:2 parent=1 event.name="e" event.at=1ms event.k="v"    event2., event3. for more; link. likewise
//   eval { span.a = 1 }
//     1: 1                                                    one line a spanset: trace, spans, attributes
//   eval_shown { span.a = 1 }
//     1:1 a=1                                                 one line a span: what the result shows of it
//   eval_fail { foo }
//     unknown identifier: foo                                 a part of the error's text
//   eval_range, eval_instant, eval_exemplars                metrics-script.ts
//
// Traces are expected newest first when they differ in start (start=10ms), as answers are. `none` =
// nothing is found.
import { parse } from '../../src/traceql/parser.ts';
import { searchSource } from '../../src/traceql/engine/search.ts';
import type { SpanSource } from '../../src/traceql/source.ts';
import { validate } from '../../src/traceql/validate.ts';
import { type AskMetrics, askSources, type MetricsAsked, readAsked, seriesLines } from './metrics-script.ts';
import { type TestSpan, type Value, START_NANO, aResource, aScope, aSpan, hexId } from './otlp.ts';

const KINDS_OF_STEPS = [
  'eval',
  'eval_shown',
  'eval_fail',
  'eval_range',
  'eval_instant',
  'eval_exemplars',
] as const;
type StepKind = (typeof KINDS_OF_STEPS)[number];

export interface ScriptStep {
  readonly line: number;
  readonly kind: StepKind;
  readonly query: string;
  /** Of a step that asks for metrics. */
  readonly asked?: MetricsAsked | undefined;
  readonly expected: readonly string[];
  readonly load: Load;
}

export interface Load {
  readonly lines: readonly string[];
}

export function readScript(text: string): ScriptStep[] {
  const steps: ScriptStep[] = [];
  let block: string[] = [];
  let load: Load = { lines: block };
  text.split('\n').forEach((raw, i) => {
    const line = raw.trimEnd();
    if (line === '' || line.startsWith('#')) return;
    if (line.startsWith(' ')) {
      block.push(line.trim());
      return;
    }
    const [, word, query] = /^(\S+)\s*(.*)$/.exec(line)!;
    if (word === 'load') {
      block = [];
      load = { lines: block };
      return;
    }
    const kind = KINDS_OF_STEPS.find((one) => one === word);
    if (kind === undefined) throw new Error(`line ${i + 1}: unknown ${word}`);
    block = [];
    const asked = /range|instant|exemplars/.test(kind) ? readAsked(kind, query!) : undefined;
    steps.push({ line: i + 1, kind, query: asked?.text ?? query!, asked, expected: block, load });
  });
  return steps;
}

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];
const STATUSES = ['unset', 'ok', 'error'];

/** A name, or a number that has none. */
function numberOf(names: readonly string[], text: string): number {
  return names.includes(text) ? names.indexOf(text) : Number(text);
}
const UNITS: Record<string, bigint> = { ns: 1n, us: 1_000n, ms: 1_000_000n, s: 1_000_000_000n };

export function readSpans({ lines }: Load): TestSpan[] {
  const shared = new Map<string, unknown>();
  const intern = <T>(value: T): T => {
    const key = JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v));
    if (!shared.has(key)) shared.set(key, value);
    return shared.get(key) as T;
  };
  return lines.map((line) => {
    const [, trace, id, rest] = /^(\d+):(\d+)\s*(.*)$/.exec(line)!;
    const span = aSpan({ traceId: hexId(Number(trace), 16), spanId: hexId(Number(id), 8) });
    span.resource = aResource('shop');
    span.scope = aScope();
    let duration = 1_000_000n;
    for (const [, key, text] of rest!.matchAll(/(\S+?)=("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\S+)/g)) {
      if (key === 'dur') duration = nanos(text!);
      else set(span, key!, text!);
    }
    span.endUnixNano = span.startUnixNano + duration;
    span.resource = intern(span.resource);
    span.scope = intern(span.scope);
    return span;
  });
}

function nanos(text: string): bigint {
  const [, number, unit] = /^(\d+)(\w+)$/.exec(text)!;
  return BigInt(number!) * UNITS[unit!]!;
}

function set(span: TestSpan, key: string, text: string): void {
  const setters: Record<string, () => void> = {
    parent: () => (span.parentSpanId = hexId(Number(text), 8)),
    name: () => (span.name = JSON.parse(text) as string),
    service: () => (span.resource = aResource(JSON.parse(text) as string, span.resource.attributes.slice(1))),
    kind: () => (span.kind = numberOf(KINDS, text)),
    status: () => (span.status.code = numberOf(STATUSES, text)),
    message: () => (span.status.message = JSON.parse(text) as string),
    start: () => (span.startUnixNano = START_NANO + nanos(text)),
    'scope.name': () => (span.scope.name = JSON.parse(text) as string),
    'scope.version': () => (span.scope.version = JSON.parse(text) as string),
  };
  const setter = setters[key];
  if (setter) return setter();
  const [, scope, index, name] = /^([a-z]+)(\d*)\.(.+)$/.exec(key)!;
  const at = Number(index || '1') - 1;
  if (scope === 'span') span.attributes.push([name!, readValue(text)]);
  else if (scope === 'resource') span.resource.attributes.push([name!, readValue(text)]);
  else if (scope === 'scope') span.scope.attributes.push([name!, readValue(text)]);
  else if (scope === 'event') setEvent(span, at, name!, text);
  else setLink(span, at, name!, text);
}

function setEvent(span: TestSpan, at: number, name: string, text: string): void {
  span.events[at] ??= { timeUnixNano: span.startUnixNano, name: '', attributes: [], droppedAttributes: 0 };
  const event = span.events[at];
  if (name === 'name') event.name = JSON.parse(text) as string;
  else if (name === 'at') event.timeUnixNano = span.startUnixNano + nanos(text);
  else event.attributes.push([name, readValue(text)]);
}

function setLink(span: TestSpan, at: number, name: string, text: string): void {
  span.links[at] ??= {
    traceId: hexId(0, 16),
    spanId: hexId(0, 8),
    traceState: '',
    attributes: [],
    droppedAttributes: 0,
  };
  const link = span.links[at];
  if (name === 'trace') link.traceId = hexId(Number(text), 16);
  else if (name === 'span') link.spanId = hexId(Number(text), 8);
  else link.attributes.push([name, readValue(text)]);
}

/** "text", true, 5 (int), 5.0 (float), [1,2]. */
function readValue(text: string): Value {
  if (text.startsWith('[')) {
    return text
      .slice(1, -1)
      .split(',')
      .filter((part) => part !== '')
      .map((part) => readValue(part.trim()));
  }
  if (text.startsWith('"')) return JSON.parse(text) as string;
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?\d+$/.test(text) ? BigInt(text) : Number(text);
}

interface ShownAttribute {
  key: string;
  value: Record<string, unknown>;
}

interface ShownTrace {
  traceID: string;
  spanSets: {
    spans: { spanID: string; name?: string; attributes?: ShownAttribute[] }[];
    matched: number;
    attributes?: ShownAttribute[];
  }[];
}

/** Finds traces: their JSON, newest first. Throws what is wrong with the query. */
export type Search = (query: string) => Promise<readonly Uint8Array[]>;

/** Where the spans of a script are. */
export interface Answering {
  readonly search: Search;
  readonly metrics: AskMetrics;
}

export function answeringOf(source: SpanSource): Answering {
  return {
    search: async (text) => {
      const query = parse(text);
      validate(query);
      const { found } = await searchSource(query, source, { limit: 1000, spansPerSpanSet: 0 });
      return found.map(({ json }) => json);
    },
    metrics: async (asked) => askSources(asked, [source]),
  };
}

/** What a step gives, in the form of its expectation. */
export async function runStep(step: ScriptStep, { search, metrics }: Answering): Promise<string[]> {
  try {
    if (step.asked !== undefined) {
      const series = seriesLines(step.asked, await metrics(step.asked));
      return series.length === 0 ? ['none'] : series;
    }
    const found = await search(step.query);
    const traces = found.map((json) => JSON.parse(new TextDecoder().decode(json)) as ShownTrace);
    const lines = step.kind === 'eval_shown' ? traces.flatMap(shownLines) : traces.flatMap(spansetLines);
    return lines.length === 0 ? ['none'] : lines;
  } catch (error) {
    return [(error as Error).message];
  }
}

function spansetLines(trace: ShownTrace): string[] {
  return trace.spanSets.map((set) => {
    const ids = set.spans.map((span) => Number.parseInt(span.spanID, 16)).sort((a, b) => a - b);
    const attributes = (set.attributes ?? []).map(shown);
    return [`${Number.parseInt(trace.traceID, 16)}: ${ids.join(' ')}`, ...attributes].join(' ');
  });
}

function shownLines(trace: ShownTrace): string[] {
  return trace.spanSets.flatMap((set) =>
    set.spans.map((span) => {
      const id = `${Number.parseInt(trace.traceID, 16)}:${Number.parseInt(span.spanID, 16)}`;
      const name = span.name === undefined ? [] : [`name=${JSON.stringify(span.name)}`];
      return [id, ...name, ...(span.attributes ?? []).map(shown)].join(' ');
    }),
  );
}

function shown({ key, value }: ShownAttribute): string {
  return `${key}=${shownValue(value)}`;
}

function shownValue(value: Record<string, unknown>): string {
  if ('stringValue' in value) return JSON.stringify(value['stringValue']);
  if ('arrayValue' in value) {
    const { values } = value['arrayValue'] as { values: Record<string, unknown>[] };
    return `[${values.map(shownValue).join()}]`;
  }
  const [only] = Object.values(value);
  return 'doubleValue' in value && Number.isInteger(only) ? `${String(only)}.0` : String(only);
}
