// Rings: lookups, shards, quorum, merging, their bytes, and what a member does in one.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { every } from '../../src/lib/clock.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { DeferredStore } from '../../src/ring/deferred-store.ts';
import { decodeRing, encodeRing, RING_CODEC } from '../../src/ring/desc-codec.ts';
import {
  INSTANCE_STATES,
  type Instance,
  instanceOf,
  type InstanceState,
  type RingDesc,
  sortedTokens,
  withInstance,
} from '../../src/ring/instance.ts';
import { MemoryStore } from '../../src/ring/memory-kv.ts';
import { mergeRings, withoutLeft } from '../../src/ring/merge.ts';
import { callQuorum, KeyBatch } from '../../src/ring/quorum.ts';
import {
  type Operation,
  READ,
  type RingSettings,
  RingSnapshot,
  WRITE,
  WRITE_NO_EXTEND,
} from '../../src/ring/ring.ts';
import type { RingStore } from '../../src/ring/kv.ts';
import { RingMetrics } from '../../src/ring/ring-metrics.ts';
import { WatchedRing } from '../../src/ring/watched-ring.ts';
import { WorkShare, type WorkShareOptions } from '../../src/ring/work-share.ts';
import { Lifecycler } from '../../src/ring/lifecycler.ts';
import { interfaceAddress, type MemberConfig, type RingConfig, Rings } from '../../src/ring/rings.ts';
import { type LogFields, type Logger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { freePort } from '../support/free-port.ts';
import type { MemberlistConfig } from '../../src/ring/config.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { memberlistConfig } from '../support/memberlist.ts';
import { seeded } from '../support/seeded.ts';

const NOW_MS = 1_800_000_000_000;
const NOW_SEC = NOW_MS / 1000;
const SETTINGS: RingSettings = {
  replicationFactor: 3,
  heartbeatTimeoutMs: 60_000,
  zoneAwarenessEnabled: false,
  excludedZones: [],
};

function anInstance(id: string, over: Partial<Instance> & { at?: readonly number[] } = {}): Instance {
  const { at, ...rest } = over;
  const tokens = at === undefined ? {} : { tokens: sortedTokens(at) };
  return instanceOf({ id, addr: `${id}:9095`, state: 'ACTIVE', timestampSec: NOW_SEC, ...tokens, ...rest });
}

function aRing(...instances: readonly Instance[]): RingDesc {
  return new Map(instances.map((each) => [each.id, each]));
}

function randomRing(count: number, zones = 1, tokensEach = 128, seed = 1): RingDesc {
  const random = seeded(seed);
  return aRing(
    ...Array.from({ length: count }, (_, i) =>
      anInstance(`i${String(i).padStart(3, '0')}`, {
        zone: zones === 1 ? '' : `z${i % zones}`,
        at: Array.from({ length: tokensEach }, () => Math.floor(random() * 2 ** 32)),
      }),
    ),
  );
}

const idsOf = (instances: readonly Instance[]): string[] => instances.map(({ id }) => id);

t.test('a key belongs to the instances of the tokens that follow it', (t) => {
  const a = { at: [100, 400] };
  const b = { at: [200, 500] };
  const c = { at: [300] };
  const d = { at: [600] };
  const four = (over: Partial<Record<'a' | 'b' | 'c' | 'd', Partial<Instance>>> = {}): RingDesc =>
    aRing(
      anInstance('a', { ...a, ...over.a }),
      anInstance('b', { ...b, ...over.b }),
      anInstance('c', { ...c, ...over.c }),
      anInstance('d', { ...d, ...over.d }),
    );
  const zoned: RingDesc = aRing(
    anInstance('a', { at: [100], zone: '1' }),
    anInstance('b', { at: [200], zone: '1' }),
    anInstance('c', { at: [300], zone: '2' }),
    anInstance('d', { at: [400], zone: '3' }),
  );
  const old = NOW_SEC - 61;
  const zones = { zoneAwarenessEnabled: true };
  const cases: readonly {
    readonly name: string;
    readonly ring: RingDesc;
    readonly key: number;
    readonly operation?: Operation;
    readonly settings?: Partial<RingSettings>;
    readonly want: readonly string[] | string;
    readonly maxErrors?: number;
  }[] = [
    { name: 'the first token above the key', ring: four(), key: 150, want: ['b', 'c', 'a'], maxErrors: 1 },
    { name: 'a token equal to the key is not above it', ring: four(), key: 200, want: ['c', 'a', 'b'] },
    { name: 'after the last comes the first', ring: four(), key: 600, want: ['a', 'b', 'c'] },
    { name: 'the largest key', ring: four(), key: 0xffffffff, want: ['a', 'b', 'c'] },
    {
      name: 'one replica',
      ring: four(),
      key: 0,
      settings: { replicationFactor: 1 },
      want: ['a'],
      maxErrors: 0,
    },
    {
      name: 'of two replicas one may fail',
      ring: four(),
      key: 0,
      settings: { replicationFactor: 2 },
      want: ['a', 'b'],
      maxErrors: 1,
    },
    {
      name: 'an instance that leaves gets another beside it',
      ring: four({ b: { state: 'LEAVING' } }),
      key: 0,
      want: ['a', 'c', 'd'],
      maxErrors: 0,
    },
    {
      name: 'and none without extension',
      ring: four({ b: { state: 'LEAVING' } }),
      key: 0,
      operation: WRITE_NO_EXTEND,
      want: ['a', 'c'],
      maxErrors: 0,
    },
    {
      name: 'reads ask the one that leaves',
      ring: four({ b: { state: 'LEAVING' } }),
      key: 0,
      operation: READ,
      want: ['a', 'b', 'c'],
      maxErrors: 1,
    },
    {
      name: 'reads ask the one that waits, and another',
      ring: four({ b: { state: 'PENDING' } }),
      key: 0,
      operation: READ,
      want: ['a', 'b', 'c', 'd'],
      maxErrors: 1,
    },
    {
      name: 'a silent one counts as failed',
      ring: four({ b: { timestampSec: old } }),
      key: 0,
      want: ['a', 'c'],
      maxErrors: 0,
    },
    {
      name: 'two silent ones are too many',
      ring: four({ b: { timestampSec: old }, c: { timestampSec: old } }),
      key: 0,
      want: 'at least 2 live replicas required, could only find 1 - unhealthy instances: b:9095,c:9095',
    },
    {
      name: 'for ever healthy',
      ring: four({ b: { timestampSec: 1 } }),
      key: 0,
      settings: { heartbeatTimeoutMs: 0 },
      want: ['a', 'b', 'c'],
    },
    { name: 'no instance', ring: aRing(), key: 0, want: 'empty ring: no instance has joined it' },
    {
      name: 'more replicas than instances',
      ring: aRing(anInstance('a', a)),
      key: 0,
      want: 'at least 2 live replicas required, could only find 1',
    },
    { name: 'zones once each', ring: zoned, key: 0, settings: zones, want: ['a', 'c', 'd'], maxErrors: 1 },
    {
      name: 'another of the same zone for one that leaves',
      ring: new Map(zoned).set('a', anInstance('a', { at: [100], zone: '1', state: 'LEAVING' })),
      key: 0,
      settings: zones,
      want: ['b', 'c', 'd'],
    },
    {
      name: 'excluded zones',
      ring: zoned,
      key: 0,
      settings: { ...zones, excludedZones: ['3'] },
      want: ['a', 'c'],
      maxErrors: 0,
    },
    {
      name: 'one zone is not enough',
      ring: zoned,
      key: 0,
      settings: { ...zones, excludedZones: ['2', '3'] },
      want: 'at least 2 live replicas required across different availability zones, could only find 1',
    },
    { name: 'who left is not there', ring: four({ a: { state: 'LEFT' } }), key: 0, want: ['b', 'c', 'd'] },
  ];
  for (const { name, ring, key, operation = WRITE, settings, want, maxErrors } of cases) {
    const snapshot = new RingSnapshot(ring, { ...SETTINGS, ...settings });
    const look = () => snapshot.replicas(key, operation, NOW_MS);
    if (typeof want === 'string') {
      t.throws(look, { code: 'unavailable', message: want }, name);
      continue;
    }
    t.same(idsOf(look().instances), want, name);
    if (maxErrors !== undefined) t.equal(look().maxErrors, maxErrors, `${name}: how many may fail`);
  }
  t.end();
});

t.test('lookups agree with a plain walk, and heartbeats alone keep the tokens', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (n, seed, key) => {
        const ring = randomRing(n, 1, 8, seed);
        const snapshot = new RingSnapshot(ring, { ...SETTINGS, replicationFactor: 1 });
        const all = [...ring.values()].flatMap(({ id, tokens }) =>
          [...tokens].map((token) => ({ id, token })),
        );
        all.sort((a, b) => a.token - b.token);
        const owner = all.find(({ token }) => token > key) ?? all[0];
        return snapshot.replicas(key, WRITE, NOW_MS).instances[0]?.id === owner?.id;
      },
    ),
  );
  const first = new RingSnapshot(randomRing(3), SETTINGS);
  const later = new Map([...first.desc].map(([id, each]) => [id, { ...each, timestampSec: NOW_SEC + 5 }]));
  const second = new RingSnapshot(later, SETTINGS, first);
  t.equal(second.replicas(7, WRITE, NOW_MS + 5000).instances[0]?.timestampSec, NOW_SEC + 5);
  t.same(
    idsOf(second.replicas(7, WRITE, NOW_MS).instances),
    idsOf(first.replicas(7, WRITE, NOW_MS).instances),
  );
  t.throws(() => first.replicas(7, WRITE, NOW_MS + 62_000), /unhealthy/, 'a minute later all are silent');
  t.end();
});

