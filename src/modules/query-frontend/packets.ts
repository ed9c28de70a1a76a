// Splits answers into parts, each of about a number of bytes as a message; there is always one. Clients of
// streams put them together again.
import type { QueryStats } from '../../contracts/query.ts';
import type { TypedValues } from '../../traceql/engine/value-set.ts';
import { metricsProto } from './metrics-response.ts';
import type { FoundMetrics, FoundSearch } from './reads.ts';
import { searchProto } from './search-response.ts';
import type { ScopeNames } from './tag-response.ts';

/** Tags and lengths around a text. */
const FRAME_BYTES = 16;

/** Messages, each made when it is asked for; only the last one has all that the statistics say. */
export function* searchPackets({ answer, ...found }: FoundSearch, bytesMax: number): Generator<Uint8Array> {
  const parts = split(answer.traces, ({ body }) => body.length, bytesMax);
  for (const [i, traces] of parts.entries()) {
    const stats = statsOfPart(answer.stats, i === parts.length - 1);
    yield searchProto({ ...found, answer: { ...answer, traces, stats } });
  }
}

/** Each series is in one message, as a whole. */
export function* metricsPackets(found: FoundMetrics, bytesMax: number): Generator<Uint8Array> {
  const { answer } = found;
  const parts = split(answer.series, ({ length }) => length, bytesMax);
  for (const [i, series] of parts.entries()) {
    const stats = statsOfPart(answer.stats, i === parts.length - 1);
    yield metricsProto({ ...found, answer: { ...answer, series, stats } });
  }
}

function statsOfPart(stats: QueryStats, isLast: boolean): QueryStats {
  return isLast ? stats : { ...stats, completedJobs: Math.max(0, stats.completedJobs - 1) };
}

export function namePackets(names: readonly string[], bytesMax: number): string[][] {
  return split(names, sizeOf, bytesMax);
}

export function scopePackets(scopes: readonly ScopeNames[], bytesMax: number): ScopeNames[][] {
  const all = scopes.flatMap(({ name, tags }) => tags.map((tag) => [name, tag] as const));
  return split(all, ([, tag]) => sizeOf(tag), bytesMax).map((part) =>
    grouped(part).map(([name, tags]) => ({ name, tags })),
  );
}

export function valuePackets(types: readonly TypedValues[], bytesMax: number): TypedValues[][] {
  const all = types.flatMap(({ type, values }) => values.map((value) => [type, value] as const));
  return split(all, ([type, value]) => type.length + sizeOf(value), bytesMax).map((part) =>
    grouped(part).map(([type, values]) => ({ type, values })),
  );
}

/** Runs of pairs with the same first half. */
function grouped<Key>(pairs: readonly (readonly [Key, string])[]): [Key, string[]][] {
  const groups: [Key, string[]][] = [];
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
