// Facts of traces of a row group, for search results. The small columns that they come from are decoded
// once, whole, and kept in the thread's cache; of few traces only their pages.
import { TRACE_ID_BYTES } from '../../model/ids.ts';
import type { ColumnRows, GroupColumns } from './group-columns.ts';
import {
  pickNumbers,
  pickStrings,
  readNumbers,
  readStrings,
  type StringValues,
} from '../../parquet/column-reader.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import type { Numbers } from '../../parquet/decode/numbers.ts';
import type { ServiceStats, TraceFacts } from '../../traceql/source.ts';
import { internStrings } from './intern.ts';

/** The service of an entry, by version. */
const STATS_NAMES = ['ServiceStats.key', 'ServiceStats.ServiceName'] as const;
const STATS_COUNTS = ['ServiceStats.SpanCount', 'ServiceStats.ErrorCount'] as const;
const ROOT_SERVICE = 'RootServiceName';
const ROOT_NAME = 'RootSpanName';
const START = 'StartTimeUnixNano';
const END = 'EndTimeUnixNano';

const utf8 = new TextDecoder();

/** One string a trace. */
interface Texts {
  readonly codes: Int32Array;
  readonly texts: readonly string[];
}

interface StatsTable extends Texts {
  /** First entry of each trace, and one element more. */
  readonly starts: Int32Array;
  readonly spans: Float64Array;
  readonly errors: Float64Array;
}

interface FactsTable {
  readonly services: Texts;
  readonly names: Texts;
  readonly starts: BigUint64Array;
  readonly ends: BigUint64Array;
  readonly stats: StatsTable | undefined;
}

/**
 * All facts are read, and stay in the cache, when facts are asked for again and those of the traces are in
 * more than this share of the pages.
 */
const PAGES_SHARE_AGAIN_MAX = 1 / 16;
/** The facts of a larger share of the traces are not apart, even the first time. */
const TRACES_SHARE_MAX = 1 / 32;

/** @param ids 16 bytes a trace. @param traces ascending. */
export async function traceFacts(
  group: GroupColumns,
  ids: Uint8Array,
  traces: Int32Array,
  signal?: AbortSignal,
): Promise<TraceFacts[]> {
  const key = group.cacheKey('facts');
  let table = group.file.cache.get<FactsTable>(key);
  let isPartial = false;
  if (table === undefined) {
    const share = await group.pageShare(ROOT_NAME, traces, signal);
    const areFew = traces.length <= group.rowCount * TRACES_SHARE_MAX;
    isPartial = share <= PAGES_SHARE_AGAIN_MAX || (areFew && group.isFirstTime('facts'));
    table = isPartial ? await loadSome(group, traces, signal) : await loadFacts(group, signal);
    if (!isPartial) group.file.cache.set(key, table, tableBytes(table));
  }
  const { services, names, starts, ends, stats } = table;
  return Array.from(traces, (row, k): TraceFacts => {
    const at = isPartial ? k : row;
    const rootService = services.texts[services.codes[at]];
    const rootName = names.texts[names.codes[at]];
    return {
      id: ids.subarray(row * TRACE_ID_BYTES, (row + 1) * TRACE_ID_BYTES),
      rootService,
      rootName,
      hasRoot: rootService !== '' || rootName !== '',
      startUnixNano: starts[at],
      endUnixNano: ends[at],
      services: stats === undefined ? [] : servicesOf(stats, at),
    };
  });
}

function servicesOf({ starts, codes, texts, spans, errors }: StatsTable, row: number): ServiceStats[] {
  const services: ServiceStats[] = [];
  for (let i = starts[row]; i < starts[row + 1]; i++) {
    services.push({ service: texts[codes[i]], spanCount: spans[i], errorCount: errors[i] });
  }
  return services;
}

async function loadFacts(group: GroupColumns, signal?: AbortSignal): Promise<FactsTable> {
  return {
    services: await loadTexts(group, ROOT_SERVICE, signal),
    names: await loadTexts(group, ROOT_NAME, signal),
    starts: await loadTimes(group, START, signal),
    ends: await loadTimes(group, END, signal),
    stats: await loadStats(group, signal),
  };
}

/** The facts of some rows (ascending), in their order. */
async function loadSome(group: GroupColumns, rows: Int32Array, signal?: AbortSignal): Promise<FactsTable> {
  const names = [ROOT_SERVICE, ROOT_NAME, START, END];
  const statsName = statsColumn(group);
  if (statsName !== undefined) names.push(statsName, ...STATS_COUNTS);
  return group.lend(async (scratch) => {
    const columns = await group.rows(names, rows, scratch, signal);
    const column = (name: string): ColumnRows => columns.get(name)!;
    const one = (name: string): ColumnRows => {
      const at = column(name);
      if (at.slice.positions.length !== rows.length) throw group.damaged(name, 'has not one value a row');
      return at;
    };
    return {
      services: pickTexts(one(ROOT_SERVICE)),
      names: pickTexts(one(ROOT_NAME)),
      starts: timesOf(pickRows(one(START))),
      ends: timesOf(pickRows(one(END))),
      stats:
        statsName === undefined ? undefined : someStats(group, column(statsName), STATS_COUNTS.map(column)),
    };
  });
}

