// Who has just left a ring of gossip: nobody asks them, and a read that lacks another one besides says that
// it may not be whole, as both may have been the quorum of a push.
import t from 'tap';
import { GossipMetrics } from '../../src/ring/gossip/gossip-metrics.ts';
import { GossipStore } from '../../src/ring/gossip/gossip-store.ts';
import { type Instance, instanceOf } from '../../src/ring/instance.ts';
import type { RingSnapshot } from '../../src/ring/ring.ts';
import { WatchedRing } from '../../src/ring/watched-ring.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const KEY = 'ring';
const LEFT_TIMEOUT_MS = 300_000;
const SHARD_SIZE = 3;

const clock = new ManualClock();

function member(i: number, over: Partial<Instance> = {}): Instance {
  const id = `i${i}`;
  const timestampSec = Math.floor(clock.nowMs() / 1000);
  const registeredSec = timestampSec - 1000;
  const tokens = Uint32Array.of(i * 1000, i * 1000 + 2 ** 31);
  return instanceOf({
    id,
    addr: `${id}:1`,
    state: 'ACTIVE',
    timestampSec,
    registeredSec,
    tokens,
    ...over,
  });
}

/** Whether a read is whole when all answer but so many. */
function isWholeWithout(ring: RingSnapshot, silentCount: number): boolean {
  const { asked, awaited } = ring.readers(clock.nowMs());
  const answers = awaited();
  for (const each of asked.slice(silentCount)) answers.answered(each);
  return answers.isWhole;
}

t.test('a member that has left is not asked, and counts where another one is silent', async (t) => {
  const store = new GossipStore({
    clock,
    logger: silentLogger,
    metrics: new GossipMetrics(new Metrics()),
    leftTimeoutMs: LEFT_TIMEOUT_MS,
    notifyIntervalMs: 0,
    valueBytesMax: 1e6,
    keysMax: 4,
    instancesMax: 100,
    broadcast: () => undefined,
  });
  const all = [0, 1, 2, 3, 4].map((i) => member(i));
  await store.change(KEY, () => new Map(all.map((each) => [each.id, each])));
  const settings = {
    replicationFactor: 3,
    heartbeatTimeoutMs: 0,
    zoneAwarenessEnabled: false,
    excludedZones: [],
  };
  const ring = new WatchedRing({ name: 'ingester', store, key: KEY, settings });
  await ring.start();
  t.teardown(() => ring.stop());
  const sinceSec = Math.floor(clock.nowMs() / 1000) - 1800;
  const shards = (): readonly RingSnapshot[] => [
    ring.current.shard('tenant', SHARD_SIZE),
    ring.current.shard('tenant', SHARD_SIZE, { sinceSec }),
  ];
  const each = [ring.current, ...shards()];
  t.same(
    each.map((one) => isWholeWithout(one, 1)),
    [true, true, true],
    'all are there: one may be silent',
  );

  t.ok(await ring.forget('i4'));
  t.same(ring.current.instances.map(({ id }) => id).join(), 'i0,i1,i2,i3');
  t.equal((await store.get(KEY))?.has('i4'), false, 'who changes a ring does not see who has left');
  for (const one of [ring.current, ...shards()]) {
    t.ok(isWholeWithout(one, 0), `${one.instancesCount} answer`);
    t.notOk(isWholeWithout(one, 1), 'one has left and one is silent');
    t.notOk(one.readers(clock.nowMs()).asked.some(({ id }) => id === 'i4'));
  }
  await clock.pass(1000);
  await store.change(KEY, (desc) => new Map(desc).set('i3', member(3, { readOnly: true })));
  const writable = ring.current.shard('tenant', 0);
  t.same(writable.instances.map(({ id }) => id).join(), 'i0,i1,i2', 'one that is read-only is in no shard');
  t.notOk(isWholeWithout(writable, 1), 'also where a shard is all that takes writes');

  let told = 0;
  ring.onChange(() => told++);
  await clock.pass(LEFT_TIMEOUT_MS + 1000);
  t.ok(isWholeWithout(ring.current, 1), 'what left long ago does not count, remembered or not');
  store.forgetLeft();
  t.equal(told, 1, 'that it is forgotten is news');
  t.notOk(ring.current.desc.has('i4'), 'a while later it is forgotten');
  store.forgetLeft();
  t.equal(told, 1);
});
