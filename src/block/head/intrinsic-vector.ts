// Loads the intrinsics of a head as vectors.
import type { NumberArray } from '../../lib/narrow-numbers.ts';
import { type Intrinsic, ValueType, type Vector } from '../../traceql/source.ts';
import { inFull, KIND, type KindOrStatus, STATUS, unpack } from './kind-status.ts';
import type { HeadColumns, WordsName } from './head-columns.ts';
import type { HeadReader } from './reader.ts';
import type { TraceIndex } from './trace-index.ts';
import type { VecReader } from './vec.ts';
import {
  type HeadStrings,
  IdTable,
  numberVector,
  pairVector,
  stringVector,
  wordsToBigint,
} from './vectors.ts';

/** The owners that a load is restricted to, ascending; undefined = all. */
export interface Selection {
  readonly traces: Int32Array | undefined;
  readonly spans: Int32Array | undefined;
  readonly events: Int32Array | undefined;
  readonly links: Int32Array | undefined;
}

export function intrinsicVector(
  reader: HeadReader,
  name: Intrinsic,
  selection: Selection,
  index: TraceIndex,
  columns: HeadColumns,
  strings: HeadStrings,
): Vector {
  const { vecs } = reader;
  const { traces, spans } = selection;
  switch (name) {
    case 'span:duration':
      return timesVector(reader, columns, 'spanDuration', spans);
    case 'span:name':
      return stringVector('span', spans, words(columns, reader, 'spanName', spans), strings);
    case 'span:status':
      return numberVector('span', spans, kindsOrStatuses(reader, columns, spans, STATUS), ValueType.status);
    case 'span:statusMessage':
      return stringVector('span', spans, absentAsEmpty(pick(vecs.spanStatusMessage, spans)), strings);
    case 'span:kind':
      return numberVector('span', spans, kindsOrStatuses(reader, columns, spans, KIND), ValueType.kind);
    case 'span:id':
      return idVector(columns, 'span', spans, words(columns, reader, 'spanId', spans), 8);
    case 'span:parentID':
      return idVector(columns, 'span', spans, words(columns, reader, 'spanParent', spans), 8, true);
    case 'span:start':
      return timesVector(reader, columns, 'spanStart', spans);
    case 'span:childCount':
      return nestedSetVector(reader, traces, spans, index, 'childCount');
    case 'span:nestedSetLeft':
      return nestedSetVector(reader, traces, spans, index, 'left');
    case 'span:nestedSetRight':
      return nestedSetVector(reader, traces, spans, index, 'right');
    case 'span:nestedSetParent':
      return nestedSetVector(reader, traces, spans, index, 'parent');
    case 'trace:id':
      return idVector(columns, 'trace', traces, words(columns, reader, 'traceId', traces), 16);
    case 'trace:duration':
      return pairVector('trace', traces, traceTimes(reader, traces).durations, ValueType.duration);
    case 'trace:start':
      return startVector('trace', traces, traceTimes(reader, traces).starts);
    case 'trace:rootName':
      return stringVector('trace', traces, rootStrings(reader, traces, index, 'name'), strings);
    case 'trace:rootService':
      return stringVector('trace', traces, rootStrings(reader, traces, index, 'service'), strings);
    case 'event:name':
      return stringVector('event', selection.events, pick(vecs.eventName, selection.events), strings);
    case 'event:timeSinceStart':
      return pairVector(
        'event',
        selection.events,
        pick(vecs.eventTime, selection.events),
        ValueType.duration,
      );
    case 'link:traceID':
      return linkIdVector(selection, vecs.linkTraceId, strings);
    case 'link:spanID':
      return linkIdVector(selection, vecs.linkSpanId, strings);
    case 'instrumentation:name':
      return stringVector('scope', undefined, vecs.scopeName.toArray(), strings);
    case 'instrumentation:version':
      return stringVector('scope', undefined, vecs.scopeVersion.toArray(), strings);
  }
}

/** The words of the selected elements. */
function pick(vec: VecReader, selected: Int32Array | undefined): Int32Array {
  return selected === undefined ? vec.toArray() : vec.pick(selected);
}

function linkIdVector({ links }: Selection, ids: VecReader, strings: HeadStrings): Vector {
  return stringVector('link', links, pick(ids, links), strings, ValueType.bytes);
}

