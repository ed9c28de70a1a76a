// Rings that are kept by gossip: each member has all of them, changes its own and tells the change, and
// merges what others tell. Who hears everything in whatever order has the same.
import { hash } from 'node:crypto';
import { type Clock, sleep } from '../../lib/clock.ts';
import { TempoError } from '../../lib/errors.ts';
import { snappyLength } from '../../lib/snappy.ts';
import type { Logger } from '../../telemetry/log.ts';
import { decodeRing, encodeRing, RING_CODEC } from '../desc-codec.ts';
import { EMPTY_RING, type Instance, type RingDesc } from '../instance.ts';
import type { RingChange, RingStore } from '../kv.ts';
import { counts, mergeRings, withoutLeft } from '../merge.ts';
import type { GossipMetrics } from './gossip-metrics.ts';
import { decodePair, encodePair, joinPairs, type Pair, splitPairs } from './pairs.ts';

/** A change must be younger than what was written before, and times count seconds. */
const CHANGE_TRIES = 10;
const CHANGE_PAUSE_MS = 1000;
/** Values that were merged lately and need not be decoded again. */
const SEEN_MAX = 4096;
/**
 * An instance that is told to have been heard of later than so far from now is not believed: nothing that it
 * says itself would be younger, and it would never count as silent.
 */
const FUTURE_MS_MAX = 3_600_000;
/** Of what one message may have, what all rings may have together: members have their part of a state too. */
const RINGS_SHARE = 0.5;
/** Of that, up to where rings are let grow that this process has no use for itself. */
const STRANGE_SHARE = 0.5;
/** Pairs of one state: rings, and what other programs keep. */
const PAIRS_MAX = 1024;
/** Of an instance as bytes, without its text, tokens and versions: more than it can have. */
const INSTANCE_BYTES = 96;
const TOKEN_BYTES = 5;
const VERSION_BYTES = 24;
/** Of one unit of text. */
const UNIT_BYTES = 3;

/** Of a pair beside its ring: a short key, and the name of the codec. */
const PAIR_BYTES = 128;

export interface GossipStoreOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: GossipMetrics;
  /** How long it is remembered that an instance has left. */
  readonly leftTimeoutMs: number;
  /** Listeners are told at most that often; 0 = at once. */
  readonly notifyIntervalMs: number;
  /** Of one message; all rings together have less, so that they fit into one. */
  readonly valueBytesMax: number;
  /** Rings that only others watch and change. */
  readonly keysMax: number;
  /** Of one ring, those that left lately included. */
  readonly instancesMax: number;
  /** Puts news in the queue. @param names instances that it is about. */
  readonly broadcast: (key: string, names: ReadonlySet<string>, pair: Uint8Array, isRare: boolean) => void;
}

interface Entry {
  desc: RingDesc;
  /** Of `desc` as a message, at most. */
  bytes: number;
  /** Whether this process watches or changes it: such a ring always has room. */
  isOwn: boolean;
  readonly listeners: Set<(desc: RingDesc) => void>;
  isTelling: boolean;
}

export class GossipStore implements RingStore {
  readonly #options: GossipStoreOptions;
  readonly #entries = new Map<string, Entry>();
  /** Digests of values that brought nothing new, or nothing any more. */
  #seen = new Set<string>();
  #strangersCount = 0;
  /** Of all rings. */
  #bytes = 0;

  constructor(options: GossipStoreOptions) {
    this.#options = options;
  }

