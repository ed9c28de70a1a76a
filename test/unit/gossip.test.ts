// Gossip: its bytes, and members over real sockets.
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import { addressText, ipBytes, splitHostPort } from '../../src/ring/gossip/address.ts';
import { BroadcastQueue } from '../../src/ring/gossip/broadcast-queue.ts';
import { discover } from '../../src/ring/gossip/discovery.ts';
import { GossipMetrics } from '../../src/ring/gossip/gossip-metrics.ts';
import { GossipStore } from '../../src/ring/gossip/gossip-store.ts';
import { GossipService } from '../../src/ring/gossip/gossip-service.ts';
import { lzwDecompress } from '../../src/ring/gossip/lzw.ts';
import {
  decodePacket,
  decodePushPull,
  encodeMessage,
  encodePushPull,
  encodeRefusal,
  type Message,
  packetsOf,
  splitLabel,
  withChecksum,
  withLabel,
} from '../../src/ring/gossip/messages.ts';
import { encodePair } from '../../src/ring/gossip/pairs.ts';
import { encodeRing, RING_CODEC } from '../../src/ring/desc-codec.ts';
import { instanceOf } from '../../src/ring/instance.ts';
import type { MemberlistConfig } from '../../src/ring/config.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { certFile } from '../support/certs.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { memberlistConfig } from '../support/memberlist.ts';

t.setTimeout(240_000);

const KEY = 'collectors/ring';
const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

const MESSAGES: readonly Message[] = [
  {
    kind: 'ping',
    seq: 7,
    node: 'a',
    source: { address: { ip: ipBytes('10.0.0.1'), port: 7946 }, node: 'b' },
  },
  { kind: 'ping', seq: 2 ** 32 - 1, node: '', source: { address: undefined, node: '' } },
  {
    kind: 'indirect-ping',
    seq: 300,
    target: { ip: ipBytes('fe80::1'), port: 1 },
    node: 'c',
    wantsNack: true,
    source: { address: { ip: ipBytes('10.0.0.1'), port: 65_535 }, node: 'x'.repeat(300) },
  },
  { kind: 'ack', seq: 9 },
  { kind: 'nack', seq: 70_000 },
  {
    kind: 'alive',
    incarnation: 3,
    node: 'a',
    ip: ipBytes('10.0.0.1'),
    port: 7946,
    meta: new Uint8Array(0),
    versions: [1, 5, 2, 0, 0, 0],
  },
  { kind: 'suspect', incarnation: 1, node: 'a', from: 'b' },
  { kind: 'dead', incarnation: 1, node: 'a', from: 'a' },
  { kind: 'user', payload: Uint8Array.of(1, 2, 3) },
];

t.test('messages', (t) => {
  for (const message of MESSAGES) t.same(decodePacket(encodeMessage(message), 1e6), [message], message.kind);
  const all = MESSAGES.map(encodeMessage);
  const packets = packetsOf([...all, new Uint8Array(70_000).fill(8)], 1e6);
  t.equal(packets.length, 2, 'what is too large for a compound goes alone');
  t.same(packets.flatMap((packet) => decodePacket(packet, 1e6)).slice(1), MESSAGES);
  t.equal(
    packetsOf(
      Array.from({ length: 600 }, () => all[3] as Uint8Array),
      1e6,
    ).length,
    3,
  );
  t.equal(packetsOf([], 1e6).length, 0);
  const checked = withChecksum(all[0] as Uint8Array);
  t.same(decodePacket(checked, 1e6), [MESSAGES[0]]);
  checked[20] ^= 1;
  t.throws(() => decodePacket(checked, 1e6), /checksum is wrong/);
  const { label, rest } = splitLabel(withLabel('prod', all[3] as Uint8Array));
  t.same([label, decodePacket(rest, 1e6)], ['prod', [MESSAGES[3]]]);
  t.same(splitLabel(withLabel('', Uint8Array.of(1))), { label: '', rest: Uint8Array.of(1) });
  const state = {
    isJoin: true,
    members: [{ ...(MESSAGES[5] as Extract<Message, { kind: 'alive' }>), state: 'left' as const }],
    userState: Uint8Array.of(9, 9),
  };
  const bytes = encodePushPull(state);
  t.match(decodePushPull(bytes, 1e6), { isJoin: true, members: [{ node: 'a', state: 'left' }] });
  for (let end = 0; end < bytes.length; end++) {
    t.throws(() => decodePushPull(bytes.subarray(0, end), 1e6), /cut off/, `state up to byte ${end}`);
  }
  t.throws(() => decodePushPull(encodeRefusal('no room'), 1e6), /refuses: no room/);
  t.end();
});

