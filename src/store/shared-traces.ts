// Finds the traces that lie in several sources of a query, so that each is evaluated once: where all copies
// hold the same spans one of them is, in place; where they differ the parts are brought together.
import type { StoredSpans } from '../block/stored-spans.ts';
import { DIGEST_WORDS } from '../block/stored-spans.ts';
import { IntList } from '../lib/int-list.ts';
import type { BlockOpener } from './block-opener.ts';
import type { ScanFailure, ScanSource, SharedTracesJob, SharedTracesJobResult } from './scan-job.ts';
import { findSharedIds, type IdPlaces } from './shared-ids.ts';
import { guarded, openSource } from './source-walk.ts';

/** A head or row group whose ids are known. */
interface Part {
  readonly source: number;
  readonly ref: ScanSource;
  readonly spans: StoredSpans;
  readonly firstRow: number;
  readonly ids: Uint8Array;
}

export async function findSharedTraces(
  blocks: BlockOpener,
  { sources }: SharedTracesJob,
  signal: AbortSignal,
): Promise<SharedTracesJobResult> {
  const failures: ScanFailure[] = [];
  const parts: Part[] = [];
  const traceCounts = sources.map(() => 0);
  const newestStarts = sources.map(() => -Infinity);
  for (const [source, ref] of sources.entries()) {
    await guarded(ref, failures, async () => {
      for (const { spans, firstRow } of await openSource(blocks, ref, signal)) {
        const { ids } = await spans.traceIds(signal);
        parts.push({ source, ref, spans, firstRow, ids });
        traceCounts[source]! += spans.traceCount;
        newestStarts[source] = Math.max(newestStarts[source]!, await spans.newestStart(signal));
      }
    });
  }
  const found = findSharedIds(
    parts.map(({ ids }) => ids),
    signal,
  );
  const digests = await digestsOf(parts, found, failures, signal);
  const { without, places } = decide(parts, found, digests, sources.length);
  const inspectedBytes = parts.reduce((sum, { spans }) => sum + spans.bytesRead, 0);
  return { kind: 'sharedTraces', without, traceCounts, newestStarts, places, inspectedBytes, failures };
}

/** DIGEST_WORDS for each place; all zero where they could not be read. */
async function digestsOf(
  parts: readonly Part[],
  found: IdPlaces,
  failures: ScanFailure[],
  signal: AbortSignal,
): Promise<Int32Array> {
  const digests = new Int32Array(found.list.length * DIGEST_WORDS);
  const placesOf = parts.map(() => new IntList(0));
  for (let place = 0; place < found.list.length; place++) placesOf[found.list[place]!]!.push(place);
  for (const [i, { ref, spans }] of parts.entries()) {
    const places = placesOf[i]!.view();
    if (places.length === 0) continue;
    await guarded(ref, failures, async () => {
      const rows = places.map((place) => found.index[place]!);
      const some = await spans.spanDigests(rows, signal);
      places.forEach((place, k) => {
        const digest = some.subarray(k * DIGEST_WORDS, (k + 1) * DIGEST_WORDS);
        digests.set(digest, place * DIGEST_WORDS);
      });
    });
  }
  return digests;
}

/** For each shared trace: one place that stands for all, or those that make it whole. */
function decide(
  parts: readonly Part[],
  found: IdPlaces,
  digests: Int32Array,
  sourceCount: number,
): Pick<SharedTracesJobResult, 'without' | 'places'> {
  const without = Array.from({ length: sourceCount }, () => new IntList(0));
  const ends = new IntList(0);
  const source = new IntList(0);
  const row = new IntList(0);
  const leaveOut = (place: number): void => {
    const part = parts[found.list[place]!]!;
    without[part.source]!.push(part.firstRow + found.index[place]!);
  };
  let begin = 0;
  for (const end of found.ends) {
    const distinct = distinctPlaces(digests, begin, end);
    for (let place = begin; place < end; place++) {
      if (distinct.length > 1 || place !== begin) leaveOut(place);
    }
    begin = end;
    if (distinct.length === 1) continue;
    for (const place of distinct) {
      const part = parts[found.list[place]!]!;
      source.push(part.source);
      row.push(part.firstRow + found.index[place]!);
    }
    ends.push(source.length);
  }
  return {
    without: without.map((rows) => shared(rows).sort()),
    places: { ends: shared(ends), source: shared(source), row: shared(row) },
  };
}

/** Of the places of a trace those whose spans are not all in an earlier one; unknown spans are in none. */
function distinctPlaces(digests: Int32Array, begin: number, end: number): number[] {
  const distinct: number[] = [];
  for (let place = begin; place < end; place++) {
    const isUnknown = digests[place * DIGEST_WORDS] === 0;
    if (isUnknown || !distinct.some((earlier) => isEqual(digests, earlier, place))) distinct.push(place);
  }
  return distinct;
}

function isEqual(digests: Int32Array, a: number, b: number): boolean {
  for (let word = 0; word < DIGEST_WORDS; word++) {
    if (digests[a * DIGEST_WORDS + word] !== digests[b * DIGEST_WORDS + word]) return false;
  }
  return true;
}

function shared(list: IntList): Int32Array {
  const items = list.view();
  const copy = new Int32Array(new SharedArrayBuffer(items.byteLength));
  copy.set(items);
  return copy;
}