  /** All that is known, also instances that have left. */
  get values(): readonly (readonly [key: string, desc: RingDesc])[] {
    return [...this.#entries]
      .filter(([, { desc }]) => desc !== EMPTY_RING)
      .map(([key, { desc }]) => [key, desc]);
  }

  async get(key: string): Promise<RingDesc | undefined> {
    const desc = this.#entries.get(key)?.desc;
    return desc === undefined || desc === EMPTY_RING ? undefined : withoutLeft(desc);
  }

  async change(key: string, change: RingChange): Promise<void> {
    const { clock, metrics } = this.#options;
    for (let tries = 0; tries < CHANGE_TRIES; tries++) {
      const entry = this.#ownEntry(key);
      const known = withoutLeft(entry.desc);
      metrics.changes.inc();
      const wanted = change(known.size === 0 && entry.desc === EMPTY_RING ? undefined : known);
      if (wanted === undefined) return;
      const { desc, news } = mergeRings(entry.desc, wanted, Math.floor(clock.nowMs() / 1000));
      if (news !== undefined) {
        metrics.changesDone.inc();
        const isRare = isMoreThanHeartbeat(entry.desc, news);
        this.#take(key, entry, desc);
        this.#tell(key, news, isRare);
        this.#notify(entry);
        return;
      }
      if (isSame(known, wanted)) return;
      await sleep(clock, CHANGE_PAUSE_MS);
    }
    metrics.changesFailed.inc();
    throw new TempoError('unavailable', `ring ${key} could not be changed: others wrote it all the time`);
  }

  watch(key: string, listener: (desc: RingDesc) => void): () => void {
    const entry = this.#ownEntry(key);
    entry.listeners.add(listener);
    listener(entry.desc);
    return () => entry.listeners.delete(listener);
  }

  /** News of another member: all of one packet. */
  receive(...values: readonly Uint8Array[]): void {
    const { metrics } = this.#options;
    for (const { length } of values) {
      metrics.received.inc();
      metrics.receivedBytes.inc(length);
    }
    this.#mergeAll(values);
  }

  /** All of it, for another member. */
  state(): Uint8Array {
    return joinPairs(this.values.map(([key, desc]) => this.#pair(key, desc)));
  }

  /** All that another member has. */
  mergeState(bytes: Uint8Array): void {
    this.#mergeAll(this.#firstPairs(bytes));
  }

  /** Forgets who left long ago. */
  forgetLeft(): void {
    for (const [key, entry] of this.#entries) {
      const { size } = entry.desc;
      this.#take(key, entry, entry.desc);
      if (entry.desc.size < size) this.#notify(entry);
    }
  }

  *#firstPairs(bytes: Uint8Array): Generator<Uint8Array> {
    const { logger, metrics } = this.#options;
    let count = 0;
    for (const pair of splitPairs(bytes)) {
      if (count++ < PAIRS_MAX) {
        yield pair;
        continue;
      }
      metrics.invalid.inc();
      return logger.warn('gossip state has too many rings, the rest is dropped', { limit: PAIRS_MAX });
    }
  }

  /** Of one message: what it costs is bounded, and listeners are told once. */
  #mergeAll(values: Iterable<Uint8Array>): void {
    // All rings of a member have less together; compressed, far more may come.
    const room = { bytes: this.#options.valueBytesMax };
    const changed = new Set<Entry>();
    try {
      for (const value of values) {
        const entry = this.#merge(value, room);
        if (entry !== undefined) changed.add(entry);
      }
    } finally {
      for (const entry of changed) this.#notify(entry);
    }
  }

  /** @returns what has changed. */
  #merge(bytes: Uint8Array, room: { bytes: number }): Entry | undefined {
    const { logger, metrics } = this.#options;
    let pair: Pair;
    let theirs: RingDesc;
    try {
      pair = decodePair(bytes);
      const digest = digestOf(pair);
      if (this.#seen.has(digest)) return undefined;
      const isRing = pair.codec === RING_CODEC && !pair.isDeleted;
      const size = isRing && pair.value.length > 0 ? snappyLength(pair.value) : 0;
      if (size > room.bytes) throw tooLarge(size, room.bytes);
      room.bytes -= size;
      if (this.#seen.size >= SEEN_MAX) this.#seen = new Set();
      this.#seen.add(digest);
      if (!isRing) {
        // Rings of partitions and tokens of reports, which this build has no use for.
        metrics.unknown.inc();
        logger.debug('gossip of another kind is passed over', { key: pair.key, codec: pair.codec });
        return undefined;
      }
      const leftOut = (instances: number): void => this.#leftOut(pair.key, instances);
      theirs = pair.value.length === 0 ? EMPTY_RING : decodeRing(pair.value, size, leftOut);
    } catch (err) {
      metrics.invalid.inc();
      logger.warn('gossip value cannot be read and is dropped', { err });
      return undefined;
    }
    const entry = this.#entry(pair.key);
    if (entry === undefined) return undefined;
    const credible = this.#credible(pair.key, entry, theirs);
    const { desc, news, isWhole } = mergeRings(entry.desc, credible);
    if (news === undefined) return undefined;
    const isRare = isMoreThanHeartbeat(entry.desc, news);
    this.#take(pair.key, entry, desc);
    // What left long ago is not told again.
    const young = withoutLeft(news, this.#leftBeforeSec());
    // What was taken as it came is told as it came, unless there is more in it than is known of.
    const isAsCame = isWhole && young.size === theirs.size && bytes.length <= PAIR_BYTES + sizeOf(young);
    if (young.size > 0) this.#tell(pair.key, young, isRare, isAsCame ? bytes.slice() : undefined);
    return entry;
  }

  /** Without instances from the future, and new ones where there is no room. */
  #credible(key: string, { desc: known, isOwn }: Entry, theirs: RingDesc): RingDesc {
    const { clock, instancesMax, logger, metrics, valueBytesMax } = this.#options;
    const latestSec = (clock.nowMs() + FUTURE_MS_MAX) / 1000;
    let room = instancesMax - known.size;
    let bytesRoom = valueBytesMax * RINGS_SHARE * (isOwn ? 1 : STRANGE_SHARE) - this.#bytes;
    const isCredible = (id: string, given: Instance): boolean => {
      const ours = known.get(id);
      if (given.timestampSec > latestSec) return false;
      // What is not taken anyway changes nothing.
      if (ours !== undefined && !counts(given, ours)) return true;
      const growth = bytesOf(given) - (ours === undefined ? 0 : bytesOf(ours));
      if (growth > 0 && growth > bytesRoom) return false;
      if (ours === undefined && room-- <= 0) return false;
      bytesRoom -= Math.max(0, growth);
      return true;
    };
    const credible = new Map([...theirs].filter(([id, given]) => isCredible(id, given)));
    if (credible.size === theirs.size) return theirs;
    metrics.invalid.inc();
    const dropped = [...theirs.keys()].filter((id) => !credible.has(id));
    const facts = {
      key,
      instances: dropped.length,
      first: dropped[0],
      limit: instancesMax,
      bytes: this.#bytes,
    };
    logger.warn('instances of the future, or beyond those that may be in a ring, are passed over', facts);
    return credible;
  }

  #leftOut(key: string, instances: number): void {
    const { logger, metrics } = this.#options;
    metrics.invalid.inc();
    logger.warn('instances with more text or tokens than any has are passed over', { key, instances });
  }

  /** Of a ring that another member tells of. */
  #entry(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) return entry;
    const { keysMax, logger, metrics } = this.#options;
    if (this.#strangersCount >= keysMax) {
      metrics.invalid.inc();
      logger.warn('gossip of one ring too many is dropped', { key, limit: keysMax });
      return undefined;
    }
    this.#strangersCount++;
    return this.#newEntry(key, false);
  }

  /** Of a ring that this process has a use for. */
  #ownEntry(key: string): Entry {
    const entry = this.#entries.get(key);
    if (entry?.isOwn === true) return entry;
    // What had no room before may have it now.
    this.#seen = new Set();
    if (entry === undefined) return this.#newEntry(key, true);
    entry.isOwn = true;
    this.#strangersCount--;
    return entry;
  }

