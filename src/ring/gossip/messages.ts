// Messages of gossip as bytes: those of hashicorp/memberlist, protocol versions 1 to 5 (net.go lists them).
import { crc32 } from 'node:zlib';
import { ByteWriter } from '../../lib/byte-writer.ts';
import { TempoError } from '../../lib/errors.ts';
import { lzwDecompress } from './lzw.ts';
import { packMap, type PackedMap, TruncatedError, Unpacker } from './msgpack.ts';

const PING = 0;
const INDIRECT_PING = 1;
const ACK = 2;
const SUSPECT = 3;
const ALIVE = 4;
const DEAD = 5;
const PUSH_PULL = 6;
const COMPOUND = 7;
const USER = 8;
const COMPRESSED = 9;
const NACK = 11;
const WITH_CRC = 12;
const ERROR = 13;
const LABEL = 244;

/** Messages of one compound, which counts them in a byte. */
const COMPOUND_MAX = 255;
/** Length of one of its messages, which has two bytes. */
const COMPOUND_MESSAGE_MAX = 65_535;
const NESTING_MAX = 4;
/** Messages of one packet, with those that hold others: members send one compound, and none within it. */
const PARTS_MAX = 2048;
/** Of a member's name: it is a host's or a pod's. */
const NAME_BYTES_MAX = 256;
/** memberlist's MetaMaxSize. */
const META_BYTES_MAX = 512;
const VERSIONS_COUNT = 6;
/** Of one state: far more than any member remembers. */
const MEMBERS_MAX = 65_536;
const EMPTY = new Uint8Array(0);

/** Where a member can be reached. */
export interface Address {
  /** Four bytes or sixteen. */
  readonly ip: Uint8Array;
  readonly port: number;
}

/** Smallest, largest and present version of the protocol, and the same of what is below it. */
type Versions = readonly number[];

export interface Source {
  /** Undefined where the sender is older. */
  readonly address: Address | undefined;
  readonly node: string;
}

export interface Alive extends Address {
  readonly incarnation: number;
  readonly node: string;
  readonly meta: Uint8Array;
  readonly versions: Versions;
}

/** That somebody is suspected or dead; who says it of itself leaves. */
export interface Accusation {
  readonly incarnation: number;
  readonly node: string;
  readonly from: string;
}

export type Message =
  | { readonly kind: 'ping'; readonly seq: number; readonly node: string; readonly source: Source }
  | {
      readonly kind: 'indirect-ping';
      readonly seq: number;
      readonly target: Address;
      readonly node: string;
      readonly wantsNack: boolean;
      readonly source: Source;
    }
  | { readonly kind: 'ack' | 'nack'; readonly seq: number }
  | ({ readonly kind: 'alive' } & Alive)
  | ({ readonly kind: 'suspect' | 'dead' } & Accusation)
  | { readonly kind: 'user'; readonly payload: Uint8Array };

export type MemberState = 'alive' | 'suspect' | 'dead' | 'left';
/** In the order of their numbers. */
const MEMBER_STATES: readonly MemberState[] = ['alive', 'suspect', 'dead', 'left'];

export interface StoredMember extends Alive {
  readonly state: MemberState;
}

/** What two members tell each other when they compare all they know. */
export interface PushPull {
  readonly isJoin: boolean;
  readonly members: readonly StoredMember[];
  readonly userState: Uint8Array;
}

export interface ReceivedPushPull extends PushPull {
  /** Members that were left out, as no member has such names or addresses. */
  readonly refusedCount: number;
}