function absentAsEmpty(ids: Int32Array): Int32Array {
  for (let i = 0; i < ids.length; i++) if (ids[i]! < 0) ids[i] = 0;
  return ids;
}

function words(
  columns: HeadColumns,
  { vecs }: HeadReader,
  name: WordsName,
  selected: Int32Array | undefined,
): Int32Array {
  return selected === undefined ? columns.words(name) : vecs[name].pick(selected);
}

function timesVector(
  { vecs }: HeadReader,
  columns: HeadColumns,
  name: 'spanStart' | 'spanDuration',
  spans: Int32Array | undefined,
): Vector {
  const type = name === 'spanStart' ? ValueType.int : ValueType.duration;
  const numbers = spans === undefined ? columns.numbers(name) : undefined;
  if (numbers === undefined) {
    const words = pick(vecs[name], spans);
    return name === 'spanStart' ? startVector('span', spans, words) : pairVector('span', spans, words, type);
  }
  const { num, baseLow, baseHigh } = numbers;
  return { ...numberVector('span', spans, num, type), base: wordsToBigint(baseLow, baseHigh) };
}

function idVector(
  columns: HeadColumns,
  owner: 'span' | 'trace',
  owners: Int32Array | undefined,
  ids: Int32Array,
  width: number,
  zeroIsEmpty = false,
): Vector {
  const table = new IdTable(ids, width, zeroIsEmpty);
  return stringVector(owner, owners, columns.ordinals(table.size), table, ValueType.bytes);
}

function kindsOrStatuses(
  { vecs }: HeadReader,
  columns: HeadColumns,
  spans: Int32Array | undefined,
  which: KindOrStatus,
): NumberArray {
  if (spans === undefined) return columns.kindsOrStatuses(which);
  const out = new Float64Array(spans.length);
  const bytes = vecs.spanKindStatus.pick(spans);
  for (let i = 0; i < spans.length; i++) out[i] = unpack(bytes[i]!, which);
  if (vecs.spanOddKindStatus.count > 0) {
    for (let i = 0; i < out.length; i++) out[i] = inFull(vecs, spans[i]!, which, out[i]!);
  }
  return out;
}

/** Unix ns, as the first of them and small numbers. */
function startVector(owner: 'span' | 'trace', owners: Int32Array | undefined, starts: Int32Array): Vector {
  return pairVector(owner, owners, starts, ValueType.int, starts[0] ?? 0, starts[1] ?? 0);
}

function nestedSetVector(
  reader: HeadReader,
  traces: Int32Array | undefined,
  spans: Int32Array | undefined,
  index: TraceIndex,
  column: 'left' | 'right' | 'parent' | 'childCount',
): Vector {
  // a copy, as they change with what comes
  const values = index.nestedSets(traces)[column].slice(0, spans?.length ?? reader.spanCount);
  return numberVector('span', spans, values, ValueType.int);
}

/** Words of first start and of last end less first start. */
function traceTimes(
  reader: HeadReader,
  traces: Int32Array | undefined,
): { readonly starts: Int32Array; readonly durations: Int32Array } {
  let starts: Int32Array = new Int32Array(0);
  let durations: Int32Array = starts;
  reader.readTraces(() => {
    starts = pick(reader.vecs.traceStart, traces);
    durations = pick(reader.vecs.traceEnd, traces);
  });
  for (let i = 0; i < starts.length; i += 2) {
    const borrow = durations[i]! >>> 0 < starts[i]! >>> 0 ? 1 : 0;
    durations[i] = durations[i]! - starts[i]!;
    durations[i + 1] = durations[i + 1]! - starts[i + 1]! - borrow;
  }
  return { starts, durations };
}

function rootStrings(
  reader: HeadReader,
  traces: Int32Array | undefined,
  index: TraceIndex,
  what: 'name' | 'service',
): Int32Array {
  const { spanName, spanResource, resourceService } = reader.vecs;
  const { roots: all, traceCount } = index.traces;
  const roots = traces === undefined ? all.subarray(0, traceCount) : traces.map((trace) => all[trace]!);
  return roots.map((root) => {
    if (root < 0) return 0;
    if (what === 'name') return spanName.get(root);
    return Math.max(0, resourceService.get(spanResource.get(root)));
  });
}
