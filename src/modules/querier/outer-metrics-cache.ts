// Parts of metrics queries in a cache outside the process: a checksum, what JSON can say, and the arrays one
// behind the other, little-endian, under names that nobody else uses; and in front of it, where it is
// wanted, the cache in this process.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { OuterCache } from '../../cache/outer-cache.ts';
import type { Exemplar } from '../../traceql/engine/metrics/exemplars.ts';
import { type MetricsPart, partBytes } from '../../traceql/engine/metrics/part.ts';
import type { KeptPart, MetricsCache } from './metrics-cache.ts';

/** Larger parts are not worth the way. */
const VALUE_BYTES_MAX = 1_000_000;
const ROLE = 'frontend-search';
/** Counts up when the same question about the same block is answered otherwise than before. */
const ANSWERS_VERSION = 1;
/** Checksum of the name and of what follows, and how long the JSON is. */
const HEADER_BYTES = 8;
const CHECKED_FROM = 4;

/** What is no array of numbers. */
interface Facts {
  readonly firstInterval: string;
  readonly share: number;
  readonly exemplars: readonly ExemplarFacts[];
  /** Bytes of each array. */
  readonly lengths: readonly number[];
}

/** Bytes are in base64, and null is NaN. */
interface ExemplarFacts extends Omit<Exemplar, 'group' | 'labels' | 'value'> {
  readonly value: number | null;
  readonly group: readonly string[];
  readonly labels: readonly { readonly key: string; readonly value: string }[];
}

export class OuterMetricsCache implements MetricsCache {
  private readonly outer: OuterCache;
  private readonly local: MetricsCache | undefined;

  constructor(outer: OuterCache, local: MetricsCache | undefined) {
    this.outer = outer;
    this.local = local;
  }

  async get(key: string): Promise<KeptPart | undefined> {
    const near = await this.local?.get(key);
    if (near !== undefined) return near;
    const name = nameOf(key);
    const bytes = await this.outer.get(ROLE, name);
    const kept = bytes === undefined ? undefined : decodePart(name, bytes);
    if (kept !== undefined) this.local?.set(key, kept);
    return kept;
  }

  set(key: string, kept: KeptPart): void {
    this.local?.set(key, kept);
    if (partBytes(kept.part) > VALUE_BYTES_MAX) return;
    const name = nameOf(key);
    this.outer.set(name, encodePart(name, kept));
  }
}

function nameOf(key: string): string {
  return `tempo-ts:metrics${ANSWERS_VERSION}:${createHash('sha256').update(key).digest('base64url')}`;
}

function arraysOf(part: MetricsPart): readonly ArrayBufferView[] {
  const { values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights } = part;
  return [values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights];
}

function encodePart(name: string, { part, firstInterval }: KeptPart): Uint8Array {
  const arrays = arraysOf(part);
  const facts: Facts = {
    firstInterval: String(firstInterval),
    share: part.share,
    exemplars: part.exemplars.map(exemplarFacts),
    lengths: arrays.map(({ byteLength }) => byteLength),
  };
  const json = Buffer.from(JSON.stringify(facts));
  const size = facts.lengths.reduce((sum, length) => sum + length, HEADER_BYTES + json.length);
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(json.length, CHECKED_FROM);
  json.copy(bytes, HEADER_BYTES);
  let at = HEADER_BYTES + json.length;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  bytes.writeUInt32LE(crc32(bytes.subarray(CHECKED_FROM), crc32(name)));
  return bytes;
}

/** @returns undefined when these are not the bytes of the part of that name. */
export function decodePart(name: string, stored: Uint8Array): KeptPart | undefined {
  if (stored.length < HEADER_BYTES) return undefined;
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  if (bytes.readUInt32LE() !== crc32(bytes.subarray(CHECKED_FROM), crc32(name))) return undefined;
  let at = HEADER_BYTES + bytes.readUInt32LE(CHECKED_FROM);
  const facts = JSON.parse(bytes.toString('utf8', HEADER_BYTES, at)) as Facts;
  // Each in memory of its own, so that it may be read in wider numbers.
  const arrays = facts.lengths.map((length) => {
    const own = new Uint8Array(new SharedArrayBuffer(length));
    own.set(bytes.subarray(at, (at += length)));
    return own;
  });
  const [values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights] = arrays;
  const part: MetricsPart = {
    values: values!,
    valueEnds: new Uint32Array(valueEnds!.buffer),
    labels: new Int32Array(labels!.buffer),
    buckets: buckets!,
    rows: new Int32Array(rows!.buffer),
    intervals: new Int32Array(intervals!.buffer),
    cells: new Float64Array(cells!.buffer),
    rests: new Float64Array(rests!.buffer),
    weights: new Float64Array(weights!.buffer),
    share: facts.share,
    exemplars: facts.exemplars.map(exemplarOf),
  };
  return { part, firstInterval: BigInt(facts.firstInterval) };
}

function exemplarFacts({ group, labels, ...rest }: Exemplar): ExemplarFacts {
  return {
    ...rest,
    group: group.map(base64),
    labels: labels.map(({ key, value }) => ({ key, value: base64(value) })),
  };
}

function exemplarOf({ group, labels, value, ...rest }: ExemplarFacts): Exemplar {
  return {
    ...rest,
    value: value ?? NaN,
    group: group.map(bytesOf),
    labels: labels.map(({ key, value: text }) => ({ key, value: bytesOf(text) })),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
