// The traces of one tenant that limits are about: which are live, and how many bytes each has brought since
// its head began. A hash table of numbers: a lookup a run of spans, no object a trace. A trace is known by 64
// bits of a seeded hash of its id.
import { word32 } from '../../block/head/wire.ts';

/** Words of a trace. */
const Word = {
  low: 0,
  high: 1,
  bytes: 2,
  /** The last group of spans whose resource and scope are in `bytes`. */
  group: 3,
  /** When it became live; 0 = it is not. */
  since: 4,
  last: 5,
} as const;
const WORDS = 6;
const SLOTS_MIN = 16;
const BYTES_MAX = 0x7fff_ffff;

export interface Lives {
  /** A trace is live until it was silent for so many ticks, */
  readonly idle: number;
  /** or has been live for so many. */
  readonly live: number;
}

export class TenantTraces {
  /** Traces that are live, or were when last looked. */
  liveCount = 0;
  private count = 0;
  private slots = new Int32Array(SLOTS_MIN); // ordinal + 1
  private words = new Int32Array((SLOTS_MIN / 2) * WORDS);
  private liveList = new Int32Array(SLOTS_MIN / 2);
  private nextGroup = 0;
  private sweptAt = 0;
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;
  private readonly lives: Lives;
  private low = 0;
  private high = 0;

  constructor(lives: Lives) {
    this.lives = lives;
  }

  /** Traces that are remembered. */
  get size(): number {
    return this.count;
  }

  /** @returns the number of the first of `groups` new groups. */
  takeGroups(groups: number): number {
    const first = this.nextGroup;
    this.nextGroup = (first + groups) | 0;
    return first;
  }

  /**
   * The trace whose id is at `p`, which is live from now on.
   * @param liveMax 0 = no limit.
   * @returns its ordinal, valid until `forget` or `sweep`; -1 = no more traces may live.
   */
  touch(b: Uint8Array, p: number, now: number, liveMax: number): number {
    let found = this.find(b, p);
    if (found < 0 || this.words[found * WORDS + Word.since] === 0) {
      if (liveMax > 0 && this.liveCount >= liveMax) {
        if (!this.canRelax(now)) return -1;
        this.markDead(now);
        if (this.liveCount >= liveMax) return -1;
      }
      if (found < 0) found = this.add(~found);
      this.enliven(found, now);
    }
    const { words, lives } = this;
    const at = found * WORDS;
    const isOver = now - words[at + Word.since]! >= lives.live || now - words[at + Word.last]! >= lives.idle;
    if (isOver) words[at + Word.since] = now;
    words[at + Word.last] = now;
    return found;
  }

  /** Adds to the bytes of a trace. @returns their sum. */
  addBytes(ordinal: number, bytes: number, group: number, groupBytes: number): number {
    const { words } = this;
    const at = ordinal * WORDS;
    let sum = words[at + Word.bytes]! + bytes;
    if (words[at + Word.group] !== group) {
      words[at + Word.group] = group;
      sum += groupBytes;
    }
    if (sum > BYTES_MAX) sum = BYTES_MAX;
    words[at + Word.bytes] = sum;
    return sum;
  }

  bytesOf(ordinal: number): number {
    return this.words[ordinal * WORDS + Word.bytes]!;
  }

  /** Takes back what was added for spans that were not kept in the end. */
  subtractBytes(b: Uint8Array, p: number, bytes: number): void {
    const found = this.find(b, p);
    if (found < 0) return;
    const at = found * WORDS + Word.bytes;
    this.words[at] = Math.max(0, this.words[at]! - bytes);
  }

  /** Forgets the bytes of traces that are not live: their head is closed. */
  forgetDead(now: number): void {
    this.markDead(now);
    this.keepLive();
  }

