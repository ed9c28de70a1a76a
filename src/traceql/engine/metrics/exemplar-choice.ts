// Which spans of a source become exemplars: of each trace one, and in each slice of the range those of the
// traces with the lowest priorities. Most traces are passed over by their priority alone.
import { TRACE_ID_BYTES } from '../../../model/ids.ts';
import type { TimedSpans } from './range.ts';

export interface Slicing {
  /** Of each interval. */
  readonly sliceOf: Int32Array;
  /** Exemplars of a slice. */
  readonly perSlice: number;
  /** Of each slice: priorities from here on are not wanted. Infinity = it is not full. */
  readonly limits: Float64Array;
}

export interface Candidates {
  readonly timed: TimedSpans;
  readonly spanTrace: Int32Array;
  /** Of each of the spans; -1 = it cannot be taken. undefined = all can. */
  readonly rows: Int32Array | undefined;
  /** Of the traces of the source. */
  readonly ids: Uint8Array;
}

/** A span as its place in the list. */
export interface Chosen {
  readonly k: number;
  readonly trace: number;
  readonly priority: number;
}

const WORDS_OF_ID = TRACE_ID_BYTES / Int32Array.BYTES_PER_ELEMENT;
/** So many traces for each exemplar are looked at first. */
const FIRST_TRACES = 16;
const PRIORITIES = 2 ** 32;

export class ExemplarChoice {
  private readonly candidates: Candidates;
  private readonly slicing: Slicing;
  private readonly priorities: Uint32Array;
  /** By slice, lowest priority first. */
  private readonly bySlice: Chosen[][];

  constructor(candidates: Candidates, slicing: Slicing) {
    this.candidates = candidates;
    this.slicing = slicing;
    this.priorities = prioritiesOf(candidates.ids);
    this.bySlice = Array.from(slicing.limits, () => []);
  }

  /** In the order of their spans. */
  made(): Chosen[] {
    const { perSlice, limits } = this.slicing;
    const traces = this.priorities.length;
    const below = Math.ceil(PRIORITIES * ((FIRST_TRACES * perSlice * limits.length) / traces));
    this.takeFrom(this.priorities.map((priority) => (priority < below ? 1 : 0)));
    if (below < PRIORITIES) {
      const others = this.unseen(below);
      if (others !== undefined) this.takeFrom(others);
    }
    return this.bySlice.flat().sort((a, b) => a.k - b.k);
  }

  /** Other traces that have a span where the first ones leave room; undefined = none has. */
  private unseen(below: number): Uint32Array | undefined {
    const { sliceOf, perSlice, limits } = this.slicing;
    const hasRoom = Uint8Array.from(sliceOf, (slice) =>
      this.bySlice[slice]!.length < perSlice && limits[slice]! >= below ? 1 : 0,
    );
    const { timed, spanTrace } = this.candidates;
    const { spans, intervals } = timed;
    let others: Uint32Array | undefined;
    for (let k = 0; k < spans.length; k++) {
      if (hasRoom[intervals[k]!] === 0) continue;
      const trace = spanTrace[spans[k]!]!;
      if (this.priorities[trace]! < below) continue;
      others ??= new Uint32Array(this.priorities.length);
      others[trace] = 1;
    }
    return others;
  }

  /** @param isLookedAt 1 for each trace that may be taken. */
  private takeFrom(isLookedAt: Uint32Array): void {
    const { sliceOf, perSlice, limits } = this.slicing;
    const { intervals } = this.candidates.timed;
    const spans = oneOfEachTrace(this.candidates, isLookedAt);
    for (let trace = 0; trace < spans.length; trace++) {
      const k = spans[trace]!;
      if (k < 0) continue;
      const priority = this.priorities[trace]!;
      const slice = sliceOf[intervals[k]!]!;
      if (priority >= limits[slice]!) continue;
      const others = this.bySlice[slice]!;
      if (others.length === perSlice && priority >= others.at(-1)!.priority) continue;
      others.push({ k, trace, priority });
      others.sort((a, b) => a.priority - b.priority);
      if (others.length > perSlice) others.pop();
    }
  }
}

/** For each trace that is looked at one of its spans, as a place in the list; -1 = none. */
function oneOfEachTrace({ timed, spanTrace, rows }: Candidates, isLookedAt: Uint32Array): Int32Array {
  const { spans, offsets } = timed;
  const chosen = new Int32Array(isLookedAt.length).fill(-1);
  const lowest = new Uint32Array(isLookedAt.length);
  for (let k = 0; k < spans.length; k++) {
    const trace = spanTrace[spans[k]!]!;
    if (isLookedAt[trace] === 0 || (rows !== undefined && rows[k]! < 0)) continue;
    const offset = offsets[k]!;
    const hash = mixed(offset | 0, (offset / 4294967296) | 0);
    if (chosen[trace]! >= 0 && hash >= lowest[trace]!) continue;
    chosen[trace] = k;
    lowest[trace] = hash;
  }
  return chosen;
}

function prioritiesOf(ids: Uint8Array): Uint32Array {
  const words = wordsOf(ids);
  const priorities = new Uint32Array(words.length / WORDS_OF_ID);
  for (let trace = 0, at = 0; trace < priorities.length; trace++, at += WORDS_OF_ID) {
    priorities[trace] = mixed(mixed(words[at]!, words[at + 1]!) ^ words[at + 2]!, words[at + 3]!);
  }
  return priorities;
}

function wordsOf(ids: Uint8Array): Int32Array {
  const { buffer, byteOffset, length } = ids;
  const isAligned = byteOffset % Int32Array.BYTES_PER_ELEMENT === 0;
  return isAligned
    ? new Int32Array(buffer, byteOffset, length / Int32Array.BYTES_PER_ELEMENT)
    : new Int32Array(ids.slice().buffer);
}

function mixed(a: number, b: number): number {
  let hash = Math.imul(a ^ 0x7f4a7c15, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0xc2b2ae35);
  return (hash ^ (hash >>> 15)) >>> 0;
}
