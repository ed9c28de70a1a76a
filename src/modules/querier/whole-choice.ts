// Which of the traces that lie in several sources a search has to bring together: bringing together costs
// much more than knowing that a trace is too old, or that none of its parts matches.
import type { ScanSource, SharedTracesJobResult } from '../../store/scan-job.ts';
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
  const ids = sources.map(blockIdOf);
  const chosen: number[] = [];
  for (let trace = 0; trace < ends.length; trace++) {
    if (isInScope(shared, trace, choice) && mayMatch(trace)) chosen.push(trace);
  }
  if (chosen.length > ends.length * CHOSEN_SHARE_MAX) return undefined;
  const places = chosen.flatMap((trace) => placesOf(trace));
  let end = 0;
  return {
    newestStarts: shared.newestStarts,
    places: {
      ends: sharedArray(chosen.map((trace) => (end += placesOf(trace).length))),
      source: sharedArray(places.map((place) => source[place]!)),
      row: sharedArray(places.map((place) => row[place]!)),
    },
  };

  function placesOf(trace: number): number[] {
    const begin = trace === 0 ? 0 : ends[trace - 1]!;
    return Array.from({ length: ends[trace]! - begin }, (_, i) => begin + i);
  }

  function mayMatch(trace: number): boolean {
    const { matched } = choice;
    if (matched === undefined) return true;
    return placesOf(trace).some((place) => matched.get(ids[source[place]!]!)?.has(row[place]!) === true);
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

function sharedArray(items: readonly number[]): Int32Array {
  const array = new Int32Array(new SharedArrayBuffer(items.length * Int32Array.BYTES_PER_ELEMENT));
  array.set(items);
  return array;
}