export function encodeMessage(message: Message): Uint8Array {
  if (message.kind === 'user') return userMessage(message.payload);
  const out = new ByteWriter(128);
  switch (message.kind) {
    case 'ping':
      out.u8(PING);
      packMap(out, [['SeqNo', message.seq], ['Node', message.node], ...sourceFields(message.source)]);
      break;
    case 'indirect-ping':
      out.u8(INDIRECT_PING);
      packMap(out, [
        ['SeqNo', message.seq],
        ['Target', message.target.ip],
        ['Port', message.target.port],
        ['Node', message.node],
        ['Nack', message.wantsNack],
        ...sourceFields(message.source),
      ]);
      break;
    case 'ack':
      out.u8(ACK);
      packMap(out, [
        ['SeqNo', message.seq],
        ['Payload', EMPTY],
      ]);
      break;
    case 'nack':
      out.u8(NACK);
      packMap(out, [['SeqNo', message.seq]]);
      break;
    case 'alive':
      out.u8(ALIVE);
      packMap(out, [
        ['Incarnation', message.incarnation],
        ['Node', message.node],
        ['Addr', message.ip],
        ['Port', message.port],
        ['Meta', message.meta],
        ['Vsn', message.versions],
      ]);
      break;
    case 'suspect':
    case 'dead':
      out.u8(message.kind === 'suspect' ? SUSPECT : DEAD);
      packMap(out, [
        ['Incarnation', message.incarnation],
        ['Node', message.node],
        ['From', message.from],
      ]);
      break;
  }
  return out.copy();
}

function userMessage(payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(payload.length + 1);
  message[0] = USER;
  message.set(payload, 1);
  return message;
}

function sourceFields({ address, node }: Source) {
  return [
    ['SourceAddr', address?.ip],
    ['SourcePort', address?.port],
    ['SourceNode', node === '' ? undefined : node],
  ] as const;
}

/** Several messages as few packets, each of at most `bytesMax` unless one message alone is larger. */
export function packetsOf(messages: readonly Uint8Array[], bytesMax: number): Uint8Array[] {
  const packets: Uint8Array[] = [];
  let group: Uint8Array[] = [];
  let bytes = 0;
  const close = (): void => {
    const [first] = group;
    if (first !== undefined) packets.push(group.length === 1 ? first : compound(group));
    group = [];
    bytes = 0;
  };
  for (const message of messages) {
    if (message.length > COMPOUND_MESSAGE_MAX) {
      packets.push(message);
      continue;
    }
    if (group.length === COMPOUND_MAX || bytes + message.length > bytesMax) close();
    group.push(message);
    bytes += message.length + 2;
  }
  close();
  return packets;
}

function compound(messages: readonly Uint8Array[]): Uint8Array {
  const out = new ByteWriter(messages.reduce((sum, { length }) => sum + length + 2, 2));
  out.u8(COMPOUND);
  out.u8(messages.length);
  for (const { length } of messages) {
    out.u8(length >>> 8);
    out.u8(length);
  }
  for (const message of messages) out.raw(message);
  return out.finish();
}

/** For who understands version 5: the packet under its checksum. */
export function withChecksum(packet: Uint8Array): Uint8Array {
  const out = new ByteWriter(packet.length + 5);
  out.u8(WITH_CRC);
  const sum = crc32(packet);
  for (let shift = 24; shift >= 0; shift -= 8) out.u8(sum >>> shift);
  out.raw(packet);
  return out.finish();
}

/** @param label '' = none. */
export function withLabel(label: string, bytes: Uint8Array): Uint8Array {
  if (label === '') return bytes;
  const name = Buffer.from(label);
  const out = new ByteWriter(bytes.length + name.length + 2);
  out.u8(LABEL);
  out.u8(name.length);
  out.raw(name);
  out.raw(bytes);
  return out.finish();
}

/** The label in front, '' = none, and what follows it. */
export function splitLabel(bytes: Uint8Array): { readonly label: string; readonly rest: Uint8Array } {
  if (bytes.length === 0) throw new TruncatedError();
  if (bytes[0] !== LABEL) return { label: '', rest: bytes };
  if (bytes.length < 2 || bytes.length < 2 + bytes[1]) throw new TruncatedError();
  const end = 2 + bytes[1];
  return { label: Buffer.from(bytes.subarray(2, end)).toString(), rest: bytes.subarray(end) };
}

/**
 * The messages of a packet; throws TempoError when it is none.
 * @param bytesMax of all in it that was compressed: a small packet may have many parts that grow.
 */