function pickTexts({ pages, slice, dictionary }: ColumnRows): Texts {
  return texts(pickStrings(pages, dictionary(), slice.positions));
}

function pickRows({ pages, slice, dictionary }: ColumnRows): Numbers {
  return pickNumbers(pages, dictionary(), slice.positions);
}

function someStats(group: GroupColumns, keys: ColumnRows, counts: readonly ColumnRows[]): StatsTable {
  const [spans, errors] = counts.map((at) => pickRows(at).num);
  const { codes, texts: names } = pickTexts(keys);
  const { rowStarts, def } = keys.slice;
  if (spans.length !== codes.length || errors.length !== codes.length) {
    throw group.damaged(keys.pages.name, 'has other entries than its counts');
  }
  const starts = new Int32Array(rowStarts.length);
  let value = 0;
  for (let k = 0; k + 1 < rowStarts.length; k++) {
    starts[k] = value;
    for (let e = rowStarts[k]; e < rowStarts[k + 1]; e++) {
      if (def[e] === keys.pages.leaf.maxDefinition) value++;
    }
  }
  starts[rowStarts.length - 1] = value;
  return { codes, texts: names, spans, errors, starts };
}

function statsColumn(group: GroupColumns): string | undefined {
  return STATS_NAMES.find((column) => group.chunk(column) !== undefined);
}

function tableBytes({ services, names, starts, stats }: FactsTable): number {
  const arrays = [
    services.codes,
    names.codes,
    starts,
    starts,
    stats?.codes,
    stats?.starts,
    stats?.spans,
    stats?.errors,
  ];
  const strings = services.texts.length + names.texts.length + (stats?.texts.length ?? 0);
  return arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), strings * 50);
}

async function loadTexts(group: GroupColumns, name: string, signal?: AbortSignal): Promise<Texts> {
  const all = await group.lend(async (scratch) => {
    const pages = await group.pages(name, scratch, signal);
    return texts(readStrings(pages, await group.dictionary(name, signal)));
  });
  if (all.codes.length !== group.rowCount) throw group.damaged(name, 'has not one value a row');
  return all;
}

function texts({ ids, table }: StringValues): Texts {
  const { codes, firsts } = internStrings(ids, table);
  return { codes, texts: Array.from(firsts, (id) => utf8.decode(table.bytes(id))) };
}

async function loadTimes(group: GroupColumns, name: string, signal?: AbortSignal): Promise<BigUint64Array> {
  const numbers = await loadNumbers(group, name, signal);
  if (numbers.num.length !== group.rowCount) throw group.damaged(name, 'has not one time a row');
  return timesOf(numbers);
}

function timesOf({ num, base, exact }: Numbers): BigUint64Array {
  const times = new BigUint64Array(num.length);
  for (let i = 0; i < times.length; i++) times[i] = exact === undefined ? base + BigInt(num[i]) : exact[i];
  return times;
}

async function loadNumbers(group: GroupColumns, name: string, signal?: AbortSignal): Promise<Numbers> {
  return group.lend(async (scratch) =>
    readNumbers(await group.pages(name, scratch, signal), await group.dictionary(name, signal)),
  );
}

async function loadStats(group: GroupColumns, signal?: AbortSignal): Promise<StatsTable | undefined> {
  const name = statsColumn(group);
  if (name === undefined) return undefined;
  const [{ codes, texts: names }, starts] = await group.lend(async (scratch) => {
    const pages = await group.pages(name, scratch, signal);
    const dictionary = await group.dictionary(name, signal);
    return [texts(readStrings(pages, dictionary)), rowStarts(group, pages)] as const;
  });
  const { num: spans } = await loadNumbers(group, STATS_COUNTS[0], signal);
  const { num: errors } = await loadNumbers(group, STATS_COUNTS[1], signal);
  if (spans.length !== codes.length || errors.length !== codes.length) {
    throw group.damaged(name, 'has other entries than its counts');
  }
  return { codes, texts: names, spans, errors, starts };
}

/** Where the values of each row begin. */
function rowStarts(group: GroupColumns, pages: ColumnPages): Int32Array {
  const rep = pages.repetitionLevels();
  const def = pages.definitionLevels();
  const { maxDefinition } = pages.leaf;
  const starts = new Int32Array(group.rowCount + 1);
  let row = -1;
  let value = 0;
  for (let e = 0; e < rep.length; e++) {
    if (rep[e] === 0 && ++row < group.rowCount) starts[row] = value;
    if (def[e] === maxDefinition) value++;
  }
  if (row !== group.rowCount - 1) throw group.damaged(pages.name, 'has not the rows of its group');
  starts[group.rowCount] = value;
  return starts;
}
