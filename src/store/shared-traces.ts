// Finds the traces that lie in several sources of a query, so that each is evaluated once: where all copies
// hold the same spans one of them is, in place; where they differ the parts are brought together.
import { createHash } from 'node:crypto';
import { DIGEST_WORDS } from '../block/stored-spans.ts';
import { IntList } from '../lib/int-list.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import type { BlockOpener } from './block-opener.ts';
import type { ScanFailure, ScanSource, SharedTracesJob, SharedTracesJobResult } from './scan-job.ts';
import { findSharedIds, type IdPlaces } from './shared-ids.ts';
import { guarded, type OpenSource, type OpenTraces, openTraces } from './source-walk.ts';

/** Ids of a head or row group. */
interface Part {
  readonly source: number;
  readonly ref: ScanSource;
  readonly spans: OpenTraces;
  /** Row of the first trace of `spans` in its block. */
  readonly firstRow: number;
  readonly ids: Uint8Array;
  /** The ordinal of each id. */
  readonly ordinals: Int32Array;
}

export async function findSharedTraces(
  blocks: BlockOpener,
  job: SharedTracesJob,
  signal: AbortSignal,
): Promise<SharedTracesJobResult> {
  const opened: OpenSource<OpenTraces>[] = [];
  const open = async (ref: ScanSource): Promise<readonly OpenSource<OpenTraces>[]> => {
    const some = await openTraces(blocks, ref, signal);
    opened.push(...some);
    return some;
  };
  try {
    return await findIn(open, job, signal);
  } finally {
    for (const { release } of opened) release();
  }
}

async function findIn(
  open: (ref: ScanSource) => Promise<readonly OpenSource<OpenTraces>[]>,
  { sources, range }: SharedTracesJob,
  signal: AbortSignal,
): Promise<SharedTracesJobResult> {
  const failures: ScanFailure[] = [];
  const parts: Part[] = [];
  const traceCounts = sources.map(() => 0);
  const newestStarts = sources.map(() => Infinity);
  let inspectedBytes = 0;
  for (const [source, ref] of sources.entries()) {
    await guarded(ref, failures, async () => {
      let newest = -Infinity;
      for (const { spans, firstRow } of await open(ref)) {
        signal.throwIfAborted();
        const count = Math.min(spans.traceCount, ref.traceCount ?? Infinity);
        traceCounts[source]! += count;
        newest = Math.max(newest, await spans.newestStart(signal));
        if (!spans.mayHaveIds(...range)) continue;
        const { ids } = await spans.traceIds(signal);
        const part = idsInRange(ids.subarray(0, count * TRACE_ID_BYTES), range);
        parts.push({ source, ref, spans, firstRow, ...part });
      }
      newestStarts[source] = newest;
    });
  }
  const found = findSharedIds(
    parts.map(({ ids }) => ids),
    signal,
  );
  const digests = await digestsOf(parts, found, failures, signal);
  const times = await timesOf(parts, found, failures, signal);
  const decided = decide(parts, found, { digests, ...times }, sources.length);
  for (const { spans } of parts) inspectedBytes += spans.bytesRead;
  return { kind: 'sharedTraces', ...decided, traceCounts, newestStarts, inspectedBytes, failures };
}

function idsInRange(ids: Uint8Array, [from, to]: SharedTracesJob['range']): Pick<Part, 'ids' | 'ordinals'> {
  const count = ids.length / TRACE_ID_BYTES;
  const ordinals = new Int32Array(count);
  const view = new DataView(ids.buffer, ids.byteOffset, ids.byteLength);
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const bits = view.getUint32(i * TRACE_ID_BYTES);
    if (bits >= from && bits < to) ordinals[kept++] = i;
  }
  if (kept === count) return { ids, ordinals };
  const some = new Uint8Array(kept * TRACE_ID_BYTES);
  for (let i = 0; i < kept; i++) {
    const at = ordinals[i]! * TRACE_ID_BYTES;
    some.set(ids.subarray(at, at + TRACE_ID_BYTES), i * TRACE_ID_BYTES);
  }
  return { ids: some, ordinals: ordinals.subarray(0, kept) };
}

/** DIGEST_WORDS for each place; all zero where they could not be read. */
async function digestsOf(
  parts: readonly Part[],
  found: IdPlaces,
  failures: ScanFailure[],
  signal: AbortSignal,
): Promise<Int32Array> {
  const digests = new Int32Array(found.list.length * DIGEST_WORDS);
  await eachPart(parts, found, failures, async ({ spans }, places, rows) => {
    const some = await spans.spanDigests(rows, signal);
    for (let k = 0; k < places.length; k++) {
      const [from, to] = [k * DIGEST_WORDS, places[k]! * DIGEST_WORDS];
      for (let word = 0; word < DIGEST_WORDS; word++) digests[to + word] = some[from + word]!;
    }
  });
  return digests;
}

