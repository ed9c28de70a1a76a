// Series as they go over the wire: tempopb.TimeSeries (of an instant query InstantSeries) as protobuf, or as
// JSON text in the form of protobuf's JSON mapping.
import { ByteWriter } from '../../../lib/byte-writer.ts';
import { bytesField, textField } from '../../../lib/protobuf.ts';
import { decodeText } from '../../regex.ts';
import { jsonAnyValue, jsonAttribute, jsonDouble } from '../json.ts';
import { type MetricsRange, intervalCount } from './range.ts';
import { type Label, type LabelValue, labelValue, type ResultSeries } from './result-series.ts';

export interface SeriesFormat {
  readonly format: 'proto' | 'json';
  readonly isInstant: boolean;
}

const NANOS_PER_MILLI = 1_000_000n;
const encoder = new TextEncoder();

export class SeriesWriter {
  private readonly how: SeriesFormat;
  /** Of the end of each interval. */
  private readonly timestampsMs: readonly number[];
  private readonly sampleStarts: readonly string[];

  constructor(range: MetricsRange, how: SeriesFormat) {
    this.how = how;
    const { startUnixNano, stepNanos } = range;
    this.timestampsMs = Array.from({ length: intervalCount(range) }, (_, i) =>
      Number((startUnixNano + stepNanos * BigInt(i + 1)) / NANOS_PER_MILLI),
    );
    this.sampleStarts = this.timestampsMs.map((ms) => `{"timestampMs":"${ms}"`);
  }

  write(series: ResultSeries): Uint8Array {
    const { format, isInstant } = this.how;
    if (format === 'json') return encoder.encode(isInstant ? instantJson(series) : this.json(series));
    return isInstant ? instantProto(series) : this.proto(series);
  }

  private json({ labels, values }: ResultSeries): string {
    const { sampleStarts } = this;
    let samples = '';
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (value !== value) continue;
      if (samples !== '') samples += ',';
      samples += value === 0 ? `${sampleStarts[i]!}}` : `${sampleStarts[i]!},"value":${jsonDouble(value)}}`;
    }
    return `{${labelsJson(labels)},"samples":[${samples}]}`;
  }

  private proto({ labels, values }: ResultSeries): Uint8Array {
    const out = new ByteWriter(64 + values.length * 20);
    writeLabels(out, labels);
    const sample = new ByteWriter(24);
    for (let i = 0; i < values.length; i++) {
      if (values[i] !== values[i]) continue;
      sample.reset();
      doubleField(sample, 1, values[i]!);
      sample.u8(2 << 3);
      sample.varint(this.timestampsMs[i]!);
      bytesField(out, 2, sample.view());
    }
    return out.copy();
  }
}

function labelsJson(labels: readonly Label[]): string {
  const all = labels.map(({ key, value }) => jsonAttribute(key, jsonAnyValue(staticOf(labelValue(value)))));
  return `"labels":[${all.join()}]`;
}

function staticOf(value: LabelValue): Parameters<typeof jsonAnyValue>[0] {
  switch (value.type) {
    case 'string':
      return { type: 'string', value: decodeText(value.text) };
    case 'double':
      return { type: 'float', value: value.value };
    case 'int':
      return { type: 'int', value: value.value };
    case 'bool':
      return { type: 'bool', value: value.value };
  }
}

/** Of an instant query only the one value. */
function instantJson({ labels, values }: ResultSeries): string {
  const value = values[0] ?? 0;
  return `{${labelsJson(labels)}${value === 0 ? '' : `,"value":${jsonDouble(value)}`}}`;
}

function instantProto({ labels, values }: ResultSeries): Uint8Array {
  const out = new ByteWriter(128);
  writeLabels(out, labels);
  doubleField(out, 2, values[0] ?? 0);
  return out.copy();
}

function writeLabels(out: ByteWriter, labels: readonly Label[]): void {
  for (const { key, value } of labels) {
    const label = new ByteWriter(key.length + value.length + 8);
    textField(label, 1, key);
    bytesField(label, 2, value);
    bytesField(out, 1, label.view());
  }
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