/** @returns whether nothing is missing when all answer but these. */
function without(ring: RingSnapshot) {
  const { asked, awaited } = ring.readers(NOW_MS);
  return (silent: readonly Instance[]): boolean => {
    const answers = awaited();
    for (const each of asked) if (!silent.includes(each)) answers.answered(each);
    return answers.isWhole;
  };
}

t.test('a read of all keys', (t) => {
  const silent = { timestampSec: NOW_SEC - 100 };
  const five = (...ill: readonly number[]): RingSnapshot => {
    const ring = new Map(randomRing(5));
    for (const i of ill) ring.set(`i00${i}`, { ...(ring.get(`i00${i}`) as Instance), ...silent });
    return new RingSnapshot(ring, SETTINGS);
  };
  /** @returns how many are asked, how many away, and how many of the first need not answer. */
  const seen = (ring: RingSnapshot): readonly number[] => {
    const { asked, awayCount } = ring.readers(NOW_MS);
    const isWholeWithout = without(ring);
    const count = asked.findIndex((_, i) => !isWholeWithout(asked.slice(0, i + 1)));
    return [asked.length, awayCount, isWholeWithout([]) ? count : -1];
  };
  t.same(seen(five()), [5, 0, 1]);
  t.same(seen(five(1)), [4, 1, 0]);
  t.same(seen(five(1, 2)), [3, 2, -1]);
  t.same(seen(new RingSnapshot(aRing(), SETTINGS)), [0, 0, -1], 'nobody is there');
  const leaving = new Map([...randomRing(5)].map(([id, each]) => [id, { ...each } as Instance]));
  leaving.set('i001', { ...(leaving.get('i001') as Instance), state: 'LEFT' });
  t.same(
    seen(new RingSnapshot(leaving, SETTINGS)),
    [4, 0, 0],
    'one has just left: nobody else may be silent',
  );
  const one = new Map([...randomRing(5)].slice(0, 1));
  t.same(seen(new RingSnapshot(one, SETTINGS)), [1, 2, -1], 'two of three have left');
  const alone = { ...SETTINGS, replicationFactor: 1 };
  t.same(seen(new RingSnapshot(one, alone)), [1, 0, 0]);
  const joining = new Map([...one].map(([id, each]) => [id, { ...each, state: 'JOINING' } as Instance]));
  t.same(seen(new RingSnapshot(joining, alone)), [0, 1, -1], 'it may have replayed its log');
  t.end();
});

