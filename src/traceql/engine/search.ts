// Search of one source: from a query to the first matching traces of an order with their spansets.
import type { Query } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import type { SpanSource, TraceFacts } from '../source.ts';
import { traceIdText } from './json.ts';
import { joinedOwners } from './nested-conditions.ts';
import {
  comparePositions,
  comparing,
  isNewestFirst,
  NEWEST_FIRST,
  positionOf,
  type Ordered,
  type TraceOrder,
  type TracePosition,
} from './order.ts';
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
  readonly durationNanos: bigint;
  /** TraceSearchMetadata as JSON, UTF-8. */
  readonly json: Uint8Array;
}

export interface SearchOptions {
  readonly limit: number;
  /** 0 = all. */
  readonly spansPerSpanSet: number;
  /** Newest first where there is none. */
  readonly order?: TraceOrder | undefined;
  /** Only traces behind it. */
  readonly after?: TracePosition | undefined;
  readonly startUnixNano?: bigint | undefined;
  readonly endUnixNano?: bigint | undefined;
  /**
   * Newest first only: older traces are not in the answer, and that more match than are in it is known.
   */
  readonly notBeforeUnixNano?: bigint | undefined;
  /** Ordinals of traces that are answered elsewhere. */
  readonly excludeTraces?: Bitset | undefined;
  /** Of these some whose matches are told, whatever their times: they may be parts of traces. */
  readonly apartTraces?: Bitset | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SearchOutcome {
  /** In order, at most `limit`. */
  readonly found: readonly FoundTrace[];
  /** More match than were found, behind the last one of these (of those that are not too old). */
  readonly hasMore: boolean;
  readonly inspectedTraces: number;
  readonly inspectedSpans: number;
  readonly inspectedBytes: number;
  /** All that match, shown or not. */
  readonly matchedTraces: number;
  /** Ordinals of those of `apartTraces` that match. */
  readonly matchedApart: Int32Array;
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
  let matchedApart = new Int32Array(0);
  const outcome = (found: readonly FoundTrace[], matchedTraces: number, hasMore: boolean): SearchOutcome => ({
    found,
    matchedApart,
    hasMore,
    matchedTraces,
    inspectedTraces: source.traceCount,
    inspectedSpans: source.spanCount,
    inspectedBytes: source.bytesRead - bytesBefore,
  });
  if (source.traceCount === 0 || traces?.isEmpty()) return outcome([], 0, false);

  const scan = new Scan(source, traces, options.signal);
  const matches = await runStages(scan, query.stages);
  const { apartTraces } = options;
  let matched = matches.traces();
  if (apartTraces !== undefined) {
    matchedApart = those(matched, apartTraces, true);
    matched = those(matched, apartTraces, false);
  }
  const { chosen, areAll } = choose(matched, times, options);
  if (chosen.length === 0) return outcome([], matched.length, !areAll);
  const facts = await factsInOrder(source, chosen, options);
  const shown = facts.slice(0, options.limit);
  const found = await materialise(scan, query, matches, shown, options.spansPerSpanSet);
  return outcome(found, matched.length, !areAll || facts.length > shown.length);
}

/** The traces that are in the set, or those that are not. */
function those(traces: Int32Array, set: Bitset, areIn: boolean): Int32Array<ArrayBuffer> {
  const chosen = new Int32Array(traces.length);
  let count = 0;
  for (let i = 0; i < traces.length; i++) if (set.has(traces[i]!) === areIn) chosen[count++] = traces[i]!;
  return chosen.subarray(0, count);
}

/** Traces that overlap the time range and are not excluded; undefined = all. */
export function tracesInScope(
  source: SpanSource,
  times: { readonly startMicros: Float64Array; readonly endMicros: Float64Array },
  options: Omit<SearchOptions, 'limit' | 'spansPerSpanSet'>,
): Bitset | undefined {
  const { startUnixNano, endUnixNano, notBeforeUnixNano, excludeTraces, apartTraces } = options;
  const from = startUnixNano === undefined ? -Infinity : Number(startUnixNano) / NANOS_PER_MICRO;
  const to = endUnixNano === undefined ? Infinity : Number(endUnixNano) / NANOS_PER_MICRO;
  // times are exact to a microsecond
  const oldest =
    notBeforeUnixNano === undefined ? -Infinity : Number(notBeforeUnixNano) / NANOS_PER_MICRO - 2;
  const inScope = new Bitset(source.traceCount);
  let count = 0;
  for (let i = 0; i < source.traceCount; i++) {
    if (apartTraces?.has(i) !== true) {
      const start = times.startMicros[i]!;
      if (start > to || start < oldest || times.endMicros[i]! < from) continue;
      if (excludeTraces?.has(i)) continue;
    }
    inScope.add(i);
    count++;
  }
  return count === source.traceCount ? undefined : inScope;
}

/** By how much the difference of two times in microseconds, or a place among them, may be off. */
const TOLERANCE_MICROS = 2;

interface Chosen {
  /** Ascending ordinals. */
  readonly chosen: Int32Array;
  /** All that can be asked for, chosen or shown before. */
  readonly areAll: boolean;
}

/** The first `limit` traces in order, and those that cannot be told from the last of them by microseconds. */
function choose(
  matched: Int32Array,
  { startMicros, endMicros }: { readonly startMicros: Float64Array; readonly endMicros: Float64Array },
  { limit, order = NEWEST_FIRST, after }: SearchOptions,
): Chosen {
  if (limit <= 0) return { chosen: matched.subarray(0, 0), areAll: matched.length === 0 };
  if (isNewestFirst(order) && after === undefined) return largest(matched, startMicros, limit, 0);
  const sign = order.isDescending ? 1 : -1;
  const keys = startMicros.map(
    order.by === 'start' ? (start) => sign * start : (start, i) => sign * (endMicros[i]! - start),
  );
  if (after === undefined) return largest(matched, keys, limit, TOLERANCE_MICROS);
  const place = (sign * Number(after.value)) / NANOS_PER_MICRO;
  const behind = matched.filter((trace) => keys[trace]! <= place + TOLERANCE_MICROS);
  const near = behind.reduce((n, trace) => n + Number(keys[trace]! >= place - TOLERANCE_MICROS), 0);
  return largest(behind, keys, limit + near, TOLERANCE_MICROS);
}

function largest(traces: Int32Array, keys: Float64Array, count: number, tolerance: number): Chosen {
  if (traces.length <= count) return { chosen: traces, areAll: true };
  const numbers = new Float64Array(traces.length);
  for (let i = 0; i < traces.length; i++) numbers[i] = Math.floor(keys[traces[i]!]!);
  const least = nthLargest(numbers, count) - tolerance;
  const chosen = new Int32Array(traces.length);
  let n = 0;
  for (let i = 0; i < traces.length; i++) if (numbers[i]! >= least) chosen[n++] = traces[i]!;
  return { chosen: chosen.subarray(0, n), areAll: n === traces.length };
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

interface OrderedFacts extends Ordered {
  /** Its ordinal. */
  readonly trace: number;
  readonly facts: TraceFacts;
}

async function factsInOrder(
  source: SpanSource,
  chosen: Int32Array,
  { order = NEWEST_FIRST, after, signal }: SearchOptions,
): Promise<readonly OrderedFacts[]> {
  const all = (await source.facts(chosen, signal)).map((facts, i): OrderedFacts => {
    const { id, startUnixNano, endUnixNano } = facts;
    const durationNanos = endUnixNano - startUnixNano;
    return { trace: chosen[i]!, facts, traceId: traceIdText(id), startUnixNano, durationNanos };
  });
  const isBehind = (trace: OrderedFacts): boolean =>
    after === undefined || comparePositions(positionOf(trace, order), after, order) > 0;
  return all.filter(isBehind).sort(comparing(order));
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
  const joined = await joinedOwners(scan, query.stages, rows);
  const writer = await ResultWriter.load(scan, shownFields(query), { rows, joined, spansPerSet });
  const wanted = new Bitset(scan.source.traceCount);
  for (const id of ids) wanted.add(id);
  const setsOf = matches.spansets(wanted);
  return ordered.map(({ trace, facts, traceId, startUnixNano, durationNanos }) => {
    scan.signal?.throwIfAborted();
    return { traceId, startUnixNano, durationNanos, json: writer.trace(facts, setsOf.get(trace)!) };
  });
}
