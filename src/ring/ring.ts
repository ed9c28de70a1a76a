// A ring as it is at one moment, for lookups. Never changed: news make another snapshot, which shares the
// tokens with the one before as long as only heartbeats and states are new.
//
// The folder's shape:
//   instance.ts    what an instance and a stored ring are; desc-codec.ts, their bytes (ring.Desc in snappy)
//   kv.ts          where a ring is kept, as a contract; memory-kv.ts in this process, etcd-store.ts, gossip/
//   lifecycler.ts  keeps this process's instance in a ring: join, heartbeats, leave
//   watched-ring.ts  follows a ring in a store: `ring.current` is always the newest RingSnapshot
//   ring.ts        snapshot.replicas(token, WRITE, nowMs): to whom a key goes, and how many may fail;
//                  snapshot.readers(nowMs): whom a read asks; snapshot.shard(tenant, size): a part of
//                  the ring, itself a snapshot
//   work-share.ts  which share of some work is this process's: snapshot.owner(key, nowMs)
//   quorum.ts      calls such a set and ends when enough answered, or too many failed; KeyBatch the same for
//                  many keys at once
//   rings.ts       builds the above from configuration; the rest of the program begins there
import { TempoError } from '../lib/errors.ts';
import { hasHeartbeat, type Instance, type InstanceState, type RingDesc } from './instance.ts';
import { firstAbove, holds, type RingTokens, ringTokens } from './ring-tokens.ts';
import { shardMembers } from './shuffle-shard.ts';

export interface RingSettings {
  readonly replicationFactor: number;
  /** An instance without heartbeat for longer is not asked; 0 = for ever. */
  readonly heartbeatTimeoutMs: number;
  readonly zoneAwarenessEnabled: boolean;
  readonly excludedZones: readonly string[];
}

/** What instances are looked for. */
export interface Operation {
  readonly name: string;
  /** States in which an instance takes part. */
  readonly takesPart: readonly InstanceState[];
  /** States in which an instance in the way is passed over for one more. */
  readonly extendsOn: readonly InstanceState[];
}

export const WRITE: Operation = {
  name: 'write',
  takesPart: ['ACTIVE'],
  extendsOn: ['PENDING', 'JOINING', 'LEAVING', 'LEFT'],
};
/** Without another replica for an instance that does not take writes. */
export const WRITE_NO_EXTEND: Operation = { name: 'write', takesPart: ['ACTIVE'], extendsOn: [] };
export const READ: Operation = {
  name: 'read',
  takesPart: ['ACTIVE', 'PENDING', 'LEAVING'],
  extendsOn: ['PENDING', 'JOINING', 'LEFT'],
};

export interface Readers {
  readonly asked: readonly Instance[];
  /** Those of the ring that are not asked. */
  readonly awayCount: number;
  /** Begins to count who answers. */
  readonly awaited: () => Awaited;
}

/** Counts the instances that a read lacks: at first all, the asked ones too. */
export interface Awaited {
  /** Each once. */
  answered(instance: Pick<Instance, 'id' | 'zone'>): void;
  /** Whether of each key enough replicas have answered. */
  readonly isWhole: boolean;
}

/** Whom to ask, and how many of them may fail. */
export interface ReplicationSet {
  readonly instances: readonly Instance[];
  /** Instances that may fail; 0 where zones count. */
  readonly maxErrors: number;
  /** undefined = instances count, else how many zones may have failures. */
  readonly maxUnavailableZones?: number;
}

/**
 * So long it counts that an instance has left, whatever a store remembers. What one took along that did not
 * flush is missing for longer, but to say so for ever would say nothing.
 */
const LEFT_COUNTS_MS = 300_000;
/** Shards that are kept for a ring whose tokens do not change. */
const SHARDS_MAX = 10_000;

export class RingSnapshot {
  readonly desc: RingDesc;
  readonly settings: RingSettings;
  /** In the order of their ids. */
  readonly instances: readonly Instance[];
  readonly #tokens: RingTokens;
  /** What was found since the second began, by operation and place of the token. */
  #found = new Map<Operation, (ReplicationSet | undefined)[]>();
  #foundSec = Number.NaN;
  readonly #shards = new Map<string, RingSnapshot>();
  #readers: Readers | undefined;
  #readersMs = Number.NaN;

  /** @param previous of the same settings; its tokens are used again where they are the same. */
  constructor(desc: RingDesc, settings: RingSettings, previous?: RingSnapshot) {
    this.desc = desc;
    this.settings = settings;
    this.instances = [...desc.values()]
      .filter(({ state, zone }) => state !== 'LEFT' && !settings.excludedZones.includes(zone))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const known = previous === undefined ? undefined : previous.#tokens;
    this.#tokens = known !== undefined && holds(known, this.instances) ? known : ringTokens(this.instances);
  }

