// Which blocks of a tenant are to become one, as Tempo chooses: by windows of time, recent ones by compaction
// level, few blocks at a time. No I/O here.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlockMeta } from '../block/meta.ts';

export interface CompactionLimits {
  readonly windowMs: number;
  /** Of the new block. */
  readonly objectsMax: number;
  readonly blockBytesMax: number;
  /** Formats that can be written. */
  readonly formats: ReadonlySet<string>;
  /** Blocks of one job; undefined = 2 to 4. */
  readonly inputsMin?: number;
  readonly inputsMax?: number;
  /** Blocks of that compaction level and above stay as they are; 0 and undefined = none do. */
  readonly levelMax?: number;
}

const INPUTS_MIN = 2;
const INPUTS_MAX = 4;
/** Windows that begin less than that ago are active: their blocks are joined level by level. */
const ACTIVE_MS = 24 * 60 * 60 * 1000;
/** Blocks that are looked at, or put in order, between two steps: about a millisecond. */
const BLOCKS_PER_STEP = 1000;
const STEP_MS_MAX = 5;

/** Blocks that may be joined. */
interface Group {
  readonly isActive: boolean;
  /** Of all blocks where the window is active, else 0. */
  readonly level: number;
  /** Windows since then; less than 0 in the future. */
  readonly age: number;
  readonly replicationFactor: number;
  readonly blocks: BlockMeta[];
}

/** The inputs of one job after the other: no block is in two of them. */
export function* compactionJobs(
  blocks: Iterable<BlockMeta>,
  limits: CompactionLimits,
  nowMs: number,
): Generator<readonly BlockMeta[]> {
  for (const inputs of steps(blocks, limits, nowMs)) if (inputs !== undefined) yield inputs;
}

/** The inputs of all jobs. The thread does other things between, however many blocks there are. */
export async function allCompactionJobs(
  blocks: Iterable<BlockMeta>,
  limits: CompactionLimits,
  nowMs: number,
): Promise<(readonly BlockMeta[])[]> {
  const jobs: (readonly BlockMeta[])[] = [];
  let sinceMs = performance.now();
  for (const inputs of steps(blocks, limits, nowMs)) {
    if (inputs !== undefined) jobs.push(inputs);
    if (performance.now() - sinceMs < STEP_MS_MAX) continue;
    await nextTurn();
    sinceMs = performance.now();
  }
  return jobs;
}

/** As `compactionJobs`, and undefined at times when somebody else may have a turn. */
function* steps(
  blocks: Iterable<BlockMeta>,
  limits: CompactionLimits,
  nowMs: number,
): Generator<readonly BlockMeta[] | undefined> {
  const groups = new Map<string, Group>();
  let seen = 0;
  for (const meta of blocks) {
    addToGroup(groups, meta, limits, nowMs);
    if (++seen % BLOCKS_PER_STEP === 0) yield undefined;
  }
  const { inputsMin = INPUTS_MIN } = limits;
  for (const { blocks: candidates } of [...groups.values()].toSorted(byUrgency)) {
    if (candidates.length < inputsMin) continue;
    candidates.sort(byLevelAndSize);
    yield undefined;
    for (let from = 0; from < candidates.length; ) {
      const inputs = chosenFrom(candidates, from, limits);
      if (inputs.length >= inputsMin) yield inputs;
      from += inputs.length >= inputsMin ? inputs.length : 1;
    }
  }
}

function chosenFrom(
  candidates: readonly BlockMeta[],
  from: number,
  { objectsMax, blockBytesMax, inputsMax = INPUTS_MAX }: CompactionLimits,
): readonly BlockMeta[] {
  let objects = 0;
  let bytes = 0;
  let to = from;
  for (; to < candidates.length && to < from + inputsMax; to++) {
    const other = candidates[to]!;
    objects += other.totalObjects;
    bytes += other.sizeBytes;
    if (objects > objectsMax || bytes > blockBytesMax) break;
  }
  return candidates.slice(from, to);
}

function addToGroup(
  groups: Map<string, Group>,
  meta: BlockMeta,
  { windowMs, formats, levelMax = 0 }: CompactionLimits,
  nowMs: number,
): void {
  const { compactionLevel, replicationFactor, format, endSec } = meta;
  if (!formats.has(format) || (levelMax > 0 && compactionLevel >= levelMax)) return;
  const window = windowOf(endSec, windowMs);
  const boundary = boundaryAt(nowMs, windowMs);
  // At the boundary it is not clear which of the two rules holds.
  if (window === boundary) return;
  const isActive = window > boundary;
  const level = isActive ? compactionLevel : 0;
  const key = `${isActive} ${level} ${window} ${replicationFactor} ${kindOf(meta)}`;
  const group = groups.get(key);
  if (group !== undefined) group.blocks.push(meta);
  else {
    const age = Math.floor(nowMs / windowMs) - window;
    groups.set(key, { isActive, level, age, replicationFactor, blocks: [meta] });
  }
}

/** Number of the window, since the epoch, that a block ends in. */
function windowOf(endSec: number, windowMs: number): number {
  return Math.floor((endSec * 1000) / windowMs);
}

/** The window between those that are active and those that are not. */
function boundaryAt(nowMs: number, windowMs: number): number {
  return Math.floor((nowMs - ACTIVE_MS) / windowMs);
}

/**
 * By what compactors that share the work agree whose a job is: Tempo's text. All jobs over the same blocks
 * have the same one, whichever of these blocks each takes.
 * @param meta of any of its inputs.
 */
export function jobKey(
  { tenantId, compactionLevel, replicationFactor, endSec }: BlockMeta,
  { windowMs }: Pick<CompactionLimits, 'windowMs'>,
  nowMs: number,
): string {
  const window = windowOf(endSec, windowMs);
  return window > boundaryAt(nowMs, windowMs)
    ? `${tenantId}-${compactionLevel}-${window}-${replicationFactor}`
    : `${tenantId}-${window}-${replicationFactor}`;
}

/** Texts of kinds, as metas are chosen from again and again. */
const kinds = new WeakMap<BlockMeta, string>();

/** What blocks must have in common to be joined, beside their time. */
function kindOf(meta: BlockMeta): string {
  const known = kinds.get(meta);
  if (known !== undefined) return known;
  const kind = `${meta.format}-${JSON.stringify(meta.dedicatedColumns)}`;
  kinds.set(meta, kind);
  return kind;
}

/** Active windows first, in them low levels, then the newest. */
function byUrgency(a: Group, b: Group): number {
  return (
    Number(b.isActive) - Number(a.isActive) ||
    a.level - b.level ||
    a.age - b.age ||
    a.replicationFactor - b.replicationFactor
  );
}

function byLevelAndSize(a: BlockMeta, b: BlockMeta): number {
  return a.compactionLevel - b.compactionLevel || a.totalObjects - b.totalObjects;
}