t.test('a read of all keys in zones', (t) => {
  const settings = { ...SETTINGS, zoneAwarenessEnabled: true };
  const zoned = new Map(randomRing(6, 3));
  const change = (i: number, to: Partial<Instance>): void => {
    zoned.set(`i00${i}`, { ...(zoned.get(`i00${i}`) as Instance), ...to });
  };
  const silent = { timestampSec: NOW_SEC - 100 };
  /** Whether nothing is missing when these do not answer. */
  const isWhole = (ring: RingSnapshot, ...ids: readonly string[]): boolean => {
    const { asked } = ring.readers(NOW_MS);
    return without(ring)(asked.filter(({ id }) => ids.includes(id)));
  };
  const all = new RingSnapshot(zoned, settings);
  t.same([...zoned.values()].map(({ zone }) => zone).join(), 'z0,z1,z2,z0,z1,z2');
  t.ok(isWhole(all), 'all answer');
  t.ok(isWhole(all, 'i001'), 'but one');
  t.ok(isWhole(all, 'i001', 'i004'), 'but a zone');
  t.notOk(isWhole(all, 'i001', 'i003'), 'but one of each of two zones');
  t.notOk(isWhole(all, 'i001', 'i003', 'i004'));
  t.notOk(isWhole(new RingSnapshot(zoned, SETTINGS), 'i001', 'i004'), 'where zones do not count');
  change(0, silent);
  const less = new RingSnapshot(zoned, settings);
  t.ok(isWhole(less), 'one is away');
  t.ok(isWhole(less, 'i003'), 'and the other one of its zone does not answer');
  t.notOk(isWhole(less, 'i004'), 'and one of another zone');
  change(3, silent);
  t.ok(isWhole(new RingSnapshot(zoned, settings)), 'a zone is away');
  change(1, silent);
  t.notOk(isWhole(new RingSnapshot(zoned, settings)), 'and one of another');
  const left = new Map([...randomRing(6, 3)].filter(([, { zone }]) => zone !== 'z2'));
  t.ok(isWhole(new RingSnapshot(left, settings)), 'a zone has left');
  t.notOk(isWhole(new RingSnapshot(left, settings), 'i001', 'i004'), 'and another is silent');
  const remembered = (...ids: readonly string[]): RingDesc =>
    new Map(
      [...randomRing(6, 3)].map(([id, each]) => [
        id,
        ids.includes(id) ? ({ ...each, state: 'LEFT', tokens: [] } as unknown as Instance) : each,
      ]),
    );
  const oneLeft = new RingSnapshot(remembered('i002'), settings);
  t.ok(isWhole(oneLeft), 'one has just left');
  t.ok(isWhole(oneLeft, 'i005'), 'and the other one of its zone is silent');
  t.notOk(isWhole(oneLeft, 'i001'), 'and one of another zone is');
  t.ok(isWhole(new RingSnapshot(remembered('i002', 'i004'), settings)), 'two have, and all others answer');
  const zoneLeft = new RingSnapshot(remembered('i002', 'i005'), settings);
  t.ok(isWhole(zoneLeft), 'a zone has just left');
  t.notOk(isWhole(zoneLeft, 'i001'), 'and one of another is silent: both may have been a quorum');
  const nowhere = new Map([...randomRing(6, 3)].map(([id, each]) => [id, { ...each, zone: '' }]));
  t.ok(isWhole(new RingSnapshot(nowhere, settings), 'i001'));
  t.notOk(isWhole(new RingSnapshot(nowhere, settings), 'i001', 'i004'), 'no zone is no zone of theirs');
  t.end();
});

t.test('a read lacks nothing once of each key most replicas have answered', (t) => {
  const random = seeded(7);
  const below = (n: number): number => Math.floor(random() * n);
  let wholeEarly = 0;
  for (let i = 0; i < 300; i++) {
    const settings = { ...SETTINGS, replicationFactor: 1 + below(5), zoneAwarenessEnabled: random() < 0.7 };
    const zones = 1 + below(5);
    const members = [...randomRing(1 + below(12), zones, 16, i)].map(([id, each]) => {
      const zone = random() < 0.4 ? '' : each.zone;
      return [id, { ...each, zone }] as const;
    });
    const all = new RingSnapshot(new Map(members), settings);
    const [, ...others] = members;
    const silent = new Set(others.filter(() => random() < 0.15).map(([id]) => id));
    const now = members.map(([id, each]) => {
      const timestampSec = silent.has(id) ? NOW_SEC - 100 : NOW_SEC;
      return [id, { ...each, timestampSec }] as const;
    });
    const { asked, awayCount, awaited } = new RingSnapshot(new Map(now), settings).readers(NOW_MS);
    t.equal(asked.length, members.length - silent.size);
    t.ok(awayCount >= silent.size);
    const answers = awaited();
    const missing = new Set(members.map(([id]) => id));
    const left = [...asked];
    for (let isWhole = false; left.length > 0; ) {
      const [answering] = left.splice(below(left.length), 1);
      answers.answered(answering!);
      missing.delete(answering!.id);
      if (isWhole) t.ok(answers.isWhole, 'it remains so');
      isWhole = answers.isWhole;
      if (isWhole && left.length > 0) wholeEarly++;
      const keys = isWhole ? Array.from({ length: 20 }, () => below(2 ** 32)) : [];
      for (const key of keys) {
        const { instances } = replicasOrNone(all, key);
        const lacking = instances.filter(({ id }) => missing.has(id)).length;
        if (lacking > settings.replicationFactor / 2) t.fail(`schedule ${i}: ${lacking} of key ${key}`);
      }
    }
    if (silent.size === 0 && members.length >= settings.replicationFactor && settings.replicationFactor > 1) {
      t.ok(answers.isWhole, 'all have answered');
    }
  }
  t.ok(wholeEarly > 100, `${wholeEarly} times before the last answer`);
  t.end();
});

/** Of too few zones there is no quorum, so nothing was pushed. */
function replicasOrNone(ring: RingSnapshot, key: number): { readonly instances: readonly Instance[] } {
  try {
    return ring.replicas(key, WRITE, NOW_MS);
  } catch {
    return { instances: [] };
  }
}

t.test('load is spread', (t) => {
  const ring = new RingSnapshot(randomRing(10), SETTINGS);
  const shares = [...ring.ownership().values()];
  t.equal(Math.round(shares.reduce((sum, share) => sum + share, 0) * 1e6), 1e6);
  t.ok(
    Math.max(...shares) < 0.15 && Math.min(...shares) > 0.05,
    `of 10 each has about a tenth: ${shares.join(' ')}`,
  );
  t.end();
});