  get instancesCount(): number {
    return this.instances.length;
  }

  get tokensCount(): number {
    return this.#tokens.tokens.length;
  }

  get zones(): readonly string[] {
    return this.#tokens.zones;
  }

  instance(id: string): Instance | undefined {
    return this.instances.find((each) => each.id === id);
  }

  /** Whether it may be asked for this. */
  isHealthy(instance: Instance, operation: Operation, nowMs: number): boolean {
    const takesPart = operation.takesPart.includes(instance.state);
    return takesPart && hasHeartbeat(instance, this.settings.heartbeatTimeoutMs, nowMs);
  }

  /** Share of all keys, by id; the sum is 1. */
  ownership(): ReadonlyMap<string, number> {
    const { tokens, owners } = this.#tokens;
    const keys = new Float64Array(this.instances.length);
    for (let i = 0; i < tokens.length; i++) {
      const before = i === 0 ? tokens[tokens.length - 1] - 2 ** 32 : tokens[i - 1];
      keys[owners[i]] += tokens[i] - before;
    }
    return new Map(this.instances.map(({ id }, i) => [id, keys[i] / 2 ** 32]));
  }

  /**
   * Finds the instances of a key: those of the next tokens above it, each once, and each zone once.
   * Throws TempoError unavailable when fewer are well than a quorum needs.
   */
  replicas(key: number, operation: Operation, nowMs: number): ReplicationSet {
    const slot = this.#slotOf(key);
    const sec = Math.floor(nowMs / 1000);
    if (sec !== this.#foundSec) {
      this.#found = new Map();
      this.#foundSec = sec;
    }
    let found = this.#found.get(operation);
    if (found === undefined) {
      found = [];
      this.#found.set(operation, found);
    }
    found[slot] ??= this.#quorumOf(this.#walk(slot, operation), operation, nowMs);
    return found[slot];
  }

  /**
   * Finds who does the work of a key: the instance of the next token above it, of those that are ACTIVE and
   * beat. undefined = nobody.
   */
  owner(key: number, nowMs: number): Instance | undefined {
    const { tokens, owners } = this.#tokens;
    const start = firstAbove(tokens, key);
    for (let i = 0; i < tokens.length; i++) {
      const instance = this.instances[owners[(start + i) % tokens.length]];
      if (this.isHealthy(instance, WRITE_NO_EXTEND, nowMs)) return instance;
    }
    return undefined;
  }

  /** Whom a read of all keys asks: every instance that is well. */
  readers(nowMs: number): Readers {
    if (this.#readers === undefined || nowMs !== this.#readersMs) this.#readers = this.#findReaders(nowMs);
    this.#readersMs = nowMs;
    return this.#readers;
  }

  #findReaders(nowMs: number): Readers {
    const { instances, zones } = this;
    const { replicationFactor, zoneAwarenessEnabled } = this.settings;
    const asked: Instance[] = [];
    for (const each of instances) if (this.isHealthy(each, READ, nowMs)) asked.push(each);
    // One that was stopped has left the ring, and what only it has is not read until it is back.
    const absent = instances.length === 0 ? 0 : Math.max(0, replicationFactor - instances.length);
    const awayCount = instances.length - asked.length + absent;
    const replicasMax = Math.floor(replicationFactor / 2);
    // A zone of which all have left is away too.
    const zonesMax = replicasMax - Math.max(0, replicationFactor - zones.length);
    const left = this.#left().filter(({ timestampSec }) => nowMs - timestampSec * 1000 < LEFT_COUNTS_MS);
    const leftZones = new Set(left.map(zoneOf));
    const lostZones = Math.max(0, replicationFactor - new Set([...zones, ...leftZones]).size);
    return {
      asked,
      awayCount,
      awaited: () => {
        let missing = instances.length + absent;
        const missingBy = new Map<string, number>();
        for (const each of instances) add(missingBy, zoneOf(each), 1);
        /** What is only where one has just left and where one is silent: both are away then. */
        const isWholeWithoutLeft = (): boolean => {
          if (missing + Math.max(0, left.length - absent) <= replicasMax) return true;
          const further = [...leftZones].filter((zone) => !missingBy.has(zone)).length;
          return zoneAwarenessEnabled && missingBy.size + further <= replicasMax - lostZones;
        };
        return {
          answered: (instance) => {
            missing--;
            add(missingBy, zoneOf(instance), -1);
          },
          get isWhole() {
            if (left.length > 0 && missing > absent) return isWholeWithoutLeft();
            // Of each key there is one replica in a zone, so a zone may be missing as a whole.
            return missing <= replicasMax || (zoneAwarenessEnabled && missingBy.size <= zonesMax);
          },
        };
      },
    };
  }