  /** @param keepsBytes false = nobody asks for the bytes of traces that are not live. */
  sweep(now: number, keepsBytes: boolean): void {
    this.markDead(now);
    const isMostlyDead = this.liveCount === 0 || this.count > 2 * this.liveCount + SLOTS_MIN;
    if (!keepsBytes && isMostlyDead) this.keepLive();
  }

  /** Looking at every live trace is worth it once a tick. */
  private canRelax(now: number): boolean {
    return this.sweptAt !== now;
  }

  private markDead(now: number): void {
    this.sweptAt = now;
    const { words, liveList, lives } = this;
    let kept = 0;
    for (let i = 0; i < this.liveCount; i++) {
      const ordinal = liveList[i]!;
      const at = ordinal * WORDS;
      const isLive = now - words[at + Word.last]! < lives.idle && now - words[at + Word.since]! < lives.live;
      if (isLive) liveList[kept++] = ordinal;
      else words[at + Word.since] = 0;
    }
    this.liveCount = kept;
  }

  private enliven(ordinal: number, now: number): void {
    if (this.liveCount === this.liveList.length) this.liveList = doubled(this.liveList);
    this.liveList[this.liveCount++] = ordinal;
    this.words[ordinal * WORDS + Word.since] = now;
  }

  /** The ordinal of a trace, or ~slot where it would have to be entered. */
  private find(b: Uint8Array, p: number): number {
    const { slots, words } = this;
    const w2 = word32(b, p + 8);
    const w3 = word32(b, p + 12);
    let h = Math.imul(word32(b, p) ^ this.seed, 0x9e3779b1);
    h = Math.imul((h ^ (h >>> 15)) + word32(b, p + 4), 0x85ebca6b);
    let g = Math.imul((h ^ (h >>> 13)) + w2, 0xc2b2ae35);
    g = Math.imul((g ^ (g >>> 15)) + w3, 0x27d4eb2f);
    const low = g ^ (g >>> 16);
    // Not from g alone: the halves must differ for ids of 64 bits too, whose h is the same.
    const high = (Math.imul(h ^ w2, 0x165667b1) + Math.imul(w3 ^ (h >>> 7), 0x85ebca6b)) | 0;
    this.low = low;
    this.high = high;
    const mask = slots.length - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const ordinal = slots[slot]! - 1;
      if (ordinal < 0) return ~slot;
      const at = ordinal * WORDS;
      if (words[at] === low && words[at + Word.high] === high) return ordinal;
    }
  }

  /** Enters the trace that `find` has just not found. */
  private add(slot: number): number {
    const ordinal = this.count++;
    const at = ordinal * WORDS;
    if (at === this.words.length) this.words = doubled(this.words);
    this.words[at] = this.low;
    this.words[at + Word.high] = this.high;
    this.words[at + Word.bytes] = 0;
    this.words[at + Word.group] = -1;
    this.slots[slot] = ordinal + 1;
    if (this.count * 2 > this.slots.length) this.index(this.slots.length * 2);
    return ordinal;
  }

  /** Keeps the live traces only, in as much memory as they need. */
  private keepLive(): void {
    const { words, liveList, liveCount } = this;
    let slots = SLOTS_MIN;
    while (slots < liveCount * 2) slots *= 2;
    const kept = new Int32Array((slots / 2) * WORDS);
    const list = new Int32Array(slots / 2);
    for (let i = 0; i < liveCount; i++) {
      const from = liveList[i]! * WORDS;
      kept.set(words.subarray(from, from + WORDS), i * WORDS);
      list[i] = i;
    }
    this.words = kept;
    this.liveList = list;
    this.count = liveCount;
    this.index(slots);
  }

  private index(size: number): void {
    const slots = new Int32Array(size);
    const mask = size - 1;
    for (let ordinal = 0; ordinal < this.count; ordinal++) {
      let slot = this.words[ordinal * WORDS]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = ordinal + 1;
    }
    this.slots = slots;
  }
}

function doubled(list: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(list.length * 2);
  grown.set(list);
  return grown;
}