t.test('shards of tenants', (t) => {
  const ring = new RingSnapshot(randomRing(20), SETTINGS);
  const idsIn = (snapshot: RingSnapshot): Set<string> => new Set(idsOf(snapshot.instances));
  const shard = idsIn(ring.shard('team', 5));
  t.equal(shard.size, 5);
  t.same(idsIn(ring.shard('team', 5)), shard, 'always the same');
  t.equal(ring.shard('team', 0), ring, 'size 0 is the whole ring');
  t.equal(ring.shard('team', 20), ring);
  t.ok(
    [...idsIn(ring.shard('team', 6))].filter((id) => shard.has(id)).length === 5,
    'a larger one has it all',
  );
  const others = Array.from({ length: 200 }, (_, i) => idsIn(ring.shard(`tenant-${i}`, 5)));
  const uses = [...ring.instances].map(({ id }) => others.filter((each) => each.has(id)).length);
  t.ok(Math.min(...uses) > 15 && Math.max(...uses) < 110, `all are used: ${uses.join(' ')}`);
  const grown = new RingSnapshot(
    new Map(
      [...ring.desc, ...randomRing(1, 1, 128, 99)].map(([, each], i) => [
        i === 20 ? 'new' : each.id,
        i === 20 ? { ...each, id: 'new' } : each,
      ]),
    ),
    SETTINGS,
  );
  const changed = Array.from(
    { length: 200 },
    (_, i) => [...idsIn(grown.shard(`tenant-${i}`, 5))].filter((id) => !others[i]?.has(id)).length,
  );
  t.ok(Math.max(...changed) <= 1, 'one more instance changes at most one');
  const readOnly = new Map(ring.desc);
  const [gone = ''] = shard;
  readOnly.set(gone, {
    ...(readOnly.get(gone) as Instance),
    readOnly: true,
    readOnlyUpdatedSec: NOW_SEC - 60,
  });
  const closed = new RingSnapshot(readOnly, SETTINGS);
  t.notOk(idsIn(closed.shard('team', 5)).has(gone), 'writes leave out what is read-only');
  t.notOk(idsIn(closed.shard('team', 0)).has(gone), 'without shards too');
  const reads = idsIn(closed.shard('team', 5, { sinceSec: NOW_SEC - 3600 }));
  t.ok(reads.has(gone) && reads.size === 6, 'reads ask it, and who took its place');
  const late = idsIn(closed.shard('team', 5, { sinceSec: NOW_SEC - 59 }));
  t.same(late, idsIn(closed.shard('team', 5)), 'and no more when what it had is elsewhere');
  readOnly.set(gone, { ...(readOnly.get(gone) as Instance), readOnlyUpdatedSec: 0 });
  const since = new RingSnapshot(readOnly, SETTINGS).shard('team', 5, { sinceSec: NOW_SEC - 60 });
  t.ok(idsIn(since).has(gone), 'since when is not known: it is asked');
  readOnly.set(gone, { ...(ring.instance(gone) as Instance), readOnlyUpdatedSec: NOW_SEC - 60 });
  const opened = new RingSnapshot(readOnly, SETTINGS);
  t.same(idsIn(opened.shard('team', 5)), shard, 'it takes writes again');
  t.equal(
    idsIn(opened.shard('team', 5, { sinceSec: NOW_SEC - 3600 })).size,
    6,
    'reads still ask who stood in for it',
  );
  const again = new Map(ring.desc);
  const [otherTokens] = randomRing(1, 1, 128, 77).values();
  again.set(gone, {
    ...(ring.instance(gone) as Instance),
    tokens: otherTokens!.tokens,
    registeredSec: NOW_SEC - 60,
  });
  const restarted = new RingSnapshot(again, SETTINGS);
  t.ok(
    idsIn(restarted.shard('team', 5, { sinceSec: NOW_SEC - 3600 })).has(gone),
    'reads ask one that registered again under other tokens: it has what it took before',
  );
  const zoned = new RingSnapshot(randomRing(12, 3), { ...SETTINGS, zoneAwarenessEnabled: true });
  const zones = zoned
    .shard('team', 6)
    .instances.map(({ zone }) => zone)
    .sort();
  t.same(zones, ['z0', 'z0', 'z1', 'z1', 'z2', 'z2'], 'as many of each zone');
  t.end();
});

t.test('quorum', async (t) => {
  const instances = ['a', 'b', 'c'].map((id) => anInstance(id, { zone: id === 'c' ? '2' : '1' }));
  const call =
    (failing: readonly string[]) =>
    async ({ id }: Instance) => {
      if (failing.includes(id)) throw new Error(`${id} failed`);
      return id;
    };
  t.same(await callQuorum({ instances, maxErrors: 1 }, call(['b'])), ['a', 'c']);
  await t.rejects(callQuorum({ instances, maxErrors: 1 }, call(['a', 'c'])), { message: 'c failed' });
  t.same(await callQuorum({ instances: [], maxErrors: 0 }, call([])), []);
  const zones = { instances, maxErrors: 0, maxUnavailableZones: 1 };
  t.same(await callQuorum(zones, call(['a', 'b'])), ['c'], 'two of one zone');
  await t.rejects(callQuorum(zones, call(['b', 'c'])), { message: 'c failed' });
  let aborted = 0;
  const slow = ({ id }: Instance, signal: AbortSignal) =>
    id !== 'c'
      ? Promise.resolve(id)
      : new Promise<string>((_, reject) => {
          signal.addEventListener('abort', () => {
            aborted++;
            reject(new Error('aborted'));
          });
        });
  t.same(await callQuorum({ instances, maxErrors: 1 }, slow), ['a', 'b'], 'does not wait for the third');
  t.equal(aborted, 1);

  const [a, b, c] = instances as [Instance, Instance, Instance];
  const sets = [
    { instances: [a, b, c], maxErrors: 1 },
    { instances: [b, c], maxErrors: 0 },
  ];
  const batch = new KeyBatch(sets);
  t.same(
    batch.shares.map(({ instance, keys }) => [instance.id, keys]),
    [
      ['a', [0]],
      ['b', [0, 1]],
      ['c', [0, 1]],
    ],
  );
  batch.failed([0], new Error('a'));
  batch.succeeded([0, 1]);
  batch.succeeded([0, 1]);
  await batch.done;
  const lost = new KeyBatch(sets);
  lost.succeeded([0]);
  lost.succeeded([0, 1]);
  lost.failed([0, 1], new Error('c is away'));
  await t.rejects(lost.done, { message: 'c is away' }, 'one key without quorum fails the batch');
  await new KeyBatch([]).done;
});

const someInstance = fc.record({
  id: fc.constantFrom('a', 'b', 'c', 'd'),
  addr: fc.string(),
  state: fc.constantFrom<InstanceState>(...INSTANCE_STATES),
  zone: fc.string(),
  timestampSec: fc.integer({ min: 0, max: 4 }),
  tokens: fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 })).map(sortedTokens),
  registeredSec: fc.nat(),
  readOnly: fc.boolean(),
  readOnlyUpdatedSec: fc.nat(),
  versions: fc.array(fc.tuple(fc.nat(9), fc.nat())).map((pairs) => new Map(pairs)),
});
const someRing = fc.array(someInstance, { maxLength: 4 }).map((instances) => aRing(...instances));

t.test('bytes of a ring', (t) => {
  t.equal(RING_CODEC, 'ringDesc');
  fc.assert(
    fc.property(someRing, (ring) => {
      t.same(decodeRing(encodeRing(ring), 1e6), ring);
    }),
  );
  const bytes = encodeRing(randomRing(3));
  t.throws(() => decodeRing(bytes, 100), /larger than allowed/);
  t.throws(() => decodeRing(bytes.subarray(0, 50), 1e6), /Snappy|literal|truncated/);
  for (let i = 0; i < 2000; i++) {
    const bad = encodeRing(randomRing(1, 1, 4)).slice();
    bad[i % bad.length] = (i * 31) & 255;
    try {
      decodeRing(bad, 1e6);
    } catch (err) {
      if (!(err instanceof Error) || !/malformed|Snappy|block|literal|truncated|length/.test(err.message))
        throw err;
    }
  }
  t.end();
});

