// Which of the traces that lie in several sources a search has to bring together: bringing together costs
// much more than knowing that a trace is too old, or that none of its parts matches.
import type { ScanSource, SharedTracesJobResult } from '../../store/scan-job.ts';
import { IntList } from '../../lib/int-list.ts';
import { blockIdOf } from './plan.ts';

/** Times in microseconds since 1970, exact to one. */
export interface WholeChoice {
  /** Only traces that overlap it. */
  readonly fromMicros: number;
  readonly toMicros: number;
  /** Only those that do not begin before. */
  readonly oldestMicros: number;
  /** By block id the rows that match; undefined = a trace may match though none of its parts does. */
  readonly matched: ReadonlyMap<string, ReadonlySet<number>> | undefined;
}

type Shared = Pick<SharedTracesJobResult, 'places' | 'newestStarts' | 'startMicros' | 'endMicros'>;

/** What is brought together for one query is not kept: above this share all are brought together. */
const CHOSEN_SHARE_MAX = 1 / 4;
const TOLERANCE_MICROS = 2;

/** The chosen traces; undefined = all. */
export function chooseWhole(
  sources: readonly ScanSource[],
  shared: Shared,
  choice: WholeChoice,
): Pick<Shared, 'places' | 'newestStarts'> | undefined {
  const { ends, source, row } = shared.places;
  const { matched } = choice;
  const rowsOf = sources.map((one) => matched?.get(blockIdOf(one)));
  const chosen = { ends: new IntList(0), source: new IntList(0), row: new IntList(0) };
  const chosenMax = ends.length * CHOSEN_SHARE_MAX;
  for (let trace = 0; trace < ends.length; trace++) {
    const begin = trace === 0 ? 0 : ends[trace - 1]!;
    const end = ends[trace]!;
    if (!isInScope(shared, trace, choice) || !mayMatch(begin, end)) continue;
    for (let place = begin; place < end; place++) {
      chosen.source.push(source[place]!);
      chosen.row.push(row[place]!);
    }
    chosen.ends.push(chosen.row.length);
    if (chosen.ends.length > chosenMax) return undefined;
  }
  return {
    newestStarts: shared.newestStarts,
    places: {
      ends: sharedArray(chosen.ends.view()),
      source: sharedArray(chosen.source.view()),
      row: sharedArray(chosen.row.view()),
    },
  };

  function mayMatch(begin: number, end: number): boolean {
    if (matched === undefined) return true;
    for (let place = begin; place < end; place++) {
      if (rowsOf[source[place]!]?.has(row[place]!) === true) return true;
    }
    return false;
  }
}

/** What is not known (NaN) may be anything. */
function isInScope(
  { startMicros, endMicros }: Shared,
  trace: number,
  { fromMicros, toMicros, oldestMicros }: WholeChoice,
): boolean {
  const start = startMicros[trace]!;
  const isLate = start > toMicros + TOLERANCE_MICROS;
  const isOld = start < oldestMicros - TOLERANCE_MICROS;
  return !isLate && !isOld && !(endMicros[trace]! < fromMicros - TOLERANCE_MICROS);
}

function sharedArray(items: Int32Array): Int32Array {
  const array = new Int32Array(new SharedArrayBuffer(items.length * Int32Array.BYTES_PER_ELEMENT));
  array.set(items);
  return array;
}