t.test('messages of Go', (t) => {
  t.same(Buffer.from(lzwDecompress(goLzw('abababab'), 100)).toString(), 'abababab');
  t.throws(() => lzwDecompress(goLzw('abababab'), 4), /more than 4 bytes/);
  t.throws(() => lzwDecompress(goLzw('abababab').subarray(0, 3), 100), /too early/);
  const wrapped = compressed(encodeMessage({ kind: 'ack', seq: 5 }));
  t.same(decodePacket(wrapped, 1000), [{ kind: 'ack', seq: 5 }]);
  const long = encodeMessage({ kind: 'user', payload: Buffer.from('gossip '.repeat(20_000)) });
  t.same(
    decodePacket(compressed(long), 1e6),
    [{ kind: 'user', payload: long.subarray(1) }],
    'tables that are full',
  );
  // A suspicion as msgpack of Go has it: raw text, a number of two bytes.
  const suspect = hex('03 83 ab 496e6361726e6174696f6e cd 0102 a4 4e6f6465 a1 61 a4 46726f6d a1 62');
  t.same(decodePacket(suspect, 100), [{ kind: 'suspect', incarnation: 258, node: 'a', from: 'b' }]);
  t.end();
});

/** LZW as Go writes it, without ever beginning a new table before it is full. */
function goLzw(text: string | Uint8Array): Uint8Array {
  const input = typeof text === 'string' ? Buffer.from(text) : text;
  const out: number[] = [];
  let [bits, count, width] = [0, 0, 9];
  const emit = (code: number): void => {
    bits += code * 2 ** count;
    count += width;
    for (; count >= 8; count -= 8) {
      out.push(bits & 255);
      bits = Math.floor(bits / 256);
    }
  };
  let [table, next] = [new Map<string, number>(), 257];
  let code = input[0] ?? 0;
  const step = (): boolean => {
    next++;
    if (next === 1 << width && width < 12) width++;
    if (next < 4095) return true;
    emit(256);
    [table, next, width] = [new Map(), 257, 9];
    return false;
  };
  for (const byte of input.subarray(1)) {
    const key = `${code}/${byte}`;
    const known = table.get(key);
    if (known !== undefined) {
      code = known;
      continue;
    }
    emit(code);
    if (step()) table.set(key, next);
    code = byte;
  }
  emit(code);
  step();
  emit(257);
  if (count > 0) out.push(bits & 255);
  return Uint8Array.from(out);
}

function compressed(message: Uint8Array): Uint8Array {
  const body = goLzw(message);
  const head = hex('09 82 a4 416c676f 00 a3 427566 db');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([head, length, body]);
}

function compoundOf(parts: readonly Uint8Array[]): Uint8Array {
  const lengths = parts.flatMap(({ length }) => [length >>> 8, length & 255]);
  return Buffer.concat([Uint8Array.of(7, parts.length, ...lengths), ...parts]);
}

/** A compound in a compound, as hex. */
function nested(depth: number): string {
  if (depth === 0) return '02 80';
  const inner = hex(nested(depth - 1));
  return Buffer.concat([Uint8Array.of(7, 1, 0, inner.length), inner]).toString('hex');
}

