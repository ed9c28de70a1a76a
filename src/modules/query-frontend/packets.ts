// Splits answers into parts, each of about a number of bytes as a message; there is always one. Clients of
// streams put them together again.
import type { QueryStats } from '../../contracts/query.ts';
import { Slice } from '../../lib/slices.ts';
import { metricsProto } from './metrics-response.ts';
import type { FoundMetrics, FoundSearch } from './reads.ts';
import { seriesPieces } from './series-pieces.ts';
import { searchProto } from './search-response.ts';

/** Tags and lengths around a text. */
const FRAME_BYTES = 16;
/** Pairs between two looks at the clock. */
const PAIRS_A_LOOK = 1024;

/**
 * Messages, each made when it is asked for.
 *
 * @param isDone the last of them is the last of all: only that one says that all jobs are done.
 */
export function* searchPackets(
  { answer, ...found }: FoundSearch,
  bytesMax: number,
  isDone: boolean,
): Generator<Uint8Array> {
  for (const [traces, isLast] of split(answer.traces, ({ body }) => body.length, bytesMax)) {
    const stats = isDone && isLast ? answer.stats : unfinished(answer.stats);
    yield searchProto({ ...found, answer: { ...answer, traces, stats } });
  }
}

/** Each series is in one message, unless it is larger than one. Made when asked for, too. */
export function* metricsPackets(
  found: FoundMetrics,
  bytesMax: number,
  isDone: boolean,
): Generator<Uint8Array> {
  const { answer } = found;
  for (const [series, isLast] of split(piecesOf(answer.series, bytesMax), ({ length }) => length, bytesMax)) {
    const stats = isDone && isLast ? answer.stats : unfinished(answer.stats);
    yield metricsProto({ ...found, answer: { ...answer, series, stats } });
  }
}

function* piecesOf(series: readonly Uint8Array[], bytesMax: number): Generator<Uint8Array> {
  for (const one of series) {
    if (one.length <= bytesMax) yield one;
    else yield* seriesPieces(one, bytesMax);
  }
}

function unfinished(stats: QueryStats): QueryStats {
  return { ...stats, completedJobs: Math.max(0, Math.min(stats.completedJobs, stats.totalJobs - 1)) };
}

/** Texts of a scope or type; those of one follow each other. */
export type Pair = readonly [group: string, text: string];

/** Names or values, by their scopes or types. Others get a turn while a message is put together. */
export async function* pairPackets(
  pairs: Iterable<Pair>,
  bytesMax: number,
): AsyncGenerator<readonly (readonly [string, string[]])[]> {
  const slice = new Slice();
  let groups: (readonly [string, string[]])[] = [];
  let bytes = 0;
  let count = 0;
  for (const [group, text] of pairs) {
    const size = group.length + Buffer.byteLength(text) + FRAME_BYTES;
    if (groups.length > 0 && bytes + size > bytesMax) {
      yield groups;
      groups = [];
      bytes = 0;
    }
    const last = groups.at(-1);
    if (last?.[0] === group) last[1].push(text);
    else groups.push([group, [text]]);
    bytes += size;
    if (++count % PAIRS_A_LOOK === 0 && slice.isOver) await slice.next();
  }
  yield groups;
}

/** There is always a last part. */
function* split<T>(
  items: Iterable<T>,
  bytesOf: (item: T) => number,
  bytesMax: number,
): Generator<readonly [part: readonly T[], isLast: boolean]> {
  let part: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item) + FRAME_BYTES;
    if (part.length > 0 && bytes + size > bytesMax) {
      yield [part, false];
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += size;
  }
  yield [part, true];
}
