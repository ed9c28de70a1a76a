// The steps of test/traceql/*.test that ask for metrics: their range of time, and series as lines.
//
//   eval_range 3x20s { } | rate() by (name)                 three intervals of 20 s from the start of spans
//     name="a": 0 0.5 0.05                                    one line a series: labels, samples, - = none
//   eval_instant 1m { } | rate()                            one value over the whole range
//     __name__="rate": 0.1
//   eval_exemplars 3x20s { } | rate()                       one line an exemplar: series, time, value, labels
//     __name__="rate": 25s 0.05 trace:id="1"
//
// Of compare() attributes that no span has are left out.
import { type FilledText, piecesOf } from '../../src/lib/filled-text.ts';
import { MetricsAccumulator } from '../../src/traceql/engine/metrics/accumulate.ts';
import { finishSeries, joinParts } from '../../src/traceql/engine/metrics/finish.ts';
import type { MetricsPart } from '../../src/traceql/engine/metrics/part.ts';
import type { MetricsRange } from '../../src/traceql/engine/metrics/range.ts';
import { seriesText } from '../../src/traceql/engine/metrics/series-text.ts';
import { SeriesWriter } from '../../src/traceql/engine/metrics/series-writer.ts';
import { parse } from '../../src/traceql/parser.ts';
import type { SpanSource } from '../../src/traceql/source.ts';
import { validate } from '../../src/traceql/validate.ts';
import { START_NANO } from './otlp.ts';

export interface MetricsAsked extends MetricsRange {
  readonly text: string;
  readonly isInstant: boolean;
  readonly cellsMax?: number;
  readonly exemplarsMax?: number;
  /** So many parts become one before the end, again and again. */
  readonly joins?: readonly number[];
}

export interface JsonSeries {
  readonly labels: readonly Label[];
  readonly samples?: readonly { readonly timestampMs: string; readonly value?: number }[];
  /** Of an instant. */
  readonly value?: number;
  readonly exemplars?: readonly {
    readonly labels: readonly Label[];
    readonly value?: number;
    readonly timestampMs: string;
  }[];
}

interface Label {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Makes the series of a query. Throws what is wrong with it. */
export type AskMetrics = (asked: MetricsAsked) => Promise<readonly JsonSeries[]>;

const UNITS: Readonly<Record<string, bigint>> = { s: 1_000_000_000n, m: 60_000_000_000n };
const NANOS_PER_MILLI = 1_000_000n;
const EXEMPLARS_MAX = 100;
/** Sums are made in another order than Tempo's. */
const DIGITS = 12;

/** `3x20s { } | rate()`, behind the word of the step. */
export function readAsked(kind: string, rest: string): MetricsAsked {
  const [, count = '1', number, unit, text] = /^(?:(\d+)x)?(\d+)([sm]) (.*)$/.exec(rest)!;
  const stepNanos = BigInt(number!) * UNITS[unit!]!;
  return {
    text: text!,
    startUnixNano: START_NANO,
    endUnixNano: START_NANO + BigInt(count) * stepNanos,
    stepNanos,
    isInstant: kind === 'eval_instant',
    exemplarsMax: kind === 'eval_exemplars' ? EXEMPLARS_MAX : 0,
  };
}

/** The series over sources, each of them a job of its own. */
export async function askSources(
  given: MetricsAsked,
  sources: readonly SpanSource[],
): Promise<readonly JsonSeries[]> {
  const asked = { cellsMax: 100_000, exemplarsMax: 0, ...given };
  const query = parse(asked.text);
  validate(query);
  const parts: MetricsPart[] = [];
  for (const source of sources) {
    const job = new MetricsAccumulator(query, asked, asked);
    await job.add(source);
    parts.push(structuredClone(job.part()));
  }
  const join = (some: readonly MetricsPart[]) => structuredClone(joinParts(query, asked, some, asked));
  for (const count of given.joins ?? []) parts.unshift(join(parts.splice(0, count)));
  const finished = finishSeries(query, asked, parts, asked);
  if (!asked.isInstant) {
    return seriesOfText(seriesText(finished.series, asked, finished.pool, () => undefined));
  }
  const writer = new SeriesWriter(asked, finished.pool, { format: 'json', isInstant: true });
  return seriesOfJson(finished.series.map((one) => writer.write(one)));
}

export function seriesOfText(text: FilledText): readonly JsonSeries[] {
  return JSON.parse(`[${Buffer.concat([...piecesOf(text)]).toString()}]`) as readonly JsonSeries[];
}

export function seriesOfJson(bodies: readonly Uint8Array[]): readonly JsonSeries[] {
  return bodies.map((body) => JSON.parse(new TextDecoder().decode(body)) as JsonSeries);
}

/** What a step gives, in the form of its expectation. */
export function seriesLines(asked: MetricsAsked, given: readonly JsonSeries[]): string[] {
  const series = withoutAbsent(given);
  if (asked.exemplarsMax === 0)
    return series.map((one) => `${labelsText(one.labels)}: ${values(asked, one)}`);
  return series.flatMap(({ labels, exemplars = [] }) =>
    exemplars
      .toSorted((a, b) => Number(a.timestampMs) - Number(b.timestampMs))
      .map((one) => {
        const seconds = (Number(one.timestampMs) - Number(START_NANO / NANOS_PER_MILLI)) / 1000;
        return `${labelsText(labels)}: ${seconds}s ${shown(one.value)} ${labelsText(one.labels)}`;
      }),
  );
}

/** compare() counts the well-known attributes also where there is none. */
function withoutAbsent(series: readonly JsonSeries[]): readonly JsonSeries[] {
  const present = new Set(
    series.flatMap(({ labels }) => labels.filter(({ value }) => value['stringValue'] !== 'nil')).map(keyOf),
  );
  const isOfCompare = present.has('__meta_type');
  return series.filter(({ labels }) => !isOfCompare || labels.every((label) => present.has(keyOf(label))));
}

function keyOf({ key }: Label): string {
  return key;
}

function values({ startUnixNano, endUnixNano, stepNanos, isInstant }: MetricsAsked, one: JsonSeries): string {
  if (isInstant) return shown(one.value);
  const samples = new Map((one.samples ?? []).map(({ timestampMs, value = 0 }) => [timestampMs, value]));
  const texts: string[] = [];
  for (let end = startUnixNano + stepNanos; end <= endUnixNano; end += stepNanos) {
    const value = samples.get(String(end / NANOS_PER_MILLI));
    texts.push(value === undefined ? '-' : shown(value));
  }
  return texts.join(' ');
}

function shown(value = 0): string {
  return String(Number(value.toPrecision(DIGITS)));
}

function labelsText(labels: readonly Label[]): string {
  return labels
    .map(({ key, value }) => {
      const [only] = Object.values(value);
      if ('doubleValue' in value && Number.isInteger(only)) return `${key}=${String(only)}.0`;
      return `${key}=${'stringValue' in value ? JSON.stringify(only) : String(only)}`;
    })
    .join(' ');
}
