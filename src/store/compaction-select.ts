// Which blocks of a tenant are to become one, as Tempo chooses: by windows of time, recent ones by compaction
// level, few blocks at a time. No I/O here.
import type { BlockMeta } from '../block/meta.ts';

export interface CompactionLimits {
  readonly windowMs: number;
  /** Of the new block. */
  readonly objectsMax: number;
  readonly blockBytesMax: number;
  /** Formats that can be written. */
  readonly formats: ReadonlySet<string>;
}

const INPUTS_MIN = 2;
const INPUTS_MAX = 4;
/** Windows that begin less than that ago are active: their blocks are joined level by level. */
const ACTIVE_MS = 24 * 60 * 60 * 1000;

interface Candidate {
  readonly meta: BlockMeta;
  /** Blocks of one group may be joined. */
  readonly group: string;
  readonly order: string;
  /** What blocks must have in common, beside the group. */
  readonly kind: string;
}

/** The inputs of one job after the other: no block is in two of them. */
export function* compactionJobs(
  blocks: Iterable<BlockMeta>,
  limits: CompactionLimits,
  nowMs: number,
): Generator<readonly BlockMeta[]> {
  const candidates = [...blocks].flatMap((meta) => candidate(meta, limits, nowMs) ?? []);
  candidates.sort((a, b) => compare(a.group, b.group) || compare(a.order, b.order));
  for (let from = 0; from < candidates.length; ) {
    const inputs = chosenFrom(candidates, from, limits);
    if (inputs.length >= INPUTS_MIN) {
      yield inputs;
      from += inputs.length;
    } else from++;
  }
}

function chosenFrom(
  candidates: readonly Candidate[],
  from: number,
  { objectsMax, blockBytesMax }: CompactionLimits,
): readonly BlockMeta[] {
  const { group, kind } = candidates[from]!;
  let objects = 0;
  let bytes = 0;
  let to = from;
  for (; to < candidates.length && to < from + INPUTS_MAX; to++) {
    const other = candidates[to]!;
    objects += other.meta.totalObjects;
    bytes += other.meta.sizeBytes;
    if (other.group !== group || other.kind !== kind || objects > objectsMax || bytes > blockBytesMax) break;
  }
  return candidates.slice(from, to).map(({ meta }) => meta);
}

function candidate(meta: BlockMeta, limits: CompactionLimits, nowMs: number): Candidate | undefined {
  const { windowMs, formats } = limits;
  if (!formats.has(meta.format)) return undefined;
  const windowOf = (ms: number): number => Math.floor(ms / windowMs);
  const window = windowOf(meta.endSec * 1000);
  const boundary = windowOf(nowMs - ACTIVE_MS);
  // At the boundary it is not clear which of the two rules holds.
  if (window === boundary) return undefined;
  const { compactionLevel: level, replicationFactor, totalObjects, format, dedicatedColumns } = meta;
  const age = padded(windowOf(nowMs) - window);
  const kind = `${format}-${JSON.stringify(dedicatedColumns)}`;
  return window > boundary
    ? {
        meta,
        kind,
        group: `A-${padded(level)}-${age}-${replicationFactor}`,
        order: `${padded(totalObjects)}-${kind}`,
      }
    : {
        meta,
        kind,
        group: `B-${age}-${replicationFactor}`,
        order: `${padded(level)}-${padded(totalObjects)}-${kind}`,
      };
}

/** Text that sorts as the number does; windows of the future come first. */
function padded(value: number): string {
  return (value < 0 ? '-' : '') + String(Math.abs(value)).padStart(16, '0');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
