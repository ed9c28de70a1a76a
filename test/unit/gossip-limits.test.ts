// What strangers may make a member of gossip keep and do: texts, members, instances, rings and packets have
// limits, and whoever goes beyond them is counted and takes no room from others.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { ByteWriter } from '../../src/lib/byte-writer.ts';
import { SnappyCompressor } from '../../src/lib/snappy-compressor.ts';
import { snappyStore } from '../../src/lib/snappy.ts';
import { decodeRing, encodeRing, RING_CODEC } from '../../src/ring/desc-codec.ts';
import { ipBytes } from '../../src/ring/gossip/address.ts';
import { BroadcastQueue } from '../../src/ring/gossip/broadcast-queue.ts';
import { GossipMetrics } from '../../src/ring/gossip/gossip-metrics.ts';
import { GossipNode } from '../../src/ring/gossip/gossip-node.ts';
import { GossipStore } from '../../src/ring/gossip/gossip-store.ts';
import {
  type Alive,
  decodePacket,
  decodePushPull,
  encodeMessage,
  encodePushPull,
  type StoredMember,
} from '../../src/ring/gossip/messages.ts';
import { packMap } from '../../src/ring/gossip/msgpack.ts';
import { decodePair, encodePair, joinPairs } from '../../src/ring/gossip/pairs.ts';
import { type Instance, instanceOf, type RingDesc } from '../../src/ring/instance.ts';
import { createLogger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { ManualClock } from '../support/manual-clock.ts';

const KEY = 'collectors/ring';
const MIB = 1024 * 1024;
const clock = new ManualClock();
const NOW_SEC = Math.floor(clock.nowMs() / 1000);

function aStore(over: { valueBytesMax?: number; keysMax?: number } = {}) {
  const metrics = new Metrics();
  const lines: string[] = [];
  const store = new GossipStore({
    clock,
    logger: createLogger({ level: 'info', format: 'logfmt', write: (line) => void lines.push(line) }),
    metrics: new GossipMetrics(metrics),
    leftTimeoutMs: 300_000,
    notifyIntervalMs: 0,
    valueBytesMax: MIB,
    keysMax: 4,
    instancesMax: 100,
    broadcast: () => undefined,
    ...over,
  });
  return { store, lines, invalid: () => counted(metrics, 'received_broadcasts_invalid_total') };
}

/** Time of the processor: others may use the machine too. */
function cpuMsSince(begin: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(begin);
  return Math.round((user + system) / 1000);
}

async function counted(metrics: Metrics, name: string): Promise<number> {
  return Number(new RegExp(`memberlist_client_${name} (\\d+)`).exec(await metrics.text())?.[1]);
}

function ringPair(key: string, ...instances: readonly Instance[]): Uint8Array {
  const value = encodeRing(new Map(instances.map((each) => [each.id, each])));
  return encodePair({ key, value, codec: RING_CODEC, isDeleted: false, updatedMs: 0 });
}

const active = (id: string, over: Partial<Instance> = {}): Instance =>
  instanceOf({ id, addr: `${id}:1`, state: 'ACTIVE', timestampSec: NOW_SEC, ...over });

const someTokens = (count: number, from = 0): Uint32Array =>
  Uint32Array.from({ length: count }, (_, i) => from + i);

const idsOf = (desc: RingDesc | undefined): readonly string[] => [...(desc ?? new Map()).keys()];

t.test('keys of values are short', async (t) => {
  const { store, lines, invalid } = aStore();
  store.receive(ringPair('k'.repeat(256), active('a')));
  t.same(
    store.values.map(([key]) => key.length),
    [256],
  );
  store.receive(ringPair('k'.repeat(257), active('a')));
  store.mergeState(joinPairs([ringPair('k'.repeat(MIB), active('a')), ringPair(KEY, active('a'))]));
  t.same(
    store.values.map(([key]) => key.length),
    [256, KEY.length],
    'the next is heard',
  );
  t.equal(await invalid(), 2);
  t.match(lines.join(''), /has a key of 257 bytes, more than 256/);
  const pair = { key: 'k', value: new Uint8Array(0), codec: 'c'.repeat(257), isDeleted: true, updatedMs: 9 };
  t.throws(() => decodePair(encodePair(pair)), /has a codec of 257 bytes/);
  t.same(decodePair(encodePair({ ...pair, codec: 'c' })), { ...pair, codec: 'c' });
});

t.test('a state has so many values', async (t) => {
  const { store, invalid } = aStore();
  const other = { key: 'p', value: new Uint8Array(0), codec: 'x', isDeleted: false, updatedMs: 0 };
  const junk = Array.from({ length: 1023 }, () => encodePair(other));
  store.mergeState(joinPairs([...junk, ringPair('a', active('a')), ringPair('b', active('a'))]));
  t.same(
    store.values.map(([key]) => key),
    ['a'],
  );
  t.equal(await invalid(), 1);
});

const aMember: Alive = {
  incarnation: 3,
  node: 'a',
  ip: ipBytes('10.0.0.1'),
  port: 7946,
  meta: new Uint8Array(0),
  versions: [1, 5, 2, 0, 0, 0],
};

const MEMBERS: readonly { name: string; input: Partial<Alive>; want: RegExp | undefined }[] = [
  { name: 'a long name', input: { node: 'n'.repeat(256) }, want: undefined },
  { name: 'a longer name', input: { node: 'n'.repeat(257) }, want: /name of a member has 257 bytes/ },
  { name: 'no name', input: { node: '' }, want: /no name/ },
  { name: 'a large meta', input: { meta: new Uint8Array(512) }, want: undefined },
  { name: 'a larger meta', input: { meta: new Uint8Array(513) }, want: /meta of a member has 513 bytes/ },
  { name: 'no versions', input: { versions: [] }, want: undefined },
  { name: 'seven versions', input: { versions: [1, 5, 2, 0, 0, 0, 0] }, want: /has 7 versions/ },
];

t.test('texts of members are short', (t) => {
  for (const { name, input, want } of MEMBERS) {
    const bytes = encodeMessage({ kind: 'alive', ...aMember, ...input });
    if (want === undefined) t.match(decodePacket(bytes, MIB), [input], name);
    else t.throws(() => decodePacket(bytes, MIB), want, name);
    const members: StoredMember[] = [
      { ...aMember, ...input, state: 'suspect' },
      { ...aMember, node: 'other', state: 'alive' },
    ];
    const state = encodePushPull({ isJoin: false, members, userState: Uint8Array.of(7) });
    const decoded = decodePushPull(state, MIB);
    t.equal(decoded.members.at(-1)?.node, 'other', `${name}: other members are heard`);
    t.equal(decoded.refusedCount, want === undefined ? 0 : 1, name);
    t.same([...decoded.userState], [7]);
  }
  const long = 'x'.repeat(257);
  const source = { address: undefined, node: '' };
  const target = { ip: ipBytes('10.0.0.1'), port: 1 };
  for (const message of [
    { kind: 'dead', incarnation: 1, node: 'a', from: long },
    { kind: 'suspect', incarnation: 1, node: long, from: 'a' },
    { kind: 'ping', seq: 1, node: long, source },
    { kind: 'indirect-ping', seq: 1, target, node: long, wantsNack: false, source },
  ] as const) {
    t.throws(() => decodePacket(encodeMessage(message), MIB), /has 257 bytes/, message.kind);
  }
  t.end();
});

t.test('maps of messages are small', (t) => {
  // Versions as an array, and one of very many in another: all of them would be made before they are read.
  const withVersions = (array: Uint8Array): Uint8Array => {
    const out = new ByteWriter(64);
    out.u8(4);
    packMap(out, [
      ['Node', 'a'],
      ['Addr', aMember.ip],
    ]);
    const bytes = out.copy();
    bytes[1] = 0x83;
    return Buffer.concat([bytes, Uint8Array.of(0xa3), Buffer.from('Vsn'), array]);
  };
  const six = withVersions(Uint8Array.of(0x96, 1, 5, 2, 0, 0, 0));
  t.match(decodePacket(six, MIB), [{ versions: [1, 5, 2, 0, 0, 0] }]);
  const many = Buffer.concat([Uint8Array.of(0xdc, 0xff, 0xff), new Uint8Array(65_535)]);
  t.throws(() => decodePacket(withVersions(many), MIB), /too many fields/);
  const members = Array.from({ length: 2000 }, () => ({ ...aMember, state: 'alive' as const }));
  const state = encodePushPull({ isJoin: false, members, userState: new Uint8Array(0) });
  t.equal(decodePushPull(state, MIB).members.length, 2000, 'each message for itself');
  const head = new ByteWriter(64);
  head.u8(6);
  packMap(head, [['Nodes', 65_537]]);
  t.throws(() => decodePushPull(head.copy(), MIB), /has 65537 members/);
  t.end();
});

const INSTANCES: readonly { name: string; input: Instance; isKept: boolean }[] = [
  { name: 'a long id', input: active('i'.repeat(256), { addr: '' }), isKept: true },
  { name: 'a longer id', input: active('i'.repeat(257), { addr: '' }), isKept: false },
  { name: 'a longer id in bytes', input: active('é'.repeat(129), { addr: '' }), isKept: false },
  { name: 'a long address', input: active('i', { addr: 'a'.repeat(256) }), isKept: true },
  { name: 'a longer address', input: active('i', { addr: 'a'.repeat(257) }), isKept: false },
  { name: 'a long zone', input: active('i', { zone: 'z'.repeat(256) }), isKept: true },
  { name: 'a longer zone', input: active('i', { zone: 'z'.repeat(257) }), isKept: false },
  { name: 'many tokens', input: active('i', { tokens: someTokens(65_536) }), isKept: true },
  { name: 'more tokens', input: active('i', { tokens: someTokens(65_537) }), isKept: false },
  { name: 'many versions', input: active('i', { versions: someVersions(64) }), isKept: true },
  { name: 'more versions', input: active('i', { versions: someVersions(65) }), isKept: false },
];

function someVersions(count: number): ReadonlyMap<number, number> {
  return new Map(Array.from({ length: count }, (_, i) => [i, 1]));
}

t.test('instances that are larger than any are left out', async (t) => {
  for (const { name, input, isKept } of INSTANCES) {
    const ring = new Map([
      [input.id, input],
      ['other', active('other', { zone: 'b', tokens: Uint32Array.of(7) })],
    ]);
    let leftOut = 0;
    const decoded = decodeRing(encodeRing(ring), MIB, (count) => (leftOut += count));
    t.same(idsOf(decoded), isKept ? [input.id, 'other'] : ['other'], name);
    t.equal(leftOut, isKept ? 0 : 1, name);
    if (isKept) t.same(decoded.get(input.id), input, name);
    t.same(decoded.get('other'), ring.get('other'), `${name}: the rest is whole`);
  }
  const { store, lines, invalid } = aStore();
  const huge = { zone: 'z'.repeat(300_000) };
  store.receive(ringPair(KEY, active('a', huge), active('b', huge), active('c')));
  t.same(idsOf(await store.get(KEY)), ['c']);
  t.equal(await invalid(), 1);
  t.match(lines.join(''), /more text or tokens than any has are passed over.* instances=2/);
  const entry = Uint8Array.of(0x0a, 0x06, 0x0a, 0x04);
  const small = Buffer.alloc(70_000 * 8);
  for (let i = 0; i < 70_000; i++) small.set([...entry, ...Buffer.from(i.toString(36).padStart(4))], i * 8);
  t.equal(decodeRing(snappyStore(small), MIB).size, 65_536, 'of one ring so many');
});

t.test('all rings together fit into one message', async (t) => {
  const { store, lines, invalid } = aStore({ keysMax: 2 });
  // Each is an instance that may be; all of them are 10 MB.
  const large = (i: number, sec = NOW_SEC): Instance =>
    active(`large-${i}`, { timestampSec: sec, tokens: someTokens(20_000, i * 20_000) });
  for (let i = 0; i < 50; i++) store.receive(ringPair('strange', large(i)));
  t.ok(store.state().length <= MIB / 4, `strange rings have ${store.state().length} bytes`);
  t.ok(store.state().length > MIB / 16);
  t.match(lines.join(''), /beyond those that may be in a ring, are passed over/);
  store.watch(KEY, () => undefined);
  for (let i = 0; i < 50; i++) store.receive(ringPair(KEY, large(i)));
  t.ok(store.state().length <= MIB / 2, `all rings have ${store.state().length} bytes`);
  t.ok((await store.get(KEY))?.has('large-0'), 'a ring that is of use has room left');
  const before = await invalid();
  store.receive(ringPair(KEY, large(0, NOW_SEC + 1)));
  t.equal((await store.get(KEY))?.get('large-0')?.timestampSec, NOW_SEC + 1, 'who is known beats on');
  t.equal(await invalid(), before);
  await store.change(KEY, (desc) => new Map(desc).set('own', active('own')));
  t.ok((await store.get(KEY))?.has('own'), 'and this process has its place');
  store.receive(ringPair(KEY, active('large-0', { state: 'LEFT', timestampSec: NOW_SEC + 2 })));
  store.receive(ringPair(KEY, active('late')));
  t.ok((await store.get(KEY))?.has('late'), 'who leaves makes room');
});

t.test('instances do not grow beyond the room there is, not in the same second either', async (t) => {
  const { store, lines, invalid } = aStore();
  store.watch(KEY, () => undefined);
  const ids = Array.from({ length: 60 }, (_, i) => `i-${i}`);
  const small = ids.map((id) => active(id, { addr: 'b:1', tokens: Uint32Array.of(1) }));
  for (const each of small) store.receive(ringPair(KEY, each));
  t.equal((await store.get(KEY))?.size, 60);
  const before = store.state().length;
  // Of two versions of one second that with the lower address counts. All of them are 6 MB.
  for (const [i, id] of ids.entries()) {
    store.receive(ringPair(KEY, active(id, { addr: 'a:1', tokens: someTokens(20_000, i * 20_000) })));
  }
  t.ok(store.state().length <= MIB / 2, `the ring has ${store.state().length} bytes`);
  t.ok(store.state().length > before, 'some have grown');
  t.match(lines.join(''), /beyond those that may be in a ring, are passed over/);
  const grown = store.state();
  const refused = await invalid();
  // With one that is new each, as values that were seen before are not looked at.
  for (const [i, each] of [...((await store.get(KEY)) ?? new Map<string, Instance>()).values()].entries()) {
    store.receive(ringPair(KEY, each, active(`new-${i % 30}`)));
  }
  t.equal(await invalid(), refused, 'what is known may be said again');
  t.ok(store.state().length > grown.length);
});

t.test('rings of strangers take no room from those that are of use', async (t) => {
  const { store, lines, invalid } = aStore({ keysMax: 4 });
  for (let i = 0; i < 10; i++) store.receive(ringPair(`junk-${i}`, active('a')));
  t.equal(store.values.length, 4);
  t.equal(await invalid(), 6);
  t.match(lines.join(''), /one ring too many is dropped.*limit=4/);
  store.receive(ringPair(KEY, active('a')));
  t.equal(await store.get(KEY), undefined);
  const seen: RingDesc[] = [];
  store.watch(KEY, (desc) => void seen.push(desc));
  store.receive(ringPair(KEY, active('a')));
  t.same(idsOf(seen.at(-1)), ['a'], 'also what was refused before it was of use');
  await store.change('own', () => new Map([['own', active('own')]]));
  t.same(idsOf(await store.get('own')), ['own']);
  store.receive(ringPair('own', active('b')));
  t.same(idsOf(await store.get('own')), ['own', 'b']);
  store.watch('junk-0', () => undefined);
  store.receive(ringPair('junk-8', active('a')));
  t.ok(await store.get('junk-8'), 'what is of use is no stranger any more');
  store.receive(ringPair('junk-9', active('a')));
  t.equal(await store.get('junk-9'), undefined);
});

t.test('what the rings of one message are once they are decompressed is bounded', async (t) => {
  const compressor = new SnappyCompressor();
  // An instance of one token, said very often: the ring is small as it comes, and 700 KB to read.
  const huge = (key: string): Uint8Array => {
    const tokens = Buffer.concat([Uint8Array.of(0x32), varintOf(60_000), Buffer.alloc(60_000, 7)]);
    const again = Buffer.concat(Array.from({ length: 12 }, () => tokens));
    const instance = Buffer.concat([Uint8Array.of(0x0a, 1, 0x61, 0x10), varintOf(NOW_SEC), again]);
    const entry = Buffer.concat([Uint8Array.of(0x0a, 1, 0x61, 0x12), varintOf(instance.length), instance]);
    const ring = Buffer.concat([Uint8Array.of(0x0a), varintOf(entry.length), entry]);
    const value = compressor.compress(ring).slice();
    t.ok(ring.length > 700_000 && value.length < 50_000);
    return encodePair({ key, value, codec: RING_CODEC, isDeleted: false, updatedMs: 0 });
  };
  const keys = ['a', 'b', 'c'];
  const small = ringPair('small', active('i'));
  for (const how of ['packet', 'state']) {
    const { store, lines, invalid } = aStore({ keysMax: 9 });
    const all = [...keys.map(huge), small];
    if (how === 'packet') store.receive(...all);
    else store.mergeState(joinPairs(all));
    t.match(lines.join(''), /has 7\d{5} bytes once it is decompressed, and its message has room for 3\d{5}/);
    t.equal(await invalid(), 1 + 2, `${how}: the first has more tokens than any, two had no room`);
    t.same(
      store.values.map(([key]) => key),
      ['small'],
    );
    const before = await invalid();
    store.receive(huge('b'));
    t.equal(await invalid(), before + 1, 'what had no room is read when it comes alone');
    t.match(lines.at(-1), /more text or tokens than any has/);
  }
});

function varintOf(value: number): Uint8Array {
  const out = new ByteWriter(10);
  out.varint(value);
  return out.copy();
}

t.test('listeners are told once of all that one packet brings', async (t) => {
  const { store } = aStore();
  const told: number[] = [];
  store.watch(KEY, (desc) => void told.push(desc.size));
  store.receive(...Array.from({ length: 50 }, (_, i) => ringPair(KEY, active(`i${i}`))));
  t.same(told, [0, 50]);
  store.mergeState(joinPairs([ringPair(KEY, active('x')), ringPair(KEY, active('y'))]));
  t.same(told, [0, 50, 52]);
  t.throws(() =>
    store.mergeState(Buffer.concat([joinPairs([ringPair(KEY, active('z'))]), Uint8Array.of(9)])),
  );
  t.same(told, [0, 50, 52, 53], 'also of what came before a part that is cut off');
});

/** The queue as simply as it can be said: what it is compared with. */
class PlainQueue {
  #queue: { text: string; topic: string; names: Set<string>; order: number; weight: number; told: number }[] =
    [];
  #order = 0;
  readonly #lengthMax: number;

  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  add(topic: string, names: Set<string>, text: string, isRare: boolean): void {
    const isWithin = (each: Set<string>): boolean => [...each].every((name) => names.has(name));
    this.#queue = this.#queue.filter((each) => each.topic !== topic || !isWithin(each.names));
    if (this.#queue.length >= this.#lengthMax) this.#sort().pop();
    this.#queue.push({ text, topic, names, order: this.#order++, weight: isRare ? 2 : 1, told: 0 });
  }

  take(bytesMax: number, timesMax: number): string[] {
    const taken: string[] = [];
    let bytes = 0;
    for (const each of this.#sort()) {
      if (taken.length > 0 && bytes + each.text.length > bytesMax) continue;
      bytes += each.text.length;
      each.told++;
      taken.push(each.text);
    }
    this.#queue = this.#queue.filter(({ told, weight }) => told < timesMax * weight);
    return taken;
  }

  #sort() {
    return this.#queue.sort((a, b) => a.told - b.told || b.order - a.order);
  }
}

const someAdd = fc.record({
  topic: fc.constantFrom('x', 'y'),
  names: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 3 }),
  pad: fc.nat(9),
  isRare: fc.boolean(),
});
const someTake = fc.record({ bytesMax: fc.nat(60), timesMax: fc.integer({ min: 1, max: 3 }) });