t.test('merging', (t) => {
  const at = (timestampSec: number, over: Partial<Instance> = {}): Instance =>
    anInstance('a', { timestampSec, ...over });
  const stateAfter = (ours: Instance, theirs: Instance): string => {
    const { desc, news } = mergeRings(aRing(ours), aRing(theirs));
    return `${desc.get('a')?.state} ${desc.get('a')?.timestampSec} ${news === undefined ? 'known' : 'news'}`;
  };
  t.equal(stateAfter(at(1), at(2, { state: 'LEAVING' })), 'LEAVING 2 news');
  t.equal(stateAfter(at(2), at(1, { state: 'LEAVING' })), 'ACTIVE 2 known');
  t.equal(stateAfter(at(2), at(2, { state: 'LEAVING' })), 'ACTIVE 2 known');
  t.equal(stateAfter(at(2), at(2, { state: 'LEFT' })), 'LEFT 2 news');
  t.equal(stateAfter(at(2, { state: 'LEFT' }), at(1)), 'LEFT 2 known');
  const twins = ['10.0.0.2:1', '10.0.0.10:1'].map((addr) => aRing(at(2, { addr })));
  for (const [one, other] of [twins, twins.toReversed()] as [RingDesc, RingDesc][]) {
    const { addr } = mergeRings(one, other).desc.get('a') ?? {};
    t.equal(addr, '10.0.0.10:1', 'of two of one second all keep the same one');
  }
  t.equal(stateAfter(at(2, { state: 'LEFT', addr: 'z' }), at(2, { addr: 'a' })), 'LEFT 2 known');
  const clash = mergeRings(
    aRing(anInstance('b', { at: [1, 2] })),
    aRing(anInstance('a', { at: [2, 3] })),
  ).desc;
  t.same(
    [...clash.values()].map(({ id, tokens }) => [id, [...tokens]]),
    [
      ['b', [1]],
      ['a', [2, 3]],
    ],
  );
  const leaving = mergeRings(
    aRing(anInstance('b', { at: [1, 2] })),
    aRing(anInstance('a', { at: [2, 3], state: 'LEAVING' })),
  ).desc;
  t.same([...(leaving.get('a')?.tokens ?? [])], [3], 'who leaves loses');
  const removed = mergeRings(aRing(at(5), anInstance('b')), aRing(anInstance('b')), 3).desc;
  t.match(removed.get('a'), { state: 'LEFT', timestampSec: 5 });
  t.equal(withoutLeft(removed).has('a'), false);
  t.equal(withoutLeft(removed, 5).has('a'), true, 'remembered for a while');
  const facts = (ring: RingDesc): unknown =>
    [...ring.values()]
      .map(({ id, state, timestampSec }) => [id, state === 'LEFT', timestampSec].join())
      .toSorted();
  fc.assert(
    fc.property(someRing, someRing, someRing, (x, y, z) => {
      const merge = (...rings: readonly RingDesc[]): RingDesc =>
        rings.reduce((sum, each) => mergeRings(sum, each).desc, aRing());
      t.same(facts(merge(x, y, z)), facts(merge(z, x, y)), 'in any order');
      t.same(facts(merge(x, x)), facts(merge(x)), 'twice is once');
    }),
    { numRuns: 300 },
  );
  t.end();
});

/** Merging as simply as it can be said: after each change all tokens of all are looked at. */
class PlainRing {
  readonly all = new Map<string, { state: string; sec: number; tokens: number[] }>();

  merge(ring: RingDesc): void {
    for (const { id, state, timestampSec: sec, tokens } of ring.values()) {
      const ours = this.all.get(id);
      const isEnd = sec === ours?.sec && ours.state !== 'LEFT' && state === 'LEFT';
      if (sec > (ours?.sec ?? 0) || isEnd) {
        this.all.set(id, { state, sec, tokens: state === 'LEFT' ? [] : [...tokens] });
      }
    }
    const order = [...this.all].toSorted(
      ([a, { state: x }], [b, { state: y }]) =>
        Number(x === 'LEAVING') - Number(y === 'LEAVING') || (a < b ? -1 : 1),
    );
    const taken = new Set<number>();
    for (const [, each] of order) {
      each.tokens = each.tokens.filter((token) => !taken.has(token));
      for (const token of each.tokens) taken.add(token);
    }
  }
}

const someClaim = fc.record({
  id: fc.constantFrom('a', 'b', 'c', 'd'),
  state: fc.constantFrom<InstanceState>('ACTIVE', 'LEAVING', 'LEFT'),
  timestampSec: fc.integer({ min: 1, max: 30 }),
  at: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 5 }),
});

t.test('of a token that two claim one keeps it, however they come to claim it', (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(someClaim, { maxLength: 3 }), { maxLength: 12 }), (steps) => {
      let ring = aRing();
      const plain = new PlainRing();
      for (const step of steps) {
        const other = aRing(...step.map(({ id, ...over }) => anInstance(id, { addr: 'x', ...over })));
        ring = mergeRings(ring, other).desc;
        plain.merge(other);
        const tokens = [...ring].map(([id, each]) => [id, [...each.tokens]]);
        t.same(
          tokens,
          [...plain.all].map(([id, each]) => [id, each.tokens.toSorted((a, b) => a - b)]),
        );
      }
    }),
    { numRuns: 500 },
  );
  t.end();
});

t.test('tokens that are new cost little in a large ring', (t) => {
  let ring = randomRing(1000);
  const begin = process.cpuUsage();
  const rounds = 50;
  for (let i = 0; i < rounds; i++) {
    const [first = anInstance('x')] = randomRing(1, 1, 128, i + 100).values();
    ring = mergeRings(ring, aRing({ ...first, id: `new${i}` })).desc;
  }
  const { user, system } = process.cpuUsage(begin);
  const ms = (user + system) / 1000 / rounds;
  t.comment(`${ms.toFixed(2)} ms for each of ${rounds} instances that join 1000`);
  t.ok(ms < 10, `an instance that joins takes ${ms.toFixed(2)} ms`);
  t.equal(ring.size, 1000 + rounds);
  t.end();
});

const RING: RingConfig = {
  name: 'ingester',
  key: 'ring',
  kvstore: { store: 'memberlist', prefix: 'collectors/' },
  settings: SETTINGS,
};
const MEMBER: MemberConfig = {
  id: 'one',
  addr: '10.0.0.1',
  interfaceNames: [],
  enableInet6: false,
  port: 9095,
  zone: 'z',
  tokensCount: 16,
  heartbeatPeriodMs: 5000,
};

function aProcess(clock = new ManualClock()) {
  const metrics = new Metrics();
  const random = seeded(5);
  const logger = silentLogger;
  const memberlist = memberlistConfig();
  const rings = new Rings({ isSingleProcess: true, memberlist, logger, metrics, clock, random });
  const { ring } = rings.createRing(RING);
  return { clock, metrics, rings, ring };
}