  /** Those that are remembered as gone, by stores that do. */
  #left(): readonly Instance[] {
    const { excludedZones } = this.settings;
    return [...this.desc.values()].filter(
      ({ state, zone }) => state === 'LEFT' && !excludedZones.includes(zone),
    );
  }

  /**
   * The part of the ring that a tenant uses: always the same instances as long as the ring is the same, and
   * few others when it changes. Instances that are read-only are not in it.
   * @param size instances; 0 = all.
   * @param lookback also those that took the tenant's writes since then, for reads.
   */
  shard(tenant: string, size: number, lookback?: { readonly sinceSec: number }): RingSnapshot {
    const isWhole = size <= 0 || (size >= this.instancesCount && !this.settings.zoneAwarenessEnabled);
    if (isWhole && !this.instances.some(({ readOnly }) => readOnly)) return this;
    if (lookback !== undefined) return this.#makeShard(tenant, size, lookback.sinceSec);
    const key = `${size}/${isWhole ? '' : tenant}`;
    const known = this.#shards.get(key);
    if (known !== undefined) return known;
    if (this.#shards.size >= SHARDS_MAX) this.#shards.clear();
    const made = this.#makeShard(tenant, size, Number.POSITIVE_INFINITY);
    this.#shards.set(key, made);
    return made;
  }

  #makeShard(tenant: string, size: number, sinceSec: number): RingSnapshot {
    const { zoneAwarenessEnabled } = this.settings;
    const members = shardMembers(this.instances, this.#tokens, {
      tenant,
      size,
      sinceSec,
      zoneAwarenessEnabled,
    });
    // Of one that has left nobody knows any more whose shard it was in.
    const all = [...members, ...this.#left()];
    return new RingSnapshot(new Map(all.map((each) => [each.id, each])), this.settings);
  }

  /** The place of the first token above the key. */
  #slotOf(key: number): number {
    const { tokens } = this.#tokens;
    if (tokens.length === 0) throw emptyRing();
    return firstAbove(tokens, key);
  }

  #walk(start: number, { extendsOn }: Operation): Instance[] {
    const { tokens, owners, zones, zoneOf, membersOf } = this.#tokens;
    const { replicationFactor, zoneAwarenessEnabled } = this.settings;
    const seen = new Uint8Array(this.instances.length);
    const done = new Uint8Array(zones.length);
    const examined = new Uint32Array(zones.length);
    const found: Instance[] = [];
    let wanted = replicationFactor;
    let openZones = zones.length;
    for (let i = 0; i < tokens.length && found.length < wanted; i++) {
      if (zoneAwarenessEnabled && openZones === 0) break;
      const at = owners[(start + i) % tokens.length];
      if (seen[at] === 1) continue;
      const zone = zoneOf[at];
      const countsZone = zoneAwarenessEnabled && zones[zone] !== '';
      if (countsZone && done[zone] === 1) continue;
      seen[at] = 1;
      found.push(this.instances[at]);
      const isExtended = extendsOn.includes(this.instances[at].state);
      if (isExtended) wanted++;
      if (!zoneAwarenessEnabled) continue;
      examined[zone]++;
      if ((countsZone && !isExtended) || examined[zone] >= membersOf[zone]) {
        done[zone] = 1;
        openZones--;
      }
    }
    return found;
  }

  #quorumOf(found: readonly Instance[], operation: Operation, nowMs: number): ReplicationSet {
    const { replicationFactor, zoneAwarenessEnabled } = this.settings;
    const healthy = found.filter((each) => this.isHealthy(each, operation, nowMs));
    // With two replicas one is enough, as in Tempo: nothing else would survive the loss of one.
    const majority = Math.floor(Math.max(found.length, replicationFactor) / 2) + 1;
    const needed = replicationFactor === 2 ? 1 : majority;
    if (healthy.length >= needed) return { instances: healthy, maxErrors: healthy.length - needed };
    const across = zoneAwarenessEnabled ? ' across different availability zones' : '';
    throw new TempoError(
      'unavailable',
      `at least ${needed} live replicas required${across}, could only find ${healthy.length}` +
        unhealthyText(found, healthy),
    );
  }
}

/** An instance that is in no zone is like a zone of its own. */
function zoneOf({ id, zone }: Pick<Instance, 'id' | 'zone'>): string {
  return zone === '' ? `/${id}` : zone;
}

/** What comes to nothing is left out. */
function add(counts: Map<string, number>, key: string, count: number): void {
  const sum = (counts.get(key) ?? 0) + count;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}

function emptyRing(): TempoError {
  return new TempoError('unavailable', 'empty ring: no instance has joined it');
}

function unhealthyText(all: readonly Instance[], healthy: readonly Instance[]): string {
  const ill = all.filter((each) => !healthy.includes(each)).map(({ addr }) => addr);
  return ill.length === 0 ? '' : ` - unhealthy instances: ${ill.join(',')}`;
}
