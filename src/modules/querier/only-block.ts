// Which jobs read one block and nothing else, so that their answers stay what they are.
import type { QueryInput, ScanSource } from '../../store/scan-job.ts';

/** The one block that a job reads, whole but for row groups; undefined = it reads something else. */
export function onlyBlock({
  sources,
  whole,
}: QueryInput): Extract<ScanSource, { kind: 'block' }> | undefined {
  const [source, ...others] = sources;
  if (whole !== undefined || source?.kind !== 'block' || others.length > 0) return undefined;
  return source.without === undefined ? source : undefined;
}

interface SecondsRange {
  readonly startSec: number | undefined;
  readonly endSec: number | undefined;
}

/** Of a block that lies within the range nothing is left out, but traces that are not of its times. */
export function coversBlock(
  { startSec = -Infinity, endSec = Infinity }: SecondsRange,
  block: { readonly startSec: number; readonly endSec: number },
): boolean {
  return startSec < block.startSec && endSec > block.endSec;
}