t.test('bad packets are told, and nothing else happens', (t) => {
  const bad: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /cut off/],
    ['an unknown type', '63', /message type 99 is unknown/],
    ['an encrypted one', '0a00', /message type 10 is unknown/],
    ['no map', '0001', /no map/],
    ['a map without end', '0083a0', /cut off/],
    ['a compound that is short', '07020010', /cut off/],
    ['nested compounds', nested(6), /nested/],
    ['an address of five bytes', '04 82 a4 4e6f6465 a1 61 a4 41646472 a5 0102030405', /address has 5 bytes/],
    ['a member without name', '03 80', /no name/],
    ['an unknown compression', '09 82 a4 416c676f 07 a3 427566 a0', /compression 7/],
    ['floats', '00 81 a1 61 cb 0000000000000000', /unknown type 0xcb/],
  ];
  for (const [name, bytes, error] of bad) t.throws(() => decodePacket(hex(bytes), 1000), error, name);
  const part = compressed(encodeMessage({ kind: 'user', payload: new Uint8Array(600) }));
  t.equal(decodePacket(compoundOf([part]), 1000).length, 1);
  t.throws(() => decodePacket(compoundOf([part, part]), 1000), /more than 399 bytes/, 'parts grow together');
  const valid = MESSAGES.map(encodeMessage);
  fc.assert(
    fc.property(fc.nat(valid.length - 1), fc.nat(), fc.nat(255), (which, at, byte) => {
      const bytes = (valid[which] as Uint8Array).slice();
      bytes[at % bytes.length] = byte;
      try {
        decodePacket(bytes, 1000);
      } catch (err) {
        t.match(err, { name: 'TempoError' });
      }
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('addresses', async (t) => {
  for (const [text, want] of [
    ['10.1.2.3', '10.1.2.3:1'],
    ['::1', '[0:0:0:0:0:0:0:1]:1'],
    ['fe80::1:2', '[fe80:0:0:0:0:0:1:2]:1'],
    ['::ffff:10.1.2.3', '10.1.2.3:1'],
  ] as const) {
    t.equal(addressText({ ip: ipBytes(text), port: 1 }), want);
  }
  t.throws(() => ipBytes('tempo'), /no IP address/);
  t.same(splitHostPort('[::1]:80', 7), { host: '::1', port: 80 });
  t.same(splitHostPort('name', 7), { host: 'name', port: 7 });
  const resolver = {
    addresses: async (name: string) => {
      if (name === 'gone') throw new Error('ENOTFOUND');
      return name === 'six' ? ['fe80::1'] : [`10.0.0.${name.length}`, '10.0.0.9'];
    },
    services: async () => [{ name: 'abc', port: 5000 }],
  };
  const members = ['10.0.0.9:7946', 'plain', 'dns+ab:1234', 'dnssrv+s', 'dnssrvnoa+s', 'dns+gone', 'dns+six'];
  const { addresses, failures } = await discover(members, 7946, resolver);
  t.same(
    new Set(addresses),
    new Set([
      '10.0.0.9:7946',
      'plain:7946',
      '10.0.0.2:1234',
      '10.0.0.9:1234',
      '10.0.0.3:5000',
      '10.0.0.9:5000',
      'abc:5000',
      '[fe80::1]:7946',
    ]),
  );
  t.same(
    failures.map(({ member }) => member),
    ['dns+gone'],
  );
});

t.test('news', (t) => {
  let dropped = 0;
  const queue = new BroadcastQueue(3, () => dropped++);
  const text = (messages: readonly Uint8Array[]): string =>
    messages.map((each) => Buffer.from(each)).join(' ');
  queue.add('ring', new Set(['a']), Buffer.from('a1'));
  queue.add('ring', new Set(['b']), Buffer.from('b1'));
  queue.add('ring', new Set(['a']), Buffer.from('a2'));
  t.equal(text(queue.take(100, 3)), 'a2 b1', 'newest first, older ones of the same are gone');
  queue.add('ring', new Set(['c']), Buffer.from('c1'));
  t.equal(text(queue.take(4, 3)), 'c1 a2', 'those least told first');
  queue.add('other', new Set(['a']), Buffer.from('o1'));
  t.equal(dropped, 1);
  t.equal(queue.length, 3);
  t.equal(queue.bytes, 6);
  for (let i = 0; i < 3; i++) queue.take(100, 3);
  t.equal(queue.length, 0, 'told often enough');
  t.end();
});

function aService(
  over: Partial<MemberlistConfig>,
  lines: string[] = [],
): { service: GossipService; metrics: Metrics } {
  const metrics = new Metrics();
  const config = memberlistConfig({
    bindAddr: ['127.0.0.1'],
    bindPort: 0,
    gossipIntervalMs: 20,
    streamTimeoutMs: 5000,
    minJoinBackoffMs: 20,
    ...over,
  });
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  const service = new GossipService({ config, clock: systemClock, random: Math.random, logger, metrics });
  return { service, metrics };
}

const portOf = ({ service }: { service: GossipService }): string => {
  const own = service.members.find(({ name }) => name === service.nodeName);
  return `127.0.0.1:${own?.address.port}`;
};

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`${what}: not in 20 s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const present = ({ service }: { service: GossipService }): number =>
  service.members.filter(({ state }) => state === 'alive').length;

t.test('members over sockets', async (t) => {
  const tls = {
    tlsEnabled: true,
    tlsCertPath: certFile('server'),
    tlsKeyPath: certFile('server', 'key'),
    tlsCaPath: certFile('authority'),
    tlsServerName: 'localhost',
  };
  for (const [name, over] of [
    ['plain', {}],
    ['TLS and a label', { ...tls, clusterLabel: 'prod' }],
    ['TLS, by an address of the certificate', { ...tls, tlsServerName: '127.0.0.1' }],
  ] as const) {
    const first = aService(over);
    await first.service.start();
    const rest = [0, 1].map(() => aService({ ...over, joinMembers: [portOf(first)] }));
    for (const { service } of rest) await service.start();
    const all = [first, ...rest];
    await until('all know each other', () => all.every((each) => present(each) === 3));
    const instance = instanceOf({ id: 'i', state: 'ACTIVE', timestampSec: Math.floor(Date.now() / 1000) });
    await first.service.store.change(KEY, () => new Map([['i', instance]]));
    const hears = async ({ service }: { service: GossipService }): Promise<boolean> =>
      (await service.store.get(KEY))?.get('i')?.state === 'ACTIVE';
    await until('all know the instance', async () => (await Promise.all(all.map(hears))).every(Boolean));
    await first.service.store.change(KEY, () => new Map());
    const forgot = async ({ service }: { service: GossipService }): Promise<boolean> =>
      (await service.store.get(KEY))?.size === 0;
    await until('and that it left', async () => (await Promise.all(all.map(forgot))).every(Boolean));
    await first.service.stop();
    await until('and that a member left', () => rest.every((each) => present(each) === 2));
    t.match(await rest[0]?.metrics.text(), 'tempo_memberlist_client_cluster_members_count 2', name);
    for (const { service } of rest) await service.stop();
  }
});

t.test('who may gossip over TLS', async (t) => {
  const files = (who: 'server' | 'member' | 'client'): Partial<MemberlistConfig> => ({
    tlsEnabled: true,
    tlsCertPath: certFile(who),
    tlsKeyPath: certFile(who, 'key'),
    tlsCaPath: certFile('authority'),
  });
  const times = { streamTimeoutMs: 2000, packetWriteTimeoutMs: 2000 };
  const lines: string[] = [];
  const member = aService({ ...files('member'), ...times }, lines);
  const forServers = aService(files('server'), lines);
  await Promise.all([member.service.start(), forServers.service.start()]);
  t.equal(lines.filter((line) => line.includes('takes connections of whoever speaks TLS')).length, 1);
  const joins = async (who: 'server' | 'member', to: typeof member): Promise<number> => {
    const guest = aService({ ...files(who), joinMembers: [portOf(to)], maxJoinRetries: 1 });
    await guest.service.start();
    const count = present(guest);
    await guest.service.stop();
    return count;
  };
  t.equal(await joins('member', member), 2);
  t.equal(await joins('server', member), 1, 'its certificate is for servers only');
  t.ok(
    lines.some((line) => /gossip connection without TLS, or without a certificate/.test(line)),
    'which is told',
  );
  t.equal(await joins('server', forServers), 2, 'as all of those members are');
  await Promise.all([member.service.stop(), forServers.service.stop()]);
});

t.test('who connects over TLS and says nothing', async (t) => {
  const tls = { tlsEnabled: true, tlsCertPath: certFile('member'), tlsKeyPath: certFile('member', 'key') };
  const connected = async (to: ReturnType<typeof aService>): Promise<Socket> => {
    const silent = connect(Number(portOf(to).split(':')[1]), '127.0.0.1').resume();
    silent.on('error', () => undefined);
    await new Promise((resolve) => silent.once('connect', resolve));
    return silent;
  };
  const hasty = aService({ ...tls, streamTimeoutMs: 300, packetWriteTimeoutMs: 300 });
  await hasty.service.start();
  let beganMs = performance.now();
  const silent = await connected(hasty);
  await new Promise((resolve) => silent.once('close', resolve));
  t.ok(performance.now() - beganMs < 10_000, 'is let go');
  await hasty.service.stop();
  const patient = aService({ ...tls, streamTimeoutMs: 60_000 });
  await patient.service.start();
  const held = await connected(patient);
  beganMs = performance.now();
  await patient.service.stop();
  t.ok(performance.now() - beganMs < 20_000, 'holds no stop up');
  held.destroy();
});

t.test('strangers are counted and told', async (t) => {
  const lines: string[] = [];
  const one = aService(
    { clusterLabel: 'prod', maxMessageBytes: 50_000, streamTimeoutMs: 300, packetWriteTimeoutMs: 300 },
    lines,
  );
  await one.service.start();
  const port = Number(portOf(one).split(':')[1]);
  const send = (bytes: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
      socket
        .resume()
        .on('error', () => resolve())
        .on('close', () => resolve());
    });
  const packet = (payload: Uint8Array, digest = createHash('md5').update(payload).digest()): Uint8Array =>
    Buffer.concat([Uint8Array.of(1, 4), Buffer.from('x:12'), payload, digest]);
  const user = (pair: Uint8Array) => withLabel('prod', encodeMessage({ kind: 'user', payload: pair }));
  const value = encodeRing(new Map());
  const aPair = { key: KEY, value, codec: RING_CODEC, isDeleted: false, updatedMs: 0 };
  await send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await send(packet(Uint8Array.of(1), Buffer.alloc(16)));
  await send(Uint8Array.of(1, 200));
  await send(packet(withLabel('prod', Uint8Array.of(99))));
  await send(packet(encodeMessage({ kind: 'ack', seq: 1 })));
  await send(packet(user(Uint8Array.of(255, 255))));
  await send(packet(user(encodePair({ ...aPair, value: Uint8Array.of(5, 5, 5) }))));
  await send(packet(user(encodePair({ ...aPair, key: 'p', codec: 'partitionRingDesc' }))));
  await send(Uint8Array.of(2, 6, 0x80));
  await send(Buffer.concat([Uint8Array.of(2), withLabel('dev', Uint8Array.of(6))]));
  await send(Buffer.concat([Uint8Array.of(1, 4), Buffer.alloc(60_000)]));
  for (let i = 0; i < 80; i++) {
    const name = `k${i}`;
    const desc = new Map([['i', instanceOf({ id: 'i', timestampSec: 1 })]]);
    await send(packet(user(encodePair({ ...aPair, key: name, value: encodeRing(desc) }))));
  }
  await until('the last is there', () => one.service.store.values.length >= 60);
  const text = lines.join('');
  for (const want of [
    'gossip connection begins with something unknown',
    'gossip packet is damaged and is dropped',
    'message type 99 is unknown',
    'of cluster \\"\\" came to a member of \\"prod\\"',
    'of cluster \\"dev\\" came to a member of \\"prod\\"',
    'gossip value cannot be read and is dropped',
    'gossip stream is refused',
    'gossip message is larger than allowed and is dropped',
    'gossip of one ring too many is dropped',
  ]) {
    t.ok(text.includes(want), want);
  }
  const shown = await one.metrics.text();
  t.match(shown, /tcp_transport_packets_received_errors_total 2/);
  t.match(shown, /tcp_transport_connections_refused_total 4/);
  t.match(shown, /client_received_broadcasts_unknown_total 1/);
  t.match(shown, /client_received_broadcasts_invalid_total [1-9]/);
  t.equal(present(one), 1);
  const twin = aService({ bindPort: port });
  await t.rejects(
    twin.service.start(),
    /cannot listen on 127.0.0.1:\d+ for memberlist: address already in use/,
  );
  const strict = aService({ joinMembers: ['127.0.0.1:1'], abortIfClusterJoinFails: true, maxJoinRetries: 2 });
  await t.rejects(strict.service.start(), /no member of memberlist.join_members could be joined/);
  const fast = aService({ joinMembers: ['127.0.0.1:1'], abortIfClusterFastJoinFails: true });
  await t.rejects(fast.service.start(), /joined 0 members/);
  const lost = aService({ joinMembers: ['127.0.0.1:1', 'dns+nobody.invalid'] }, lines);
  await lost.service.start();
  t.ok(lines.join('').includes('tried again while running'), 'goes on alone');
  for (const { service } of [one, strict, fast, lost, twin]) await service.stop();
});

t.test('what comes in and what waits to go out is bounded', async () => {
  const lines: string[] = [];
  const one = aService({ maxMessageBytes: 100_000 }, lines);
  await one.service.start();
  const port = Number(portOf(one).split(':')[1]);
  const half = Buffer.concat([Uint8Array.of(1, 3), Buffer.alloc(90_000)]);
  const open = Array.from({ length: 6 }, () => {
    const socket = connect(port, '127.0.0.1').resume();
    socket.on('error', () => {}).write(half);
    return socket;
  });
  const refused = (): boolean => lines.join('').includes('gossip messages hold');
  await until('half messages are too many together', refused);
  for (const socket of open) socket.destroy();
  const aPing = { kind: 'ping', seq: 1, node: '', source: { address: undefined, node: '' } } as const;
  const source = { address: { ip: ipBytes('127.0.0.1'), port: 1 }, node: 'x' };
  const ping = encodeMessage({ ...aPing, source });
  const packet = compoundOf(Array.from({ length: 20 }, () => compoundOf(Array(60).fill(ping))));
  const digest = createHash('md5').update(packet).digest();
  const dropped = async (): Promise<number> =>
    Number(/tcp_transport_packets_dropped_total (\d+)/.exec(await one.metrics.text())?.[1]);
  const socket = connect(port, '127.0.0.1').resume();
  socket.end(Buffer.concat([Uint8Array.of(1, 3), Buffer.from('x:1'), packet, digest]));
  await until('answers beyond those that may wait are dropped', async () => (await dropped()) >= 100);
  await one.service.stop();
});

t.test('what strangers say of a ring is believed within limits', async (t) => {
  const clock = new ManualClock();
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  const store = new GossipStore({
    clock,
    logger: createLogger({ level: 'info', format: 'logfmt', write }),
    metrics: new GossipMetrics(new Metrics()),
    leftTimeoutMs: 300_000,
    notifyIntervalMs: 0,
    valueBytesMax: 1e6,
    keysMax: 10,
    instancesMax: 4,
    broadcast: () => undefined,
  });
  const nowSec = Math.floor(clock.nowMs() / 1000);
  const told = (...instances: readonly (readonly [id: string, sec: number])[]): void => {
    const all = instances.map(([id, sec]) =>
      instanceOf({ id, addr: `${id}:1`, state: 'ACTIVE', tokens: Uint32Array.of(1), timestampSec: sec }),
    );
    const value = encodeRing(new Map(all.map((each) => [each.id, each])));
    store.receive(encodePair({ key: KEY, value, codec: RING_CODEC, isDeleted: false, updatedMs: 0 }));
  };
  const known = async (): Promise<unknown> =>
    [...((await store.get(KEY)) ?? [])].map(([id, { timestampSec }]) => `${id} ${timestampSec - nowSec}`);
  told(['own', nowSec + 86_400], ['early', nowSec + 3500]);
  t.same(await known(), ['early 3500'], 'clocks differ, but not by a day');
  await store.change(KEY, (desc) =>
    new Map(desc).set('own', instanceOf({ id: 'own', addr: 'own:1', timestampSec: nowSec })),
  );
  told(['own', nowSec + 86_400]);
  t.same(await known(), ['early 3500', 'own 0'], 'an instance goes on writing its own');
  told(['c', nowSec], ['d', nowSec], ['e', nowSec], ['early', nowSec + 3501]);
  t.same(await known(), ['early 3501', 'own 0', 'c 0', 'd 0'], 'what is known has its room');
  t.match(lines.join(''), /passed over.* instances=1 first=e limit=4/);
});
