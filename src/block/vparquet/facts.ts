// Facts of traces of a row group, for search results. The small columns that they come from are decoded
// once, whole, and kept in the thread's cache.
import type { GroupColumns } from './group-columns.ts';
import { readNumbers, readStrings } from '../../parquet/column-reader.ts';
import type { ColumnPages } from '../../parquet/column-pages.ts';
import type { Numbers } from '../../parquet/decode/numbers.ts';
import type { ServiceStats, TraceFacts } from '../../traceql/source.ts';
import { internStrings } from './intern.ts';

/** The service of an entry, by version. */
const STATS_NAMES = ['ServiceStats.key', 'ServiceStats.ServiceName'] as const;
const STATS_COUNTS = ['ServiceStats.SpanCount', 'ServiceStats.ErrorCount'] as const;
const ID_BYTES = 16;

const text = new TextDecoder();

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
  readonly ids: Uint8Array;
  readonly services: Texts;
  readonly names: Texts;
  readonly starts: BigUint64Array;
  readonly ends: BigUint64Array;
  readonly stats: StatsTable | undefined;
}

/** @param ids 16 bytes a trace. */
export async function traceFacts(
  group: GroupColumns,
  ids: Uint8Array,
  traces: Int32Array,
  signal?: AbortSignal,
): Promise<TraceFacts[]> {
  const key = group.cacheKey('facts');
  let table = group.file.cache.get<FactsTable>(key);
  if (table === undefined) {
    table = await loadFacts(group, ids, signal);
    group.file.cache.set(key, table, tableBytes(table));
  }
  const { services, names, starts, ends, stats } = table;
  return Array.from(traces, (row): TraceFacts => {
    const rootService = services.texts[services.codes[row]];
    const rootName = names.texts[names.codes[row]];
    return {
      id: ids.subarray(row * ID_BYTES, (row + 1) * ID_BYTES),
      rootService,
      rootName,
      hasRoot: rootService !== '' || rootName !== '',
      startUnixNano: starts[row],
      endUnixNano: ends[row],
      services: stats === undefined ? [] : servicesOf(stats, row),
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

async function loadFacts(group: GroupColumns, ids: Uint8Array, signal?: AbortSignal): Promise<FactsTable> {
  return {
    ids,
    services: await loadTexts(group, 'RootServiceName', signal),
    names: await loadTexts(group, 'RootSpanName', signal),
    starts: await loadTimes(group, 'StartTimeUnixNano', signal),
    ends: await loadTimes(group, 'EndTimeUnixNano', signal),
    stats: await loadStats(group, signal),
  };
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
  const texts = textsOf(await group.pages(name, false, signal), await group.dictionary(name, signal));
  if (texts.codes.length !== group.rowCount) throw group.damaged(name, 'has not one value a row');
  return texts;
}

function textsOf(pages: ColumnPages, dictionary: Parameters<typeof readStrings>[1]): Texts {
  const { ids, table } = readStrings(pages, dictionary);
  const { codes, firsts } = internStrings(ids, table);
  return { codes, texts: Array.from(firsts, (id) => text.decode(table.bytes(id))) };
}

async function loadTimes(group: GroupColumns, name: string, signal?: AbortSignal): Promise<BigUint64Array> {
  const numbers = await loadNumbers(group, name, signal);
  const { num, base, exact } = numbers;
  if (num.length !== group.rowCount) throw group.damaged(name, 'has not one time a row');
  const times = new BigUint64Array(num.length);
  for (let i = 0; i < times.length; i++) times[i] = exact === undefined ? base + BigInt(num[i]) : exact[i];
  return times;
}

async function loadNumbers(group: GroupColumns, name: string, signal?: AbortSignal): Promise<Numbers> {
  return readNumbers(await group.pages(name, false, signal), await group.dictionary(name, signal));
}

async function loadStats(group: GroupColumns, signal?: AbortSignal): Promise<StatsTable | undefined> {
  const name = STATS_NAMES.find((column) => group.chunk(column) !== undefined);
  if (name === undefined) return undefined;
  const pages = await group.pages(name, false, signal);
  const { codes, texts } = textsOf(pages, await group.dictionary(name, signal));
  const { num: spans } = await loadNumbers(group, STATS_COUNTS[0], signal);
  const { num: errors } = await loadNumbers(group, STATS_COUNTS[1], signal);
  if (spans.length !== codes.length || errors.length !== codes.length) {
    throw group.damaged(name, 'has other entries than its counts');
  }
  return { codes, texts, spans, errors, starts: rowStarts(group, pages) };
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