t.test('news are told in the same order as ever', (t) => {
  fc.assert(
    fc.property(fc.array(fc.oneof(someAdd, someAdd, someTake), { maxLength: 60 }), (steps) => {
      const queue = new BroadcastQueue(6, () => undefined);
      const plain = new PlainQueue(6);
      for (const [i, step] of steps.entries()) {
        if ('topic' in step) {
          const text = `${i}`.padEnd(3 + step.pad, '.');
          queue.add(step.topic, new Set(step.names), Buffer.from(text), step.isRare);
          plain.add(step.topic, new Set(step.names), text, step.isRare);
          continue;
        }
        const taken = queue.take(step.bytesMax, step.timesMax);
        const texts = taken.map((each) => Buffer.from(each).toString());
        t.same(texts, plain.take(step.bytesMax, step.timesMax));
      }
    }),
  );
  t.end();
});

t.test('a flood of news costs little', (t) => {
  let dropped = 0;
  const queue = new BroadcastQueue(4096, () => dropped++, 1_000_000);
  const message = new Uint8Array(100);
  const begin = process.cpuUsage();
  // Other names each time, and the same again: a queue that is full, and one where all is replaced.
  for (let i = 0; i < 200_000; i++) queue.add('member', new Set([`m${i}`]), message);
  for (let i = 0; i < 200_000; i++) queue.add('member', new Set([`m${i % 4096}`]), message);
  const ms = cpuMsSince(begin);
  t.ok(ms < 10_000, `400000 news are added in ${ms} ms`);
  t.equal(queue.length, 4096);
  t.equal(queue.bytes, 409_600);
  t.ok(dropped >= 195_904);
  queue.add('ring', new Set(['a']), new Uint8Array(900_000));
  t.equal(queue.length, 1001, 'what waits has so many bytes');
  queue.add('ring', new Set(['b']), new Uint8Array(2_000_000));
  t.equal(queue.length, 1, 'unless one alone is larger');
  t.equal(queue.take(100, 1).length, 1);
  t.same([queue.length, queue.bytes], [0, 0]);
  t.end();
});

