// A part of a metrics query as bytes, for a cache outside the process: how long the JSON is, what JSON can
// say, and the arrays one behind the other.
import type { Exemplar } from '../../traceql/engine/metrics/exemplars.ts';
import type { MetricsPart } from '../../traceql/engine/metrics/part.ts';
import type { KeptPart } from './metrics-cache.ts';
import type { AnswerCodec } from './outer-answers.ts';

const LENGTH_BYTES = 4;

/** What is no array of numbers. */
interface Facts {
  readonly firstInterval: string;
  readonly groups?: number | undefined;
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

export const PART_CODEC: AnswerCodec<KeptPart> = { kind: 'metrics', version: 1, encode, decode };

function arraysOf(part: MetricsPart): readonly ArrayBufferView[] {
  const { values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights } = part;
  return [values, valueEnds, labels, buckets, rows, intervals, cells, rests, weights];
}

function encode({ part, firstInterval }: KeptPart): readonly ArrayBufferView[] {
  const arrays = arraysOf(part);
  const facts: Facts = {
    firstInterval: String(firstInterval),
    groups: part.groups,
    share: part.share,
    exemplars: part.exemplars.map(exemplarFacts),
    lengths: arrays.map(({ byteLength }) => byteLength),
  };
  const json = Buffer.from(JSON.stringify(facts));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(json.length);
  return [length, json, ...arrays];
}

function decode(stored: Uint8Array): KeptPart {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  let at = LENGTH_BYTES + bytes.readUInt32LE();
  const facts = JSON.parse(bytes.toString('utf8', LENGTH_BYTES, at)) as Facts;
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
    groups: facts.groups,
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
