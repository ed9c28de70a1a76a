// Which bytes of a file to read, as values: wanted ranges are joined into few reads, and cut out of what
// came back. Doing the reads is the caller's.

export interface WantedRange {
  readonly offset: number;
  readonly length: number;
}

/** One read and the wanted ranges (by their number) that it covers. */
export interface PlannedRead {
  readonly offset: number;
  readonly length: number;
  readonly wanted: readonly number[];
}

/** Reading this much in between is cheaper than another read. */
const GAP_BYTES_MAX = 64 * 1024;
/** A read is not joined beyond this, so that no buffer becomes huge. */
const READ_BYTES_MAX = 32 * 1024 * 1024;

/** Joins ranges that are near each other. Empty ranges take part in no read. */
export function planReads(ranges: readonly WantedRange[], gapBytesMax = GAP_BYTES_MAX): PlannedRead[] {
  const order = ranges.map((_, i) => i).filter((i) => ranges[i].length > 0);
  order.sort((a, b) => ranges[a].offset - ranges[b].offset);
  const reads: { offset: number; length: number; wanted: number[] }[] = [];
  for (const i of order) {
    const { offset, length } = ranges[i];
    const end = offset + length;
    const last = reads.at(-1);
    const joined = last !== undefined ? Math.max(end, last.offset + last.length) - last.offset : 0;
    if (last !== undefined && offset <= last.offset + last.length + gapBytesMax && joined <= READ_BYTES_MAX) {
      last.length = joined;
      last.wanted.push(i);
    } else reads.push({ offset, length, wanted: [i] });
  }
  return reads;
}

/** What is read of a file beside pages, for caches. */
export type FilePart = 'footer' | 'offset-index';

/**
 * Reads `length` bytes from `offset`; rejects when there are fewer.
 *
 * @param into memory of that length, which may be used by who has read the bytes when the call returns.
 */
export type ReadRange = (
  offset: number,
  length: number,
  signal?: AbortSignal,
  part?: FilePart,
  into?: Uint8Array,
) => Promise<Uint8Array>;

const NOTHING = new Uint8Array(0);

/** The bytes of each range, by as few reads as the plan needs. */
export async function readRanges(
  ranges: readonly WantedRange[],
  readRange: ReadRange,
  signal?: AbortSignal,
): Promise<Uint8Array[]> {
  const out: Uint8Array[] = ranges.map(() => NOTHING);
  await Promise.all(
    planReads(ranges).map(async ({ offset, length, wanted }) => {
      const bytes = await readRange(offset, length, signal);
      for (const i of wanted) {
        const from = ranges[i].offset - offset;
        out[i] = bytes.subarray(from, from + ranges[i].length);
      }
    }),
  );
  return out;
}