export function decodePacket(packet: Uint8Array, bytesMax: number): Message[] {
  const messages: Message[] = [];
  decodeInto(messages, packet, { bytes: bytesMax, parts: PARTS_MAX }, 0);
  return messages;
}

/** What the rest of a packet may still have. */
interface Room {
  bytes: number;
  parts: number;
}

function decodeInto(messages: Message[], bytes: Uint8Array, room: Room, depth: number): void {
  if (depth > NESTING_MAX) throw bad('messages are nested too deeply');
  if (room.parts-- <= 0) throw bad(`packet has more than ${PARTS_MAX} messages`);
  if (bytes.length < 1) throw new TruncatedError();
  const body = bytes.subarray(1);
  switch (bytes[0]) {
    case COMPOUND:
      for (const part of partsOf(body)) decodeInto(messages, part, room, depth + 1);
      break;
    case COMPRESSED: {
      const rest = decompressed(new Unpacker(body).map(), room.bytes);
      room.bytes -= rest.length;
      decodeInto(messages, rest, room, depth + 1);
      break;
    }
    case WITH_CRC: {
      if (body.length < 4) throw new TruncatedError();
      const rest = body.subarray(4);
      const stated = new DataView(body.buffer, body.byteOffset).getUint32(0);
      if (crc32(rest) !== stated) throw bad('checksum is wrong');
      decodeInto(messages, rest, room, depth + 1);
      break;
    }
    case USER:
      messages.push({ kind: 'user', payload: body });
      break;
    default:
      messages.push(messageOf(bytes[0], new Unpacker(body)));
  }
}

function messageOf(type: number, body: Unpacker): Message {
  switch (type) {
    case PING: {
      const map = body.map();
      return { kind: 'ping', seq: map.number('SeqNo'), node: nameIn(map, 'Node'), source: sourceOf(map) };
    }
    case INDIRECT_PING: {
      const map = body.map();
      const target = { ip: map.bytes('Target'), port: map.number('Port') };
      return {
        kind: 'indirect-ping',
        seq: map.number('SeqNo'),
        target,
        node: nameIn(map, 'Node'),
        wantsNack: map.bool('Nack'),
        source: sourceOf(map),
      };
    }
    case ACK:
    case NACK:
      return { kind: type === ACK ? 'ack' : 'nack', seq: body.map().number('SeqNo') };
    case ALIVE: {
      const map = body.map();
      return { kind: 'alive', node: named(map, 'Node'), ...aliveOf(map) };
    }
    case SUSPECT:
    case DEAD: {
      const map = body.map();
      return {
        kind: type === SUSPECT ? 'suspect' : 'dead',
        incarnation: map.number('Incarnation'),
        node: named(map, 'Node'),
        from: nameIn(map, 'From'),
      };
    }
    default:
      throw bad(`message type ${type} is unknown`);
  }
}

function aliveOf(map: PackedMap): Omit<Alive, 'node'> {
  const ip = map.bytes('Addr');
  if (ip.length !== 4 && ip.length !== 16) throw bad(`address has ${ip.length} bytes`);
  const meta = map.bytes('Meta');
  if (meta.length > META_BYTES_MAX) throw bad(`meta of a member has ${meta.length} bytes`);
  const versions = map.bytes('Vsn');
  if (versions.length > VERSIONS_COUNT) throw bad(`a member has ${versions.length} versions`);
  return {
    incarnation: map.number('Incarnation'),
    ip: ip.slice(),
    port: map.number('Port') & 0xffff,
    meta: meta.slice(),
    versions: [...versions],
  };
}

function named(map: PackedMap, field: string): string {
  const node = nameIn(map, field);
  if (node === '') throw bad('member has no name');
  return node;
}

/** '' = none is given. */
function nameIn(map: PackedMap, field: string): string {
  const { length } = map.bytes(field);
  if (length > NAME_BYTES_MAX) throw bad(`name of a member has ${length} bytes`);
  return map.text(field);
}

