// Splits answers into parts, each of about a number of bytes as a message; there is always one. Clients of
// streams put them together again.
import type { QueryStats } from '../../contracts/query.ts';
import { metricsProto } from './metrics-response.ts';
import type { FoundMetrics, FoundSearch } from './reads.ts';
import { seriesPieces } from './series-pieces.ts';
import { searchProto } from './search-response.ts';

/** Tags and lengths around a text. */
const FRAME_BYTES = 16;

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
  const parts = split(answer.traces, ({ body }) => body.length, bytesMax);
  for (const [i, traces] of parts.entries()) {
    const stats = isDone && i === parts.length - 1 ? answer.stats : unfinished(answer.stats);
    yield searchProto({ ...found, answer: { ...answer, traces, stats } });
  }
}

/** Each series is in one message, unless it is larger than one. */
export function* metricsPackets(
  found: FoundMetrics,
  bytesMax: number,
  isDone: boolean,
): Generator<Uint8Array> {
  const { answer } = found;
  const pieces = answer.series.flatMap((one) => [...seriesPieces(one, bytesMax)]);
  const parts = split(pieces, ({ length }) => length, bytesMax);
  for (const [i, series] of parts.entries()) {
    const stats = isDone && i === parts.length - 1 ? answer.stats : unfinished(answer.stats);
    yield metricsProto({ ...found, answer: { ...answer, series, stats } });
  }
}

function unfinished(stats: QueryStats): QueryStats {
  return { ...stats, completedJobs: Math.max(0, Math.min(stats.completedJobs, stats.totalJobs - 1)) };
}

/** Texts of a scope or type; those of one follow each other. */
export type Pair = readonly [group: string, text: string];

/** Names or values, by their scopes or types. */
export function pairPackets(
  pairs: readonly Pair[],
  bytesMax: number,
): readonly (readonly [string, string[]])[][] {
  return split(pairs, ([group, text]) => group.length + sizeOf(text), bytesMax).map(grouped);
}

/** Runs of pairs with the same first half. */
function grouped(pairs: readonly Pair[]): (readonly [string, string[]])[] {
  const groups: (readonly [string, string[]])[] = [];
  for (const [key, text] of pairs) {
    const last = groups.at(-1);
    if (last?.[0] === key) last[1].push(text);
    else groups.push([key, [text]]);
  }
  return groups;
}

function sizeOf(text: string): number {
  return Buffer.byteLength(text);
}

function split<T>(items: readonly T[], bytesOf: (item: T) => number, bytesMax: number): T[][] {
  let part: T[] = [];
  const parts = [part];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item) + FRAME_BYTES;
    if (part.length > 0 && bytes + size > bytesMax) {
      parts.push((part = []));
      bytes = 0;
    }
    part.push(item);
    bytes += size;
  }
  return parts;
}
