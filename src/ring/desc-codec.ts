// ring.Desc as bytes: the protobuf message of dskit's ring.proto, in one Snappy block.
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import { snappyDecompress, snappyStore } from '../lib/snappy.ts';
import { BYTES, malformed, VARINT, WireCursor } from '../model/otlp/wire.ts';
import { INSTANCE_STATES, type Instance, instanceOf, type RingDesc, sortedTokens } from './instance.ts';

/** The name under which others know the codec. */
export const RING_CODEC = 'ringDesc';

/** Desc */
const INGESTERS = 1;
/** Entries of maps */
const KEY = 1;
const VALUE = 2;
/** InstanceDesc */
const ADDR = 1;
const TIMESTAMP = 2;
const STATE = 3;
const TOKENS = 6;
const ZONE = 7;
const REGISTERED = 8;
const ID = 9;
const READ_ONLY_UPDATED = 10;
const READ_ONLY = 11;
const VERSIONS = 12;

/** Of an id, an address and a zone, in bytes: the longest name of a host has 253. */
const TEXT_BYTES_MAX = 256;
/** Of one instance; members have 512 at most. */
const TOKENS_MAX = 65_536;
/** Of one instance; members have one or two. */
const VERSIONS_MAX = 64;
/** Of one ring. */
const INSTANCES_MAX = 65_536;

const utf8 = new TextDecoder();
const EMPTY_INSTANCE = instanceOf({ id: '' });

export function encodeRing(desc: RingDesc): Uint8Array {
  return snappyStore(ringMessage(desc));
}

/**
 * Throws when it is damaged, or larger than `bytesMax`. Instances with more text or tokens than any has are
 * left out: others may have taken them, and would be heard no more for the sake of one.
 * @param leftOut called with the number of them, where there are any.
 */
export function decodeRing(
  bytes: Uint8Array,
  bytesMax: number,
  leftOut?: (instances: number) => void,
): RingDesc {
  return parseRing(snappyDecompress(bytes, bytesMax), leftOut);
}

/** Written again and again: nothing here waits. */
const instanceOut = new ByteWriter(1024);
const entryOut = new ByteWriter(1024);
const partOut = new ByteWriter(1024);

function ringMessage(desc: RingDesc): Uint8Array {
  const out = new ByteWriter(1024);
  for (const [id, instance] of desc) {
    entryOut.reset();
    textField(entryOut, KEY, id);
    bytesField(entryOut, VALUE, instanceMessage(instance));
    bytesField(out, INGESTERS, entryOut.view());
  }
  return out.view();
}

/** Valid until the next one. */
function instanceMessage(instance: Instance): Uint8Array {
  const out = instanceOut;
  out.reset();
  textField(out, ADDR, instance.addr);
  varintField(out, TIMESTAMP, instance.timestampSec);
  varintField(out, STATE, INSTANCE_STATES.indexOf(instance.state));
  if (instance.tokens.length > 0) {
    partOut.reset();
    for (const token of instance.tokens) partOut.varint(token);
    bytesField(out, TOKENS, partOut.view());
  }
  textField(out, ZONE, instance.zone);
  varintField(out, REGISTERED, instance.registeredSec);
  textField(out, ID, instance.id);
  varintField(out, READ_ONLY_UPDATED, instance.readOnlyUpdatedSec);
  varintField(out, READ_ONLY, instance.readOnly ? 1 : 0);
  for (const [component, version] of instance.versions) {
    partOut.reset();
    varintField(partOut, KEY, component);
    varintField(partOut, VALUE, version);
    bytesField(out, VERSIONS, partOut.view());
  }
  return out.view();
}