  #newEntry(key: string, isOwn: boolean): Entry {
    const entry: Entry = { desc: EMPTY_RING, bytes: 0, isOwn, listeners: new Set(), isTelling: false };
    this.#entries.set(key, entry);
    return entry;
  }

  #leftBeforeSec(): number {
    const { clock, leftTimeoutMs } = this.#options;
    return leftTimeoutMs > 0 ? (clock.nowMs() - leftTimeoutMs) / 1000 : 0;
  }

  #take(key: string, entry: Entry, desc: RingDesc): void {
    entry.desc = withoutLeft(desc, this.#leftBeforeSec());
    let [bytes, left] = [0, 0];
    for (const instance of entry.desc.values()) {
      bytes += bytesOf(instance);
      if (instance.state === 'LEFT') left++;
    }
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    this.#options.metrics.setValue(key, entry.desc, left);
  }

  #tell(key: string, news: RingDesc, isRare: boolean, pair = this.#pair(key, news)): void {
    this.#options.broadcast(key, new Set(news.keys()), pair, isRare);
  }

  #pair(key: string, desc: RingDesc): Uint8Array {
    return encodePair({ key, value: encodeRing(desc), codec: RING_CODEC, isDeleted: false, updatedMs: 0 });
  }

  #notify(entry: Entry): void {
    const { clock, notifyIntervalMs } = this.#options;
    const tell = (): void => {
      entry.isTelling = false;
      for (const listener of entry.listeners) listener(entry.desc);
    };
    if (notifyIntervalMs <= 0) return tell();
    if (entry.isTelling) return;
    entry.isTelling = true;
    clock.after(notifyIntervalMs, tell);
  }
}

function sizeOf(desc: RingDesc): number {
  let bytes = 0;
  for (const instance of desc.values()) bytes += bytesOf(instance);
  return bytes;
}

/** What an instance takes of a state, at most. */
function bytesOf({ id, addr, zone, state, tokens, versions }: Instance): number {
  const units = id.length * 2 + addr.length + zone.length;
  const tokensCount = state === 'LEFT' ? 0 : tokens.length;
  return INSTANCE_BYTES + units * UNIT_BYTES + tokensCount * TOKEN_BYTES + versions.size * VERSION_BYTES;
}

/** Whether it is not said again a few seconds later. */
function isMoreThanHeartbeat(desc: RingDesc, news: RingDesc): boolean {
  return [...news].some(([id, { state, readOnly }]) => {
    const known = desc.get(id);
    return known?.state !== state || known.readOnly !== readOnly;
  });
}

/** One that nobody can make another value have, so that this one is passed over. */
function digestOf({ key, value }: Pair): string {
  return `${key}/${hash('sha256', value, 'latin1')}`;
}

function tooLarge(bytes: number, room: number): TempoError {
  const found = `gossip value has ${bytes} bytes once it is decompressed`;
  return new TempoError('too_large', `${found}, and its message has room for ${room}`);
}

function isSame(a: RingDesc, b: RingDesc): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([id, instance]) => {
    const other = b.get(id);
    return (
      other === instance ||
      (other !== undefined && other.timestampSec === instance.timestampSec && other.state === instance.state)
    );
  });
}
