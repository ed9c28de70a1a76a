// Finds the trace ids that occur more than once among several lists. Most ids occur once: a first pass notes
// in a bitmap which hashes it has seen, a second one collects those that came twice, and only they are
// compared.
import { IntList } from '../lib/int-list.ts';

/** Trace i is at the places [ends[i - 1], ends[i]), in the order of the lists. Traces ascend by id. */
export interface IdPlaces {
  readonly ends: Int32Array;
  readonly list: Int32Array;
  readonly index: Int32Array;
}

const ID_WORDS = 4;
/** Bits of the bitmaps for each id: about one id in 16 is compared in vain. */
const BITS_PER_ID = 16;
const BITMAP_BITS_MIN = 1 << 10;
const BITMAP_BITS_MAX = 2 ** 29;
/** Bits of a number that is exact in a double. */
const EXACT_BITS = 53;
const WORD_BITS = 32;

/** @param lists 16 bytes an id each. An id may also occur twice in one list. */
export function findSharedIds(lists: readonly Uint8Array[], signal?: AbortSignal): IdPlaces {
  const words = lists.map(wordsOf);
  const candidates = collectCandidates(words, signal);
  return groupEqual(words, candidates);
}

interface Candidates {
  readonly list: Int32Array;
  readonly index: Int32Array;
}

function collectCandidates(lists: readonly Int32Array[], signal: AbortSignal | undefined): Candidates {
  const idCount = lists.reduce((sum, words) => sum + words.length / ID_WORDS, 0);
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, idCount) * BITS_PER_ID));
  const bits = Math.min(Math.max(wanted, BITMAP_BITS_MIN), BITMAP_BITS_MAX);
  const mask = bits - 1;
  const seen = new Int32Array(bits / 32);
  const repeated = new Int32Array(bits / 32);
  for (const words of lists) {
    signal?.throwIfAborted();
    for (let at = 0; at < words.length; at += ID_WORDS) {
      const bit = hashAt(words, at) & mask;
      const flag = 1 << (bit & 31);
      if ((seen[bit >>> 5]! & flag) === 0) seen[bit >>> 5]! |= flag;
      else repeated[bit >>> 5]! |= flag;
    }
  }
  const list = new IntList();
  const index = new IntList();
  for (let k = 0; k < lists.length; k++) {
    signal?.throwIfAborted();
    const words = lists[k]!;
    for (let at = 0; at < words.length; at += ID_WORDS) {
      const bit = hashAt(words, at) & mask;
      if ((repeated[bit >>> 5]! & (1 << (bit & 31))) === 0) continue;
      list.push(k);
      index.push(at / ID_WORDS);
    }
  }
  return { list: list.view(), index: index.view() };
}

/** Sorts the candidates by id, and keeps runs of equal ones. */
function groupEqual(lists: readonly Int32Array[], { list, index }: Candidates): IdPlaces {
  const order = orderById(lists, { list, index });
  const ends = new IntList();
  const places = { list: new IntList(), index: new IntList() };
  let begin = 0;
  for (let i = 1; i <= order.length; i++) {
    const isEqual = i < order.length && compareAt(order[begin]!, order[i]!) === 0;
    if (isEqual) continue;
    if (i - begin > 1) {
      for (let k = begin; k < i; k++) {
        places.list.push(list[order[k]!]!);
        places.index.push(index[order[k]!]!);
      }
      ends.push(places.list.length);
    }
    begin = i;
  }
  return { ends: ends.view(), list: places.list.view(), index: places.index.view() };

  function compareAt(a: number, b: number): number {
    return compareIds(lists[list[a]!]!, index[a]!, lists[list[b]!]!, index[b]!);
  }
}

/** Fewer candidates are put in order by comparing them. */
const COMPARED_MAX = 32;

/** The candidates by id, equal ones as they came. */
function orderById(lists: readonly Int32Array[], { list, index }: Candidates): Int32Array {
  const order = Int32Array.from(list.keys());
  sortFrom(0, order);
  return order;

  /** Word by word: ids of 64 bits begin with eight bytes of zeros. The words before are equal. */
  function sortFrom(word: number, some: Int32Array): void {
    const count = some.length;
    if (word === ID_WORDS) return;
    if (count <= COMPARED_MAX) return insertionSort(some);
    const placeBits = Math.ceil(Math.log2(count));
    // A word and a place are one number that is exact; of a great many only the first bits of the word.
    const left = Math.max(0, WORD_BITS + placeBits - EXACT_BITS);
    const scale = 2 ** placeBits;
    const keys = new Float64Array(count);
    const first = wordAt(some[0]!, word);
    let isOne = true;
    for (let i = 0; i < count; i++) {
      const bits = wordAt(some[i]!, word);
      isOne &&= bits === first;
      keys[i] = (bits >>> left) * scale + i;
    }
    if (isOne) return sortFrom(word + 1, some);
    keys.sort();
    const before = some.slice();
    for (let i = 0; i < count; i++) some[i] = before[keys[i]! % scale]!;
    let begin = 0;
    for (let i = 1; i <= count; i++) {
      if (i < count && Math.floor(keys[i]! / scale) === Math.floor(keys[begin]! / scale)) continue;
      const run = some.subarray(begin, i);
      if (run.length > 1 && left === 0) sortFrom(word + 1, run);
      else if (run.length <= COMPARED_MAX) insertionSort(run);
      else run.sort(compareCandidates);
      begin = i;
    }
  }

  /** Nearly in order are those of which copies lie in several lists. */
  function insertionSort(some: Int32Array): void {
    for (let i = 1; i < some.length; i++) {
      const one = some[i]!;
      let at = i;
      for (; at > 0 && compareCandidates(some[at - 1]!, one) > 0; at--) some[at] = some[at - 1]!;
      some[at] = one;
    }
  }

  function wordAt(candidate: number, word: number): number {
    return bigEndian(lists[list[candidate]!]![index[candidate]! * ID_WORDS + word]!);
  }

  function compareCandidates(a: number, b: number): number {
    return compareIds(lists[list[a]!]!, index[a]!, lists[list[b]!]!, index[b]!) || a - b;
  }
}

function compareIds(a: Int32Array, i: number, b: Int32Array, k: number): number {
  for (let word = 0; word < ID_WORDS; word++) {
    const difference = bigEndian(a[i * ID_WORDS + word]!) - bigEndian(b[k * ID_WORDS + word]!);
    if (difference !== 0) return difference;
  }
  return 0;
}

function bigEndian(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | ((word >>> 24) & 0xff)) >>> 0;
}

function hashAt(words: Int32Array, at: number): number {
  let hash =
    Math.imul(words[at]! ^ words[at + 2]!, 0x9e3779b1) ^
    Math.imul(words[at + 1]! ^ words[at + 3]!, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
  return hash ^ (hash >>> 13);
}

function wordsOf(ids: Uint8Array): Int32Array {
  const isAligned = ids.byteOffset % Int32Array.BYTES_PER_ELEMENT === 0;
  const bytes = isAligned ? ids : ids.slice();
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / Int32Array.BYTES_PER_ELEMENT);
}