function sourceOf(map: PackedMap): Source {
  const ip = map.bytes('SourceAddr');
  const address = ip.length > 0 ? { ip: ip.slice(), port: map.number('SourcePort') } : undefined;
  return { address, node: map.text('SourceNode') };
}

function* partsOf(body: Uint8Array): Generator<Uint8Array> {
  const count = body[0] ?? 0;
  let at = 1 + count * 2;
  if (body.length < at) throw new TruncatedError();
  for (let i = 0; i < count; i++) {
    const end = at + (body[1 + i * 2] << 8) + body[2 + i * 2];
    if (end > body.length) throw new TruncatedError();
    yield body.subarray(at, end);
    at = end;
  }
}

function decompressed(map: PackedMap, bytesMax: number): Uint8Array {
  if (map.number('Algo') !== 0) throw bad(`compression ${map.number('Algo')} is unknown`);
  return lzwDecompress(map.bytes('Buf'), bytesMax);
}

export function encodePushPull({ isJoin, members, userState }: PushPull): Uint8Array {
  const out = new ByteWriter(userState.length + members.length * 160 + 64);
  out.u8(PUSH_PULL);
  packMap(out, [
    ['Nodes', members.length],
    ['UserStateLen', userState.length],
    ['Join', isJoin],
  ]);
  for (const member of members) {
    packMap(out, [
      ['Name', member.node],
      ['Addr', member.ip],
      ['Port', member.port],
      ['Meta', member.meta],
      ['Incarnation', member.incarnation],
      ['State', MEMBER_STATES.indexOf(member.state)],
      ['Vsn', member.versions],
    ]);
  }
  out.raw(userState);
  return out.copy();
}

/** Throws TruncatedError as long as more must come, TempoError when it is none or larger than allowed. */
export function decodePushPull(bytes: Uint8Array, bytesMax: number, depth = 0): ReceivedPushPull {
  if (bytes.length === 0) throw new TruncatedError();
  const body = new Unpacker(bytes, 1);
  switch (bytes[0]) {
    case COMPRESSED:
      if (depth > 0) throw bad('messages are nested too deeply');
      return decodePushPull(decompressed(body.map(), bytesMax), bytesMax, 1);
    case ERROR:
      throw bad(`the other member refuses: ${body.map().text('Error')}`);
    case PUSH_PULL:
      break;
    default:
      throw bad(`stream of type ${bytes[0]} is unknown`);
  }
  const header = body.map();
  const userBytes = header.number('UserStateLen');
  const count = header.number('Nodes');
  if (userBytes > bytesMax || count > bytesMax) {
    throw new TempoError('too_large', `gossip state has more than ${bytesMax} bytes`);
  }
  if (count > MEMBERS_MAX) throw bad(`state has ${count} members, more than ${MEMBERS_MAX}`);
  if (bytes.length - body.pos < userBytes + count) throw new TruncatedError();
  const members: StoredMember[] = [];
  for (let i = 0; i < count; i++) {
    const member = storedMemberOf(body.map());
    if (member !== undefined) members.push(member);
  }
  if (bytes.length - body.pos < userBytes) throw new TruncatedError();
  const userState = bytes.subarray(body.pos, body.pos + userBytes);
  return { isJoin: header.bool('Join'), members, userState, refusedCount: count - members.length };
}

/** Undefined where it is none: the other member may have been told of it, and the rest is of use. */
function storedMemberOf(map: PackedMap): StoredMember | undefined {
  const state = MEMBER_STATES[map.number('State')];
  if (state === undefined) throw bad(`member state ${map.number('State')} is unknown`);
  try {
    return { node: named(map, 'Name'), ...aliveOf(map), state };
  } catch (err) {
    if (err instanceof TempoError) return undefined;
    throw err;
  }
}

/** What a stream that is refused is answered. */
export function encodeRefusal(why: string): Uint8Array {
  const out = new ByteWriter(64);
  out.u8(ERROR);
  packMap(out, [['Error', why]]);
  return out.copy();
}

function bad(what: string): TempoError {
  return new TempoError('invalid_argument', `gossip: ${what}`);
}