t.test('a member joins, beats and leaves', async (t) => {
  const { clock, metrics, rings, ring } = aProcess();
  t.equal(rings.createRing(RING).ring, ring, 'one ring of a name');
  await rings.createRing(RING).start();
  const member = rings.createMember(RING, {
    ...MEMBER,
    joinAfterMs: 2000,
    observePeriodMs: 3000,
    minReadyMs: 15_000,
    checksRingHealth: true,
  });
  const state = (): string | undefined => ring.current.instance('one')?.state;
  await member.start();
  t.equal(state(), 'PENDING');
  t.equal(member.readiness(), 'this instance owns no tokens');
  await clock.pass(2000);
  t.equal(state(), 'JOINING');
  t.equal(member.readiness(), 'instance one in state JOINING');
  await clock.pass(3000);
  t.equal(state(), 'ACTIVE');
  t.match(member.readiness(), /waiting for 15s/);
  await clock.pass(15_000);
  t.equal(member.readiness(), undefined);
  t.match(ring.current.instance('one'), {
    addr: '10.0.0.1:9095',
    zone: 'z',
    timestampSec: clock.nowMs() / 1000,
  });
  t.equal(ring.current.tokensCount, 16);
  const shown = await metrics.text();
  t.match(shown, 'tempo_ring_members{name="ingester",state="ACTIVE"} 1');
  t.match(shown, 'tempo_ring_members{name="ingester",state="Unhealthy"} 0');
  t.match(shown, 'tempo_ring_member_tokens_owned{name="ingester"} 16');
  t.match(shown, 'tempo_ring_member_tokens_to_own{name="ingester"} 16');
  t.match(shown, 'tempo_ring_member_heartbeats_total{name="ingester"} 4');
  t.match(shown, 'tempo_ring_tokens_total{name="ingester"} 16');
  t.match(
    shown,
    `tempo_ring_oldest_member_timestamp{name="ingester",state="ACTIVE"} ${clock.nowMs() / 1000}`,
  );
  const second = clock.nowMs() / 1000;
  await member.setReadOnly(true);
  t.match(ring.current.instance('one'), { readOnly: true, timestampSec: second + 1 });
  t.same([member.isMember, member.isReadOnly, member.readOnlyUpdatedSec], [true, true, second]);
  t.match(await metrics.text(), 'tempo_lifecycler_read_only{name="ingester"} 1');
  await member.leave();
  const news = { state: 'LEAVING', timestampSec: second + 2 };
  t.match(ring.current.instance('one'), news, 'younger than what others heard in the same second');
  await member.stop();
  t.equal(ring.current.instancesCount, 0);
  await clock.pass(20_000);
  t.equal(ring.current.instancesCount, 0, 'no heartbeat after the end');
});

t.test('a member that comes back', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ring-'));
  const tokensFilePath = path.join(folder, 'tokens');
  const { clock, rings, ring } = aProcess();
  await rings.createRing(RING).start();
  const tokens = (): number[] => [...(ring.current.instance('one')?.tokens ?? [])];
  const first = rings.createMember(RING, { ...MEMBER, tokensFilePath });
  await first.start();
  const before = tokens();
  t.same(JSON.parse(readFileSync(tokensFilePath, 'utf8')), { tokens: before });
  await first.stop();
  const second = rings.createMember(RING, { ...MEMBER, tokensFilePath, unregistersOnShutdown: false });
  await second.start();
  t.same(tokens(), before, 'with the tokens of the file');
  await second.stop();
  t.equal(ring.current.instance('one')?.state, 'LEAVING', 'it stays in the ring');
  const third = rings.createMember(RING, { ...MEMBER, tokensCount: 20 });
  await third.start();
  t.equal(ring.current.instance('one')?.state, 'ACTIVE');
  t.ok(before.every((token) => tokens().includes(token)) && tokens().length === 20, 'with more tokens');
  t.ok(await ring.forget('one'));
  t.equal(await ring.forget('nobody'), false);
  t.equal(ring.current.instancesCount, 0);
  await clock.pass(5000);
  t.equal(ring.current.instance('one')?.state, 'ACTIVE', 'forgotten, and back at the next heartbeat');
  third.onShutdown({ unregister: false });
  await third.stop();
  const fourth = rings.createMember(RING, { ...MEMBER, tokensCount: 4, tokensFilePath });
  await fourth.start();
  t.equal(tokens().length, 4, 'with fewer tokens');
  fourth.onShutdown({ removeTokensFile: true });
  await fourth.stop();
  t.throws(() => readFileSync(tokensFilePath));
  writeFileSync(tokensFilePath, '{"tokens":["x"]}');
  const fifth = rings.createMember(RING, { ...MEMBER, tokensFilePath });
  await fifth.start();
  t.equal(tokens().length, 16, 'a file that cannot be read is no reason not to start');
  await fifth.stop();
});

function aloneMember() {
  const clock = new ManualClock();
  return {
    key: 'k',
    id: 'one',
    addr: '10.0.0.8:9095',
    zone: '',
    tokensCount: 16,
    heartbeatPeriodMs: 5000,
    joinAfterMs: 0,
    observePeriodMs: 0,
    minReadyMs: 0,
    checksRingHealth: false,
    finalSleepMs: 0,
    unregistersOnShutdown: true,
    tokensFilePath: '',
    forgetAfterMs: 0,
    clock,
    random: seeded(3),
    logger: silentLogger,
    metrics: new RingMetrics(new Metrics(), () => clock.nowMs()),
  };
}

t.test('a stop amid leaving unregisters once that it leaves is written', async (t) => {
  const store = new MemoryStore();
  const order: string[] = [];
  let held: Promise<void> | undefined;
  const slow: RingStore = {
    get: (key) => store.get(key),
    watch: (key, listener) => store.watch(key, listener),
    change: async (key, make) => {
      const first = held;
      held = undefined;
      await first;
      await store.change(key, (desc) => {
        const made = make(desc);
        order.push(made?.get('one')?.state ?? 'gone');
        return made;
      });
    },
  };
  const ring = new WatchedRing({ name: 'ingester', store, key: 'k', settings: SETTINGS });
  await ring.start();
  const member = new Lifecycler({ ...aloneMember(), ring, store: slow });
  await member.start();
  const hold = Promise.withResolvers<void>();
  held = hold.promise;
  order.length = 0;
  const left = member.leave();
  const stopped = member.stop();
  setTimeout(hold.resolve, 20);
  await Promise.all([left, stopped]);
  t.same(order, ['LEAVING', 'gone']);
  ring.stop();
});

