// Series as they go over the wire: tempopb.TimeSeries (of an instant query InstantSeries) as protobuf, or as
// JSON text in the form of protobuf's JSON mapping. All series are written into one buffer.
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { bytesField, textField } from '../../../lib/protobuf.ts';
import { JsonWriter } from '../json-writer.ts';
import { jsonDouble, jsonString } from '../json.ts';
import { type Check, noCheck } from './check.ts';
import type { Exemplar } from './exemplars.ts';
import type { LabelPool } from './label-pool.ts';
import { writeValueJson, writeValueProto } from './label-value.ts';
import type { MetricsRange } from './range.ts';
import type { Label, ResultSeries } from './result-series.ts';
import { ZeroSamples } from './zero-samples.ts';

/** So many zeros one after the other are left out at least. */
const LEFT_OUT_MIN = 4;

export type SeriesFormat =
  | { readonly format: 'proto'; readonly isInstant: boolean }
  | { readonly format: 'json'; readonly isInstant: true }
  | RangeJson;

/** Long runs of zeros are not written. */
interface RangeJson {
  readonly format: 'json';
  readonly isInstant: false;
  readonly zeros: ZeroSamples;
  /** Told where in the series that is being written they should be, and where they are among the zeros. */
  readonly leaveOut: (position: number, from: number, to: number) => void;
}

export class SeriesWriter {
  private readonly how: SeriesFormat;
  private readonly pool: LabelPool;
  private readonly json = new JsonWriter();
  private readonly keys = new Map<string, string>();
  private readonly zeros: ZeroSamples;
  private readonly check: Check;

  constructor(range: MetricsRange, pool: LabelPool, how: SeriesFormat, check: Check = noCheck) {
    this.check = check;
    this.how = how;
    this.pool = pool;
    this.zeros = 'zeros' in how ? how.zeros : new ZeroSamples(range, check);
  }

  /** Stays valid. */
  write(series: ResultSeries): Uint8Array {
    const { how } = this;
    this.check();
    if (how.format === 'proto') return how.isInstant ? this.instantProto(series) : this.proto(series);
    this.json.begin();
    this.writeJson(series, how.isInstant ? undefined : how.leaveOut);
    return this.json.end();
  }

  /** @param leaveOut undefined = of an instant. */
  private writeJson(series: ResultSeries, leaveOut: RangeJson['leaveOut'] | undefined): void {
    const { json } = this;
    const { labels, values } = series;
    json.raw('{"labels":[');
    for (let i = 0; i < labels.length; i++) {
      const { key, value } = labels[i]!;
      if (i > 0) json.raw(',');
      json.raw(this.keyJson(key));
      writeValueJson(json, this.pool.bytes(value));
      json.raw('}');
    }
    if (leaveOut === undefined) {
      const value = values[0] ?? 0;
      json.raw(value === 0 ? ']}' : `],"value":${jsonDouble(value)}}`);
      return;
    }
    json.raw('],"samples":[');
    this.writeSamples(values, leaveOut);
    const exemplars = shownExemplars(series);
    if (exemplars.length > 0) this.writeExemplars(exemplars);
    else json.raw(']}');
  }

  /** The beginning of a label; made once for each key. */
  private keyJson(key: string): string {
    let text = this.keys.get(key);
    if (text === undefined) this.keys.set(key, (text = `{"key":${jsonString(key)},"value":`));
    return text;
  }

  private writeExemplars(exemplars: readonly Exemplar[]): void {
    const { json } = this;
    exemplars.forEach(({ labels, value, timestampMs }, i) => {
      json.raw(i === 0 ? '],"exemplars":[{"labels":[' : ',{"labels":[');
      labels.forEach((label, k) => {
        json.raw(`${k === 0 ? '' : ','}{"key":${jsonString(label.key)},"value":`);
        writeValueJson(json, label.value);
        json.raw('}');
      });
      const shown = value === 0 ? '' : `"value":${jsonDouble(value)},`;
      json.raw(`],${shown}"timestampMs":"${timestampMs}"}`);
    });
    json.raw(']}');
  }

  /** Zeros are copied or left out, several at once. */
  private writeSamples(values: Float64Array, leaveOut: RangeJson['leaveOut']): void {
    const { json, check } = this;
    const { bytes: zeros, begins } = this.zeros;
    let comma = 1; // of the first sample none is written
    for (let i = 0; i < values.length; ) {
      const value = values[i]!;
      if (value !== value) {
        i++;
        continue;
      }
      let end = i + 1;
      if (value === 0) {
        while (end < values.length && values[end] === 0) end++;
        const from = begins[i]! + comma;
        if (end - i < LEFT_OUT_MIN) json.bytesOf(zeros, from, begins[end]!);
        else leaveOut(json.position, from, begins[end]!);
      } else {
        json.bytesOf(zeros, begins[i]! + comma, begins[end]! - 1);
        json.raw(`,"value":${jsonDouble(value)}}`);
      }
      check(end - i);
      comma = 0;
      i = end;
    }
  }

  private proto(series: ResultSeries): Uint8Array {
    const { labels, values } = series;
    const { check } = this;
    const out = new ByteWriter(64 + values.length * 20);
    this.writeLabels(out, labels);
    const sample = new ByteWriter(24);
    for (let i = 0; i < values.length; i++) {
      check();
      if (values[i] !== values[i]) continue;
      sample.reset();
      doubleField(sample, 1, values[i]!);
      sample.u8(2 << 3);
      sample.varint(this.zeros.timestampsMs[i]!);
      bytesField(out, 2, sample.view());
    }
    for (const exemplar of shownExemplars(series)) bytesField(out, 4, exemplarProto(exemplar));
    return out.copy();
  }

  /** Of an instant query only the one value. */
  private instantProto({ labels, values }: ResultSeries): Uint8Array {
    const out = new ByteWriter(128);
    this.writeLabels(out, labels);
    doubleField(out, 2, values[0] ?? 0);
    return out.copy();
  }

  private writeLabels(out: ByteWriter, labels: readonly Label[]): void {
    for (const { key, value } of labels) writeLabel(out, key, this.pool.bytes(value));
  }
}

/** Those of intervals that have a sample, with its value where they have none. */
function shownExemplars({ values, exemplars = [] }: ResultSeries): readonly Exemplar[] {
  return exemplars
    .filter(({ interval }) => values[interval] === values[interval])
    .map((one) => (one.value === one.value ? one : { ...one, value: values[one.interval]! }));
}

function exemplarProto({ labels, value, timestampMs }: Exemplar): Uint8Array {
  const out = new ByteWriter(128);
  for (const label of labels) writeLabel(out, label.key, label.value);
  doubleField(out, 2, value);
  out.u8(3 << 3);
  out.varint(timestampMs);
  return out.view();
}

function writeLabel(out: ByteWriter, key: string, value: Uint8Array): void {
  const any = new ByteWriter(value.length + 16);
  writeValueProto(any, value);
  const label = new ByteWriter(key.length + any.length + 16);
  textField(label, 1, key);
  bytesField(label, 2, any.view());
  bytesField(out, 1, label.view());
}

const DOUBLE = new Float64Array(1);
const DOUBLE_BYTES = new Uint8Array(DOUBLE.buffer);

/** Left out when it is 0. */
function doubleField(out: ByteWriter, field: number, value: number): void {
  if (value === 0) return;
  out.u8((field << 3) | 1);
  DOUBLE[0] = value;
  out.raw(DOUBLE_BYTES);
}