/** When the trace at each place begins and ends; NaN where that could not be read. */
async function timesOf(
  parts: readonly Part[],
  found: IdPlaces,
  failures: ScanFailure[],
  signal: AbortSignal,
): Promise<Pick<SharedTracesJobResult, 'startMicros' | 'endMicros'>> {
  const startMicros = new Float64Array(found.list.length).fill(Number.NaN);
  const endMicros = new Float64Array(found.list.length).fill(Number.NaN);
  await eachPart(parts, found, failures, async ({ spans }, places, rows) => {
    const times = await spans.traceTimes(signal);
    places.forEach((place, k) => {
      startMicros[place] = times.startMicros[rows[k]!]!;
      endMicros[place] = times.endMicros[rows[k]!]!;
    });
  });
  return { startMicros, endMicros };
}

/** Calls its argument for every part that has places, with the ordinals of the traces there. */
async function eachPart(
  parts: readonly Part[],
  found: IdPlaces,
  failures: ScanFailure[],
  work: (part: Part, places: Int32Array, ordinals: Int32Array) => Promise<void>,
): Promise<void> {
  const placesOf = placesByPart(parts.length, found);
  for (const [i, part] of parts.entries()) {
    const places = placesOf[i]!;
    if (places.length === 0) continue;
    const rows = places.map((place) => part.ordinals[found.index[place]!]!);
    await guarded(part.ref, failures, () => work(part, places, rows));
  }
}

function placesByPart(count: number, { list }: IdPlaces): readonly Int32Array[] {
  const counts = new Int32Array(count);
  for (const part of list) counts[part]!++;
  const places = Array.from(counts, (length) => new Int32Array(length));
  counts.fill(0);
  for (let place = 0; place < list.length; place++) {
    const part = list[place]!;
    places[part]![counts[part]!++] = place;
  }
  return places;
}

/** What is known of each place. */
interface PlaceFacts extends Pick<SharedTracesJobResult, 'startMicros' | 'endMicros'> {
  readonly digests: Int32Array;
}

/** For each shared trace: one place that stands for all, or those that make it whole. */
function decide(
  parts: readonly Part[],
  found: IdPlaces,
  { digests, startMicros, endMicros }: PlaceFacts,
  sourceCount: number,
): Pick<SharedTracesJobResult, 'without' | 'apart' | 'places' | 'version' | 'startMicros' | 'endMicros'> {
  const apart = Array.from({ length: sourceCount }, () => new IntList(0));
  const starts: number[] = [];
  const stops: number[] = [];
  const without = Array.from({ length: sourceCount }, () => new IntList(0));
  const ends = new IntList(0);
  const source = new IntList(0);
  const row = new IntList(0);
  const spans = new IntList(0);
  const rowOf = (part: Part, place: number): number => part.firstRow + part.ordinals[found.index[place]!]!;
  const leaveOut = (place: number): void => {
    const part = parts[found.list[place]!]!;
    without[part.source]!.push(rowOf(part, place));
  };
  let begin = 0;
  for (const end of found.ends) {
    const distinct = distinctPlaces(digests, begin, end);
    for (let place = begin; place < end; place++) {
      if (distinct.length > 1 || place !== begin) leaveOut(place);
    }
    const first = begin;
    begin = end;
    if (distinct.length === 1) continue;
    starts.push(startMicros.subarray(first, end).reduce((a, b) => Math.min(a, b)));
    stops.push(endMicros.subarray(first, end).reduce((a, b) => Math.max(a, b)));
    for (const place of distinct) {
      const part = parts[found.list[place]!]!;
      source.push(part.source);
      row.push(rowOf(part, place));
      apart[part.source]!.push(rowOf(part, place));
      for (let word = 0; word < DIGEST_WORDS; word++) spans.push(digests[place * DIGEST_WORDS + word]!);
    }
    ends.push(source.length);
  }
  return {
    without: without.map((rows) => shared(rows).sort()),
    apart: apart.map((rows) => shared(rows).sort()),
    startMicros: Float64Array.from(starts),
    endMicros: Float64Array.from(stops),
    places: { ends: shared(ends), source: shared(source), row: shared(row) },
    version: versionOf([ends, source, row, spans]),
  };
}

function versionOf(lists: readonly IntList[]): string {
  const hash = createHash('sha256');
  for (const list of lists) hash.update(list.view().slice());
  return hash.digest('base64');
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