t.test('who cannot write that it is read-only is not, and may try again', async (t) => {
  const store = new MemoryStore();
  let isAway = false;
  let writes = 0;
  const shaky: RingStore = {
    get: (key) => store.get(key),
    watch: (key, listener) => store.watch(key, listener),
    change: async (key, make) => {
      if (isAway) throw new TempoError('unavailable', 'etcd is away');
      writes++;
      await store.change(key, make);
    },
  };
  const ring = new WatchedRing({ name: 'ingester', store, key: 'k', settings: SETTINGS });
  await ring.start();
  t.teardown(() => ring.stop());
  const member = new Lifecycler({ ...aloneMember(), ring, store: shaky });
  await member.start();
  const written = async (): Promise<unknown> => (await store.get('k'))?.get('one')?.readOnly;
  for (const wanted of [true, false]) {
    const sinceSec = member.readOnlyUpdatedSec;
    isAway = true;
    const tries = await Promise.allSettled([member.setReadOnly(wanted), member.setReadOnly(wanted)]);
    for (const each of tries) t.match(each, { status: 'rejected', reason: { code: 'unavailable' } });
    t.equal(member.isReadOnly, !wanted);
    t.equal(member.readOnlyUpdatedSec, sinceSec);
    isAway = false;
    const before = writes;
    await member.setReadOnly(wanted);
    t.equal(writes, before + 1, 'the second try is written');
    t.equal(await written(), wanted);
    t.equal(member.isReadOnly, wanted);
  }
  // One that is taken back while it waits: the last word counts, whether or not the first could be written.
  for (const away of [false, true]) {
    isAway = away;
    const [on, off] = await Promise.allSettled([member.setReadOnly(true), member.setReadOnly(false)]);
    t.match(on, { status: away ? 'rejected' : 'fulfilled' });
    t.match(off, { status: 'fulfilled' });
    t.equal(member.isReadOnly, false);
    t.equal(await written(), false);
  }
  isAway = false;
  await member.stop();
});

t.test('a heartbeat leaves tokens to whoever won them, and a process that moved is no twin', async (t) => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const lines: string[] = [];
  const logger = { ...silentLogger, warn: (msg: string) => void lines.push(msg), child: () => logger };
  const ring = new WatchedRing({ name: 'ingester', store, key: 'k', settings: SETTINGS });
  await ring.start();
  const before = anInstance('one', {
    addr: '10.0.0.7:9095',
    timestampSec: clock.nowMs() / 1000 - 30,
    at: Array.from({ length: 16 }, (_, i) => 1000 * i),
  });
  await store.change('k', () => aRing(before));
  const member = new Lifecycler({ ...aloneMember(), clock, logger, ring, store });
  await member.start();
  const mine = async (): Promise<Instance> => (await store.get('k'))!.get('one')!;
  t.match(await mine(), { addr: '10.0.0.8:9095' });
  // What gossip may bring once more from somebody who has not heard of the new address.
  await store.change('k', (desc) => withInstance(desc!, before));
  await clock.pass(5000);
  t.match(await mine(), { addr: '10.0.0.8:9095' });
  t.same(lines, [], 'that was itself, some time ago');
  const { tokens } = await mine();
  t.equal(tokens.length, 16);
  await store.change('k', (desc) => withInstance(desc!, { ...desc!.get('one')!, tokens: tokens.slice(4) }));
  await clock.pass(15_000);
  t.same((await mine()).tokens, tokens.slice(4), 'others have them now');
  t.equal((await mine()).timestampSec, Math.floor(clock.nowMs() / 1000));
  await member.stop();
  ring.stop();
});

t.test('what keeps rings is closed by the last that uses it, and when it could not be opened', async (t) => {
  const port = await freePort();
  const kept = { ...RING, kvstore: { store: 'memberlist', prefix: '' } };
  const ringsWith = (more: Partial<MemberlistConfig>): Rings => {
    const addresses = { bindAddr: ['127.0.0.1'], bindPort: port, advertiseAddr: '127.0.0.1' };
    const memberlist = memberlistConfig({ ...addresses, ...more });
    const rings = new Rings({
      memberlist,
      logger: silentLogger,
      isSingleProcess: false,
      metrics: new Metrics(),
    });
    rings.createRing(kept);
    return rings;
  };
  const alone = { joinMembers: ['127.0.0.1:1'], abortIfClusterJoinFails: true, maxJoinRetries: 1 };
  const failing = ringsWith(alone);
  await t.rejects(failing.start(), /no member of memberlist.join_members could be joined/);
  await t.rejects(failing.start(), 'a start that failed counts for none');
  await t.resolves(listen(port), 'nothing listens any more');
  const rings = ringsWith({});
  await rings.start();
  await rings.start();
  await rings.stop();
  await t.rejects(listen(port), /EADDRINUSE/, 'two have started it, one is left');
  await rings.stop();
  await t.resolves(listen(port));
});

async function listen(port: number): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}

t.test('members forget those that are silent, and warn of twins', async (t) => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  await store.change('k', () => aRing(anInstance('dead', { timestampSec: clock.nowMs() / 1000 })));
  const seen: number[] = [];
  const unwatch = store.watch('k', (desc) => seen.push(desc.size));
  t.same(seen, [1]);
  await store.change('k', () => undefined);
  t.same(seen, [1], 'nothing changed, nobody is told');
  unwatch();
  const lines: string[] = [];
  const errors: LogFields[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (msg) => void lines.push(msg),
    error: (msg, fields) => void errors.push({ msg, ...fields }),
    child: () => logger,
  };
  const options = { memberlist: memberlistConfig(), logger, clock, random: seeded(1) };
  const rings = new Rings({ ...options, isSingleProcess: true, metrics: new Metrics() });
  await rings.start();
  const service = rings.createRing(RING);
  await service.start();
  const member = rings.createMember(RING, { ...MEMBER, forgetAfterMs: 120_000 });
  const other = rings.createMember(RING, { ...MEMBER, id: 'two', heartbeatPeriodMs: 0 });
  const twin = rings.createMember(RING, { ...MEMBER, addr: '10.0.0.9' });
  await member.start();
  await other.start();
  await clock.pass(1000);
  t.same(idsOf(service.ring.current.instances), ['one', 'two']);
  t.throws(() => service.ring.current.replicas(1, { ...WRITE, takesPart: [] }, clock.nowMs()), /unhealthy/);
  await clock.pass(130_000);
  t.same(idsOf(service.ring.current.instances), ['one'], 'forgotten after two minutes');
  t.same(new Set(lines), new Set(['forgot an instance without heartbeat']));
  const halted = rings.createMember(RING, {
    ...MEMBER,
    id: 'halted',
    heartbeatPeriodMs: 130_000,
    forgetAfterMs: 120_000,
  });
  await member.stop();
  const silent = rings.createMember(RING, { ...MEMBER, id: 'silent', heartbeatPeriodMs: 0 });
  await silent.start();
  lines.length = 0;
  await halted.start();
  await clock.pass(130_000);
  t.same(lines, [], 'one that was halted itself forgets nobody');
  await halted.stop();
  await silent.stop();
  await member.start();
  await twin.start();
  await clock.pass(10_000);
  const msg = 'another process uses the id of this instance in the ring: each needs its own';
  t.same(
    errors.map((each) => each['msg']),
    errors.map(() => msg),
  );
  const many = (60_000 / MEMBER.heartbeatPeriodMs) * 2;
  const early = errors.length;
  t.ok(early > 0);
  for (const { addr, other_addr: other } of errors) {
    t.same(new Set([addr, other]), new Set(['10.0.0.1:9095', '10.0.0.9:9095']), 'both are named');
  }
  await clock.pass(120_000);
  t.ok(errors.length === early && early < many, 'once a while, not at every heartbeat');
  await clock.pass(400_000);
  t.ok(errors.length > early);
  await member.stop();
  await twin.stop();
  await service.stop();
  t.same(
    rings.all.map(({ name }) => name),
    ['ingester'],
  );
  const apart = new Rings({ ...options, isSingleProcess: false, metrics: new Metrics() });
  const elsewhere = { ...RING, kvstore: { store: 'consul', prefix: '' } };
  t.throws(() => apart.createRing(elsewhere), /cannot be kept in "consul"/);
  await rings.stop();
  t.match(interfaceAddress(['none'], false), /^\d+\./);
  let ticks = 0;
  const end = every(clock, 10, () => ++ticks);
  await clock.pass(35);
  end();
  await clock.pass(35);
  t.equal(ticks, 3);
});