function parseRing(bytes: Uint8Array, leftOut?: (instances: number) => void): RingDesc {
  const cursor = new WireCursor(bytes);
  const desc = new Map<string, Instance>();
  let tooLarge = 0;
  while (cursor.pos < bytes.length) {
    const tag = cursor.tag(bytes.length);
    if (tag !== ((INGESTERS << 3) | BYTES)) {
      cursor.skip(tag & 7, bytes.length);
      continue;
    }
    const end = cursor.valueEnd(bytes.length);
    let id: string | undefined = '';
    let instance: Instance | undefined = EMPTY_INSTANCE;
    while (cursor.pos < end) {
      const inner = cursor.tag(end);
      if (inner === ((KEY << 3) | BYTES)) id = text(cursor, end);
      else if (inner === ((VALUE << 3) | BYTES)) instance = parseInstance(cursor, cursor.valueEnd(end));
      else cursor.skip(inner & 7, end);
    }
    // Old members leave the id inside out: the key is what counts.
    if (id === undefined || instance === undefined || desc.size >= INSTANCES_MAX) tooLarge++;
    else desc.set(id, { ...instance, id });
  }
  if (tooLarge > 0) leftOut?.(tooLarge);
  return desc;
}

/** Undefined where it is larger than any instance. */
function parseInstance(cursor: WireCursor, end: number): Instance | undefined {
  const numbers: Partial<Instance> = {};
  let [addr, zone]: (string | undefined)[] = ['', ''];
  const tokens: number[] = [];
  const versions = new Map<number, number>();
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    const field = tag >>> 3;
    const wire = tag & 7;
    if (wire === VARINT && field !== TOKENS) {
      Object.assign(numbers, numberOf(field, cursor.varint(end), tag));
    } else if (wire === BYTES && field === ADDR) addr = text(cursor, end);
    else if (wire === BYTES && field === ZONE) zone = text(cursor, end);
    else if (wire === BYTES && field === TOKENS) parseTokens(cursor, cursor.valueEnd(end), tokens);
    else if (wire === VARINT) tokens.push(cursor.varint(end));
    else if (wire === BYTES && field === VERSIONS) parseVersion(cursor, cursor.valueEnd(end), versions);
    else cursor.skip(wire, end);
    if (
      addr === undefined ||
      zone === undefined ||
      tokens.length > TOKENS_MAX ||
      versions.size > VERSIONS_MAX
    ) {
      cursor.pos = end;
      return undefined;
    }
  }
  return {
    ...EMPTY_INSTANCE,
    state: 'ACTIVE',
    ...numbers,
    addr,
    zone,
    tokens: sortedTokens(tokens),
    versions,
  };
}

function numberOf(field: number, value: number, at: number): Partial<Instance> {
  switch (field) {
    case TIMESTAMP:
      return { timestampSec: seconds(value) };
    case STATE: {
      const state = INSTANCE_STATES[value];
      if (state === undefined) throw malformed(`instance state ${value} is unknown`, at);
      return { state };
    }
    case REGISTERED:
      return { registeredSec: seconds(value) };
    case READ_ONLY_UPDATED:
      return { readOnlyUpdatedSec: seconds(value) };
    case READ_ONLY:
      return { readOnly: value !== 0 };
    default:
      return {};
  }
}

/** A negative time, which is a varint of ten bytes, is none. */
function seconds(value: number): number {
  return value > Number.MAX_SAFE_INTEGER ? 0 : value;
}

function parseTokens(cursor: WireCursor, end: number, tokens: number[]): void {
  while (cursor.pos < end && tokens.length <= TOKENS_MAX) {
    const token = cursor.varint(end);
    if (token > 0xffffffff) throw malformed(`token ${token} has more than 32 bits`, cursor.pos);
    tokens.push(token);
  }
  cursor.pos = end;
}

function parseVersion(cursor: WireCursor, end: number, versions: Map<number, number>): void {
  let component = 0;
  let version = 0;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === KEY << 3) component = cursor.varint(end);
    else if (tag === VALUE << 3) version = cursor.varint(end);
    else cursor.skip(tag & 7, end);
  }
  versions.set(component, version);
}

/** Undefined where it is longer than any. */
function text(cursor: WireCursor, outerEnd: number): string | undefined {
  const end = cursor.valueEnd(outerEnd);
  if (end - cursor.pos > TEXT_BYTES_MAX) {
    cursor.pos = end;
    return undefined;
  }
  const value = utf8.decode(cursor.bytes.subarray(cursor.pos, end));
  cursor.pos = end;
  return value;
}
