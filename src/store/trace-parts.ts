// Finds one trace in the sources of a job. Of copies in blocks that hold the same spans, as replicas write
// them, one is read.
import type { LocatedTrace } from '../block/stored-spans.ts';
import { eachConcurrently } from '../lib/concurrent.ts';
import type { BlockOpener } from './block-opener.ts';
import type { ScanFailure, ScanSource, TraceJob } from './scan-job.ts';
import { guarded, openHead } from './source-walk.ts';

export interface TraceParts {
  /** Serialised TracesData, in the order of the sources. */
  readonly found: readonly Uint8Array[];
  /** Of heads; what is read of blocks counts as their opener's. */
  readonly inspectedBytes: number;
}

interface Copy {
  readonly source: number;
  readonly ref: ScanSource;
  readonly located: LocatedTrace;
}

/** @param atOnce so many sources are read at a time. @param failures takes what could not be read. */
export async function findTraceParts(
  blocks: BlockOpener,
  { sources, id }: Pick<TraceJob, 'sources' | 'id'>,
  atOnce: number,
  failures: ScanFailure[],
  signal: AbortSignal,
): Promise<TraceParts> {
  const parts: (Uint8Array | undefined)[] = sources.map(() => undefined);
  const copies: Copy[] = [];
  let inspectedBytes = 0;
  await eachConcurrently(sources.entries(), atOnce, async ([source, ref]) => {
    await guarded(ref, failures, async () => {
      if (ref.kind === 'remote') throw new Error(`source ${ref.blockId} is asked where it is`);
      if (ref.kind === 'head') {
        parts[source] = await openHead(ref.sab, ref.blockId, blocks.heads).trace(id);
        inspectedBytes += parts[source]?.length ?? 0;
        return;
      }
      const located = await blocks.locateTrace(ref.meta, ref.location, id, signal);
      if (located !== undefined) copies.push({ source, ref, located });
    });
  });
  copies.sort((a, b) => a.source - b.source);
  await eachConcurrently(await alike(copies, atOnce), atOnce, async (same) => {
    for (const { source, ref, located } of same) {
      await guarded(ref, failures, async () => {
        parts[source] = await located.read();
      });
      if (parts[source] !== undefined) return;
    }
  });
  return { found: parts.filter((part) => part !== undefined), inspectedBytes };
}

/** Those that hold the same spans together. One whose digest cannot be read is by itself. */
async function alike(copies: readonly Copy[], atOnce: number): Promise<readonly (readonly Copy[])[]> {
  if (copies.length < 2) return copies.length === 0 ? [] : [copies];
  const digests = new Map<Copy, string>();
  await eachConcurrently(copies, atOnce, async (copy) => {
    // Reading the copy says again what is wrong with it.
    await guarded(copy.ref, [], async () => {
      digests.set(copy, (await copy.located.digest()).join());
    });
  });
  return [...Map.groupBy(copies, (copy) => digests.get(copy) ?? copy).values()];
}