t.test('members share work', async (t) => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const settings = { ...SETTINGS, replicationFactor: 1, zoneAwarenessEnabled: false };
  const random = seeded(11);
  const ringMetrics = new RingMetrics(new Metrics(), () => clock.nowMs());
  const lines: string[] = [];
  const logger = { ...silentLogger, warn: (msg: string) => void lines.push(msg), child: () => logger };
  const shareOf = (id: string, over: Partial<WorkShareOptions> = {}) => {
    const ring = new WatchedRing({ name: 'compactor', store, key: 'k', settings });
    const followed = {
      name: 'compactor-ring',
      ring,
      start: () => ring.start(),
      stop: async () => ring.stop(),
    };
    const member = new Lifecycler({
      ring,
      store,
      key: 'k',
      id,
      addr: `${id}:9095`,
      zone: '',
      tokensCount: 64,
      heartbeatPeriodMs: 5000,
      joinAfterMs: 0,
      observePeriodMs: 0,
      minReadyMs: 0,
      checksRingHealth: false,
      finalSleepMs: 0,
      unregistersOnShutdown: true,
      tokensFilePath: '',
      forgetAfterMs: 120_000,
      clock,
      random,
      logger,
      metrics: ringMetrics,
    });
    const rings = { name: 'rings', start: async () => undefined, stop: async () => undefined };
    const common = { rings, followed, member, id, clock, logger };
    return new WorkShare({
      ...common,
      activeMsMax: 1000,
      stableMsMin: 10_000,
      stableMsMax: 60_000,
      ...over,
    });
  };
  const tokensOf = (count: number): number[] =>
    Array.from({ length: count }, () => Math.floor(random() * 2 ** 32));
  const keys = Array.from({ length: 300 }, (_, i) => `team-0-${i}-0`);
  const [one, two, three] = ['one', 'two', 'three'].map((id) => shareOf(id)) as [
    WorkShare,
    WorkShare,
    WorkShare,
  ];
  const ownersOf = (key: string): string =>
    [one, two, three].flatMap((share, i) => (share.owns(key) ? [i + 1] : [])).join();
  const shares = (): string[] => [...new Set(keys.map(ownersOf))].toSorted();
  let begun = 0;
  one.onBegin(() => ++begun);
  await one.start();
  await clock.pass(9000);
  t.equal(one.readiness(), 'waiting until the compactor ring is stable');
  await two.start();
  await clock.pass(9000);
  t.same([shares(), begun], [[''], 0], 'the second one came amid its wait');
  await clock.pass(2000);
  t.same([shares(), one.readiness(), begun], [['1', '2'], undefined, 1], 'each key is of one of them');
  const before = keys.map(ownersOf);
  await three.start();
  await clock.pass(5000);
  t.same(shares(), ['', '1', '2'], "the third one has begun nothing yet, and what is its is nobody's");
  await clock.pass(5000);
  t.same(shares(), ['1', '2', '3']);
  t.ok(
    keys.every((key, i) => ownersOf(key) === '3' || ownersOf(key) === before[i]),
    'nothing goes from one of the others to another',
  );
  await two.stop();
  t.same(shares(), ['1', '3'], 'at once when one has left');
  await three.stop();
  t.same(shares(), ['1']);

  await store.change('k', (desc) =>
    withInstance(desc!, anInstance('dead', { timestampSec: clock.nowMs() / 1000, at: tokensOf(64) })),
  );
  t.same(shares(), ['', '1']);
  await clock.pass(settings.heartbeatTimeoutMs + 1000);
  t.same(shares(), ['1'], 'what a silent one had is taken over');
  await one.stop();
  t.same(shares(), [''], 'one that has stopped has nothing');

  const settling = shareOf('settling');
  const withTokens = (count: number): Promise<void> =>
    store.change('k', (desc) => {
      const other = anInstance('other', { timestampSec: clock.nowMs() / 1000, at: tokensOf(count) });
      return withInstance(desc!, other);
    });
  await withTokens(8);
  await settling.start();
  await clock.pass(9000);
  await withTokens(12);
  await clock.pass(9000);
  t.match(settling.readiness(), /stable/, 'the same members with other tokens are another ring');
  await clock.pass(2000);
  t.equal(settling.readiness(), undefined);
  await settling.stop();
  const hasty = shareOf('hasty', { stableMsMin: 0 });
  await hasty.start();
  t.ok(hasty.owns('anything'), 'without a wait');
  const restless = shareOf('restless');
  await restless.start();
  for (let i = 0; i < 12; i++) {
    await store.change('k', (desc) => {
      const other = anInstance(`n${i}`, { timestampSec: clock.nowMs() / 1000, at: tokensOf(1 + i) });
      return withInstance(desc!, other);
    });
    await clock.pass(5000);
  }
  t.equal(restless.readiness(), undefined);
  t.ok(lines.includes('the ring is not stable, begins anyway'));
  await Promise.all([hasty.stop(), restless.stop()]);

  const unseen = shareOf('unseen');
  const lateRing = new WatchedRing({ name: 'compactor', store: new MemoryStore(), key: 'k', settings });
  const elsewhere = { name: '', ring: lateRing, start: () => lateRing.start(), stop: async () => undefined };
  const late = shareOf('late', { followed: elsewhere });
  const started = late.start();
  await Promise.all([
    t.rejects(started, /instance late is not ACTIVE in the compactor ring after 1000 ms/),
    clock.pass(1000),
  ]);
  t.notOk((await store.get('k'))?.has('late'), 'it has left the ring');
  await unseen.stop();
});

t.test('what is known of a ring stays until there are news', async (t) => {
  const desc = randomRing(3);
  const store = new DeferredStore();
  // As etcd, whose watch takes a while.
  store.open({ get: async () => desc, change: async () => undefined, watch: () => () => undefined });
  const ring = new WatchedRing({ name: 'ingester', store, key: 'ring', settings: SETTINGS });
  await ring.start();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(ring.current.instances.length, 3);
  ring.stop();
});
