// Facts of single traces of a row group, for search results: one row of a few small columns each.
import type { ColumnRows, GroupColumns } from './group-columns.ts';
import { pickNumbers, pickStrings } from '../../parquet/column-reader.ts';
import type { ServiceStats, TraceFacts } from '../../traceql/source.ts';

const TRACE_COLUMNS = [
  'TraceID',
  'RootServiceName',
  'RootSpanName',
  'StartTimeUnixNano',
  'EndTimeUnixNano',
] as const;
const STATS_COUNTS = ['ServiceStats.SpanCount', 'ServiceStats.ErrorCount'] as const;
/** The service of an entry, by version. */
const STATS_NAMES = ['ServiceStats.key', 'ServiceStats.ServiceName'] as const;

const text = new TextDecoder();

export async function traceFacts(
  group: GroupColumns,
  traces: Int32Array,
  signal?: AbortSignal,
): Promise<TraceFacts[]> {
  const rows = traces.slice().sort();
  const unique = rows.filter((row, i) => i === 0 || row !== rows[i - 1]);
  const statsName = STATS_NAMES.find((name) => group.chunk(name) !== undefined);
  const stats = statsName === undefined ? [] : [statsName, ...STATS_COUNTS];
  const columns = await group.rows([...TRACE_COLUMNS, ...stats], unique, signal);
  const column = (name: string): ColumnRows => columns.get(name)!;
  const ids = stringsOf(column('TraceID'));
  const services = stringsOf(column('RootServiceName'));
  const names = stringsOf(column('RootSpanName'));
  const starts = numbersOf(column('StartTimeUnixNano'));
  const ends = numbersOf(column('EndTimeUnixNano'));
  const ofServices =
    statsName === undefined
      ? unique.length
      : serviceStats(column(statsName), column(STATS_COUNTS[0]), column(STATS_COUNTS[1]));
  const facts = new Map<number, TraceFacts>();
  unique.forEach((row, k) => {
    const rootService = text.decode(services(k));
    const rootName = text.decode(names(k));
    facts.set(row, {
      id: paddedId(ids(k)),
      rootService,
      rootName,
      hasRoot: rootService !== '' || rootName !== '',
      startUnixNano: starts(k),
      endUnixNano: ends(k),
      services: typeof ofServices === 'number' ? [] : ofServices[k],
    });
  });
  return Array.from(traces, (row) => facts.get(row)!);
}

/** The id as 16 bytes. */
export function paddedId(id: Uint8Array): Uint8Array {
  const padded = new Uint8Array(16);
  const kept = id.subarray(Math.max(0, id.length - 16));
  padded.set(kept, 16 - kept.length);
  return padded;
}

/** The k-th string of a column that has one in each row. */
function stringsOf({ pages, slice, dictionary }: ColumnRows): (k: number) => Uint8Array {
  const { ids, table } = pickStrings(pages, dictionary(), slice.positions);
  return (k) => table.bytes(ids[k]);
}

/** The k-th number, as an unsigned 64-bit one. */
function numbersOf({ pages, slice, dictionary }: ColumnRows): (k: number) => bigint {
  const { num, base, exact } = pickNumbers(pages, dictionary(), slice.positions);
  return (k) => BigInt.asUintN(64, exact?.[k] ?? base + BigInt(num[k]));
}

function serviceStats(name: ColumnRows, spans: ColumnRows, errors: ColumnRows): ServiceStats[][] {
  const nameOf = stringsOf(name);
  const spanCounts = pickNumbers(spans.pages, spans.dictionary(), spans.slice.positions).num;
  const errorCounts = pickNumbers(errors.pages, errors.dictionary(), errors.slice.positions).num;
  const { rowStarts, def } = name.slice;
  const out: ServiceStats[][] = [];
  let value = 0;
  for (let k = 0; k + 1 < rowStarts.length; k++) {
    const services: ServiceStats[] = [];
    for (let e = rowStarts[k]; e < rowStarts[k + 1]; e++) {
      if (def[e] !== name.pages.leaf.maxDefinition) continue;
      services.push({
        service: text.decode(nameOf(value)),
        spanCount: spanCounts[value] ?? 0,
        errorCount: errorCounts[value] ?? 0,
      });
      value++;
    }
    out.push(services);
  }
  return out;
}
