// Which sources a query reads: all, what ingesters have, or row groups of one block.
import type { BlockRange, QueryPart, TraceQuery } from '../../contracts/query.ts';
import type { SourceRef } from '../../contracts/recent-traces.ts';
import type { ScanSource } from '../../store/scan-job.ts';

/** Which sources a query reads. */
export interface Choice extends Pick<TraceQuery, 'from' | 'blocks'> {
  /** false = traces are not compared. */
  readonly needsTables?: boolean;
  /** Of the one block that is chosen. */
  readonly rowGroups?: readonly [number, number];
}

export const EVERYWHERE: Choice = { from: 'all', blocks: undefined };

export function choiceOf(part: QueryPart | undefined): Choice {
  if (part === undefined) return EVERYWHERE;
  if (part.kind === 'recent') return { from: 'ingesters', blocks: undefined };
  const { blockId, rowGroups } = part;
  return { from: 'all', blocks: { first: blockId, last: blockId }, rowGroups };
}

/** The chosen row groups, as far as the block has them. */
export function rowGroupsOf(
  sources: readonly SourceRef[],
  { blocks, rowGroups = [0, 0] }: Choice,
): ScanSource[] {
  return sources.flatMap((source) => {
    if (source.kind !== 'block' || !isInRange(source.meta.blockId, blocks)) return [];
    const to = Math.min(rowGroups[1], source.meta.totalRecords);
    return rowGroups[0] < to ? [{ ...source, rowGroups: [rowGroups[0], to] as const }] : [];
  });
}

/** Ids are compared as text: lower-case hex digits and dashes at fixed places. */
export function isInRange(blockId: string, range: BlockRange | undefined): boolean {
  return range === undefined || (blockId >= range.first && blockId <= range.last);
}
