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
  /** A span may be in them more than once, be it in one part. */
  readonly hasRepeats: boolean;
  readonly inspectedBytes: number;
}

interface Copy {
  readonly source: number;
  readonly ref: ScanSource;
  readonly located: LocatedTrace;
}

/** Copies that are open at a time, beside those just looked at: small remote blocks are in memory whole. */
const COPIES_MAX = 32;

/** @param atOnce so many sources are read at a time. @param failures takes what could not be read. */
export async function findTraceParts(
  blocks: BlockOpener,
  { sources, id }: Pick<TraceJob, 'sources' | 'id'>,
  atOnce: number,
  failures: ScanFailure[],
  signal: AbortSignal,
): Promise<TraceParts> {
  const parts: (Uint8Array | undefined)[] = sources.map(() => undefined);
  const known = new Set<string>();
  let inspectedBytes = 0;
  let hasRepeats = false;
  const count = (bytes: number): void => void (inspectedBytes += bytes);
  const left = sources.entries();
  for (let isOver = false; !isOver; ) {
    const copies: Copy[] = [];
    const some = whileRoom(left, () => copies.length < COPIES_MAX);
    await eachConcurrently(some, atOnce, async ([source, ref]) => {
      await guarded(ref, failures, async () => {
        if (ref.kind === 'remote') throw new Error(`source ${ref.blockId} is asked where it is`);
        if (ref.kind === 'head') {
          parts[source] = await openHead(ref.sab, ref.blockId, blocks.heads).trace(id);
          count(parts[source]?.length ?? 0);
          return;
        }
        const located = await blocks.locateTrace(ref.meta, ref.location, id, count, signal);
        if (located !== undefined) copies.push({ source, ref, located });
      });
    });
    isOver = copies.length < COPIES_MAX;
    copies.sort((a, b) => a.source - b.source);
    // One copy of all needs no digest.
    const isOnly = isOver && copies.length === 1 && known.size === 0;
    const groups = isOnly ? [{ digest: undefined, copies }] : await alike(copies, atOnce);
    await eachConcurrently(groups, atOnce, async ({ digest, copies: same }) => {
      if (digest !== undefined && known.has(digest.words)) return;
      hasRepeats ||= digest?.hasRepeats === true;
      for (const { source, ref, located } of same) {
        await guarded(ref, failures, async () => {
          parts[source] = await located.read();
        });
        if (parts[source] === undefined) continue;
        if (digest !== undefined) known.add(digest.words);
        return;
      }
    });
  }
  const found = parts.filter((part) => part !== undefined);
  return { found, hasRepeats: hasRepeats || found.length > 1, inspectedBytes };
}

/** Items for as long as there is room; the others are left to whoever asks next. */
function* whileRoom<T>(left: Iterator<T>, hasRoom: () => boolean): Generator<T> {
  while (hasRoom()) {
    const next = left.next();
    if (next.done === true) return;
    yield next.value;
  }
}

/** Copies that hold the same spans. */
interface Alike {
  /** undefined = unknown. */
  readonly digest: { readonly words: string; readonly hasRepeats: boolean } | undefined;
  readonly copies: readonly Copy[];
}

/** One whose digest cannot be read is by itself. */
async function alike(copies: readonly Copy[], atOnce: number): Promise<readonly Alike[]> {
  const digests = new Map<Copy, NonNullable<Alike['digest']>>();
  await eachConcurrently(copies, atOnce, async (copy) => {
    // Reading the copy says again what is wrong with it.
    await guarded(copy.ref, [], async () => {
      const { words, hasRepeats } = await copy.located.digest();
      digests.set(copy, { words: words.join(), hasRepeats });
    });
  });
  const groups = Map.groupBy(copies, (copy) => digests.get(copy)?.words ?? copy);
  return [...groups.values()].map((same) => ({ digest: digests.get(same[0]!), copies: same }));
}
