// Search of one source: from a query to the newest matching traces with their spansets.
import type { Query } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import type { SpanSource, TraceFacts } from '../source.ts';
import { compareBytes } from './entry-test.ts';
import { traceIdText } from './json.ts';
import { type Matches, runStages } from './pipeline.ts';
import { ResultWriter } from './result.ts';
import { type Rows, Scan } from './scan.ts';
import { shownFields } from './shown-field.ts';

const NANOS_PER_MICRO = 1_000;

/** One found trace; the same shape as FoundTrace of the query contract. */
export interface FoundTrace {
  /** Hex without leading zeros. */
  readonly traceId: string;
  readonly startUnixNano: bigint;
  /** TraceSearchMetadata as JSON, UTF-8. */
  readonly json: Uint8Array;
}

export interface SearchOptions {
  readonly limit: number;
  /** 0 = all. */
  readonly spansPerSpanSet: number;
  readonly startUnixNano?: bigint | undefined;
  readonly endUnixNano?: bigint | undefined;
  /** Ordinals of traces that are answered elsewhere. */
  readonly excludeTraces?: Bitset | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SearchOutcome {
  /** Newest first, at most `limit`. */
  readonly found: readonly FoundTrace[];
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  /** All that match, shown or not. */
  readonly matchedTraces: number;
}

/** The query must be valid (`validate`). Throws TraceqlError for what cannot be executed. */
export async function searchSource(
  query: Query,
  source: SpanSource,
  options: SearchOptions,
): Promise<SearchOutcome> {
  const bytesBefore = source.bytesRead;
  const times = await source.traceTimes(options.signal);
  const traces = tracesInScope(source, times, options);
  const outcome = (found: readonly FoundTrace[], matchedTraces: number): SearchOutcome => ({
    found,
    matchedTraces,
    inspectedTraces: source.traceCount,
    inspectedSpans: source.spanCount,
    inspectedBytes: source.bytesRead - bytesBefore,
  });
  if (source.traceCount === 0 || traces?.isEmpty()) return outcome([], 0);

  const scan = new Scan(source, traces, options.signal);
  const matches = await runStages(scan, query.stages);
  const matched = matches.traces();
  const chosen = newest(matched, times.startMicros, options.limit);
  if (chosen.length === 0) return outcome([], matched.length);
  const facts = await newestFacts(source, chosen, options);
  const found = await materialise(scan, query, matches, facts, options.spansPerSpanSet);
  return outcome(found, matched.length);
}

/** Traces that overlap the time range and are not excluded; undefined = all. */
function tracesInScope(
  source: SpanSource,
  times: { readonly startMicros: Float64Array; readonly endMicros: Float64Array },
  options: SearchOptions,
): Bitset | undefined {
  const { startUnixNano, endUnixNano, excludeTraces } = options;
  const from = startUnixNano === undefined ? -Infinity : Number(startUnixNano) / NANOS_PER_MICRO;
  const to = endUnixNano === undefined ? Infinity : Number(endUnixNano) / NANOS_PER_MICRO;
  const inScope = new Bitset(source.traceCount);
  let count = 0;
  for (let i = 0; i < source.traceCount; i++) {
    if (times.startMicros[i]! > to || times.endMicros[i]! < from) continue;
    if (excludeTraces?.has(i)) continue;
    inScope.add(i);
    count++;
  }
  return count === source.traceCount ? undefined : inScope;
}

/**
 * The newest `limit` traces, and those that cannot be told from the last of them at a microsecond.
 * Ascending ordinals.
 */
function newest(traces: Int32Array, startMicros: Float64Array, limit: number): Int32Array {
  if (traces.length <= limit || limit <= 0) return limit <= 0 ? traces.subarray(0, 0) : traces;
  const starts = new Float64Array(traces.length);
  for (let i = 0; i < traces.length; i++) starts[i] = Math.floor(startMicros[traces[i]!]!);
  const oldest = nthLargest(starts, limit);
  return traces.filter((_, i) => starts[i]! >= oldest);
}

/** Up to this many the largest are kept in order while passing over the numbers; sorting pays above. */
const KEPT_MAX = 128;

/** @param n from 1 to the length. */
function nthLargest(numbers: Float64Array, n: number): number {
  if (n > KEPT_MAX) return numbers.slice().sort()[numbers.length - n]!;
  const kept = numbers.slice(0, n).sort();
  for (let i = n; i < numbers.length; i++) {
    const number = numbers[i]!;
    if (number <= kept[0]!) continue;
    let at = 0;
    while (at + 1 < n && kept[at + 1]! < number) {
      kept[at] = kept[at + 1]!;
      at++;
    }
    kept[at] = number;
  }
  return kept[0]!;
}

interface OrderedFacts {
  readonly trace: number;
  readonly facts: TraceFacts;
}

async function newestFacts(
  source: SpanSource,
  chosen: Int32Array,
  options: SearchOptions,
): Promise<readonly OrderedFacts[]> {
  const facts = await source.facts(chosen, options.signal);
  const ordered = facts.map((fact, i) => ({ trace: chosen[i]!, facts: fact }));
  ordered.sort((a, b) => {
    const difference = b.facts.startUnixNano - a.facts.startUnixNano;
    return difference === 0n ? compareBytes(a.facts.id, b.facts.id) : difference < 0n ? -1 : 1;
  });
  return ordered.slice(0, options.limit);
}

async function materialise(
  scan: Scan,
  query: Query,
  matches: Matches,
  ordered: readonly OrderedFacts[],
  spansPerSet: number,
): Promise<FoundTrace[]> {
  const ids = Int32Array.from(ordered, ({ trace }) => trace).sort();
  const rows: Rows | undefined = scan.rowsOfTraces(ids);
  const writer = await ResultWriter.load(scan, shownFields(query), rows, spansPerSet);
  const wanted = new Bitset(scan.source.traceCount);
  for (const id of ids) wanted.add(id);
  const setsOf = matches.spansets(wanted);
  return ordered.map(({ trace, facts }) => ({
    traceId: traceIdText(facts.id),
    startUnixNano: facts.startUnixNano,
    json: writer.trace(facts, setsOf.get(trace)!),
  }));
}