function aNode(metrics: Metrics): GossipNode {
  return new GossipNode({
    name: 'own',
    address: { ip: ipBytes('10.0.0.9'), port: 7946 },
    transport: { send: () => undefined, exchange: () => Promise.reject(new Error('nobody')) },
    clock,
    random: () => 0.5,
    logger: silentLogger,
    metrics: new GossipMetrics(metrics),
    retransmitFactor: 4,
    gossipIntervalMs: 200,
    gossipNodes: 3,
    gossipToDeadMs: 30_000,
    pushPullIntervalMs: 30_000,
    deadNodeReclaimMs: 0,
    leftTimeoutMs: 300_000,
    obsoleteEntriesMs: 30_000,
    notifyIntervalMs: 0,
    label: '',
    acceptsAnyLabel: false,
    messageBytesMax: 16 * MIB,
    membersMax: 5000,
    instancesMax: 5000,
  });
}

function compoundOf(parts: readonly Uint8Array[]): Uint8Array {
  const lengths = parts.flatMap(({ length }) => [length >>> 8, length & 255]);
  return Buffer.concat([Uint8Array.of(7, parts.length, ...lengths), ...parts]);
}

t.test('a packet has so many messages', async (t: Test) => {
  const ack = encodeMessage({ kind: 'ack', seq: 1 });
  const full = compoundOf(Array.from({ length: 255 }, () => ack));
  t.equal(decodePacket(full, MIB).length, 255, 'what members send');
  const nested = (count: number): Uint8Array => compoundOf(Array.from({ length: count }, () => full));
  t.equal(decodePacket(nested(7), MIB).length, 1785);
  t.throws(() => decodePacket(nested(9), 16 * MIB), /more than 2048 messages/);
  const empty = compoundOf(Array.from({ length: 255 }, () => compoundOf([])));
  const hollow = compoundOf(Array.from({ length: 20 }, () => empty));
  t.throws(() => decodePacket(hollow, MIB), /more than 2048 messages/, 'also those that hold nothing');

  const metrics = new Metrics();
  const node = aNode(metrics);
  const aliveAt = (incarnation: number): Uint8Array =>
    encodeMessage({ kind: 'alive', ...aMember, node: `m${incarnation % 4000}`, incarnation });
  const flood = (from: number, count: number): Uint8Array =>
    compoundOf(Array.from({ length: count }, (_, i) => aliveAt(from + i)));
  for (let i = 0; i < 40; i++) node.packet(flood(i * 200 + 1, 200), 'x:1');
  t.equal(node.membership.all.length, 4001, 'packets of members are heard');
  const begin = process.cpuUsage();
  const packet = compoundOf(Array.from({ length: 255 }, (_, i) => flood(10_000 + i * 3, 3)));
  for (let i = 0; i < 10; i++) node.packet(packet, 'x:1');
  const ms = cpuMsSince(begin);
  t.ok(ms < 5000, `10 packets with about half of what they may have take ${ms} ms`);
  node.packet(nested(9), 'x:1');
  t.equal(await counted(metrics, 'received_broadcasts_invalid_total'), 1);
  node.stop();
});

t.test('whoever joins after strangers spoke gets a state that it can read', async (t) => {
  const metrics = new Metrics();
  const node = aNode(metrics);
  const zone = 'z'.repeat(7 * MIB);
  const strange = (id: string): Uint8Array => ringPair(KEY, active(id, { zone }));
  for (const id of ['a', 'b', 'c']) node.packet(encodeMessage({ kind: 'user', payload: strange(id) }), 'x:1');
  const members: StoredMember[] = [
    { ...aMember, node: 'n'.repeat(MIB), state: 'alive' },
    { ...aMember, meta: new Uint8Array(8 * MIB), state: 'alive' },
    { ...aMember, node: 'good', state: 'alive' },
  ];
  const userState = joinPairs([ringPair(KEY, active('good'))]);
  const answer = node.request(encodePushPull({ isJoin: true, members, userState }));
  t.ok(answer.length < 1000);
  const told = decodePushPull(node.request(encodePushPull({ isJoin: true, members: [], userState })), MIB);
  t.same(
    told.members.map((each) => each.node),
    ['own', 'good'],
  );
  t.same(idsOf(await node.store.get(KEY)), ['good']);
  t.equal(await counted(metrics, 'received_broadcasts_invalid_total'), 4);
  node.stop();
});
